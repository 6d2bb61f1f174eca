"""Find a photo's faces, choose those to restore, and cut them out aligned for the model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import pyramid, to_eight_bits
from curation.crops import align_matrix, warp
from curation.decode import Pixels
from curation.faces import NamedFinder, estimate_pose
from curation.found import FoundFace, merge
from data_manifests.errors import InputError
from data_manifests.records import Box, Point
from restore.blend import region_of, scale_of
from restore.config import RestoreConfig
from restore.outcome import NOT_ASKED, FaceReport
from restore.sampling import face_seed
from restore.wanted import parse_wanted

__all__ = ["Cut", "Model", "cut_aligned", "cut_faces", "cut_own", "others_of"]

Matrix = NDArray[np.float64]
Srgb = NDArray[np.uint8]

_ROOM = 0.6  # of a box's longer side, that a second look takes in around it
_MOST_SKEW = 1.02  # sides of a picture that is said to be an aligned face


@dataclass(frozen=True, slots=True)
class Model:
    """What cutting must know of a restorer: the side of its faces in pixels, and its steps."""

    size: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A face cut out for the model: sRGB, `size` x `size`; the matrix goes from photo to crop."""

    report: FaceReport
    matrix_23: Matrix
    crop_HWC: Srgb
    photo_id: str  # SHA-256 of the photo


def cut_faces(
    srgb_HWC: Srgb, finder: NamedFinder, model: Model, config: RestoreConfig, photo_sha256: str
) -> tuple[list[Cut], list[FaceReport]]:
    """The faces to restore, cut out, and the reports of those that are not."""
    levels = pyramid(srgb_HWC, model.size)
    wanted, cuts, skipped = parse_wanted(config.faces), list[Cut](), list[FaceReport]()
    for index, found in enumerate(_find(srgb_HWC, finder, wanted.box)):
        report = FaceReport(
            index=index,
            box=found.box,
            landmarks=tuple(found.landmarks),
            score=found.score,
            status="skipped",
        )
        asked = wanted.includes(index, found.box)
        reason = _reason_to_skip(found.landmarks, finder.name, config) if asked else NOT_ASKED
        try:
            matrix_23 = np.zeros((2, 3)) if reason else align_matrix(found.landmarks, model.size)
        except ValueError as error:
            reason = str(error)
        if reason:
            skipped.append(replace(report, reason=reason))
            continue
        report = _planned(report, matrix_23, model, config, photo_sha256)
        crop_HWC = to_eight_bits(warp(levels, matrix_23, model.size))
        cuts.append(Cut(report, matrix_23, crop_HWC, photo_sha256))
    return cuts, skipped


def cut_aligned(srgb_HWC: Srgb, model: Model, config: RestoreConfig, photo_sha256: str) -> Cut:
    """A picture that is one aligned face already, at the model's size.

    Raises InputError for a picture that is not square: it can't be an aligned face.
    """
    height, width = srgb_HWC.shape[:2]
    if max(height, width) > _MOST_SKEW * min(height, width):
        raise InputError(
            f"It has {width} x {height} pixels, and an aligned face is square.",
            "Leave --aligned out: the faces are then found and aligned.",
        )
    matrix_23 = np.array([(model.size / width, 0, 0), (0, model.size / height, 0)], np.float64)
    shrinks = max(height, width) > model.size
    crop: Any = cv2.resize(
        srgb_HWC,
        (model.size, model.size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )
    whole = Box(left=0.0, top=0.0, right=float(width), bottom=float(height))
    report = FaceReport(index=0, box=whole, landmarks=(), score=None, status="skipped")
    report = _planned(report, matrix_23, model, config, photo_sha256)
    return Cut(report, matrix_23, crop, photo_sha256)


def others_of(report: FaceReport, reports: Iterable[FaceReport], size: int) -> list[Matrix]:
    """Where the faces besides this one lie, as matrices to crops of `size` px, as far as known."""
    found = []
    for other in reports:
        if other.index != report.index and len(other.landmarks) == 5:
            with contextlib.suppress(ValueError):  # landmarks that allow no alignment
                found.append(align_matrix(other.landmarks, size))
    return found


def cut_own(photo_HWC: Pixels, matrix_23: Matrix, size: int) -> Pixels:
    """The face cut out in the photo's own colours and bits, aligned as the model's is."""
    rows, columns = region_of(matrix_23, size, photo_HWC.shape)
    # Whole cubic steps lie within two pixels; beyond the photo's edge `warp` pads.
    rows = slice(max(0, rows.start - 2), rows.stop + 2)
    columns = slice(max(0, columns.start - 2), columns.stop + 2)
    moved_23 = matrix_23.copy()
    moved_23[:, 2] += matrix_23[:, :2] @ (columns.start, rows.start)
    return warp(pyramid(photo_HWC[rows, columns], size), moved_23, size)


def _planned(
    report: FaceReport, matrix_23: Matrix, model: Model, config: RestoreConfig, photo_sha256: str
) -> FaceReport:
    return replace(
        report,
        scale=scale_of(matrix_23),
        seed=face_seed(config.seed, photo_sha256, report.index),
        steps=model.steps,
        matrix=tuple(float(v) for v in matrix_23.ravel()),
    )


def _find(srgb_HWC: Srgb, finder: NamedFinder, box: Box | None) -> list[FoundFace]:
    """The faces, largest first; where a box was drawn around none of them, a closer look at it."""
    found = finder(srgb_HWC)
    if box is None or any(_inside(face.box, box) for face in found):
        return found
    room = _ROOM * max(box.width, box.height)
    top, left = max(0, int(box.top - room)), max(0, int(box.left - room))
    part_HWC = srgb_HWC[top : math.ceil(box.bottom + room), left : math.ceil(box.right + room)]
    if part_HWC.size == 0:
        return found
    closer = [_moved(face, left, top) for face in finder(np.ascontiguousarray(part_HWC))]
    # Those found before come first in number; the boxed face must not renumber them.
    return found + [f for f in merge(closer) if all(f.box != other.box for other in found)]


def _inside(inner: Box, outer: Box) -> bool:
    x, y = (inner.left + inner.right) / 2, (inner.top + inner.bottom) / 2
    return outer.left <= x <= outer.right and outer.top <= y <= outer.bottom


def _moved(face: FoundFace, left: int, top: int) -> FoundFace:
    box = face.box
    return replace(
        face,
        box=Box(
            left=box.left + left,
            top=box.top + top,
            right=box.right + left,
            bottom=box.bottom + top,
        ),
        landmarks=tuple(Point(x=p.x + left, y=p.y + top) for p in face.landmarks),
    )


def _reason_to_skip(landmarks: Sequence[Point], finder: str, config: RestoreConfig) -> str:
    if len(landmarks) != 5:
        return f"the face finder {finder} gives no landmarks, without which no face can be aligned"
    left, right = landmarks[:2]
    eyes, least = math.hypot(right.x - left.x, right.y - left.y), config.least_eye_distance
    if eyes < least:
        return f"too small: its eyes are {eyes:.1f} px apart, and {least:g} are needed"
    if abs(estimate_pose(landmarks).yaw) > config.most_yaw:
        return "turned too far to the side: about a profile"
    return ""
