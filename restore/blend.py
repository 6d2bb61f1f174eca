"""Paste a restored face into its photo: only inside the face's region, under a soft mask, in place.

Legend: H rows, W columns, C channels. A matrix is 2x3 and maps photo pixels to crop pixels; the
origin is the corner of the first pixel, as in records.py. Working on the region alone instead of
the whole frame is what makes a paste take milliseconds in a 24-megapixel photo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.decode import Pixels
from restore.colour import match_ring

__all__ = ["face_mask", "mask_in_photo", "paste", "region_of", "scale_of"]

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

Box = tuple[float, float, float, float]
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class _Outline:
    """A superellipse in an FFHQ-aligned square, as shares of its side.

    It ends inside the square, so that the square's straight edges never show.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    power: int  # 2 is an ellipse; more has fuller corners
    feather: float  # share of the radius over which the mask falls from 1 to 0

    @property
    def share(self) -> Box:
        """The part of the square it lies in."""
        (x, y), (wide, high) = self.centre, self.radii
        return x - wide, y - high, x + wide, y + high


# FFHQ's square holds the head with its hair; the ellipse brow, cheeks and chin.
_OUTLINES = {
    "face": _Outline((0.5, 0.53), (0.36, 0.42), 2, 0.45),
    "head": _Outline((0.5, 0.5), (0.485, 0.485), 4, 0.3),
}
_STRIP_ROWS = 64  # a strip and its change stay in the processor's cache


@lru_cache(maxsize=8)
def face_mask(size: int, region: str = "face") -> Floats:
    """The soft mask of an aligned crop, 0 to 1; a share of the crop, so it grows with the face.

    Of the region "face", or of the "head" with its hair. It is read-only: all pastes of a run
    share it.
    """
    outline = _OUTLINES[region]
    across = (np.arange(size, dtype=np.float32) + 0.5) / size
    x_1W = np.abs(across[None, :] - outline.centre[0]) / outline.radii[0]
    y_H1 = np.abs(across[:, None] - outline.centre[1]) / outline.radii[1]
    distance_HW = (x_1W**outline.power + y_H1**outline.power) ** (1 / outline.power)
    ramp_HW = np.clip((1 - distance_HW) / outline.feather, 0, 1)
    mask_HW: Floats = (ramp_HW * ramp_HW * (3 - 2 * ramp_HW)).astype(np.float32)
    mask_HW.flags.writeable = False
    return mask_HW


def scale_of(matrix_23: Matrix) -> float:
    """How many crop pixels one photo pixel becomes."""
    return math.sqrt(abs(float(np.linalg.det(matrix_23[:, :2]))))


def region_of(
    matrix_23: Matrix, size: int, shape: tuple[int, ...], share: Box = _WHOLE
) -> tuple[slice, slice]:
    """Rows and columns of the photo that an aligned crop covers; empty if it lies outside.

    `share` is the part of the crop that counts: left, top, right, bottom as shares of its side.
    """
    left, top, right, bottom = (size * v for v in share)
    corners_42 = np.array([(left, top), (right, top), (left, bottom), (right, bottom)], np.float64)
    inverse_23 = cv2.invertAffineTransform(matrix_23)
    photo_42 = corners_42 @ inverse_23[:, :2].T + inverse_23[:, 2]
    low = np.floor(photo_42.min(axis=0)).astype(int)
    high = np.ceil(photo_42.max(axis=0)).astype(int)
    columns = slice(*np.clip((low[0], high[0]), 0, shape[1]).tolist())
    rows = slice(*np.clip((low[1], high[1]), 0, shape[0]).tolist())
    return rows, columns


def mask_in_photo(
    matrix_23: Matrix, size: int, shape: tuple[int, ...], region: str = "face"
) -> tuple[tuple[slice, slice], Floats]:
    """The region of a crop's mask in the photo, and the mask there, exactly as `paste` uses it."""
    place = region_of(matrix_23, size, shape, _OUTLINES[region].share)
    strips = list(_strips(place))
    if not strips:
        return place, np.zeros((0, 0), np.float32)
    crop, moved_23 = _shrink(_mask_inside(matrix_23, size, shape, region), matrix_23)
    return place, np.concatenate([_mask_at(crop, moved_23, strip) for strip in strips])


