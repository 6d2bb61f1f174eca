"""Kernels against their densities written out, and filtering against plain cv2.filter2D."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import j1

from training.degrade_kernels import SPARE, Kernel, filtered, weights

KERNELS = [
    Kernel("gaussian", 41, 6.0, 6.0),
    Kernel("gaussian", 41, 0.1, 0.1),
    Kernel("gaussian", 41, 10.0, 10.0),
    Kernel("gaussian", 41, 9.0, 0.4, 0.8),
    Kernel("gaussian", 39, 1.3, 6.7, -2.5),
    Kernel("gaussian", 9, 1.5, 0.7, 0.4),
    Kernel("generalized", 21, 2.5, 0.6, 1.1, beta=0.5),
    Kernel("generalized", 15, 1.5, 1.5, beta=3.6),
    Kernel("plateau", 21, 2.9, 0.4, -0.7, beta=1.8),
    Kernel("plateau", 7, 0.8, 0.8, beta=1.0),
    Kernel("sinc", 21, cutoff=math.pi / 5),
    Kernel("sinc", 7, cutoff=2.5),
]


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[40:190, 150:290])


def density(kernel: Kernel, x: int, y: int) -> float:
    """The un-normalised weight of one place, with an explicit covariance matrix R diag(s2) R^T."""
    if kernel.family == "sinc":
        r = math.hypot(x, y)
        if r == 0:
            return kernel.cutoff**2 / (4 * math.pi)
        return kernel.cutoff * float(j1(kernel.cutoff * r)) / (2 * math.pi * r)
    cos, sin = math.cos(kernel.angle), math.sin(kernel.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    covariance = turn @ np.diag([kernel.sigma_x**2, kernel.sigma_y**2]) @ turn.T
    q = float(np.array([x, y]) @ np.linalg.inv(covariance) @ np.array([x, y]))
    if kernel.family == "plateau":
        return 1 / (q**kernel.beta + 1)
    return math.exp(-0.5 * q**kernel.beta)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_weights_are_the_density_of_unit_sum(kernel: Kernel) -> None:
    half = range(-(kernel.side // 2), kernel.side // 2 + 1)
    plain = np.array([[density(kernel, x, y) for x in half] for y in half])
    np.testing.assert_allclose(weights(kernel), plain / plain.sum(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_filtering_is_opencvs_within_a_quarter_of_a_step(
    kernel: Kernel, face: NDArray[np.uint8]
) -> None:
    plain = cv2.filter2D(face.astype(np.float32), -1, weights(kernel))
    error = np.abs(filtered(face, weights(kernel)) - plain).max()
    assert error <= 255 * SPARE + 1e-3
    assert np.array_equal(
        filtered(face, weights(kernel)), filtered(face.astype(np.float32), weights(kernel))
    )


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("size", [(70, 75), (33, 40), (1, 1)])
def test_filtering_and_reducing_at_once_is_one_after_the_other(
    kernel: Kernel, size: tuple[int, int], face: NDArray[np.uint8]
) -> None:
    plain = cv2.resize(filtered(face, weights(kernel)), size, interpolation=cv2.INTER_LINEAR)
    at_once = filtered(face, weights(kernel), reduced=size)
    np.testing.assert_allclose(at_once, plain, atol=2e-3)
    assert at_once.shape == plain.shape


def test_the_bound_holds_for_the_worst_picture() -> None:
    """A picture that is black or white as the left-out weights are signed."""
    kernel = weights(Kernel("gaussian", 41, 9.0, 0.4, 0.8))
    pulse = np.zeros((81, 81, 3), np.float32)
    pulse[40, 40] = 1
    left_out = filtered(pulse, kernel)[20:61, 20:61, 0] - kernel[::-1, ::-1]
    assert 0 < np.abs(left_out).sum() <= SPARE + 1e-6


def test_a_small_kernel_that_no_few_passes_make_is_opencvs_own(face: NDArray[np.uint8]) -> None:
    kernel = weights(Kernel("plateau", 7, 1.9, 0.5, 0.7, beta=1.4))
    plain = cv2.filter2D(face.astype(np.float32), -1, kernel)
    np.testing.assert_array_equal(filtered(face, kernel), plain)
