"""A file's metadata blocks as they stand in it, for who wants to write them again. Runs in the
killable child: it opens strangers' files.

Nothing is judged here but size: pictures inside the metadata (thumbnails, gain maps) and maker
notes stay behind, and what else a file holds is named.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image, TiffImagePlugin

from curation.decode import MOST_PIXELS, kind_of, open_picture
from curation.facts import xmp_packet
from curation.xmp import XMP_LIMIT
from data_manifests.errors import UnreadablePhoto

__all__ = ["EXIF_IFD", "GPS_IFD", "Blocks", "read_blocks"]

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
_MOST_VALUE = 16_000  # bytes of one EXIF value; all of EXIF must fit into 64 KB of a JPEG
_MOST_IPTC = 60_000
# Where strips lie, sub-directories, thumbnails, XMP, IPTC, Photoshop's, ICC, maker's and DNG's own.
_APART = frozenset(
    (0x0111, 0x0117, 0x0144, 0x0145, 0x014A, 0x0201, 0x0202, 0x02BC, 0x83BB, 0x8649, 0x8773)
) | {0x927C, 0xA005, 0xC634, EXIF_IFD, GPS_IFD}
_IPTC_TAG, _IPTC_RESOURCE = 33723, 0x0404
_LENS_MODEL = 0xA434
_SPEAKING = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks of a PNG
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_MANY = "its other {} pages or frames were left out"
_SECOND = "its second page or frame was left out"
_INNER = "the further pictures inside it (gain map, depth, preview) were left out"
_TOO_LARGE = "XMP of more than 1 MB was left out"


@dataclass(frozen=True, slots=True)
class Blocks:
    """EXIF (a TIFF structure of main, Exif and GPS directory), XMP packets, IPTC IIM records, the
    file's own ICC profile, dots per inch, and notes on what else is in it and was left out."""

    exif: bytes = field(default=b"", repr=False)
    xmp: tuple[bytes, ...] = field(default=(), repr=False)
    iptc: bytes = field(default=b"", repr=False)
    icc: bytes = field(default=b"", repr=False)
    dpi: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def read_blocks(path: Path, *, most_pixels: int = MOST_PIXELS) -> Blocks:
    """The blocks of a file; raises UnreadablePhoto where it can't be opened."""
    kind = kind_of(path)
    if kind == "RAW":
        return _of_raw(path)
    if kind == "PSD":
        from curation import psd

        return _of_picture(psd.read_psd_blocks(path))
    with open_picture(path, kind, most_pixels) as image:
        if kind == "PNG" and _speaks_behind_pixels(path):
            image.load()
        return _of_picture(image)


def _of_picture(image: Image.Image) -> Blocks:
    notes: list[str] = []
    dpi = image.info.get("dpi")
    return Blocks(
        exif=_exif(image, notes),
        xmp=_packets(image, notes),
        iptc=_iptc(image),
        icc=image.info.get("icc_profile") or b"",
        dpi=_numbers(dpi),
        notes=(*notes, *_others(image)),
    )


def _speaks_behind_pixels(path: Path) -> bool:
    """True if a PNG holds EXIF or texts after its pixels, which only a decoder gets past."""
    with path.open("rb") as handle:
        handle.seek(8)
        pixels = False
        while len(head := handle.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            pixels = pixels or kind == b"IDAT"
            if pixels and kind in _SPEAKING:
                return True
            handle.seek(size + 4, os.SEEK_CUR)
    return False


def _exif(image: Image.Image, notes: list[str]) -> bytes:
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return b""  # Pillow would decode all pixels to look for it
    try:
        return _rebuilt(image.getexif())
    except Exception:  # damaged metadata never costs the photo
        notes.append("its EXIF could not be read and was left out")
        return b""


def _rebuilt(exif: Image.Exif, lens: str = "") -> bytes:
    """The three directories that can be written again; a value that can't be is left out."""
    again = Image.Exif()
    again.update(_writable(exif))
    details = _writable(exif.get_ifd(EXIF_IFD))
    if lens:
        details.setdefault(_LENS_MODEL, lens)
    for tag, values in ((EXIF_IFD, details), (GPS_IFD, _writable(exif.get_ifd(GPS_IFD)))):
        if values:
            again[tag] = values
    return again.tobytes() if len(again) else b""


def _writable(tags: Any) -> dict[int, Any]:
    return {t: v for t, v in dict(tags).items() if t not in _APART and _can_be_written(t, v)}


def _can_be_written(tag: int, value: Any) -> bool:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    try:
        directory[tag] = value
        return len(directory.tobytes()) <= _MOST_VALUE
    except Exception:  # values may be as odd as a stranger likes
        return False


def _packets(image: Image.Image, notes: list[str]) -> tuple[bytes, ...]:
    """The main packet and a JPEG's extended one."""
    found = [xmp_packet(image), _extended_xmp(getattr(image, "applist", []), notes)]
    kept = tuple(p for p in found if p and len(p) <= XMP_LIMIT)
    if any(len(p) > XMP_LIMIT for p in found):
        notes.append(_TOO_LARGE)
    return kept


def _extended_xmp(segments: list[tuple[str, bytes]], notes: list[str]) -> bytes:
    """The XMP that did not fit into one segment. Source: XMP specification part 3, 1.1.3.1.

    Of several the first is taken; one with a gap is noted and left out.
    """
    parts: dict[int, bytes] = {}
    guid, whole = b"", 0
    for name, content in segments:
        if name != "APP1" or not content.startswith(_EXTENSION):
            continue
        head = content[len(_EXTENSION) :][:40]
        if len(head) < 40 or (guid and head[:32] != guid):
            continue
        guid = head[:32]
        whole, start = struct.unpack(">II", head[32:])
        parts[start] = content[len(_EXTENSION) + 40 :]
    if whole > XMP_LIMIT:
        notes.append(_TOO_LARGE)
        return b""
    joined = b"".join(parts[start] for start in sorted(parts))
    if len(joined) != whole:
        notes.append("its extended XMP is incomplete and was left out")
        return b""
    return joined


def _iptc(image: Image.Image) -> bytes:
    """The IIM records of a JPEG (in Photoshop's resources) or a TIFF (a tag of their own)."""
    resources = image.info.get("photoshop")
    found = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    if hasattr(image, "tag_v2"):
        found = image.tag_v2.get(_IPTC_TAG, found)
        if isinstance(found, tuple):  # some writers call it numbers of 32 bits
            return b""
    return found if isinstance(found, bytes) and len(found) <= _MOST_IPTC else b""


def _others(image: Image.Image) -> list[str]:
    frames = int(getattr(image, "n_frames", 1))
    notes = [_MANY.format(frames - 1) if frames > 2 else _SECOND] if frames > 1 else []
    inner = ("mp", "aux", "depth_images")  # MPF of a JPEG; what HEIC keeps beside its picture
    if frames == 1 and any(image.info.get(name) for name in inner):
        notes.append(_INNER)
    return notes


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return ()


def _of_raw(path: Path) -> Blocks:
    """A TIFF-like RAW's own directories, else those of the preview that LibRaw hands out."""
    from curation import raw

    packet = raw.raw_xmp(path)
    fits = len(packet) <= XMP_LIMIT
    blocks = Blocks(xmp=(packet,) if packet and fits else (), notes=() if fits else (_TOO_LARGE,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (_own_exif, _preview_exif):
            try:
                exif = read(path)
            except Exception:  # metadata never costs the photo
                continue
            if exif:
                return replace(blocks, exif=exif)
    return replace(blocks, notes=(*blocks.notes, "the RAW's EXIF could not be read"))


def _own_exif(path: Path) -> bytes:
    exif = Image.Exif()
    with path.open("rb") as handle:
        exif.load_from_fp(handle)
        return _rebuilt(exif)


def _preview_exif(path: Path) -> bytes:
    """LibRaw gives previews without EXIF one of its own: camera, exposure and time."""
    from curation import raw

    jpeg, lens = raw.preview_and_lens(path)
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as preview:
            return _rebuilt(preview.getexif(), lens)
    except OSError as error:
        raise UnreadablePhoto("raw_no_preview", "The preview can't be read.") from error
