"""One face to its verdicts. A gate whose limit asks nothing still says what it measured.

Gates look at the face and never at the whole frame: a blurred background is a choice. What a
picture can't show (no landmarks, a small face, a half-size development) gets no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.colour import luma, shrink
from curation.config import GatesConfig
from curation.limits import at_least, at_most, verdict
from curation.sharpness import laplacian_variance, motion_blur, roll_off
from curation.skin import blown_share, clipped_channel, noise_sigma, occlusion
from data_manifests.records import Point, Pose, Verdict

__all__ = [
    "FaceLook",
    "eye_sharpness",
    "face_part",
    "judge_face",
    "judge_light",
    "judge_sharpness",
]

Srgb = NDArray[np.uint8]

SHARPNESS_SIDE = 512  # px of the aligned face: one scale for all cameras, and grain averages out
_BOX_SHARE = 0.6  # a finder's box over the aligned square, so that both are judged at one scale
_NATIVE_SIDE = 1024  # px of the native centre that is transformed
_LEAST_NATIVE = 128  # px; a smaller face has too few frequencies to judge
_LEAST_SCALE = 0.55  # of SHARPNESS_SIDE; below it the motion band leaves the spectrum
_MOST_TURN = 0.6  # yaw beyond which the aligned face's zones lie elsewhere
_EYES = ((193, 240), (319, 240))  # crops.TEMPLATE_512, rounded
_EYE_HALF = (42, 28)  # px of 512: lids and lashes, no brow


@dataclass(frozen=True, slots=True, eq=False)
class FaceLook:
    """One face as the gates see it; pixels are sRGB, rows x columns x 3."""

    aligned_HWC: Srgb  # FFHQ-aligned square of at most 512 px, or the box's area if not aligned
    aligned: bool
    native_HWC: Srgb  # the box at native scale, never resampled; its centre where beyond 2048 px
    landmarks: tuple[Point, ...]  # in native_HWC pixels, LANDMARK_NAMES order, or none
    eye_distance: float | None  # px in the original
    pose: Pose | None
    score: float | None  # the finder's confidence
    native: bool = True  # False for a RAW developed at half size: it has no native scale


def judge_face(look: FaceLook, config: GatesConfig) -> tuple[Verdict, ...]:
    """What each gate says of the face, in a fixed order; one that can't be judged is left out."""
    return (
        *_size_and_pose(look, config),
        *_detail(look, config),
        *_native(look, config),
        *_light(look, config),
        *_cover(look, config),
    )


def judge_sharpness(part_HWC: Srgb, config: GatesConfig) -> Verdict:
    """Is the face sharp? `part_HWC` comes from face_part."""
    return _sharpness(luma(part_HWC), config)


def judge_light(part_HWC: Srgb, config: GatesConfig) -> tuple[Verdict, Verdict]:
    """Is the face neither blown out nor lost in the dark? `part_HWC` comes from face_part."""
    return _blown(part_HWC, config), _brightness(luma(part_HWC), config)


def face_part(crop_HWC: Srgb, *, aligned: bool) -> Srgb:
    """The part of a face from brows to mouth, at most as large as in a SHARPNESS_SIDE crop."""
    side = SHARPNESS_SIDE if aligned else round(SHARPNESS_SIDE * _BOX_SHARE)
    small_HWC = np.asarray(shrink(crop_HWC, side), dtype=np.uint8)
    height, width = small_HWC.shape[:2]
    top, bottom, left, right = (0.38, 0.80, 0.27, 0.73) if aligned else (0.2, 0.9, 0.15, 0.85)
    return small_HWC[
        round(height * top) : round(height * bottom), round(width * left) : round(width * right)
    ]


def _size_and_pose(look: FaceLook, config: GatesConfig) -> Iterator[Verdict]:
    distance, pose = look.eye_distance, look.pose
    if distance is not None:
        least = config.least_eye_distance
        why = f"eyes {distance:.0f} px apart, less than the {least:.0f} px asked for"
        yield at_least("eye_distance", distance, least, why)
    if pose is not None:
        turn = abs(pose.yaw)
        why = f"head turned by {turn:.2f} of a profile, more than the {config.most_yaw:.2f} allowed"
        yield at_most("profile", turn, config.most_yaw, why)


