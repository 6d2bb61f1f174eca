"""Delta tables of the nouns: upsert by key, read at a version. The only place that writes tables.

An upsert is one Delta MERGE followed by a *seal*: an empty commit whose metadata holds the SHA-256
of every Parquet file the MERGE added. delta-rs names and writes those files itself, so their hashes
can't stand in the MERGE's own commit; a version without a seal is one whose writer was killed, and
the next write seals it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import fs

from data_manifests import records as nouns
from data_manifests.errors import ManifestError, StorageError
from data_manifests.schema import arrow_schema, key_of, records_from_table, table_from_records

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
    nouns.Consent: "consents",
    nouns.ConsentEntry: "consent_ledger",
    nouns.Tombstone: "tombstones",
    nouns.Export: "exports",
    nouns.Sample: "samples",
}
SEAL = "authface_sealed_version"
# Old commits hold the seals and are what a pinned version needs, so delta-rs must never tidy them
# away.
KEEP_LOG = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
}


@dataclass(frozen=True, slots=True)
class Commit:
    """What an upsert did: the version now, and how many rows were new, changed, or the same."""

    version: int
    added: int
    changed: int
    unchanged: int


class Store:
    """The Delta tables under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def upsert(self, noun: type[Record], records: Iterable[Record], *, why: str) -> Commit:
        """Add or replace rows by key in one atomic commit.

        Rows that are already the same cost nothing.
        """
        rows = list(records)
        with _storage_errors(self.folder), self._locked():
            table = self._open_or_create(noun)
            added, changed = self._differences(noun, table, rows)
            if added or changed:
                _widen(table, noun)
                _merge(table, noun, added + changed, why)
                _seal(table)
            return Commit(
                table.version(), len(added), len(changed), len(rows) - len(added) - len(changed)
            )

    def remove(self, noun: type, keys: Iterable[str], *, why: str) -> int:
        """Delete the rows with these keys in one commit.

        How many there were. Earlier versions keep them.
        """
        key = key_of(noun)
        doomed = sorted(set(keys))
        listed = ", ".join("'" + k.replace("'", "''") + "'" for k in doomed)
        properties = CommitProperties(custom_metadata={"authface_why": why})
        with _storage_errors(self.folder), self._locked():
            opened = self._open(noun)  # under the lock: another writer's commit would make it stale
            if opened is None or not doomed:
                return 0
            _seal_last(opened)
            result = opened.delete(f"{key} IN ({listed})", commit_properties=properties)
            _seal(opened)
        return int(result["num_deleted_rows"])

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
        return _rows(opened).sort_by(key_of(noun))

    def version(self, noun: type) -> int | None:
        """The newest version of a noun's table, none if there is no table."""
        opened = self._open(noun)
        return None if opened is None else int(opened.version())

    def versions(self) -> dict[str, int]:
        """The newest version of every table there is, by table name."""
        found = {name: self.version(noun) for noun, name in TABLES.items()}
        return {name: version for name, version in found.items() if version is not None}

    def seals(self, noun: type) -> dict[str, str]:
        """SHA-256 by file name for every Parquet file that a seal vouches for."""
        opened = self._open(noun)
        if opened is None:
            return {}
        sealed: dict[str, str] = {}
        for commit in _log(self.folder / TABLES[noun]):
            sealed |= json.loads(commit["info"].get("authface_sha256", "{}"))
        return sealed

    def unsealed(self, noun: type) -> list[str]:
        """Parquet files that no seal vouches for, because their writer was killed.

        The next write seals them.
        """
        sealed = self.seals(noun)
        added = [a for c in _log(self.folder / TABLES[noun]) for a in c["added"]]
        return [name for name in added if name not in sealed]

    def _open(self, noun: type, version: int | None = None) -> DeltaTable | None:
        path = self.folder / TABLES[noun]
        if not (path / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(path, version=version)
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
                f"The table {path} can't be opened: {error}.", "Run `authface manifest check`."
            ) from error

    def _open_or_create(self, noun: type) -> DeltaTable:
        opened = self._open(noun)
        if opened is not None:
            _seal_last(opened)
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
        )

    def _differences(
        self, noun: type[Record], table: DeltaTable, rows: list[Record]
    ) -> tuple[list[Record], list[Record]]:
        key = key_of(noun)
        newest = {getattr(r, key): r for r in rows}  # the last one wins where a key comes twice
        touched = _rows_with(table, key, pa.array(list(newest), pa.string()))
        stored = {getattr(r, key): r for r in records_from_table(noun, touched)}
        added = [r for k, r in newest.items() if k not in stored]
        changed = [r for k, r in newest.items() if k in stored and stored[k] != r]
        return added, changed

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The kernel frees a flock when its holder dies, so a killed writer never blocks the next
        # one.
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _merge(table: DeltaTable, noun: type[Record], rows: list[Record], why: str) -> None:
    key = key_of(noun)
    (
        table.merge(
            table_from_records(noun, rows),
            predicate=f"target.{key} = source.{key}",
            source_alias="source",
            target_alias="target",
            commit_properties=CommitProperties(custom_metadata={"authface_why": why}),
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


def _widen(table: DeltaTable, noun: type) -> None:
    """Give a table of an older release the columns it lacks, in a commit of its own.

    A MERGE that widens the table while it rewrites a file loses the values of the rows it does not
    touch (delta-rs 1.6), so the table is as wide as the rows before one begins.
    """
    wanted, standing = arrow_schema(noun), pa.schema(table.schema().to_arrow())
    if set(_names(wanted)) - set(_names(standing)):
        # delta-rs refuses another description of a column that is there: it keeps its first one.
        known = set(standing.names)
        wider = pa.schema([_bare(f) if f.name in known else f for f in wanted])
        write_deltalake(table, wider.empty_table(), mode="append", schema_mode="merge")
        table.update_incremental()


def _bare(field: pa.Field) -> pa.Field:
    """The field without descriptions, its own and those inside it."""
    kind = field.type
    if pa.types.is_list(kind):
        kind = pa.list_(_bare(kind.value_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([_bare(inner) for inner in kind])
    return field.remove_metadata().with_type(kind)


def _names(fields: Iterable[pa.Field], within: str = "") -> Iterator[str]:
    """Names of the fields and of what lies inside them; types carry notes and never compare."""
    for field in fields:
        kind = field.type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        yield within + field.name
        if pa.types.is_struct(kind):
            yield from _names(kind, f"{within}{field.name}.")


def _seal_last(table: DeltaTable) -> None:
    """Seal the newest commit if its writer was killed between the MERGE and the seal."""
    if _commit(_folder(table), table.version())["added"]:
        _seal(table)


def _seal(table: DeltaTable) -> None:
    folder, version = _folder(table), table.version()
    hashes = {name: file_sha256(folder / name) for name in _commit(folder, version)["added"]}
    metadata = {SEAL: str(version), "authface_sha256": json.dumps(hashes)}
    table.create_write_transaction(
        [], "append", table.schema(), commit_properties=CommitProperties(custom_metadata=metadata)
    )
    table.update_incremental()


def _rows(table: DeltaTable) -> pa.Table:
    return _dataset(table).to_table()


def _rows_with(table: DeltaTable, column: str, values: pa.Array) -> pa.Table:
    """The rows that have one of the values; the others are never all in memory.

    Batch by batch and not as a filter of the data set: Delta's statistics come as string views,
    which Arrow does not compare with strings.
    """
    dataset = _dataset(table)
    found = (b.filter(pc.is_in(b[column], value_set=values)) for b in dataset.to_batches())
    return pa.Table.from_batches(found, schema=dataset.schema)


def _dataset(table: DeltaTable) -> Any:
    # Through delta's own file system, written in Python, Arrow's reading threads can outlive the
    # interpreter: one process in ten that ended right after a read was aborted (exit code 134).
    files = fs.SubTreeFileSystem(str(_folder(table)), fs.LocalFileSystem())
    return table.to_pyarrow_dataset(filesystem=files)


def _folder(table: DeltaTable) -> Path:
    return Path(unquote(table.table_uri.removeprefix("file://")))


def _log(folder: Path) -> list[dict[str, Any]]:
    versions = sorted(
        int(p.stem) for p in (folder / "_delta_log").glob("*.json") if p.stem.isdigit()
    )
    return [_commit(folder, v) for v in versions]


def _commit(folder: Path, version: int) -> dict[str, Any]:
    lines = (folder / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
    actions = [json.loads(line) for line in lines if line.strip()]
    info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    return {
        "version": version,
        "info": info,
        "added": [a["add"]["path"] for a in actions if "add" in a],
    }


@contextlib.contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises into one clear error.

    Nothing was committed then.
    """
    try:
        yield
    except (OSError, DeltaError) as error:
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
        raise
