"""Rewrite a table's history without a person: same versions, same file names, fewer rows.

Nothing of a table is touched until everything that is to replace it lies finished in a folder
beside the tables; then a mark is set, and the files are moved into place. Whoever finds the mark
moves what has not been moved. So a kill leaves a table as it was, or one that the next run ends.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable

from data_manifests import seals
from data_manifests.delta import NO_HOOKS, seal, seal_last
from data_manifests.errors import ManifestError
from data_manifests.log import commits, last_version, log_file, log_folder
from data_manifests.media import write_atomic
from data_manifests.relog import NewFile, changed_commit, stats_of
from data_manifests.scrub import Doom, concerns, plain_schema, scrubbed
from data_manifests.store import TABLES, Store
from data_manifests.sweep import sweep_table

__all__ = ["STAGING", "parquet_files", "refuse_gaps", "rewrite_table", "row_groups"]

STAGING = ".erasing"  # below tables/: on their disk, so that a move is one step
_READY = "ready.json"
_WHY = "erased a person's rows from every version, receipt {}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A table's folder, its name, and where its new files wait."""

    folder: Path
    name: str
    staging: Path


def rewrite_table(store: Store, noun: type, doom: Doom, *, receipt_id: str) -> None:
    """Take the person out of every version of one table and say so in a commit; once.

    A rerun after a kill ends what was begun; one after the end changes nothing.
    """
    name = TABLES[noun]
    place = _Place(store.folder / name, name, store.folder / STAGING / name)
    if last_version(place.folder) is None:
        return
    refuse_gaps(place.folder)
    with store.locked(noun):
        sweep_table(place.folder)
        while (place.staging / _READY).exists() or _stage(place, doom):
            _move_into_place(place)
            _commit_erased(place.folder, receipt_id)
            shutil.rmtree(place.staging)
        shutil.rmtree(place.staging, ignore_errors=True)
        if place.staging.parent.is_dir() and not any(place.staging.parent.iterdir()):
            place.staging.parent.rmdir()


def refuse_gaps(folder: Path) -> None:
    """Raise ManifestError if log files are missing: without them no checkpoint can be made anew."""
    newest = last_version(folder)
    gaps = [v for v in range((newest or 0) + 1) if not log_file(folder, v).exists()]
    if gaps and newest is not None:
        raise ManifestError(
            f"The log of {folder} lacks version {gaps[0]}, so its history can't be rewritten.",
            "Restore that file from a backup, or copy the newest rows into a new workspace.",
        )


def parquet_files(folder: Path) -> list[Path]:
    """Every Parquet file that a version of the table ever added and that is there, oldest first."""
    named = dict.fromkeys(name for commit in commits(folder) for name in commit.added)
    return [folder / name for name in named if (folder / name).exists()]


def row_groups(file: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file, a row group at a time; columns that it lacks are left out."""
    with pq.ParquetFile(file) as opened:
        names = opened.schema_arrow.names
        there = None if columns is None else [c for c in columns if c in names]
        for number in range(opened.num_row_groups):
            rows = opened.read_row_group(number, columns=there)
            yield rows.cast(plain_schema(rows.schema))


def _stage(place: _Place, doom: Doom) -> bool:
    """Make every file that must change, beside the table; false if none must."""
    shutil.rmtree(place.staging, ignore_errors=True)
    place.staging.mkdir(parents=True)
    stats = _stats(place.folder)
    files: dict[str, NewFile] = {}
    for old in parquet_files(place.folder):
        if _concerned(place.name, old, doom):
            new = place.staging / old.name
            files[old.name] = _write_without(place.name, old, new, doom, stats[old.name])
    moved = list(files)
    for version in range((last_version(place.folder) or 0) + 1):
        old = log_file(place.folder, version)
        text = changed_commit(old.read_text(), files, doom)
        if text is not None:
            write_atomic(place.staging / old.name, text.encode())
            moved.append(old.name)
    if moved:
        checkpoint = (log_folder(place.folder) / "_last_checkpoint").exists()
        told = {"files": moved, "checkpoint": checkpoint}
        write_atomic(place.staging / _READY, json.dumps(told).encode())
    return bool(moved)


def _concerned(name: str, file: Path, doom: Doom) -> bool:
    return any(concerns(name, rows, doom) for rows in row_groups(file))


def _write_without(name: str, old: Path, new: Path, doom: Doom, before: Any) -> NewFile:
    with pq.ParquetFile(old) as opened:
        schema, facts = plain_schema(opened.schema_arrow), opened.metadata
        codec = facts.row_group(0).column(0).compression if facts.num_row_groups else "SNAPPY"
    codec = "none" if codec == "UNCOMPRESSED" else codec.lower()
    count = 0
    with pq.ParquetWriter(new, schema, compression=codec) as writer:
        for rows in row_groups(old):
            kept = scrubbed(name, rows, doom)[0]
            count += kept.num_rows
            writer.write_table(kept)
    _flush(new)
    return NewFile(new.stat().st_size, seals.file_sha256(new), count, _measured(new, before))


def _measured(file: Path, before: Any) -> dict[str, Any]:
    """Delta's statistics of a file, a column at a time: a file need not fit in memory."""
    found: dict[str, Any] = {key: {} for key in before if key != "numRecords"}
    with pq.ParquetFile(file) as opened:
        for name in opened.schema_arrow.names:
            wanted = {k: {name: told[name]} for k, told in before.items() if _has(told, name)}
            if wanted:
                rows = opened.read([name])
                for key, value in stats_of(rows, wanted).items():
                    found[key] |= value
    return found


def _has(told: Any, name: str) -> bool:
    return isinstance(told, dict) and name in told


def _stats(folder: Path) -> dict[str, Any]:
    """Delta's statistics of every file ever added, by name."""
    found: dict[str, Any] = {}
    for version in range((last_version(folder) or 0) + 1):
        for line in log_file(folder, version).read_text().splitlines():
            add = json.loads(line).get("add") if '"add"' in line[:8] else None
            if add is not None:
                found[add["path"]] = json.loads(add.get("stats") or "{}")
    return found


def _move_into_place(place: _Place) -> None:
    told = json.loads((place.staging / _READY).read_text())
    log = log_folder(place.folder)
    # Checkpoints and checksums hold the old statistics: gone before the log says otherwise.
    for pattern in ("*.checkpoint*.parquet", "_last_checkpoint", "*.crc", "*.compacted.json"):
        for stale in log.glob(pattern):
            stale.unlink()
    for name in told["files"]:
        target = (log if name.endswith(".json") else place.folder) / name
        if (place.staging / name).exists():
            (place.staging / name).replace(target)
    _flush(place.folder)
    _flush(log)
    if told["checkpoint"]:
        DeltaTable(place.folder).create_checkpoint()
    _after_rewrite(place.folder)


def _after_rewrite(folder: Path) -> None:
    """Make the seals of a table true again: each holds the hash of the one before."""
    seals.reseal(folder)


def _commit_erased(folder: Path, receipt_id: str) -> None:
    table = DeltaTable(folder)
    if any(receipt_id in str(c.info.get("authface_why", "")) for c in commits(folder)):
        seal_last(table)
        return
    why = CommitProperties(custom_metadata={"authface_why": _WHY.format(receipt_id)})
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        commit_properties=why,
        post_commithook_properties=NO_HOOKS,
    )
    table.update_incremental()
    seal(table)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
