"""What a commit promises: atomic, once, in turn, and nothing half written after a stop."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from data_manifests import delta, sweep
from data_manifests import store as storing
from data_manifests.errors import ManifestError
from data_manifests.fsck import prove
from data_manifests.log import commits, log_file
from data_manifests.media import Workspace
from data_manifests.records import (
    Consent,
    ConsentEntry,
    Export,
    Face,
    Photo,
    Sample,
    Tombstone,
    Verdict,
)
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
    def locked(self, noun):
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
    (store.folder / f".writing-photos-{sweep._machine()}").touch()
    store.upsert(Photo, [photo(2)], why="test")
    assert not list(leftovers(table))
    assert not list(store.folder.glob(".writing-*"))
    assert store.read(Photo) == [photo(1), photo(2)]


def test_nothing_is_taken_away_while_another_machine_writes(store: Store) -> None:
    store.upsert(Photo, [photo(1)], why="test")
    half = store.folder / "photos" / "part-00000-theirs.snappy.parquet#1"
    half.write_bytes(b"half a file")
    for mark in (sweep._machine(), "elsewhere-00ff"):
        (store.folder / f".writing-photos-{mark}").touch()
    store.upsert(Photo, [photo(2)], why="test")
    assert store.sweep() == 0
    assert half.exists()
    yesterday = time.time() - 90_000
    os.utime(store.folder / ".writing-photos-elsewhere-00ff", (yesterday, yesterday))
    store.upsert(Photo, [photo(3)], why="no commit takes a day")
    assert not half.exists()
    assert not list(store.folder.glob(".writing-*"))


def test_files_that_only_a_checkpoint_knows_are_no_leftovers(store: Store) -> None:
    """As where an older release let delta-rs tidy the first versions away."""
    store.upsert(Photo, [photo(1)], why="test")
    table = store.folder / "photos"
    DeltaTable(table).create_checkpoint()
    store.upsert(Photo, [photo(2)], why="test")
    for version in range(3):
        log_file(table, version).unlink()
    assert not list(leftovers(table))
    assert len(store.read(Photo)) == 2


def test_an_overwrite_that_others_overtook_starts_again(store: Store) -> None:
    """Delta-rs alone would put it over rows that were added meanwhile, and double their keys."""
    store.upsert(Photo, [photo(n) for n in range(3)], why="test")
    overwrite, calls = storing.overwrite, []

    def late(table: DeltaTable, rows: Any, why: str) -> None:
        if not calls:
            calls.append(why)
            Elsewhere(store.folder).upsert(Photo, [photo(8)], why="another machine")
        overwrite(table, rows, why)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storing, "overwrite", late)
        wanted = [photo(0), photo(8)]
        store.replace_rows(Photo, table_from_records(Photo, wanted), why="test")
    assert [p.photo_id for p in store.read(Photo)] == [p.photo_id for p in wanted]
    assert store.unsealed(Photo) == []
    assert not [p for p in prove(Workspace(store.folder.parent)) if p.fault]


class Elsewhere(Store):
    """A writer on another machine: it shares no lock with this one."""

    @contextlib.contextmanager
    def locked(self, noun: type) -> Iterator[None]:
        yield


def test_a_seal_that_was_overtaken_vouches_for_all_before_it(store: Store) -> None:
    store.upsert(Photo, [photo(0)], why="test")
    metadata, calls = delta.seal_metadata, []

    def late(table: Path, version: int) -> dict[str, str]:
        said = metadata(table, version)
        if not calls:
            calls.append(version)
            Elsewhere(store.folder).upsert(Photo, [photo(9)], why="another machine")
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "seal_metadata", late)
        store.upsert(Photo, [photo(1)], why="test")
    assert len(store.read(Photo)) == 3
    assert store.unsealed(Photo) == []
    assert not [p for p in prove(Workspace(store.folder.parent)) if p.fault]


def test_consents_and_tombstones_are_never_set_back(store: Store) -> None:
    store.append(ConsentEntry, [entry(0)], why="test")
    for noun in (Consent, ConsentEntry, Tombstone, Export):
        with pytest.raises(ManifestError, match="never set back"):
            store.restore(noun, 1, why="undo")


def test_a_version_of_an_older_schema_is_restored_whole(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "golden" / "v1", tmp_path / "tables")
    store = Store(tmp_path / "tables")
    for noun in (Photo, Face, Sample):
        rows, first = store.read(noun), store.version(noun)
        assert first is not None
        changed = {"notes": ("new",)} if noun is Photo else {"weight": 2.0, "person": "s"}
        changed = {"identity_group": "g"} if noun is Face else changed
        store.upsert(noun, [replace(rows[0], **changed)], why="this release")
        store.restore(noun, first, why="undo")
        assert store.read(noun) == rows


def test_many_rows_are_removed_at_once(store: Store) -> None:
    rows = table_from_records(Photo, [photo(n) for n in range(30_000)])
    store.replace_rows(Photo, rows, why="test")
    assert store.remove(Photo, [photo(n).photo_id for n in range(1, 30_000)], why="test") == 29_999
    assert store.read(Photo) == [photo(0)]
    assert store.remove(Photo, ["not there"], why="test") == 0


def test_a_value_that_is_no_number_is_the_same_the_next_time(store: Store) -> None:
    row = photo(1, verdicts=(Verdict(gate="g", value=float("nan"), keep=True),))
    first = store.upsert(Photo, [row], why="test")
    again = photo(1, verdicts=(Verdict(gate="g", value=float("nan"), keep=True),))
    assert store.upsert(Photo, [again], why="test").version == first.version


KILLED = """
import sys
import time
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
