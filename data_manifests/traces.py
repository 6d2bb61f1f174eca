"""What of a person lies in a workspace outside its tables: media, restored photos, pages, caches.

Only what the toolkit makes itself is deleted. Any other file that names the person is reported, and
its owner decides.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_manifests.media import PART, Workspace
from data_manifests.person import Person, doom_of, media_named
from data_manifests.scrub import Doom
from data_manifests.store import Store

__all__ = [
    "Traces",
    "delete_media",
    "delete_traces",
    "delete_unnamed",
    "find_traces",
    "path_text",
]

QUIET_S = 60  # a file under its first name that nobody wrote to for so long has lost its writer
_SIDECAR = ".authface.json"
_PAGES = (".html", ".htm")
_PDF, _PDF_MADE_HERE = ".pdf", b"(AuthFace"  # its creator, in plain bytes as its keywords are
_MADE_HERE = b'<meta name="generator" content="AuthFace'  # stands in every page that we write
_MARK_WITHIN = 4096  # bytes from the start of a page
_TEXTS = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".md", ".log", ".xml", ".xmp", ".toml")
_KEPT = {"tables", "label-studio", "receipts"}  # seen to elsewhere
_OURS = {
    *("authface.toml", "config.json", "contains_erased.json"),
    *(".erase-key", ".erasing.json", ".erasing.json.part", ".erasing-tasks.json"),
    ".erasing-exports.json",
}
_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32,64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Traces:
    """Files outside tables and media/ that hold the person."""

    restored: tuple[Path, ...] = ()  # restored photos and their sidecars
    returned: tuple[Path, ...] = ()  # retouched files that came back into the workspace
    pages: tuple[Path, ...] = ()  # HTML pages of our making, which can be made anew
    caches: tuple[Path, ...] = ()  # named by one of the person's hashes
    parts: tuple[Path, ...] = ()  # left half written by a killed process
    named: tuple[Path, ...] = ()  # files of other making that name the person: not deleted
    busy: tuple[Path, ...] = ()  # half written a moment ago

    @property
    def doomed(self) -> tuple[Path, ...]:
        """What is to be deleted."""
        return (*self.restored, *self.returned, *self.pages, *self.caches, *self.parts)


def find_traces(place: Workspace, person: Person, *, exports: tuple[Path, ...] = ()) -> Traces:
    """Look at every file of the workspace; folders of known exports are seen to by the exports."""
    wanted = _Wanted(person)
    found: dict[str, set[Path]] = {n: set() for n in Traces.__slots__}
    for path in _files(place, exports):
        kind = _kind(path, wanted)
        if kind == "restored":
            picture = path.with_name(path.name.removesuffix(_SIDECAR))
            ours = picture.is_file() and path_text(picture) not in wanted.originals
            found[kind].update({path, picture} if ours else {path})
        elif kind:
            found[kind].add(path)
    return Traces(**{n: tuple(sorted(paths)) for n, paths in found.items()})


def delete_media(media: Path, names: tuple[str, ...]) -> None:
    """Delete files below media/, and folders that are empty then; what is gone already is fine."""
    for name in names:
        _unlink(media / name)
        folder = (media / name).parent
        if folder != media and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def delete_unnamed(store: Store, media: Path, names: Iterable[str]) -> None:
    """Delete those of the files below media/ that no row of any version names."""
    there = {name for name in names if (media / name).is_file()}
    if there:
        delete_media(media, tuple(sorted(there - media_named(store, Doom({}))[1])))


def delete_traces(traces: Traces) -> None:
    """Delete what is to be deleted; what is gone already is fine."""
    for path in traces.doomed:
        _unlink(path)


def path_text(path: Path) -> str:
    """A path as the tables hold it: bytes that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class _Wanted:
    """The person's hashes and paths, ready to be looked for in names and bytes."""

    def __init__(self, person: Person) -> None:
        self.photos = person.of("photo")
        stems = {Path(m).stem for m in person.media}
        kinds = ("photo", "pixels", "sample", "retouch")
        self.hashes = stems.union(*(person.of(k) for k in kinds))
        self.encoded = {h.encode() for h in self.hashes}
        long = {*person.originals, *person.of("face")}
        self.texts = tuple(t.encode() for t in sorted(long) if len(t) > 4)
        self.file_names = tuple(n.encode() for n in sorted(person.names))
        self.without_names = doom_of(person).without_names
        self.originals = frozenset(person.originals)
        self.returned = person.of("returned")

    def names(self, text: str) -> bool:
        """Whether a file's name holds one of the hashes."""
        return any(m.decode() in self.hashes for m in _HEX.findall(os.fsencode(text)))

    def inside(self, data: bytes) -> bool:
        """Whether the bytes hold a hash, a path, a face's id or a file name of the person."""
        if not self.encoded.isdisjoint(_HEX.findall(data)):
            return True
        if any(text in data for text in self.texts):
            return True
        if not any(name in data for name in self.file_names):  # quicker than the words around it
            return False
        text = data.decode("utf-8", "replace")
        return self.without_names(text) != text


def _kind(path: Path, wanted: _Wanted) -> str:
    if path.name.startswith(PART):
        return "parts" if time.time() - path.stat().st_mtime > QUIET_S else "busy"
    if path.name in _OURS or path_text(path) in wanted.originals:
        return ""  # an original is its owner's, wherever it lies
    if path_text(path) in wanted.returned:
        return "returned"
    if path.name.endswith(_SIDECAR):
        return "restored" if _made_from(path, wanted) else ""
    return "caches" if wanted.names(path.name) else _kind_inside(path, wanted)


def _kind_inside(path: Path, wanted: _Wanted) -> str:
    suffix = path.suffix.lower()
    if suffix not in (*_PAGES, *_TEXTS, _PDF):
        return ""
    data = _bytes(path)
    if not wanted.inside(data):
        return ""
    ours = _PDF_MADE_HERE in data if suffix == _PDF else _MADE_HERE in data[:_MARK_WITHIN]
    return "pages" if ours and suffix in (*_PAGES, _PDF) else "named"


def _made_from(sidecar: Path, wanted: _Wanted) -> bool:
    try:
        source = json.loads(_bytes(sidecar))["input"]
        return source["sha256"] in wanted.photos or source["path"] in wanted.originals
    except (ValueError, KeyError, TypeError):
        return wanted.inside(_bytes(sidecar))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _files(place: Workspace, exports: tuple[Path, ...]) -> Iterator[Path]:
    """Files of the workspace but for those seen to elsewhere; below media/ only half-written."""
    skipped = {place.root / name for name in _KEPT} | set(exports)
    for folder, folders, names in os.walk(place.root):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if here / f not in skipped)
        parts_only = here.is_relative_to(place.media)
        for name in sorted(names):
            path = here / name
            if (name.startswith(PART) or not parts_only) and path.is_file():
                yield path


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
