"""Pixels and metadata to the bytes of a JPEG, PNG, TIFF or WebP; PNG and TIFF at 8 or 16 bits."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from curation.colour import to_eight_bits
from curation.decode import Pixels
from data_manifests.errors import InputError
from restore.provenance import EXIF_IFD, GPS_IFD

__all__ = ["Labels", "encode", "format_of", "holds_16_bits"]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_ICC_TAG, _XMP_TAG, _METRE_INCHES = 34675, 700, 39.3701


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is written beside the pixels."""

    exif: Image.Exif
    xmp: bytes
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


def encode(pixels_HWC: Pixels, labels: Labels, name: str, *, quality: int = 95) -> bytes:
    """The bytes of a picture file; `name` is one of JPEG, PNG, TIFF and WEBP."""
    if name == "PNG":
        return _png(pixels_HWC, labels)
    if name == "TIFF":
        return _tiff(pixels_HWC, labels)
    return _pillow(to_eight_bits(pixels_HWC), labels, name, quality)


def _pillow(pixels_HWC: NDArray[np.uint8], labels: Labels, name: str, quality: int) -> bytes:
    options: dict[str, Any] = {"quality": quality, "exif": labels.exif.tobytes()}
    if name == "JPEG":
        options["subsampling"] = 0  # skin keeps its full colour resolution
    if labels.icc is not None:
        options["icc_profile"] = labels.icc
    if labels.dpi is not None:
        options["dpi"] = labels.dpi
    out = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(pixels_HWC)).save(out, name, xmp=labels.xmp, **options)
    except (ValueError, OSError) as error:
        size = f"{pixels_HWC.shape[1]} x {pixels_HWC.shape[0]}"
        raise InputError(
            f"{name} can't hold this {size} picture: {error}.", "Write a TIFF."
        ) from error
    return out.getvalue()


def _png(pixels_HWC: Pixels, labels: Labels) -> bytes:
    """A PNG with its metadata chunks between header and pixels; Pillow writes no 16-bit RGB."""
    _, coded = cv2.imencode(".png", np.ascontiguousarray(pixels_HWC[..., ::-1]))
    data = coded.tobytes()
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


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _tiff(pixels_HWC: Pixels, labels: Labels) -> bytes:
    """A deflated little-endian TIFF; its EXIF directories are appended and pointed at."""
    groups = {t: v for t, v in labels.exif.items() if t in (EXIF_IFD, GPS_IFD)}
    texts = {t: v for t, v in labels.exif.items() if isinstance(v, str)}
    extra: list[tuple[Any, ...]] = [(t, "s", 0, v, True) for t, v in texts.items()]
    # tifffile writes no pointers to directories: the tag before each holds the place till then.
    extra += [(t - 1, "I", 1, 0, True) for t in groups]
    extra.append((_XMP_TAG, "B", len(labels.xmp), labels.xmp, True))
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        pixels_HWC,
        byteorder="<",
        photometric="rgb",
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
