"""Colour fixes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from restore.colour import COLOUR_FIXES, adain, low_frequencies, match_ring, wavelet


@pytest.fixture
def pair(portrait) -> tuple[np.ndarray, np.ndarray]:
    face = portrait[:256, 100:356].astype(np.float32)
    return face * (0.7, 1.0, 1.2) + 9, face


def test_wavelet_is_the_restored_detail_on_the_input_s_low_frequencies(pair) -> None:
    restored, given = (p.astype(np.float32) for p in pair)
    direct = (restored - low_frequencies(restored)) + low_frequencies(given)
    assert np.allclose(wavelet(restored, given), direct, atol=1e-2)


def test_wavelet_takes_away_a_colour_cast(pair) -> None:
    restored, given = (p.astype(np.float32) for p in pair)
    cast = np.abs(restored.mean(axis=(0, 1)) - given.mean(axis=(0, 1))).max()
    left = np.abs(wavelet(restored, given).mean(axis=(0, 1)) - given.mean(axis=(0, 1))).max()
    assert cast > 15
    assert left < 1


def test_low_frequencies_keep_a_flat_picture_and_lose_a_fine_pattern() -> None:
    flat = np.full((256, 256, 3), 77, np.float32)
    assert np.allclose(low_frequencies(flat), 77, atol=1e-3)
    # A little of the pattern is left at the border, where its last row is repeated.
    fine = np.repeat((np.indices((256, 256)).sum(axis=0) % 2 * 100.0)[..., None], 3, axis=2)
    assert np.abs(low_frequencies(fine.astype(np.float32)) - 50).max() < 3


def test_low_frequencies_mean_the_same_at_every_size(portrait) -> None:
    import cv2

    large = portrait.astype(np.float32)
    small = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    shrunk = cv2.resize(low_frequencies(large), (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - low_frequencies(small)).mean() < 3


def test_adain_takes_mean_and_spread_of_the_input(pair) -> None:
    restored, given = (p.astype(np.float32) for p in pair)
    fixed = adain(restored, given)
    assert np.allclose(fixed.mean(axis=(0, 1)), given.mean(axis=(0, 1)), atol=0.1)
    assert np.allclose(fixed.std(axis=(0, 1)), given.std(axis=(0, 1)), atol=0.1)


def test_none_changes_nothing_and_a_flat_face_breaks_nothing(pair) -> None:
    restored, given = (p.astype(np.float32) for p in pair)
    assert np.array_equal(COLOUR_FIXES["none"](restored, given), restored)
    for fix in COLOUR_FIXES.values():
        assert np.isfinite(fix(np.zeros_like(given), given)).all()


def test_the_ring_is_matched_where_the_mask_fades_and_nowhere_else() -> None:
    photo = np.zeros((9, 9, 3), np.float32)
    photo[:, :3] = 60
    mask = np.zeros((9, 9), np.float32)
    mask[:, :3], mask[:, 3:] = 0.5, 1.0
    assert np.allclose(match_ring(np.full_like(photo, 10), photo, mask), 60)
    assert np.allclose(match_ring(np.full_like(photo, 10), photo, np.ones_like(mask)), 10)
