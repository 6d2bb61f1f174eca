"""What a killed or failed writer left half written, taken away by the next one."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from data_manifests.log import commits, log_folder

__all__ = ["PART", "leftovers", "sweep_table", "writing_media"]

log = logging.getLogger(__name__)

WRITING = ".writing-"
PART = ".part-"  # files not yet under their final name begin with this


def leftovers(table: Path) -> Iterator[Path]:
    """Files of a table that no version of its log has ever named."""
    named = {name for commit in commits(table) for name in commit.added}
    yield from (p for p in sorted(table.glob("*.parquet")) if p.name not in named)
    for folder in (table, log_folder(table), table / "_seals"):
        yield from sorted(folder.glob(PART + "*"))
    yield from sorted(p for p in log_folder(table).glob("*") if p.name.endswith(".tmp"))


def sweep_table(table: Path) -> int:
    """Delete a table's leftovers; how many there were. The caller holds the store's lock."""
    found = list(leftovers(table)) if table.is_dir() else []
    for path in found:
        log.info("taking away %s, which a stopped writer left", path)
        path.unlink(missing_ok=True)
    return len(found)


@contextlib.contextmanager
def writing_media(media: Path) -> Iterator[None]:
    """Marks that this process writes media; first takes away what a killed one left half written.

    A mark names machine and process, so a live writer's half-written files are never touched.
    """
    media.mkdir(parents=True, exist_ok=True)
    marks = list(media.glob(WRITING + "*"))
    dead = [m for m in marks if _is_dead(m.name.removeprefix(WRITING))]
    if dead and len(dead) == len(marks):
        for path in list(media.rglob(PART + "*")):
            path.unlink(missing_ok=True)
        for mark in dead:
            mark.unlink(missing_ok=True)
    mark = media / f"{WRITING}{platform.node()}-{os.getpid()}"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _is_dead(named: str) -> bool:
    node, _, number = named.rpartition("-")
    if node != platform.node() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
