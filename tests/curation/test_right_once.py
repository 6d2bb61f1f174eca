"""Colour, depth and orientation are right once: every way to sRGB against littlecms."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from skimage.color import deltaE_ciede2000, rgb2lab

from curation.colour import to_deep_srgb, to_srgb
from curation.decode import read_photo

Srgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def make_profile() -> Callable[[str], bytes]:
    """The function of profiles.py, which lies beside this file."""
    spec = importlib.util.spec_from_file_location("profiles", Path(__file__).parent / "profiles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_profile  # type: ignore[no-any-return]


def colours() -> Srgb:
    """A chart of skin, greys and saturated colours, smooth so that JPEG keeps it."""
    at = np.linspace(0, 255, 64)
    red, green = np.meshgrid(at, at)
    chart = np.stack([red, green, 255 - (red + green) / 2], axis=-1)
    chart[:8] = np.linspace(0, 255, 64)[None, :, None]
    chart[8:16] = (200, 120, 90)
    return np.asarray(np.kron(chart, np.ones((4, 4, 1))), dtype=np.uint8)


def by_littlecms(pixels: Srgb, profile: bytes) -> Srgb:
    changed = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(changed, dtype=np.uint8)


def apart(one: Srgb, other: Srgb) -> float:
    return float(deltaE_ciede2000(rgb2lab(one), rgb2lab(other)).max())


@pytest.mark.parametrize("space", ["P3", "ProPhoto"])
def test_wide_colours_become_srgb_as_littlecms_has_it(
    space: str, tmp_path: Path, make_profile: Callable[[str], bytes]
) -> None:
    path, profile = tmp_path / "wide.png", make_profile(space)
    Image.fromarray(colours()).save(path, icc_profile=profile)
    photo = read_photo(path)
    assert photo.facts.colour_profile == space
    mine = to_srgb(photo.pixels_HWC, photo.facts.icc)
    assert apart(mine, by_littlecms(colours(), profile)) < 2
    assert np.abs(mine.astype(int) - colours()).max() > 10  # it did something


@pytest.mark.parametrize("space", ["P3", "ProPhoto"])
def test_sixteen_bits_become_srgb_at_sixteen_bits(
    space: str, make_profile: Callable[[str], bytes]
) -> None:
    deep = colours().astype(np.uint16) * 257
    profile = make_profile(space)
    mine = to_deep_srgb(deep, profile)
    assert mine.dtype == np.uint16
    assert len(np.unique(mine)) > 256
    shallow = np.asarray(np.rint(mine / 257), dtype=np.uint8)
    assert apart(shallow, by_littlecms(colours(), profile)) < 2


def test_p3_skin_is_the_known_srgb_skin(make_profile: Callable[[str], bytes]) -> None:
    """P3 (200, 120, 90) in the gamma 2.2 space is near sRGB (213, 115, 83)."""
    skin = np.full((8, 8, 3), (200, 120, 90), np.uint8)
    mine = to_srgb(skin, make_profile("P3"))[0, 0]
    assert np.abs(mine.astype(int) - (213, 115, 83)).max() <= 2


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_depth_in_is_depth_out(suffix: str, depth: int, tmp_path: Path) -> None:
    kind = np.uint16 if depth == 16 else np.uint8
    pixels = (np.arange(60 * 50 * 3).reshape(60, 50, 3) * 257 % (1 << depth)).astype(kind)
    path = tmp_path / f"deep.{suffix}"
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    photo = read_photo(path)
    assert photo.facts.bit_depth == depth
    assert np.array_equal(photo.pixels_HWC, pixels)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_goes_by_its_profile_or_the_plain_formula(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ink.{suffix}"
    ink = Image.fromarray(colours()).convert("CMYK")
    ink.save(path, **({"quality": 100} if suffix == "jpg" else {}))  # an inverted Adobe file
    photo = read_photo(path)
    assert photo.pixels_HWC.dtype == np.uint8
    assert np.abs(photo.pixels_HWC.astype(int) - np.asarray(ink.convert("RGB"))).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_eight_orientations_are_upright_once(
    suffix: str, orientation: int, tmp_path: Path, portrait: Srgb
) -> None:
    upright = np.asarray(Image.fromarray(portrait).resize((160, 120)), dtype=np.uint8)
    stored = _as_stored(upright, orientation)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"turned.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {}
    options = {"quality": 98, "subsampling": 0} if suffix == "jpg" else lossless
    Image.fromarray(stored).save(path, exif=exif, **options)
    photo = read_photo(path)
    assert photo.facts.orientation == orientation
    assert photo.pixels_HWC.shape == upright.shape
    worst = np.abs(photo.pixels_HWC.astype(int) - upright).max()
    assert worst <= (12 if suffix == "jpg" else 2)  # the JPEG's own loss, not a turn


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_whose_exif_lies_behind_its_pixels_is_turned_too(
    depth: int, tmp_path: Path, portrait: Srgb
) -> None:
    upright = np.asarray(Image.fromarray(portrait).resize((160, 120)), dtype=np.uint8)
    stored = _as_stored(upright, 6).astype(np.uint16 if depth == 16 else np.uint8)
    path = tmp_path / "late.png"
    assert cv2.imwrite(str(path), stored[..., ::-1] * (257 if depth == 16 else 1))
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + body
    late = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = path.read_bytes()
    path.write_bytes(data[:-12] + late + data[-12:])  # before IEND
    photo = read_photo(path)
    assert photo.facts.orientation == 6
    assert photo.pixels_HWC.shape == upright.shape
    assert np.array_equal(photo.pixels_HWC // (257 if depth == 16 else 1), upright)


def _as_stored(upright: Srgb, orientation: int) -> Srgb:
    """The pixels that a camera with this orientation tag would have written (Pillow's inverse)."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture = Image.fromarray(upright)
    turned = picture.transpose(turns[orientation]) if orientation in turns else picture
    return np.asarray(turned, dtype=np.uint8)


def test_a_psd_gives_its_merged_picture_at_both_depths(tmp_path: Path) -> None:
    psd_tools = pytest.importorskip("psd_tools")
    path = tmp_path / "retouched.psd"
    psd_tools.PSDImage.frompil(Image.fromarray(colours())).save(path)
    photo = read_photo(path)
    assert photo.facts.format == "PSD"
    assert photo.facts.width == 256
    assert np.array_equal(photo.pixels_HWC, colours())


def psd_of(planes_CHW: np.ndarray, mode: int, *, resources: bytes = b"") -> bytes:
    """A flat PSD with these channels. Source: Adobe Photoshop File Formats."""
    count, height, width = planes_CHW.shape
    depth = 8 * planes_CHW.dtype.itemsize
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, count, height, width, depth, mode)
    parts = struct.pack(">II", 0, len(resources)) + resources + struct.pack(">IH", 0, 0)
    return head + parts + planes_CHW.astype(planes_CHW.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("mode", [1, 3, 4, 9], ids=["grey", "RGB", "CMYK", "Lab"])
def test_a_psd_keeps_its_transparency(tmp_path: Path, kind: type, mode: int) -> None:
    pytest.importorskip("psd_tools")
    most = np.iinfo(kind).max
    colours_of = {1: 1, 3: 3, 4: 4, 9: 3}
    alpha_HW = np.tile(np.linspace(0, most, 48).astype(kind), (32, 1))
    # As Photoshop saves it: over white by the share that is transparent.
    white = np.rint(most - 0.6 * alpha_HW.astype(np.float64)).astype(kind)
    path = tmp_path / "cut-out.psd"
    path.write_bytes(psd_of(np.stack([*[white] * colours_of[mode], alpha_HW]), mode))
    photo = read_photo(path)
    assert photo.grey == (mode == 1)
    assert photo.alpha_HW is not None
    assert photo.alpha_HW.dtype == photo.pixels_HWC.dtype
    eight_bits = photo.pixels_HWC.dtype != kind
    wanted = np.rint(alpha_HW / 257) if eight_bits else alpha_HW
    assert np.abs(photo.alpha_HW.astype(float) - wanted).max() <= (1 if eight_bits else 0)
    if mode in (1, 3):  # the colour comes without the white
        seen = alpha_HW > most / 8
        assert np.abs(photo.pixels_HWC[seen] / most - 0.4).max() < 0.03
    path.write_bytes(psd_of(np.stack([white] * colours_of[mode]), mode))
    assert read_photo(path).alpha_HW is None


def test_a_saved_selection_is_no_transparency(tmp_path: Path) -> None:
    pytest.importorskip("psd_tools")
    planes = np.full((4, 16, 16), 90, np.uint8)
    names = struct.pack(">4sHHI", b"8BIM", 1053, 0, 4) + struct.pack(">I", 7)  # alpha identifiers
    path = tmp_path / "selection.psd"
    path.write_bytes(psd_of(planes, 3, resources=names))
    photo = read_photo(path)
    assert photo.alpha_HW is None
    assert np.array_equal(photo.pixels_HWC, np.full((16, 16, 3), 90))


def test_a_deep_heic_and_a_deep_avif_keep_their_depth(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    codecs = pytest.importorskip("imagecodecs")
    heic = read_photo(shared / "hostile/images/pillow_heif__RGB_12__128x128.heif")
    assert heic.pixels_HWC.dtype == np.uint16
    assert heic.facts.bit_depth > 8
    ramp = np.linspace(0, 1023, 128 * 128 * 3).reshape(128, 128, 3).astype(np.uint16)
    path = tmp_path / "deep.avif"
    path.write_bytes(codecs.avif_encode(ramp, level=100, bitspersample=10, speed=8))
    avif = read_photo(path)
    assert avif.pixels_HWC.dtype == np.uint16
    assert avif.facts.bit_depth == 10
    assert np.abs(avif.pixels_HWC / 65535 - ramp / 1023).max() < 0.02
