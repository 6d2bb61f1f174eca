"""What the doctor says, and when it says that the main job can't run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authface import doctor, doctor_studio
from authface.settings import init_workspace

if TYPE_CHECKING:
    from annotation.server import LocalServer


@pytest.mark.parametrize(
    ("version", "state", "blocks"),
    [
        ("1.23.2", "ok", False),
        ("2.0.0", "ok", False),
        ("1.22.0", "too old", True),
        ("", "too old", True),
    ],
)
def test_an_old_label_studio_is_refused(version: str, state: str, blocks: bool) -> None:
    finding = doctor_studio._judge_studio(version, "here")
    assert (finding.state, finding.blocks) == (state, blocks)


def test_a_package_the_main_job_needs_blocks_and_an_optional_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = (("no-such-package", "training", True), ("no-such-extra", "app", False))
    monkeypatch.setattr(doctor, "PACKAGES", missing)
    needed, optional = list(doctor._packages())[:2]
    assert needed.blocks
    assert "'.[training]'" in needed.detail
    assert not optional.blocks


def test_a_server_that_does_not_answer_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    (finding,) = doctor_studio.studio_findings()
    assert finding.blocks
    assert "is it running?" in finding.detail


def test_a_wrong_setting_makes_the_doctor_exit_1(tmp_path: Path) -> None:
    file, _ = init_workspace(tmp_path / "w")
    file.write_text("[restor]\n")
    command = [sys.executable, "-m", "authface.cli", "doctor", "-w", str(tmp_path / "w")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "did you mean 'restore'" in answer.stderr


@pytest.mark.studio
def test_our_own_server_lets_no_stranger_in(
    label_studio: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    found = {f.what: f.state for f in doctor_studio.studio_findings()}
    assert found == {"Label Studio": "ok", "Label Studio token": "ok"}


def test_plain_http_and_legacy_tokens_are_warned_of() -> None:
    found = doctor_studio._watch_out("http://labels.invalid", "a" * 40)
    assert [(f.what, f.state, f.blocks) for f in found] == [
        ("Label Studio address", "warning", False),
        ("Label Studio token", "warning", False),
    ]
