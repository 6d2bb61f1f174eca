"""What happens when another Label Studio than last time opens a workspace's database.

Its first start migrates the database, and no older release reads it afterwards: so a copy is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from data_manifests.media import Workspace, write_atomic

__all__ = ["copies", "keep_before_upgrade", "version_of"]

_NAME = "label_studio.sqlite3"
_COPY = "label_studio.before-{}.sqlite3"


def version_of(program: Path) -> str:
    """The version that a label-studio program belongs to, empty if it does not say."""
    found = program.parent.parent.glob("lib/python*/site-packages/label_studio-*.dist-info")
    return next((p.name.removesuffix(".dist-info").split("-")[1] for p in found), "")


def keep_before_upgrade(workspace: Workspace, version: str, say: Callable[[str], None]) -> None:
    """Copy the database if another version is about to open it, and note which one has it now."""
    noted, data = workspace.label_studio / "version", workspace.label_studio / "data"
    before = noted.read_text().strip() if noted.exists() else ""
    if before and version and before != version and (data / _NAME).is_file():
        target = data / _COPY.format(version)
        if not target.exists():
            part = target.with_suffix(".part")
            part.unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(data / _NAME)) as old,
                closing(sqlite3.connect(part)) as new,
            ):
                old.backup(new)
            part.replace(target)
        say(f"Label Studio was {before} and is now {version}: the database is kept at {target}")
    if version and before != version:
        write_atomic(noted, version.encode())


def copies(workspace: Workspace) -> list[Path]:
    """The copies that upgrades kept: an erasure must not leave people in them."""
    return sorted((workspace.label_studio / "data").glob(_COPY.format("*")))
