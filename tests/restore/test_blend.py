"""Pasting a face back: seamless, inside its mask only, at any scale and turn."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from curation.colour import pyramid
from curation.crops import warp
from restore.blend import face_mask, mask_in_photo, paste, region_of, scale_of

SIZE = 128


def similarity(scale: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """A matrix that puts the crop's middle over `centre` of the photo."""
    turn = np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, SIZE / 2 - linear @ np.array(centre)])


@pytest.mark.parametrize("region", ["face", "head"])
def test_the_mask_ends_before_the_crop_does_and_scales_with_it(region) -> None:
    small, large = face_mask(64, region), face_mask(512, region)
    assert small[0].max() == small[-1].max() == small[:, 0].max() == small[:, -1].max() == 0
    assert small[34, 32] == 1
    assert np.abs(cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA) - small).max() < 0.02


@pytest.mark.parametrize("scale", [0.3, 0.9, 2.5])
@pytest.mark.parametrize("degrees", [0, 33])
def test_pasting_the_photo_s_own_crop_changes_next_to_nothing(portrait, scale, degrees) -> None:
    # A half-pixel mistake in the way back would show at every edge of the face.
    photo = cv2.GaussianBlur(portrait, (0, 0), 2.5 if scale < 1 else 1)
    matrix = similarity(scale, degrees, (225, 125))
    crop = warp(pyramid(photo, SIZE), matrix, SIZE)
    after = photo.copy()
    paste(after, crop.astype(np.float32), matrix)
    region, mask = mask_in_photo(matrix, SIZE, photo.shape)
    gap = np.abs(after[region].astype(int) - photo[region])[mask > 0.5]
    moved = np.abs(np.roll(photo, 1, axis=1)[region].astype(int) - photo[region])[mask > 0.5]
    assert gap.mean() < 0.25 * moved.mean()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_outside_the_mask_every_bit_stays(portrait, kind) -> None:
    photo = portrait.astype(kind) * (257 if kind is np.uint16 else 1)
    matrix = similarity(0.8, 20, (225, 125))
    after = photo.copy()
    noise = np.random.default_rng(1).uniform(0, np.iinfo(kind).max, (SIZE, SIZE, 3))
    paste(after, noise.astype(np.float32), matrix)
    region, mask = mask_in_photo(matrix, SIZE, photo.shape)
    outside = np.ones(photo.shape[:2], bool)
    outside[region] = mask == 0
    assert np.array_equal(after[outside], photo[outside])
    assert not np.array_equal(after[~outside], photo[~outside])
    assert outside.mean() > 0.8


def test_a_head_takes_in_the_hair_and_what_lies_outside_keeps_its_bits(portrait) -> None:
    matrix = similarity(0.8, 20, (225, 125))
    after = portrait.copy()
    paste(after, np.zeros((SIZE, SIZE, 3), np.float32), matrix, region="head")
    place, mask = mask_in_photo(matrix, SIZE, portrait.shape, "head")
    _, face = mask_in_photo(matrix, SIZE, portrait.shape)
    outside = np.ones(portrait.shape[:2], bool)
    outside[place] = mask == 0
    assert np.array_equal(after[outside], portrait[outside])
    assert mask.sum() > 2 * face.sum()
    top = face_mask(SIZE, "head")[round(0.08 * SIZE)]  # above the brow, where hair is
    assert top[SIZE // 2] > 0.4 > face_mask(SIZE)[round(0.08 * SIZE), SIZE // 2]


def test_a_head_leaves_the_faces_beside_it_alone(portrait) -> None:
    mine, other = similarity(0.8, 0, (200, 125)), similarity(0.8, 0, (275, 125))
    black = np.zeros((SIZE, SIZE, 3), np.float32)
    over, spared = portrait.copy(), portrait.copy()
    paste(over, black, mine, region="head")
    paste(spared, black, mine, region="head", spared=[other])
    place, theirs = mask_in_photo(other, SIZE, portrait.shape)
    core = theirs == 1
    assert not np.array_equal(over[place][core], portrait[place][core])
    assert np.array_equal(spared[place][core], portrait[place][core])
    assert not np.array_equal(spared, portrait)
    untouched = np.zeros(portrait.shape[:2], bool)
    untouched[place] = theirs > 0
    assert np.array_equal(spared[~untouched], over[~untouched])


def test_a_face_over_the_edge_is_pasted_as_far_as_the_photo_goes(portrait) -> None:
    matrix = similarity(1.0, 0, (2, 3))
    after = portrait.copy()
    rows, columns = paste(after, np.zeros((SIZE, SIZE, 3), np.float32), matrix)
    assert (rows.start, columns.start) == (0, 0)
    assert not np.array_equal(after[2:20, 2:20], portrait[2:20, 2:20])


def test_the_grey_beyond_the_edge_is_not_drawn_into_the_photo(portrait) -> None:
    photo = cv2.GaussianBlur(portrait, (0, 0), 3)
    matrix = similarity(0.4, 0, (225, 30))
    crop = warp(pyramid(photo, SIZE), matrix, SIZE)
    after = photo.copy()
    paste(after, crop.astype(np.float32), matrix)
    assert np.abs(after[:6].astype(int) - photo[:6]).max() <= 8


def test_a_face_outside_the_photo_changes_nothing(portrait) -> None:
    matrix = similarity(1.0, 0, (-900, 100))
    after = portrait.copy()
    paste(after, np.zeros((SIZE, SIZE, 3), np.float32), matrix)
    assert np.array_equal(after, portrait)
    region = region_of(matrix, SIZE, portrait.shape)
    assert portrait[region].size == 0


def test_a_face_of_another_brightness_leaves_no_seam(portrait) -> None:
    photo = cv2.GaussianBlur(portrait, (0, 0), 2)
    matrix = similarity(1.0, 10, (225, 125))
    crop = warp(pyramid(photo, SIZE), matrix, SIZE).astype(np.float32)
    after = photo.copy()
    paste(after, crop + 40, matrix)
    assert np.abs(after.astype(int) - photo).max() <= 4


def test_a_small_face_is_averaged_and_not_sampled() -> None:
    checks = np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 255
    photo = np.full((200, 200, 3), 128, np.uint8)
    paste(
        photo,
        np.repeat(checks[..., None], 3, axis=2).astype(np.float32),
        similarity(4, 7, (100, 100)),
    )
    assert abs(int(photo.max()) - 128) < 12
    assert abs(int(photo.min()) - 128) < 12


def test_a_face_in_24_megapixels_is_pasted_in_a_moment() -> None:
    photo = np.full((4000, 6000, 3), 90, np.uint8)
    matrix = similarity(0.2, 5, (3000, 2000))
    face = np.full((SIZE, SIZE, 3), 120, np.float32)
    start = time.perf_counter()
    paste(photo, face, matrix)
    assert time.perf_counter() - start < 0.5  # a full-frame blend takes about 10 s


def test_scale_is_crop_pixels_per_photo_pixel() -> None:
    assert scale_of(similarity(1.7, 25, (10, 10))) == pytest.approx(1.7)
