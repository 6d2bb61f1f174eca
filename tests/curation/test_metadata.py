from __future__ import annotations

import hashlib
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curation.decode import read_facts
from curation.metadata import capture_facts, place, read_exif
from curation.xmp import read_said, sidecars
from data_manifests.records import Capture, Rights

AS_ATTRIBUTE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="%s" xmp:Label="Rot"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
KEYWORD = AS_ATTRIBUTE.replace(
    b"/></rdf:RDF>",
    b' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>from xmp</rdf:li>'
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF>",
)


def full_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS R5"
    exif[0x013B], exif[0x8298] = "A. One", "(c) A. One"
    details = exif.get_ifd(0x8769)
    details |= {
        0xA431: "0123456789",
        0xA433: "Canon",
        0xA434: "RF85mm F1.2 L USM",
        0xA435: "987",
        0x9003: "2026:05:06 12:30:15",
        0x9011: "+02:00",
        0x9291: "25",
        0x829A: 0.004,
        0x829D: 1.4,
        0x920A: 85.0,
        0x8827: 100,
    }
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 24.84), 3: "E", 4: (151.0, 12.0, 0.0)})
    return exif


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jpg", "JPEG"),
        ("a.tif", "TIFF"),
        ("a.png", "PNG"),
        ("a.webp", "WEBP"),
        ("a.avif", "AVIF"),
    ],
)
def test_every_format_gives_the_same_facts(tmp_path: Path, name: str, format: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (64, 48), (120, 90, 70)).save(path, format, exif=full_exif().tobytes())
    facts = read_facts(path)
    assert facts.capture == Capture(
        camera="Canon EOS R5",
        lens="RF85mm F1.2 L USM",
        focal_length_mm=85.0,
        aperture_f=1.4,
        iso=100,
        shutter_s=0.004,
        taken_at=datetime(2026, 5, 6, 10, 30, 15, 250_000, tzinfo=UTC),
        body_serial=short_hash("Canon Canon EOS R5 0123456789"),
        lens_serial=short_hash("Canon RF85mm F1.2 L USM 987"),
    )
    assert facts.rights == Rights(creator="A. One", copyright="(c) A. One")
    assert (facts.latitude, facts.longitude) == (-33.8569, 151.2)
    assert facts.notes == ()


def test_a_serial_number_is_never_stored_plain(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=full_exif().tobytes())
    assert "0123456789" not in repr(read_facts(tmp_path / "a.jpg"))


@pytest.mark.parametrize("serial", ["", "0000000000", " ", None])
def test_no_serial_is_no_hash(serial: str | None) -> None:
    assert capture_facts({0x0110: "Cam"}, {0xA431: serial}).body_serial is None


def test_jpeg_quality_is_read_from_the_tables(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", quality=83)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert read_facts(tmp_path / "a.jpg").jpeg_quality == 83
    assert read_facts(tmp_path / "a.png").jpeg_quality is None


def iptc(*fields: tuple[int, int, bytes]) -> bytes:
    return b"".join(struct.pack(">BBBH", 0x1C, r, n, len(v)) + v for r, n, v in fields)


def write_with_iptc(path: Path, data: bytes, xmp: bytes = b"") -> None:
    block = (
        b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(data)) + data + b"\x00" * (len(data) % 2)
    )
    segment = b"Photoshop 3.0\x00" + block
    options: dict[str, Any] = {"xmp": xmp} if xmp else {}
    Image.new("RGB", (8, 8)).save(path, "JPEG", **options)
    jpeg = path.read_bytes()
    marker = b"\xff\xed" + struct.pack(">H", len(segment) + 2)
    path.write_bytes(jpeg[:2] + marker + segment + jpeg[2:])


FIELDS = iptc(
    (1, 90, b"\x1b%G"),
    (2, 80, "Zoë One".encode()),
    (2, 116, b"(c) Zoe"),
    (2, 25, b"studio"),
    (2, 25, b"two"),
    (2, 25, b"studio"),
)


def test_iptc_speaks_where_xmp_is_silent(tmp_path: Path) -> None:
    write_with_iptc(tmp_path / "a.jpg", FIELDS)
    facts = read_facts(tmp_path / "a.jpg")
    assert facts.keywords == ("studio", "two")
    assert facts.rights == Rights(creator="Zoë One", copyright="(c) Zoe")
    write_with_iptc(tmp_path / "b.jpg", FIELDS, KEYWORD % b"3")
    both = read_facts(tmp_path / "b.jpg")
    assert (both.keywords, both.xmp_rating) == (("from xmp",), 3)
    assert both.rights == facts.rights