def paste(
    photo_HWC: Pixels,
    face_HWC: Floats,
    matrix_23: Matrix,
    *,
    region: str = "face",
    spared: Sequence[Matrix] = (),
) -> tuple[slice, slice]:
    """Blend a restored crop into the photo, in place; the rows and columns it may have changed.

    The face comes in the photo's own colours and value range (0 to 255, or to 65535 if the photo
    has 16 bits). Where the mask of the region, "face" or "head", is 0 the photo keeps its very
    bits; and so do the faces of other people, whose matrices are `spared`.
    """
    size, most = face_HWC.shape[0], np.iinfo(photo_HWC.dtype).max
    place = region_of(matrix_23, size, photo_HWC.shape, _OUTLINES[region].share)
    if photo_HWC[place].size == 0:
        return place
    mask_HW = _mask_inside(matrix_23, size, photo_HWC.shape, region)
    face_HWC = match_ring(face_HWC, _to_crop(photo_HWC, matrix_23, size), mask_HW)
    face_HWC, moved_23 = _shrink(face_HWC, matrix_23)
    mask_HW, _ = _shrink(mask_HW, matrix_23)
    others = [_shrink(face_mask(size), other_23) for other_23 in spared]
    for rows, columns in _strips(place):
        soft_HW = _mask_at(mask_HW, moved_23, (rows, columns))
        for other_HW, other_23 in others:
            soft_HW *= 1 - _mask_at(other_HW, other_23, (rows, columns))
        there = np.flatnonzero(soft_HW.any(axis=0))
        if there.size == 0:
            continue
        left, right = int(there[0]), int(there[-1]) + 1  # an ellipse is narrow at its ends
        strip = rows, slice(columns.start + left, columns.start + right)
        before_HWC = photo_HWC[strip].astype(np.float32)
        change_HWC = _to_region(face_HWC, moved_23, strip)
        change_HWC -= before_HWC
        change_HWC *= soft_HW[:, left:right, None]
        before_HWC += change_HWC
        np.clip(np.rint(before_HWC, out=before_HWC), 0, most, out=before_HWC)
        photo_HWC[strip] = before_HWC.astype(photo_HWC.dtype)
    return place


def _strips(region: tuple[slice, slice]) -> Iterator[tuple[slice, slice]]:
    """The region in bands of rows, so that a face that fills an 8K frame needs little memory."""
    rows, columns = region
    if columns.stop > columns.start:
        for top in range(rows.start, rows.stop, _STRIP_ROWS):
            yield slice(top, min(top + _STRIP_ROWS, rows.stop)), columns


def _to_crop(photo_HWC: NDArray[Any], matrix_23: Matrix, size: int) -> Floats:
    """The photo in crop pixels, 0 beyond its edges; sampled, which will do for a mean colour."""
    rows, columns = region = region_of(matrix_23, size, photo_HWC.shape)
    inside_23, way = _centred(matrix_23, rows, columns), cv2.INTER_NEAREST
    crop_HWC: Floats = cv2.warpAffine(photo_HWC[region], inside_23, (size, size), flags=way)
    return crop_HWC.astype(np.float32)


def _mask_inside(matrix_23: Matrix, size: int, shape: tuple[int, ...], region: str) -> Floats:
    """The region's mask, 0 beyond the photo's edges and one pixel on this side of them.

    Beyond an edge the crop was padded with grey, which resampling draws into the last pixels.
    """
    if _lies_inside(matrix_23, size, shape):
        return face_mask(size, region)
    # Broadcast from one value: no memory is spent on a photo-sized picture of ones.
    there_HW = _to_crop(np.broadcast_to(np.uint8(1), shape[:2]), matrix_23, size)
    inside_HW: Floats = cv2.erode(there_HW, np.ones((3, 3)), borderValue=1)
    return face_mask(size, region) * inside_HW


def _lies_inside(matrix_23: Matrix, size: int, shape: tuple[int, ...]) -> bool:
    """True if the whole crop lies in the photo, so that nothing of it was padded."""
    rows, columns = region_of(matrix_23, size, (1 << 30, 1 << 30))
    away = region_of(matrix_23, size, shape)
    return min(rows.start, columns.start) > 0 and (rows, columns) == away


def _mask_at(mask_HW: Floats, matrix_23: Matrix, region: tuple[slice, slice]) -> Floats:
    # Linear: cubic interpolation would overshoot, and a soft ramp shows no difference.
    return _to_region(mask_HW, matrix_23, region, cv2.INTER_LINEAR)


def _to_region(
    crop: Floats, matrix_23: Matrix, region: tuple[slice, slice], way: int = cv2.INTER_CUBIC
) -> Floats:
    rows, columns = region
    warped: Floats = cv2.warpAffine(
        crop,
        _centred(matrix_23, rows, columns),
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=way | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped


def _centred(matrix_23: Matrix, rows: slice, columns: slice) -> Matrix:
    """The matrix from a region's pixels; OpenCV counts from pixel centres, on both sides."""
    moved_23 = matrix_23.copy()
    moved_23[:, 2] += matrix_23[:, :2] @ (columns.start + 0.5, rows.start + 0.5) - 0.5
    return moved_23


def _shrink(crop: Floats, matrix_23: Matrix) -> tuple[Floats, Matrix]:
    """The crop at no more than the photo's resolution: warping alone would alias a small face."""
    size = crop.shape[0]
    small = math.ceil(size / max(1.0, scale_of(matrix_23)))
    if small >= size:
        return crop, matrix_23
    shrunk: Floats = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
    return shrunk, matrix_23 * (small / size)
