"""The commands `authface restore` and `authface evaluate`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from authface.cli import app
from data_manifests.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder that lies in no workspace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHFACE_WORKSPACE", raising=False)


def run(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_a_photo_is_restored_and_evaluated_without_a_workspace(
    photo: Path, restorer_folder: Path, tmp_path: Path
) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    looks = ["--page", page, "--sheet", tmp_path / "sheet.jpg"]
    done = run("restore", photo.parent, out, "--model", restorer_folder, *looks)
    assert done.exit_code == 0, done.output
    assert "1 of 1 faces restored" in done.output
    assert "random weights" in done.output
    assert "before and after: " in done.output
    assert done.output.count("contact sheet: ") == 1
    assert "random weights" in page.read_text()
    scored = run("evaluate", out, photo.parent)
    assert scored.exit_code == 0, scored.output
    assert "face 0 is doubtful" in scored.output
    assert "shift: of the landmarks" in scored.output
    report = (out / "evaluation.json").read_bytes()
    assert len(json.loads(report)["scores"]) == 1
    assert run("evaluate", out / photo.name, photo).exit_code == 0
    assert (out / "evaluation.json").read_bytes() == report
    assert (out / f"{photo.name}.evaluation.json").exists()


def test_the_exit_code_says_how_much_worked(
    photo: Path, restorer_folder: Path, tmp_path: Path
) -> None:
    source = photo.parent
    Image.new("RGB", (90, 90), "teal").save(source / "empty.png")
    (source / "broken.jpg").write_bytes(b"x")
    partly = run("restore", source, tmp_path / "out", "--model", restorer_folder)
    assert partly.exit_code == 3, partly.output
    assert "no face found" in partly.output
    assert "1 restored, 1 without a restored face, 1 failed" in partly.output
    none = run("restore", source / "broken.jpg", tmp_path / "o.jpg", "--model", restorer_folder)
    assert none.exit_code == 2
    faceless = run("restore", source / "empty.png", tmp_path / "o.png", "--model", restorer_folder)
    assert faceless.exit_code == 3


def test_options_are_checked_and_a_missing_model_is_explained(
    photo: Path, restorer_folder: Path, tmp_path: Path
) -> None:
    wrong = run("restore", photo, tmp_path / "a.png", "--model", restorer_folder, "--fidelity", 2)
    assert isinstance(wrong.exception, ConfigError)
    assert "fidelity" in str(wrong.exception)
    missing = run("restore", photo, tmp_path / "a.png")
    assert isinstance(missing.exception, ConfigError)
    assert "--model" in str(missing.exception)


def test_options_reach_the_sidecar(photo: Path, restorer_folder: Path, tmp_path: Path) -> None:
    words = (
        "--steps",
        2,
        "--seed",
        5,
        "--fidelity",
        0.5,
        "--colour",
        "adain",
        "--faces",
        "largest",
    )
    done = run("restore", photo, tmp_path / "a.png", "--model", restorer_folder, *words)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "a.png.authface.json").read_text())
    assert {k: said["settings"][k] for k in ("seed", "fidelity", "colour", "faces")} == {
        "seed": 5,
        "fidelity": 0.5,
        "colour": "adain",
        "faces": "largest",
    }
    assert said["faces"][0]["steps"] == 2


def test_the_newest_restorer_of_a_workspace_is_the_default(
    photo: Path, restorer_folder: Path, tmp_path: Path
) -> None:
    from authface.settings import init_workspace

    init_workspace(tmp_path / "ws")
    link = tmp_path / "ws" / "runs" / "mine"
    link.mkdir(parents=True)
    (link / "model").symlink_to(restorer_folder)
    done = run("restore", photo, tmp_path / "a.png", "-w", tmp_path / "ws")
    assert done.exit_code == 0, done.output


def test_pictures_that_can_not_be_compared_end_in_code_2_or_3(
    portrait: np.ndarray, tmp_path: Path
) -> None:
    for name, folder, size in (("a", "x", 512), ("a", "y", 512), ("b", "x", 512), ("b", "y", 400)):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(portrait[:size]).save(tmp_path / folder / f"{name}.png")
    partly = run("evaluate", tmp_path / "x", tmp_path / "y")
    assert partly.exit_code == 3, partly.output
    assert "sizes differ" in partly.output
    assert run("evaluate", tmp_path / "x" / "b.png", tmp_path / "y" / "b.png").exit_code == 2
