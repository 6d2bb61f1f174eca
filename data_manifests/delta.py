"""What delta-rs does to one table, as functions: merge, delete, overwrite, seal, read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from pyarrow import fs

from data_manifests.schema import key_of
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

CHECKPOINT_EVERY = 100  # versions
# Checkpoints are made by the seal, which vouches for them, and never behind its back.
NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def _because(why: str) -> CommitProperties:
    return CommitProperties(custom_metadata={"authface_why": why})


def merge(table: DeltaTable, noun: type, rows: pa.Table, why: str, *, change: bool = True) -> None:
    """One MERGE by key; rows that are there stay as they are if `change` is false."""
    key = key_of(noun)
    merger = table.merge(
        rows,
        predicate=f"target.{key} = source.{key}",
        source_alias="source",
        target_alias="target",
        commit_properties=_because(why),
        post_commithook_properties=NO_HOOKS,
    ).when_not_matched_insert_all()
    (merger.when_matched_update_all() if change else merger).execute()


def delete(table: DeltaTable, key: str, doomed: Iterable[str], why: str) -> int:
    """Delete by key; how many rows there were."""
    listed = ", ".join("'" + k.replace("'", "''") + "'" for k in doomed)
    result = table.delete(
        f"{key} IN ({listed})",
        commit_properties=_because(why),
        post_commithook_properties=NO_HOOKS,
    )
    return int(result["num_deleted_rows"])


def overwrite(table: DeltaTable, rows: pa.Table, why: str) -> None:
    """Write the whole table anew, in one commit."""
    write_deltalake(
        table,
        rows,
        mode="overwrite",
        commit_properties=_because(why),
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
    """Vouch for what came since the last seal, and for the end of the log."""
    folder, version = folder_of(table), table.version()
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        commit_properties=CommitProperties(custom_metadata=seal_metadata(folder, version)),
        post_commithook_properties=NO_HOOKS,
    )
    table.update_incremental()
    if version // CHECKPOINT_EVERY != table.version() // CHECKPOINT_EVERY:
        table.create_checkpoint()
    write_head(folder)


def rows_of(table: DeltaTable) -> pa.Table:
    """All rows."""
    return dataset_of(table).to_table()


def rows_with(table: DeltaTable, column: str, values: pa.Array) -> pa.Table:
    """The rows that have one of the values; the others are never all in memory.

    Batch by batch and not as a filter of the data set: Delta's statistics come as string views,
    which Arrow does not compare with strings.
    """
    dataset = dataset_of(table)
    found = (b.filter(pc.is_in(b[column], value_set=values)) for b in dataset.to_batches())
    return pa.Table.from_batches(found, schema=dataset.schema)


def dataset_of(table: DeltaTable) -> Any:
    """The table as a pyarrow dataset."""
    # Through delta's own file system, written in Python, Arrow's reading threads can outlive the
    # interpreter: one process in ten that ended right after a read was aborted (exit code 134).
    files = fs.SubTreeFileSystem(str(folder_of(table)), fs.LocalFileSystem())
    return table.to_pyarrow_dataset(filesystem=files)


def folder_of(table: DeltaTable) -> Path:
    """The folder of a table."""
    return Path(unquote(table.table_uri.removeprefix("file://")))
