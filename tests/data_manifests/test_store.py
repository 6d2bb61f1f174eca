"""The Delta tables, on real files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_manifests.errors import ManifestError
from data_manifests.records import Capture, Photo, Verdict
from data_manifests.store import Store, file_sha256


def photo(number: int, **changes: object) -> Photo:
    made = Photo(
        photo_id=f"{number:064d}",
        path=f"/photos/{number}.jpg",
        state="kept",
        size_bytes=number,
        verdicts=(Verdict(gate="long_side", value=9000.0, keep=True),),
        capture=Capture(iso=200, taken_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "tables")


def test_rows_come_back_equal_and_in_key_order(store: Store) -> None:
    rows = [photo(n) for n in (3, 1, 2)]
    store.upsert(Photo, rows, why="test")
    assert store.read(Photo) == [photo(1), photo(2), photo(3)]


def test_a_folder_may_have_spaces_and_letters_of_any_language(tmp_path: Path) -> None:
    store = Store(tmp_path / "Fotos für später" / "tables")
    store.upsert(Photo, [photo(1)], why="test")
    assert store.read(Photo) == [photo(1)]
    assert len(store.seals(Photo)) == 1


def test_an_upsert_of_the_same_rows_commits_nothing(store: Store) -> None:
    first = store.upsert(Photo, [photo(1), photo(2)], why="test")
    again = store.upsert(Photo, [photo(2), photo(1)], why="test")
    assert again.version == first.version
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)


def test_an_upsert_replaces_by_key_and_adds_the_rest(store: Store) -> None:
    store.upsert(Photo, [photo(1), photo(2)], why="test")
    commit = store.upsert(Photo, [photo(2, state="set_aside"), photo(3)], why="test")
    assert (commit.added, commit.changed) == (1, 1)
    assert [p.state for p in store.read(Photo)] == ["kept", "set_aside", "kept"]


def test_an_older_version_stays_readable(store: Store) -> None:
    before = store.upsert(Photo, [photo(1)], why="test").version
    store.upsert(Photo, [photo(1, state="set_aside")], why="test")
    assert store.read(Photo, before) == [photo(1)]


def test_removed_rows_are_gone_from_the_newest_version_only(store: Store) -> None:
    before = store.upsert(Photo, [photo(1), photo(2)], why="test").version
    assert store.remove(Photo, [photo(1).photo_id], why="test") == 1
    assert store.read(Photo) == [photo(2)]
    assert len(store.read(Photo, before)) == 2


def test_a_version_that_is_not_there_is_a_clear_error(store: Store) -> None:
    store.upsert(Photo, [photo(1)], why="test")
    with pytest.raises(ManifestError, match="version 99"):
        store.read(Photo, 99)


def test_a_table_that_was_never_written_reads_as_empty(store: Store) -> None:
    assert store.read(Photo) == []
    assert store.version(Photo) is None


def test_every_parquet_file_is_vouched_for_by_its_hash(store: Store) -> None:
    store.upsert(Photo, [photo(n) for n in range(5)], why="test")
    store.upsert(Photo, [photo(2, state="set_aside")], why="test")
    store.remove(Photo, [photo(0).photo_id], why="test")
    seals = store.seals(Photo)
    files = {p.name for p in (store.folder / "photos").glob("*.parquet")}
    assert files == set(seals)
    assert all(file_sha256(store.folder / "photos" / name) == sha for name, sha in seals.items())
    assert store.unsealed(Photo) == []


def test_a_commit_without_its_seal_is_sealed_by_the_next_write(store: Store) -> None:
    """As if the writer had been killed between the MERGE and the seal."""
    store.upsert(Photo, [photo(1)], why="test")
    last = max((store.folder / "photos" / "_delta_log").glob("*.json"))
    assert "authface_sealed_version" in last.read_text()
    last.unlink()
    assert len(store.unsealed(Photo)) == 1
    store.upsert(Photo, [photo(2)], why="test")
    assert store.unsealed(Photo) == []
    assert store.read(Photo) == [photo(1), photo(2)]


def test_a_commit_says_why_it_was_made(store: Store) -> None:
    store.upsert(Photo, [photo(1)], why="ingest of a folder")
    log = sorted((store.folder / "photos" / "_delta_log").glob("*.json"))
    infos = [json.loads(line) for p in log for line in p.read_text().splitlines()]
    assert any(i.get("commitInfo", {}).get("authface_why") == "ingest of a folder" for i in infos)


def test_old_commits_are_never_tidied_away(store: Store) -> None:
    store.upsert(Photo, [photo(1)], why="test")
    first = (store.folder / "photos" / "_delta_log" / f"{0:020d}.json").read_text()
    assert '"delta.enableExpiredLogCleanup":"false"' in first
