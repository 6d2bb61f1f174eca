"""Whole files through reader and writer: a changed face, and nothing else."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from curation.decode import DecodedPhoto
from curation.sandbox import Sandbox
from restore.config import C2paConfig, RestoreConfig
from restore.model import ModelFacts
from restore.provenance import describe_output, read_carried, xmp_packet
from restore.writing import Writer, open_writer
from restore.xmp import read_packet

FACTS = ModelFacts(
    name="mine",
    folder=Path("mine"),
    sha256="c" * 64,
    size=64,
    prompt="",
    negative_prompt="",
    tiny=True,
    trained_steps=None,
    base=None,
)
FACE = (slice(10, 30), slice(20, 40))


def wide_profile() -> bytes:
    """ProPhoto, made by what the tests of the ingest make theirs by."""
    file = Path(__file__).parents[1] / "curation/profiles.py"
    spec = importlib.util.spec_from_file_location("profiles", file)
    assert spec is not None
    assert spec.loader is not None
    profiles = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(profiles)
    made: bytes = profiles.make_profile("ProPhoto")
    return made


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as opened:
        yield opened


def marked(**settings: object) -> Writer:
    return open_writer(FACTS, RestoreConfig.model_validate(settings), key="d" * 64)


def restored(
    source: Path, target: Path, sandbox: Sandbox, writer: Writer | None = None
) -> tuple[DecodedPhoto, DecodedPhoto, tuple[str, ...]]:
    """(input, output, notes) of a restoration that makes the face's region brighter."""
    photo = sandbox.read(source)
    carried = read_carried(source, keep_private=False, read=sandbox.blocks)
    after_HWC = photo.pixels_HWC.copy()
    after_HWC[FACE] = after_HWC[FACE] // 2 + np.iinfo(after_HWC.dtype).max // 2
    writer = writer or marked()
    data, notes = writer.to_bytes(after_HWC, photo, carried, source=source, target=target)
    target.write_bytes(data)
    return photo, sandbox.read(target), notes


def outside(photo: DecodedPhoto) -> np.ndarray:
    pixels_HWC = photo.pixels_HWC.copy()
    pixels_HWC[FACE] = 0
    return pixels_HWC


def bands(kind: type, count: int) -> np.ndarray:
    made = np.random.default_rng(9).integers(0, np.iinfo(kind).max + 1, (48, 64, count))
    return made.astype(kind)


