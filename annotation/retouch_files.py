"""Files of the hot folder: which there are, whether they settled, their copies in media/."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotation.retouch_match import named_round
from data_manifests.errors import InputError
from data_manifests.media import write_pieces

__all__ = [
    "HotFolder",
    "Stamp",
    "by_version",
    "copied",
    "media_path",
    "packet_of",
    "returned_files",
    "settled_hash",
    "stamp_of",
]

Stamp = tuple[int, int]  # size in bytes, time of change in ns

_NOT_YET = re.compile(
    r"^\._|^\.|~$|^~|\.(tmp|temp|part|partial|crdownload|xmp|lock|ini|db)$|^Photoshop Temp",
    re.IGNORECASE,
)
_BLOCK = 1 << 20
_PACKET = (b"<x:xmpmeta", b"</x:xmpmeta>")


@dataclass(slots=True)
class HotFolder:
    """A folder or a single file, and what one look leaves for the next.

    `photo` is the photo_id, or its beginning, that a person names for what is in there.
    A file of the same size and time is neither read nor decoded again; what was kept apart, by
    SHA-256 with its reason, is once the tables that said so have changed. `locked` are files that
    can't be opened now, with the system's word for why.
    """

    path: Path
    photo: str | None = None
    hashes: dict[Path, tuple[Stamp, str]] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    tables: tuple[int | None, ...] = ()
    locked: dict[Path, str] = field(default_factory=dict)

    def look(self) -> dict[Path, Stamp]:
        """The files that may be returned work, with their size and time."""
        self.locked.clear()
        return {p: stamp for p in returned_files(self.path) if (stamp := stamp_of(p)) is not None}

    def knows(self, path: Path, stamp: Stamp) -> bool:
        """Whether the file was read at an earlier look."""
        return path in self.hashes and self.hashes[path][0] == stamp

    def hash_of(self, path: Path, stamp: Stamp) -> str | None:
        """The file's SHA-256; none if it changed since the look, is changing, or is locked."""
        if not self.knows(path, stamp):
            try:
                sha256 = settled_hash(path, stamp)
            except OSError as error:
                self.locked[path] = error.strerror or type(error).__name__
                return None
            if sha256 is not None:
                self.hashes[path] = (stamp, sha256)
        return self.hashes[path][1] if self.knows(path, stamp) else None

    def forget_unless(self, tables: tuple[int | None, ...]) -> None:
        """Forget why files were kept apart if the tables are of other versions by now."""
        if self.tables != tables:
            self.apart.clear()
            self.tables = tables


def returned_files(folder: Path) -> Iterator[Path]:
    """Files of the folder that may be returned work, oldest first; temporary ones are passed over.

    Files under one of our names come in the order of their versions: copying mixes up times.
    A file that is named itself is one. Raises InputError if nothing is there.
    """
    if folder.is_file():
        return iter((folder,))
    if not folder.is_dir():
        raise InputError(
            f"{folder} is neither a folder nor a file.", "Name the folder the retoucher saves into."
        )
    found = [
        Path(here) / name
        for here, folders, names in os.walk(folder)
        for name in names
        if not _NOT_YET.search(name) and not any(p.startswith(".") for p in Path(here).parts[1:])
    ]
    plain = [p for p in found if p.is_file() and not p.is_symlink()]
    return iter(by_version(sorted(plain, key=_age)))


def by_version(files: Sequence[Path]) -> list[Path]:
    """The same places in the order, those of one photo's versions filled by their numbers."""
    places: dict[str, list[int]] = {}
    for i, path in enumerate(files):
        if named_round(path.name) is not None:
            places.setdefault(path.name.lower().split("__")[0], []).append(i)
    out = list(files)
    for taken in places.values():
        versions = sorted((files[i] for i in taken), key=lambda p: named_round(p.name) or 0)
        for i, path in zip(taken, versions, strict=True):
            out[i] = path
    return out


def _age(path: Path) -> tuple[int, str]:
    """Of a file that may be gone by now."""
    stamp = stamp_of(path)
    return (stamp[1] if stamp else 0), str(path)


def packet_of(path: Path) -> bytes:
    """The first XMP packet in a file's bytes, empty if it has none or can't be read."""
    import mmap

    with (
        contextlib.suppress(OSError, ValueError),
        path.open("rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        start = data.find(_PACKET[0])
        end = data.find(_PACKET[1], start) if start >= 0 else -1
        return bytes(data[start : end + len(_PACKET[1])]) if end >= 0 else b""
    return b""


def settled_hash(path: Path, stamp: Stamp | None) -> str | None:
    """The SHA-256 of a file read to its last byte, none if it changed, is changing or is gone.

    Raises OSError if it is there and can't be read.
    """
    if stamp is None or not stamp[0] or stamp_of(path) != stamp:
        return None
    digest = hashlib.sha256()
    size = 0
    try:
        for block in _blocks(path):
            digest.update(block)
            size += len(block)
    except FileNotFoundError:
        return None
    return digest.hexdigest() if size == stamp[0] and stamp_of(path) == stamp else None


def copied(path: Path, media: Path, sha256: str) -> bool:
    """Copy into media/ by hash; false, and nothing left, if the bytes are gone or others by now."""
    target = media / media_path(sha256, path)
    if not target.exists():
        digest = hashlib.sha256()

        def pieces() -> Iterable[bytes]:
            with contextlib.suppress(OSError):  # cut short, it is not what was hashed
                for block in _blocks(path):
                    digest.update(block)
                    yield block

        write_pieces(target, pieces())
        if digest.hexdigest() != sha256:
            target.unlink()
            return False
    return True


def media_path(sha256: str, path: Path) -> str:
    """Where a returned file is kept, relative to media/."""
    suffix = re.sub(r"\W", "", path.suffix.lower()) or "bin"
    return f"retouches/{sha256[:2]}/{sha256}.{suffix}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            yield block


def stamp_of(path: Path) -> Stamp | None:
    """Its size and time of change; none if it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns
