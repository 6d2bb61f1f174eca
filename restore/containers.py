"""Pixels and metadata to the bytes of a JPEG, PNG, TIFF or WebP; PNG and TIFF at 8 or 16 bits.

A file that came without colours goes without: its channel is the luma of the three, which leaves
equal ones as they are. Alpha is written bit for bit wherever the format has one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from curation.colour import LUMA_WEIGHTS, to_eight_bits
from curation.decode import DecodedPhoto, Pixels
from curation.deep import open_vips
from data_manifests.errors import InputError
from restore.iim import photoshop_segment
from restore.provenance import EXIF_IFD, GPS_IFD, Carried
from restore.xmp import split

__all__ = ["Labels", "encode", "format_of", "holds_16_bits", "losses", "profile_of"]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_XMP_TAG, _IPTC_TAG, _METRE_INCHES = 700, 33723, 39.3701
_MOST_XMP, _XMP_PART = 65_000, 65_000  # bytes; a segment of a JPEG holds 65533 with its heading
_STRIP_ROWS = 512
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is written beside the pixels."""

    exif: Image.Exif
    xmp: bytes
    iptc: bytes = b""
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None


def format_of(target: Path) -> str:
    """JPEG, PNG, TIFF or WEBP, from the name of the file to write."""
    try:
        return _FORMATS[target.suffix.lower()]
    except KeyError as error:
        raise InputError(
            f"{target.name} has no ending that can be written.",
            f"Use one of {', '.join(_FORMATS)}.",
        ) from error


def holds_16_bits(name: str) -> bool:
    """True for formats that keep 16 bits per channel."""
    return name in ("PNG", "TIFF")


def losses(photo: DecodedPhoto, carried: Carried, name: str) -> tuple[str, ...]:
    """What of the photo the format can't hold, as notes."""
    notes = []
    if photo.alpha_HW is not None and name == "JPEG":
        notes.append("JPEG has no transparency: the input's was left out")
    if photo.pixels_HWC.dtype == np.uint16 and not holds_16_bits(name):
        notes.append(f"{name} holds 8 bits: the input's 16 were rounded")
    if carried.iptc and name not in ("JPEG", "TIFF"):
        notes.append(f"{name} has no place for IPTC records: they were left out")
    if photo.grey and name == "WEBP":
        notes.append("WebP has no grey: its one channel was written as three")
    return tuple(notes)


def profile_of(photo: DecodedPhoto, carried: Carried, name: str) -> bytes | None:
    """The ICC profile to write: the pixels' own, and a grey file's for the grey that it stays."""
    return carried.icc if photo.grey and name != "WEBP" else photo.facts.icc


def encode(
    pixels_HWC: Pixels,
    labels: Labels,
    name: str,
    *,
    quality: int = 95,
    alpha_HW: Pixels | None = None,
    grey: bool = False,
) -> bytes:
    """The bytes of a picture file; `name` is one of JPEG, PNG, TIFF and WEBP.

    `alpha_HW` is as large and as deep as the RGB pixels. With `grey` one channel is written, where
    the format has such pictures.
    """
    if name == "TIFF":
        return _tiff(_bands(pixels_HWC, alpha_HW, grey=grey), labels, alpha=alpha_HW is not None)
    if name == "PNG":
        return _png(_bands(pixels_HWC, alpha_HW, grey=grey), labels)
    if name == "JPEG":
        return _jpeg(_bands(to_eight_bits(pixels_HWC), None, grey=grey), labels, quality)
    small_HW = None if alpha_HW is None else to_eight_bits(alpha_HW)
    bands_HWC = _bands(to_eight_bits(pixels_HWC), small_HW, grey=False)
    return _pillow(
        bands_HWC, labels, "WEBP", {"quality": quality, "exact": True, "xmp": labels.xmp}
    )


def _bands(pixels_HWC: Pixels, alpha_HW: Pixels | None, *, grey: bool) -> Pixels:
    """Colour or grey, with alpha behind it: HWC of 1 to 4 channels."""
    colours: Any = pixels_HWC
    if grey:
        colours = _luma(pixels_HWC)[..., None]
    if alpha_HW is None:
        return np.ascontiguousarray(colours)
    both: Any = np.concatenate([colours, alpha_HW[..., None]], axis=2)
    return both  # type: ignore[no-any-return]


def _luma(pixels_HWC: Pixels) -> Pixels:
    """Luma HW, a strip at a time: a whole frame in floating point would take a gigabyte."""
    luma_HW: Any = np.empty(pixels_HWC.shape[:2], pixels_HWC.dtype)
    weights = np.array([LUMA_WEIGHTS], np.float32)
    for top in range(0, len(luma_HW), _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        luma_HW[strip] = np.rint(cv2.transform(pixels_HWC[strip].astype(np.float32), weights))
    return luma_HW  # type: ignore[no-any-return]


def _jpeg(bands_HWC: Pixels, labels: Labels, quality: int) -> bytes:
    """A JPEG; XMP beyond one segment goes on in further ones, IPTC into Photoshop's."""
    xmp, more = labels.xmp, []
    if len(xmp) > _MOST_XMP:
        xmp, extended, guid = split(xmp, _MOST_XMP)
        more = [_segment(0xE1, part) for part in _extension(extended, guid)]
    if labels.iptc:
        more.append(_segment(0xED, photoshop_segment(labels.iptc)))
    # Skin keeps its full colour resolution.
    options = {"quality": quality, "subsampling": 0, "xmp": xmp}
    data = _pillow(bands_HWC, labels, "JPEG", options)
    at = _behind_headers(data)
    return data[:at] + b"".join(more) + data[at:]


def _extension(extended: bytes, guid: str) -> Iterator[bytes]:
    """Contents of the segments of extended XMP. Source: XMP specification part 3, 1.1.3.1."""
    for start in range(0, len(extended), _XMP_PART):
        place = struct.pack(">II", len(extended), start)
        part = extended[start : start + _XMP_PART]
        yield _EXTENSION + guid.encode("ascii") + place + part


def _segment(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content


def _behind_headers(data: bytes) -> int:
    """Where the application segments of a JPEG end."""
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _pillow(bands_HWC: Pixels, labels: Labels, name: str, options: dict[str, Any]) -> bytes:
    options["exif"] = labels.exif.tobytes()
    if labels.icc is not None:
        options["icc_profile"] = labels.icc
    if labels.dpi is not None:
        options["dpi"] = labels.dpi
    out = io.BytesIO()
    bands_HWC = bands_HWC[..., 0] if bands_HWC.shape[2] == 1 else bands_HWC
    try:
        Image.fromarray(bands_HWC).save(out, name, **options)
    except (ValueError, OSError) as error:
        size = f"{bands_HWC.shape[1]} x {bands_HWC.shape[0]}"
        raise InputError(
            f"{name} can't hold this {size} picture: {error}.", "Write a TIFF."
        ) from error
    return out.getvalue()


def _png(bands_HWC: Pixels, labels: Labels) -> bytes:
    """A PNG with its metadata chunks between header and pixels; Pillow writes no 16-bit RGB."""
    data = _bare_png(bands_HWC)
    chunks = []
    if labels.icc is not None:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(labels.icc)))
    if labels.dpi is not None:
        across, down = (round(d * _METRE_INCHES) for d in labels.dpi)
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    chunks.append(_chunk(b"eXIf", labels.exif.tobytes().removeprefix(b"Exif\0\0")))
    chunks.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + labels.xmp))
    after_header = 8 + 12 + 13  # signature; IHDR's frame and content
    return data[:after_header] + b"".join(chunks) + data[after_header:]


def _bare_png(bands_HWC: Pixels) -> bytes:
    """By OpenCV, which knows no grey with alpha; that by libvips."""
    if bands_HWC.shape[2] != 2:
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[bands_HWC.shape[2]]
        _, coded = cv2.imencode(".png", np.ascontiguousarray(bands_HWC[..., order]))
        return bytes(coded.tobytes())
    deep = bands_HWC.dtype == np.uint16
    height, width = bands_HWC.shape[:2]
    kind = ("ushort", "grey16", 16) if deep else ("uchar", "b-w", 8)
    picture = open_vips().Image.new_from_memory(bands_HWC.data, width, height, 2, kind[0])
    picture = picture.copy(interpretation=kind[1])
    return bytes(picture.pngsave_buffer(bitdepth=kind[2], keep="none"))


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _tiff(bands_HWC: Pixels, labels: Labels, *, alpha: bool) -> bytes:
    """A deflated little-endian TIFF; its EXIF directories are appended and pointed at."""
    groups = {t: v for t, v in labels.exif.items() if t in (EXIF_IFD, GPS_IFD)}
    texts = {t: v for t, v in labels.exif.items() if isinstance(v, str)}
    extra: list[tuple[Any, ...]] = [(t, "s", 0, v, True) for t, v in texts.items()]
    # tifffile writes no pointers to directories: the tag before each holds the place till then.
    extra += [(t - 1, "I", 1, 0, True) for t in groups]
    extra.append((_XMP_TAG, "B", len(labels.xmp), labels.xmp, True))
    if labels.iptc:
        extra.append((_IPTC_TAG, 7, len(labels.iptc), labels.iptc, True))
    coloured = bands_HWC.shape[2] > 2
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        bands_HWC[..., 0] if bands_HWC.shape[2] == 1 else bands_HWC,
        byteorder="<",
        photometric="rgb" if coloured else "minisblack",
        planarconfig="contig" if bands_HWC.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if alpha else [],
        compression="zlib",
        iccprofile=labels.icc,
        resolution=labels.dpi,
        resolutionunit="INCH" if labels.dpi else None,
        software=False,
        metadata=None,
        extratags=extra,
    )
    return _append_directories(out.getvalue(), groups)


def _append_directories(data: bytes, groups: dict[int, dict[int, Any]]) -> bytes:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = {tag: file.pages.first.tags[tag - 1] for tag in groups}
    whole = bytearray(data)
    for tag, values in groups.items():
        whole += b"\0" * (len(whole) % 2)
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\x08\0\0\0", group=tag)
        directory.update(values)
        struct.pack_into("<H", whole, places[tag].offset, tag)
        struct.pack_into("<I", whole, places[tag].valueoffset, len(whole))
        whole += directory.tobytes(len(whole))
    return bytes(whole)
