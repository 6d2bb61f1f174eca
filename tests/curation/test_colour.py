from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from curation.colour import luma, pyramid, shrink, to_eight_bits, to_srgb


def matrix_profile(gamma: float) -> bytes:
    """An RGB profile with sRGB's primaries and a plain power curve."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    encoded = round(gamma * 256).to_bytes(2, "big")
    curve = b"curv\x00\x00\x00\x00\x00\x00\x00\x01" + encoded + b"\x00\x00"
    count = int.from_bytes(profile[128:132], "big")
    made = bytearray(profile)
    for i in range(count):
        entry = 132 + 12 * i
        if profile[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(profile[entry + 4 : entry + 8], "big")
            made[offset : offset + len(curve)] = curve
    return bytes(made)


def test_untagged_pixels_are_taken_as_srgb() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(to_srgb(pixels, None), pixels)


def test_an_srgb_profile_changes_next_to_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(to_srgb(pixels, icc).astype(int) - pixels).max() <= 1


def test_a_linear_profile_is_brightened_by_the_transfer_curve() -> None:
    """Source: IEC 61966-2-1: linear 0.2140 is encoded as 0.5."""
    grey = np.full((4, 4, 3), round(0.2140 * 255), np.uint8)
    assert abs(int(to_srgb(grey, matrix_profile(1.0))[0, 0, 0]) - 128) <= 2


def test_a_broken_profile_leaves_the_pixels() -> None:
    pixels = np.full((4, 4, 3), 90, np.uint8)
    assert np.array_equal(to_srgb(pixels, b"nonsense"), pixels)


def test_sixteen_bits_are_rounded_and_the_ends_are_kept() -> None:
    deep = np.array([[[0, 65535, 257 * 100 + 129]]], np.uint16)
    assert to_eight_bits(deep).tolist() == [[[0, 255, 101]]]


def test_luma_weighs_green_most() -> None:
    pixels = np.eye(3, dtype=np.uint8)[None] * 255
    assert np.allclose(luma(pixels)[0] / 255, (0.2126, 0.7152, 0.0722), atol=1e-4)


def test_the_pyramid_halves_down_to_the_least_side_and_keeps_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 640, 3), dtype=np.uint8)
    levels = pyramid(pixels, 100)
    assert [level.shape[:2] for level in levels] == [(400, 640), (200, 320), (100, 160)]
    assert np.allclose([level.mean() for level in levels], pixels.mean(), atol=0.5)


def test_shrink_never_enlarges() -> None:
    pixels = np.asarray(Image.new("RGB", (30, 20)))
    assert shrink(pixels, 100).shape == (20, 30, 3)
    assert shrink(pixels, 15).shape == (10, 15, 3)
