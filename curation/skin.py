"""A face's skin: where it lies, how noisy, clipped or covered it is. Arrays in, figures out.

Zones are those of the aligned face (crops.TEMPLATE_512): eyes at (193, 240) and (319, 240) of 512.
Legend: H rows, W columns, C channels; pixels are sRGB, 8 bits.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import LUMA_WEIGHTS

__all__ = ["blown_share", "clipped_channel", "noise_sigma", "occlusion", "skin_mask"]

Srgb = NDArray[np.uint8]
Luma = NDArray[np.float32]
Mask = NDArray[np.bool_]
Place = tuple[int, int]

_BLOWN = 250  # of 255, in every channel: nothing is left to restore from
_CLIPPED = 254  # of 255, in one channel: JPEG ripples by one about the end of the scale
_BLOCK = 16  # px; noise is read in blocks
_LIT = (20.0, 235.0)  # luma between which noise is not cut off
_EYES: tuple[Place, Place] = ((193, 240), (319, 240))
_COVER_SIDE = 128  # px; what covers a face is large
_NEAR, _FAR, _DARK = 0.2, 0.4, 0.25  # colour: same skin, other matter; of a cheek's light: a lens
_BRIDGE = ((234, 196), (278, 196), (282, 262), (230, 262))
_UNDER = (
    ((160, 266), (222, 266), (222, 280), (160, 280)),
    ((290, 266), (352, 266), (352, 280), (290, 280)),
)
# Cheeks and nose, above where beards grow.
_MIDDLE = (
    *((165, 288), (228, 276), (240, 262), (272, 262), (284, 276), (347, 288)),
    *((345, 330), (300, 338), (256, 335), (212, 338), (167, 330)),
)


def blown_share(part_HWC: Srgb) -> float:
    """Share of pixels that are white in all channels."""
    return float((part_HWC.min(axis=2) >= _BLOWN).mean())


def clipped_channel(aligned_HWC: Srgb) -> float:
    """Share of skin at the top of the scale, in the channel where it is largest."""
    skin_NC = aligned_HWC[skin_mask(aligned_HWC.shape[0])]
    return float((skin_NC >= _CLIPPED).mean(axis=0).max())


def noise_sigma(luma_HW: Luma) -> float | None:
    """Standard deviation of the noise, of 255, in the smoothest quarter of the face.

    Skin's own texture is in it, and noise that a camera or JPEG has smoothed away is not. None
    where less than 8 blocks are lit. Source: Immerkaer, CVIU 1996, by blocks, not over the frame.
    """
    height, width = (n // _BLOCK * _BLOCK for n in luma_HW.shape)
    if height * width < 8 * _BLOCK**2:
        return None
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rough = np.abs(cv2.filter2D(luma_HW[:height, :width], cv2.CV_32F, kernel))
    blocks = (width // _BLOCK, height // _BLOCK)
    rough_B = cv2.resize(rough, blocks, interpolation=cv2.INTER_AREA)
    light_B = cv2.resize(luma_HW[:height, :width], blocks, interpolation=cv2.INTER_AREA)
    lit_B = rough_B[(light_B > _LIT[0]) & (light_B < _LIT[1])]
    return float(np.percentile(lit_B, 25)) * math.sqrt(math.pi / 2) / 6 if len(lit_B) >= 8 else None


def occlusion(aligned_HWC: Srgb) -> float:
    """0 to 1: how much of the eyes is as dark as lenses, or of the nose's bridge unlike the cheeks.

    The larger of two shares. One: pixels of the eye region (lids and brows included; the lighter
    eye counts) below a quarter of the light on the cheek of its side, so that side light and dark
    skin don't matter. Two: pixels of the bridge and under the eyes whose colour differs from the
    commonest one of cheeks and nose, by chromaticity and not by lightness. So it sees sunglasses,
    coloured masks and most black and white ones. It is blind to hands (skin on skin), to hair, and
    to what covers only mouth or chin. Meant for faces that aren't in profile.
    """
    small_HWC = cv2.resize(aligned_HWC, (_COVER_SIDE, _COVER_SIDE), interpolation=cv2.INTER_AREA)
    linear_HWC = _linear()[small_HWC]
    light_HW = linear_HWC @ np.array(LUMA_WEIGHTS, np.float32)
    upper, middle, sides = _zones()
    dark = [
        float((light_HW[eye] < _DARK * np.median(light_HW[cheek])).mean()) for eye, cheek in sides
    ]
    common = _commonest(_chromaticity(linear_HWC[middle]))
    apart = np.hypot(*(_chromaticity(linear_HWC[upper]) - common).T)
    return max(min(dark), float((apart > _FAR).mean()))


@lru_cache(maxsize=8)
def skin_mask(side: int) -> Mask:
    """The inner face without eyes, brows and mouth, in an aligned square of `side` px."""
    mask = _ellipse(side, (256, 300), (105, 130))
    for x, y in _EYES:
        mask &= ~_ellipse(side, (x, y - 12), (50, 44))
    return mask & ~_ellipse(side, (256, 375), (75, 42))


def _commonest(colours_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median of the densest cluster, so that an occluder with the lesser part has no say."""
    cells_N2 = np.round(colours_NC / (_NEAR / 2)).astype(np.int64)
    found_K2, counts_K = np.unique(cells_N2, axis=0, return_counts=True)
    close_KK = np.abs(found_K2[:, None] - found_K2[None]).max(axis=2) <= 2
    centre = found_K2[(close_KK * counts_K).sum(axis=1).argmax()]
    near_N = np.abs(cells_N2 - centre).max(axis=1) <= 2
    return np.asarray(np.median(colours_NC[near_N], axis=0), dtype=np.float32)


