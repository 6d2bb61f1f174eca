"""Alpha and greyness of real files, in this process and through the child."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from curation.decode import read_photo
from curation.sandbox import Sandbox

HEIGHT, WIDTH = 30, 44


def bands(kind: type, count: int) -> np.ndarray:
    most = np.iinfo(kind).max
    return np.random.default_rng(3).integers(0, most + 1, (HEIGHT, WIDTH, count)).astype(kind)


def write(path: Path, pixels_HWC: np.ndarray) -> np.ndarray:
    """The pixels as PNG, TIFF or WebP of the name's ending; what they are."""
    if path.suffix == ".tif":
        extra = {2: 1, 4: 1}.get(pixels_HWC.shape[2], 0)
        tifffile.imwrite(
            path,
            pixels_HWC,
            photometric="rgb" if pixels_HWC.shape[2] > 2 else "minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"] * extra,
        )
    elif pixels_HWC.dtype == np.uint16:
        order = [2, 1, 0, 3][: pixels_HWC.shape[2]] if pixels_HWC.shape[2] > 2 else [0]
        assert cv2.imwrite(str(path), pixels_HWC[..., order])
    else:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels_HWC.shape[2]]
        options = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
        Image.fromarray(pixels_HWC.squeeze(), mode).save(path, **options)
    return pixels_HWC


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("end", [".png", ".tif", ".webp"])
def test_alpha_comes_with_the_pixels_bit_for_bit(tmp_path: Path, end: str, kind: type) -> None:
    if end == ".webp" and kind is np.uint16:
        return
    pixels_HWC = write(tmp_path / f"a{end}", bands(kind, 4))
    photo = read_photo(tmp_path / f"a{end}")
    assert photo.alpha_HW is not None
    assert photo.alpha_HW.dtype == kind
    assert np.array_equal(photo.alpha_HW, pixels_HWC[..., 3])
    assert np.array_equal(photo.pixels_HWC, pixels_HWC[..., :3])
    assert not photo.grey


def test_the_child_sends_the_same_alpha(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        for kind in (np.uint8, np.uint16):
            pixels_HWC = write(tmp_path / "a.png", bands(kind, 4))
            photo = sandbox.read(tmp_path / "a.png")
            assert photo.alpha_HW is not None
            assert np.array_equal(photo.alpha_HW, pixels_HWC[..., 3])
            assert np.array_equal(photo.pixels_HWC, pixels_HWC[..., :3])
        write(tmp_path / "b.png", bands(np.uint8, 3))
        assert sandbox.read(tmp_path / "b.png").alpha_HW is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_is_turned_as_the_pixels_are(tmp_path: Path, orientation: int) -> None:
    pixels_HWC = bands(np.uint8, 4)
    pixels_HWC[..., 3] = pixels_HWC[..., 0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for end in ("png", "tif", "webp"):
        path = tmp_path / f"a.{end}"
        options = {"lossless": True, "exact": True} if end == "webp" else {}
        Image.fromarray(pixels_HWC).save(path, exif=exif, **options)
        photo = read_photo(path)
        assert photo.alpha_HW is not None
        assert photo.alpha_HW.shape == photo.pixels_HWC.shape[:2]
        assert np.array_equal(photo.alpha_HW, photo.pixels_HWC[..., 0])


def test_a_palette_s_transparent_entry_is_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(bands(np.uint8, 3)).quantize(7)
    picture.save(tmp_path / "a.png", transparency=2)
    photo = read_photo(tmp_path / "a.png")
    assert photo.alpha_HW is not None
    expected = np.where(np.asarray(picture) == 2, 0, 255)
    assert 0 < (expected == 0).sum() < expected.size
    assert np.array_equal(photo.alpha_HW, expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_that_were_stored_times_their_alpha_are_divided(tmp_path: Path, kind: type) -> None:
    most = np.iinfo(kind).max
    pixels_HWC = np.full((HEIGHT, WIDTH, 4), most // 4, kind)
    pixels_HWC[..., 3] = most // 2
    tifffile.imwrite(tmp_path / "a.tif", pixels_HWC, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(tmp_path / "a.tif")
    assert photo.alpha_HW is not None
    assert (photo.alpha_HW == most // 2).all()
    assert np.abs(photo.pixels_HWC / most - 0.5).max() < 0.01


@pytest.mark.parametrize("end", ["jpg", "png", "tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB"])
def test_grey_files_are_told_from_coloured_ones(tmp_path: Path, mode: str, end: str) -> None:
    if (mode, end) == ("LA", "jpg"):
        return
    path = tmp_path / f"a.{end}"
    Image.fromarray(np.repeat(bands(np.uint8, 1), 3, axis=2)).convert(mode).save(path)
    photo = read_photo(path)
    assert photo.grey is (mode != "RGB")
    assert (photo.alpha_HW is not None) is (mode == "LA")


def test_deep_grey_with_and_without_alpha(tmp_path: Path) -> None:
    grey_HW = write(tmp_path / "a.png", bands(np.uint16, 1))[..., 0]
    assert read_photo(tmp_path / "a.png").grey
    import pyvips

    both = np.ascontiguousarray(np.stack([grey_HW, grey_HW[::-1]], axis=2))
    picture = pyvips.Image.new_from_memory(both.data, WIDTH, HEIGHT, 2, "ushort")
    picture.copy(interpretation="grey16").pngsave(str(tmp_path / "b.png"), bitdepth=16)
    photo = read_photo(tmp_path / "b.png")
    assert photo.grey
    assert photo.alpha_HW is not None
    assert np.array_equal(photo.alpha_HW, grey_HW[::-1])
    assert np.array_equal(photo.pixels_HWC[..., 0], grey_HW)
