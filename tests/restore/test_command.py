"""The command: options that become settings, reruns, doubts that become tasks, exit codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from authface.cli import app
from data_manifests.errors import AuthFaceError
from data_manifests.media import Workspace
from data_manifests.records import Task
from data_manifests.store import Store
from restore.outcome import read_sidecar

RUN = CliRunner()


@pytest.fixture
def photos(tmp_path: Path, portrait) -> Path:
    """Two portraits and a picture without a face."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(portrait).save(folder / "a.png")
    Image.fromarray(portrait[:, ::-1].copy()).save(folder / "b.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "none.png")
    return folder


def restore(photos: Path, *more: str) -> tuple[int, str]:
    """(exit code, all that was printed on one line)."""
    done = RUN.invoke(app, ["restore", str(photos), str(photos.parent / "out"), *more])
    if isinstance(done.exception, AuthFaceError):  # cli.main prints it
        return 2, str(done.exception)
    return done.exit_code, " ".join(done.output.split())


def test_a_folder_a_rerun_and_another_setting(photos: Path, restorer_folder: Path) -> None:
    model = ["--model", str(restorer_folder), "--set", "steps=2", "--max-memory", "1GB"]
    code, said = restore(photos, *model)
    assert code == 3, said
    assert "3 photos: 2 restored, 1 without a restored face" in said
    _, again = restore(photos, *model)
    assert again.count("done before") == 3
    _, other = restore(photos, *model, "--faces", "0", "--seed", "4")
    assert "done before" not in other
    said_of = read_sidecar(photos.parent / "out" / "a.png")
    assert said_of is not None
    assert (said_of["settings"]["seed"], said_of["settings"]["steps"]) == (4, 2)


def test_wrong_words_are_told_before_any_work(photos: Path, restorer_folder: Path) -> None:
    for option, value, wanted in (
        ("--faces", "some", "write all, largest"),
        ("--max-memory", "lots", "--max-memory lots is no size"),
        ("--preset", "best", "There is no preset 'best'"),
        ("--set", "stepz=3", "did you mean 'steps'"),
        ("--upscaler", "gone.safetensors", "is no file"),
        ("--page", "page.pdf", "page.pdf is no name for a page"),
        ("--page", str(photos), "is no name for a page"),
    ):
        code, said = restore(photos, "--model", str(restorer_folder), option, value)
        assert (code, wanted in said) == (2, True), said
        assert "Value error" not in said
    assert not (photos.parent / "out").exists()


def test_a_page_never_replaces_what_is_no_page(
    photos: Path, restorer_folder: Path, tmp_path: Path
) -> None:
    page, model = tmp_path / "page.html", ["--model", str(restorer_folder), "--set", "steps=1"]
    page.write_text("<p>a diary")
    code, said = restore(photos, *model, "--page", str(page))
    assert (code, "is no before/after page of AuthFace" in said) == (2, True), said
    assert page.read_text() == "<p>a diary"
    page.unlink()
    assert restore(photos, *model, "--page", str(page))[0] == 3
    first = page.read_bytes()
    assert restore(photos, *model, "--page", str(page))[0] == 3
    assert page.read_bytes() != first  # it says that the photos were done before


def test_what_changes_nothing_for_aligned_faces_is_said(
    photos: Path, restorer_folder: Path
) -> None:
    model = ["--model", str(restorer_folder), "--set", "steps=1", "--aligned"]
    _, said = restore(photos, *model, "--upscale", "2", "--faces", "largest")
    assert "at the model's own size: upscale, faces changes nothing" in said
    assert "changes nothing" not in restore(photos, *model)[1]


def test_a_face_that_is_not_there_is_named(photos: Path, restorer_folder: Path) -> None:
    model = ["--model", str(restorer_folder), "--set", "steps=1"]
    _, said = restore(photos, *model, "--faces", "0,7")
    assert said.count("there is no face 7: the photo has one, 0") == 2  # none of the faceless one
    _, said = restore(photos, *model, "--faces", "box:0,0,3,3")
    assert said.count("no face was found in the box that was asked for") == 2
    sidecar = read_sidecar(photos.parent / "out" / "a.png")
    assert sidecar is not None
    assert (sidecar["output"], "No face was restored" in sidecar["about"]) == (None, True)


def test_doubtful_faces_become_tasks(photos: Path, restorer_folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    assert RUN.invoke(app, ["init", str(place)]).exit_code == 0
    model = ["--model", str(restorer_folder), "--set", "steps=2", "--workspace", str(place)]
    _, said = restore(photos, *model, "--review")
    assert "2 review tasks wait" in said
    tasks = Store(Workspace(place).tables).read(Task)
    assert {task.kind for task in tasks} == {"review"}
    assert all((Workspace(place).media / str(task.image_path)).is_file() for task in tasks)
    assert all("restored face: " in (task.note or "") for task in tasks)
    _, again = restore(photos, *model, "--review")
    assert "2 photos asked about before" in again


def test_review_needs_a_workspace(
    photos: Path, restorer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    code, said = restore(photos, "--model", str(restorer_folder), "--review")
    assert code == 2
    assert "--review asks people through a workspace" in said
