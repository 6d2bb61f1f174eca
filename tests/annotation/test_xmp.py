"""What photographers say in XMP is taken as an answer, and decisions go back without harm."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from annotation.sidecars import BACKUP, Planned, Settled, plan, write
from annotation.xmp import UNEXPLAINED, Packet, Reading, XmpRules, read_answer, to_row
from annotation.xmp_names import AF, DC, LR, PHOTOSHOP, XMP
from annotation.xmp_write import Wanted, rewrite
from data_manifests.errors import InputError
from data_manifests.records import Annotation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = XmpRules({"Red": "retouch"})
WANTED = Wanted(
    "ab" * 32,
    rating=4,
    pick=1,
    label="Red",
    keywords=("authface|decision|retouch", "authface|gaze|looking_aside"),
    caption="A woman & a man",
    instructions="Soften the shadow",
)
LIGHTROOM = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<!-- made by hand -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:Rating="2"
   xmp:Label="Lilac"
   tiff:Orientation="6"
   crs:Exposure2012="+0.35">
   <crs:ToneCurvePV2012>
    <rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurvePV2012>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">Old words</rdf:li>
     <rdf:li xml:lang="de">Eine Frau</rdf:li>
    </rdf:Alt>
   </dc:description>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>park</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>places|park</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
                    \n<?xpacket end="w"?>"""


def packet(
    where: str = "IMG.xmp",
    *,
    rating: int | None = None,
    label: str | None = None,
    pick: int | None = None,
    at: datetime = NOW,
    **values: Sequence[str],
) -> Packet:
    names = {
        "keywords": f"{LR}hierarchicalSubject",
        "description": f"{DC}description",
        "edited": f"{XMP}MetadataDate",
        "extension": f"{PHOTOSHOP}SidecarForExtension",
        "wrote": f"{AF}wrote",
    }
    found = {names[k]: v for k, v in values.items()}
    return Packet(where, rating, label, pick, (), lambda name: found.get(name, ()), at)


def read(*packets: Packet, rules: XmpRules = RULES, suffix: str = ".NEF") -> Reading:
    return read_answer(packets, suffix=suffix, rules=rules)


@pytest.mark.parametrize(
    ("said", "decision"),
    [
        (packet(pick=1), "accept"),
        (packet(pick=-1, rating=5), "reject"),
        (packet(rating=-1), "reject"),
        (packet(pick=1, label="red"), "retouch"),
        (packet(label="Red"), "retouch"),
        (packet(pick=-1, keywords=["authface|decision|accept"]), "accept"),
        (packet(rating=4), None),
    ],
)
def test_a_keyword_decides_before_the_flag_and_the_flag_before_the_stars(
    said: Packet, decision: str | None
) -> None:
    answer = read(said).answer
    assert answer is not None
    assert answer.decision == decision


@pytest.mark.parametrize(
    "said",
    [packet(), packet(rating=0, pick=0), packet(description=["My holidays"]), packet(label="Lila")],
)
def test_what_is_not_rated_is_no_answer(said: Packet) -> None:
    assert read(said).answer is None


def test_an_unknown_label_and_an_unknown_value_are_told_and_never_guessed() -> None:
    found = read(packet(rating=3, label="Lila", keywords=["authface|gaze|sideways", "places|park"]))
    assert found.answer is not None
    assert (found.answer.decision, found.answer.photographic_tags) == (None, ())
    assert json.loads(found.answer.raw)["label"] == "Lila"
    assert ["Lila" in n or "sideways" in n for n in found.notes] == [True, True]


def test_a_reject_without_a_reason_counts_and_is_marked() -> None:
    def row(*keywords: str, note: str | None = None) -> Annotation:
        found = read(packet(pick=-1, keywords=keywords)).answer
        assert found is not None
        return to_row(replace(found, note=note), "p", who="a")

    assert (row().state, row().flags) == ("counted", (UNEXPLAINED,))
    assert row("authface|reject_reason|noise").flags == ()
    other = "authface|reject_reason|other"
    assert (row(other).flags, row(other, note="a strap").flags) == ((UNEXPLAINED,), ())


