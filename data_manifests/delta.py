"""What delta-rs does to one table, as functions: merge, delete, overwrite, seal, read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from numpy.typing import NDArray
from pyarrow import fs

from data_manifests.migrations import bare
from data_manifests.schema import as_schema, key_of
from data_manifests.seals import is_sealed, read_head_version, seal_metadata, write_head

__all__ = [
    "dataset_of",
    "delete",
    "folder_of",
    "merge",
    "overwrite",
    "rows_of",
    "rows_with",
    "seal",
    "seal_last",
]

FILE_SIZE = 16_000_000  # bytes; a change rewrites the files that it touches
# A table opens as slowly as there are versions since the last checkpoint: at 40 in 18 ms, behind a
# checkpoint in 4 ms. Making one takes 20 ms.
CHECKPOINT_EVERY = 20
SEAL_TRIES = 100  # commits that may overtake a seal
# Checkpoints are made by the seal, which vouches for them, and never behind its back.
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def _because(why: str, max_commit_retries: int | None = None) -> CommitProperties:
    said = {"authface_why": why}
    return CommitProperties(custom_metadata=said, max_commit_retries=max_commit_retries)


def merge(table: DeltaTable, noun: type, rows: pa.Table, why: str, *, change: bool = True) -> None:
    """One MERGE by key; rows that are there stay as they are if `change` is false."""
    key = key_of(noun)
    # The least and greatest key, so that files beyond them are neither read nor written.
    least, most = (_quoted(v) for v in pc.min_max(rows.column(key)).as_py().values())
    merger = table.merge(
        rows,
        predicate=f"target.{key} = source.{key}"
        f" AND target.{key} >= {least} AND target.{key} <= {most}",
        source_alias="source",
        target_alias="target",
        commit_properties=_because(why),
        post_commithook_properties=NO_HOOKS,
    ).when_not_matched_insert_all()
    (merger.when_matched_update_all() if change else merger).execute()


def delete(table: DeltaTable, key: str, doomed: Iterable[str], why: str) -> int:
    """Delete by key; how many rows there were.

    A MERGE, since delta-rs 1.6 dies of a DELETE whose predicate lists 25,000 keys.
    """
    keys = pa.table({key: pa.array(doomed, pa.string())})
    result = (
        table.merge(
            keys,
            predicate=f"target.{key} = source.{key}",
            source_alias="source",
            target_alias="target",
            commit_properties=_because(why),
            post_commithook_properties=NO_HOOKS,
        )
        .when_matched_delete()
        .execute()
    )
    return int(result["num_target_rows_deleted"])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def overwrite(table: DeltaTable, rows: pa.Table, why: str) -> None:
    """Write the whole table anew, in one commit; CommitFailedError if another came first.

    Not tried again by delta-rs, which sees no conflict with rows that were only added meanwhile.
    """
    plain = rows.cast(pa.schema([bare(field) for field in rows.schema]))
    write_deltalake(
        table,
        plain,
        mode="overwrite",
        target_file_size=FILE_SIZE,
        commit_properties=_because(why, max_commit_retries=0),
        post_commithook_properties=NO_HOOKS,
    )
    table.update_incremental()


def seal_last(table: DeltaTable) -> None:
    """Seal the newest commit if its writer was killed between the commit and the seal."""
    folder = folder_of(table)
    if not is_sealed(folder, table.version()):
        seal(table)
    elif (read_head_version(folder) or -1) < table.version():
        write_head(folder)


def seal(table: DeltaTable) -> None:
    """Vouch for what came since the last seal, and for the end of the log.

    A seal is of all versions before it, so one that another commit overtakes is made anew.
    """
    folder, first = folder_of(table), table.version()
    for _ in range(SEAL_TRIES):
        metadata = seal_metadata(folder, table.version())
        told = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        try:
            table.create_write_transaction(
                [],
                "append",
                table.schema(),
                commit_properties=told,
                post_commithook_properties=NO_HOOKS,
            )
            break
        except CommitFailedError:
            table.update_incremental()
    table.update_incremental()
    due = first // CHECKPOINT_EVERY != table.version() // CHECKPOINT_EVERY
    if due:
        table.create_checkpoint()
    write_head(folder, checkpoint=table.version() if due else None)


def rows_of(table: DeltaTable, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows, or these of their columns; what an older file lacks is null.

    File by file and not by the data set, whose import brings pandas: a second and more.
    """
    schema = _schema(table, columns)
    parts = [schema.empty_table()]
    for path in sorted(_paths(table)):
        with pq.ParquetFile(path) as file:
            parts.append(as_schema(file.read(_there(file, schema)), schema))
    return pa.concat_tables(parts)


def rows_with(table: DeltaTable, column: str, values: pa.Array) -> pa.Table:
    """The rows that have one of the values; the others are never all in memory.

    Files whose statistics exclude every value are not opened, and of the others the column alone is
    read before the rows are.
    """
    schema = _schema(table)
    parts = [schema.empty_table()]
    for path in sorted(
        _files_with(table, column, np.sort(np.asarray(values.to_pylist(), dtype=object)))
    ):
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                keys = file.read_row_group(number, [column]).column(column)
                mask = pc.is_in(keys.cast(values.type), value_set=values)
                if pc.any(mask).as_py():
                    rows = file.read_row_group(number, _there(file, schema))
                    parts.append(as_schema(rows, schema).filter(mask))  # views have no filter
    return pa.concat_tables(parts)


def _schema(table: DeltaTable, columns: Sequence[str] | None = None) -> pa.Schema:
    whole = pa.schema(table.schema().to_arrow())
    return whole if columns is None else pa.schema([whole.field(n) for n in columns])


def _there(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    held = set(file.schema_arrow.names)
    return [name for name in schema.names if name in held]


def _paths(table: DeltaTable) -> list[Path]:
    # The log's paths are quoted; a name may hold what a quote stands for.
    return [folder_of(table) / unquote(uri.rsplit("/", 1)[-1]) for uri in table.file_uris()]


def _files_with(table: DeltaTable, column: str, wanted: NDArray[Any]) -> list[Path]:
    """Files that may hold one of the values, by their least and greatest value."""
    about = pa.table(table.get_add_actions(flatten=True))
    paths = [folder_of(table) / unquote(p) for p in about.column("path").to_pylist()]
    if f"min.{column}" not in about.column_names or not len(wanted):
        return paths
    least, most = (about.column(f"{end}.{column}").to_pylist() for end in ("min", "max"))
    # Statistics may be cut short, the greatest one then rounded up: a file too many, never too few.
    return [
        path
        for path, low, high in zip(paths, least, most, strict=True)
        if low is None or high is None or _holds(wanted, low, high)
    ]


def _holds(wanted: NDArray[Any], low: str, high: str) -> bool:
    first = int(np.searchsorted(wanted, low))
    return first < len(wanted) and wanted[first] <= high


def dataset_of(table: DeltaTable) -> Any:
    """The table as a pyarrow dataset."""
    # Through delta's own file system, written in Python, Arrow's reading threads can outlive the
    # interpreter: one process in ten that ended right after a read was aborted (exit code 134).
    files = fs.SubTreeFileSystem(str(folder_of(table)), fs.LocalFileSystem())
    return table.to_pyarrow_dataset(filesystem=files)


def folder_of(table: DeltaTable) -> Path:
    """The folder of a table."""
    return Path(unquote(table.table_uri.removeprefix("file://")))