def write_input(path: Path, mode: str, kind: type) -> Path:
    pixels_HWC = bands(kind, {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode])
    if kind is np.uint8:
        Image.fromarray(pixels_HWC.squeeze(), mode).save(path)
    elif path.suffix == ".png":
        order = [2, 1, 0, 3][: pixels_HWC.shape[2]] if len(mode) > 2 else [0]
        cv2.imwrite(str(path), pixels_HWC[..., order])
    else:
        extra = ["unassalpha"] if "A" in mode else []
        kind_of = "rgb" if len(mode) > 2 else "minisblack"
        tifffile.imwrite(path, pixels_HWC.squeeze(), photometric=kind_of, extrasamples=extra)
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize(("before", "after"), [("png", "png"), ("tif", "tif"), ("png", "tif")])
def test_pixels_outside_the_face_depth_alpha_and_grey_stay(
    before: str, after: str, mode: str, kind: type, tmp_path: Path, sandbox: Sandbox
) -> None:
    if mode == "LA" and kind is np.uint16:
        return  # no common program writes it, and Pillow does not read it as TIFF
    source = write_input(tmp_path / f"in.{before}", mode, kind)
    photo, again, notes = restored(source, tmp_path / f"out.{after}", sandbox)
    assert again.pixels_HWC.dtype == kind
    assert np.array_equal(outside(photo), outside(again))
    assert not np.array_equal(photo.pixels_HWC[FACE], again.pixels_HWC[FACE])
    assert again.grey is photo.grey is (mode in ("L", "LA"))
    assert (photo.alpha_HW is not None) is ("A" in mode)
    if photo.alpha_HW is not None:
        assert np.array_equal(again.alpha_HW, photo.alpha_HW)
    assert notes == ()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_alpha_and_pixels_are_turned_together(
    orientation: int, tmp_path: Path, sandbox: Sandbox
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels_HWC = bands(np.uint8, 4)
    pixels_HWC[..., 3] = pixels_HWC[..., 0]
    Image.fromarray(pixels_HWC).save(tmp_path / "in.png", exif=exif)
    photo, again, _ = restored(tmp_path / "in.png", tmp_path / "out.png", sandbox)
    assert again.alpha_HW is not None
    assert np.array_equal(again.alpha_HW, photo.pixels_HWC[..., 0])
    assert again.facts.orientation == 1


def test_profiles_of_rgb_and_grey_go_over(tmp_path: Path, sandbox: Sandbox) -> None:
    wide = wide_profile()
    grey = ImageCms.ImageCmsProfile(io.BytesIO(wide)).tobytes().replace(b"RGB ", b"GRAY", 1)
    for mode, icc in (("RGB", wide), ("L", grey)):
        Image.new(mode, (64, 48), "gray").save(tmp_path / "in.png", icc_profile=icc)
        for end in ("png", "tif", "jpg"):
            restored(tmp_path / "in.png", tmp_path / f"out.{end}", sandbox)
            with Image.open(tmp_path / f"out.{end}") as image:
                assert image.info["icc_profile"] == icc
                assert image.mode == mode


def test_alpha_of_an_enlarged_photo_is_enlarged_with_it(tmp_path: Path, sandbox: Sandbox) -> None:
    source = write_input(tmp_path / "in.png", "RGBA", np.uint8)
    photo = sandbox.read(source)
    carried = read_carried(source, keep_private=False)
    larger = np.repeat(np.repeat(photo.pixels_HWC, 2, axis=0), 2, axis=1)
    target = tmp_path / "out.png"
    target.write_bytes(marked().to_bytes(larger, photo, carried, source=source, target=target)[0])
    again = sandbox.read(target)
    assert again.alpha_HW is not None
    assert again.alpha_HW.shape == (96, 128)


def test_a_jpeg_of_a_photo_with_alpha_says_what_it_lost(tmp_path: Path, sandbox: Sandbox) -> None:
    source = write_input(tmp_path / "in.png", "RGBA", np.uint16)
    _, again, notes = restored(source, tmp_path / "out.jpg", sandbox)
    assert again.alpha_HW is None
    assert any("transparency" in n for n in notes)
    assert any("16 were rounded" in n for n in notes)


def test_no_mark_is_said_and_nothing_is_signed(tmp_path: Path, sandbox: Sandbox) -> None:
    source = write_input(tmp_path / "in.png", "RGB", np.uint8)
    writer = marked(mark=False, c2pa=C2paConfig(certificate="not there.pem"))
    _, _, notes = restored(source, tmp_path / "out.png", sandbox, writer)
    data = (tmp_path / "out.png").read_bytes()
    assert b"AuthFace" not in data
    assert b"algorithmicmedia" not in data.lower()
    assert any("not marked" in n for n in notes)
    assert any("not signed" in n for n in notes)
    _, _, notes = restored(source, tmp_path / "marked.png", sandbox)
    data = (tmp_path / "marked.png").read_bytes()
    assert data.count(b"compositeWithTrainedAlgorithmicMedia") == 1
    assert b"c" * 64 in data
    assert b"d" * 64 in data
    assert notes == ()


def test_two_runs_give_equal_bytes(tmp_path: Path, sandbox: Sandbox) -> None:
    source = write_input(tmp_path / "in.tif", "RGBA", np.uint16)
    for name in ("a.tif", "b.tif"):
        restored(source, tmp_path / name, sandbox)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("folder", ["portraits", "old-photos"])
def test_real_photos_keep_their_metadata(
    folder: str, shared_photos: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    files = [p for p in sorted((shared_photos / folder).iterdir()) if p.suffix in (".jpg", ".png")]
    for source in files[:6]:
        photo, again, _ = restored(source, tmp_path / "out.tif", sandbox)
        assert np.array_equal(outside(photo), outside(again))
        assert again.facts.capture == photo.facts.capture or _has_serial(photo)
        assert again.facts.icc == photo.facts.icc
        one, two = (read_carried(p, keep_private=False) for p in (source, tmp_path / "out.tif"))
        missing = set(one.xmp.properties) - set(two.xmp.properties)
        assert not missing
        assert one.dpi == two.dpi


def _has_serial(photo: DecodedPhoto) -> bool:
    capture = photo.facts.capture
    return capture is not None and bool(capture.body_serial or capture.lens_serial)


def test_a_heic_brings_its_exif_and_xmp_but_no_place(tmp_path: Path, sandbox: Sandbox) -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0110] = "Phone 9"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0xA431: "SERIAL"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="'
    packet += b'http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:st="urn:st"'
    packet += b' st:order="Z" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSAltitude="9"/>'
    packet += b"</rdf:RDF></x:xmpmeta>"
    source = tmp_path / "in.heic"
    Image.fromarray(bands(np.uint8, 3)).save(source, exif=exif.tobytes(), xmp=packet)
    restored(source, tmp_path / "out.jpg", sandbox)
    carried = read_carried(tmp_path / "out.jpg", keep_private=True)
    assert carried.main[0x0110] == "Phone 9"
    assert 0xA431 not in carried.details
    assert carried.gps == {}
    assert carried.xmp.properties["{urn:st}order"].text == "Z"
    assert not [name for name in carried.xmp.properties if "GPS" in name]


def test_a_raw_brings_camera_lens_and_exposure(
    shared_photos: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    source = shared_photos.parent / "raw/photoprism_canon_eos_6d.dng"
    photo, _, notes = restored(source, tmp_path / "out.tif", sandbox)
    carried = read_carried(tmp_path / "out.tif", keep_private=True)
    assert carried.main[0x0110] == "Canon EOS 6D"
    assert carried.details[0xA434] == "EF24-105mm f/4L IS USM"
    assert float(carried.details[0x829D]) == pytest.approx(5.6)
    assert photo.facts.capture is not None
    assert carried.details[0x9003] == f"{photo.facts.capture.taken_at:%Y:%m:%d %H:%M:%S}"
    assert not [n for n in carried.xmp.properties if "camera-raw-settings" in n]
    assert any("develop settings" in n for n in notes)


def test_metadata_of_hostile_files_costs_notes_and_no_photo(
    shared_photos: Path, sandbox: Sandbox
) -> None:
    files = sorted((shared_photos.parent / "hostile/images").iterdir())
    assert files
    for file in files:
        carried = read_carried(file, keep_private=True, read=sandbox.blocks)
        exif = describe_output(carried, 1, 1).tobytes()
        assert len(exif) < 65_500
        read_packet(xmp_packet(carried))
