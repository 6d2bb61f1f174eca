"""The demo's originals."""

from __future__ import annotations

import numpy as np

from authface.demo_photos import FRAMINGS, HELD_OUT, enlarge


def test_an_enlarged_framing_has_the_long_side_asked_for_and_its_own_aspect() -> None:
    pixels_HWC = enlarge(FRAMINGS[2], 1024, seed=1)
    assert pixels_HWC.shape == (684, 1024, 3)
    assert pixels_HWC.dtype == np.uint8


def test_the_same_seed_gives_the_same_bytes_and_another_gives_other_grain() -> None:
    once, again = enlarge(HELD_OUT, 512, seed=7), enlarge(HELD_OUT, 512, seed=7)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, enlarge(HELD_OUT, 512, seed=8))


def test_no_two_framings_are_the_same_cut() -> None:
    assert len({(f.cut, f.mirrored) for f in FRAMINGS}) == len(FRAMINGS)
