"""Imports: four layouts of others, hostile ones too, become rows that a build makes samples of."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms

from data_manifests.assemble import BuildConfig, build
from data_manifests.consent import grant, withdraw
from data_manifests.errors import ConsentError, InputError
from data_manifests.export import Order, export
from data_manifests.import_rows import Origin
from data_manifests.importing import Outcome, Rules, Source, import_entries, open_source
from data_manifests.log import commits
from data_manifests.media import Workspace
from data_manifests.outgoing import ExportConfig
from data_manifests.records import Annotation, Consensus, Consent, Face, Photo, Sample, Tombstone
from data_manifests.store import Store
from data_manifests.tombstones import mark_of, open_key

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SIDE = 512


def settle(photo_id: str, answers: Sequence[Annotation]) -> Consensus:
    """The first decided answer in the order of ids: enough for one voice."""
    voters = [a for a in answers if a.state == "counted" and a.decision]
    said = next(iter(sorted(voters, key=lambda a: a.annotation_id)), None)
    return Consensus(
        photo_id=photo_id,
        decision=said.decision if said else None,
        voters=len(voters),
        conflict=False,
        caption=said.caption if said else None,
        semantic_tags=said.semantic_tags if said else (),
        photographic_tags=said.photographic_tags if said else (),
        annotation_ids=tuple(a.annotation_id for a in voters),
    )


COLUMNS = {
    "decision": "decision",
    "caption": "caption",
    "note": "note",
    "gender": "semantic",
    "focus": "photographic",
    "reject_reason": "reasons",
}
RULES = Rules(settle, COLUMNS)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "w")
    began = NOW - timedelta(days=1)
    terms = Consent(
        consent_id="c", purposes=("training", "publish"), basis="release", valid_from=began
    )
    grant(Store(place.tables), terms)
    return place


def picture(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE), **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wide, high = size
    ramp_HWC = np.indices((high, wide)).sum(axis=0)[..., None] + np.array([seed * 7, seed * 31, 0])
    Image.fromarray((ramp_HWC % 256).astype(np.uint8)).save(path, **save)
    return path


def taken(
    place: Workspace, source: Source, *, dry: bool = False, rules: Rules = RULES, **origin: Any
) -> dict[str, Outcome]:
    given = Origin(**({"name": "set", "consent_id": "c"} | origin))
    media = None if dry else place.media
    told = list(import_entries(Store(place.tables), media, source, given, rules, NOW))
    names = {o.name: o for o in told}
    assert len(names) == len(told), "an entry is told twice"
    return names


def states(told: dict[str, Outcome]) -> dict[str, str]:
    return {name: o.reason or o.state for name, o in told.items()}


def rows(place: Workspace) -> dict[str, list[Any]]:
    store = Store(place.tables)
    nouns = (Photo, Face, Annotation, Consensus)
    return {noun.__name__: store.read(noun) for noun in nouns}


def hq(folder: Path) -> Path:
    said: list[Any] = [
        "close-up portrait, woman, soft light",
        {"caption": "a man who laughs"},
        {"semantic": "close-up, man", "photographic": ["sharp focus", "frontal view"]},
        {"d.png": "named by its file"},
        ["woman", "red hair"],
    ]
    genders = ("woman", "man", "man", "woman", "woman")
    for number, (gender, words) in enumerate(zip(genders, said, strict=True)):
        name = "abcde"[number]
        picture(folder / gender / f"{name}.png", number)
        (folder / gender / f"{name}_qwen.json").write_text(json.dumps(words))
    return folder


def test_the_authface_hq_layout_becomes_samples_with_words(
    place: Workspace, tmp_path: Path
) -> None:
    told = taken(place, open_source("authface-hq", hq(tmp_path / "hq")), licence="Unsplash")
    assert {o.state for o in told.values()} == {"imported"}
    store = Store(place.tables)
    built = build(store, BuildConfig(), NOW)
    captions = {
        Path(p.path).stem: c.caption
        for p in store.read(Photo)
        for c in store.read(Consensus)
        if c.photo_id == p.photo_id
    }
    assert captions == {
        "a": "close-up portrait, woman, soft light",
        "b": "a man who laughs",
        "c": "close-up, man, sharp focus, frontal view",
        "d": "named by its file",
        "e": "woman, red hair",
    }
    tags = {
        Path(p.path).stem: a
        for p in store.read(Photo)
        for a in store.read(Annotation)
        if a.photo_id == p.photo_id
    }
    assert tags["c"].semantic_tags == ("gender/man", "semantic/close-up", "semantic/man")
    assert tags["c"].photographic_tags == ("photographic/sharp focus", "photographic/frontal view")
    assert {p.licence for p in store.read(Photo)} == {"Unsplash"}
    assert len(built.samples) == 5
    for sample in built.samples:
        crop = (place.media / sample.crop_path).read_bytes()
        assert Image.open(io.BytesIO(crop)).size == (SIDE, SIDE)
        assert sample.annotation_ids == (f"import:set:{sample.photo_id}",)
        assert (sample.native_width, sample.consent_id) == (SIDE, "c")


def test_what_has_no_partner_or_another_shape_is_named(place: Workspace, tmp_path: Path) -> None:
    folder = hq(tmp_path / "hq")
    picture(folder / "woman/alone.png", 11)
    picture(folder / "stray.png", 12)
    (folder / "man/ghost_qwen.json").write_text('"words without a picture"')
    (folder / "README.txt").write_text("hello")
    shapes = {
        "number": "3",
        "deep": '{"a": {"b": 1}}',
        "broken": '{"a": ',
        "empty": '""',
        "nul": "null",
    }
    for number, (name, text) in enumerate(shapes.items()):
        picture(folder / f"man/{name}.png", 20 + number)
        (folder / f"man/{name}_qwen.json").write_text(text)
    told = states(taken(place, open_source("authface-hq", folder)))
    assert told["woman/alone.png"] == "no_caption"
    assert told["stray.png"] == "not_in_woman_or_man"
    assert told["man/ghost_qwen.json"] == "no_picture"
    assert told["README.txt"] == "neither_picture_nor_caption"
    for name in ("number", "deep", "empty", "nul"):
        assert told[f"man/{name}.png"] == "json_of_another_shape"
    assert told["man/broken.png"].startswith("damaged_json: it is no JSON")
    assert sum(state == "imported" for state in told.values()) == 5
    assert len(Store(place.tables).read(Photo)) == 5


def test_captions_come_from_txt_json_and_metadata(place: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate(("a.png", "b.jpg", "c.png", "sub/d.png", "e.png", "f.png")):
        picture(folder / name, number)
    (folder / "a.txt").write_text("  from a\ttext file\n")
    (folder / "b.json").write_text('{"caption": "from JSON", "seed": 3}')
    (folder / "c.json").write_text('{"seed": 3}')
    (folder / "c.txt").write_text("the text file counts then")
    (folder / "sub/metadata.jsonl").write_text('{"file_name": "d.png", "text": "by its row"}\n\n')
    lines = [
        '{"file_name": "e.png", "caption": "line", "semantic_tags": ["gender/man"]}',
        '{"file_name": "f.png"}',
        '{"file_name": "gone.png", "text": "x"}',
        '{"file_name": "../secret.png", "text": "x"}',
        '{"file_name": "/etc/passwd", "text": "x"}',
        "not JSON",
        '{"text": "x"}',
        '{"file_name": "e.png", "text": "again"}',
        "[1]",
    ]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    told = states(taken(place, open_source("captions", folder)))
    assert {n: s for n, s in told.items() if s == "imported"}.keys() == {
        *("a.png", "b.jpg", "c.png", "sub/d.png", "e.png")
    }
    assert told["f.png"] == "no_caption"
    where = [told[f"metadata.jsonl:{n}"] for n in range(2, 10)]
    assert where[0] == "no_caption"
    assert where[1:4] == ["no_such_file", "outside_the_folder", "outside_the_folder"]
    assert where[4].startswith("damaged_json")
    assert where[5:] == ["no_file_name", "named_twice", "no_file_name"]
    store = Store(place.tables)
    captions = {a.caption for a in store.read(Annotation)}
    assert captions == {
        "from atext file",
        "from JSON",
        "the text file counts then",
        "by its row",
        "line",
    }
    assert (
        json.loads(next(a.raw for a in store.read(Annotation) if a.caption == "from JSON"))["seed"]
        == 3
    )


def test_a_second_import_changes_no_row_and_a_changed_caption_one(
    place: Workspace, tmp_path: Path
) -> None:
    folder = hq(tmp_path / "hq")
    taken(place, open_source("authface-hq", folder))
    before, versions = rows(place), Store(place.tables).versions()
    told = taken(place, open_source("authface-hq", folder))
    assert {o.state for o in told.values()} == {"known"}
    assert (rows(place), Store(place.tables).versions()) == (before, versions)
    (folder / "woman/a_qwen.json").write_text('"other words"')
    told = taken(place, open_source("authface-hq", folder))
    assert [n for n, o in told.items() if o.state == "answered"] == ["woman/a.png"]
    after = rows(place)
    assert (after["Photo"], after["Face"]) == (before["Photo"], before["Face"])
    assert len(after["Annotation"]) == 5
    assert "other words" in {c.caption for c in after["Consensus"]}


def test_the_logs_do_not_tell_what_a_set_is_called(place: Workspace, tmp_path: Path) -> None:
    taken(place, open_source("authface-hq", hq(tmp_path / "hq")), name="anna-privately")
    tables = [p.parent for p in place.tables.rglob("_delta_log")]
    told = [commit.info.get("authface_why", "") for table in tables for commit in commits(table)]
    assert told.count("import") == 4
    assert [why for why in told if "anna" in why] == []


def test_a_dry_run_writes_nothing(place: Workspace, tmp_path: Path) -> None:
    told = taken(place, open_source("authface-hq", hq(tmp_path / "hq")), dry=True)
    assert {o.state for o in told.values()} == {"imported"}
    assert rows(place)["Photo"] == []
    assert not place.media.exists()


def test_a_photo_that_is_known_keeps_its_rows_and_gains_the_answer(
    place: Workspace, tmp_path: Path
) -> None:
    store = Store(place.tables)
    source = open_source("authface-hq", hq(tmp_path / "hq"))
    taken(place, source)
    photo = store.read(Photo)[0]
    mine = replace(photo, photographer="p", ingest_key="ours", state="set_aside", consent_id="d")
    store.upsert(Photo, [mine], why="test")
    told = taken(place, source, name="other")
    assert {o.state for o in told.values()} == {"answered"}
    assert [o.other_consent for o in told.values()].count(True) == 1
    assert mine in store.read(Photo)
    assert len(store.read(Annotation)) == 10
    assert len(store.read(Face)) == 5


def test_the_same_picture_twice_is_one_photo(place: Workspace, tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"in/{name}.png", 1)
        (tmp_path / f"in/{name}.txt").write_text(f"caption {name}")
    told = states(taken(place, open_source("captions", tmp_path / "in")))
    assert told == {"a.png": "imported", "b.png": "same_picture_as: a.png"}


def test_a_killed_import_is_finished_by_the_next(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source("authface-hq", hq(tmp_path / "hq"))
    whole = Workspace(tmp_path / "whole")
    began = Store(place.tables).read(Consent)[0]
    grant(Store(whole.tables), began)
    taken(whole, source)
    original = Store.upsert
    for last in range(4):
        calls = iter(range(last))

        def upsert(self: Store, *given: Any, left: Any = calls, **named: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(self, *given, **named)

        monkeypatch.setattr(Store, "upsert", upsert)
        with pytest.raises(KeyboardInterrupt):
            taken(place, source)
        monkeypatch.setattr(Store, "upsert", original)
    taken(place, source)
    assert rows(place) == rows(whole)


@pytest.mark.parametrize(
    ("size", "save", "said"),
    [
        ((600, 512), {}, "not square"),
        ((511, 511), {}, "smaller than 512 px"),
        (
            (512, 512),
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
            "turned by its EXIF orientation",
        ),
    ],
)
def test_a_picture_that_is_no_crop_as_it_is_is_never_resampled(
    place: Workspace, tmp_path: Path, size: tuple[int, int], save: dict[str, Any], said: str
) -> None:
    picture(tmp_path / "in/a.png", 1, size, **save)
    (tmp_path / "in/a.txt").write_text("words")
    told = taken(place, open_source("captions", tmp_path / "in"))
    assert told["a.png"].obstacle == said
    [face] = Store(place.tables).read(Face)
    assert face.crops == ()
    assert not (place.media / "crops").exists()
    assert build(Store(place.tables), BuildConfig(), NOW).left_out == {"no_aligned_crop": 1}


def test_a_picture_of_another_colour_space_is_no_crop(place: Workspace, tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    picture(tmp_path / "in/a.png", 1, icc_profile=lab)
    Image.new("L", (SIDE, SIDE)).save(tmp_path / "in/b.png")
    for name in "ab":
        (tmp_path / f"in/{name}.txt").write_text("words")
    told = taken(place, open_source("captions", tmp_path / "in"))
    assert told["a.png"].obstacle == "not in sRGB"
    assert told["b.png"].obstacle == "of mode L with 8 bits, not RGB with 8"


def tagged(path: Path, **save: Any) -> Path:
    """A picture whose metadata says who made it, and where."""
    picture(path, 3)
    exif = Image.Exif()
    exif[0x013B] = "Mia Maker"
    exif.get_ifd(0x8825)[1] = "N"
    with Image.open(path) as image:
        image.save(path, exif=exif, **save)
    path.with_suffix(".txt").write_text("words")
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_crop_holds_the_pixels_of_its_picture_and_no_more(
    place: Workspace, tmp_path: Path, name: str
) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tagged(tmp_path / "in" / name, icc_profile=icc)
    assert b"Mia Maker" in path.read_bytes()
    assert taken(place, open_source("captions", tmp_path / "in"))[name].state == "imported"
    [face] = Store(place.tables).read(Face)
    [crop] = face.crops
    assert (crop.path[-4:], crop.sha256) != (".png", face.photo_id)
    data = (place.media / crop.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == crop.sha256
    assert b"Mia Maker" not in data
    with Image.open(path) as whole, Image.open(io.BytesIO(data)) as bare:
        assert (np.asarray(whole.convert("RGB")) == np.asarray(bare)).all()
        assert (bare.mode, bare.info["icc_profile"]) == ("RGB", icc)
        assert dict(bare.getexif()) == {}
    files = [p for p in place.media.rglob("*") if p.is_file()]
    assert not any(face.photo_id in p.name for p in files)


def test_a_crop_that_is_imported_has_a_hash_of_its_own(place: Workspace, tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png", 1)
    (tmp_path / "in/a.txt").write_text("words")
    seen = set()
    for number in range(4):
        one = Workspace(tmp_path / f"w{number}")
        grant(Store(one.tables), Store(place.tables).read(Consent)[0])
        taken(one, open_source("captions", tmp_path / "in"))
        [face] = Store(one.tables).read(Face)
        assert face.photo_id != face.crops[0].sha256
        seen.add(face.photo_id)
        data = (one.media / face.crops[0].path).read_bytes()
        (tmp_path / "in/a.png").write_bytes(data)
    assert len(seen) > 1


def test_every_picture_of_eight_bits_has_a_pixel_hash(place: Workspace, tmp_path: Path) -> None:
    modes = ("L", "LA", "P", "RGB", "RGBA", "1", "I;16")
    for number, mode in enumerate(modes):
        path = tmp_path / f"in/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, (SIDE, SIDE), 1).save(path)
        path.with_suffix(".txt").write_text("words")
    rules = replace(RULES, pixel_hash=lambda pixels_HWC: str(pixels_HWC.shape))
    told = states(taken(place, open_source("captions", tmp_path / "in"), rules=rules))
    assert set(told.values()) == {"imported"}
    hashed = {Path(p.path).stem: p.pixel_hash for p in Store(place.tables).read(Photo)}
    assert hashed == {
        str(n): None if mode == "I;16" else f"({SIDE}, {SIDE}, 3)" for n, mode in enumerate(modes)
    }


def coco(folder: Path, **changes: Any) -> Path:
    picture(folder / "one.jpg", 1, (640, 640))
    picture(folder / "two.jpg", 2, (640, 480))
    whole: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "one.jpg", "width": 640, "height": 640},
            {"id": 2, "file_name": "two.jpg", "width": 640, "height": 480},
        ],
        "annotations": [
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [10, 20, 100, 200], "area": 3},
            {"id": 1, "image_id": 1, "category_id": 8, "bbox": [0, 0, 640, 640.4]},
            {"id": 3, "image_id": 1, "caption": "first sentence"},
            {"id": 4, "image_id": 1, "caption": "second sentence"},
        ],
        "categories": [{"id": 7, "name": "face"}, {"id": 8, "name": "person"}],
    }
    file = folder / "labels.json"
    file.write_text(json.dumps(whole | changes))
    return file


def test_coco_boxes_and_captions(place: Workspace, tmp_path: Path) -> None:
    told = taken(place, open_source("coco", coco(tmp_path / "in")))
    assert {n: o.state for n, o in told.items()} == {"one.jpg": "imported", "two.jpg": "imported"}
    store = Store(place.tables)
    answers = {a.caption: a for a in store.read(Annotation)}
    one = answers["first sentence"]
    assert [(r.label, r.box.width if r.box else 0) for r in one.regions] == [
        ("person", 640),
        ("face", 100),
    ]
    assert one.decision is None
    assert [n.get("area") for n in json.loads(one.raw)["annotations"]] == [None, 3, None, None]
    face = next(f for f in store.read(Face) if f.photo_id == one.photo_id)
    assert (face.box.left, face.box.bottom, face.landmark_source) == (10, 220, "none")
    assert build(store, BuildConfig(), NOW).left_out == {"no_aligned_crop": 1, "not_reviewed": 1}
    taken(place, open_source("coco", tmp_path / "in"), accept=True)
    assert [s.caption for s in build(store, BuildConfig(), NOW).samples] == ["first sentence"]


@pytest.mark.parametrize(
    ("changes", "entry", "said"),
    [
        ({"images": [{"id": 1, "file_name": "../../x.jpg"}]}, "images[0]", "outside_the_folder"),
        ({"images": [{"id": 1, "file_name": "/etc/x.jpg"}]}, "images[0]", "outside_the_folder"),
        ({"images": [{"id": 1, "file_name": "C:\\x.jpg"}]}, "images[0]", "outside_the_folder"),
        ({"images": [{"id": 1}]}, "images[0]", "wrong_shape: file_name"),
        ({"images": [7]}, "images[0]", "wrong_shape"),
        ({"images": []}, "annotations[0]", "no_such_image"),
        (
            {"annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]},
            "annotations[0]",
            "wrong_shape: bbox",
        ),
    ],
)
def test_a_bad_entry_of_coco_is_set_aside_by_its_place(
    place: Workspace, tmp_path: Path, changes: dict[str, Any], entry: str, said: str
) -> None:
    told = states(taken(place, open_source("coco", coco(tmp_path / "in", **changes))))
    assert told[f"labels.json: {entry}"].startswith(said)
    assert {"one.jpg", "two.jpg"} - set(told) == set()


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([600, 0, 100, 10], "box_outside_the_picture"),
        ([0, 0, 0, 10], "empty_box"),
        ([float("nan"), 0, 1, 1], "box_outside_the_picture"),
    ],
)
def test_a_box_that_does_not_fit_sets_its_picture_aside(
    place: Workspace, tmp_path: Path, box: list[float], said: str
) -> None:
    notes = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": box}]
    told = states(taken(place, open_source("coco", coco(tmp_path / "in", annotations=notes))))
    assert told["one.jpg"].startswith(said)
    assert told["two.jpg"] == "imported"


def test_a_size_that_is_not_the_pictures_is_said(place: Workspace, tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "one.jpg", "width": 480, "height": 640}]
    told = states(taken(place, open_source("coco", coco(tmp_path / "in", images=images))))
    assert told["one.jpg"].startswith("size_differs")


def choice(name: str, *values: str) -> dict[str, Any]:
    return {"from_name": name, "type": "choices", "value": {"choices": list(values)}}


def studio(folder: Path) -> Path:
    for number, name in enumerate(("one.png", "two.png", "sub/three.png")):
        picture(folder / name, number)
    box = {"x": 10, "y": 20, "width": 50, "height": 25, "rotation": 0}
    points = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    result = [
        choice("decision", "accept"),
        choice("gender", "woman"),
        choice("focus", "sharp_eyes"),
        choice("mood", "calm / quiet"),
        {"from_name": "caption", "type": "textarea", "value": {"text": ["a woman by a window"]}},
        {
            "from_name": "face_box",
            "type": "rectanglelabels",
            "value": box | {"rectanglelabels": ["subject_face"]},
        },
        *(
            {
                "from_name": "landmark",
                "type": "keypointlabels",
                "value": {"x": 10 * n, "y": 50, "keypointlabels": [p]},
            }
            for n, p in enumerate(points, 1)
        ),
        {"from_name": "stars", "type": "rating", "value": {"rating": 4}},
    ]
    when = "2025-03-01T10:00:00Z"
    tasks = [
        {
            "id": 5,
            "data": {"image": "/data/upload/3/0123abcd-one.png"},
            "annotations": [
                {
                    "id": 1,
                    "completed_by": {"id": 9, "email": "x@y.z"},
                    "result": result,
                    "updated_at": when,
                },
                {
                    "id": 2,
                    "completed_by": 4,
                    "result": [choice("decision", "reject")],
                    "was_cancelled": True,
                },
                {"id": 3, "result": "nonsense"},
            ],
        },
        {"id": 6, "data": {"image": "/data/local-files/?d=two.png"}, "annotations": []},
        {
            "id": 7,
            "data": {"image": "https://host/sub/three.png"},
            "annotations": [
                {
                    "id": 4,
                    "result": [choice("decision", "reject"), choice("reject_reason", "noise")],
                }
            ],
        },
        {"id": 8, "data": {"image": "../../secret.png"}, "annotations": []},
        {"id": 9, "data": {"text": "no picture"}},
        "nonsense",
    ]
    file = folder / "export.json"
    file.write_text(json.dumps(tasks))
    return file


def test_a_label_studio_export(place: Workspace, tmp_path: Path) -> None:
    told = states(taken(place, open_source("label-studio", studio(tmp_path / "in"))))
    assert told == {
        "one.png": "imported",
        "sub/three.png": "imported",
        "two.png": "no_answer",
        "export.json: task 0, annotation 2": told["export.json: task 0, annotation 2"],
        "export.json: task 3": "outside_the_folder",
        "export.json: task 4": "no_picture_named",
        "export.json: task 5": told["export.json: task 5"],
    }
    assert told["export.json: task 0, annotation 2"].startswith("wrong_shape: result")
    assert told["export.json: task 5"].startswith("wrong_shape")
    store = Store(place.tables)
    answers = {a.annotator: a for a in store.read(Annotation)}
    assert set(answers) == {"import:set:9", "import:set:4"}
    skipped = [a for a in store.read(Annotation) if a.state == "skipped"]
    assert [(a.annotator, a.decision, a.cancelled) for a in skipped] == [
        ("import:set:4", None, True)
    ]
    one = answers["import:set:9"]
    assert (one.decision, one.rating, one.caption) == ("accept", 4, "a woman by a window")
    assert one.semantic_tags == ("gender/woman", "mood/calm / quiet")
    assert one.photographic_tags == ("focus/sharp_eyes",)
    assert one.updated_at == datetime(2025, 3, 1, 10, tzinfo=UTC)
    face = next(f for f in store.read(Face) if f.photo_id == one.photo_id)
    assert (face.box.left, face.box.top) == (0.1 * SIDE, 0.2 * SIDE)
    assert (face.box.right, face.box.bottom) == pytest.approx((0.6 * SIDE, 0.45 * SIDE))
    assert (len(face.landmarks), face.landmark_source) == (5, "person")
    assert face.eye_distance == pytest.approx(0.1 * SIDE)
    assert "x@y.z" not in json.dumps([a.raw for a in store.read(Annotation)])


def test_half_a_character_in_words_stops_no_import(place: Workspace, tmp_path: Path) -> None:
    words = "half \ud83d of a smile"
    picture(tmp_path / "hq/woman/a.png", 1)
    (tmp_path / "hq/woman/a_qwen.json").write_text(json.dumps({"caption": words, words: 1}))
    picture(tmp_path / "captions/b.png", 2)
    (tmp_path / "captions/b.json").write_text(json.dumps({"text": words}))
    notes = [{"id": 1, "image_id": 1, "caption": words}]
    coco(tmp_path / "coco", annotations=notes)
    file = studio(tmp_path / "studio")
    tasks = json.loads(file.read_text())
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": [words]}
    given = tasks[2]["annotations"][0]
    given["id"] = words
    given["result"] = [
        choice("decision", "reject") | {"id": words},
        choice(words, words),
        {"from_name": "note", "value": {"text": words}},
        {"from_name": "box", "origin": words, "value": box},
    ]
    file.write_text(json.dumps(tasks))
    for format, folder in (("authface-hq", "hq"), ("captions", "captions"), ("coco", "coco")):
        told = taken(place, open_source(format, tmp_path / folder))
        assert {o.state for o in told.values()} == {"imported"}
    told = taken(place, open_source("label-studio", file))
    assert told["sub/three.png"].state == "answered"  # the picture came in by another set
    answers = Store(place.tables).read(Annotation)
    [three] = [a for a in answers if a.decision == "reject"]
    assert (three.note, three.regions[0].label) == ("half  of a smile", "half  of a smile")
    assert [a.caption for a in answers].count("half  of a smile") == 3
    assert any(words in json.dumps(json.loads(a.raw), ensure_ascii=False) for a in answers)


@pytest.mark.parametrize("stars", [1e21, 10**30, -1, 1001])
def test_stars_beyond_reason_set_their_answer_aside(
    place: Workspace, tmp_path: Path, stars: float
) -> None:
    file = studio(tmp_path / "in")
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"][0]["result"][-1]["value"]["rating"] = stars
    file.write_text(json.dumps(tasks))
    told = states(taken(place, open_source("label-studio", file)))
    assert "value.rating" in told["export.json: task 0, annotation 0"]
    assert told["sub/three.png"] == "imported"


def test_a_time_without_a_zone_is_utc(place: Workspace, tmp_path: Path) -> None:
    file = studio(tmp_path / "in")
    file.write_text(file.read_text().replace("10:00:00Z", "10:00:00"))
    taken(place, open_source("label-studio", file))
    versions = Store(place.tables).versions()
    [told] = {a.updated_at for a in Store(place.tables).read(Annotation) if a.updated_at}
    assert told == datetime(2025, 3, 1, 10, tzinfo=UTC)
    again = states(taken(place, open_source("label-studio", file)))
    assert (again["one.png"], Store(place.tables).versions()) == ("known", versions)


def test_names_that_two_files_share_are_not_guessed(place: Workspace, tmp_path: Path) -> None:
    file = studio(tmp_path / "in")
    picture(tmp_path / "in/sub/one.png", 9)
    (tmp_path / "in/one.png").rename(tmp_path / "in/other_one.png")
    picture(tmp_path / "in/sub2/one.png", 10)
    told = states(taken(place, open_source("label-studio", file)))
    assert told["export.json: task 0"] == "name_not_unique"


@pytest.mark.parametrize(
    ("format", "text", "said"),
    [
        ("coco", "[]", "is not an object with images"),
        ("coco", '{"images": 3}', "is no list"),
        ("label-studio", "{}", "is not a list of tasks"),
        ("coco", "{", "it is no JSON"),
        ("coco", "[" * 200_000, "nested too deeply"),
    ],
)
def test_a_file_of_another_kind_is_refused_whole(
    place: Workspace, tmp_path: Path, format: str, text: str, said: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=said):
        taken(place, open_source(format, tmp_path / "x.json"))


def hostile(folder: Path) -> Path:
    """Good and bad pictures, links and a pipe; all but one with a caption."""
    outside = picture(folder.parent / "outside.png", 50)
    good = picture(folder / "good.png", 51)
    data = good.read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    picture(folder / "fine.gif", 52)
    (folder / "gif.png").write_bytes((folder / "fine.gif").read_bytes())
    (folder / "link.png").symlink_to(outside)
    (folder / "inside.png").symlink_to(picture(folder / "sub/real.png", 53))
    (folder / "loop").symlink_to(folder)
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))).write_bytes(data)
    bomb = io.BytesIO()
    Image.new("1", (17_000, 17_000)).save(bomb, "PNG")
    (folder / "bomb.png").write_bytes(bomb.getvalue())
    for name in ("good", "cut", "empty", "text", "gif", "link", "inside", "broken", "pipe", "bomb"):
        (folder / f"{name}.txt").write_text(f"words {name}")
    return folder


def test_hostile_pictures_and_names(place: Workspace, tmp_path: Path) -> None:
    told = states(taken(place, open_source("captions", hostile(tmp_path / "in"))))
    assert told["good.png"] == told["inside.png"] == "imported"
    assert told["cut.png"].startswith("damaged")
    assert told["empty.png"].startswith("empty_file")
    assert told["text.png"].startswith("unsupported_format")
    assert told["gif.png"].startswith("unsupported_format")
    assert told["fine.gif"] == "neither_picture_nor_caption"
    assert told["link.png"] == "link_out_of_the_folder"
    assert told["loop"] == "link_to_a_folder"
    assert told["broken.png"] == "broken_link"
    assert told["pipe.png"] == "no_ordinary_file"
    assert told["bomb.png"].startswith("too_many_pixels")
    assert told["\\udcff.png"] == "name_is_no_utf8"
    assert told["sub/real.png"] == "no_caption"
    assert len(Store(place.tables).read(Photo)) == 2


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 81])
def test_a_name_that_would_not_do_is_refused(place: Workspace, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="printable"):
        taken(place, open_source("authface-hq", hq(tmp_path / "hq")), name=name)


def test_consent_comes_first(place: Workspace, tmp_path: Path) -> None:
    source = open_source("authface-hq", hq(tmp_path / "hq"))
    with pytest.raises(ConsentError, match="no_consent"):
        taken(place, source, consent_id="nobody")
    withdraw(Store(place.tables), "c", NOW)
    with pytest.raises(ConsentError, match="consent_withdrawn"):
        taken(place, source)
    assert rows(place)["Photo"] == []


def test_who_was_erased_does_not_come_back(place: Workspace, tmp_path: Path) -> None:
    folder = hq(tmp_path / "hq")
    store = Store(place.tables)
    taken(place, open_source("authface-hq", folder), dry=True)
    photo_id = hashlib.sha256((folder / "woman/a.png").read_bytes()).hexdigest()
    key = open_key(store)
    marks = [(mark_of(key, "photo", photo_id), "photo"), (mark_of(key, "pixels", "same"), "pixels")]
    store.upsert(
        Tombstone,
        [
            Tombstone(mark=m, kind=k, reason="subject_request", erased_at=NOW, receipt_id="r")
            for m, k in marks
        ],
        why="test",
    )
    told = states(taken(place, open_source("authface-hq", folder)))
    assert told["woman/a.png"] == "erased_subject"
    assert len(store.read(Photo)) == 4
    assert len(list(place.media.rglob("*.png"))) == 4
    everybody = replace(RULES, pixel_hash=lambda pixels_HWC: "same")
    told = states(taken(place, open_source("authface-hq", folder), rules=everybody))
    assert set(told.values()) == {"erased_subject"}


def test_an_export_comes_back_with_the_same_words(place: Workspace, tmp_path: Path) -> None:
    """Samples go out in two formats and come in elsewhere as pictures with captions."""
    taken(place, open_source("authface-hq", hq(tmp_path / "hq")))
    store = Store(place.tables)
    samples = build(store, BuildConfig(), NOW).samples
    for name in ("webdataset", "datasets"):
        out, back = tmp_path / name, tmp_path / f"{name}-back"
        export(store, place.media, Order(name, out), ExportConfig(), NOW)
        back.mkdir()
        for tar in out.glob("*.tar"):
            with tarfile.open(tar) as opened:
                opened.extractall(back, filter="data")
        for file in out.glob("data/*.parquet"):
            for row in pq.read_table(file).to_pylist():
                (back / row["image"]["path"]).write_bytes(row["image"]["bytes"])
                (back / f"{row['sample_id']}.txt").write_text(row["caption"])
        other = Workspace(tmp_path / f"{name}-w")
        grant(Store(other.tables), store.read(Consent)[0])
        told = taken(other, open_source("captions", back))
        assert {o.state for o in told.values()} == {"imported"}
        again = build(Store(other.tables), BuildConfig(), NOW).samples
        before = {shown(place, s): s for s in samples}
        after = {shown(other, s): s for s in again}
        assert {k: s.caption for k, s in after.items()} == {k: s.caption for k, s in before.items()}
        if name == "webdataset":
            tags = {k: s.photographic_tags for k, s in before.items()}
            assert {k: s.photographic_tags for k, s in after.items()} == tags


def shown(place: Workspace, sample: Sample) -> bytes:
    """The pixels of a sample's crop."""
    with Image.open(place.media / sample.crop_path) as image:
        return image.tobytes()


def test_who_is_erased_while_an_import_reads_does_not_come_back(
    place: Workspace, tmp_path: Path
) -> None:
    folder, store = hq(tmp_path / "hq"), Store(place.tables)
    photo_id = hashlib.sha256((folder / "woman/a.png").read_bytes()).hexdigest()

    def erase_meanwhile(pixels_HWC: Any) -> str:
        mark = mark_of(open_key(store), "photo", photo_id)
        row = Tombstone(mark=mark, kind="photo", reason="r", erased_at=NOW, receipt_id="r")
        store.upsert(Tombstone, [row], why="test")
        return hashlib.sha256(pixels_HWC.tobytes()).hexdigest()

    rules = replace(RULES, pixel_hash=erase_meanwhile)
    told = states(taken(place, open_source("authface-hq", folder), rules=rules))
    assert told["woman/a.png"] == "erased_subject"
    photos = store.read(Photo)
    assert photos
    assert photo_id not in {p.photo_id for p in photos}
    assert len(list(place.media.rglob("*.png"))) == len(photos)
