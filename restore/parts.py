"""Whether a pipeline's folder holds what its index names, asked before anything is opened.

Diffusers finds a missing part late, names the wrong folder, and takes some for empty ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from data_manifests.errors import CheckpointError
from restore.hub import weights_fault
from restore.records import snapshot_of

__all__ = ["check_parts", "check_weights"]

_MODELS = ("unet", "vae", "controlnet", "text_encoder", "text_encoder_2")
_TOKENIZERS = ("tokenizer", "tokenizer_2")


def check_parts(folder: Path, given: Collection[str] = ()) -> None:
    """Raise CheckpointError if a part of the pipeline in a folder is missing or cut off.

    Parts that are `given` from elsewhere may be. Files' ends are looked at, not their bytes.
    """
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        named = {name for name, kind in index.items() if isinstance(kind, list) and all(kind)}
    except (OSError, ValueError, AttributeError) as error:
        raise _not_whole(folder, ["model_index.json can't be read"]) from error
    if faults := [f for name in sorted(named - set(given)) for f in _faults(folder / name)]:
        raise _not_whole(folder, faults)


def check_weights(folder: Path) -> None:
    """Raise CheckpointError if the model in a folder has no configuration or no whole weights."""
    if faults := list(_model_faults(folder)):
        raise _not_whole(folder, faults)


def _faults(part: Path) -> Iterator[str]:
    if part.name not in (*_MODELS, *_TOKENIZERS, "scheduler"):
        return  # of parts that a restorer does not use
    if not part.is_dir():
        yield f"{part.name}/ is missing"
    elif part.name in _MODELS:
        yield from (f"of {part.name}, {fault}" for fault in _model_faults(part))
    elif part.name == "scheduler" and not (part / "scheduler_config.json").is_file():
        yield "scheduler/scheduler_config.json is missing"
    elif part.name in _TOKENIZERS and not any(
        (part / name).is_file() for name in ("tokenizer.json", "vocab.json")
    ):
        yield f"{part.name}/ holds no vocabulary"


def _model_faults(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield "config.json is missing"
    if fault := weights_fault(folder):
        yield fault


def _not_whole(folder: Path, faults: list[str]) -> CheckpointError:
    place = snapshot_of(folder)
    fetched = f"Get it again with `authface models get {place[0]}@{place[1]}`." if place else ""
    todo = fetched or "Copy it again from where it came; weights must be safetensors."
    return CheckpointError(f"{folder} is not whole: {'; '.join(faults)}.", todo)
