"""What a reviewer is shown of a returned file: the part that the retoucher worked on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from annotation.comparison import compare
from data_manifests.records import Box

SMALL = Box(left=1200, top=900, right=1500, bottom=1200)  # fits the panels with its margin
LARGE = Box(left=400, top=300, right=2000, bottom=2300)  # does not


def panels(face: Box, spot: tuple[int, int] | None) -> tuple[np.ndarray, int]:
    """The difference panel and its side, where 20 px around `spot` (x, y) were healed."""
    before_HWC = np.random.default_rng(3).integers(90, 110, (2600, 2600, 3), dtype=np.uint8)
    after_HWC = before_HWC.copy()
    after_HWC[::7, ::5] += 1  # the rounding of a saved file
    if spot is not None:
        x, y = spot
        after_HWC[y - 10 : y + 10, x - 10 : x + 10] = 160
    data, width, height = compare(before_HWC, after_HWC, face)
    with Image.open(io.BytesIO(data)) as sheet:
        assert sheet.size == (width, height)
        assert width <= 2048
        shown = np.asarray(sheet.convert("L"))
    side = (width - 8) // 3
    return shown[-side:, -side:], side


@pytest.mark.parametrize("spot", [(450, 2200), (1900, 350), (1200, 1300)])
def test_a_spot_anywhere_on_a_large_face_is_shown(spot: tuple[int, int]) -> None:
    difference, side = panels(LARGE, spot)
    assert side == 680
    assert (difference > 200).sum() > 300


def test_a_face_that_fits_is_shown_whole_wherever_the_spot_is() -> None:
    difference, side = panels(SMALL, (1210, 1190))
    assert side == 450
    ys, xs = np.nonzero(difference > 200)
    assert (round(xs.mean()), round(ys.mean())) == pytest.approx((85, 365), abs=2)


def test_a_file_without_a_spot_shows_the_middle_of_the_face() -> None:
    difference, side = panels(SMALL, None)
    assert side == 450
    assert abs(float(difference.mean()) - 128) < 3


def test_work_outside_of_an_untouched_face_is_shown() -> None:
    before_HWC = np.full((2600, 2600, 3), 100, np.uint8)
    after_HWC = before_HWC.copy()
    after_HWC[2500:2520, 100:120] = 180
    data, width, _ = compare(before_HWC, after_HWC, SMALL)
    with Image.open(io.BytesIO(data)) as sheet:
        shown = np.asarray(sheet.convert("L"))
    assert (shown[36:, -((width - 8) // 3) :] > 200).sum() > 300


def test_places_that_lie_apart_are_all_shown() -> None:
    before_HWC = np.random.default_rng(3).integers(90, 110, (3000, 3000, 3), dtype=np.uint8)
    after_HWC = before_HWC.copy()
    after_HWC[::7, ::5] += 1
    for y, x, shade in ((500, 500, 160), (2600, 2600, 40)):
        after_HWC[y : y + 20, x : x + 20] = shade
    data, width, height = compare(before_HWC, after_HWC, LARGE)
    assert (width, height) == (2048, 2 * (680 + 36))
    with Image.open(io.BytesIO(data)) as sheet:
        shown = np.asarray(sheet.convert("L"))[:, -680:]
    assert (shown[36:716] > 200).sum() > 300
    assert (shown[752:] < 40).sum() > 300


def test_an_unchanged_file_shows_the_face() -> None:
    before_HWC = np.full((2600, 2600, 3), 100, np.uint8)
    _, width, height = compare(before_HWC, before_HWC.copy(), LARGE)
    assert (width, height) == (2048, 680 + 36)
