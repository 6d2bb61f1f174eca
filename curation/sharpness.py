"""How much detail a face holds: sharpness, effective resolution, motion blur.

Legend: H rows, W columns, F frequency bins. Luma is float32 in [0, 255], transfer-encoded.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["laplacian_variance", "motion_blur", "power_spectrum", "roll_off"]

Luma = NDArray[np.float32]

_HIGH, _MIDDLE = (0.40, 0.50), (0.10, 0.15)  # cycles per pixel
# Where motion is looked for, in cycles per pixel of the 512 px aligned face: lower bands follow the
# shape of eyes and mouth, higher ones grain and JPEG. Chosen on real photos (benchmarks/gates.py).
_MOTION_BAND, _SHAPE_BAND = (0.10, 0.25), (0.03, 0.08)
_RICHEST = 0.03  # of the shape's power; the median of sharp faces' richest directions
_DIRECTIONS = 12  # 15 degrees each
_GRAIN_SHARE = 0.7  # of the grain found at the highest frequencies is taken off the band
_ROUNDING = 0.0463  # variance of luma by rounding R, G, B: the sum of squared weights over 12
_LEAST_POWER = 10  # times the rounding's
_FLOOR = 0.02  # of a direction's power: what stays of it when the grain is taken off


def laplacian_variance(luma_HW: Luma) -> float:
    """Variance of the Laplacian of luma in [0, 255]. Source: Pech-Pacheco, ICPR 2000, LAPV."""
    return float(cv2.Laplacian(luma_HW, cv2.CV_32F)[1:-1, 1:-1].var())


def roll_off(luma_HW: Luma) -> float:
    """Effective resolution in dB: mean power at 0.40-0.50 over that at 0.10-0.15 cycles per pixel.

    0 for white detail, -20 for the median of sharp camera photos, -45 where there is none. Blur and
    enlargement lower it, and it can't tell one from the other; nor grain from detail: grain on a
    blurred face raises it. What the rounding to 8 bits gives is taken off, lest a picture enlarged
    tenfold pass for white, and the middle is held to a least of 300 times that.
    """
    power_F = power_spectrum(luma_HW)
    high_F, middle_F = _rings(luma_HW.shape)
    rounding = _rounding_power(luma_HW.shape)
    high = max(float(power_F @ high_F) - rounding, rounding / 100)
    return 10 * math.log10(high / max(float(power_F @ middle_F), 300 * rounding))


def motion_blur(luma_HW: Luma, scale: float = 1.0) -> float:
    """0 where detail is alike in all directions, towards 1 where one direction alone is sharp.

    One less the ratio of gradient amplitude between the poorest and the richest direction, after
    the grain is taken off. Sharp faces stay below 0.7, since eyes, mouth and brows lie level;
    evenly blurred ones too. The richest counts for no more than a sharp face's would, lest strands
    of hair pass for motion. `scale` is the aligned face's size over 512 px, at least 0.5.
    """
    power_F = power_spectrum(luma_HW)
    shape_F, band_F, weights_F, top_F = _fans(luma_HW.shape, scale)
    grain = float(np.median(power_F[top_F])) / math.log(2)  # the mean of noise power by its median
    rich = _by_direction(power_F, band_F, weights_F)
    rich = np.maximum(rich - _GRAIN_SHARE * grain, rich * _FLOOR)
    smooth = (np.roll(rich, 1) + 2 * rich + np.roll(rich, -1)) / 4
    shape = float(np.median(_by_direction(power_F, shape_F, weights_F)))
    most = min(float(smooth.max()), _RICHEST * shape)
    if smooth.max() < _LEAST_POWER * _rounding_power(luma_HW.shape):
        return 0.0  # too blurred altogether to have a direction
    return max(0.0, 1 - math.sqrt(float(smooth.min()) / max(most, 1e-9)))


def _by_direction(
    power_F: NDArray[np.float32], direction_F: NDArray[np.int64], weights_F: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Weighted mean power of each direction."""
    sums = np.bincount(direction_F, power_F * weights_F, _DIRECTIONS + 1)
    sizes = np.bincount(direction_F, weights_F, _DIRECTIONS + 1)
    return np.asarray(sums / np.maximum(sizes, 1e-9))[:_DIRECTIONS]


def power_spectrum(luma_HW: Luma) -> NDArray[np.float32]:
    """Power of the Hann-windowed luma without its mean, flat: all rows of (W - 1) // 2 columns.

    The columns of the frequencies 0 and one half are left out, and so is the half that mirrors.
    OpenCV's packed transform takes a third of the time of NumPy's.
    """
    height, width = luma_HW.shape
    windowed = (luma_HW - luma_HW.mean()) * _hann(height)[:, None] * _hann(width)[None]
    packed: Any = cv2.dft(windowed)
    pairs = packed[:, 1 : 1 + 2 * _columns(width)]
    return np.asarray(pairs[:, ::2] ** 2 + pairs[:, 1::2] ** 2, dtype=np.float32).ravel()


def _rounding_power(shape: tuple[int, ...]) -> float:
    """Power that the rounding to 8 bits gives to each frequency."""
    down, across = (float((_hann(n) ** 2).sum()) for n in shape)
    return _ROUNDING * down * across


def _columns(width: int) -> int:
    return (width - 1) // 2


@lru_cache(maxsize=8)
def _hann(size: int) -> NDArray[np.float32]:
    return np.hanning(size).astype(np.float32)


@lru_cache(maxsize=8)
def _rings(shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights that take the mean power of the high and of the middle ring."""
    radius_F, _ = _polar(shape)
    rings = [((radius_F >= low) & (radius_F < high)) for low, high in (_HIGH, _MIDDLE)]
    high_F, middle_F = ((r / max(r.sum(), 1)).astype(np.float32) for r in rings)
    return high_F, middle_F


@lru_cache(maxsize=8)
def _fans(
    shape: tuple[int, int], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Each bin's direction in the shape's and in the motion's band (_DIRECTIONS outside of it), its
    weight, and whether grain is read there.
    """
    radius_F, angle_F = _polar(shape)
    direction_F = np.floor(angle_F / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    shape_F, band_F = (
        np.where((radius_F >= low / scale) & (radius_F < high / scale), direction_F, _DIRECTIONS)
        for low, high in (_SHAPE_BAND, _MOTION_BAND)
    )
    return shape_F, band_F, (radius_F**2).astype(np.float32), radius_F > 0.42


def _polar(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    down = np.fft.fftfreq(shape[0])[:, None]
    across = np.fft.rfftfreq(shape[1])[None, 1 : 1 + _columns(shape[1])]
    return np.hypot(down, across).ravel(), (np.arctan2(down, across) % np.pi).ravel()
