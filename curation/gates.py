"""Pixels and figures to verdicts: each gate says what it measured, what it asked for, and why.

Face gates look at the aligned face, never at the whole frame: a blurred background is a choice.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import luma, shrink
from curation.config import GatesConfig
from data_manifests.records import Verdict

__all__ = [
    "face_part",
    "judge_eye_distance",
    "judge_face_count",
    "judge_light",
    "judge_long_side",
    "judge_near_duplicate",
    "judge_sharpness",
    "laplacian_variance",
]

Srgb = NDArray[np.uint8]

SHARPNESS_SIDE = 512  # px of the aligned face: one scale for all cameras, and grain averages out
_BOX_SHARE = 0.6  # a finder's box over the aligned square, so that both are judged at one scale
_BLOWN = 250  # of 255, in every channel: nothing is left to restore from


def judge_long_side(long_side: int, config: GatesConfig) -> Verdict:
    """Is the photo large enough?"""
    least = config.least_long_side
    keep = long_side >= least
    why = "" if keep else f"long side {long_side} px, less than the {least} px asked for"
    return _verdict("long_side", long_side, least, keep=keep, reason=why)


def judge_face_count(count: int, finder: str) -> Verdict:
    """Is there a face?"""
    why = "" if count else f"no face found by {finder}"
    return _verdict("no_face", count, 1, keep=count > 0, reason=why)


def judge_near_duplicate(nearest: tuple[str, int] | None, config: GatesConfig) -> Verdict:
    """Is it another version of a kept photo? `nearest` is (photo_id, differing bits)."""
    most = config.near_duplicate_bits
    if nearest is None:
        return _verdict("near_duplicate", None, most, keep=True, reason="")
    photo_id, bits = nearest
    keep = bits > most
    why = "" if keep else f"{bits} of 256 hash bits from the kept photo {photo_id[:12]}"
    return _verdict("near_duplicate", bits, most, keep=keep, reason=why)


def judge_eye_distance(distance: float, config: GatesConfig) -> Verdict:
    """Does the face have enough pixels in the original?"""
    least = config.least_eye_distance
    keep = distance >= least
    why = "" if keep else f"eyes {distance:.0f} px apart, less than the {least:.0f} px asked for"
    return _verdict("eye_distance", distance, least, keep=keep, reason=why)


def judge_sharpness(part_HWC: Srgb, config: GatesConfig) -> Verdict:
    """Is the face sharp? `part_HWC` comes from face_part."""
    value, least = laplacian_variance(luma(part_HWC)), config.least_sharpness
    keep = value >= least
    why = "" if keep else f"face sharpness {value:.1f}, less than the {least:.1f} asked for"
    return _verdict("sharpness", value, least, keep=keep, reason=why)


def judge_light(part_HWC: Srgb, config: GatesConfig) -> tuple[Verdict, Verdict]:
    """Is the face neither blown out nor lost in the dark?

    Darkness is judged by the brightest twentieth of the face and not by its mean, so that dark skin
    in good light passes: its highlights are bright whatever its tone.
    """
    blown = float((part_HWC >= _BLOWN).all(axis=2).mean())
    clipped_ok = blown <= config.most_clipped
    bright = float(np.percentile(luma(part_HWC), 95)) / 255
    bright_ok = bright >= config.least_brightness
    blown_why = "" if clipped_ok else f"{blown:.0%} of the face is blown out"
    dark_why = "" if bright_ok else f"the brightest parts of the face reach only {bright:.0%}"
    return (
        _verdict("clipping", blown, config.most_clipped, keep=clipped_ok, reason=blown_why),
        _verdict("brightness", bright, config.least_brightness, keep=bright_ok, reason=dark_why),
    )


def face_part(crop_HWC: Srgb, *, aligned: bool) -> Srgb:
    """The part of a face from brows to mouth, at most as large as in a SHARPNESS_SIDE crop."""
    side = SHARPNESS_SIDE if aligned else round(SHARPNESS_SIDE * _BOX_SHARE)
    small_HWC = np.asarray(shrink(crop_HWC, side), dtype=np.uint8)
    height, width = small_HWC.shape[:2]
    top, bottom, left, right = (0.38, 0.80, 0.27, 0.73) if aligned else (0.2, 0.9, 0.15, 0.85)
    return small_HWC[
        round(height * top) : round(height * bottom), round(width * left) : round(width * right)
    ]


def laplacian_variance(luma_HW: NDArray[np.float32]) -> float:
    """Variance of the Laplacian of luma in [0, 255]. Source: Pech-Pacheco, ICPR 2000, LAPV."""
    return float(cv2.Laplacian(luma_HW, cv2.CV_32F)[1:-1, 1:-1].var())


def _verdict(
    gate: str, value: float | None, threshold: float, *, keep: bool, reason: str
) -> Verdict:
    measured = None if value is None else round(float(value), 4)
    return Verdict(gate=gate, value=measured, threshold=float(threshold), keep=keep, reason=reason)
