"""Delta tables of the nouns: upsert by key, read at a version. The only place that writes tables.

An upsert is one Delta MERGE followed by a *seal* (see seals.py): delta-rs names and writes the
files of a MERGE itself, so their hashes can't stand in its commit. A version without a seal is one
whose writer was killed, and the next write seals it.

Writers on one machine take turns by a kernel lock. Writers elsewhere are ordered by Delta's commit
protocol: who comes second is refused, looks again at what stands, and commits what is still to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from data_manifests import records as nouns
from data_manifests.delta import (
    dataset_of,
    delete,
    merge,
    overwrite,
    rows_of,
    rows_with,
    seal,
    seal_last,
)
from data_manifests.differing import differing
from data_manifests.errors import ManifestError, StorageError
from data_manifests.migrations import migrate, refuse_newer
from data_manifests.schema import (
    SCHEMA_PROPERTY,
    SCHEMA_VERSION,
    arrow_schema,
    as_schema,
    key_of,
    records_from_table,
    table_from_records,
)
from data_manifests.seals import file_sha256, sealed_files, unsealed
from data_manifests.sweep import only_ours, sweep_table, writing_table

__all__ = ["TABLES", "Commit", "Store", "file_sha256"]

log = logging.getLogger(__name__)

Record = TypeVar("Record")

TABLES: dict[type, str] = {
    nouns.Photo: "photos",
    nouns.Face: "faces",
    nouns.Task: "tasks",
    nouns.Annotation: "annotations",
    nouns.Consensus: "consensus",
    nouns.Retouch: "retouches",
    nouns.Standing: "standings",
    nouns.Consent: "consents",
    nouns.ConsentEntry: "consent_ledger",
    nouns.Tombstone: "tombstones",
    nouns.Export: "exports",
    nouns.Sample: "samples",
}
# Old commits hold the seals and are what a pinned version needs, so delta-rs must never tidy them
# away.
KEEP_LOG = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    SCHEMA_PROPERTY: str(SCHEMA_VERSION),
}
# What Arrow and delta-rs say of a Parquet file that is not whole.
DAMAGED = ("Parquet", "parquet", "end of stream", "flatbuffers", "Thrift", "thrift", "decompress")
ONLY_GROWING = {nouns.Consent, nouns.ConsentEntry, nouns.Tombstone, nouns.Export}
MERGE_UP_TO = 0.25  # share of rows; beyond it the table is written anew
TRIES = 40  # commits of writers on other machines that may come first


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did: the version now, and how many rows were new, changed, the same, removed."""

    version: int
    added: int
    changed: int
    unchanged: int
    removed: int = 0


