"""Painted areas: our decoder against Label Studio's own coder, and what damaged code does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from annotation.masks import decode_mask, mask_png

WIDTH, HEIGHT = 37, 23


@pytest.fixture(params=["disc", "noise", "soft"])
def alpha(request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    far = np.hypot(x - 18, y - 11)
    if request.param == "disc":
        return np.where(far < 9, 255, 0).astype(np.uint8)
    if request.param == "soft":  # the edge that the editor's brush leaves
        return np.clip(255 * (9 - far), 0, 255).astype(np.uint8)
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)


def encoded(alpha: NDArray[np.uint8]) -> list[int]:
    """As the editor writes it: the same value in all four channels."""
    from label_studio_sdk.converter.brush import encode_rle

    return list(encode_rle(np.repeat(alpha.ravel(), 4)))


def test_a_mask_is_read_as_label_studios_own_converter_reads_it(
    alpha: NDArray[np.uint8],
) -> None:
    from label_studio_sdk.converter.brush import decode_rle

    rle = encoded(alpha)
    theirs_HW = decode_rle(rle).reshape(HEIGHT, WIDTH, 4)[..., 3]
    assert np.array_equal(theirs_HW, alpha)
    assert np.array_equal(decode_mask(rle, WIDTH, HEIGHT), np.where(theirs_HW > 0, 255, 0))


def test_a_mask_comes_back_from_its_png(alpha: NDArray[np.uint8]) -> None:
    mask_HW = decode_mask(encoded(alpha), WIDTH, HEIGHT)
    with Image.open(io.BytesIO(mask_png(mask_HW))) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert np.array_equal(np.asarray(picture.convert("L")), mask_HW)


def test_a_mask_of_another_size_is_refused(alpha: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="the picture"):
        decode_mask(encoded(alpha), WIDTH + 1, HEIGHT)


def test_a_mask_that_breaks_off_is_refused(alpha: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="breaks off"):
        decode_mask(encoded(alpha)[:-9], WIDTH, HEIGHT)


def test_a_mask_that_runs_over_its_end_is_refused() -> None:
    rle = encoded(np.full((HEIGHT, WIDTH), 255, dtype=np.uint8))
    rle[:4] = (2 * 2 * 4).to_bytes(4, "big")
    with pytest.raises(ValueError, match="over its end"):
        decode_mask(rle, 2, 2)


def test_a_mask_that_paints_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="paints nothing"):
        decode_mask(encoded(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)), WIDTH, HEIGHT)


@pytest.mark.parametrize("rle", [[], [0, 0], [300] * 9, [-1] * 9, list(range(200))])
def test_what_is_no_mask_is_refused(rle: list[int]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_mask(rle, WIDTH, HEIGHT)


def test_a_picture_of_an_absurd_size_costs_no_memory() -> None:
    with pytest.raises(ValueError, match="no picture has"):
        decode_mask([0] * 100, 1 << 20, 1 << 20)
