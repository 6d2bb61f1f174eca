"""What can be looked at of a restored photo, made from its files: before, after, and each face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from curation.colour import to_srgb
from curation.decode import DecodedPhoto
from data_manifests.errors import AuthFaceError
from restore.blend import region_of, scale_of
from restore.compare import PageEntry, Preview, to_jpeg
from restore.outcome import FaceReport, Outcome

__all__ = ["page_entry", "preview_of"]

_WHOLE, _FACE = 1600, 512  # px, long sides


def preview_of(outcome: Outcome, read: Callable[[Path], DecodedPhoto]) -> Preview | None:
    """Small pictures of input and output; none if no output was written or one can't be read."""
    if outcome.output_sha256 is None or outcome.model is None:
        return None
    try:
        before, after = read(outcome.source), read(outcome.target)
    except AuthFaceError:
        return None
    before_HWC = to_srgb(before.pixels_HWC, before.facts.icc)
    after_HWC = to_srgb(after.pixels_HWC, after.facts.icc)
    grown = after_HWC.shape[1] / before_HWC.shape[1]
    zooms = []
    for face in outcome.faces:
        if face.status == "restored":
            matrix_23 = np.array(face.matrix).reshape(2, 3)
            here = region_of(matrix_23, outcome.model.size, before_HWC.shape)
            rows, columns = (slice(int(s.start * grown), int(s.stop * grown)) for s in here)
            before_jpeg = to_jpeg(before_HWC[here], _FACE)
            after_jpeg = to_jpeg(after_HWC[rows, columns], _FACE)
            zooms.append((before_jpeg, after_jpeg, _label(face, outcome.model.size)))
    return Preview(
        before_jpeg=to_jpeg(before_HWC, _WHOLE),
        after_jpeg=to_jpeg(after_HWC, _WHOLE),
        faces=tuple(zooms),
    )


def _label(face: FaceReport, size: int) -> str:
    spans = size / scale_of(np.array(face.matrix).reshape(2, 3))
    return f"Face {face.index}: {size} model pixels over {spans:.0f} of the photo"


def page_entry(outcome: Outcome, read: Callable[[Path], DecodedPhoto]) -> PageEntry:
    """What the before/after page shows of an outcome."""
    times = ", ".join(f"{name} {s:.2f} s" for name, s in outcome.seconds.items())
    model = f"model {outcome.model.sha256[:12]}" if outcome.model else ""
    facts = (outcome.summary, *outcome.notes, model, times)
    return PageEntry(
        title=outcome.source.name,
        preview=preview_of(outcome, read),
        facts=tuple(f for f in facts if f),
    )
