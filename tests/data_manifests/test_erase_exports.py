"""An erasure reaches every export, also one that a killed --overwrite left beside its folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_manifests.erase import Forget, Outcome, carry_out, plan_erasure
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
