"""How like a restored face is to its input: drift, landmarks, identity. Pixels in, figures out.

Legend: H rows, W columns, C channels. Faces are FFHQ-aligned squares, uint8 sRGB, both of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import luma
from curation.crops import TEMPLATE_512
from curation.faces import NamedFinder
from curation.identity import FaceEmbedder, cut_face
from data_manifests.records import Point
from restore.blend import face_mask
from restore.metrics import landmark_shift

__all__ = ["FaceComparer", "Likeness", "drift", "face_parts", "likeness"]

Pixels = NDArray[np.uint8]
Luma = NDArray[np.float32]

_SIDE = 128  # px; what is compared is coarser than this
_PER_512 = _SIDE / 512
# All in pixels of a 512 px face. Detail finer than _FINE is never compared: there grain lies, and
# what a restorer must invent. Shading coarser than _COARSE isn't either: light may be evened out.
_FINE, _COARSE = 9.0, 28.0
_BLURS = (0.0, 3.0, 5.0, 8.0, 12.0, 17.0, 23.0)
_MOST_LEEWAY = 4.0  # times the drift that is allowed of a sharp input
# (centre, half axes) of eyes, nose and mouth in the 512 px face; the whole face is compared too.
_PARTS = (
    ((193, 240), (50, 36)),
    ((319, 240), (50, 36)),
    ((256, 300), (50, 50)),
    ((257, 371), (85, 48)),
)
_SOFT = 8.0  # sigma of the parts' edges, px of 512
_LEAST_POWER = 0.05  # of luma squared: less is rounding and no face


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a restored face compares with its input; none is what could not be measured."""

    identity: float | None  # cosine of SFace vectors; 1 is the same picture
    landmark_shift: float | None  # mean shift of five landmarks in eye distances
    drift: float  # 0 where it agrees with the input as far as that shows anything, up to 2
    lost: bool = False  # the finder sees a face in the input and none in the restored one


@dataclass(slots=True)
class FaceComparer:
    """Compares one input with what is made of it; the input's face is looked for once."""

    before_HWC: Pixels
    finder: NamedFinder | None = None
    embed: FaceEmbedder | None = None
    _points: list[tuple[Point, ...]] = field(default_factory=list, repr=False)

    def likeness(self, after_HWC: Pixels) -> Likeness:
        """Of a restored face of the same size. Vectors are compared and forgotten."""
        drifted, blur = _drift(self.before_HWC, after_HWC)
        shift, lost = self._shift(after_HWC, blur)
        return Likeness(
            identity=_identity(self.before_HWC, after_HWC, self.embed),
            landmark_shift=shift,
            drift=drifted,
            lost=lost,
        )

    def _shift(self, after_HWC: Pixels, blur: float) -> tuple[float | None, bool]:
        """Landmarks of the restored face blurred as the input is: a finder places those of a poor
        picture elsewhere, on the same face too."""
        if self.finder is None or not self.finder.has_landmarks:
            return None, False
        if not self._points:
            self._points.append(_main_face(self.before_HWC, self.finder))
        before = self._points[0]
        if not before:
            return None, False  # a finder that is blind to the input says nothing
        sigma = blur * after_HWC.shape[0] / 512
        soft_HWC = cv2.GaussianBlur(after_HWC, (0, 0), sigma) if sigma else after_HWC
        after = _main_face(np.asarray(soft_HWC, dtype=np.uint8), self.finder)
        return landmark_shift(after, before), not after


def likeness(
    before_HWC: Pixels,
    after_HWC: Pixels,
    *,
    finder: NamedFinder | None = None,
    embed: FaceEmbedder | None = None,
) -> Likeness:
    """The likeness of two aligned crops; without a finder or an embedder their figure is none."""
    return FaceComparer(before_HWC, finder, embed).likeness(after_HWC)


def drift(before_HWC: Pixels, after_HWC: Pixels) -> float:
    """0 where the restored face, reduced to the input's own resolution, is the input again; to 2.

    Both are band-passed luma. The restored one is blurred further, by what makes the whole face
    agree best: that blur is the input's own resolution, and finding it by the fit asks nothing of
    grain or JPEG blocks, which fool measures of sharpness. One less the correlation is then taken
    over the face, each eye, nose and mouth; the worst counts. The poorer the input, the less a
    correlation says, so it is divided by 1 + (blur / 9 px of 512)^2, at most 4. Contrast and
    brightness of the two may differ. Measured in benchmarks/guard.py.
    """
    return _drift(before_HWC, after_HWC)[0]


