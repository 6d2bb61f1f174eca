"""Blur kernels by family, and filtering with them: exact to a quarter of an 8-bit step, and fast.

A large kernel is applied as a few one-dimensional ones. Axes: H, W, C of the picture; K, K of the
kernel, rows first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from training.degrade_presets import Family

__all__ = ["Kernel", "filtered", "weights"]

Weights: TypeAlias = NDArray[np.float64]

# The weights that may be left out: their sum bounds the error, as a share of the picture's range.
SPARE = 1 / (4 * 255)
# What filtering in two dimensions costs, in taps of a one-dimensional pass over 512 px: beyond a
# side of 11 OpenCV takes the way through a Fourier transform, 155 ms in its version 4.
DIRECT_SIDE = 11
TRANSFORM = 1550 if cv2.__version__.startswith("4.") else 150
# Weights smaller than that share of the largest are zeroed: products too small for a normal float
# are many times slower.
TINY = 1e-9
ALONE = np.ones(1)  # the kernel that changes nothing


@dataclass(frozen=True, slots=True)
class Kernel:
    """A blur kernel by its parameters; lengths in pixels, the angle in radians."""

    family: Family
    side: int  # odd
    sigma_x: float = 0.0
    sigma_y: float = 0.0
    angle: float = 0.0
    beta: float = 1.0  # the shape of the generalized and plateau families
    cutoff: float = 0.0  # of the sinc family, in radians per pixel, at most pi


def weights(kernel: Kernel) -> Weights:
    """The kernel's weights, K x K, of unit sum.

    Source: Wang et al., Real-ESRGAN, ICCVW 2021, section 3.2 and appendix; a beta of 1 makes the
    generalized Gaussian a Gaussian.
    """
    half = kernel.side // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    if kernel.family == "sinc":
        raw = _sinc(np.hypot(x, y), kernel.cutoff)
    else:
        cos, sin = math.cos(kernel.angle), math.sin(kernel.angle)
        along, across = cos * x + sin * y, cos * y - sin * x
        distance2 = (along / kernel.sigma_x) ** 2 + (across / kernel.sigma_y) ** 2
        raw = _bell(kernel, distance2)
    return np.asarray(raw / raw.sum(), np.float64)


def filtered(
    pixels_HWC: NDArray[Any], kernel_KK: Weights, *, reduced: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """The picture under a point-symmetric kernel, borders mirrored as by `cv2.filter2D`.

    Within a quarter of a 255th of the picture's range of what `cv2.filter2D` gives. `reduced`, a
    (width, height), is what `cv2.resize` brings it to next, bilinearly.
    """
    cropped_KK = _cropped(kernel_KK, SPARE / 2)
    side = len(cropped_KK)
    terms = _terms(cropped_KK, SPARE / 2)
    if _cost_of_whole(side) < side * len(terms):
        whole_HWC = cv2.filter2D(pixels_HWC.astype(np.float32), -1, cropped_KK)
        return np.asarray(whole_HWC if reduced is None else cv2.resize(whole_HWC, reduced))
    total_HWC = _passed(pixels_HWC, *terms[0], reduced)
    for down_K, across_K in terms[1:]:
        cv2.add(total_HWC, _passed(pixels_HWC, down_K, across_K, reduced), dst=total_HWC)
    return np.asarray(total_HWC, np.float32)


def _passed(
    pixels_HWC: NDArray[Any], down_K: Weights, across_K: Weights, reduced: tuple[int, int] | None
) -> Any:
    if reduced is None:
        return cv2.sepFilter2D(pixels_HWC, cv2.CV_32F, across_K, down_K)
    # Bilinear resizing is separable too: the second pass is spared the columns that fall away.
    width, height = reduced
    across_HWC = cv2.sepFilter2D(pixels_HWC, cv2.CV_32F, across_K, ALONE)
    narrow_HWC = cv2.resize(across_HWC, (width, len(across_HWC)))
    return cv2.resize(cv2.sepFilter2D(narrow_HWC, cv2.CV_32F, ALONE, down_K), (width, height))


def _cost_of_whole(side: int) -> float:
    return side * side / 3 if side <= DIRECT_SIDE else TRANSFORM


def _bell(kernel: Kernel, distance2: Weights) -> Weights:
    if kernel.family == "plateau":
        return np.asarray(1 / (distance2**kernel.beta + 1), np.float64)
    return np.asarray(np.exp(-0.5 * distance2**kernel.beta), np.float64)


def _sinc(radius: Weights, cutoff: float) -> Weights:
    """A circular low-pass filter: it rings as over-sharpened pictures do."""
    centre = radius == 0
    safe = np.where(centre, 1, radius)
    ring = cutoff * j1(cutoff * safe) / (2 * math.pi * safe)
    return np.where(centre, cutoff**2 / (4 * math.pi), ring)


def _cropped(kernel_KK: Weights, spare: float) -> Weights:
    """The kernel without a rim whose weights come to at most `spare`, of unit sum again."""
    sizes = np.abs(kernel_KK)
    half = len(kernel_KK) // 2
    ring_KK = np.maximum(*np.abs(np.mgrid[-half : half + 1, -half : half + 1]))
    outside = sizes.sum() - np.cumsum(np.bincount(ring_KK.ravel(), sizes.ravel()))
    # Putting the sum right moves what is kept by as much as was left out: hence the plus.
    keep = int(np.argmax(outside <= spare / (1 + sizes.sum())))
    cut_KK = kernel_KK[half - keep : half + keep + 1, half - keep : half + keep + 1]
    return np.asarray(cut_KK / cut_KK.sum(), np.float64)


def _terms(kernel_KK: Weights, spare: float) -> list[tuple[Weights, Weights]]:
    """Pairs (down, across) whose outer products sum up to the kernel but for `spare`.

    Every vector is exactly even or odd, which OpenCV filters three times as fast as any other.
    """
    ranked = sorted(_halves(kernel_KK, 1) + _halves(kernel_KK, -1), key=lambda t: -t[0])
    left_KK = kernel_KK
    terms: list[tuple[Weights, Weights]] = []
    for _, down_K, across_K in ranked:
        terms.append((down_K, across_K))
        left_KK = left_KK - np.outer(down_K, across_K)
        if np.abs(left_KK).sum() <= spare:
            break
    return terms


def _halves(kernel_KK: Weights, sign: int) -> list[tuple[float, Weights, Weights]]:
    """The singular values and vectors of the kernel's part that is even (1) or odd (-1) across.

    Point-symmetric as it is, that part is given by one quarter of its weights, so that a matrix of
    half the side is decomposed.
    """
    half = len(kernel_KK) // 2
    part_KK = (kernel_KK + sign * kernel_KK[:, ::-1]) / 2
    # The even and odd unit vectors have two entries of 1 / sqrt(2), the middle one has one of 1.
    scale_Q = np.full(half + 1, math.sqrt(2))
    scale_Q[0] = 1
    left_QR, value_R, right_RQ = np.linalg.svd(
        part_KK[half:, half:] * scale_Q[:, None] * scale_Q[None]
    )
    return [
        (
            float(value),
            _mirrored(left_QR[:, r] / scale_Q * value, sign),
            _mirrored(right_RQ[r] / scale_Q, sign),
        )
        for r, value in enumerate(value_R)
        if value > 0
    ]


def _mirrored(quarter_Q: Weights, sign: int) -> Weights:
    """The whole vector from its middle and what lies beyond."""
    middle = quarter_Q[:1] if sign > 0 else np.zeros(1)
    vector_K = np.concatenate([sign * quarter_Q[:0:-1], middle, quarter_Q[1:]])
    return np.where(np.abs(vector_K) < TINY * np.abs(vector_K).max(), 0, vector_K)
