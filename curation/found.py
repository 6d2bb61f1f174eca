"""What a face finder gives, and one face per place from what it gave too often."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.records import Box, Point

__all__ = ["FaceFinder", "FoundFace", "found_face", "merge", "overlap"]

SAME_FACE = 0.4  # intersection over union


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in the pixels that were searched; landmarks in LANDMARK_NAMES order, or none.

    "Left" is the picture's left once the face is turned upright: a face that lies on its side or
    stands on its head keeps its points apart in the same way, so that aligning it turns it.
    """

    box: Box
    landmarks: tuple[Point, ...]
    score: float  # [0, 1]


FaceFinder = Callable[[NDArray[np.uint8]], list[FoundFace]]  # sRGB pixels HWC in


def found_face(
    corner_and_size: Any, points: Iterable[Any], score: float, scale: float = 1
) -> FoundFace:
    """The face of a box (x, y, width, height) and points (x, y), each enlarged by `scale`."""
    x, y, width, height = (float(v) * scale for v in corner_and_size)
    return FoundFace(
        box=Box(left=x, top=y, right=x + width, bottom=y + height),
        landmarks=tuple(Point(x=float(px) * scale, y=float(py) * scale) for px, py in points),
        score=min(max(float(score), 0.0), 1.0),
    )


def merge(faces: Iterable[FoundFace]) -> list[FoundFace]:
    """One face per place: the surest of those that overlap, surest first."""
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(overlap(face.box, k.box) < SAME_FACE for k in kept):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    wide = min(a.right, b.right) - max(a.left, b.left)
    high = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / max(a.width * a.height + b.width * b.height - shared, 1e-9)
