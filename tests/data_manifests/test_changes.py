"""What differs between two versions of a table, and the list of its versions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from data_manifests.changes import FieldChange, changes, history
from data_manifests.errors import ManifestError
from data_manifests.records import Capture, Photo, Sample, Verdict
from data_manifests.schema import arrow_schema, records_from_table, table_from_records
from data_manifests.store import Store

SHARP = Verdict(gate="sharp", value=3.0, threshold=2.0, keep=True)


def photo(number: int, **changes: Any) -> Photo:
    made = Photo(
        photo_id=f"{number:064x}",
        path=f"/photos/{number}.jpg",
        state="kept",
        size_bytes=number,
        capture=Capture(camera="X100", iso=100),
        verdicts=(SHARP,),
        keywords=("a", "b"),
    )
    return replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twenty photos at version 2."""
    made = Store(tmp_path)
    made.upsert(Photo, [photo(n) for n in range(20)], why="ingest")
    return made


def test_rows_are_added_changed_field_by_field_and_removed(store: Store) -> None:
    blurred = replace(SHARP, keep=False, value=1.0)
    changed = photo(
        3, capture=Capture(camera="X100", iso=200), verdicts=(blurred, SHARP), keywords=("a",)
    )
    store.upsert(Photo, [changed, photo(77)], why="judge")
    store.remove(Photo, [photo(5).photo_id], why="gone")
    found = list(changes(store, Photo, 2, store.version(Photo) or 0))
    assert [(c.kind, c.key) for c in found] == [
        ("added", photo(77).photo_id),
        ("changed", photo(3).photo_id),
        ("removed", photo(5).photo_id),
    ]
    assert found[1].fields == (
        FieldChange("capture.iso", 100, 200),
        FieldChange("verdicts[0].value", 3.0, 1.0),
        FieldChange("verdicts[0].keep", True, False),
        FieldChange("verdicts[1]", None, SHARP),
        FieldChange("keywords", ("a", "b"), ("a",)),
    )
    assert found[0].record == photo(77)
    assert found[2].record == photo(5)


def test_the_other_way_round_is_the_opposite(store: Store) -> None:
    store.upsert(Photo, [photo(3, state="set_aside"), photo(77)], why="judge")
    there, back = list(changes(store, Photo, 2, 4)), list(changes(store, Photo, 4, 2))
    assert [c.kind for c in there] == ["added", "changed"]
    assert [c.kind for c in back] == ["changed", "removed"]
    assert back[0].fields == (FieldChange("state", "set_aside", "kept"),)


def test_a_seal_and_a_file_written_anew_are_no_change(store: Store) -> None:
    assert list(changes(store, Photo, 1, 2)) == []
    table = DeltaTable(store.folder / "photos")
    write_deltalake(table, table.to_pyarrow_table(), mode="overwrite")
    assert list(changes(store, Photo, 2, 3)) == []


def test_a_column_that_an_older_version_lacked_counts_as_its_default(tmp_path: Path) -> None:
    rows = table_from_records(Photo, [photo(1, keywords=()), photo(2)])
    write_deltalake(tmp_path / "photos", rows.drop_columns(["keywords", "notes", "rights"]))
    store = Store(tmp_path)
    store.upsert(Photo, [photo(1, keywords=()), photo(2)], why="again")
    newest = store.version(Photo) or 0
    (change,) = changes(store, Photo, 0, newest)
    assert change.fields == (FieldChange("keywords", (), ("a", "b")),)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"reasons": ("x",)}, {"copies": ("x",)}, 2),
        ({"keywords": ("x", "y")}, {"keywords": ("y", "x")}, 1),
        ({"capture": None}, {"capture": Capture()}, 1),
        ({"licence": "a", "photographer": "b"}, {"licence": "b", "photographer": "a"}, 2),
        ({"licence": None}, {"licence": ""}, 1),
        ({"verdicts": (SHARP, SHARP)}, {"verdicts": (SHARP,)}, 1),
        ({"embedding": (1.0, 2.0)}, {"embedding": (1.0,)}, 1),
    ],
)
def test_no_change_is_overlooked(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], paths: int
) -> None:
    store = Store(tmp_path)
    store.upsert(Photo, [photo(1, **before)], why="before")
    store.upsert(Photo, [photo(1, **after)], why="after")
    (change,) = changes(store, Photo, 2, 4)
    assert len(change.fields) >= paths


