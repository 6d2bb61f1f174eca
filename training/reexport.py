"""A checkpoint of any run, half-trained or complete, as a model again, without training on.

Reads the run's folder and writes to another one; a run that is being trained is not disturbed.
Light until something is exported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_manifests.config import parse_section
from data_manifests.errors import CheckpointError, InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training.bases import FACTS, find_base, folder_facts
from training.card_facts import card_facts
from training.config import PriorConfig, RestorerConfig
from training.run import Run

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint
    from training.stages import Prior, Restorer

__all__ = ["Form", "Reexport", "reexport"]

Form = Literal["diffusers", "lora", "kohya"]


@dataclass(frozen=True, slots=True)
class Reexport:
    """What is asked for: a run, one of its checkpoints (none: the newest), a form and a place."""

    run: str
    step: int | None = None
    form: Form = "diffusers"
    target: Path | None = None  # none: below the run's folder
    base: str | None = None  # where what the run stands on is now; none: where it was


def reexport(wanted: Reexport, *, store: Store, workspace: Workspace) -> tuple[Path, int, int]:
    """Write the model or LoRA of a checkpoint: (its folder, its step, how many the run has).

    `diffusers` is the folder that a run ends with, `lora` the file that `load_lora_weights` takes,
    `kohya` the one for ComfyUI and its kin. A damaged newest checkpoint is passed over for the one
    before. Raises InputError if there is no such run, checkpoint or LoRA or if something stands at
    the target, CheckpointError if a file is damaged or the base is not the run's.
    """
    from training import checkpoint

    run = _reopened(wanted, store, workspace)
    if wanted.form != "diffusers" and not getattr(run.config, "lora_rank", 0):
        raise InputError(f"The run {wanted.run} has no LoRA.", "Export it with --format diffusers.")
    kept = run.folder / "checkpoints"
    found = checkpoint.newest(kept) if wanted.step is None else checkpoint.at(kept, wanted.step)
    if found is None:
        raise InputError(
            f"The run {wanted.run} has no checkpoint yet.",
            f"Its first comes after step {run.config.save_every}, or when it is told to stop.",
        )
    target = _target(wanted, run, found.step)
    _write(wanted, run, found, target)
    return target, found.step, run.config.steps or 0


def _reopened(wanted: Reexport, store: Store, workspace: Workspace) -> Run[Any]:
    """The run as it wrote itself down, for reading alone."""
    folder = workspace.runs / wanted.run
    record = _record(folder, workspace)
    kinds: dict[str, type[PriorConfig | RestorerConfig]] = {
        "prior": PriorConfig,
        "restorer": RestorerConfig,
    }
    model = kinds[record["kind"]]
    config = parse_section(model, record["config"], str(folder / "config.json"))
    base = find_base(wanted.base or record["base"], workspace.runs)
    known = record["base_sha256"]
    if known and folder_facts(base).get("model_sha256") != known:
        raise CheckpointError(
            f"{base} is not the model that the run {wanted.run} stands on.",
            "Name that with --base.",
        )
    rows = store.read(Sample, record["tables"]["samples"])
    samples = [s for s in rows if s.split == "train" and s.weight > 0]
    cache = workspace.cache / record["kind"]
    return Run(record["kind"], folder, config, base, workspace.media, cache, store, samples, record)


def _record(folder: Path, workspace: Workspace) -> dict[str, Any]:
    path = folder / "config.json"
    if Path(folder.name) != folder.relative_to(workspace.runs) or not path.is_file():
        there = ", ".join(sorted(p.parent.name for p in workspace.runs.glob("*/config.json")))
        raise InputError(
            f"There is no run {folder.name!r} in {workspace.runs}.",
            f"There are: {there}." if there else "None was begun there.",
        )
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.", "Copy it from a backup.") from error
    return record


def _target(wanted: Reexport, run: Run[Any], step: int) -> Path:
    """In the run's folder, over an earlier export of the step; else as named, where nothing is."""
    if wanted.target is None:
        suffix = "" if wanted.form == "diffusers" else f"-{wanted.form}"
        return run.folder / "exports" / f"step-{step:06d}{suffix}"
    target = wanted.target.expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"Something stands in {target} already.", "Name another folder with --to.")
    return target


def _write(wanted: Reexport, run: Run[Any], found: Checkpoint, target: Path) -> None:
    from training.checkpoint import replace_folder
    from training.export import export_prior, export_restorer

    facts = card_facts(run, found.step)
    stage = _stage(run, found)
    if wanted.form == "diffusers":
        if run.kind == "prior":
            export_prior(stage.unet, run.base, target, facts, stage.schedule.sampler)
        else:
            export_restorer(stage.controlnet, run.base, target, facts)
        return
    from training.lora import DIFFUSERS_FILE, diffusers_file, kohya_file

    with replace_folder(target) as part:
        if wanted.form == "lora":
            (part / DIFFUSERS_FILE).write_bytes(diffusers_file(stage.unet))
        else:
            # Programs list LoRA files by their names alone, so it says what it is.
            name = f"{wanted.run}-step-{found.step:06d}.safetensors"
            prediction = stage.schedule.prediction_type
            (part / name).write_bytes(kohya_file(stage.unet, facts, prediction))
        (part / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _stage(run: Run[Any], found: Checkpoint) -> Any:
    """The run's stage with the checkpoint's weights in it, on the CPU."""
    import torch

    from training.loop import put_weights
    from training.models import load_base
    from training.stages import Prior, Restorer
    from training.upkeep import exported

    here: dict[str, Any] = {"device": "cpu", "compile": "off"}
    if run.kind == "prior":
        here["distill_weight"] = 0.0  # no teacher is needed to write the student down
    config = run.config.model_copy(update=here)
    base = load_base(run.base, torch.device("cpu"))
    stage: Prior | Restorer
    stage = (Prior if run.kind == "prior" else Restorer)(base, config, run.media)
    put_weights(stage, exported(found))
    return stage
