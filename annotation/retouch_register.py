"""How a returned picture lies on its source: a similarity, found by points and then patch by patch.

Coordinates are those of records.py: the origin is the corner of the first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from annotation.retouch_pixels import Pixels

__all__ = ["Registration", "match_points", "register"]

Matrix = NDArray[np.float64]

_SIDE = 1200  # px long side at which points are matched
_POINTS = 2000
_NEAREST = 0.8  # a match must be so much nearer than the second best. Source: Lowe, IJCV 2004, 7.1
_NEAR = 3.0  # px at _SIDE that a point may miss its place by
_MOST_SCALE = 32.0  # an 8K photo's thumbnail is still the same picture
_PATCHES, _PATCH = 9, 128  # patches a side, and their side in px
_WINDOW = 63  # px of a patch that is followed; the rest is room to move in
_STRONG = 32.0  # grey levels of detail that each patch is brought to, whatever its light
_UNLIKE = 0.75 * _STRONG  # mean difference where nothing fits; unrelated patches come to 1.1
_FLAT = 0.6  # grey levels of detail below which a patch says nothing about its place


@dataclass(frozen=True, slots=True)
class Registration:
    """Where the source lies in the returned picture.

    `matrix_23` goes from source to returned pixels. `inliers` matching points stand behind it,
    `overlap` is the share of the source that the returned picture shows, 0 to 1. `stretch` is how
    many times wider the returned picture is for its height than the source, as the points say.
    """

    matrix_23: Matrix
    inliers: int
    overlap: float
    stretch: float = 1.0

    @property
    def scale(self) -> float:
        """Returned pixels per source pixel."""
        a, b = self.matrix_23[:, 0]
        return math.hypot(a, b)

    @property
    def rotation(self) -> float:
        """Turn in degrees, clockwise positive."""
        a, b = self.matrix_23[:, 0]
        return math.degrees(math.atan2(b, a))

    def moved(self, x: float, y: float) -> tuple[float, float]:
        """A source point in returned pixels."""
        out = self.matrix_23 @ (x, y, 1.0)
        return float(out[0]), float(out[1])


def register(source_HWC: Pixels, returned_HWC: Pixels) -> Registration | None:
    """The similarity between the two, to about 0.05 px; none if too few points agree on one."""
    rough = match_points(source_HWC, returned_HWC)
    if rough is None:
        return None
    fine_23 = _refined(source_HWC, returned_HWC, rough.matrix_23)
    overlap = _overlap(fine_23, source_HWC.shape, returned_HWC.shape)
    return Registration(fine_23, rough.inliers, overlap, rough.stretch)


def match_points(source_HWC: Pixels, returned_HWC: Pixels) -> Registration | None:
    """A similarity by SIFT points and RANSAC, to about a pixel; none if fewer than 8 agree."""
    import cv2

    longest = max(*source_HWC.shape[:2], *returned_HWC.shape[:2])
    share = min(1.0, _SIDE / longest)
    points = [_points(p, share) for p in (source_HWC, returned_HWC)]
    pairs = _pairs(*points)
    if len(pairs) < 8:
        return None
    cv2.setRNGSeed(0)
    here_N2, there_N2 = (np.ascontiguousarray(pairs[:, i]) for i in (0, 1))
    found, kept = cv2.estimateAffinePartial2D(
        here_N2, there_N2, method=cv2.RANSAC, ransacReprojThreshold=_NEAR, maxIters=4000
    )
    if found is None or int(kept.sum()) < 8 or not np.isfinite(found).all():
        return None
    if not 1 / _MOST_SCALE <= math.hypot(*found[:, 0]) <= _MOST_SCALE:
        return None
    # OpenCV counts from a pixel's centre, the house from its corner.
    matrix_23 = np.asarray(found, np.float64)
    matrix_23[:, 2] += 0.5 - matrix_23[:, :2] @ (0.5, 0.5)
    matrix_23[:, 2] /= share
    overlap = _overlap(matrix_23, source_HWC.shape, returned_HWC.shape)
    return Registration(matrix_23, int(kept.sum()), overlap, _stretch(pairs))


def _stretch(pairs: NDArray[np.float64]) -> float:
    """Width over height of what a square becomes; 1 where the points do not say."""
    import cv2

    here_N2, there_N2 = (np.ascontiguousarray(pairs[:, i]) for i in (0, 1))
    found, kept = cv2.estimateAffine2D(
        here_N2, there_N2, method=cv2.RANSAC, ransacReprojThreshold=_NEAR, maxIters=4000
    )
    if found is None or int(kept.sum()) < len(pairs) / 4:
        return 1.0
    across, down = np.hypot(*found[:, 0]), np.hypot(*found[:, 1])
    return float(across / down) if np.isfinite(found).all() and down > 0 else 1.0


def _points(pixels_HWC: Pixels, share: float) -> tuple[Any, Any]:
    import cv2

    height, width = pixels_HWC.shape[:2]
    grey_HW = cv2.cvtColor(np.ascontiguousarray(pixels_HWC), cv2.COLOR_RGB2GRAY)
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        grey_HW = cv2.resize(grey_HW, size, interpolation=cv2.INTER_AREA)
    seeker = cv2.SIFT.create(nfeatures=_POINTS, contrastThreshold=0.02)
    places, descriptors = seeker.detectAndCompute(grey_HW, None)
    return places, descriptors


def _pairs(here: tuple[Any, Any], there: tuple[Any, Any]) -> NDArray[np.float64]:
    """N x 2 x 2: places of points that look alike, here and there; each point there only once.

    Otherwise a hundred points that look like one there would agree on a picture shrunk onto it.
    """
    import cv2

    none = np.zeros((0, 2, 2))
    if here[1] is None or there[1] is None or len(there[0]) < 2:
        return none
    matcher = cv2.FlannBasedMatcher({"algorithm": 1, "trees": 2}, {"checks": 32})
    found = matcher.knnMatch(here[1], there[1], k=2)
    good = [m for m, n in (p for p in found if len(p) == 2) if m.distance < _NEAREST * n.distance]
    best = {there[0][m.trainIdx].pt: m for m in sorted(good, key=lambda m: -m.distance)}
    if not best:
        return none
    return np.array([(here[0][m.queryIdx].pt, place) for place, m in best.items()])


def _refined(source_HWC: Pixels, returned_HWC: Pixels, rough_23: Matrix) -> Matrix:
    """The similarity through the middles of patches, each followed by its gradients.

    Lucas and Kanade (IJCAI 1981), as Bouguet does it. Phase correlation was tried and draws a file
    that was resampled between pixels to whole ones: 0.27 px for a shift of 0.5.
    """
    import cv2

    scale = math.hypot(*rough_23[:, 0])
    if not 0.9 < scale < 1.1 or abs(math.atan2(rough_23[1, 0], rough_23[0, 0])) > 0.05:
        return rough_23  # patches would not lie on each other, and it is refused anyway
    places = [
        pair
        for at in _grid(source_HWC.shape)
        if (pair := _placed(source_HWC, returned_HWC, rough_23, at)) is not None
    ]
    if len(places) < 6:
        return rough_23
    pairs = np.array(places)
    cv2.setRNGSeed(0)
    here_N2, there_N2 = (np.ascontiguousarray(pairs[:, i]) for i in (0, 1))
    found, kept = cv2.estimateAffinePartial2D(
        here_N2, there_N2, method=cv2.RANSAC, ransacReprojThreshold=0.3, maxIters=4000
    )
    if found is None or int(kept.sum()) < max(6, len(places) // 4):
        return rough_23
    return np.asarray(found, np.float64)


def _grid(shape: Sequence[int]) -> list[tuple[int, int]]:
    height, width = shape[:2]
    half = _PATCH // 2
    if min(height, width) < 2 * _PATCH:
        return []
    across = np.linspace(half + 4, width - half - 4, _PATCHES).astype(int)
    down = np.linspace(half + 4, height - half - 4, _PATCHES).astype(int)
    return [(int(x), int(y)) for y in down for x in across]


def _placed(
    source_HWC: Pixels, returned_HWC: Pixels, matrix_23: Matrix, at: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """(middle of a patch here, its middle there), none if nothing can be told."""
    import cv2

    half = _PATCH // 2
    x, y = (round(float(v)) for v in matrix_23 @ (*at, 1.0))
    height, width = returned_HWC.shape[:2]
    if not (half <= x <= width - half and half <= y <= height - half):
        return None
    here = _detail(source_HWC[at[1] - half : at[1] + half, at[0] - half : at[0] + half])
    there = _detail(returned_HWC[y - half : y + half, x - half : x + half])
    if min(here.std(), there.std()) < _FLAT:
        return None
    centre = np.array([[[half, half]]], np.float32)
    followed, seen, unlike = cv2.calcOpticalFlowPyrLK(
        _evened(here),
        _evened(there),
        centre,
        centre.copy(),
        winSize=(_WINDOW, _WINDOW),
        maxLevel=2,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 0.002),
    )
    dx, dy = (float(v) for v in followed[0, 0] - half)
    if not seen[0, 0] or float(unlike[0, 0]) > _UNLIKE or max(abs(dx), abs(dy)) > half / 2:
        return None
    return (float(at[0]), float(at[1])), (x + dx, y + dy)


def _detail(patch_HWC: Pixels) -> NDArray[np.float32]:
    import cv2

    grey_HW = cv2.cvtColor(np.ascontiguousarray(patch_HWC), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(grey_HW - cv2.GaussianBlur(grey_HW, (0, 0), 4.0), np.float32)


def _evened(detail_HW: NDArray[np.float32]) -> Pixels:
    return np.asarray(np.clip(128 + detail_HW * (_STRONG / detail_HW.std()), 0, 255), np.uint8)


def _overlap(matrix_23: Matrix, source: Sequence[int], returned: Sequence[int]) -> float:
    """Share of a grid over the source that falls into the returned picture."""
    across, down = ((np.arange(50) + 0.5) / 50 * side for side in (source[1], source[0]))
    grid = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    placed = grid @ matrix_23[:, :2].T + matrix_23[:, 2]
    inside = (placed >= 0) & (placed <= (returned[1], returned[0]))
    return float(inside.all(axis=1).mean())
