"""Find photo files: folders, files and links in, one stable list out. Decodes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.formats import HEAD_BYTES, looks_like_photo
from data_manifests.errors import InputError

__all__ = ["Found", "find_photos"]


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest, or something that can't be entered and why.

    On an object store it has a `url`, the addresses of its sidecars and a text that changes
    when they do, and the size and time of change that the listing gave; `path` is only its name.
    """

    path: Path
    problem: str = ""
    url: str = ""
    stamp: tuple[int, int] | None = None
    sidecars: tuple[str, ...] = ()
    sidecars_state: str = ""


def find_photos(sources: Iterable[Path]) -> Iterator[Found]:
    """Yield every photo under the sources, folders in order of their names' bytes.

    A file named by the user always comes; inside folders only files that have a picture's name or a
    picture's first bytes do. Hidden files and folders are passed over. Links are followed, each
    folder is entered once. Raises InputError for a source that does not exist.
    """
    entered: set[tuple[int, int]] = set()
    for source in sources:
        path = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would lose the link's name
        if not os.path.lexists(path):
            raise InputError(f"{source} does not exist.", "Check the path.")
        yield from _look(path, entered, named=True)


def _look(path: Path, entered: set[tuple[int, int]], *, named: bool) -> Iterator[Found]:
    try:
        facts = path.stat()
    except OSError as error:
        yield Found(path, f"can't be followed: {error.strerror}")
        return
    if stat.S_ISDIR(facts.st_mode):
        if (facts.st_dev, facts.st_ino) not in entered:
            entered.add((facts.st_dev, facts.st_ino))
            yield from _enter(path, entered)
    elif not stat.S_ISREG(facts.st_mode):
        if named or looks_like_photo(b"", path.name):
            yield Found(path, "is no ordinary file (a pipe, socket or device)")
    elif named or looks_like_photo(_head(path), path.name):
        yield Found(path)


def _enter(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Found]:
    try:
        with os.scandir(folder) as entries:
            names = sorted((e.name for e in entries if not e.name.startswith(".")), key=os.fsencode)
    except OSError as error:
        yield Found(folder, f"can't be opened: {error.strerror}")
        return
    for name in names:
        yield from _look(folder / name, entered, named=False)


def _head(path: Path) -> bytes:
    """The first bytes; none where they can't be read, so that the name decides alone."""
    if looks_like_photo(b"", path.name):
        return b""  # the name is enough: saves opening every file of a large folder
    try:
        with path.open("rb") as handle:
            return handle.read(HEAD_BYTES)
    except OSError:
        return b""
