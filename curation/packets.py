"""Every XMP packet that speaks about a photo, each by itself: sidecars, then the file's own."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from curation.formats import RAW_SUFFIXES
from curation.xmp import (
    Properties,
    Said,
    plain,
    read_properties,
    read_sidecar,
    said_in,
    sidecars,
)
from data_manifests.records import Photo

__all__ = ["XmpPacket", "is_same_picture", "read_packets"]

# Formats that Pillow opens without their XMP: it is looked for near the start of the file.
_SCANNED = frozenset((".psd", ".psb", ".heic", ".heif", ".hif"))
_SCAN_BYTES = 4_000_000
_PACKET = re.compile(rb"<x:xmpmeta\b.*?</x:xmpmeta>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class XmpPacket:
    """One packet: where it stands (empty for the photo's own), what it says, when the file changed.

    `changed_at` is the file system's time in UTC.
    """

    where: str
    said: Said
    properties: Properties
    changed_at: datetime


def read_packets(path: Path) -> tuple[tuple[XmpPacket, ...], tuple[str, ...]]:
    """The packets of a photo, sidecars first, the newest before the others; and what is damaged.

    A photo that is gone gives what its sidecars say.
    """
    notes: list[str] = []
    places = [(p.name, p) for p in sidecars(path)]
    found = [_packet(where, p, read_sidecar(p, notes), notes) for where, p in places]
    if path.is_file():
        found.append(_packet("", path, _embedded(path, notes), notes))
    return tuple(p for p in found if p is not None), tuple(notes)


def is_same_picture(path: Path, photo: Photo) -> bool:
    """Whether a file still shows the photo that was read from it; its metadata may have changed.

    One of the same size and time of change is not read; of another the pixels are compared, where
    their hash is known. Raises UnreadablePhoto.
    """
    facts = path.stat()
    if (facts.st_size, facts.st_mtime_ns) == (photo.size_bytes, photo.modified_ns):
        return True
    if photo.pixel_hash is None or path.suffix.lower() in RAW_SUFFIXES:
        return True
    from curation.decode import read_photo
    from curation.duplicates import pixel_hash

    return pixel_hash(read_photo(path).pixels_HWC) == photo.pixel_hash


def _packet(where: str, path: Path, data: bytes, notes: list[str]) -> XmpPacket | None:
    of = read_properties(data, notes, where or path.name)
    if of is None:
        return None
    try:
        changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:  # it vanished after it was read
        return None
    return XmpPacket(where, said_in(of), of, changed_at)


def _embedded(path: Path, notes: list[str]) -> bytes:
    if path.suffix.lower() in RAW_SUFFIXES:
        from curation.raw import raw_xmp

        return raw_xmp(path)
    if path.suffix.lower() in _SCANNED:
        return _scanned(path, notes)
    from PIL import Image

    from curation.facts import xmp_packet

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # only the header is read, so a large size is no danger
            with Image.open(path) as image:
                return xmp_packet(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        notes.append(f"the XMP inside {plain(path.name)} can't be read")
        return b""


def _scanned(path: Path, notes: list[str]) -> bytes:
    """The first packet in the bytes. Source: XMP specification part 3, packet scanning."""
    try:
        with path.open("rb") as handle:
            found = _PACKET.search(handle.read(_SCAN_BYTES))
    except OSError:
        notes.append(f"the XMP inside {plain(path.name)} can't be read")
        return b""
    return found.group() if found else b""
