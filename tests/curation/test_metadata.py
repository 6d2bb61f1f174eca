from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from curation.decode import read_facts
from curation.metadata import Judgement, capture_facts, parse_xmp, sidecars
from data_manifests.records import Capture

AS_ATTRIBUTE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="%s" xmp:Label="Rot"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
AS_ELEMENT = AS_ATTRIBUTE.replace(
    b'xmp:Rating="%s" xmp:Label="Rot"/>',
    b"><xmp:Rating>%s</xmp:Rating><xmp:Label>Rot</xmp:Label></rdf:Description>",
)


@pytest.mark.parametrize("packet", [AS_ATTRIBUTE, AS_ELEMENT])
@pytest.mark.parametrize(
    ("text", "rating"), [(b"-1", -1), (b"0", 0), (b"5", 5), (b"7", None), (b"x", None)]
)
def test_ratings_are_read_as_written(packet: bytes, text: bytes, rating: int | None) -> None:
    assert parse_xmp(packet % text) == Judgement(rating, "Rot")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<not xml",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
        b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
        b"<a>" * 200_000,
        AS_ATTRIBUTE % b"3" + b" " * 2_000_000,
    ],
)
def test_hostile_packets_say_nothing_and_raise_nothing(packet: bytes) -> None:
    assert parse_xmp(packet) == Judgement()


def write_photo_and(folder: Path, name: str, **packets: bytes) -> Path:
    path = folder / name
    Image.new("RGB", (8, 8)).save(path, "JPEG")
    for sidecar, packet in packets.items():
        (folder / sidecar.replace("_dot_", ".")).write_bytes(packet)
    return path


def test_both_sidecar_names_are_found_and_the_newer_wins(tmp_path: Path) -> None:
    path = write_photo_and(
        tmp_path, "a.jpg", a_dot_xmp=AS_ATTRIBUTE % b"2", a_dot_jpg_dot_xmp=AS_ATTRIBUTE % b"4"
    )
    os.utime(tmp_path / "a.jpg.xmp", (1, 1))
    assert [p.name for p in sidecars(path)] == ["a.xmp", "a.jpg.xmp"]
    assert read_facts(path).xmp_rating == 2


def test_the_jpeg_of_a_raw_pair_does_not_take_the_raws_sidecar(tmp_path: Path) -> None:
    path = write_photo_and(tmp_path, "a.jpg", a_dot_xmp=AS_ATTRIBUTE % b"2", a_dot_NEF=b"raw")
    assert sidecars(path) == ()
    assert [p.name for p in sidecars(tmp_path / "a.NEF")] == ["a.xmp"]


def test_an_embedded_rating_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", "JPEG", xmp=AS_ATTRIBUTE % b"3")
    facts = read_facts(tmp_path / "a.jpg")
    assert (facts.xmp_rating, facts.xmp_label) == (3, "Rot")


def test_odd_exif_values_become_nothing() -> None:
    class Broken:
        def __float__(self) -> float:
            raise ZeroDivisionError

    odd = {0x920A: Broken(), 0x829D: float("nan"), 0x8827: (), 0x9003: "yesterday", 0xA434: 5}
    assert capture_facts({0x0110: "Cam\x1b[31m\n"}, odd) == Capture(camera="Cam[31m")
