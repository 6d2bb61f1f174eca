"""What a rerun finds done: an output whose sidecar names the same input, settings and model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from data_manifests.errors import StorageError
from data_manifests.records import Box, Point
from data_manifests.store import file_sha256
from restore.config import RestoreConfig
from restore.model import ModelFacts
from restore.outcome import FaceReport, Outcome, read_sidecar
from restore.provenance import creator_tool

__all__ = ["find_done", "settings_key"]

# Where and how fast, not what: none of these changes a picture.
_FREE = {
    *("device", "batch", "exact", "cache_prompts", "max_memory_mb"),
    *("overwrite", "doubt", "upscaler"),  # of the upscaler its hash counts
}


def settings_key(
    config: RestoreConfig, model: ModelFacts, finder: str, upscaler_sha256: str = ""
) -> str:
    """SHA-256 of all that decides an output besides its input: settings, models, version."""
    said = {
        "settings": config.model_dump(mode="json", exclude=_FREE),
        "model": model.sha256,
        "finder": finder,
        "upscaler": upscaler_sha256,
        "software": creator_tool(),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def find_done(source: Path, target: Path, input_sha256: str, key: str) -> Outcome | None:
    """The outcome of an earlier run, if it holds for these bytes and settings and is whole.

    A picture that was changed or taken away since is made again; so is one that could not be
    restored only because memory ran out.
    """
    said = read_sidecar(target)
    if said is None or said.get("key") != key:
        return None
    try:
        outcome = _outcome(source, target, said)
    except (KeyError, TypeError, ValueError):
        return None  # an older or damaged sidecar costs the work again, no more
    if outcome.input_sha256 != input_sha256 or any(f.status == "failed" for f in outcome.faces):
        return None
    return outcome if _is_whole(target, outcome.output_sha256) else None


def _is_whole(target: Path, sha256: str | None) -> bool:
    if sha256 is None:
        return not target.exists()
    try:
        return target.is_file() and file_sha256(target) == sha256
    except (OSError, StorageError):
        return False


def _outcome(source: Path, target: Path, said: dict[str, Any]) -> Outcome:
    output = said["output"]
    return Outcome(
        source=source,
        target=target,
        status=str(said["status"]),
        faces=tuple(_face(row) for row in said["faces"]),
        notes=tuple(str(note) for note in said["notes"]),
        input_sha256=str(said["input"]["sha256"]),
        output_sha256=None if output is None else str(output["sha256"]),
        finder=str(said["finder"]),
        key=str(said["key"]),
        resumed=True,
    )


def _face(row: dict[str, Any]) -> FaceReport:
    points = tuple(Point(**point) for point in row["landmarks"])
    rest = {k: v for k, v in row.items() if k not in ("box", "landmarks", "matrix")}
    matrix = tuple(float(v) for v in row.get("matrix", ()))
    rest.setdefault("score", None)  # nothing that is unknown is written down
    return FaceReport(box=Box(**row["box"]), landmarks=points, matrix=matrix, **rest)
