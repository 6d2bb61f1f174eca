"""Prove every byte: each Parquet and media file against its SHA-256, each log file by its seal.

Reads files, never Delta: a damaged table can still be told what is wrong with it. Resumes after a
kill, since what was proved is noted as it goes and forgotten when the run ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from data_manifests.errors import ManifestError
from data_manifests.log import last_version, log_file, log_folder, read_commit
from data_manifests.media import Workspace, write_atomic
from data_manifests.records import Annotation, Face, Photo, Retouch, Sample, Task
from data_manifests.schema import key_of
from data_manifests.seals import FILES, LOG, file_sha256, head_file, read_head, told_by_head
from data_manifests.store import TABLES, Store
from data_manifests.sweep import PART, leftovers

__all__ = ["Proof", "named_media", "prove", "tidy"]

STATE = ".fsck.json"  # beside the tables, while a run is not finished
NOTE_EVERY_S = 2.0
RESTORE = "restore it from a backup"
MEDIA_COLUMNS: dict[type, tuple[str, ...]] = {
    Photo: ("proxy_path", "thumb_path"),
    Face: ("crops",),
    Sample: ("crop_path",),
    Task: ("image_path",),
    Annotation: ("regions",),
    Retouch: ("path", "crop"),
}
# Lists and a single row within a row: where they say it.
_WITHIN = {"crops": "path", "crop": "path", "regions": "mask_path"}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found about one file: `fault` is none where its bytes are what they should be."""

    path: str
    fault: str | None = None
    leftover: bool = False  # a stopped writer's: no fault, and nothing reads it
    known: bool = False  # proved by the run that was cut off


Proved = Mapping[str, list[int]]  # path -> size and time of change when it was proved


@dataclass(frozen=True, slots=True)
class _Claim:
    """A file and what its bytes should be."""

    path: Path
    sha256: str


def prove(workspace: Workspace, *, fresh: bool = False) -> Iterator[Proof]:
    """Every file of the tables and of media/, one proof each, faults named."""
    state = workspace.tables / STATE
    done = {} if fresh else _read_state(state)
    noted = time.monotonic()
    for proof in _proofs(workspace, dict(done)):
        yield proof
        if proof.fault is None and not proof.leftover:
            done[proof.path] = _stamp(Path(proof.path))
        if time.monotonic() - noted > NOTE_EVERY_S:
            write_atomic(state, json.dumps(done).encode())
            noted = time.monotonic()
    state.unlink(missing_ok=True)


def tidy(workspace: Workspace) -> int:
    """Delete what stopped writers left in tables and media; how many files.

    Not while something is being ingested or merged: what is half written then is not left over.
    """
    count = Store(workspace.tables).sweep()
    for path in list(workspace.media.rglob(PART + "*")):
        path.unlink(missing_ok=True)
        count += 1
    return count


def _proofs(workspace: Workspace, done: Proved) -> Iterator[Proof]:
    for noun, name in TABLES.items():
        proofs = _settled_proofs(workspace.tables / name, done)
        yield from proofs
        if not any(p.fault for p in proofs):  # rows are only read from files whose bytes are proved
            yield from _missing_media(workspace, noun)
    yield from _prove_files(_media_claims(workspace.media), done)


def _settled_proofs(table: Path, done: Proved) -> list[Proof]:
    """A table's proofs; again where it was written to meanwhile, which looks like a fault."""
    for _ in range(5):
        before = last_version(table)
        proofs = list(_prove_table(table, done))
        if last_version(table) == before or not any(p.fault for p in proofs):
            break
    return proofs


