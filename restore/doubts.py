"""Which restored faces a person should look at, and whether seeds agree on a face.

Legend: H rows, W columns, C channels. Faces are FFHQ-aligned squares, uint8 sRGB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from restore.config import DoubtConfig
from restore.guard import Kept, RestoresFaces
from restore.identity import face_parts

__all__ = ["disagreement", "doubt_of", "other_seed", "spread"]

Pixels = NDArray[np.uint8]


def doubt_of(kept: Kept, config: DoubtConfig, *, spread: float | None = None) -> str:
    """Why a person should look at a restored face, empty if nobody need.

    Of a face that was left or failed there is nothing to look at.
    """
    if kept.status != "restored":
        return ""
    said = [kept.reason, kept.note]
    likeness = kept.likeness
    if likeness is not None:
        identity, shift = likeness.identity, likeness.landmark_shift
        if identity is not None and identity < config.least_identity:
            figures = f"identity {identity:.2f}, below {config.least_identity:g}"
            said.append(f"it may look like somebody else ({figures})")
        if shift is not None and shift > config.input_shift:
            figures = f"by {shift:.2f} eye distances, over {config.input_shift:g}"
            said.append(f"eyes, nose or mouth moved ({figures})")
        told = "drift from the input" in kept.reason  # by the guard, of a test model
        if likeness.drift > config.most_drift and not told:
            figures = f"drift from the input {likeness.drift:.2f}, over {config.most_drift:g}"
            said.append(f"it departs from what the photo shows ({figures})")
    if spread is not None and spread > config.most_spread:
        figures = f"seeds disagree by {spread:.1f}, over {config.most_spread:g}"
        said.append(f"another try made another face ({figures})")
    return "; ".join(part for part in said if part)


def spread(
    restorer: RestoresFaces,
    crops: Sequence[Pixels],
    seeds: Sequence[int],
    *,
    count: int,
    fidelity: float,
) -> list[float | None]:
    """Per face, how far `count` restorations of it lie apart; costs as many restorations.

    The first is that of the face's own seed. None of a face that one of the seeds could not
    restore. Seeds are derived face by face: no batch changes a figure.
    """
    if count < 2:
        raise ValueError("fewer than two seeds can't disagree")
    made: list[list[Pixels | None]] = [[] for _ in crops]
    for number in range(count):
        wanted = [other_seed(seed, number) for seed in seeds]
        results = restorer.restore_each(crops, seeds=wanted, fidelity=fidelity)
        for pictures, result in zip(made, results, strict=True):
            pictures.append(result.pixels_HWC)
    found = [[p for p in pictures if p is not None] for pictures in made]
    return [disagreement(p) if len(p) == count else None for p in found]


def other_seed(seed: int, number: int) -> int:
    """The `number`th seed of a face whose own, number 0, is `seed`; 63 bits."""
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def disagreement(restorations: Sequence[Pixels]) -> float:
    """Standard deviation over the restorations in CIELAB, all channels together; 0 for equal ones.

    Its mean over the face, an eye, nose or mouth at 128 px, whichever is largest: that pores lie
    elsewhere with every seed is no disagreement, and another mouth is one.
    """
    parts = face_parts()
    size = (parts[0].shape[1], parts[0].shape[0])
    labs = []
    for pixels_HWC in restorations:
        small = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
        labs.append(cv2.cvtColor(np.asarray(small, np.float32) / 255, cv2.COLOR_RGB2LAB))
    deviation_HW = np.sqrt(np.stack(labs).var(axis=0).sum(axis=2))
    return max(float((deviation_HW * part_HW).sum()) for part_HW in parts)
