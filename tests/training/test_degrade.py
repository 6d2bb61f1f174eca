from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from data_manifests.errors import ConfigError
from training.degrade import PRESETS, Recipe, apply, blur_kernel, degrade, draw, preset

MILD = Recipe(
    sigma_x=1.5, sigma_y=0.7, angle=0.4, kernel=9, down=1.7, noise=6.0, noise_seed=11, jpeg=80
)


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[40:190, 150:300])


def test_a_recipe_replays_bit_for_bit(face: NDArray[np.uint8]) -> None:
    poor_HWC, recipe = degrade(face, np.random.default_rng(4), preset("gfpgan"))
    np.testing.assert_array_equal(apply(face, recipe), poor_HWC)
    assert poor_HWC.shape == face.shape
    assert poor_HWC.dtype == np.uint8


def test_the_chain_is_the_equation_step_by_step(face: NDArray[np.uint8]) -> None:
    """The same chain written out with OpenCV alone, for fixed draws."""
    x = cv2.filter2D(face.astype(np.float32) / 255, -1, blur_kernel(MILD))
    x = cv2.resize(x, (int(150 // 1.7), int(150 // 1.7)), interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(11).standard_normal(x.shape, dtype=np.float32)
    x = np.clip(x + noise * np.float32(6 / 255), 0, 1)
    bgr = cv2.cvtColor(np.round(x * 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
    x = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x = cv2.resize(x.astype(np.float32) / 255, (150, 150), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(apply(face, MILD), np.round(x * 255).astype(np.uint8))


def test_kernel_is_a_turned_gaussian_of_unit_sum() -> None:
    """Against the density with an explicit covariance matrix, R diag(s2) R^T."""
    kernel = blur_kernel(MILD)
    turn = np.array([[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]])
    inverse = np.linalg.inv(turn @ np.diag([1.5**2, 0.7**2]) @ turn.T)
    plain = np.array(
        [
            [math.exp(-0.5 * np.array([x, y]) @ inverse @ np.array([x, y])) for x in range(-4, 5)]
            for y in range(-4, 5)
        ]
    )
    np.testing.assert_allclose(kernel, plain / plain.sum(), rtol=1e-5)
    assert abs(float(kernel.sum()) - 1) < 1e-6


def test_without_blur_noise_or_reduction_only_the_jpeg_is_left(face: NDArray[np.uint8]) -> None:
    recipe = dataclasses.replace(MILD, sigma_x=0.01, sigma_y=0.01, down=1.0, noise=0.0, jpeg=100)
    error = np.abs(apply(face, recipe).astype(int) - face)
    assert error.mean() < 2


def test_draws_stay_in_the_published_ranges() -> None:
    """GFP-GAN: sigma 0.1 to 10, down 0.8 to 8, noise 0 to 20, JPEG 60 to 100, half round."""
    rng = np.random.default_rng(0)
    recipes = [draw(rng, PRESETS["gfpgan"]) for _ in range(2000)]
    for name, low, high in [
        ("sigma_x", 0.1, 10),
        ("sigma_y", 0.1, 10),
        ("down", 0.8, 8),
        ("noise", 0, 20),
        ("jpeg", 60, 100),
        ("angle", -math.pi, math.pi),
    ]:
        values = [getattr(r, name) for r in recipes]
        assert low <= min(values)
        assert max(values) <= high
        assert max(values) - min(values) > 0.95 * (high - low)
    assert {r.kernel for r in recipes} == {41}
    assert 0.45 < np.mean([r.sigma_x == r.sigma_y for r in recipes]) < 0.55


def test_blur_follows_the_size_of_the_face() -> None:
    small, large = (
        draw(np.random.default_rng(1), PRESETS["gfpgan"], side=side) for side in (128, 512)
    )
    assert small.sigma_x == pytest.approx(large.sigma_x / 4)
    assert (small.kernel, large.kernel) == (11, 41)


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="gfpgan"):
        preset("gfgpan")
