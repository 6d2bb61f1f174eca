"""Colour: any profile to sRGB, 16 bits to 8, luma by named weights, and halving by area."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curation.decode import Pixels

__all__ = [
    "LUMA_WEIGHTS",
    "luma",
    "pyramid",
    "shrink",
    "to_deep_srgb",
    "to_eight_bits",
    "to_srgb",
]

LUMA_WEIGHTS = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709-6, item 3.2, on transfer-encoded values


def to_srgb(pixels_HWC: Pixels, icc: bytes | None) -> NDArray[np.uint8]:
    """The pixels as 8-bit sRGB; untagged pixels and those with a broken profile are taken as sRGB.

    Relative colorimetric with black point compensation, as photo editors convert for the screen.
    Meant for crops and proxies: a whole frame costs about 15 ms a megapixel.
    """
    shallow_HWC = to_eight_bits(pixels_HWC)
    if icc is None:
        return shallow_HWC
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        changed = ImageCms.profileToProfile(
            Image.fromarray(shallow_HWC),
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return shallow_HWC
    return np.asarray(changed, dtype=np.uint8)


def to_deep_srgb(pixels_HWC: Pixels, icc: bytes | None) -> NDArray[np.uint16]:
    """16-bit pixels as 16-bit sRGB, by littlecms through libvips; otherwise as `to_srgb`.

    Pillow's colour engine takes 8 bits only.
    """
    deep_HWC: Any = pixels_HWC if pixels_HWC.dtype == np.uint16 else pixels_HWC * np.uint16(257)
    if icc is None:
        return deep_HWC  # type: ignore[no-any-return]
    from curation.deep import open_vips

    vips = open_vips()
    height, width = deep_HWC.shape[:2]
    flat = np.ascontiguousarray(deep_HWC)
    picture = vips.Image.new_from_memory(flat.data, width, height, 3, "ushort")
    picture = picture.copy(interpretation="rgb16")
    picture.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
    try:
        # In two steps: libvips 8.18 in one (icc_transform) is off by up to 23 of 255 at the edge of
        # the gamut.
        way = {"intent": "relative", "black_point_compensation": True}
        seen = picture.icc_import(embedded=True, **way)
        changed = seen.icc_export(output_profile="srgb", depth=16, **way)
        return np.asarray(changed.numpy(), dtype=np.uint16)
    except vips.Error:  # a broken profile never costs the photo
        return deep_HWC  # type: ignore[no-any-return]


def to_eight_bits(pixels_HWC: Pixels) -> NDArray[np.uint8]:
    """16 bits rounded to 8 (65535 becomes 255); 8 bits as they are."""
    if pixels_HWC.dtype == np.uint8:
        return pixels_HWC  # type: ignore[return-value]
    rounded: Any = cv2.convertScaleAbs(pixels_HWC, alpha=1 / 257)
    return rounded  # type: ignore[no-any-return]


def luma(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma HW in [0, 255] of sRGB pixels, with LUMA_WEIGHTS."""
    weights = np.array([LUMA_WEIGHTS], dtype=np.float32)
    return np.asarray(cv2.transform(pixels_HWC.astype(np.float32), weights), dtype=np.float32)


def pyramid(pixels_HWC: Pixels, least_long_side: int) -> list[Pixels]:
    """The pixels and their halvings by area, down to the last not below `least_long_side`."""
    levels = [pixels_HWC]
    while max(levels[-1].shape[:2]) >= 2 * least_long_side and min(levels[-1].shape[:2]) >= 2:
        height, width = (max(side // 2, 1) for side in levels[-1].shape[:2])
        # Of an odd side the last pixel is left out: OpenCV halves ten times as fast then, and no
        # pixel is a mixture of more than four.
        even_HWC = levels[-1][: 2 * height, : 2 * width]
        half: Any = cv2.resize(even_HWC, (width, height), interpolation=cv2.INTER_AREA)
        levels.append(half)
    return levels


def shrink(pixels_HWC: Pixels, long_side: int) -> Pixels:
    """The pixels at a long side of at most `long_side`, by area averaging; never enlarged."""
    height, width = pixels_HWC.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return pixels_HWC
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small: Any = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    return small  # type: ignore[no-any-return]
