"""What happened to a table: its versions, and what differs between two of them, field by field.

Delta writes a file anew when a row in it changes, so files that both versions hold are the same
rows and are never read. Only rows that differ become records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from data_manifests.errors import ManifestError
from data_manifests.log import LogCommit, commits
from data_manifests.query import Pin, opened
from data_manifests.schema import arrow_schema, key_of, records_from_table
from data_manifests.seals import SEAL
from data_manifests.store import TABLES, Store

__all__ = ["FieldChange", "RowChange", "Version", "changes", "history"]

BATCH = 1024
_DIFFERING = (
    "CREATE TABLE differing AS SELECT coalesce(b.key, a.key) AS key,"
    " CASE WHEN b.key IS NULL THEN 'added' WHEN a.key IS NULL THEN 'removed' ELSE 'changed' END"
    " AS kind FROM ({before}) b FULL JOIN ({after}) a ON b.key = a.key"
    " WHERE b.row IS DISTINCT FROM a.row"
)
_ONE_SIDED = (
    "SELECT r FROM differing d JOIN {side} r ON r.{key} = d.key WHERE d.kind = '{kind}'"
    " ORDER BY d.key"
)
_CHANGED = (
    "SELECT b AS old, a AS new FROM differing d JOIN before b ON b.{key} = d.key"
    " JOIN after a ON a.{key} = d.key WHERE d.kind = 'changed' ORDER BY d.key"
)


@dataclass(frozen=True, slots=True)
class Version:
    """One write to a table; the numbers from `version` to `upto` hold the same rows.

    Row counts are none where the log does not say them.
    """

    version: int
    upto: int
    at: datetime
    operation: str
    why: str
    added: int | None
    changed: int | None
    removed: int | None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that differs; `path` goes into nested columns, as `crops[0].path`."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that was added, changed or removed, with the record as it now is, or last was."""

    kind: str
    key: str
    record: Any
    fields: tuple[FieldChange, ...] = ()


def history(store: Store, noun: type) -> list[Version]:
    """Every write to a table, the oldest first; raises ManifestError if there is no table.

    A seal counts to the version it seals.
    """
    found: list[Version] = []
    for commit in commits(store.folder / TABLES[noun]):
        sealing = SEAL in commit.info and not commit.added and not commit.removed
        if sealing and found:
            found[-1] = replace(found[-1], upto=commit.version)
        else:
            found.append(_version(commit))
    if not found:
        raise ManifestError(
            f"There is no table {TABLES[noun]} yet.", "See `authface manifest versions`."
        )
    return found


def changes(store: Store, noun: type, before: int, after: int) -> Iterator[RowChange]:
    """Rows added, then changed, then removed from one version to another, each in key order.

    A value that an older table had no column for counts as its default. Raises ManifestError for a
    version that is not there.
    """
    key = key_of(noun)
    pins = {"before": Pin(noun, before, unlike=after), "after": Pin(noun, after, unlike=before)}
    with opened(store, pins) as connection:
        narrow = {
            side: f"SELECT {key} AS key, {_row_hash(noun)} AS row FROM {side}" for side in pins
        }
        connection.execute(_DIFFERING.format(**narrow))

        def ask(question: str, **names: str) -> pa.RecordBatchReader:
            return connection.sql(question.format(key=key, **names)).to_arrow_reader(BATCH)

        for batch in ask(_ONE_SIDED, side="after", kind="added"):
            yield from _one_sided(noun, batch, "added")
        for batch in ask(_CHANGED):
            yield from _different(noun, batch)
        for batch in ask(_ONE_SIDED, side="before", kind="removed"):
            yield from _one_sided(noun, batch, "removed")


def _row_hash(noun: type) -> str:
    """A 64-bit hash of a row in SQL, so that whole rows need not lie in memory to be compared.

    Column by column and then over a list of one length: DuckDB's hash of a whole row is the same
    if an item moves from the end of one list to the start of the next. It takes NULL for an empty
    list, as we do, and for a structure of NULLs, so structures say which they are.
    """
    parts = []
    for field in arrow_schema(noun):
        name = f'"{field.name}"'  # `at` is a word of SQL
        parts.append(f"hash({name})")
        if pa.types.is_struct(field.type):
            parts.append(f"hash({name} IS NULL)")
    return f"hash([{', '.join(parts)}])"


def _one_sided(noun: type, batch: pa.RecordBatch, kind: str) -> Iterator[RowChange]:
    for record in _records(noun, batch, "r"):
        yield RowChange(kind, getattr(record, key_of(noun)), record)


def _different(noun: type, batch: pa.RecordBatch) -> Iterator[RowChange]:
    pairs = zip(_records(noun, batch, "old"), _records(noun, batch, "new"), strict=True)
    for old, new in pairs:
        found = tuple(_fields(old, new, ""))
        if found:
            yield RowChange("changed", getattr(new, key_of(noun)), new, found)


def _records(noun: type, batch: pa.RecordBatch, column: str) -> list[Any]:
    rows = pa.RecordBatch.from_struct_array(batch.column(column))
    return records_from_table(noun, pa.Table.from_batches([rows]))


def _fields(old: Any, new: Any, path: str) -> Iterator[FieldChange]:
    if old == new:
        return
    if is_dataclass(old) and is_dataclass(new):
        for field in fields(old):
            inner = f"{path}.{field.name}" if path else field.name
            yield from _fields(getattr(old, field.name), getattr(new, field.name), inner)
    elif _nested(old) or _nested(new):
        for place, (one, other) in enumerate(zip_longest(old or (), new or ())):
            yield from _fields(one, other, f"{path}[{place}]")
    elif not (_is_nan(old) and _is_nan(new)):
        yield FieldChange(path, old, new)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _nested(value: Any) -> bool:
    return isinstance(value, tuple) and any(map(is_dataclass, value))


def _version(commit: LogCommit) -> Version:
    info = commit.info
    metrics: dict[str, Any] = info.get("operationMetrics") or {}
    merge = "num_target_rows_inserted" in metrics
    removed = metrics.get("num_target_rows_deleted" if merge else "num_deleted_rows")
    return Version(
        version=commit.version,
        upto=commit.version,
        at=datetime.fromtimestamp(info.get("timestamp", 0) / 1000, UTC),
        operation=str(info.get("operation", "")),
        why=str(info.get("authface_why", "")),
        added=metrics.get("num_target_rows_inserted"),
        changed=metrics.get("num_target_rows_updated"),
        removed=removed,
    )
