"""The rules of `authface manifest check` find what they are for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from data_manifests.checks import RULES, Tables, check, read_tables
from data_manifests.media import write_media
from data_manifests.records import Box, Consent, Crop, Face, Photo, Sample
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def workspace(folder: Path) -> tuple[Store, Path]:
    """A workspace of one photo in which every rule holds."""
    store, media = Store(folder / "tables"), folder / "media"
    path, sha256 = write_media(media, "crops", b"a crop", ".png")
    crop = Crop(
        path=path, sha256=sha256, kind="aligned", width=10, height=10, matrix=(1, 0, 0, 0, 1, 0)
    )
    store.upsert(
        Photo,
        [
            Photo(
                photo_id="p",
                path="/p.jpg",
                state="kept",
                size_bytes=1,
                width=100,
                height=100,
                subject_id="s",
            )
        ],
        why="test",
    )
    store.upsert(
        Face,
        [
            Face(
                face_id="p-1",
                photo_id="p",
                index=0,
                box=Box(left=1, top=1, right=9, bottom=9),
                finder="test",
                crops=(crop,),
            )
        ],
        why="test",
    )
    store.upsert(
        Consent,
        [Consent(consent_id="c", purposes=("training",), basis="release", valid_from=NOW)],
        why="test",
    )
    store.upsert(Sample, [sample("s1", path, sha256)], why="test")
    return store, media


def sample(name: str, path: str, sha256: str) -> Sample:
    return Sample(
        sample_id=name,
        photo_id="p",
        face_id="p-1",
        crop_path=path,
        crop_sha256=sha256,
        width=10,
        height=10,
        caption="a face",
        native_width=10,
        native_height=10,
        split="train",
        consent_id="c",
    )


def broken(tables: Tables) -> set[str]:
    return {rule for rule, faults in check(tables).items() if faults}


def test_a_sound_workspace_breaks_no_rule(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    assert broken(read_tables(store, media, NOW)) == set()


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    tables = read_tables(store, media, NOW)
    file = next((store.folder / "photos").glob("*.parquet"))
    bytes_ = bytearray(file.read_bytes())
    bytes_[40] ^= 1
    file.write_bytes(bytes_)
    faults = check(tables)["parquet_files_sealed"]
    assert [f.row for f in faults] == [str(file)]


def test_a_damaged_and_a_missing_crop_are_named(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    tables = read_tables(store, media, NOW)
    crop = next((media / "crops").rglob("*.png"))
    crop.write_bytes(b"another")
    assert "damaged" in check(tables)["media_present"][0].wrong
    crop.unlink()
    assert "missing" in check(tables)["media_present"][0].wrong


def test_each_rule_on_rows_finds_its_fault(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    sound = read_tables(store, media, NOW)
    (face,), (row,) = sound.faces, sound.samples
    outside = replace(face, box=Box(left=200, top=1, right=210, bottom=9))
    leaked = replace(row, sample_id="s2", split="test")
    assert broken(replace(sound, faces=(replace(face, photo_id="q"),))) >= {"faces_have_photos"}
    assert broken(replace(sound, faces=(outside,))) == {"boxes_inside"}
    assert broken(replace(sound, samples=(replace(row, caption=" "),))) == {"captions_not_empty"}
    assert broken(replace(sound, samples=(row, leaked))) == {"one_person_one_split"}
    assert broken(replace(sound, consents=())) == {"consent_valid"}


def test_every_rule_is_tested_here() -> None:
    assert set(RULES) == {
        "parquet_files_sealed",
        "media_present",
        "faces_have_photos",
        "boxes_inside",
        "captions_not_empty",
        "one_person_one_split",
        "consent_valid",
    }
