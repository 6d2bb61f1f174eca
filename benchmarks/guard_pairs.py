"""Made pairs for benchmarks/guard.py: honest restorations, and faces that are no longer the input.

Faces are 512 px aligned squares, uint8 sRGB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from restore.blend import face_mask

__all__ = ["BAD", "HONEST", "POOR", "SIDE", "bad", "enlarged", "honest", "poor", "toned"]

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Rng = np.random.Generator

SIDE = 512
_EYES, _NOSE, _MOUTH = ((193, 240), (319, 240)), (256, 314), (257, 371)
HONEST = ("original", "warped 2.5", "warped 4", "sharpened", "smoothed", "relit", "with pores")
BAD = (
    *("another person", "another's inner face", "another's eyes", "another's mouth"),
    *("half another person", "mirrored", "one eye 14 px up", "mouth 28 px wider"),
    "nose 18 px down",
)
POOR = ("blur 1", "blur 2", "enlarged x2", "noise 12")


def honest(sharp: Pixels, rng: Rng) -> Iterator[tuple[str, Pixels]]:
    """What a good restorer may give: the sharp original, and it changed within reason."""
    floats = sharp.astype(np.float32)
    grain = rng.normal(0, 10, (SIDE, SIDE, 1)).astype(np.float32)
    grain -= cv2.GaussianBlur(grain, (0, 0), 1.5)[..., None]
    made = (
        sharp,
        _warped(sharp, rng, 2.5),
        _warped(sharp, rng, 4.0),
        _bytes(1.6 * floats - 0.6 * cv2.GaussianBlur(floats, (0, 0), 2)),
        cv2.bilateralFilter(sharp, 9, 40, 7),
        _bytes(255 * (floats / 255) ** 1.2 * 0.9 + 8),
        _bytes(floats + grain),
    )
    yield from zip(HONEST, made, strict=True)


def bad(sharp: Pixels, other: Pixels, rng: Rng) -> Iterator[tuple[str, Pixels]]:
    """The sharp face with something of another person's, or with features elsewhere."""
    theirs = _toned_floats(other, sharp)
    eyes = _soft(_EYES[0], (48, 32)) + _soft(_EYES[1], (48, 32))
    left, right = (200, 371), (312, 371)
    wider = _moved(_moved(sharp, left, (50, 50), (-14, 0)), right, (50, 50), (14, 0))
    made = (
        _bytes(theirs),
        _mixed(sharp, theirs, _soft((256, 300), (110, 140))),
        _mixed(sharp, theirs, eyes),
        _mixed(sharp, theirs, _soft(_MOUTH, (85, 48))),
        _mixed(sharp, theirs, np.float32(0.5)),
        np.ascontiguousarray(sharp[:, ::-1]),
        _moved(sharp, _EYES[0], (60, 45), (0, -14)),
        wider,
        _moved(sharp, _NOSE, (60, 60), (0, 18)),
    )
    yield from zip(BAD, made, strict=True)


def poor(sharp: Pixels, rng: Rng) -> Iterator[tuple[str, Pixels]]:
    """Simple damage, each kind by itself, that a sharp face must not pass for."""
    made = (
        cv2.GaussianBlur(sharp, (0, 0), 1),
        cv2.GaussianBlur(sharp, (0, 0), 2),
        enlarged(sharp, 2),
        _bytes(sharp + rng.normal(0, 12, sharp.shape)),
    )
    yield from zip(POOR, made, strict=True)


def enlarged(face: Pixels, times: float) -> Pixels:
    """The face reduced and brought back, as a small one is cut out of a photo."""
    small = cv2.resize(face, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _bytes(floats: Any) -> Pixels:
    return np.clip(np.rint(floats), 0, 255).astype(np.uint8)


def _soft(centre: tuple[int, int], axes: tuple[int, int]) -> Any:
    mask = cv2.ellipse(np.zeros((SIDE, SIDE), np.float32), centre, axes, 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(mask, (0, 0), 8)[..., None]


def _mixed(one: Pixels, other: Any, share: Any) -> Pixels:
    return _bytes(one * (1 - share) + other * share)


def toned(face: Pixels, like: Pixels) -> Pixels:
    """The face with mean and spread of each channel brought to those of another one."""
    return _bytes(_toned_floats(face, like))


def _toned_floats(face: Pixels, like: Pixels) -> Any:
    inside = face_mask(SIDE) > 0.5
    ours, theirs = face.astype(np.float32), like.astype(np.float32)
    scaled = (ours - ours[inside].mean(0)) / ours[inside].std(0) * theirs[inside].std(0)
    return np.clip(scaled + theirs[inside].mean(0), 0, 255)


def _warped(face: Pixels, rng: Rng, most: float) -> Pixels:
    """Smoothly bent by at most that many pixels."""
    noise = rng.standard_normal((SIDE, SIDE, 2)).astype(np.float32)
    bend = cv2.GaussianBlur(noise, (0, 0), 40)
    return _remapped(face, bend * (most / np.abs(bend).max()))


def _moved(
    face: Pixels, centre: tuple[int, int], axes: tuple[int, int], by: tuple[int, int]
) -> Pixels:
    return _remapped(face, -_soft(centre, axes) * np.array(by, np.float32))


def _remapped(face: Pixels, from_: Any) -> Pixels:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    places = columns + from_[..., 0], rows + from_[..., 1]
    return cv2.remap(face, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
