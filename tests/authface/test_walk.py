"""Commands run one after another, as the demo does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authface.walk import Walk
from data_manifests.errors import AuthFaceError


def test_a_step_keeps_its_command_and_what_it_printed(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    step = walk.run("--version")
    assert step.command == "authface --version"
    assert step.output.startswith("authface ")
    walk.save(tmp_path / "log.json")
    assert json.loads((tmp_path / "log.json").read_text())[0]["code"] == 0


def test_a_step_that_fails_ends_the_walk_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(AuthFaceError, match="exit code 2"):
        Walk(tmp_path / "nothing").run("manifest", "build")


def test_a_code_that_is_fine_does_not_end_the_walk(tmp_path: Path) -> None:
    assert Walk(tmp_path / "nothing").run("manifest", "build", fine=(2,)).code == 2


def test_a_server_that_ends_before_it_is_ready_is_said(tmp_path: Path) -> None:
    with pytest.raises(AuthFaceError, match="ended with exit code 0"):
        Walk(tmp_path).serve("--version", ready="never printed", timeout_s=20)