def _chromaticity(linear_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithms of red and blue over green: the same in light and in shade."""
    logs_NC = np.log(linear_NC + 0.004)  # one step of 8 bits: black has no colour
    return np.asarray(logs_NC[:, [0, 2]] - logs_NC[:, 1:2], dtype=np.float32)


@lru_cache(maxsize=1)
def _zones() -> tuple[Mask, Mask, list[tuple[Mask, Mask]]]:
    """Bridge and under the eyes, cheeks and nose, and each side's eye with its cheek."""
    side = _COVER_SIDE
    upper, middle = _polygon(_BRIDGE), _polygon(_MIDDLE)
    for strip in _UNDER:
        upper |= _polygon(strip)
    middle &= ~upper
    left = np.broadcast_to(np.arange(side)[None] < side / 2, (side, side))
    eyes = [_ellipse(side, (x, y + 3), (46, 28)) for x, y in _EYES]
    return upper, middle, [(eyes[0], middle & left), (eyes[1], middle & ~left)]


@lru_cache(maxsize=1)
def _linear() -> NDArray[np.float32]:
    """Linear light of the 256 sRGB values. Source: IEC 61966-2-1."""
    value = np.arange(256) / 255
    bent = ((value + 0.055) / 1.055) ** 2.4
    return np.where(value <= 0.04045, value / 12.92, bent).astype(np.float32)


def _polygon(places: tuple[Place, ...]) -> Mask:
    blank: Any = np.zeros((_COVER_SIDE, _COVER_SIDE), np.uint8)
    corners = np.round(np.array(places) * (_COVER_SIDE / 512)).astype(np.int32)
    return np.asarray(cv2.fillPoly(blank, [corners], 1), dtype=np.bool_)


def _ellipse(side: int, centre: Place, axes: Place) -> Mask:
    blank: Any = np.zeros((side, side), np.uint8)
    x, y, wide, high = (round(v * side / 512) for v in (*centre, *axes))
    return np.asarray(cv2.ellipse(blank, (x, y), (wide, high), 0, 0, 360, 1, -1), dtype=np.bool_)
