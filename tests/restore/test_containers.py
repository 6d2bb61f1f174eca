"""Written files read back by decoders that are not ours."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from data_manifests.errors import InputError
from restore.containers import Labels, encode, format_of
from restore.provenance import Carried, describe_output, xmp_packet

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CARRIED = Carried(
    main={0x010F: "Maker"},
    details={0x9003: "2024:05:06 07:08:09", 0x8827: 400, 0x829A: 0.004},
    gps={1: "N", 2: (52.0, 30.0, 0.0)},
    dpi=(240.0, 240.0),
)


def labels() -> Labels:
    return Labels(
        exif=describe_output(CARRIED, 61, 40), xmp=xmp_packet(CARRIED), icc=ICC, dpi=CARRIED.dpi
    )


def noise(kind: type) -> np.ndarray:
    whole = np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, (40, 61, 3))
    return whole.astype(kind)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_metadata_of_every_format_reads_back(name: str, kind: type) -> None:
    data = encode(noise(kind), labels(), name)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.size == (61, 40)
    assert image.info["icc_profile"] == ICC
    exif = image.getexif()
    assert exif[0x010F] == "Maker"
    assert exif.get(0x0112, 1) == 1
    details = exif.get_ifd(0x8769)
    assert (details[0x9003], details[0x8827]) == ("2024:05:06 07:08:09", 400)
    assert float(details[0x829A]) == pytest.approx(0.004)
    assert exif.get_ifd(0x8825)[1] == "N"
    assert float(exif[0x011A]) == 240
    assert (
        b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]
        or name == "PNG"
    )
    assert data.count(b"compositeWithTrainedAlgorithmicMedia") == 1


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_and_tiff_keep_every_bit(name: str, kind: type) -> None:
    pixels = noise(kind)
    data = encode(pixels, labels(), name)
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert again.dtype == kind
    assert np.array_equal(again, pixels)
    if name == "TIFF":
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), pixels)


def test_png_chunks_have_good_checksums() -> None:
    image = Image.open(io.BytesIO(encode(noise(np.uint16), labels(), "PNG")))
    image.verify()


def test_sixteen_bits_are_rounded_for_jpeg() -> None:
    flat = np.full((32, 32, 3), 32896, np.uint16)  # 128 * 257
    image = Image.open(io.BytesIO(encode(flat, labels(), "JPEG")))
    assert np.abs(np.asarray(image).astype(int) - 128).max() <= 1


def test_jpeg_keeps_full_colour_resolution() -> None:
    image = Image.open(io.BytesIO(encode(noise(np.uint8), labels(), "JPEG")))
    assert image.layer[1][1:3] == (1, 1)


def test_untagged_pixels_stay_untagged() -> None:
    bare = Labels(exif=describe_output(Carried(), 61, 40), xmp=xmp_packet(Carried()))
    for name in ("JPEG", "PNG", "TIFF", "WEBP"):
        image = Image.open(io.BytesIO(encode(noise(np.uint8), bare, name)))
        assert not image.info.get("icc_profile")


def test_names_decide_the_format_in_any_case() -> None:
    assert format_of(Path("a.JPG")) == "JPEG"
    assert format_of(Path("a.Tiff")) == "TIFF"
    with pytest.raises(InputError, match=r"\.jpg"):
        format_of(Path("a.gif"))


def test_a_picture_too_large_for_webp_is_an_error_for_people() -> None:
    with pytest.raises(InputError, match="can't hold"):
        encode(np.zeros((8, 16400, 3), np.uint8), labels(), "WEBP")
