"""One original, opened once for reading: its bytes, its hash, and whether it changed meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from data_manifests.errors import UnreadablePhoto

__all__ = ["Source", "Stamp", "is_utf8", "open_source", "stamp_of"]

IN_MEMORY = 160_000_000  # bytes; larger files are hashed in pieces and read again by their decoder

Stamp = tuple[int, int]  # size in bytes, time of change in ns


@dataclass(frozen=True, slots=True)
class Source:
    """An original as it was read. `data` is none where it is too large to hold."""

    path: Path
    photo_id: str
    stamp: Stamp
    data: bytes | None = field(default=None, repr=False)


def open_source(path: Path) -> Source:
    """Read and hash an ordinary file; never blocks on a pipe that took its place.

    Raises UnreadablePhoto with the reason "unreadable".
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UnreadablePhoto("unreadable", "is no ordinary file any more")
            stamp = _stamp(facts)
            if facts.st_size > IN_MEMORY:
                return Source(path, hashlib.file_digest(opened, "sha256").hexdigest(), stamp)
            data = opened.read()
    except OSError as error:
        why = error.strerror or "it can't be opened"
        raise UnreadablePhoto("unreadable", f"can't be read: {why}") from error
    return Source(path, hashlib.sha256(data).hexdigest(), stamp, data)


def is_utf8(path: Path) -> bool:
    """Whether the name can be told to libraries that take UTF-8 only."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def stamp_of(path: Path) -> Stamp | None:
    """Size and time of change now; none if the file is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return _stamp(facts)


def _stamp(facts: os.stat_result) -> Stamp:
    """A file may carry any time; tables hold 64 bits, which end in the year 2262."""
    return facts.st_size, max(min(facts.st_mtime_ns, 2**63 - 1), -(2**63))
