"""What was fetched from the hub, file by file: SHA-256, size, date. Touches the disk.

A record lies in the user's cache, apart from the hub's. It is written when all files are there and
whole, so that a model with a record was fetched to its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from data_manifests.media import write_atomic
from data_manifests.seals import file_sha256

__all__ = ["Entry", "faults", "known_sha256", "read_record", "snapshot_of", "write_record"]

# A model in the hub's cache lies in models--owner--name/snapshots/commit/.
_SNAPSHOT = re.compile(r"models--(?P<repo>[^/\\]+)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40})")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was when it was fetched."""

    sha256: str
    bytes: int
    mtime_ns: int


def snapshot_of(path: Path) -> tuple[str, str, Path] | None:
    """Hub id, commit and folder of the snapshot that a path lies in, none if it lies in none."""
    for folder in (path, *path.parents):
        found = _SNAPSHOT.fullmatch("/".join(folder.parts[-3:]))
        if found:
            return found["repo"].replace("--", "/", 1), found["commit"], folder
    return None


def write_record(folder: Path) -> dict[str, Entry]:
    """Take down every file of a snapshot; StorageError if that can't be written."""
    entries = {}
    for path in _files(folder):
        told = path.stat()
        name = path.relative_to(folder).as_posix()
        entries[name] = Entry(file_sha256(path), told.st_size, told.st_mtime_ns)
    text = json.dumps({name: asdict(entry) for name, entry in entries.items()}, indent=1)
    write_atomic(_record_file(folder), text.encode())
    return entries


def read_record(folder: Path) -> dict[str, Entry]:
    """What was taken down of a snapshot; empty if nothing was, or it can't be read."""
    try:
        told = json.loads(_record_file(folder).read_text(encoding="utf-8"))
        return {name: Entry(**entry) for name, entry in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def known_sha256(path: Path) -> str:
    """A file's SHA-256: as taken down if size and date are still the same, else by reading it."""
    place = snapshot_of(path)
    if place is not None:
        folder = place[2]
        entry = read_record(folder).get(path.relative_to(folder).as_posix())
        told = path.stat()
        if entry and (entry.bytes, entry.mtime_ns) == (told.st_size, told.st_mtime_ns):
            return entry.sha256
    return file_sha256(path)


def faults(folder: Path, entries: Mapping[str, Entry]) -> Iterator[str]:
    """What of a snapshot is not as it was taken down, by reading every byte."""
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif file_sha256(path) != entry.sha256:
            yield f"{name} is another file than the one that was fetched"
    there = {path.relative_to(folder).as_posix() for path in _files(folder)}
    yield from (f"{name} was not fetched with it" for name in sorted(there - set(entries)))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _record_file(folder: Path) -> Path:
    place = snapshot_of(folder)
    if place is None:
        raise ValueError(f"{folder} is no snapshot of the hub's")
    name = f"{place[0].replace('/', '--')}@{place[1]}.json"
    return platformdirs.user_cache_path("authface") / "restorers" / name
