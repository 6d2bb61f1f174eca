"""Delta's commit log, read as the files it is made of: what each version added, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_manifests.errors import ManifestError

__all__ = [
    "LogCommit",
    "commits",
    "last_version",
    "log_file",
    "log_folder",
    "newest_reason",
    "read_commit",
    "whole_log",
]


@dataclass(frozen=True, slots=True)
class LogCommit:
    """One version: its commitInfo, the Parquet files it added and those it took out."""

    version: int
    info: dict[str, Any]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def log_folder(table: Path) -> Path:
    """Where a table's log lies."""
    return table / "_delta_log"


def log_file(table: Path, version: int) -> Path:
    """The file of one version."""
    return log_folder(table) / f"{version:020d}.json"


def last_version(table: Path) -> int | None:
    """The newest version in the log, none if there is none; nothing is opened."""
    found = [int(p.stem) for p in log_folder(table).glob("*.json") if p.stem.isdigit()]
    return max(found, default=None)


def whole_log(table: Path) -> bool:
    """Whether every version up to the newest is there; an older release let some be tidied away."""
    newest = last_version(table)
    return newest is not None and all(log_file(table, v).exists() for v in range(newest + 1))


def commits(table: Path) -> Iterator[LogCommit]:
    """Every version of the log in order; raises ManifestError at one that can't be read."""
    newest = last_version(table)
    for version in range(0 if newest is None else newest + 1):
        if log_file(table, version).exists():  # an older release let delta-rs tidy old ones away
            yield read_commit(table, version)


def newest_reason(table: Path, having: str) -> str | None:
    """Why the newest commit was made whose reason has these words in it, none without one."""
    newest = last_version(table)
    for version in range(-1 if newest is None else newest, -1, -1):
        if not log_file(table, version).exists():
            continue
        why = str(read_commit(table, version).info.get("authface_why", ""))
        if having in why:
            return why
    return None


def read_commit(table: Path, version: int) -> LogCommit:
    """One version of the log; raises ManifestError if it can't be read."""
    file = log_file(table, version)
    try:
        actions = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        added = tuple(str(a["add"]["path"]) for a in actions if "add" in a)
        removed = tuple(str(a["remove"]["path"]) for a in actions if "remove" in a)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{file} can't be read: {error}.",
            "Run `authface manifest fsck`, and restore the file from a backup.",
        ) from error
    return LogCommit(version, info, added, removed)
