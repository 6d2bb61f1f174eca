"""Align, cut and tile faces. One warp per crop, from the nearest pyramid level, never enlarged.

Coordinates are those of records.py: the origin is the corner of the first pixel, whose centre is
(0.5, 0.5). Matrices are 2x3 float64 and go from photo pixels to crop pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.decode import Pixels
from data_manifests.records import Box, Cover, Point

__all__ = [
    "PartBoxes",
    "align_matrix",
    "covers",
    "from_centres",
    "head_box",
    "native_side",
    "part_boxes",
    "tile_boxes",
    "warp",
]

Matrix = NDArray[np.float64]

# Left eye, right eye, nose, left and right mouth corner in the 512 px crop, as seen in the picture.
# Source: facexlib's FFHQ template, which GFPGAN and CodeFormer align to.
TEMPLATE_512 = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
BORDER_RGB = (132, 133, 135)  # what the restorers' alignment pads with, same source
# Sides of the part boxes over the eye distance (mouth: over its width). Source: GFPGAN's landmark
# boxes (eyes 1.4 x their extent, taken as 0.48 of the eye distance; mouth 1 x), for five points.
_EYE, _NOSE, _MOUTH, _LEAST_PART = 0.48 * 1.4, 0.6, 1.03, 16.0
_WARP_SIDE, _WARP_MARGIN = 32_767, 4  # px
_GRID = 64  # points a side that a tile's cover is counted on


@dataclass(frozen=True, slots=True)
class PartBoxes:
    """Eye, nose and mouth boxes in crop pixels."""

    left_eye: Box
    right_eye: Box
    nose: Box
    mouth: Box


def align_matrix(landmarks: Sequence[Point], size: int) -> Matrix:
    """The similarity that takes five landmarks onto the FFHQ template of `size` px.

    Least median of squares, so that one misplaced landmark does not tilt the face. Raises
    ValueError where the points allow no similarity.
    """
    points = np.array([(p.x, p.y) for p in landmarks])
    found, _ = cv2.estimateAffinePartial2D(points, TEMPLATE_512 * (size / 512), method=cv2.LMEDS)
    if found is None or not np.isfinite(found).all() or _scale(found) < 1e-6:
        raise ValueError("the landmarks allow no similarity transform")
    return np.asarray(found, dtype=np.float64)


def native_side(matrix_23: Matrix, size: int) -> float:
    """How many photo pixels the side of the aligned crop spans."""
    return size / _scale(matrix_23)


def warp(levels: Sequence[Pixels], matrix_23: Matrix, size: int) -> Pixels:
    """The aligned square of `size` px, from the smallest level that still need not be enlarged."""
    fitting = [_level_matrix(level, matrix_23, levels[0].shape[1]) for level in levels]
    usable = [i for i, m in enumerate(fitting) if _scale(m) <= 1.0 + 1e-3]
    chosen = usable[-1] if usable else 0
    deep = levels[0].dtype == np.uint16
    source_HWC, matrix_23 = _needed(levels[chosen], fitting[chosen], size)
    cut: Any = cv2.warpAffine(
        source_HWC,
        from_centres(matrix_23),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[c * 257 if deep else c for c in BORDER_RGB],
    )
    return cut  # type: ignore[no-any-return]


def from_centres(matrix_23: Matrix) -> Matrix:
    """The matrix as OpenCV's warps want it: they count from the first pixel's centre, the house
    from its corner."""
    moved = matrix_23.copy()
    moved[:, 2] += moved[:, :2] @ (0.5, 0.5) - 0.5
    return moved


def part_boxes(landmarks: Sequence[Point], matrix_23: Matrix, size: int) -> PartBoxes:
    """Eye, nose and mouth boxes in the crop, cut off at its border."""
    points = np.array([(p.x, p.y, 1.0) for p in landmarks]) @ matrix_23.T
    left_eye, right_eye, nose, mouth_left, mouth_right = points
    between = math.dist(left_eye, right_eye)
    mouth = (mouth_left + mouth_right) / 2
    mouth_side = max(math.dist(mouth_left, mouth_right) * _MOUTH, _EYE * between)
    return PartBoxes(
        left_eye=_square(left_eye, _EYE * between, size),
        right_eye=_square(right_eye, _EYE * between, size),
        nose=_square(nose, _NOSE * between, size),
        mouth=_square(mouth, mouth_side, size),
    )


def tile_boxes(box: Box, width: int, height: int, tile: int) -> list[Box]:
    """Squares of `tile` px in the photo that cover the box, evenly spread, rows first.

    A photo smaller than a tile gives the one tile that fits.
    """
    lefts = _starts(box.left, box.right, width, tile)
    tops = _starts(box.top, box.bottom, height, tile)
    wide, high = min(tile, width), min(tile, height)
    return [Box(left=x, top=y, right=x + wide, bottom=y + high) for y in tops for x in lefts]


def head_box(landmarks: Sequence[Point], width: int, height: int) -> Box:
    """The box in photo pixels of the whole head with its hair: the FFHQ square, cut off at the
    photo's border."""
    corners = _ffhq_points(landmarks, np.array([(0.0, 0.0), (1, 0), (1, 1), (0, 1)]))
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return Box(
        left=float(max(left, 0)),
        top=float(max(top, 0)),
        right=float(min(right, width)),
        bottom=float(min(bottom, height)),
    )


