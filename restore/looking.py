"""What there is to look at of a restored photo, from its files: before, after, and each face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.colour import to_srgb
from curation.decode import DecodedPhoto
from data_manifests.errors import AuthFaceError
from restore.blend import region_of, scale_of
from restore.outcome import FaceReport, Outcome

__all__ = ["Looked", "Zoom", "look_at"]

Srgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Zoom:
    """A restored face with its surroundings, as large as it is in the files; views, no copies."""

    face: FaceReport
    before_HWC: Srgb
    after_HWC: Srgb
    model_size: int  # px, side of what the model saw

    @property
    def label(self) -> str:
        """Which face, how large it is in the photo, and at what size it was restored."""
        spans = self.model_size / scale_of(_matrix(self.face))
        return f"Face {self.face.index}: {spans:.0f} px of the photo, restored at {self.model_size}"


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A photo as sRGB, uint8 HWC: the input, and the output where one was written."""

    before_HWC: Srgb
    after_HWC: Srgb | None
    zooms: tuple[Zoom, ...] = ()


def look_at(outcome: Outcome, read: Callable[[Path], DecodedPhoto]) -> Looked | None:
    """The pictures of an outcome; none if they can't be read, or it failed."""
    if outcome.status == "failed":
        return None
    try:
        before_HWC = _srgb(read(outcome.source))
        if outcome.output_sha256 is None or outcome.model is None:
            return Looked(before_HWC, None)
        after_HWC = _srgb(read(outcome.target))
    except AuthFaceError:
        return None
    size = outcome.model.size
    faces = [f for f in outcome.faces if f.status == "restored"]
    zooms = tuple(_zoom(face, before_HWC, after_HWC, size) for face in faces)
    return Looked(before_HWC, after_HWC, zooms)


def _zoom(face: FaceReport, before_HWC: Srgb, after_HWC: Srgb, size: int) -> Zoom:
    here = region_of(_matrix(face), size, before_HWC.shape)
    grown = after_HWC.shape[1] / before_HWC.shape[1]
    rows, columns = (slice(round(s.start * grown), round(s.stop * grown)) for s in here)
    return Zoom(face, before_HWC[here], after_HWC[rows, columns], size)


def _matrix(face: FaceReport) -> NDArray[np.float64]:
    return np.array(face.matrix).reshape(2, 3)


def _srgb(photo: DecodedPhoto) -> Srgb:
    return to_srgb(photo.pixels_HWC, photo.facts.icc)
