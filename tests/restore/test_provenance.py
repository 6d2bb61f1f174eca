"""What goes over from input to output, and what does not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from restore.keeping import value_of
from restore.provenance import (
    UNMARKED,
    Carried,
    Mark,
    describe_output,
    read_carried,
    xmp_packet,
)
from restore.xmp import read_packet

MAIN, EXIF, GPS = 0x0110, 0x8769, 0x8825
IPTC = "Iptc4xmpExt:DigitalSourceType"
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def save(path: Path, **options: object) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F], exif[MAIN] = "Maker", "Model X\0\0\0"
    exif[0x8298] = "(c) someone"
    exif[0x010E] = "<?php system('id'); ?>"
    exif[EXIF] = {
        0x829A: IFDRational(1, 250),
        0x9003: "2024:05:06 07:08:09",
        0xA431: "SERIAL-123",
        0xA430: "An Owner",
        0x927C: b"maker note with SERIAL-123",
        0x9286: b"ASCII\0\0\0comment SERIAL-123",
        0xA002: 99,
    }
    exif[GPS] = {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    Image.new("RGB", (60, 40), "gray").save(
        path, exif=exif.tobytes(), dpi=(300, 300), comment=b"SERIAL-123", **options
    )
    return path


def test_capture_facts_go_over_and_private_ones_do_not(tmp_path: Path) -> None:
    carried = read_carried(save(tmp_path / "a.jpg"), keep_private=False)
    assert carried.main == {0x010F: "Maker", MAIN: "Model X", 0x8298: "(c) someone"}
    assert set(carried.details) == {0x829A, 0x9003}
    assert carried.gps == {}
    assert carried.dpi == (300, 300)


def test_position_and_serial_numbers_go_over_when_asked_but_no_code_or_notes(
    tmp_path: Path,
) -> None:
    carried = read_carried(save(tmp_path / "a.jpg"), keep_private=True)
    assert carried.gps[1] == "N"
    assert carried.details[0xA431] == "SERIAL-123"
    assert not {0x927C, 0x9286} & set(carried.details)
    assert 0x010E not in carried.main


def test_the_output_s_exif_is_upright_and_has_the_new_size(tmp_path: Path) -> None:
    exif = describe_output(read_carried(save(tmp_path / "a.jpg"), keep_private=False), 40, 60)
    again = Image.Exif()
    again.load(exif.tobytes())
    assert again[0x0112] == 1
    assert again[0x0131].startswith("AuthFace")
    details = again.get_ifd(EXIF)
    assert (details[0xA002], details[0xA003]) == (40, 60)
    assert details[0x9003] == "2024:05:06 07:08:09"
    assert b"SERIAL" not in exif.tobytes()


def test_a_picture_without_metadata_brings_none(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    carried = read_carried(tmp_path / "a.png", keep_private=False)
    assert carried == Carried()


def test_unreadable_metadata_costs_a_note_and_not_the_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    carried = read_carried(tmp_path / "a.jpg", keep_private=False)
    assert "could not be read" in carried.notes[0]


def test_the_mark_is_valid_xmp_with_rating_and_label() -> None:
    mark = Mark(model="mine", model_sha256="a" * 64, seed=7, settings_sha256="b" * 64)
    packet = read_packet(xmp_packet(Carried(), mark, rating=4, label='a "b" <c> &'))
    assert value_of(packet, IPTC) == TYPES + "compositeWithTrainedAlgorithmicMedia"
    assert value_of(packet, "xmp:CreatorTool").startswith("AuthFace")
    said = [value_of(packet, f"authface:{n}") for n in ("Model", "ModelSHA256", "Seed")]
    assert said == ["mine", "a" * 64, "7"]
    assert value_of(packet, "authface:SettingsSHA256") == "b" * 64
    assert (value_of(packet, "xmp:Rating"), value_of(packet, "xmp:Label")) == ("4", 'a "b" <c> &')


def test_exif_names_software_model_and_seed() -> None:
    exif = describe_output(Carried(), 8, 8, Mark(model="mine", model_sha256="a" * 64, seed=7))
    again = Image.Exif()
    again.load(exif.tobytes())
    comment = again.get_ifd(EXIF)[0x9286]
    assert comment.startswith(b"ASCII\0\0\0")
    assert b"made by a model" in comment
    assert b"a" * 64 in comment
    assert b"seed 7" in comment


def test_without_a_mark_nothing_of_ours_is_in_the_file(tmp_path: Path) -> None:
    packet = (
        xmp_packet(Carried(), Mark(model="earlier"))
        .replace(b"compositeWithTrainedAlgorithmicMedia", b"digitalCapture")
        .replace(b"AuthFace", b"Lightroom")
    )
    carried = read_carried(save(tmp_path / "a.jpg", xmp=packet), keep_private=False)
    bare = xmp_packet(carried, None) + describe_output(carried, 8, 8, None).tobytes()
    assert b"authface" not in bare.lower()
    assert b"digitalsourcetype" not in bare.lower()
    assert b"Lightroom" in bare  # the input's own CreatorTool
    assert "not marked" in UNMARKED


@pytest.mark.parametrize("kind", ["trainedAlgorithmicMedia", "digitalCapture"])
def test_a_picture_that_a_model_made_is_not_laundered(tmp_path: Path, kind: str) -> None:
    packet = xmp_packet(Carried()).replace(b"compositeWithTrainedAlgorithmicMedia", kind.encode())
    path = save(tmp_path / "a.jpg", xmp=packet)
    carried = read_carried(path, keep_private=False)
    assert carried.source_type == kind
    kept = kind if kind == "trainedAlgorithmicMedia" else "compositeWithTrainedAlgorithmicMedia"
    assert f"digitalsourcetype/{kept}".encode() in xmp_packet(carried)


def test_a_thumbnail_never_goes_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (60, 40)).save(
        path, exif=b"Exif\0\0" + exif_with_thumbnail(b"\xff\xd8OLD FACE")
    )
    assert b"OLD FACE" in path.read_bytes()
    with Image.open(path) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == 10
    carried = read_carried(path, keep_private=True)
    assert carried.main == {MAIN: "X1"}
    again = Image.Exif()
    again.load(describe_output(carried, 60, 40).tobytes())
    assert again.get_ifd(ExifTags.IFD.IFD1) == {}
    assert b"OLD FACE" not in describe_output(carried, 60, 40).tobytes()


def exif_with_thumbnail(jpeg: bytes) -> bytes:
    """A TIFF of two directories: the model's name, and a thumbnail as cameras write it."""
    main = struct.pack("<HHHI4sI", 1, MAIN, 2, 3, b"X1", 26)
    where = 26 + 2 + 2 * 12 + 4
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, where, 0x0202, 4, 1, len(jpeg), 0)
    return b"II*\0\x08\0\0\0" + main + second + jpeg