def covers(landmarks: Sequence[Point], tile: Box) -> tuple[Cover, ...]:
    """What a tile shows of each part of the face, from points spread over the FFHQ square.

    The parts are those of an average head: good for choosing tiles, not for cutting masks.
    """
    at = (np.arange(_GRID) + 0.5) / _GRID
    grid = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    placed = _ffhq_points(landmarks, grid)
    low, high = (tile.left, tile.top), (tile.right, tile.bottom)
    inside: NDArray[np.bool_] = np.all((placed >= low) & (placed < high), axis=1)
    shares = {part: float(inside[where].mean()) for part, where in _parts(grid).items()}
    return tuple(Cover(part=n, share=round(v, 3)) for n, v in shares.items() if v > 0)


def _parts(grid: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Which points of the unit FFHQ square belong to which part."""

    def oval(centre: Sequence[float], wide: float, high: float) -> NDArray[np.bool_]:
        away = (grid - np.asarray(centre)) / (wide / 2, high / 2)
        inside: NDArray[np.bool_] = np.less_equal((away**2).sum(axis=1), 1)
        return inside

    template = TEMPLATE_512 / 512
    eyes = [oval(point, 0.16, 0.09) for point in template[:2]]
    lips = oval(template[3:].mean(axis=0), 0.26, 0.13)
    face = oval((0.5, 0.55), 0.5, 0.72)
    above: NDArray[np.bool_] = np.less(grid[:, 1], 0.6)
    head = oval((0.5, 0.48), 0.72, 0.94) & above
    return {
        "skin": face & ~eyes[0] & ~eyes[1] & ~lips,
        "hair": head & ~face,
        "left_eye": eyes[0],
        "right_eye": eyes[1],
        "mouth": lips,
    }


def _ffhq_points(landmarks: Sequence[Point], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the unit FFHQ square in photo pixels."""
    back_23 = cv2.invertAffineTransform(align_matrix(landmarks, 1))
    return np.asarray(unit @ back_23[:, :2].T + back_23[:, 2], dtype=np.float64)


def _starts(start: float, end: float, limit: int, tile: int) -> list[int]:
    start, end = max(0.0, start), min(float(limit), end)
    count = max(1, math.ceil((end - start) / tile))
    spare = count * tile - (end - start)
    first = start - spare / 2 if count == 1 else start
    step = 0.0 if count == 1 else (end - start - tile) / (count - 1)
    last = max(limit - tile, 0)
    return sorted({min(max(round(first + i * step), 0), last) for i in range(count)})


def _square(centre: NDArray[np.float64], side: float, limit: int) -> Box:
    half = max(side, _LEAST_PART) / 2
    low, high = centre - half, centre + half
    left, top = (float(min(max(v, 0.0), limit - 1.0)) for v in low)
    right, bottom = (float(min(max(v, 1.0), limit)) for v in high)
    return Box(left=left, top=top, right=max(right, left + 1), bottom=max(bottom, top + 1))


def _needed(level: Pixels, matrix_23: Matrix, size: int) -> tuple[Pixels, Matrix]:
    """(the part of a level that the crop is made of, the matrix from there).

    All of it but in very long panoramas: OpenCV's warps take sides below 32767 px.
    """
    if max(level.shape[:2]) < _WARP_SIDE:
        return level, matrix_23
    back_23 = cv2.invertAffineTransform(matrix_23)
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size)]) @ back_23[:, :2].T
    height, width = level.shape[:2]
    low = np.floor((corners + back_23[:, 2]).min(axis=0)).astype(int) - _WARP_MARGIN
    high = np.ceil((corners + back_23[:, 2]).max(axis=0)).astype(int) + _WARP_MARGIN
    (left, top), (right, bottom) = low.clip(0, (width - 1, height - 1)), high
    part: Any = np.ascontiguousarray(level[top : max(bottom, top + 1), left : max(right, left + 1)])
    moved = matrix_23.copy()
    moved[:, 2] += moved[:, :2] @ (left, top)
    return part, moved


def _level_matrix(level: Pixels, matrix_23: Matrix, full_width: int) -> Matrix:
    # A halving leaves out the last pixel of an odd side, so the ratio of the sizes is a little off.
    halvings = round(math.log2(full_width / level.shape[1]))
    return np.hstack([matrix_23[:, :2] * 2.0**halvings, matrix_23[:, 2:]])


def _scale(matrix_23: Matrix) -> float:
    return math.sqrt(abs(float(np.linalg.det(matrix_23[:, :2]))))
