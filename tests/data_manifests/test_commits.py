"""What a commit promises: atomic, once, in turn, and nothing half written after a stop."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_manifests import store as storing
from data_manifests.errors import ManifestError
from data_manifests.log import commits
from data_manifests.records import ConsentEntry, Photo, Verdict
from data_manifests.schema import table_from_records
from data_manifests.store import Store
from data_manifests.sweep import leftovers, writing_media

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def photo(number: int, **facts: Any) -> Photo:
    return Photo(photo_id=f"{number:064d}", path=f"/{number}", state="kept", size_bytes=1, **facts)


def entry(number: int, kind: str = "grant") -> ConsentEntry:
    hashes = {"terms_sha256": "t", "previous_sha256": "p", "entry_sha256": "e"}
    return ConsentEntry(entry_id=f"{number:010d}", kind=kind, at=WHEN, **hashes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "tables")


def test_append_adds_once_and_refuses_to_change(store: Store) -> None:
    first = store.append(ConsentEntry, [entry(0), entry(1)], why="test")
    again = store.append(ConsentEntry, [entry(1)], why="the answer to the first was lost")
    assert (first.added, again.added, again.version) == (2, 0, first.version)
    with pytest.raises(ManifestError, match="only ever added to, and 0000000001"):
        store.append(ConsentEntry, [entry(1, "withdraw"), entry(2)], why="test")
    assert store.read(ConsentEntry) == [entry(0), entry(1)]


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object) -> None:
        raise ConnectionResetError("the answer never came")

    with monkeypatch.context() as lost:
        lost.setattr(storing, "seal", die)
        with pytest.raises(ConnectionResetError):
            store.upsert(Photo, [photo(1)], why="test")
    done = store.upsert(Photo, [photo(1)], why="test")
    assert (done.added, done.unchanged) == (0, 1)
    assert store.read(Photo) == [photo(1)]
    assert store.unsealed(Photo) == []


def test_rows_are_replaced_in_one_commit(store: Store) -> None:
    store.upsert(Photo, [photo(n) for n in range(4)], why="test")
    wanted = [photo(0), photo(1, near_duplicate_of="x"), photo(9)]
    before = store.version(Photo)
    done = store.replace_rows(Photo, table_from_records(Photo, wanted), why="test")
    assert (done.added, done.changed, done.unchanged, done.removed) == (1, 1, 1, 2)
    assert store.read(Photo) == wanted
    assert done.version == (before or 0) + 2  # one commit and its seal
    again = store.replace_rows(Photo, table_from_records(Photo, wanted), why="test")
    assert (again.version, again.unchanged) == (done.version, 3)


def test_a_small_change_merges_and_does_not_write_the_table_anew(store: Store) -> None:
    rows = [photo(n) for n in range(20)]
    store.upsert(Photo, rows, why="test")
    gate = Verdict(gate="g", value=float("nan"), keep=True)
    rows[3] = replace(rows[3], verdicts=(gate,))
    done = store.replace_rows(Photo, table_from_records(Photo, rows), why="test")
    assert (done.changed, done.added) == (1, 0)
    assert [c.info.get("operation") for c in commits(store.folder / "photos")][-2] == "MERGE"
    again = store.replace_rows(Photo, table_from_records(Photo, rows), why="not a number is itself")
    assert again.version == done.version


def test_a_restored_version_is_the_newest_and_history_stays(store: Store) -> None:
    first = store.upsert(Photo, [photo(1), photo(2)], why="test").version
    store.upsert(Photo, [photo(2, near_duplicate_of="x"), photo(3)], why="a mistake")
    mistaken = store.version(Photo)
    done = store.restore(Photo, first, why="undo")
    assert store.read(Photo) == [photo(1), photo(2)]
    assert (done.changed, done.removed) == (1, 1)
    assert len(store.read(Photo, mistaken)) == 3
    with pytest.raises(ManifestError, match="version 99"):
        store.restore(Photo, 99, why="undo")


UNLOCKED = """
import contextlib, sys
from pathlib import Path
from data_manifests.records import Photo
from data_manifests.store import Store
class Elsewhere(Store):
    @contextlib.contextmanager
    def _locked(self, noun):
        yield
store, me = Elsewhere(Path(sys.argv[1])), sys.argv[2]
for n in range(6):
    row = Photo(photo_id=f"{me}-{n}", path="x", state="kept", size_bytes=n)
    store.upsert(Photo, [row], why=me)
"""


def test_writers_that_share_no_lock_lose_nothing(store: Store) -> None:
    """As on two machines: Delta's own commit order decides, and who comes second tries again."""
    store.upsert(Photo, [photo(0)], why="test")
    command = [sys.executable, "-c", UNLOCKED, str(store.folder)]
    writers = [subprocess.Popen([*command, str(me)]) for me in range(4)]
    assert [w.wait(timeout=240) for w in writers] == [0, 0, 0, 0]
    found = [p.photo_id for p in store.read(Photo)]
    assert len(found) == len(set(found)) == 25


def test_what_a_stopped_writer_left_is_taken_away_by_the_next(store: Store) -> None:
    store.upsert(Photo, [photo(1)], why="test")
    table = store.folder / "photos"
    (table / "part-00000-dead.snappy.parquet").write_bytes(b"half a file")
    (table / "_delta_log" / ".part-dead").write_bytes(b"half a file")
    assert len(list(leftovers(table))) == 2
    store.upsert(Photo, [photo(2)], why="a live writer's files are not looked for every time")
    assert len(list(leftovers(table))) == 2
    (store.folder / ".writing-photos").write_text("")
    store.upsert(Photo, [photo(2)], why="test")
    assert not list(leftovers(table))
    assert not list(store.folder.glob(".writing-*"))
    assert store.read(Photo) == [photo(1), photo(2)]


KILLED = """
import sys
from pathlib import Path
from data_manifests.records import Photo
from data_manifests.store import Store
store = Store(Path(sys.argv[1]))
for n in range(1000):
    rows = [Photo(photo_id=f"{n}-{i}", path="x", state="kept", size_bytes=i) for i in range(3)]
    print(n, flush=True)
    store.upsert(Photo, rows, why="test")
"""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_kill_leaves_whole_commits_and_a_table_that_goes_on(store: Store, after: int) -> None:
    with writing(store.folder) as process:
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    counts: dict[str, int] = {}
    for row in store.read(Photo):
        group = row.photo_id.split("-")[0]
        counts[group] = counts.get(group, 0) + 1
    assert set(counts.values()) <= {3}, "a commit was seen in part"
    assert len(counts) >= after - 1, "a commit was lost"
    store.upsert(Photo, [photo(7)], why="goes on")
    assert store.unsealed(Photo) == []
    assert not list(leftovers(store.folder / "photos"))


def test_half_written_media_of_a_killed_writer_go_and_those_of_a_live_one_stay(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    (tmp_path / "crops").mkdir()
    half, mark = tmp_path / "crops" / ".part-x", f".writing-{platform.node()}-"
    half.touch()
    (tmp_path / f"{mark}{os.getppid()}").touch()
    (tmp_path / f"{mark}{dead.pid}").touch()
    with writing_media(tmp_path):
        assert half.exists()
    (tmp_path / f"{mark}{os.getppid()}").unlink()
    with writing_media(tmp_path):
        assert not half.exists()
        assert [p.name for p in tmp_path.glob(".writing-*")] == [f"{mark}{os.getpid()}"]
    assert not list(tmp_path.glob(".writing-*"))
