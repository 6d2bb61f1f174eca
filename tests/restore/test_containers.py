"""Written files read back by decoders that are not ours."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from curation.blocks import read_blocks
from curation.decode import DecodedPhoto, read_photo
from curation.facts import Facts
from data_manifests.errors import InputError
from restore.containers import Labels, encode, format_of, losses, profile_of
from restore.provenance import Carried, Mark, describe_output, xmp_packet
from restore.xmp import Packet, read_packet, simple

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


def opened(data: bytes, path: Path) -> DecodedPhoto:
    path.write_bytes(data)
    return read_photo(path)


def opacity(kind: type) -> np.ndarray:
    values = np.random.default_rng(2).integers(0, np.iinfo(kind).max + 1, (40, 61)).astype(kind)
    values[:5], values[-5:] = 0, np.iinfo(kind).max
    return values


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_is_written_bit_for_bit(name: str, kind: type, grey: bool, tmp_path: Path) -> None:
    pixels, values = noise(kind), opacity(kind)
    if grey:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    data = encode(pixels, labels(), name, alpha_HW=values, grey=grey)
    if (name, grey, kind) == ("TIFF", True, np.uint16):  # Pillow does not read this kind
        again = tifffile.imread(io.BytesIO(data))
        assert np.array_equal(again, np.stack([pixels[..., 0], values], axis=2))
        return
    photo = opened(data, tmp_path / f"a.{name.lower()}")
    wanted = np.rint(values / 257) if (name, kind) == ("WEBP", np.uint16) else values
    assert photo.alpha_HW is not None
    assert np.array_equal(photo.alpha_HW, wanted)
    assert photo.grey is (grey and name != "WEBP")
    if name != "WEBP":
        assert np.array_equal(photo.pixels_HWC, pixels)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_file_stays_one_with_every_value(name: str, kind: type, tmp_path: Path) -> None:
    ramp = np.arange(np.iinfo(kind).max + 1, dtype=kind).reshape(-1, 64)
    pixels = np.repeat(ramp[..., None], 3, axis=2)
    photo = opened(encode(pixels, labels(), name, grey=True), tmp_path / f"a.{name.lower()}")
    assert photo.grey
    if name != "JPEG":
        assert photo.pixels_HWC.dtype == kind
        assert np.array_equal(photo.pixels_HWC, pixels)


def test_a_face_in_a_grey_file_gives_its_luma(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), 128, np.uint8)
    pixels[2:4, 2:4] = (255, 0, 0)
    photo = opened(encode(pixels, labels(), "PNG", grey=True), tmp_path / "a.png")
    assert (photo.pixels_HWC[2:4, 2:4] == 54).all()  # 0.2126 of 255
    assert (np.delete(photo.pixels_HWC, (2, 3), axis=0) == 128).all()


def test_what_a_format_can_t_hold_is_said() -> None:
    facts = Facts(format="TIFF", width=61, height=40, bit_depth=16, icc=b"rgb")
    photo = DecodedPhoto(noise(np.uint16), facts, opacity(np.uint16), grey=True)
    carried = Carried(iptc=b"records", icc=b"grey")
    said = {name: " ".join(losses(photo, carried, name)) for name in ("JPEG", "PNG", "TIFF")}
    assert "transparency" in said["JPEG"]
    assert "16 were rounded" in said["JPEG"]
    assert "IPTC" in said["PNG"]
    assert said["TIFF"] == ""
    assert "no grey" in " ".join(losses(photo, carried, "WEBP"))
    assert (profile_of(photo, carried, "TIFF"), profile_of(photo, carried, "WEBP")) == (
        b"grey",
        b"rgb",
    )


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_iptc_records_are_where_readers_look(name: str, tmp_path: Path) -> None:
    records = b"\x1c\x02\x50\x00\x04Anna\x1c\x02\x19\x00\x03sea"
    with_iptc = Labels(exif=describe_output(CARRIED, 61, 40), xmp=b"<x/>", iptc=records)
    path = tmp_path / f"a.{name.lower()}"
    path.write_bytes(encode(noise(np.uint8), with_iptc, name))
    assert read_blocks(path).iptc == records
    photo = read_photo(path)
    assert photo.facts.keywords == ("sea",)
    assert photo.facts.rights is not None
    assert photo.facts.rights.creator == "Anna"


@pytest.mark.parametrize("size", [60_000, 66_000, 300_000])
def test_xmp_of_any_size_goes_into_a_jpeg(size: int, tmp_path: Path) -> None:
    packet = Packet({f"{{urn:x}}p{i}": simple("xmp:Nickname", "n" * (size // 3)) for i in range(3)})
    for full, node in packet.properties.items():
        node.tag = full
    data = xmp_packet(Carried(xmp=packet))
    whole = Labels(exif=describe_output(CARRIED, 61, 40), xmp=data)
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(noise(np.uint8), whole, "JPEG"))
    blocks = read_blocks(path)
    assert blocks.notes == ()
    assert len(blocks.xmp) == (1 if size == 60_000 else 2)
    assert len(blocks.xmp[0]) <= 65_000
    assert b"compositeWithTrainedAlgorithmicMedia" in blocks.xmp[0]
    found = {k: v for data in blocks.xmp for k, v in read_packet(data).properties.items()}
    assert all(found[k].text == node.text for k, node in packet.properties.items())
    assert read_photo(path).pixels_HWC.shape == (40, 61, 3)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_of_every_format_says_what_made_the_faces(name: str) -> None:
    exif = describe_output(CARRIED, 61, 40, Mark(model_sha256="a" * 64, seed=7))
    data = encode(noise(np.uint8), Labels(exif=exif, xmp=xmp_packet(CARRIED)), name)
    with Image.open(io.BytesIO(data)) as image:
        again = image.getexif()
        comment = again.get_ifd(0x8769)[0x9286]
    assert again[0x0131].startswith("AuthFace")
    assert comment.startswith(b"ASCII\0\0\0Faces in it were made by a model")
    assert comment.rstrip(b"\0").endswith(b"a" * 64 + b"; seed 7")
