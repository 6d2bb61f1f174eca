"""Which code is running: the commit of its checkout, or the version that was installed."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["code_state"]

_ROOT = Path(__file__).parents[1]
_PARTS = ("authface", "training", "restore", "curation", "annotation", "data_manifests")


def code_state(root: Path = _ROOT) -> dict[str, Any]:
    """The version and, in a git checkout, the commit and whether the code differs from it.

    `dirty` is about the packages alone: a changed README makes no other model. New files in them
    count. An installed copy inside somebody else's repository is no checkout of ours.
    """
    state: dict[str, Any] = {"version": _version()}
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return state
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", *(p for p in _PARTS if (root / p).is_dir()))
    if commit is None or changed is None:
        return state
    return {**state, "commit": commit, "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; none if it is not installed, takes too long, or finds no repository."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()


def _version() -> str | None:
    try:
        return importlib.metadata.version("authface")
    except importlib.metadata.PackageNotFoundError:
        return None
