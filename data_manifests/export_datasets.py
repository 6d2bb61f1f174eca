"""A folder that `datasets.load_dataset` opens offline: Parquet with the pictures inside.

The types of the columns, Image among them, stand in the Parquet files; which file is of which
split stands at the head of README.md.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_manifests.errors import MissingExtra
from data_manifests.export_parquet import (
    described,
    parquet_pieces,
    rewrite_without,
    sample_ids,
)
from data_manifests.media import write_pieces
from data_manifests.outgoing import ExportConfig, Outgoing, SharedSample, in_groups, in_shards
from data_manifests.schema import arrow_schema, table_from_records

__all__ = ["forget_datasets", "ids_datasets", "shared_schema", "write_datasets"]

GROUP_BYTES = 32_000_000  # pictures of a row group; Arrow and the writer hold copies of them
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_datasets(
    folder: Path, split: str, outgoing: Iterable[Outgoing], config: ExportConfig
) -> int:
    """Write `data/<split>-00000.parquet` and so on; gives how many samples they hold."""
    count = 0

    def tables(shard: Iterable[Outgoing]) -> Iterator[pa.Table]:
        nonlocal count
        for group in in_groups(shard, GROUP_BYTES, lambda o: len(o.data)):
            count += len(group)
            yield _table(group)

    for number, shard in in_shards(outgoing, config):
        target = folder / "data" / f"{split}-{number:05d}.parquet"
        write_pieces(target, parquet_pieces(shared_schema(), tables(shard), plain="image"))
    return count


def ids_datasets(folder: Path) -> set[str]:
    """The ids of the samples that the export holds."""
    return {name for path in _files(folder) for name in sample_ids(path)}


def forget_datasets(folder: Path, sample_ids: frozenset[str]) -> int:
    """Rewrite the files that hold one of these samples without it; gives how many went."""
    return sum(rewrite_without(path, sample_ids, plain="image") for path in _files(folder))


def shared_schema() -> pa.Schema:
    """The Arrow schema of a shared sample with its picture, and the features of `datasets`."""
    about = {b"about": b"the picture, as bytes of a PNG or of what was imported"}
    image = pa.field("image", IMAGE, metadata=about)
    shared = arrow_schema(SharedSample)
    features = {"image": {"_type": "Image"}} | {f.name: _feature(f.type) for f in shared}
    told = json.dumps({"info": {"features": features}})
    return described(shared.insert(0, image).with_metadata({b"huggingface": told.encode()}))


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("*.parquet"))


def _table(group: list[Outgoing]) -> pa.Table:
    rows = table_from_records(SharedSample, [o.shared for o in group])
    pictures = [_picture(o) for o in group]
    return rows.add_column(0, shared_schema().field("image"), pa.array(pictures, IMAGE))


def _picture(outgoing: Outgoing) -> dict[str, Any]:
    """Bytes that Pillow opens: JPEG XL, which it does not know, becomes PNG of the same pixels."""
    suffix, data = outgoing.suffix, outgoing.data
    if suffix == ".jxl":
        suffix, data = ".png", _png_of(data)
    return {"bytes": data, "path": f"{outgoing.sample.sample_id}{suffix}"}


def _png_of(data: bytes) -> bytes:
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingExtra("imagecodecs", "fast", "JPEG XL") from error
    return bytes(imagecodecs.png_encode(imagecodecs.jpegxl_decode(data, numthreads=1)))


def _feature(kind: pa.DataType) -> Any:
    """The type as `datasets` writes it down, from version 4 on."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {f.name: _feature(f.type) for f in typing.cast(Iterable[pa.Field], kind)}
    names = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64"}
    return {"dtype": names[kind], "_type": "Value"}
