"""Seals: who vouches for which bytes of a table, and the one file outside the log that ends it.

A seal is an empty commit whose metadata holds the SHA-256 of every Parquet file added since the
last seal and of every log file since then, the last seal's own among them. So each seal proves the
one before it, and `_seals/head.json` proves the newest, the checkpoints and itself. Delta readers
pass over folders that begin with an underscore.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_manifests.log import commits, last_version, log_file, log_folder, read_commit
from data_manifests.media import write_atomic

__all__ = [
    "FILES",
    "LOG",
    "SEAL",
    "file_sha256",
    "head_file",
    "is_sealed",
    "read_head",
    "read_head_version",
    "reseal",
    "seal_metadata",
    "sealed_files",
    "told_by_head",
    "unsealed",
    "write_head",
]

SEAL = "authface_sealed_version"
FILES = "authface_sha256"
LOG = "authface_log_sha256"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal_metadata(table: Path, version: int) -> dict[str, str]:
    """What the seal of a version says: hashes of what came since the last seal.

    A hash that was told before is passed on and not taken again from the disk: what was damaged
    since stays named as damaged.
    """
    since = [read_commit(table, v) for v in _since_last_seal(table, version)]
    told: dict[str, str] = {}
    for commit in since:  # a seal of the first release, which knew nothing of the log
        told |= json.loads(commit.info.get(FILES, "{}"))
    added = [name for commit in since for name in commit.added]
    files = {n: told.get(n) or file_sha256(table / n) for n in added if (table / n).exists()}
    names = [log_file(table, commit.version).name for commit in since]
    head = told_by_head(table)
    log = {n: head.get(n) or file_sha256(log_folder(table) / n) for n in names}
    return {SEAL: str(version), FILES: json.dumps(files), LOG: json.dumps(log)}


def is_sealed(table: Path, version: int) -> bool:
    """Whether a version is itself a seal that vouches for the log."""
    return LOG in read_commit(table, version).info


def sealed_files(table: Path) -> dict[str, str]:
    """SHA-256 by file name for every Parquet file that a seal vouches for."""
    sealed: dict[str, str] = {}
    for commit in commits(table):
        sealed |= json.loads(commit.info.get(FILES, "{}"))
    return sealed


def unsealed(table: Path) -> list[str]:
    """Parquet files that no seal vouches for: their writer was killed; the next write does it."""
    sealed = sealed_files(table)
    return [name for commit in commits(table) for name in commit.added if name not in sealed]


def head_file(table: Path) -> Path:
    """The file that proves the end of the log."""
    return table / "_seals" / "head.json"


def write_head(table: Path, *, checkpoint: int | None = None, anew: bool = False) -> None:
    """Vouch for the newest log file and for the checkpoints, which no seal can.

    What the head before told of a checkpoint is passed on, whatever lies on the disk by now; but
    not of one that was just made at the version `checkpoint`, and of none if all are `anew`.
    """
    newest = last_version(table)
    told = {} if anew else told_by_head(table)
    if checkpoint is not None:
        made = ("_last_checkpoint", f"{checkpoint:020d}.checkpoint")
        told = {name: known for name, known in told.items() if not name.startswith(made)}
    hashes = {} if newest is None else {log_file(table, newest).name: _hash_of(table, newest)}
    for path in sorted(log_folder(table).iterdir()):
        if "checkpoint" in path.name:
            hashes[path.name] = told.get(path.name) or file_sha256(path)
    body = json.dumps({"version": newest, "log": hashes}, sort_keys=True)
    line = json.dumps({"head": body, "sha256": hashlib.sha256(body.encode()).hexdigest()})
    write_atomic(head_file(table), line.encode())


def _hash_of(table: Path, version: int) -> str:
    return file_sha256(log_file(table, version))


def told_by_head(table: Path) -> dict[str, str]:
    """As `read_head`, and nothing where it is damaged."""
    try:
        return read_head(table) or {}
    except (ValueError, KeyError, TypeError):
        return {}


def read_head(table: Path) -> dict[str, str] | None:
    """SHA-256 by log file name; none if there is no head; raises ValueError if it is damaged."""
    file = head_file(table)
    if not file.exists():
        return None
    line: dict[str, Any] = json.loads(file.read_bytes())
    body = str(line["head"])
    if hashlib.sha256(body.encode()).hexdigest() != line["sha256"]:
        raise ValueError("its own SHA-256 differs")
    return {str(k): str(v) for k, v in json.loads(body)["log"].items()}


def read_head_version(table: Path) -> int | None:
    """The newest version that the head vouches for; none if there is no head or it is damaged."""
    names = told_by_head(table)
    found = [int(n[: -len(".json")]) for n in names if n[: -len(".json")].isdigit()]
    return max(found, default=None)


def reseal(table: Path) -> None:
    """Make every seal's hashes of log files true again after history was rewritten on purpose.

    From the oldest on, since each seal holds the hash of the one before. Hashes of Parquet files
    are left as they are: who rewrote a file has put its new hash there, and a file that was damaged
    before must not be vouched for. The caller holds the lock.
    """
    for commit in list(commits(table)):
        if LOG in commit.info:
            names = json.loads(commit.info[LOG])
            log = {name: file_sha256(log_folder(table) / name) for name in names}
            _change_info(log_file(table, commit.version), {LOG: json.dumps(log)})
    write_head(table, anew=True)


def _since_last_seal(table: Path, version: int) -> Iterator[int]:
    first = version
    while first > 0 and log_file(table, first).exists() and not is_sealed(table, first):
        first -= 1
    yield from (v for v in range(first, version + 1) if log_file(table, v).exists())


def _change_info(file: Path, changes: dict[str, str]) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    if all(line.get("commitInfo", {}).get(k, v) == v for line in lines for k, v in changes.items()):
        return
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"] |= changes
    text = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    write_atomic(file, text.encode())
