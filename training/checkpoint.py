"""Checkpoints, whole or not there: written aside, flushed, renamed, proved by hash when read.

A checkpoint is a folder step-000010/ of safetensors files, state.json, and manifest.json with the
SHA-256 and size of every other file. Nothing is pickled, so reading one runs no code.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_manifests.errors import CheckpointError, InputError, StorageError
from data_manifests.seals import file_sha256

__all__ = [
    "Checkpoint",
    "at",
    "fault",
    "newest",
    "newest_step",
    "replace_folder",
    "save",
    "sync_tree",
]

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds: named tensors by group, and what else is needed to go on."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """The path of folder/step-NNNNNN, written whole or not at all; keeps the newest `keep`.

    Old ones go only after the new one is safely down, so there is never none. So do those of later
    steps: a run that takes this step again has passed them over. StorageError if the disk is full.
    """
    target = folder / _name(checkpoint.step)
    with replace_folder(target) as part:
        for name, tensors in checkpoint.tensors.items():
            cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(cpu, part / f"{name}.safetensors")
        (part / STATE).write_text(
            json.dumps({"step": checkpoint.step, **checkpoint.state}), encoding="utf-8"
        )
        files = sorted(p for p in part.iterdir())
        manifest = {p.name: {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _rotate(folder, checkpoint.step, keep)
    return target


def newest(folder: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint, none if there was never one.

    A damaged one is passed over with a warning; CheckpointError if all are damaged.
    """
    step = newest_step(folder)
    return None if step is None else _read(folder / _name(step))


def newest_step(folder: Path) -> int | None:
    """The step of the checkpoint that `newest` reads; raises as it does."""
    found = _numbered(folder)
    for path in found:
        why = fault(path)
        if why is None:
            return int(path.name.removeprefix("step-"))
        log.warning("Checkpoint %s is damaged (%s): passed over for the one before.", path, why)
    if found:
        raise CheckpointError(
            f"Every checkpoint in {folder} is damaged.", "Start the run again under another name."
        )
    return None


def at(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of a step; InputError if there is none, CheckpointError if it is damaged."""
    path = folder / f"step-{step:06d}"
    if not path.is_dir():
        kept = ", ".join(p.name.removeprefix("step-").lstrip("0") for p in _numbered(folder))
        raise InputError(
            f"There is no checkpoint of step {step} in {folder}.",
            f"Kept are those of steps {kept}." if kept else "None is kept there.",
        )
    why = fault(path)
    if why is not None:
        raise CheckpointError(f"The checkpoint {path} is damaged: {why}.", "Take another step's.")
    return _read(path)


def fault(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, none if every byte is as it was written."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = (_file_fault(path / name, facts) for name, facts in manifest.items())
        return (
            _list_fault(path, set(manifest)) or next(filter(None, files), None) or _step_fault(path)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} can't be read"


@contextlib.contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` at the end, or goes if that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        yield part
        sync_tree(part)
        part.chmod(0o755)
        old = part.with_name(part.name.replace(".part-", ".old-"))
        if target.exists():
            target.rename(old)
        part.rename(target)
        _sync(target.parent)
        _remove(old)
    except (OSError, SafetensorError) as error:
        # safetensors writes by itself and puts the system's error into words.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            wrong = f"The disk that holds {target.parent} is full."
            raise StorageError(
                wrong, "The checkpoints before are whole: free space and resume."
            ) from error
        raise StorageError(f"{target} can't be written: {error}.", "Mend it and resume.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder, and the folder, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _list_fault(path: Path, listed: set[str]) -> str | None:
    """Whether the manifest proves all that is read, and more is not there than it proves."""
    there = {p.name for p in path.iterdir()} - {MANIFEST}
    if strange := sorted(there - listed):
        return f"{strange[0]} is not in {MANIFEST}"
    return None if STATE in listed else f"{MANIFEST} does not list {STATE}"


def _file_fault(file: Path, facts: Mapping[str, Any]) -> str | None:
    if not file.is_file():
        return f"{file.name} is missing"
    if file.stat().st_size != facts["bytes"]:
        return f"{file.name} has another size"
    return None if file_sha256(file) == facts["sha256"] else f"{file.name} has another SHA-256"


def _step_fault(path: Path) -> str | None:
    """Whether it is the step that its folder is named for: a copied folder proves itself whole."""
    step = json.loads((path / STATE).read_text(encoding="utf-8"))["step"]
    return None if path.name == _name(step) else f"it is of step {step}"


def _rotate(folder: Path, step: int, keep: int) -> None:
    """Leave the newest `keep` up to a step; nothing but damaged ones can be of a later step."""
    upto = _name(step)
    there = [p.name for p in _numbered(folder)]
    for name in {*there[: there.index(upto)], *there[there.index(upto) + keep :]}:
        _remove(folder / name)


def _remove(path: Path) -> None:
    """A folder, or a file that lies in a folder's place."""
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink()


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Checkpoint:
    state: Mapping[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    tensors = {p.stem: load_file(p) for p in path.glob("*.safetensors")}
    return Checkpoint(state["step"], tensors, {k: v for k, v in state.items() if k != "step"})


def _numbered(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first; what somebody else put beside them is not ours to read."""
    numbers = {p: p.name.removeprefix("step-") for p in folder.glob("step-*")}
    ours = [p for p, number in numbers.items() if number.isdecimal()]
    return sorted(ours, key=lambda p: int(numbers[p]), reverse=True)
