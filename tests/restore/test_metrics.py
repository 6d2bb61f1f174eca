"""Metrics against values known from their definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from data_manifests.records import Point
from restore.metrics import (
    METRICS,
    colour_error,
    landmark_shift,
    largest_change,
    psnr,
    sharpness,
    ssim,
)


def test_psnr_of_a_constant_error_is_the_textbook_s() -> None:
    a = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(a, a + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(a, a) == 100


def test_ssim_falls_as_noise_grows(portrait) -> None:
    rng = np.random.default_rng(1)
    noisy = [
        np.clip(portrait + rng.normal(0, s, portrait.shape), 0, 255).astype(np.uint8)
        for s in (0, 5, 30)
    ]
    values = [ssim(portrait, n) for n in noisy]
    assert values[0] > 0.99 > values[1] > values[2]


def test_colour_error_sees_a_cast_and_not_fine_noise(portrait) -> None:
    cast = np.clip(portrait.astype(int) + np.array((18, 0, -18)), 0, 255).astype(np.uint8)
    rng = np.random.default_rng(1)
    noise = np.clip(portrait + rng.normal(0, 12, portrait.shape), 0, 255).astype(np.uint8)
    assert colour_error(portrait, cast) > 5 * colour_error(portrait, noise)
    assert colour_error(portrait, portrait) == pytest.approx(0, abs=1e-6)


def test_sharpness_falls_with_blur(portrait) -> None:
    assert sharpness(portrait) > 4 * sharpness(cv2.GaussianBlur(portrait, (0, 0), 2))


def test_largest_change_looks_where_it_is_told() -> None:
    a = np.zeros((10, 10, 3), np.uint8)
    b = a.copy()
    b[2, 3, 1], b[7, 7, 0] = 9, 200
    where = np.ones((10, 10), bool)
    where[7, 7] = False
    assert largest_change(a, b, where) == 9
    assert largest_change(a, b, np.zeros((10, 10), bool)) == 0


def test_landmark_shift_is_in_eye_distances() -> None:
    b = [Point(x=x, y=y) for x, y in ((0, 0), (40, 0), (20, 20), (5, 40), (35, 40))]
    a = [Point(x=p.x + 3, y=p.y + 4) for p in b]
    assert landmark_shift(a, b) == pytest.approx(5 / 40)
    assert landmark_shift(a[:3], b) is None
    assert landmark_shift((), ()) is None
    assert landmark_shift([Point(x=1, y=1)] * 5, [Point(x=1, y=1)] * 5) is None


def test_every_metric_names_what_computes_it() -> None:
    assert {"psnr_db", "ssim", "colour_error", "landmark_shift"} <= set(METRICS)
    assert "scikit-image 0." in METRICS["ssim"]()
