from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from curation.xmp import EDITED, Said, fill_rights, parse_xmp, read_said, sidecars
from data_manifests.records import Rights

SPACES = (
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:xmpDM="http://ns.adobe.com/xmp/1.0/DynamicMedia/"'
    ' xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
    ' xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
    ' xmlns:darktable="http://darktable.sf.net/"'
    ' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
)


def packet(attributes: str = "", elements: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description {SPACES} {attributes}>{elements}</rdf:Description>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize(
    ("text", "rating"),
    [("-1", -1), ("0", 0), ("5", 5), ("3.0", 3), ("7", None), ("x", None), ("nan", None)],
)
def test_ratings_are_read_as_written(text: str, rating: int | None) -> None:
    said = Said(rating=rating, label="Rot")
    assert parse_xmp(packet(f'xmp:Rating="{text}" xmp:Label="Rot"')) == said
    inner = f"<xmp:Rating>{text}</xmp:Rating><xmp:Label> Rot\n</xmp:Label>"
    assert parse_xmp(packet(elements=inner)) == said


def test_a_rating_of_zero_is_not_a_missing_one() -> None:
    assert parse_xmp(packet('xmp:Rating="0"')).rating == 0
    assert parse_xmp(packet('xmp:Label="Red"')).rating is None


@pytest.mark.parametrize(
    ("attributes", "pick"),
    [
        ('xmpDM:pick="1"', 1),
        ('xmpDM:pick="0"', 0),
        ('xmpDM:pick="-1"', -1),
        ('xmpDM:good="True"', 1),
        ('xmpDM:good="false"', -1),
        ('xmpDM:pick="true"', 1),
        ('xmpDM:pick="0" xmpDM:good="true"', 0),
        ('xmpDM:pick="9"', None),
        ("", None),
    ],
)
def test_flags_are_read_as_number_or_in_their_older_form(attributes: str, pick: int | None) -> None:
    assert parse_xmp(packet(attributes)).pick == pick


def test_keywords_and_rights_come_from_lists_languages_and_addresses() -> None:
    said = parse_xmp(
        packet(
            'photoshop:Credit="An agency"',
            "<dc:subject><rdf:Bag><rdf:li>studio</rdf:li><rdf:li>Ärztin</rdf:li>"
            "<rdf:li>studio</rdf:li><rdf:li/></rdf:Bag></dc:subject>"
            "<dc:creator><rdf:Seq><rdf:li>A. One</rdf:li><rdf:li>B. Two</rdf:li></rdf:Seq>"
            "</dc:creator>"
            '<dc:rights><rdf:Alt><rdf:li xml:lang="de">Alle Rechte</rdf:li>'
            '<rdf:li xml:lang="x-default">All rights</rdf:li></rdf:Alt></dc:rights>'
            '<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang="x-default">Ask\nfirst</rdf:li>'
            "</rdf:Alt></xmpRights:UsageTerms>"
            '<plus:ModelReleaseStatus rdf:resource="http://ns.useplus.org/ldf/vocab/MR-UMR"/>'
            "<plus:ModelReleaseID><rdf:Bag><rdf:li>r-17</rdf:li></rdf:Bag></plus:ModelReleaseID>"
            "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED</plus:DataMining>",
        )
    )
    assert said.keywords == ("studio", "Ärztin")
    assert said.rights == Rights(
        creator="A. One, B. Two",
        copyright="All rights",
        usage_terms="Ask first",
        model_release="MR-UMR",
        model_release_ids=("r-17",),
        data_mining="DMI-PROHIBITED",
    )


def test_what_stands_inside_a_history_or_an_ingredient_is_not_about_this_photo() -> None:
    nested = (
        "<xmpMM:Ingredients><rdf:Bag><rdf:li><rdf:Description xmp:Rating='5' xmp:Label='x'/>"
        "</rdf:li></rdf:Bag></xmpMM:Ingredients>"
    )
    assert parse_xmp(packet(elements=nested)) == Said()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<not xml",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
        b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
        b"<a>" * 200_000,
        packet('xmp:Rating="3"') + b" " * 2_000_000,
        b"\xff\xfe" + b"\x00" * 50,
    ],
)
def test_hostile_packets_say_nothing_and_raise_nothing(data: bytes) -> None:
    assert parse_xmp(data) == Said()


