from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.duplicates import (
    descriptor,
    hash_words,
    low_words,
    perceptual_hash,
    pixel_hash,
)
from curation.pairs import first_pairs, near_pairs

Srgb = NDArray[np.uint8]
MOST_BITS, LEAST_COSINE = 24, 0.965


def apart(one: Srgb, other: Srgb) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


def cosine(one: Srgb, other: Srgb) -> float:
    return float(np.dot(descriptor(one), descriptor(other)))


def clipped(values: NDArray[np.float64]) -> Srgb:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def recompressed(portrait: Srgb) -> Srgb:
    small = cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def test_smaller_brighter_warmer_and_recompressed_versions_are_near(portrait: Srgb) -> None:
    for version in (
        recompressed(portrait),
        clipped(portrait * 1.15),
        clipped((portrait - 128.0) * 0.8 + 128),
        clipped(portrait * np.array([1.1, 1.0, 0.88])),
    ):
        assert apart(portrait, version) <= MOST_BITS
        assert cosine(portrait, version) >= LEAST_COSINE


def test_a_slight_crop_or_border_keeps_the_colours_alike(portrait: Srgb) -> None:
    edge = 1536 // 40
    cropped = np.ascontiguousarray(portrait[edge:-edge, edge:-edge])
    framed = cv2.copyMakeBorder(portrait, *[30] * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    assert cosine(portrait, cropped) >= LEAST_COSINE
    assert cosine(portrait, np.asarray(framed, np.uint8)) >= LEAST_COSINE


def test_another_framing_is_far(portrait: Srgb) -> None:
    cut = np.ascontiguousarray(portrait[200:1300, 300:1400])
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    for other in (cut, mirrored):
        assert apart(portrait, other) > 80
        assert cosine(portrait, other) < 0.9


def test_colours_tell_pictures_apart_that_the_hash_takes_for_one() -> None:
    """The hash of a picture of two tones says little: here the colours swap places."""
    red, blue = (200, 60, 60), (60, 93, 200)  # of one brightness
    left = np.full((400, 400, 3), red, np.uint8)
    left[:, 200:] = blue
    swapped = np.ascontiguousarray(left[:, ::-1])
    assert cosine(left, swapped) < -0.5


def test_the_descriptor_is_a_unit_vector_and_a_blank_is_like_nothing(portrait: Srgb) -> None:
    vector = descriptor(portrait)
    assert len(vector) == 150
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert not any(descriptor(np.full((300, 200, 3), 240, np.uint8)))
    assert len(descriptor(np.zeros((1, 1, 3), np.uint8))) == 150


def test_the_pixel_hash_knows_values_shape_and_depth() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    told = {
        pixel_hash(pixels),
        pixel_hash(pixels.reshape(4, 2, 3)),
        pixel_hash(pixels.astype(np.uint16)),
        pixel_hash(pixels + np.uint8(1)),
    }
    assert len(told) == 4
    assert all(len(h) == 32 for h in told)
    turned = np.ascontiguousarray(pixels[:, ::-1])
    assert pixel_hash(pixels[:, ::-1]) == pixel_hash(turned)


def test_the_pixel_hash_copies_nothing_large() -> None:
    pixels = np.zeros((2000, 2000, 3), np.uint8)
    tracemalloc.start()
    pixel_hash(pixels)
    pixel_hash(pixels[::-1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_words_hold_the_digits_and_low_words_the_lowest_frequencies() -> None:
    digits = "0123456789abcdef" * 4
    words = hash_words([digits, "f" * 64])
    assert [f"{w:016x}" for w in words[0].tolist()] == ["0123456789abcdef"] * 4
    # Row by row of 16 bits: the first 8 bits of the first 8 rows.
    assert f"{int(low_words(words)[0, 0]):016x}" == "014589cd014589cd"


def made_hashes(count: int, words: int, seed: int) -> NDArray[np.uint64]:
    """Half of them alone, half in clusters of a few turned bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (count, words), dtype=np.uint64)
    for place in range(count // 2, count):
        near = hashes[rng.integers(0, max(count // 10, 1))].copy()
        for bit in rng.integers(0, 64 * words, rng.integers(0, 12 * words)):
            near[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
        hashes[place] = near
    return np.unique(hashes, axis=0)


@pytest.mark.parametrize(("words", "bits"), [(4, 0), (4, 15), (4, 24), (4, 70), (1, 3), (1, 10)])
@pytest.mark.parametrize("count", [0, 1, 2, 60, 3000])
def test_all_near_pairs_are_found_and_no_other(count: int, words: int, bits: int) -> None:
    hashes = made_hashes(count, words, seed=bits) if count else np.empty((0, words), np.uint64)
    left, right, differ = near_pairs(hashes, bits)
    every = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2, dtype=np.int64)
    want_left, want_right = np.nonzero(np.triu(every <= bits, 1))
    assert left.tolist() == want_left.tolist()
    assert right.tolist() == want_right.tolist()
    assert differ.tolist() == every[want_left, want_right].tolist()


def test_looking_up_and_comparing_all_find_the_same() -> None:
    hashes = made_hashes(2500, 4, seed=1)
    rows, *looked_up = first_pairs(hashes, 24, budget=20_000)
    compared_rows, *compared = first_pairs(hashes, 100, budget=2500 * 2500)
    assert 0 < rows < compared_rows == len(hashes)
    wanted = (compared[2] <= 24) & (compared[0] < rows)
    for one, other in zip(looked_up, compared, strict=True):
        assert one.tolist() == other[wanted].tolist()


def test_equal_hashes_by_the_thousand_come_in_bounded_pieces() -> None:
    rows, left, _, _ = first_pairs(np.zeros((20_000, 4), np.uint64), 24, budget=1 << 20)
    assert rows == 52
    assert len(left) == sum(20_000 - 1 - row for row in range(52))
