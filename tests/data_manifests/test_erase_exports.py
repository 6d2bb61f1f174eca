"""An erasure reaches every export, also one that a killed --overwrite left beside its folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_manifests.erase import (
    Answers,
    Forget,
    Outcome,
    carry_out,
    finish,
    pending,
    plan_erasure,
)
from data_manifests.export import Order, export
from data_manifests.outgoing import ExportConfig
from data_manifests.records import Photo, Sample

NOBODY: Forget = lambda sent: ()  # noqa: E731  # no task was ever sent


@pytest.fixture
def person(gallery: Any) -> Sample:
    """A sample of a photo that shows the subject s0."""
    sample = gallery.store.rows_with(Sample, "split", ["train"])[0]
    (photo,) = gallery.store.rows_with(Photo, "photo_id", [sample.photo_id])
    gallery.store.upsert(Photo, [replace(photo, subject_id="s0")], why="test")
    return sample


def export_to(gallery: Any, folder: Path) -> None:
    order = Order("webdataset", folder)
    export(gallery.store, gallery.place.media, order, ExportConfig(), gallery.now)


def erase(gallery: Any) -> Outcome:
    plan = plan_erasure(gallery.store, gallery.place, "s0")
    return carry_out(gallery.store, gallery.place, plan, NOBODY)


def holds(folder: Path, sample: Sample) -> bool:
    wanted = (sample.sample_id.encode(), sample.caption.encode())
    files = [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    return any(w in data for w in wanted for data in files)


def test_exports_lose_the_person_and_keep_the_others(
    gallery: Any, person: Sample, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export_to(gallery, folder)
    assert holds(folder, person)
    outcome = erase(gallery)
    assert outcome.complete
    assert outcome.facts["exports"] == 1
    assert not holds(folder, person)
    others = [s for s in gallery.samples if s.photo_id != person.photo_id]
    assert all(holds(folder, s) for s in others)


def test_what_a_killed_overwrite_left_beside_the_folder_goes_too(
    gallery: Any, person: Sample, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export_to(gallery, folder)
    beside = tmp_path / ".out.old"
    shutil.copytree(folder, beside)
    assert erase(gallery).complete
    assert not beside.exists()
    assert not holds(folder, person)


def test_an_export_that_is_gone_is_said_and_left_open(
    gallery: Any, person: Sample, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export_to(gallery, folder)
    shutil.rmtree(folder)
    outcome = erase(gallery)
    assert not outcome.complete
    assert "is not there" in str(outcome.plan.left)
    assert person.sample_id not in {s.sample_id for s in gallery.store.read(Sample)}
    assert pending(gallery.place) == ""


def test_an_export_that_fails_is_owed_and_the_rest_is_done(
    gallery: Any, person: Sample, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export_to(gallery, folder)
    (tar,) = [p for p in folder.glob("*.tar") if person.sample_id.encode() in p.read_bytes()]
    whole = tar.read_bytes()
    (photo,) = gallery.store.rows_with(Photo, "photo_id", [person.photo_id])
    page = gallery.place.root / "cache" / f"{photo.photo_id}.bin"
    page.parent.mkdir()
    page.write_bytes(b"cached")
    tar.unlink()
    tar.mkdir()
    (tar / "x").write_bytes(b"")
    outcome = erase(gallery)
    assert not outcome.complete
    assert "wait for the next run" in str(outcome.facts["not_done"])
    assert not page.exists()
    assert "1 exports" in pending(gallery.place)
    (still,) = finish(gallery.store, gallery.place, NOBODY)
    assert isinstance(still, Answers)
    assert still.failed
    (tar / "x").unlink()
    tar.rmdir()
    tar.write_bytes(whole)
    assert holds(folder, person)
    (done,) = finish(gallery.store, gallery.place, NOBODY)
    assert isinstance(done, Answers)
    assert not done.failed
    assert not holds(folder, person)
    assert pending(gallery.place) == ""


def test_an_error_of_any_kind_leaves_the_export_open_and_ends_the_rest(
    gallery: Any, person: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> str:
        raise KeyError("footer")

    export_to(gallery, tmp_path / "out")
    monkeypatch.setattr("data_manifests.export.forget", damaged)
    outcome = erase(gallery)
    assert "KeyError" in str(outcome.plan.left)
    assert outcome.receipt.exists()
    assert gallery.store.rows_with(Photo, "photo_id", [person.photo_id]) == []