def test_hostile_files_end_within_a_second_and_open_nothing(shared: Path) -> None:
    files = sorted((shared / "hostile" / "xmp").iterdir())
    assert files
    start = time.perf_counter()
    ratings = {f.name: parse_xmp(f.read_bytes()).rating for f in files}
    assert time.perf_counter() - start < len(files)
    assert [name for name, rating in ratings.items() if rating] == ["exiv2__issue_1959_poc.xmp"]


def write(folder: Path, name: str, data: bytes, *, age_s: int = 0) -> Path:
    path = folder / name
    path.write_bytes(data)
    if age_s:
        stamp = time.time() - age_s
        os.utime(path, (stamp, stamp))
    return path


def test_the_newest_sidecar_wins_and_the_contradiction_is_noted(tmp_path: Path) -> None:
    photo = write(tmp_path, "a.NEF", b"raw")
    write(tmp_path, "a.NEF.xmp", packet('xmp:Rating="2" xmp:Label="Red"'), age_s=100)
    write(tmp_path, "a.xmp", packet('xmp:Rating="4"'))
    assert [p.name for p in sidecars(photo)] == ["a.xmp", "a.NEF.xmp"]
    said = read_said(photo, packet('xmp:Rating="1" xmpDM:pick="1"'))
    assert (said.rating, said.label, said.pick) == (4, "Red", 1)
    assert said.notes == ("its sidecars disagree about the rating: the newest says 4",)


def test_a_newer_sidecar_may_take_a_rating_back(tmp_path: Path) -> None:
    photo = write(tmp_path, "a.NEF", b"raw")
    write(tmp_path, "a.xmp", packet('xmp:Rating="0"'))
    assert read_said(photo, packet('xmp:Rating="5"')).rating == 0


def test_the_jpeg_of_a_raw_pair_does_not_take_the_raws_sidecar(tmp_path: Path) -> None:
    jpeg = write(tmp_path, "a.jpg", b"jpeg")
    raw = write(tmp_path, "a.NEF", b"raw")
    write(tmp_path, "a.xmp", packet('xmp:Rating="2"'))
    assert sidecars(jpeg) == ()
    assert [p.name for p in sidecars(raw)] == ["a.xmp"]


ADOBE = 'crs:Exposure2012="+0.35"'
DARKTABLE = 'darktable:history_auto_hash="aa" darktable:history_current_hash='


@pytest.mark.parametrize(
    ("name", "attributes", "edited"),
    [
        ("a.CR3", ADOBE, True),
        ("a.CR3", 'crs:RawFileName="a.CR3"', False),
        ("a.CR3", ADOBE + ' crs:HasSettings="False"', False),
        ("a.CR3", ADOBE + ' crs:AlreadyApplied="True"', False),
        ("a.CR3", DARKTABLE + '"bb"', True),
        ("a.CR3", DARKTABLE + '"aa"', False),
        ("a.jpg", ADOBE, False),
    ],
)
def test_develop_settings_beside_a_raw_are_noted(
    tmp_path: Path, name: str, attributes: str, edited: bool
) -> None:
    photo = write(tmp_path, name, b"photo")
    write(tmp_path, "a.xmp", packet(attributes))
    said = read_said(photo, b"")
    assert (said.developed, EDITED in said.notes) == (edited, edited)


def test_settings_that_a_converted_dng_carries_inside_are_no_edit(shared: Path) -> None:
    data = (shared / "raw" / "skia_sample_1mp.dng").read_bytes()
    start = data.index(b"<x:xmpmeta")
    inside = data[start : data.index(b"</x:xmpmeta>") + 12]
    assert parse_xmp(inside).developed
    assert not read_said(Path("/nowhere/skia_sample_1mp.dng"), inside).developed


def test_damaged_and_oversized_sidecars_are_noted_and_cost_nothing(tmp_path: Path) -> None:
    photo = write(tmp_path, "a.jpg", b"jpeg")
    write(tmp_path, "a.jpg.xmp", b"<broken")
    write(tmp_path, "a.xmp", packet('xmp:Rating="1"') + b" " * 1_000_000)
    said = read_said(photo, packet('xmp:Rating="3"'))
    assert said.rating == 3
    assert set(said.notes) == {
        "XMP of a.jpg.xmp unreadable",
        "XMP of a.xmp is larger than 1 MB and was not read",
    }


def test_rights_fill_each_others_gaps() -> None:
    one, other = Rights(creator="A"), Rights(creator="B", copyright="C")
    assert fill_rights(one, other) == Rights(creator="A", copyright="C")
    assert fill_rights(None, other) is other
    assert fill_rights(None, None) is None