def test_stars_mean_accept_only_where_the_settings_say_so() -> None:
    rules = XmpRules({}, accept_stars=4)
    told = [read(packet(rating=n), rules=rules).answer for n in (3, 4)]
    assert [a and a.decision for a in told] == [None, "accept"]


def test_two_packets_that_disagree_are_a_conflict_and_the_newer_date_counts() -> None:
    old = packet("", rating=5, pick=1, at=NOW + timedelta(days=9), edited=["2026-01-01T10:00:00"])
    new = packet(pick=-1, edited=["2026-01-01T12:00:00+01:00"])
    found = read(old, new)
    assert found.answer is not None
    assert found.answer.decision == "reject"
    assert "disagree" in found.notes[0]


def test_a_sidecar_of_the_other_file_of_a_pair_is_not_read() -> None:
    assert read(packet(pick=1, extension=["NEF"]), suffix=".JPG").answer is None
    assert read(packet(pick=1, extension=["nef"])).answer is not None


def test_what_a_camera_writes_is_no_caption() -> None:
    texts = ("OLYMPUS DIGITAL CAMERA", "A woman at a window")
    answers = [read(packet(pick=1, description=[text])).answer for text in texts]
    assert [a and a.caption for a in answers] == [None, "A woman at a window"]


def test_our_own_words_are_no_answer_until_somebody_changes_them() -> None:
    written = rewrite(None, WANTED, at=NOW).data
    assert parsed(written) == Reading(ours=True)
    changed = parsed(written.replace(b'xmp:Rating="4"', b'xmp:Rating="5"')).answer
    assert changed is not None
    assert (changed.decision, changed.rating, changed.caption) == ("retouch", 5, None)


def parsed(data: bytes) -> Reading:
    from curation.xmp import read_properties, said_in

    of = read_properties(data, [], "it")
    assert of is not None
    said = said_in(of)
    return read(Packet("I.xmp", said.rating, said.label, said.pick, said.keywords, of.all, NOW))


def test_everything_that_is_not_ours_stays_as_it_was() -> None:
    done = rewrite(LIGHTROOM, WANTED, at=NOW, labels=["Red"])
    assert done.data.startswith(LIGHTROOM[: LIGHTROOM.index(b"<x:xmpmeta")])
    assert done.data.endswith(LIGHTROOM[LIGHTROOM.index(b"</x:xmpmeta>") :])
    before, after = (etree.fromstring(d) for d in (LIGHTROOM, done.data))
    for name in ("{http://ns.adobe.com/camera-raw-settings/1.0/}ToneCurvePV2012",):
        assert c14n(before.find(f".//{name}")) == c14n(after.find(f".//{name}"))
    described = after.find(".//{*}Description")
    assert described.get("{http://ns.adobe.com/tiff/1.0/}Orientation") == "6"
    assert described.get("{http://ns.adobe.com/camera-raw-settings/1.0/}Exposure2012") == "+0.35"
    assert described.get(f"{XMP}Label") == "Lilac"
    assert "Lilac" in done.notes[0]
    texts = [li.text for li in after.iter("{*}li")]
    assert {"park", "places|park", "Eine Frau", "A woman & a man"} <= set(texts)
    assert "Old words" not in texts
    assert len(after.findall(".//{*}hierarchicalSubject/{*}Bag")) == 1


def c14n(node: etree._Element) -> bytes:
    return bytes(etree.tostring(node, method="c14n", with_tail=False))


