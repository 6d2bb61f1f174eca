"""`authface models` as a user meets it; nothing here is fetched from beyond this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared/models"
FILE = "face_detection_yunet_2023mar.onnx"


def authface(*arguments: str, cache: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTHFACE_", "HF_"))}
    settings = {"XDG_CACHE_HOME": str(cache), "COLUMNS": "200", "AUTHFACE_OFFLINE": "1"}
    command = [sys.executable, "-m", "authface.cli", "models", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=kept | settings | env
    )


def real_file() -> Path:
    named = Path(os.environ.get("AUTHFACE_MODELS", SHARED)) / FILE
    if not named.is_file():
        pytest.skip("YuNet's model file is not there; name its folder in AUTHFACE_MODELS")
    return named


def test_the_list_says_what_is_missing(tmp_path: Path) -> None:
    answer = authface("list", cache=tmp_path)
    assert answer.returncode == 0
    [yunet] = [line for line in answer.stdout.splitlines() if line.startswith("yunet")]
    [sface] = [line for line in answer.stdout.splitlines() if line.startswith("sface")]
    assert "MIT" in yunet
    assert "missing" in yunet
    assert "Apache-2.0" in sface


def test_the_list_says_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"anything")
    answer = authface("list", cache=tmp_path / "cache", AUTHFACE_MODELS=str(tmp_path))
    assert FILE in answer.stdout


def test_getting_offline_is_one_line_and_exit_2(tmp_path: Path) -> None:
    answer = authface("get", "yunet", cache=tmp_path)
    assert answer.returncode == 2
    assert "offline" in answer.stderr.lower()
    assert len(answer.stderr.splitlines()) == 1


def test_an_unknown_model_is_one_line_and_exit_2(tmp_path: Path) -> None:
    answer = authface("get", "resnet", cache=tmp_path)
    assert answer.returncode == 2
    assert "Known are yunet, sface" in answer.stderr


def test_getting_some_is_exit_3(tmp_path: Path) -> None:
    answer = authface("get", cache=tmp_path, AUTHFACE_MODELS=str(real_file().parent))
    assert answer.returncode == (0 if "sface (" in answer.stdout else 3)
    assert "yunet (MIT" in answer.stdout


def test_verify_knows_right_wrong_and_missing(tmp_path: Path) -> None:
    none = authface("verify", cache=tmp_path)
    assert none.returncode == 0
    assert "yunet is missing" in none.stderr
    (tmp_path / FILE).write_bytes(b"damaged")
    wrong = authface("verify", cache=tmp_path, AUTHFACE_MODELS=str(tmp_path))
    assert wrong.returncode == 2
    assert "not the yunet file" in wrong.stderr
    right = authface("verify", cache=tmp_path, AUTHFACE_MODELS=str(real_file().parent))
    assert right.returncode == 0
    assert "is the published file" in right.stdout