def test_old_iptc_text_is_latin(tmp_path: Path) -> None:
    write_with_iptc(tmp_path / "a.jpg", iptc((2, 80, b"Zo\xeb")))
    assert read_facts(tmp_path / "a.jpg").rights == Rights(creator="Zoë")


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_damaged_metadata_never_costs_the_photo(tmp_path: Path, cut: int) -> None:
    write_with_iptc(tmp_path / "a.jpg", FIELDS[:cut])
    assert read_facts(tmp_path / "a.jpg").width == 8
    exif = bytearray(full_exif().tobytes())
    exif[12 + 5 * cut : 16 + 5 * cut] = b"\xff\xff\xff\xff"
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", exif=bytes(exif))
    assert read_facts(tmp_path / "b.jpg").width == 8


def test_a_directory_that_cannot_be_read_is_noted() -> None:
    class Broken(dict[int, Any]):
        def get_ifd(self, tag: int) -> dict[int, Any]:
            if tag == 0x8825:
                raise SyntaxError("broken")
            return {0x8827: 200}

    said = read_exif(Broken({0x0110: "Cam"}))
    assert said.capture == Capture(camera="Cam", iso=200)
    assert said.notes == ("EXIF unreadable",)


def test_both_sidecar_names_are_found_and_the_newer_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, "JPEG")
    (tmp_path / "a.xmp").write_bytes(AS_ATTRIBUTE % b"2")
    (tmp_path / "a.jpg.xmp").write_bytes(AS_ATTRIBUTE % b"4")
    os.utime(tmp_path / "a.jpg.xmp", (1, 1))
    assert [p.name for p in sidecars(path)] == ["a.xmp", "a.jpg.xmp"]
    facts = read_facts(path)
    assert facts.xmp_rating == 2
    assert facts.notes == ("its sidecars disagree about the rating: the newest says 2",)


def test_an_embedded_rating_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", "JPEG", xmp=AS_ATTRIBUTE % b"3")
    facts = read_facts(tmp_path / "a.jpg")
    assert (facts.xmp_rating, facts.xmp_label) == (3, "Rot")
    assert read_said(tmp_path / "a.jpg", AS_ATTRIBUTE % b"1").rating == 1


def test_odd_exif_values_become_nothing() -> None:
    class Broken:
        def __float__(self) -> float:
            raise ZeroDivisionError

    odd = {0x920A: Broken(), 0x829D: float("nan"), 0x8827: (), 0x9003: "yesterday", 0xA434: 5}
    assert capture_facts({0x0110: "Cam\x1b[31m\n"}, odd) == Capture(camera="Cam[31m")


@pytest.mark.parametrize(
    ("offset", "hour"), [("+02:00", 10), ("-05:30", 18), (None, 12), ("bad", 12), ("   :  ", 12)]
)
def test_times_are_utc_and_a_bad_offset_counts_as_none(offset: str | None, hour: int) -> None:
    taken = capture_facts({}, {0x9003: "2026:05:06 12:30:00", 0x9011: offset}).taken_at
    assert taken is not None
    assert (taken.hour, taken.tzinfo) == (hour, UTC)


@pytest.mark.parametrize(
    "gps",
    [
        {},
        {1: "N", 2: (float("nan"), 0, 0), 3: "E", 4: (1, 2, 3)},
        {1: "N", 2: (91.0, 0, 0), 3: "E", 4: (1, 2, 3)},
        {1: "N", 2: (1, 2), 3: "E", 4: (1, 2, 3)},
        {1: "N", 2: (1, 2, 3)},
    ],
)
def test_a_place_is_whole_or_nothing(gps: dict[int, Any]) -> None:
    assert place(gps) == (None, None)


def test_real_photos_say_what_their_cameras_wrote(shared: Path) -> None:
    facts = read_facts(shared / "photos" / "portraits" / "20200320.101220.jpg")
    assert facts.capture is not None
    assert facts.capture.camera == "Apple iPhone 6s Plus"
    assert (facts.latitude, facts.longitude) == (39.67715, 106.7946611)
