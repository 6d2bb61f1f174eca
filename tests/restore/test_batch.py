"""A folder of photos: which becomes which, and what happens to the bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_manifests.errors import InputError
from restore.batch import plan_jobs, restore_jobs
from restore.outcome import read_sidecar


def test_one_photo_goes_to_the_name_or_into_the_folder_given(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert [j.target for j in plan_jobs(photo, out / "x.jpg")] == [out / "x.jpg"]
    out.mkdir()
    assert [j.target for j in plan_jobs(photo, out)] == [out / "portrait.png"]


def test_a_folder_keeps_its_shape_and_gets_endings_that_can_be_written(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name in ("a.jpg", "sub/b.PNG", "c.heic", "c.jpg", "d.NEF"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"x")
    jobs = plan_jobs(source, tmp_path / "out")
    targets = sorted(j.target.relative_to(tmp_path / "out").as_posix() for j in jobs)
    assert targets == ["a.jpg", "c.heic.tif", "c.jpg", "d.NEF.tif", "sub/b.PNG"]


def test_outputs_inside_the_input_folder_are_never_taken_for_inputs(photo: Path) -> None:
    source = photo.parent
    out = source / "restored"
    out.mkdir()
    Image.new("RGB", (8, 8)).save(out / "old.png")
    assert [j.source.name for j in plan_jobs(source, out)] == ["portrait.png"]


def test_impossible_orders_are_errors_for_people(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        plan_jobs(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(InputError, match="same folder"):
        plan_jobs(photo.parent, photo.parent)
    with pytest.raises(InputError, match="is a file"):
        plan_jobs(photo.parent, photo)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photo"):
        plan_jobs(tmp_path / "empty", tmp_path / "out")


def test_one_bad_file_costs_itself_alone(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    whole = photo.read_bytes()
    (photo.parent / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photo.parent / "words.jpg").write_text("no picture")
    (photo.parent / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    jobs = plan_jobs(photo.parent, tmp_path / "out")
    outcomes = list(restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked)))
    status = {o.source.name: o.status for o in outcomes}
    assert status == {
        "cut.png": "failed",
        "gone.jpg": "failed",
        "portrait.png": "restored",
        "words.jpg": "failed",
    }
    assert all(o.problem for o in outcomes if o.status == "failed")
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert made == ["portrait.png", "portrait.png.authface.json"]


def test_the_order_of_a_folder_changes_no_pixel(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(portrait, 3 * i, axis=2)).save(source / f"{i}.png")
    jobs = plan_jobs(source, tmp_path / "one")
    list(restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked)))
    again = plan_jobs(source, tmp_path / "two")[::-1]
    list(restore_jobs(again, restorer=make_restorer(), finder=finder_of(marked)))
    for i in range(3):
        first, second = (tmp_path / d / f"{i}.png" for d in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        said = read_sidecar(first)
        assert said is not None
        assert said["status"] == "restored"
