"""Good faces are left alone."""

from __future__ import annotations

import cv2
import numpy as np

from restore.config import GoodConfig
from restore.harm import already_good

CONFIG = GoodConfig()


def test_a_large_sharp_face_is_good(sharp_face) -> None:
    assert "good already: 640 pixels of the photo" in already_good(sharp_face, 0.8, CONFIG)


def test_a_face_with_fewer_pixels_than_the_model_is_not(sharp_face) -> None:
    assert already_good(sharp_face, 1.2, CONFIG) == ""


def test_blur_noise_and_a_poor_jpeg_are_no_good(sharp_face) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(sharp_face + rng.normal(0, 12, sharp_face.shape), 0, 255).astype(np.uint8)
    assert already_good(cv2.GaussianBlur(sharp_face, (0, 0), 1.5), 0.8, CONFIG) == ""
    assert already_good(noisy, 0.8, CONFIG) == ""
    assert already_good(sharp_face, 0.8, CONFIG, jpeg_quality=30) == ""
    assert already_good(sharp_face, 0.8, CONFIG, jpeg_quality=90) != ""


def test_a_tiny_models_crop_is_never_judged(faces) -> None:
    assert already_good(faces[0], 0.5, CONFIG) == ""
