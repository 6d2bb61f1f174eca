"""Pictures of more than 8 bits at their full depth: PNG and TIFF by libvips, HEIC and AVIF too.

Pillow reads 16-bit RGB as 8-bit without a word, so these go another way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.source import is_utf8
from data_manifests.errors import UnreadablePhoto

__all__ = ["avif_depth", "open_vips", "read_deep", "read_deep_heif"]

Deep = NDArray[np.uint16]

_ORDER = {"rgb16": (0, 1, 2), "grey16": (0, 0, 0)}


def open_vips() -> Any:
    """libvips with one thread, and only the loaders that it calls fit for strangers' files."""
    os.environ.setdefault("VIPS_CONCURRENCY", "1")
    import pyvips

    pyvips.block_untrusted_set(True)
    pyvips.cache_set_max(0)  # files are read once, so a cache would only hold memory
    return pyvips


def read_deep(
    path: Path, kind: str, data: bytes | None, size: tuple[int, int]
) -> tuple[Deep, Deep | None]:
    """16-bit RGB pixels HWC and alpha HW of a PNG or TIFF of `size` (width, height).

    Raises UnreadablePhoto.
    """
    vips = open_vips()
    options = {"access": "sequential", "fail_on": "error"}
    try:
        # libvips takes file names of UTF-8 only, and buffers whatever the name.
        named = data is None and is_utf8(path)
        picture = (
            vips.Image.new_from_file(str(path), **options)
            if named
            else vips.Image.new_from_buffer(data or path.read_bytes(), "", **options)
        )
        order = _ORDER.get(picture.interpretation)
        if picture.format != "ushort" or order is None or (picture.width, picture.height) != size:
            raise _unsupported()
        pixels_HWC: Any = picture.numpy()
    except vips.Error as error:
        said = str(error).strip().splitlines()
        what = said[-1].strip() if said else "libvips gives no reason"
        raise UnreadablePhoto("damaged", f"The {kind} can't be decoded: {what}.") from error
    pixels_HWC = pixels_HWC.reshape(*size[::-1], -1)
    colours = max(order) + 1
    alpha_HW = None
    if pixels_HWC.shape[2] > colours:
        alpha_HW = np.ascontiguousarray(pixels_HWC[..., colours])
    return np.ascontiguousarray(pixels_HWC[..., list(order)]), alpha_HW


def read_deep_heif(path: Path, kind: str, data: bytes | None) -> tuple[Deep, Deep | None]:
    """16-bit RGB pixels HWC and alpha HW, upright, of a HEIC or AVIF of 10 or 12 bits."""
    data = path.read_bytes() if data is None else data
    pixels_HWC = _read_avif(data) if kind == "AVIF" else _read_heic(data)
    alpha_HW = np.ascontiguousarray(pixels_HWC[..., 3]) if pixels_HWC.shape[2] == 4 else None
    return np.ascontiguousarray(pixels_HWC[..., :3]), alpha_HW


def avif_depth(data: bytes) -> int:
    """Bits per channel of an AVIF, from its pixi property. Source: ISO/IEC 23008-12, 6.5.6."""
    at = data[:65536].find(b"pixi")
    return data[at + 9] if 0 <= at < len(data) - 9 else 8


def _read_heic(data: bytes) -> Deep:
    import pillow_heif

    opened = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    pixels: Any = np.asarray(opened)
    if pixels.dtype != np.uint16:
        raise _unsupported()
    return pixels  # type: ignore[no-any-return]


def _read_avif(data: bytes) -> Deep:
    try:
        import imagecodecs
    except ImportError as error:
        raise UnreadablePhoto(
            "avif_support_missing",
            "AVIF of more than 8 bits needs the package imagecodecs, which is not installed.",
            "Install it with: pip install -c constraints.txt -e '.[fast]'",
        ) from error

    pixels: Any = imagecodecs.avif_decode(data, numthreads=1)
    if pixels.dtype != np.uint16:
        raise _unsupported()
    depth = avif_depth(data)
    wide = pixels.astype(np.uint32)
    # 1023 becomes 65535: full scale stays full scale.
    stretched = (wide * 65535 + (1 << (depth - 1))) // ((1 << depth) - 1)
    colour = stretched if stretched.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
    return colour.astype(np.uint16)


def _unsupported() -> UnreadablePhoto:
    return UnreadablePhoto(
        "unsupported_pixels",
        "This kind of picture can't be read at its full depth.",
        "Save it as TIFF with 16 bits and 3 channels, uncompressed, LZW or ZIP.",
    )
