"""A folder of photos: which becomes which, and what happens to the bad ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_manifests.errors import InputError
from restore.batch import plan_jobs, restore_jobs
from restore.outcome import Outcome, read_sidecar


def test_one_photo_goes_to_the_name_or_into_the_folder_given(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert [j.target for j in plan_jobs(photo, out / "x.jpg")] == [out / "x.jpg"]
    assert [j.target for j in plan_jobs(photo, out)] == [out / "portrait.png"]  # it will be made
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
    with pytest.raises(InputError, match="no ending that can be written"):
        plan_jobs(photo, tmp_path / "out.xyz")
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


def four_photos(portrait, folder: Path) -> Path:
    """Four photos that differ, in the folder."""
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.roll(portrait, 3 * i, axis=1)).save(folder / f"{i}.png")
    return folder


def bytes_in(folder: Path) -> dict[str, bytes]:
    """The pictures in the folder."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.png"))}


def test_what_is_done_is_found_and_left(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    source, out = four_photos(portrait, tmp_path / "in"), tmp_path / "out"

    def run(again: bool = False, **settings: object) -> list[bool]:
        jobs = plan_jobs(source, out, again=again)
        restorer, finder = make_restorer(**settings), finder_of(marked)
        outcomes = list(restore_jobs(jobs, restorer=restorer, finder=finder))
        assert all(o.status == "restored" for o in outcomes)
        return [o.resumed for o in outcomes]

    assert run() == [False] * 4
    first = bytes_in(out)
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert run() == [True] * 4
    assert times == {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert run(device="cpu", batch=1) == [True] * 4  # how, not what
    (out / "1.png").write_bytes(first["1.png"][:-1])  # damaged
    (out / "2.png").unlink()
    (source / "3.png").write_bytes((source / "0.png").read_bytes())  # another photo now
    assert run() == [True, False, False, False]
    assert {**bytes_in(out), "3.png": first["3.png"]} == first
    assert run(seed=1) == [False] * 4
    assert run(again=True, seed=1) == [False] * 4


def test_neither_batch_nor_resume_changes_a_pixel(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    source = four_photos(portrait, tmp_path / "in")
    outs = []
    for name, parts, settings in (
        ("whole", [slice(None)], {}),
        ("batched", [slice(None)], {"batch": 3, "exact": True}),
        ("resumed", [slice(0, 2), slice(None)], {}),
    ):
        for part in parts:
            jobs = plan_jobs(source, tmp_path / name)[part]
            restorer = make_restorer(**settings)
            list(restore_jobs(jobs, restorer=restorer, finder=finder_of(marked)))
        outs.append(bytes_in(tmp_path / name))
    assert outs[0] == outs[1] == outs[2]
    assert len(set(outs[0].values())) == 4


def test_faces_of_several_photos_share_a_batch(
    make_restorer, finder_of, mark_face, portrait, tmp_path: Path, monkeypatch
) -> None:
    source = four_photos(portrait, tmp_path / "in")
    Image.new("RGB", (512, 512)).save(source / "1-empty.png")
    restorer = make_restorer(batch=3, exact=False)
    sizes: list[int] = []
    real = restorer._restore_batch
    monkeypatch.setattr(
        restorer, "_restore_batch", lambda *a: (sizes.append(len(a[0])), real(*a))[1]
    )
    from curation.config import FacesConfig
    from curation.faces import NamedFinder

    marked = mark_face()
    finder = NamedFinder(
        "by-hand", True, lambda: lambda p: [marked] if p.any() else [], FacesConfig()
    )
    outcomes = list(
        restore_jobs(plan_jobs(source, tmp_path / "out"), restorer=restorer, finder=finder)
    )
    assert sizes == [3, 1]
    assert [o.source.name for o in outcomes] == ["0.png", "1-empty.png", "1.png", "2.png", "3.png"]
    assert [o.status for o in outcomes] == ["restored", "nothing", *["restored"] * 3]


def test_little_memory_changes_no_bit(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    source = four_photos(portrait, tmp_path / "in")
    for name, megabytes in (("much", 4096), ("little", 1)):
        jobs, restorer = plan_jobs(source, tmp_path / name), make_restorer(max_memory_mb=megabytes)
        done = list(restore_jobs(jobs, restorer=restorer, finder=finder_of(marked)))
        assert [o.status for o in done] == ["restored"] * 4
    assert bytes_in(tmp_path / "much") == bytes_in(tmp_path / "little")


@pytest.mark.parametrize(("batch", "most"), [(1, 1), (3, 3)])
def test_no_more_photos_are_held_than_memory_allows(
    make_restorer, finder_of, marked, portrait, tmp_path: Path, monkeypatch, batch: int, most: int
) -> None:
    from restore import batch as batches

    held = []

    class Watched(batches.Budget):
        def _count(self, used: int, moving: int) -> None:
            super()._count(used, moving)
            held.append(self._used)

        def take(self, size: int):
            hold = super().take(size)
            held.append(self._used)
            return hold

    monkeypatch.setattr(batches, "Budget", Watched)
    source = four_photos(portrait, tmp_path / "in")
    restorer = make_restorer(max_memory_mb=1, batch=batch, exact=batch == 1)
    real = restorer.restore_each

    def slowly(faces, *, seeds, fidelity=None):
        time.sleep(0.5)  # time to read ahead, if that were allowed
        return real(faces, seeds=seeds, fidelity=fidelity)

    monkeypatch.setattr(restorer, "restore_each", slowly)
    jobs = plan_jobs(source, tmp_path / "out")
    done = list(restore_jobs(jobs, restorer=restorer, finder=finder_of(marked)))
    assert [o.status for o in done] == ["restored"] * 4
    one = 512 * 512 * 13  # bytes that are reckoned for a photo
    assert max(held) == most * one
    assert held[-1] == 0


def test_a_run_that_is_left_early_leaves_no_thread_behind(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    import threading

    source = four_photos(portrait, tmp_path / "in")
    before = threading.active_count()
    done = restore_jobs(
        plan_jobs(source, tmp_path / "out"), restorer=make_restorer(), finder=finder_of(marked)
    )
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    children_before = {c for file in children for c in file.read_text().split()}
    assert next(done).status == "restored"
    done.close()
    assert threading.active_count() == before
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    assert {c for file in children for c in file.read_text().split()} <= children_before


@pytest.mark.parametrize(
    "settings", [{}, {"batch": 3, "exact": False}, {"max_memory_mb": 1}], ids=str
)
def test_told_to_stop_it_finishes_what_the_model_has_and_a_rerun_does_the_rest(
    make_restorer, finder_of, marked, portrait, tmp_path: Path, settings: dict[str, object]
) -> None:
    import threading

    source, out = four_photos(portrait, tmp_path / "in"), tmp_path / "out"
    for i in range(4, 12):
        (source / f"{i}.png").write_bytes((source / f"{i % 4}.png").read_bytes())
    before = threading.active_count()

    def run(folder: Path, *, stops: bool) -> list[Outcome]:
        done = restore_jobs(
            plan_jobs(source, folder),
            restorer=make_restorer(**settings),
            finder=finder_of(marked),
            stopped=lambda: stops and folder.is_dir() and any(folder.glob("*.png")),
        )
        return list(done)

    stopped = run(out, stops=True)
    assert 1 <= len(stopped) < 12
    assert [o.status for o in stopped] == ["restored"] * len(stopped)
    assert sorted(p.name for p in out.glob("*.png")) == sorted(o.target.name for o in stopped)
    assert len(list(out.iterdir())) == 2 * len(stopped)
    assert threading.active_count() == before
    rest = run(out, stops=False)
    assert sum(o.resumed for o in rest) == len(stopped)
    run(tmp_path / "whole", stops=False)
    assert bytes_in(out) == bytes_in(tmp_path / "whole")


def test_a_fault_of_ours_costs_its_photo_alone(
    make_restorer, finder_of, marked, portrait, tmp_path: Path, monkeypatch
) -> None:
    source = four_photos(portrait, tmp_path / "in")
    from restore import batch

    real = batch.prepare

    def broken(outcome, *args, **more):
        if outcome.source.name == "1.png":
            raise ZeroDivisionError("by hand")
        return real(outcome, *args, **more)

    monkeypatch.setattr(batch, "prepare", broken)
    jobs = plan_jobs(source, tmp_path / "out")
    done = list(restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked)))
    assert [o.status for o in done] == ["restored", "failed", "restored", "restored"]
    assert "ZeroDivisionError" in done[1].problem
    assert not (tmp_path / "out" / "1.png").exists()


def test_two_photos_never_write_one_file(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.heic", "a.heic.tif"):
        (source / name).write_bytes(b"x")
    targets = [j.target.name for j in plan_jobs(source, tmp_path / "out")]
    assert sorted(targets) == ["a.heic-2.tif", "a.heic.tif"]
