"""Delete an erased person's tasks on Label Studio, and see that they are gone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing

from annotation.server_upgrade import copies
from annotation.studio import Studio
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace

__all__ = ["compact", "forget_tasks"]

WAIT_S = 30.0  # for the server to leave its database alone for a moment

Sent = tuple[str, int, int]  # (server, project, task)


def forget_tasks(studio: Studio, owed: Sequence[Sent]) -> tuple[Sent, ...]:
    """Delete these tasks with their answers; those still there, or on another server, come back.

    A task counts as gone when the server says that it knows none of that id. A server that breaks
    off leaves the rest for the next time.
    """
    identity = studio.identity
    left: list[Sent] = []
    for place, one in enumerate(owed):
        server, _, task_id = one
        if server != identity:
            left.append(one)
            continue
        try:
            if studio.has_task(task_id):
                studio.drop_task(task_id)
            if studio.has_task(task_id):
                left.append(one)
        except RemoteError:
            return (*left, *owed[place:])
    return tuple(left)


def compact(workspace: Workspace) -> bool:
    """Rewrite the database of the workspace's own server: deleted rows linger in its free pages.

    Copies that upgrades kept are deleted: they hold what was forgotten. True if it was done; false
    if there is none, or if it is too busy now.
    """
    for old in copies(workspace):
        old.unlink()
    file = workspace.label_studio / "data" / "label_studio.sqlite3"
    if not file.is_file():
        return False
    with contextlib.suppress(sqlite3.OperationalError):
        with closing(sqlite3.connect(file, timeout=WAIT_S, isolation_level=None)) as database:
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True
    return False
