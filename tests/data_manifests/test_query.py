"""SQL over the tables: what can be asked, at which version, and what nobody can do with it."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from data_manifests import query
from data_manifests.errors import ManifestError, MissingExtra
from data_manifests.query import ask
from data_manifests.records import Capture, Photo, Sample
from data_manifests.store import TABLES, Store

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def photo(number: int, **changes: Any) -> Photo:
    capture = Capture(camera=f"camera {number % 2}", focal_length_35mm=50.0, taken_at=NOON)
    made = Photo(
        photo_id=f"{number:064x}",
        path=f"/photos/{number}.jpg",
        state="kept",
        size_bytes=number,
        capture=capture,
    )
    return replace(made, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten photos at version 2; one of them set aside at version 4."""
    made = Store(tmp_path / "tables")
    made.upsert(Photo, [photo(n) for n in range(10)], why="ingest")
    made.upsert(Photo, [photo(3, state="set_aside")], why="judge")
    return made


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with ask(store, sql) as answer:
        found: list[dict[str, Any]] = answer.read_all().to_pylist()
    return found


def test_every_table_can_be_asked_even_before_anybody_wrote_it(store: Store) -> None:
    for name in TABLES.values():
        assert rows(store, f"SELECT count(*) AS n FROM {name}") == [
            {"n": 10 if name == "photos" else 0}
        ]
    assert [r["name"] for r in rows(store, "SHOW TABLES")] == sorted(TABLES.values())


@pytest.mark.parametrize("name", ["photos@2", '"photos@2"', "PHOTOS@2"])
def test_a_version_is_asked_by_its_number(store: Store, name: str) -> None:
    counted = f"SELECT count(*) AS n FROM {name} WHERE state = 'set_aside'"
    assert rows(store, counted) == [{"n": 0}]
    assert rows(store, counted.replace(name, "photos")) == [{"n": 1}]
    joined = f"SELECT a.path FROM {name} a JOIN photos b USING (photo_id) WHERE a.state <> b.state"
    assert rows(store, joined) == [{"path": "/photos/3.jpg"}]


def test_a_name_in_a_text_or_a_comment_is_no_version(store: Store) -> None:
    asked = "SELECT 'photos@77' AS a, $$nouns@1$$ AS b /* photos@78 */ FROM photos -- photos@79"
    assert rows(store, asked + "\nLIMIT 1") == [{"a": "photos@77", "b": "nouns@1"}]


def test_nested_columns_and_filters_are_read_in_the_file(store: Store) -> None:
    asked = "SELECT count(*) AS n FROM photos WHERE capture.camera = 'camera 1'"
    assert rows(store, asked) == [{"n": 5}]
    (plan,) = rows(store, f"EXPLAIN {asked}")
    assert "READ_PARQUET" in plan["explain_value"]
    assert "Filters: capture.camera = 'camera 1'" in plan["explain_value"]


