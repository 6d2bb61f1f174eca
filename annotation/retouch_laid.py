"""A returned picture laid on its source around the face: all that the checks look at. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotation.retouch_pixels import Mask, Pixels
from annotation.retouch_register import Registration
from data_manifests.records import Box

__all__ = ["Laid", "grown", "lay"]


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """The part of both pictures around the face, pixel upon pixel, and where the face is."""

    before_HWC: Pixels
    after_HWC: Pixels
    face: Box  # in pixels of the part
    left: int  # of the part, in source pixels
    top: int
    shown_HW: Mask  # where the returned picture has pixels: a crop may leave some out

    def cut(self, box: Box) -> tuple[slice, slice]:
        """Rows and columns of a box in the part."""
        height, width = self.before_HWC.shape[:2]
        rows = slice(max(0, round(box.top)), min(height, round(box.bottom)))
        return rows, slice(max(0, round(box.left)), min(width, round(box.right)))


def lay(source_HWC: Pixels, returned_HWC: Pixels, face: Box, found: Registration) -> Laid | None:
    """The head and some background in source pixels; none if the face is not whole in it."""
    import cv2

    height, width = source_HWC.shape[:2]
    half = max(face.width, face.height) * 1.2
    x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    right, bottom = min(width, math.ceil(x + half)), min(height, math.ceil(y + half))
    if not _inside(found, face, returned_HWC.shape):
        return None
    before_HWC = source_HWC[top:bottom, left:right]
    dx, dy = (round(v) for v in found.matrix_23[:, 2])
    moved = found.matrix_23 - np.array([[1, 0, dx], [0, 1, dy]])
    corners = np.array([(left, top, 1), (right, top, 1), (left, bottom, 1), (right, bottom, 1)])
    if np.abs(corners @ moved.T).max() < 0.5:  # whole pixels: nothing is interpolated
        after_HWC = _window(returned_HWC, left + dx, top + dy, before_HWC.shape[:2])
    else:
        matrix_23 = found.matrix_23.copy()
        matrix_23[:, 2] += matrix_23[:, :2] @ (left, top)
        matrix_23[:, 2] += matrix_23[:, :2] @ (0.5, 0.5) - 0.5
        after_HWC = cv2.warpAffine(
            returned_HWC,
            matrix_23,
            (right - left, bottom - top),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    box = Box(
        left=max(face.left - left, 0),
        top=max(face.top - top, 0),
        right=min(face.right, width) - left,
        bottom=min(face.bottom, height) - top,
    )
    shown_HW = _shown(found, (left, top, right, bottom), returned_HWC.shape)
    both = np.ascontiguousarray(before_HWC), np.ascontiguousarray(after_HWC)
    return Laid(*both, box, left, top, shown_HW)


def _shown(found: Registration, part: tuple[int, int, int, int], shape: Sequence[int]) -> Mask:
    """Which pixels of a part of the source (left, top, right, bottom) the returned picture has."""
    left, top, right, bottom = part
    x_W, y_H1 = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
    across, down = (row[0] * x_W + row[1] * y_H1 + row[2] for row in found.matrix_23)
    inside = (across >= 0) & (across <= shape[1]) & (down >= 0) & (down <= shape[0])
    return np.asarray(inside, np.bool_)


def _inside(found: Registration, face: Box, shape: Sequence[int]) -> bool:
    corners = [found.moved(x, y) for x in (face.left, face.right) for y in (face.top, face.bottom)]
    slack = 0.02 * max(face.width, face.height) + 2
    return (
        all(-slack <= x <= shape[1] + slack and -slack <= y <= shape[0] + slack for x, y in corners)
        or face.left < 0
        or face.top < 0
    )


def _window(pixels_HWC: Pixels, left: int, top: int, size: Sequence[int]) -> Pixels:
    """A part of a picture, its border repeated where the part reaches over it."""
    rows = np.clip(np.arange(top, top + size[0]), 0, pixels_HWC.shape[0] - 1)
    columns = np.clip(np.arange(left, left + size[1]), 0, pixels_HWC.shape[1] - 1)
    return np.asarray(pixels_HWC[rows][:, columns])


def grown(box: Box, times: float) -> Box:
    """The box, so many times as wide and high around its middle."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    half_x, half_y = box.width * times / 2, box.height * times / 2
    return Box(left=x - half_x, top=y - half_y, right=x + half_x, bottom=y + half_y)
