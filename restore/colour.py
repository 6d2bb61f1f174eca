"""Keep a restored face's colours those of the photo: wavelet, AdaIN or none; and the seam's ring.

Legend: H rows, W columns, C red, green, blue. Everything is float32, 0 to 255, in sRGB or in the
photo's own encoding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import LUMA_WEIGHTS

__all__ = [
    "COLOUR_FIXES",
    "adain",
    "keep_grey",
    "keep_restored",
    "low_frequencies",
    "match_ring",
    "wavelet",
]

Floats = NDArray[np.float32]
ColourFix = Callable[[Floats, Floats], Floats]

_GREY = 3.0  # of 255, between the channels of a pixel that has no colour
_LEVELS_AT_512 = 5  # blur radii 1, 2, 4, 8, 16: the setting of the authors' released script


def wavelet(restored_HWC: Floats, input_HWC: Floats) -> Floats:
    """The restored face with the input's low frequencies.

    Source: undecimated "a trous" wavelets, Holschneider et al. 1989. Low-pass filters are linear,
    so high(restored) + low(input) is restored + low(input - restored), at half the cost.
    """
    return restored_HWC + low_frequencies(input_HWC - restored_HWC)


def low_frequencies(pixels_HWC: Floats) -> Floats:
    """What is left after dilated binomial blurs of doubling radius; more for larger faces."""
    levels = max(1, _LEVELS_AT_512 + round(math.log2(min(pixels_HWC.shape[:2]) / 512)))
    for level in range(levels):
        pixels_HWC = _dilated_blur(pixels_HWC, 2**level)
    return pixels_HWC


def _dilated_blur(pixels_HWC: Floats, radius: int) -> Floats:
    kernel = np.zeros(2 * radius + 1, np.float32)
    kernel[[0, radius, -1]] = 0.25, 0.5, 0.25
    border = cv2.BORDER_REPLICATE
    blurred: Floats = cv2.sepFilter2D(pixels_HWC, cv2.CV_32F, kernel, kernel, borderType=border)
    return blurred


def adain(restored_HWC: Floats, input_HWC: Floats) -> Floats:
    """The restored face with the input's mean and spread per channel.

    Source: Huang and Belongie, ICCV 2017, eq. 8, on pixels instead of features.
    """
    mean_C, spread_C = restored_HWC.mean(axis=(0, 1)), restored_HWC.std(axis=(0, 1))
    wanted_C, width_C = input_HWC.mean(axis=(0, 1)), input_HWC.std(axis=(0, 1))
    fixed_HWC: Floats = (restored_HWC - mean_C) / np.maximum(spread_C, 1e-3) * width_C + wanted_C
    return fixed_HWC


def keep_restored(restored_HWC: Floats, input_HWC: Floats) -> Floats:
    """The restored face as it is."""
    return restored_HWC


COLOUR_FIXES: dict[str, ColourFix] = {"wavelet": wavelet, "adain": adain, "none": keep_restored}


def keep_grey(face_HWC: Floats, input_HWC: Floats) -> Floats:
    """The face without colours if the input has none: a black-and-white photo stays one.

    Luma weights of ITU-R BT.709-6, item 3.2; "none" leaves room for JPEG's rounding.
    """
    spread_HW = input_HWC.max(axis=2) - input_HWC.min(axis=2)
    if float(np.percentile(spread_HW, 99)) > _GREY:
        return face_HWC
    luma_HW = face_HWC @ np.asarray(LUMA_WEIGHTS, np.float32)
    return np.repeat(luma_HW[..., None], 3, axis=2)


def match_ring(face_HWC: Floats, photo_HWC: Floats, mask_HW: Floats) -> Floats:
    """The face, shifted to the photo's mean colour where the mask fades; any value range."""
    ring_N = (mask_HW * (1 - mask_HW)).ravel()
    weight = float(ring_N.sum())
    if weight < 1e-6:
        return face_HWC
    shift_C = ring_N @ (photo_HWC - face_HWC).reshape(-1, face_HWC.shape[2]) / weight
    matched_HWC: Floats = face_HWC + shift_C.astype(np.float32)
    return matched_HWC