def test_times_are_utc_wherever_the_machine_stands(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    (row,) = rows(
        store, "SELECT max(capture.taken_at) AS t, hour(max(capture.taken_at)) h FROM photos"
    )
    assert row["t"] == NOON
    assert row["t"].utcoffset().total_seconds() == 0
    assert row["h"] == 12


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("COPY photos TO '<OUT>/x.csv'", "COPY is refused"),
        ("COPY (SELECT 1) TO '<FILE>' (USE_TMP_FILE false)", "COPY is refused"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '<FILE>' (USE_TMP_FILE false)", "COPY is refused"),
        ("/**/ EXPLAIN ANALYZE COPY (SELECT 1) TO '<FILE>'", "EXPLAIN is refused"),
        ("CREATE TABLE mine AS SELECT 1", "CREATE is refused"),
        ("SET memory_limit = '99GB'", "SET is refused"),
        ("ATTACH '<OUT>/mine.db'", "ATTACH is refused"),
        ("INSTALL httpfs", "LOAD is refused"),
        ("EXPORT DATABASE '<OUT>'", "EXPORT is refused"),
        ("SELECT 1; SELECT 2", "there are 2"),
        ("", "there are 0"),
        ("SELECT * FROM read_text('<SECRET>')", "Cannot access file"),
        ("SELECT * FROM read_csv('<SECRET>')", "Cannot access file"),
        ("SELECT * FROM read_parquet('<OUT>/other.parquet')", "Cannot access file"),
        ("SELECT * FROM '<SECRET>'", "no table"),
        ("SELECT * FROM glob('<OUT>/*')", "Cannot access file"),
        ("SELECT * FROM 'https://example.org/x.parquet'", "Cannot access file"),
        ("SELECT * FROM enable_logging(storage='file', storage_path='<OUT>')", "locked"),
        ("SELECT * FROM secret", "no table 'secret'"),
    ],
)
def test_nothing_but_the_tables_is_read_and_nothing_is_written(
    store: Store, tmp_path: Path, sql: str, said: str
) -> None:
    secret = pa.table({"secret": [1]})  # a Python variable that SQL must not see
    pq.write_table(secret, tmp_path / "other.parquet")
    (tmp_path / "secret.txt").write_text("secret")
    file = sorted((tmp_path / "tables" / "photos").glob("*.parquet"))[0]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    named = {"<OUT>": tmp_path, "<SECRET>": tmp_path / "secret.txt", "<FILE>": file}
    for word, path in named.items():
        sql = sql.replace(word, str(path))
    with pytest.raises(ManifestError, match=said) as refused:
        rows(store, sql)
    assert "\n" not in str(refused.value)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT photoid FROM photos", '"photo_id"'),
        ("SELECT capture.camra FROM photos", '"camera"'),
        ("SELECT * FROM phots", "Did you mean photos"),
        ("SELECT * FROM phots@3", "Did you mean photos"),
        ("SELECT * FROM photos@9", "The newest is 4"),
        ("SELECT * FROM samples@1", "no such table yet"),
        ("SELEC 1", 'near "SELEC"'),
        ("SELECT path::INTEGER FROM photos", "Could not convert"),
    ],
)
def test_a_wrong_query_is_told_in_one_line_with_what_is_near(
    store: Store, sql: str, said: str
) -> None:
    with pytest.raises(ManifestError) as wrong:
        rows(store, sql)
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_query_that_needs_too_much_memory_is_told_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "MEMORY", "20MB")
    with pytest.raises(ManifestError, match="more than 20MB of memory"):
        rows(store, "SELECT len(list(a.path || b.range::VARCHAR)) FROM photos a, range(2000000) b")


def test_what_is_too_much_for_memory_goes_to_a_folder_that_is_removed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spill))
    asked = "SELECT current_setting('temp_directory') AS f, current_setting('memory_limit') AS m"
    (row,) = rows(store, asked)
    assert Path(row["f"]).parent == spill
    assert row["m"] == "953.6 MiB"
    assert list(spill.iterdir()) == []


def test_a_table_of_an_older_release_has_the_columns_it_lacks_as_null(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = pa.table(
        {
            "sample_id": ["a"],
            "split": ["train"],
            "left_eye_box": [{"left": 1.0, "top": 2.0}],
        }
    )
    write_deltalake(tmp_path / "samples", old)
    (row,) = rows(store, "SELECT split, person, left_eye_box FROM samples")
    box = {"left": 1.0, "top": 2.0, "right": None, "bottom": None}
    assert row == {"split": "train", "person": None, "left_eye_box": box}


def test_folders_with_odd_names_are_asked_as_well(tmp_path: Path) -> None:
    store = Store(tmp_path / "a [b] *c? 'd' ü")
    store.upsert(Photo, [photo(1)], why="ingest")
    assert rows(store, "SELECT count(*) AS n FROM photos") == [{"n": 1}]


def test_a_file_that_is_gone_is_told_with_what_to_do(store: Store) -> None:
    for file in (store.folder / "photos").glob("*.parquet"):
        file.unlink()
    with pytest.raises(ManifestError, match="authface manifest fsck"):
        rows(store, "SELECT count(*) FROM photos")


def test_without_duckdb_its_extra_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtra, match=r"\.\[tables\]"):
        rows(store, "SELECT 1")


def test_an_answer_comes_in_batches(store: Store) -> None:
    with ask(store, "SELECT range FROM photos, range(100000)") as answer:
        sizes = [batch.num_rows for batch in answer]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= query.BATCH


def test_samples_are_a_noun_like_any_other(store: Store) -> None:
    assert query.noun_of("samples") is Sample
    with pytest.raises(ManifestError, match="Did you mean samples"):
        query.noun_of("sample")