def _detail(look: FaceLook, config: GatesConfig) -> Iterator[Verdict]:
    """Sharpness and motion blur, at the scale of the 512 px face."""
    luma_HW = luma(face_part(look.aligned_HWC, aligned=look.aligned))
    yield _sharpness(luma_HW, config)
    side = max(look.aligned_HWC.shape[:2]) / (1 if look.aligned else _BOX_SHARE)
    scale = round(min(side / SHARPNESS_SIDE, 1.0), 3)
    if look.aligned:
        value, least = eye_sharpness(look.aligned_HWC), config.least_eye_sharpness
        why = f"sharpness of the sharper eye {value:.1f}, less than the {least:.1f} asked for"
        yield at_least("eye_sharpness", value, least, why)
    if scale >= _LEAST_SCALE:
        value, most = motion_blur(luma_HW, scale), config.most_motion_blur
        why = f"sharp along one direction only: motion blur {value:.2f}, more than {most:.2f}"
        yield at_most("motion_blur", value, most, why)


def _native(look: FaceLook, config: GatesConfig) -> Iterator[Verdict]:
    """Effective resolution and noise, in pixels that were never resampled."""
    if not look.native or min(look.native_HWC.shape[:2]) < _LEAST_NATIVE:
        return
    luma_HW = luma(_centre(look.native_HWC, _NATIVE_SIDE))
    value, least = roll_off(luma_HW), config.least_roll_off
    why = (
        f"effective resolution {value:.1f} dB, less than asked for: detail finer than 5 px is weak"
    )
    keep = least is None or value >= least
    yield verdict("effective_resolution", value, least, keep=keep, reason=why)
    noise, most = noise_sigma(luma_HW), config.most_noise
    if noise is not None:
        why = f"noise of {noise:.1f} in 255 on smooth skin, more than {most:.1f}"
        yield at_most("noise", noise, most, why)


def _light(look: FaceLook, config: GatesConfig) -> Iterator[Verdict]:
    part_HWC = face_part(look.aligned_HWC, aligned=look.aligned)
    luma_HW = luma(part_HWC)
    yield _blown(part_HWC, config)
    if look.aligned:
        value, most = clipped_channel(look.aligned_HWC), config.most_clipped_channel
        yield at_most("channel_clipping", value, most, f"{value:.0%} of the skin clips one channel")
    yield _brightness(luma_HW, config)
    deep, most = float(np.percentile(luma_HW, 5)) / 255, config.most_darkness
    why = f"washed out: the darkest parts of the face are at {deep:.0%}"
    yield at_most("washed_out", deep, most, why)


def _cover(look: FaceLook, config: GatesConfig) -> Iterator[Verdict]:
    if not look.aligned or (look.pose is not None and abs(look.pose.yaw) > _MOST_TURN):
        return
    value, most = occlusion(look.aligned_HWC), config.most_occlusion
    why = f"something covers the face ({value:.0%} of the eyes or of the nose's bridge)"
    yield at_most("occlusion", value, most, why)


def _sharpness(luma_HW: NDArray[np.float32], config: GatesConfig) -> Verdict:
    value, least = laplacian_variance(luma_HW), config.least_sharpness
    why = f"face sharpness {value:.1f}, less than the {least:.1f} asked for"
    return at_least("sharpness", value, least, why)


def eye_sharpness(aligned_HWC: Srgb) -> float:
    """Laplacian variance of the sharper eye of an aligned square of at most SHARPNESS_SIDE px.

    With a shallow depth of field one eye is all that is in focus.
    """
    scale = aligned_HWC.shape[0] / SHARPNESS_SIDE
    wide, high = (round(v * scale) for v in _EYE_HALF)
    places = [(round(x * scale), round(y * scale)) for x, y in _EYES]
    eyes = [luma(aligned_HWC[y - high : y + high, x - wide : x + wide]) for x, y in places]
    return max(laplacian_variance(eye_HW) for eye_HW in eyes)


def _blown(part_HWC: Srgb, config: GatesConfig) -> Verdict:
    blown = blown_share(part_HWC)
    return at_most("clipping", blown, config.most_clipped, f"{blown:.0%} of the face is blown out")


def _brightness(luma_HW: NDArray[np.float32], config: GatesConfig) -> Verdict:
    """By the brightest twentieth of the face and not by its mean, so that dark skin in good light
    passes: its highlights are bright whatever its tone.
    """
    bright = float(np.percentile(luma_HW, 95)) / 255
    why = f"the brightest parts of the face reach only {bright:.0%}"
    return at_least("brightness", bright, config.least_brightness, why)


def _centre(pixels_HWC: Srgb, side: int) -> Srgb:
    """The middle of the pixels, at most `side` px, of even size: odd ones transform slowly."""
    height, width = pixels_HWC.shape[:2]
    high, wide = (min(n, side) // 2 * 2 for n in (height, width))
    top, left = (height - high) // 2, (width - wide) // 2
    return pixels_HWC[top : top + high, left : left + wide]
