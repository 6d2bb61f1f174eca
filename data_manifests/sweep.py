"""What a killed or failed writer left half written, taken away by the next one."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from data_manifests.log import commits, log_folder, whole_log
from data_manifests.media import PART

__all__ = [
    "PART",
    "leftovers",
    "only_ours",
    "sweep_table",
    "writing_media",
    "writing_table",
]

log = logging.getLogger(__name__)

WRITING = ".writing-"
DEAD_AFTER_S = 86_400.0  # no commit takes a day


def leftovers(table: Path) -> Iterator[Path]:
    """Files of a table that no version of its log has ever named."""
    if whole_log(table):  # else a checkpoint may know files that no version here names
        named = {name for commit in commits(table) for name in commit.added}
        yield from (p for p in sorted(table.glob("*.parquet")) if p.name not in named)
    yield from sorted(table.glob("*.parquet#*"))  # delta-rs's files before they have their name
    for folder in (table, log_folder(table), table / "_seals"):
        yield from sorted(folder.glob(PART + "*"))
    yield from sorted(p for p in log_folder(table).glob("*") if p.name.endswith(".tmp"))


@contextlib.contextmanager
def writing_table(folder: Path, name: str) -> Iterator[None]:
    """Marks that this machine writes a table; first takes away what a dead writer left.

    The caller holds the store's lock, so a mark of this machine is a dead writer's. While another
    machine's of the last day stands, nothing is taken away: its writer may be alive.
    """
    mark = folder / f"{WRITING}{name}-{_machine()}"
    marks = list(folder.glob(f"{WRITING}{name}-*"))
    if marks and only_ours(folder, name):
        sweep_table(folder / name)
        for dead in marks:
            dead.unlink(missing_ok=True)
    mark.touch()
    yield  # not finally: who fails leaves the mark, and with it a reason to look
    mark.unlink(missing_ok=True)


def only_ours(folder: Path, name: str) -> bool:
    """Whether no other machine has said within a day that it writes the table."""
    ours, since = f"{WRITING}{name}-{_machine()}", time.time() - DEAD_AFTER_S
    marks = (p for p in folder.glob(f"{WRITING}{name}-*") if p.name != ours)
    return not any(_changed(p) > since for p in marks)


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


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # its writer is done
        return 0.0


def _machine() -> str:
    """The host's name, and its id where it has one: machines may share a name."""
    try:
        return f"{platform.node()}-{Path('/etc/machine-id').read_text().strip()}"
    except OSError:
        return f"{platform.node()}-"


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