def _drift(before_HWC: Pixels, after_HWC: Pixels) -> tuple[float, float]:
    """(drift, blur that makes the restored face as coarse as its input, in px of 512)."""
    input_HW, after_HW = _band(_small(before_HWC), 0.0), _small(after_HWC)
    whole_HW, *parts = face_parts()
    bands = {blur: _band(after_HW, blur) for blur in _BLURS}
    fits = {blur: _correlation(input_HW, bands[blur], whole_HW) for blur in _BLURS}
    blur = max(fits, key=fits.__getitem__)
    worst = min(fits[blur], *(_correlation(input_HW, bands[blur], part_HW) for part_HW in parts))
    return (1 - worst) / min(1 + (blur / _FINE) ** 2, _MOST_LEEWAY), blur


def _small(pixels_HWC: Pixels) -> Luma:
    side = pixels_HWC.shape[0]
    way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_CUBIC
    return luma(np.asarray(cv2.resize(pixels_HWC, (_SIDE, _SIDE), interpolation=way), np.uint8))


def _band(luma_HW: Luma, blur: float) -> Luma:
    """Detail between _FINE and _COARSE of luma that is blurred besides."""
    fine, coarse = (math.hypot(sigma, blur) * _PER_512 for sigma in (_FINE, _COARSE))
    return np.asarray(
        cv2.GaussianBlur(luma_HW, (0, 0), fine) - cv2.GaussianBlur(luma_HW, (0, 0), coarse),
        dtype=np.float32,
    )


def _correlation(a_HW: Luma, b_HW: Luma, weight_HW: Luma) -> float:
    """Weighted; 0 where one of the two is flat."""
    a_HW = a_HW - float((a_HW * weight_HW).sum())
    b_HW = b_HW - float((b_HW * weight_HW).sum())
    powers = [float((p * p * weight_HW).sum()) for p in (a_HW, b_HW)]
    if min(powers) < _LEAST_POWER:
        return 0.0
    return float((a_HW * b_HW * weight_HW).sum()) / math.sqrt(powers[0] * powers[1])


@lru_cache(maxsize=1)
def face_parts() -> tuple[Luma, ...]:
    """Weights of the whole face, each eye, nose and mouth at 128 px; each sums to 1."""
    masks: list[Luma] = [face_mask(_SIDE)]
    for (x, y), (wide, high) in _PARTS:
        across = (np.arange(_SIDE, dtype=np.float32) + 0.5) / _PER_512
        inside_HW = np.hypot((across[None] - x) / wide, (across[:, None] - y) / high) <= 1
        sharp_HW = inside_HW.astype(np.float32)
        masks.append(np.asarray(cv2.GaussianBlur(sharp_HW, (0, 0), _SOFT * _PER_512), np.float32))
    return tuple(np.asarray(mask / mask.sum(), dtype=np.float32) for mask in masks)


def _main_face(pixels_HWC: Pixels, finder: NamedFinder) -> tuple[Point, ...]:
    """The landmarks of the face that lies where an aligned one does, empty if none does."""
    side = pixels_HWC.shape[0]
    places = TEMPLATE_512 * (side / 512)
    eyes = float(np.linalg.norm(places[1] - places[0]))

    def away(points: Sequence[Point]) -> float:
        return float(np.linalg.norm([(p.x, p.y) for p in points] - places, axis=1).mean())

    found = [f.landmarks for f in finder(pixels_HWC) if len(f.landmarks) == len(places)]
    nearest = min(found, key=away, default=())
    return nearest if nearest and away(nearest) <= eyes else ()


def _identity(before_HWC: Pixels, after_HWC: Pixels, embed: FaceEmbedder | None) -> float | None:
    """By where an aligned face's landmarks lie, in both: a feature that moved is not followed."""
    if embed is None:
        return None
    points_52 = TEMPLATE_512 * (before_HWC.shape[0] / 512)
    faces = [cut_face(pixels_HWC, points_52) for pixels_HWC in (before_HWC, after_HWC)]
    one, other = embed([face for face in faces if face is not None])
    return float(one @ other)