def _prove_table(table: Path, done: Proved) -> Iterator[Proof]:
    newest = last_version(table)
    if newest is None:
        if any(table.glob("*.parquet")):
            yield Proof(str(table), "has rows but no log of them: restore _delta_log from a backup")
        return
    yield from _prove_head(table)
    files: dict[str, str] = {}
    log, named = told_by_head(table), set[str]()
    for version in range(newest + 1):
        try:
            commit = read_commit(table, version)
            files |= json.loads(commit.info.get(FILES, "{}"))
            log |= json.loads(commit.info.get(LOG, "{}"))
            named |= set(commit.added)
        except (ManifestError, ValueError, AttributeError, TypeError):
            yield Proof(str(log_file(table, version)), f"can't be read: {RESTORE}")
    yield from _prove_files((_Claim(log_folder(table) / n, s) for n, s in log.items()), {})
    yield from _prove_files((_Claim(table / n, s) for n, s in files.items()), done)
    there = {p.name for p in log_folder(table).iterdir() if not p.name.startswith((".", "_commit"))}
    for path in [table / n for n in named - set(files)] + [
        log_folder(table) / n for n in there - set(log)
    ]:
        yield Proof(
            str(path), "is vouched for by no seal: the next write, or `authface manifest migrate`"
        )
    try:
        yield from (Proof(str(p), leftover=True) for p in leftovers(table))
    except ManifestError:
        return  # a log file that can't be read may be the one that names it


def _prove_head(table: Path) -> Iterator[Proof]:
    try:
        if read_head(table) is not None:
            yield Proof(str(head_file(table)))
    except (ValueError, KeyError, TypeError) as error:
        yield Proof(str(head_file(table)), f"is damaged ({error}): any write to the table mends it")


def _missing_media(workspace: Workspace, noun: type) -> Iterator[Proof]:
    """Files that rows of the newest version name and that are not there."""
    for row, relative in named_media(Store(workspace.tables), noun):
        if not (workspace.media / relative).exists():
            yield Proof(str(workspace.media / relative), f"is missing, and {row} names it")


def named_media(store: Store, noun: type) -> Iterator[tuple[str, str]]:
    """(row's key, path relative to media/) of every picture that a noun's newest version names."""
    dataset = store.dataset(noun) if noun in MEDIA_COLUMNS else None
    if dataset is None:
        return
    there = [c for c in MEDIA_COLUMNS[noun] if c in dataset.schema.names]
    for batch in dataset.to_batches(columns=[key_of(noun), *there], batch_size=4096):
        for row in batch.to_pylist():
            for column in there:
                paths = _paths(row[column], _WITHIN.get(column))
                yield from ((str(row[key_of(noun)]), path) for path in paths)


def _paths(held: Any, field: str | None) -> list[str]:
    """The paths that a column's value names: itself, or in the rows it holds."""
    rows = held if isinstance(held, list) else [held]
    found = (row.get(field) if field else row for row in rows if row)
    return [path for path in found if path]


def _media_claims(media: Path) -> Iterator[_Claim]:
    """Each media file goes by its content's hash, so its name is what its bytes should be."""
    for path in sorted(media.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield _Claim(path, path.stem)
        elif path.name.startswith(PART):
            yield _Claim(path, "")


def _prove_files(claims: Iterable[_Claim], done: Proved) -> Iterator[Proof]:
    waiting = iter(claims)
    with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter's lock
        while batch := list(islice(waiting, 256)):
            yield from pool.map(lambda c: _prove_file(c, done), batch)


def _prove_file(claim: _Claim, done: Proved) -> Proof:
    path = str(claim.path)
    if path in done and done[path] == _stamp(claim.path):
        return Proof(path, known=True)
    if not claim.sha256:
        return Proof(path, leftover=True)
    try:
        same = file_sha256(claim.path) == claim.sha256
    except FileNotFoundError:
        return Proof(path, f"is missing: {RESTORE}")
    except OSError as error:
        return Proof(path, f"can't be read: {error.strerror}")
    if same:
        return Proof(path)
    todo = "delete it, the versions make it up" if "checkpoint" in claim.path.name else RESTORE
    return Proof(path, f"is damaged, its SHA-256 is not what was committed: {todo}")


def _read_state(state: Path) -> dict[str, list[int]]:
    try:
        return {str(k): list(v) for k, v in json.loads(state.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _stamp(path: Path) -> list[int]:
    """Size and time of change: what was proved and changed since is proved again."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]
