"""Plain Parquet: the rows of Samples with every column, one file per split.

Every page carries a checksum. Arrow compares it only if asked to, with
`page_checksum_verification=True`; what lies outside of the pages is proved by SHA256SUMS.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_manifests.errors import ManifestError
from data_manifests.media import write_pieces
from data_manifests.outgoing import ExportConfig, Outgoing, in_groups
from data_manifests.records import Sample
from data_manifests.schema import arrow_schema, table_from_records

__all__ = [
    "described",
    "forget_parquet",
    "ids_parquet",
    "parquet_pieces",
    "rewrite_without",
    "sample_ids",
    "write_parquet",
]

GROUP_ROWS = 20_000


def write_parquet(
    folder: Path, split: str, outgoing: Iterable[Outgoing], config: ExportConfig
) -> int:
    """Write `<split>.parquet` and give how many rows it holds; no file for a split without rows."""
    count = 0

    def groups() -> Iterator[pa.Table]:
        nonlocal count
        # The pictures are let go of at once: twenty thousand of them would not fit in memory.
        for group in in_groups((o.sample for o in outgoing), GROUP_ROWS, lambda _: 1):
            count += len(group)
            yield table_from_records(Sample, group)

    tables = groups()
    first = next(tables, None)
    if first is None:
        return 0
    target = folder / f"{split}.parquet"
    schema = described(arrow_schema(Sample))
    write_pieces(target, parquet_pieces(schema, chain((first,), tables)))
    return count


def ids_parquet(folder: Path) -> set[str]:
    """The ids of the samples that the export holds."""
    return {name for path in sorted(folder.glob("*.parquet")) for name in sample_ids(path)}


def forget_parquet(folder: Path, sample_ids: frozenset[str]) -> int:
    """Rewrite the files that hold one of these samples without it; gives how many went."""
    return sum(rewrite_without(path, sample_ids) for path in sorted(folder.glob("*.parquet")))


def described(schema: pa.Schema) -> pa.Schema:
    """The schema with its fields' descriptions and units as JSON, for engines other than Arrow."""
    told = {f.name: _notes(f) for f in schema if f.metadata}
    return schema.with_metadata({**(schema.metadata or {}), b"authface.fields": json.dumps(told)})


def parquet_pieces(
    schema: pa.Schema, tables: Iterable[pa.Table], *, plain: str | None = None
) -> Iterator[bytes]:
    """A Parquet file in pieces, one row group per table, with a checksum in every page.

    `plain` names a column of pictures: not compressed again, and without least and greatest value.
    """
    sink = _Drain()
    columns = [name for name in schema.names if name != plain]
    writer = pq.ParquetWriter(
        sink,
        schema,
        compression="snappy" if plain else "zstd",
        use_dictionary=columns,
        write_statistics=columns,
        write_page_checksum=True,
    )
    with writer:
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=max(table.num_rows, 1))
            yield from sink.take()
    yield from sink.take()


def rewrite_without(path: Path, doomed: frozenset[str], *, plain: str | None = None) -> int:
    """Replace a Parquet file by one without these samples, or remove it if none is left.

    A row group at a time. Gives how many went; a file that holds none of them is not touched.
    """
    going = doomed & set(sample_ids(path))
    if not going:
        return 0
    names = pa.array(sorted(going), pa.string())
    with _open(path) as file:
        if file.metadata.num_rows == len(going):
            path.unlink()
            return len(going)
        kept = (
            group.filter(pc.invert(pc.is_in(group["sample_id"], value_set=names)))
            for group in (file.read_row_group(n) for n in range(file.num_row_groups))
        )
        filled = (group for group in kept if group.num_rows)
        write_pieces(path, parquet_pieces(file.schema_arrow, filled, plain=plain))
    return len(going)


def sample_ids(path: Path) -> list[str]:
    """The sample ids of a Parquet file."""
    with _open(path) as file:
        found: list[str] = file.read(columns=["sample_id"])["sample_id"].to_pylist()
    return found


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise ManifestError(
            f"{path} can't be read: {error}.", "Make the export again with --overwrite."
        ) from error


def _notes(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in field.metadata.items()}


class _Drain(io.RawIOBase):
    """A file to write to that hands over what was written; nothing else is kept."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._written.append(piece)
        self._position += len(piece)
        return len(piece)

    def take(self) -> list[bytes]:
        """Everything written since the last time, in order."""
        pieces, self._written = self._written, []
        return pieces