def test_a_tag_that_moves_to_the_list_beside_it_is_seen(tmp_path: Path) -> None:
    """DuckDB's hash of a whole row is the same for these two."""
    one = Sample(
        sample_id="s",
        photo_id="p",
        face_id="f",
        crop_path="c",
        crop_sha256="c",
        width=1,
        height=1,
        semantic_tags=("x", "y"),
        photographic_tags=("z",),
        native_width=1,
        native_height=1,
        split="train",
        consent_id="c",
    )
    store = Store(tmp_path)
    store.upsert(Sample, [one], why="before")
    moved = replace(one, semantic_tags=("x",), photographic_tags=("y", "z"))
    store.upsert(Sample, [moved], why="after")
    (change,) = changes(store, Sample, 2, 4)
    assert [f.path for f in change.fields] == ["semantic_tags", "photographic_tags"]


def test_what_is_no_number_equals_itself(store: Store) -> None:
    odd = photo(1, latitude=math.nan)
    store.upsert(Photo, [odd], why="odd")
    store.upsert(Photo, [replace(odd, state="set_aside")], why="judge")
    (change,) = changes(store, Photo, 4, 6)
    assert [f.path for f in change.fields] == ["state"]


def test_files_that_both_versions_hold_are_not_read(store: Store) -> None:
    more = table_from_records(Photo, [photo(100)])
    write_deltalake(store.folder / "photos", more.cast(arrow_schema(Photo)), mode="append")
    held = {Path(u).name for u in DeltaTable(store.folder / "photos", version=2).file_uris()}
    for name in held:
        (store.folder / "photos" / name).write_bytes(b"damaged")
    assert [c.kind for c in changes(store, Photo, 2, 3)] == ["added"]


@pytest.mark.parametrize(("before", "after"), [(2, 9), (9, 2)])
def test_a_version_that_is_not_there_is_named(store: Store, before: int, after: int) -> None:
    with pytest.raises(ManifestError, match=r"photos has no version 9\. The newest is 2"):
        list(changes(store, Photo, before, after))


def test_the_history_folds_seals_and_says_who_and_why(store: Store) -> None:
    store.upsert(Photo, [photo(3, state="set_aside"), photo(77)], why="judge")
    store.remove(Photo, [photo(5).photo_id], why="gone")
    made, ingest, judge, gone = history(store, Photo)
    assert (made.version, made.upto) == (0, 0)
    assert (ingest.version, ingest.upto, ingest.why) == (1, 2, "ingest")
    assert (ingest.added, ingest.changed, ingest.removed) == (20, 0, 0)
    assert (judge.version, judge.upto, judge.why) == (3, 4, "judge")
    assert (judge.added, judge.changed, judge.removed) == (1, 1, 0)
    assert (gone.version, gone.upto, gone.operation, gone.removed) == (5, 6, "MERGE", 1)
    assert gone.at.utcoffset() is not None
    assert made.at <= ingest.at <= judge.at <= gone.at


def test_a_table_that_nobody_wrote_has_no_history(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no table photos yet"):
        history(Store(tmp_path), Photo)


def test_a_restored_table_differs_from_nothing_it_was(store: Store) -> None:
    store.upsert(Photo, [photo(3, state="set_aside")], why="judge")
    done = store.restore(Photo, 2, why="undo")
    assert list(changes(store, Photo, 2, done.version)) == []
    assert history(store, Photo)[-1].why == "undo"


def test_only_what_differs_becomes_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upsert(Photo, [photo(3, state="set_aside")], why="judge")
    built: list[int] = []

    def counted(noun: type, table: pa.Table) -> list[Any]:
        built.append(table.num_rows)
        return records_from_table(noun, table)

    monkeypatch.setattr("data_manifests.changes.records_from_table", counted)
    assert len(list(changes(store, Photo, 2, 4))) == 1
    assert sum(built) == 2
