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
_MOTION_BAND = (0.10, 0.25)
_DIRECTIONS = 12  # 15 degrees each
_GRAIN_SHARE = 0.7  # of the grain found at the highest frequencies is taken off the band
_LEAST_POWER = 1e-3  # per pixel: below the rounding to 8 bits, which gives about 0.01
_FLOOR = 0.02  # of a direction's power: what stays of it when the grain is taken off


def laplacian_variance(luma_HW: Luma) -> float:
    """Variance of the Laplacian of luma in [0, 255]. Source: Pech-Pacheco, ICPR 2000, LAPV."""
    return float(cv2.Laplacian(luma_HW, cv2.CV_32F)[1:-1, 1:-1].var())


def roll_off(luma_HW: Luma) -> float:
    """Effective resolution in dB: mean power at 0.40-0.50 over that at 0.10-0.15 cycles per pixel.

    About -4 for white detail; each enlargement and each blur lowers it. It can't tell one from the
    other, nor grain from detail: grain on a blurred face raises it.
    """
    power_F = power_spectrum(luma_HW)
    high_F, middle_F = _rings(luma_HW.shape)
    ratio = float(power_F @ high_F) / max(float(power_F @ middle_F), 1e-9)
    return 10 * math.log10(max(ratio, 1e-9))


def motion_blur(luma_HW: Luma, scale: float = 1.0) -> float:
    """0 where detail is alike in all directions, towards 1 where one direction alone is sharp.

    One less the ratio of gradient amplitude between the poorest and the richest direction, after
    the grain is taken off. Sharp faces stay below 0.7, since eyes, mouth and brows lie level;
    evenly blurred ones too. `scale` is the size of the aligned face over 512 px, at least 0.5.
    """
    power_F = power_spectrum(luma_HW)
    band_F, weights_F, top_F = _fan(luma_HW.shape, scale)
    weighed = np.bincount(band_F, power_F * weights_F, _DIRECTIONS + 1)[:_DIRECTIONS]
    sizes = np.bincount(band_F, weights_F, _DIRECTIONS + 1)[:_DIRECTIONS]
    rich = weighed / np.maximum(sizes, 1e-9)
    grain = float(np.median(power_F[top_F])) / math.log(2)  # the mean of noise power by its median
    rich = np.maximum(rich - _GRAIN_SHARE * grain, rich * _FLOOR)
    smooth = (np.roll(rich, 1) + 2 * rich + np.roll(rich, -1)) / 4
    if smooth.max() < _LEAST_POWER * luma_HW.size:  # nothing there that could be smeared
        return 0.0
    return 1 - math.sqrt(float(smooth.min()) / float(smooth.max()))


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
def _fan(
    shape: tuple[int, int], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Each bin's direction (_DIRECTIONS outside the band), its weight, and where grain is read."""
    radius_F, angle_F = _polar(shape)
    low, high = (min(f / scale, 0.5) for f in _MOTION_BAND)
    direction_F = np.floor(angle_F / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    band_F = np.where((radius_F >= low) & (radius_F < high), direction_F, _DIRECTIONS)
    return band_F, (radius_F**2).astype(np.float32), radius_F > 0.42


def _polar(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    down = np.fft.fftfreq(shape[0])[:, None]
    across = np.fft.rfftfreq(shape[1])[None, 1 : 1 + _columns(shape[1])]
    return np.hypot(down, across).ravel(), (np.arctan2(down, across) % np.pi).ravel()
