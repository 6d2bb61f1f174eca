"""The rules of `authface manifest check` find what they are for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deltalake import write_deltalake

from data_manifests.assemble import BuildConfig
from data_manifests.checks import RULES, Tables, check, looked_at, read_tables
from data_manifests.consent import grant
from data_manifests.media import write_media
from data_manifests.records import Box, Consent, ConsentEntry, Crop, Face, Photo, Point, Sample
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
    (photo,), (face,), (row,) = sound.photos, sound.faces, sound.samples
    outside = replace(face, box=Box(left=200, top=1, right=210, bottom=9))
    leaked = replace(row, sample_id="s2", split="test")
    assert broken(replace(sound, faces=(replace(face, photo_id="q"),))) >= {"faces_have_photos"}
    assert broken(replace(sound, faces=(outside,))) == {"boxes_inside"}
    assert broken(replace(sound, samples=(replace(row, caption=" "),))) == {"captions_not_empty"}
    assert broken(replace(sound, samples=(row, leaked))) == {"one_person_one_split"}
    assert broken(replace(sound, consents=())) == {"consent_valid"}
    assert broken(replace(sound, samples=(replace(row, face_id="x"),))) == {"lineage_whole"}
    for wrong in (((9, 1), (1, 1)), ((1, 9), (9, 9))):
        swapped = replace(row, landmarks=landmarks(*wrong))
        assert broken(replace(sound, samples=(swapped,))) == {"landmarks_in_order"}
    upright = replace(row, landmarks=landmarks((1, 1), (9, 1)))
    assert broken(replace(sound, samples=(upright,))) == set()
    shot = replace(photo, subject_id=None, shot_id="one")
    assert broken(replace(sound, photos=(shot,), samples=(row, leaked))) == {"one_person_one_split"}


def landmarks(left: tuple[float, float], right: tuple[float, float]) -> tuple[Point, ...]:
    mouth = ((left[0], 5.0), (right[0], 5.0)) if left[0] < right[0] else ((1.0, 5.0), (9.0, 5.0))
    return tuple(Point(x=x, y=y) for x, y in (left, right, (5.0, 3.0), *mouth))


def test_a_rare_answer_is_named_once_there_are_enough_samples(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    sound = read_tables(store, media, NOW)
    (row,) = sound.samples
    tags = ["gender/woman"] * 99 + ["gender/man"] + ["gender/not_clear"]
    many = tuple(replace(row, sample_id=f"s{i}", semantic_tags=(t,)) for i, t in enumerate(tags))
    (fault,) = check(replace(sound, samples=many))["classes_balanced"]
    assert (fault.row, fault.wrong[:8]) == ("gender/man", "1 of 100")
    assert broken(replace(sound, samples=many[:99])) == set()
    easy = BuildConfig(balance_least_share=0.001)
    assert broken(replace(sound, samples=many, config=easy)) == set()


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    """Which no writer of ours does: another engine may append what it likes."""
    store, media = workspace(tmp_path)
    write_deltalake(store.folder / "photos", store.table(Photo), mode="append")
    assert "ids_unique" in broken(read_tables(store, media, NOW))


def test_an_entry_of_the_consent_ledger_that_was_changed_is_named(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    grant(store, Consent(consent_id="d", purposes=("training",), basis="b", valid_from=NOW))
    assert broken(read_tables(store, media, NOW)) == set()
    first = store.read(ConsentEntry)[0]
    forged = first.terms.replace('"basis":"release"', '"basis":"verbal"')
    assert forged != first.terms
    store.upsert(ConsentEntry, [replace(first, terms=forged)], why="forged")
    assert broken(read_tables(store, media, NOW)) == {"consent_ledger_chained"}


def test_what_a_rule_looked_at_is_counted(tmp_path: Path) -> None:
    store, media = workspace(tmp_path)
    tables = read_tables(store, media, NOW)
    assert {rule: looked_at(tables, rule) for rule in ("ids_unique", "media_present")} == {
        "ids_unique": 4,
        "media_present": 1,
    }


def test_every_rule_is_tested_here() -> None:
    assert set(RULES) == {
        "parquet_files_sealed",
        "ids_unique",
        "media_present",
        "faces_have_photos",
        "boxes_inside",
        "landmarks_in_order",
        "captions_not_empty",
        "lineage_whole",
        "one_person_one_split",
        "consent_valid",
        "consent_ledger_chained",
        "classes_balanced",
    }
