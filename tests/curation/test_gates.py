from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curation import gates
from curation.config import GatesConfig

CONFIG = GatesConfig()
Srgb = NDArray[np.uint8]


def test_a_verdict_says_value_threshold_and_reason() -> None:
    verdict = gates.judge_long_side(4000, CONFIG)
    assert (verdict.gate, verdict.value, verdict.threshold) == ("long_side", 4000, 8192)
    assert not verdict.keep
    assert "4000" in verdict.reason
    assert "8192" in verdict.reason
    assert gates.judge_long_side(8192, CONFIG).keep


def test_no_face_names_the_finder_that_looked() -> None:
    assert "haar" in gates.judge_face_count(0, "haar").reason
    assert gates.judge_face_count(2, "haar").keep


def test_eye_distance_is_judged_in_original_pixels() -> None:
    assert gates.judge_eye_distance(96, CONFIG).keep
    assert not gates.judge_eye_distance(95, CONFIG).keep


def test_near_duplicates_are_those_within_the_bits() -> None:
    assert gates.judge_near_duplicate(None, CONFIG).keep
    assert gates.judge_near_duplicate(("id", 25), CONFIG).keep
    verdict = gates.judge_near_duplicate(("0123456789abcdef", 24), CONFIG)
    assert not verdict.keep
    assert "0123456789ab" in verdict.reason


def test_a_blurred_face_is_set_aside_and_the_sharp_one_kept(portrait: Srgb) -> None:
    blurred = cv2.GaussianBlur(portrait, (0, 0), 12).astype(np.uint8)
    assert gates.judge_sharpness(gates.face_part(portrait, aligned=True), CONFIG).keep
    assert not gates.judge_sharpness(gates.face_part(blurred, aligned=True), CONFIG).keep


def test_grain_does_not_make_a_blurred_large_face_sharp(portrait: Srgb) -> None:
    blurred = cv2.GaussianBlur(cv2.resize(portrait, (2048, 2048)), (0, 0), 16)
    grain = np.random.default_rng(0).normal(0, 3, blurred.shape).astype(np.float32)
    grainy = np.clip(blurred + grain, 0, 255).astype(np.uint8)
    assert not gates.judge_sharpness(gates.face_part(grainy, aligned=True), CONFIG).keep


def test_a_blown_out_face_is_clipped() -> None:
    clipping, brightness = gates.judge_light(np.full((50, 50, 3), 255, np.uint8), CONFIG)
    assert not clipping.keep
    assert brightness.keep


def test_a_face_lost_in_the_dark_is_set_aside() -> None:
    clipping, brightness = gates.judge_light(np.full((50, 50, 3), 12, np.uint8), CONFIG)
    assert clipping.keep
    assert not brightness.keep


def test_dark_skin_in_good_light_passes() -> None:
    """Deep skin tones with a tenth of the face in highlight, as a portrait light gives."""
    face = np.full((100, 100, 3), (58, 38, 30), np.uint8)
    face[:, :10] = (150, 120, 105)
    assert all(v.keep for v in gates.judge_light(face, CONFIG))


def test_laplacian_variance_of_a_checkerboard_is_known() -> None:
    """Each pixel differs from its four neighbours by 2: the Laplacian is +-8, its variance 64."""
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 2).astype(np.float32)
    assert gates.laplacian_variance(board) == 64