def test_a_second_write_changes_no_byte_and_an_empty_one_takes_ours_back() -> None:
    once = rewrite(LIGHTROOM, WANTED, at=NOW).data
    assert rewrite(once, WANTED, at=NOW + timedelta(days=1)).data == once
    bare = rewrite(once, Wanted("ab" * 32), at=NOW).data
    assert b"authface|" not in bare.replace(b'af:wrote="', b"")
    assert b"Eine Frau" in bare
    assert b"<rdf:li>park</rdf:li>" in bare


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><x/>',
        '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode("utf-16"),
        b"<x>",
        b"<x/>",
        b"",
        b" " * 1_000_001,
    ],
)
def test_a_document_type_a_bomb_and_what_is_no_xmp_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        rewrite(data, WANTED, at=NOW)


def planned(photo: Path, *, is_raw: bool = False) -> list[Planned]:
    from curation.xmp import sidecars

    return plan(Settled(photo, WANTED, is_raw), existing=sidecars, labels=["Red"], at=NOW)


def test_the_first_state_is_kept_and_the_original_never_touched(tmp_path: Path) -> None:
    photo, sidecar = tmp_path / "IMG.jpg", tmp_path / "IMG.xmp"
    photo.write_bytes(b"pixels")
    sidecar.write_bytes(LIGHTROOM)
    sidecar.chmod(0o600)
    for one in planned(photo):
        write(one)
    assert (tmp_path / f"IMG.xmp{BACKUP}").read_bytes() == LIGHTROOM
    assert photo.read_bytes() == b"pixels"
    assert sidecar.stat().st_mode & 0o777 == 0o600
    assert not any(p.changes for p in planned(photo))


def test_a_sidecar_that_changed_meanwhile_or_is_a_link_is_left_alone(tmp_path: Path) -> None:
    photo, sidecar = tmp_path / "IMG.jpg", tmp_path / "IMG.xmp"
    photo.touch()
    sidecar.write_bytes(LIGHTROOM)
    (one,) = planned(photo)
    sidecar.write_bytes(LIGHTROOM + b"\n")
    with pytest.raises(InputError, match="meanwhile"):
        write(one)
    sidecar.rename(tmp_path / "elsewhere")
    sidecar.symlink_to(tmp_path / "elsewhere")
    assert "link" in planned(photo)[0].wrong


def test_a_raw_and_its_jpeg_get_a_sidecar_each(tmp_path: Path) -> None:
    raw, jpeg = tmp_path / "IMG.NEF", tmp_path / "IMG.JPG"
    raw.touch()
    jpeg.touch()
    names = []
    for photo in (jpeg, raw):
        (one,) = planned(photo, is_raw=photo is raw)
        write(one)
        names.append(one.sidecar.name)
    assert names == ["IMG.JPG.xmp", "IMG.xmp"]
    assert b'SidecarForExtension="NEF"' in (tmp_path / "IMG.xmp").read_bytes()


def test_exiftool_reads_what_was_written(tmp_path: Path) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    file = tmp_path / "IMG.xmp"
    file.write_bytes(rewrite(LIGHTROOM, WANTED, at=NOW).data)
    asked = ["exiftool", "-j", "-G1", "-struct", str(file)]
    told = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)[0]
    assert told["XMP-xmp:Rating"] == 4
    assert told["XMP-dc:Description"] == "A woman & a man"
    assert told["XMP-dc:Subject"] == ["park", "retouch", "looking_aside"]
    assert told["XMP-lr:HierarchicalSubject"][0] == "places|park"
    assert told["XMP-crs:Exposure2012"] in (0.35, "+0.35")


def test_packets_are_read_from_the_file_and_from_beside_it(
    tmp_path: Path, portrait: object
) -> None:
    from PIL import Image

    from curation.packets import read_packets

    assert isinstance(portrait, Image.Image)
    photo = tmp_path / "IMG.jpg"
    portrait.save(photo, xmp=LIGHTROOM)
    (tmp_path / "IMG.jpg.xmp").write_bytes(rewrite(None, WANTED, at=NOW).data)
    (tmp_path / "IMG.xmp").write_bytes(b"<damaged")
    packets, notes = read_packets(photo)
    assert [(p.where, p.said.rating) for p in packets] == [("IMG.jpg.xmp", 4), ("", 2)]
    assert "unreadable" in notes[0]
