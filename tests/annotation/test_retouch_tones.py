"""Bits a channel and banding: told to the reviewer, never a reason to send a file back."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from annotation.comparison import review_task
from annotation.retouch_checks import Pair, check
from annotation.retouch_config import RetouchConfig
from annotation.retouch_tones import emptied
from data_manifests.records import Box, Retouch, Verdict

Pixels = np.ndarray
FACE = Box(left=170, top=60, right=280, bottom=190)
SOURCE: Pixels = data.astronaut()


def posterised(pixels: Pixels, levels: int) -> Pixels:
    step = 255 / (levels - 1)
    return (np.round(pixels / step) * step).round().astype(np.uint8)


def told(after: Pixels, bits: tuple[int, int] = (8, 8)) -> dict[str, Verdict]:
    found = check(Pair(SOURCE, after, FACE, bits=bits), RetouchConfig())
    assert found.good
    return {v.gate: v for v in found.verdicts}


@pytest.mark.parametrize(
    ("bits", "warned"),
    [((16, 8), True), ((14, 8), True), ((16, 16), False), ((8, 8), False), ((8, 16), False)],
)
def test_eight_bits_for_a_deeper_original_are_a_warning(
    bits: tuple[int, int], warned: bool
) -> None:
    verdict = told(SOURCE.copy(), bits)["bit_depth"]
    assert (verdict.keep, verdict.value, verdict.threshold) == (True, bits[1], bits[0])
    assert bool(verdict.reason) == warned
    if warned:
        assert verdict.reason == f"it has 8 bits a channel, and the photo {bits[0]}"


def test_levels_that_a_curve_left_empty_are_a_warning() -> None:
    banded = told(posterised(SOURCE, 128))["banding"]
    assert banded.keep
    assert banded.value == pytest.approx(0.5, abs=0.05)
    assert "50% of the levels in the face lie empty" in banded.reason


def test_a_slight_lift_is_no_banding() -> None:
    table = (255 * (np.arange(256) / 255) ** 0.97).round().astype(np.uint8)
    lifted = told(table[SOURCE])["banding"]
    assert lifted.value is not None
    assert lifted.value < 0.05
    assert lifted.reason == ""


def test_what_was_banded_before_is_not_held_against_the_retoucher() -> None:
    source = posterised(SOURCE, 128)
    found = check(Pair(source, source.copy(), FACE), RetouchConfig())
    assert next(v for v in found.verdicts if v.gate == "banding").value == 0


def test_the_share_counts_only_what_lies_between_the_percentiles_and_has_neighbours() -> None:
    ramp = np.repeat(np.arange(100, 140, dtype=np.uint8), 50)
    assert emptied(shown(ramp), whole(ramp)) == 0
    even = ramp[ramp % 2 == 0]
    assert emptied(shown(even), whole(even)) == pytest.approx(0.5, abs=0.03)
    with_outlier = np.append(ramp, np.uint8(255))
    assert emptied(shown(with_outlier), whole(with_outlier)) == 0
    few = np.array([100, 104, 109, 130], np.uint8)  # so few that empty levels are chance
    assert emptied(shown(few), whole(few)) == 0
    assert emptied(shown(ramp), ~whole(ramp)) == 0


def shown(values: np.ndarray) -> Pixels:
    return np.repeat(values[None, :, None], 3, axis=2)


def whole(values: np.ndarray) -> np.ndarray:
    return np.ones((1, len(values)), np.bool_)


def test_the_reviewer_reads_the_warnings_and_not_that_identity_went_unmeasured() -> None:
    verdicts = check(Pair(SOURCE, posterised(SOURCE, 128), FACE, bits=(16, 8)), RetouchConfig())
    row = Retouch(
        retouch_id="r",
        photo_id="p",
        path="retouches/r.tif",
        match_method="id",
        match_score=1.0,
        state="waiting",
        verdicts=verdicts.verdicts,
    )
    task = review_task(row, ("a.jpg", 1, 1), ())
    assert task is not None
    assert "it has 8 bits a channel, and the photo 16" in task.note
    assert "lie empty" in task.note
    assert "identity" not in task.note
