from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from curation.decode import read_facts, read_photo, upright
from data_manifests.errors import UnreadablePhoto

Srgb = NDArray[np.uint8]
WritePhoto = Callable[..., Path]


def corners() -> Srgb:
    """40 x 30 px with four colours, so that every turn shows."""
    made = np.zeros((30, 40, 3), np.uint8)
    made[:15, :20], made[:15, 20:], made[15:, :20] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return made


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_baked_in_once(write_photo: WritePhoto, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = write_photo(corners(), "turned.png", exif=exif.tobytes())
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    photo = read_photo(path)
    assert np.array_equal(photo.pixels_HWC, expected)
    assert (photo.facts.height, photo.facts.width) == expected.shape[:2]
    assert photo.facts.orientation == orientation


def test_upright_of_a_wrong_orientation_changes_nothing() -> None:
    assert np.array_equal(upright(corners(), 9), corners())


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
    photo = read_photo(tmp_path / name)
    assert photo.pixels_HWC.dtype == np.uint16
    assert np.array_equal(photo.pixels_HWC, deep)
    assert photo.facts.bit_depth == 16


def test_twelve_bit_grey_is_scaled_to_the_full_range(shared: Path) -> None:
    photo = read_photo(shared / "hostile/images/pillow__12bit.cropped.tif")
    assert photo.pixels_HWC.dtype == np.uint16
    assert (photo.pixels_HWC & 0x000F == 0).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["whole.jpg", "whole.png", "whole.tif", "whole.webp"])
def test_a_cut_file_never_passes(
    write_photo: WritePhoto, portrait: Srgb, name: str, share: float
) -> None:
    path = write_photo(portrait[:256, :256], name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(path)
    assert caught.value.reason in ("truncated", "damaged")


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 8}])
def test_damage_within_a_jpeg_is_never_taken_for_a_harmless_note(
    write_photo: WritePhoto, portrait: Srgb, options: dict[str, int]
) -> None:
    """No file whose decoder complained about the picture's data is taken for a harmless one."""
    path = write_photo(portrait[:512, :512], quality=90, **options)
    whole, rng = path.read_bytes(), random.Random(1)
    first = whole.index(b"\xff\xda") + 14
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.randrange(first, len(data) - 2)] = rng.randrange(256)
        path.write_bytes(data)
        try:
            assert not read_photo(path).facts.notes
        except UnreadablePhoto:
            refused += 1
    assert refused > 20


def test_junk_and_filler_outside_the_picture_are_let_through(
    write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait[:256, :256])
    whole = path.read_bytes()
    pixels = read_photo(path).pixels_HWC
    for data in (whole[:-2] + bytes(40) + whole[-2:], whole[:20] + b"junk!" + whole[20:]):
        path.write_bytes(data)
        photo = read_photo(path)
        assert "extraneous bytes" in photo.facts.notes[0]
        assert np.array_equal(photo.pixels_HWC, pixels)


def test_a_png_with_a_wrong_checksum_never_passes(write_photo: WritePhoto) -> None:
    path = write_photo(corners(), "flipped.png")
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") - 5 + 20] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadablePhoto):
        read_photo(path)


def test_too_many_pixels_are_refused_from_the_header(write_photo: WritePhoto) -> None:
    path = write_photo(corners(), "large.png")
    with pytest.raises(UnreadablePhoto, match="more than") as caught:
        read_facts(path, most_pixels=1000)
    assert caught.value.reason == "too_many_pixels"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "empty_file"),
        ("text.jpg", b"this is no picture", "unsupported_format"),
        ("IMG.NEF", b"\xff\xd8\xff\xe0 a preview", "raw_only_preview"),
        ("half.jpg", b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_what_is_no_photo_has_a_reason(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(tmp_path / name)
    assert caught.value.reason == reason


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    photo = read_photo(tmp_path / "ink.jpg")
    red, green, blue = photo.pixels_HWC.mean(axis=(0, 1))
    assert photo.facts.icc is None
    assert red > 230
    assert max(green, blue) < 40


def test_capture_facts_are_read_and_facts_agree_with_the_header(write_photo: WritePhoto) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[274] = "Canon", "Canon EOS R5", 6
    details = exif.get_ifd(0x8769)
    details[0x920A], details[0x829D], details[0x8827] = 85.0, 1.8, 200
    details[0x9003], details[0x9011] = "2026:03:01 12:00:00", "+02:00"
    path = write_photo(corners(), "shot.jpg", exif=exif)
    facts = read_photo(path).facts
    capture = facts.capture
    assert capture is not None
    assert capture.camera == "Canon EOS R5"
    assert (capture.focal_length_mm, capture.aperture_f, capture.iso) == (85.0, 1.8, 200)
    assert capture.taken_at is not None
    assert capture.taken_at.isoformat() == "2026-03-01T10:00:00+00:00"
    assert read_facts(path) == facts


def test_a_broken_profile_costs_the_profile_only(write_photo: WritePhoto) -> None:
    facts = read_photo(
        write_photo(corners(), "profile.jpg", icc_profile=b"RGB nonsense" * 20)
    ).facts
    assert facts.colour_profile == "unreadable"
    assert facts.notes
