from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from training.code_state import code_state


def git(folder: Path, *arguments: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", *named, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "training").mkdir(parents=True)
    (root / "training" / "loop.py").write_text("steps = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_a_checkout_is_named_by_its_commit(checkout: Path) -> None:
    found = code_state(checkout)
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert found["dirty"] is False


def test_changed_and_new_code_is_dirty_and_a_changed_readme_is_not(checkout: Path) -> None:
    (checkout / "README.md").write_text("more\n")
    assert code_state(checkout)["dirty"] is False
    (checkout / "training" / "new.py").write_text("")
    assert code_state(checkout)["dirty"] is True
    (checkout / "training" / "new.py").unlink()
    (checkout / "training" / "loop.py").write_text("steps = 2\n")
    assert code_state(checkout)["dirty"] is True


def test_a_copy_inside_another_repository_is_known_by_its_version(checkout: Path) -> None:
    inner = checkout / "venv" / "site-packages"
    shutil.copytree(checkout / "training", inner / "training")
    assert code_state(inner).keys() == {"version"}


def test_without_git_there_is_the_version(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_state(checkout).keys() == {"version"}
