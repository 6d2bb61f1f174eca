"""Paste a restored face into its photo: only inside the face's region, under a soft mask, in place.

Legend: H rows, W columns, C channels. A matrix is 2x3 and maps photo pixels to crop pixels; the
origin is the corner of the first pixel, as in records.py. Working on the region alone instead of
the whole frame is what makes a paste take milliseconds in a 24-megapixel photo.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.decode import Pixels
from restore.colour import match_ring

__all__ = ["face_mask", "mask_in_photo", "paste", "region_of", "scale_of"]

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

# An ellipse in an FFHQ-aligned square that holds brow, cheeks and chin, as shares of the side; it
# ends inside the square, so the square's straight edges never show.
_CENTRE = (0.5, 0.53)
_RADII = (0.36, 0.42)
_FEATHER = 0.45  # share of the radius over which the mask falls from 1 to 0


def face_mask(size: int) -> Floats:
    """The soft mask of an aligned crop, 0 to 1; a share of the crop, so it grows with the face."""
    across = (np.arange(size, dtype=np.float32) + 0.5) / size
    x_1W, y_H1 = across[None, :], across[:, None]
    distance_HW = np.hypot((x_1W - _CENTRE[0]) / _RADII[0], (y_H1 - _CENTRE[1]) / _RADII[1])
    ramp_HW = np.clip((1 - distance_HW) / _FEATHER, 0, 1)
    mask_HW: Floats = (ramp_HW * ramp_HW * (3 - 2 * ramp_HW)).astype(np.float32)
    return mask_HW


def scale_of(matrix_23: Matrix) -> float:
    """How many crop pixels one photo pixel becomes."""
    return math.sqrt(abs(float(np.linalg.det(matrix_23[:, :2]))))


def region_of(matrix_23: Matrix, size: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the photo that an aligned crop covers; empty if it lies outside."""
    corners_42 = np.array([(0, 0), (size, 0), (0, size), (size, size)], np.float64)
    inverse_23 = cv2.invertAffineTransform(matrix_23)
    photo_42 = corners_42 @ inverse_23[:, :2].T + inverse_23[:, 2]
    low = np.floor(photo_42.min(axis=0)).astype(int)
    high = np.ceil(photo_42.max(axis=0)).astype(int)
    columns = slice(*np.clip((low[0], high[0]), 0, shape[1]).tolist())
    rows = slice(*np.clip((low[1], high[1]), 0, shape[0]).tolist())
    return rows, columns


def mask_in_photo(
    matrix_23: Matrix, size: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], Floats]:
    """The region of a crop in the photo, and the mask there."""
    region = region_of(matrix_23, size, shape)
    return region, _to_region(face_mask(size), matrix_23, region)


def paste(photo_HWC: Pixels, face_HWC: Floats, matrix_23: Matrix) -> tuple[slice, slice]:
    """Blend a restored crop into the photo, in place; the region that it may have changed.

    The face comes in the photo's own colours and value range (0 to 255, or to 65535 if the photo
    has 16 bits). Where the mask is 0 the photo keeps its very bits.
    """
    size = face_HWC.shape[0]
    region, mask_HW = mask_in_photo(matrix_23, size, photo_HWC.shape)
    if mask_HW.size == 0:
        return region
    before_HWC = photo_HWC[region].astype(np.float32)
    face_HWC = match_ring(_to_region(face_HWC, matrix_23, region), before_HWC, mask_HW)
    blended_HWC = before_HWC + mask_HW[..., None] * (face_HWC - before_HWC)
    most = np.iinfo(photo_HWC.dtype).max
    photo_HWC[region] = np.clip(np.rint(blended_HWC), 0, most).astype(photo_HWC.dtype)
    return region


def _to_region(crop: Floats, matrix_23: Matrix, region: tuple[slice, slice]) -> Floats:
    rows, columns = region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height <= 0 or width <= 0:
        return crop[:0, :0]
    crop, matrix_23 = _shrink(crop, matrix_23)
    from_region_23 = matrix_23.copy()
    # OpenCV counts from the first pixel's centre, on both sides.
    from_region_23[:, 2] += matrix_23[:, :2] @ (columns.start + 0.5, rows.start + 0.5) - 0.5
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped: Floats = cv2.warpAffine(
        crop, from_region_23, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    # Cubic interpolation overshoots; a mask must stay a mask.
    return warped if warped.ndim == 3 else np.clip(warped, 0, 1)


def _shrink(crop: Floats, matrix_23: Matrix) -> tuple[Floats, Matrix]:
    """The crop at no more than the photo's resolution: warping alone would alias a small face."""
    size = crop.shape[0]
    small = math.ceil(size / max(1.0, scale_of(matrix_23)))
    if small >= size:
        return crop, matrix_23
    return cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), matrix_23 * (
        small / size
    )