class Store:
    """The Delta tables under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def upsert(self, noun: type[Record], records: Iterable[Record], *, why: str) -> Commit:
        """Add or replace rows by key in one atomic commit.

        Rows that are already the same cost nothing, so a commit whose answer was lost is not made
        twice.
        """
        rows = list(records)

        def attempt(table: DeltaTable) -> Commit:
            added, changed = self._differences(noun, table, rows)
            if added or changed:
                merge(table, noun, table_from_records(noun, added + changed), why)
            same = len(rows) - len(added) - len(changed)
            return Commit(0, len(added), len(changed), same)

        return self._write(noun, attempt)

    def append(self, noun: type[Record], records: Iterable[Record], *, why: str) -> Commit:
        """Add rows that are never changed again; raises ManifestError if a key says otherwise."""
        rows = list(records)

        def attempt(table: DeltaTable) -> Commit:
            added, changed = self._differences(noun, table, rows)
            if changed:
                named = ", ".join(str(getattr(r, key_of(noun))) for r in changed[:3])
                raise ManifestError(
                    f"{TABLES[noun]} is only ever added to, and {named} stands there already.",
                    "Give the new row a key of its own.",
                )
            if added:
                merge(table, noun, table_from_records(noun, added), why, change=False)
            return Commit(0, len(added), 0, len(rows) - len(added))

        return self._write(noun, attempt)

    def replace_rows(self, noun: type, rows: pa.Table, *, why: str) -> Commit:
        """Make the table hold exactly these rows, told apart by key; only what differs is written.

        In columns, for tables too large to be records: `rows` has the noun's Arrow schema.
        """

        def attempt(table: DeltaTable) -> Commit:
            standing = as_schema(rows_of(table), rows.schema)
            found = differing(standing, rows, key_of(noun))
            added, changed, gone = found.fresh.num_rows, found.changed.num_rows, len(found.gone)
            if gone or added + changed > MERGE_UP_TO * rows.num_rows:
                overwrite(table, rows, why)  # a MERGE and a DELETE would be two commits
            elif added or changed:
                merge(table, noun, pa.concat_tables([found.fresh, found.changed]), why)
            same = rows.num_rows - added - changed
            return Commit(0, added, changed, same, gone)

        return self._write(noun, attempt)

    def remove(self, noun: type, keys: Iterable[str], *, why: str) -> int:
        """Delete the rows with these keys in one commit.

        How many there were. Earlier versions keep them.
        """
        doomed = sorted(set(keys))
        if not doomed or self.version(noun) is None:
            return 0

        def attempt(table: DeltaTable) -> Commit:
            return Commit(0, 0, 0, 0, delete(table, key_of(noun), doomed, why))

        return self._write(noun, attempt).removed

    def restore(self, noun: type, version: int, *, why: str) -> Commit:
        """Make the newest version hold what an earlier one held; what came between stays readable.

        Raises ManifestError if there is no such version, or if the table only ever grows: a consent
        that was withdrawn, or a mark of what was erased, does not come back or go by going back.
        """
        if noun in ONLY_GROWING:
            raise ManifestError(
                f"{TABLES[noun]} is never set back: what was withdrawn or erased stays so.",
                "For a consent, see `authface consent add` and `authface consent withdraw`.",
            )
        rows = as_schema(self.table(noun, version), arrow_schema(noun))
        return self.replace_rows(noun, rows, why=why)

    def migrate(self) -> dict[str, list[str]]:
        """Bring every table up to this release's schema; the steps that ran, by table name."""
        done = {}
        for noun, name in TABLES.items():
            if self.version(noun) is not None:
                with _storage_errors(self.folder), self.locked(noun):
                    table = self._open(noun)
                    steps = [] if table is None else migrate(table, noun)
                    if table is not None and steps:
                        seal(table)
                        done[name] = steps
        return done

    def sweep(self) -> int:
        """Delete what stopped writers left half written; how many files."""
        count = 0
        for noun, name in TABLES.items():
            if (self.folder / name).is_dir() and only_ours(self.folder, name):
                with self.locked(noun):
                    count += sweep_table(self.folder / name)
        return count

    def read(self, noun: type[Record], version: int | None = None) -> list[Record]:
        """All rows of a noun at a version (newest if none), ordered by key.

        Empty if there is no table yet.
        """
        if version is None and self.version(noun) is None:
            return []
        return records_from_table(noun, self.table(noun, version))

    def table(self, noun: type, version: int | None = None) -> pa.Table:
        """The rows as an Arrow table, ordered by key."""
        opened = self._open(noun, version)
        if opened is None:
            raise ManifestError(
                f"{self.folder / TABLES[noun]} holds no table"
                + (f" at version {version}." if version is not None else "."),
                "See `authface manifest versions` for what there is.",
            )
        with _storage_errors(self.folder / TABLES[noun]):
            return rows_of(opened).sort_by(key_of(noun))

    def columns(self, noun: type, names: Iterable[str]) -> pa.Table | None:
        """These columns of the newest version, as far as the table has them; none without one."""
        opened = self._open(noun)
        if opened is None:
            return None
        known = {field.name for field in opened.schema().fields}
        with _storage_errors(self.folder / TABLES[noun]):
            return rows_of(opened, [name for name in names if name in known])

    def version(self, noun: type) -> int | None:
        """The newest version of a noun's table, none if there is no table."""
        opened = self._open(noun)
        return None if opened is None else int(opened.version())

    def versions(self) -> dict[str, int]:
        """The newest version of every table there is, by table name."""
        found = {name: self.version(noun) for noun, name in TABLES.items()}
        return {name: version for name, version in found.items() if version is not None}

    def dataset(self, noun: type, version: int | None = None) -> Any:
        """The table as a pyarrow dataset, read as far as it is asked; none if there is no table."""
        opened = self._open(noun, version)
        return None if opened is None else dataset_of(opened)

    def files(self, noun: type, version: int | None = None) -> set[str] | None:
        """Names of the Parquet files of a version, none if there is no such version.

        Without its data set, whose import brings pandas: a second and more.
        """
        opened = self._open(noun, version)
        return None if opened is None else {u.rsplit("/", 1)[-1] for u in opened.file_uris()}

    def rows_with(self, noun: type[Record], column: str, values: Iterable[str]) -> list[Record]:
        """The rows whose column has one of the values; the others are never all in memory."""
        opened = self._open(noun)
        if opened is None:
            return []
        return records_from_table(noun, rows_with(opened, column, pa.array(values, pa.string())))

    def seals(self, noun: type) -> dict[str, str]:
        """SHA-256 by file name for every Parquet file that a seal vouches for."""
        return sealed_files(self.folder / TABLES[noun])

    def unsealed(self, noun: type) -> list[str]:
        """Parquet files that no seal vouches for, because their writer was killed."""
        return unsealed(self.folder / TABLES[noun])

    def _write(self, noun: type, attempt: Callable[[DeltaTable], Commit]) -> Commit:
        """Try until no other writer came first; then seal."""
        with _storage_errors(self.folder), self.locked(noun):
            for number in range(TRIES):
                table = self._open_or_create(noun)
                before = table.version() if table.version() else -1  # a new one has no seal yet
                try:
                    result = attempt(table)
                    break
                except CommitFailedError:
                    if number == TRIES - 1:
                        raise
                    time.sleep(random.uniform(0, 0.05 * (number + 1)))
            if table.version() > before:
                seal(table)
        return replace(result, version=table.version())

    def _open(self, noun: type, version: int | None = None) -> DeltaTable | None:
        path = self.folder / TABLES[noun]
        if not (path / "_delta_log").is_dir():
            return None
        try:
            opened = DeltaTable(path, version=version)
        except TableNotFoundError as error:
            if any(path.glob("*.parquet")):
                raise ManifestError(
                    f"The table {path} has rows but no log of them.",
                    "Restore its _delta_log from a backup; nothing was read or written.",
                ) from error
            return None  # whoever made it was killed before the first commit
        except DeltaError as error:
            if version is not None:
                return None
            raise ManifestError(
                f"The table {path} can't be opened: {str(error).splitlines()[0]}.",
                "Run `authface manifest fsck`.",
            ) from error
        refuse_newer(opened, path)
        return opened

    def _open_or_create(self, noun: type) -> DeltaTable:
        opened = self._open(noun)
        if opened is not None:
            migrate(opened, noun)
            seal_last(opened)
            return opened
        path = self.folder / TABLES[noun]
        path.mkdir(parents=True, exist_ok=True)
        about = (noun.__doc__ or "").strip()
        return DeltaTable.create(
            path,
            schema=arrow_schema(noun),
            name=TABLES[noun],
            description=about,
            configuration=KEEP_LOG,
            raise_if_key_not_exists=False,
        )

    def _differences(
        self, noun: type[Record], table: DeltaTable, rows: list[Record]
    ) -> tuple[list[Record], list[Record]]:
        key = key_of(noun)
        newest = {getattr(r, key): r for r in rows}  # the last one wins where a key comes twice
        touched = rows_with(table, key, pa.array(list(newest), pa.string()))
        stored = {getattr(r, key): r for r in records_from_table(noun, touched)}
        added = [r for k, r in newest.items() if k not in stored]
        # Compared as text too: a number that is none is not equal to itself.
        changed = [
            r
            for k, r in newest.items()
            if k in stored and stored[k] != r and repr(stored[k]) != repr(r)
        ]
        return added, changed

    @contextlib.contextmanager
    def locked(self, noun: type) -> Iterator[None]:
        """Keep other writers of this machine away from the table."""
        # The kernel frees a flock when its holder dies, so a killed writer never blocks the next
        # one. What the dead one left half written is told by the mark that it could not take away.
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with writing_table(self.folder, TABLES[noun]):
                yield


@contextlib.contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn what a full, read-only or damaged disk raises into one clear error.

    Nothing was committed then.
    """
    try:
        yield
    except (pa.ArrowInvalid, DeltaError, OSError) as error:
        text = str(error)
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text:
            raise StorageError(
                f"The disk that holds {folder} is full.",
                "Nothing was committed: free space and run it again.",
            ) from error
        if isinstance(error, PermissionError) or "Permission denied" in text or "Read-only" in text:
            raise StorageError(
                f"{folder} can't be written: {text}.", "Check its permissions and run it again."
            ) from error
        if isinstance(error, pa.ArrowInvalid) or any(w in text for w in DAMAGED):
            raise ManifestError(
                f"{folder} can't be read: {text.splitlines()[0]}.",
                "Run `authface manifest fsck`, which names the damaged file.",
            ) from error
        raise
