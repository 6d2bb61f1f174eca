"""Checkpoints exported again: of complete, half-trained and damaged runs, in every form."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from authface.cli import app
from data_manifests.errors import AuthFaceError, CheckpointError, InputError
from data_manifests.media import Workspace
from data_manifests.store import Store
from training.bases import folder_facts
from training.checkpoint import newest
from training.config import FacialConfig, PriorConfig, RestorerConfig
from training.export import folder_sha256
from training.journal import Step
from training.run import train_prior, train_restorer

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "steps": 4, "save_every": 2, "keep": 3}


@pytest.fixture
def root(filled: Filled) -> str:
    filled[0].settings.write_text("")
    return str(filled[0].root)


def train(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> Iterator[Step]:
    workspace, store = filled
    place: dict[str, Any] = {"store": store, "workspace": workspace, "name": name}
    if kind == "prior":
        return train_prior(PriorConfig(base=str(base), **SMALL | more), **place)
    config = RestorerConfig(facial=FacialConfig(width=8), **SMALL | more)
    return train_restorer(config, prior=base, **place)


def stop_after(steps: Iterator[Step], last: int) -> None:
    with contextlib.closing(steps):  # type: ignore[type-var]
        for step in steps:
            if step.step == last:
                return


def export(root: str, *arguments: str) -> Result:
    result = CliRunner().invoke(
        app, ("train", "export", "-w", root, *arguments), env={"COLUMNS": "300"}
    )
    if isinstance(result.exception, AuthFaceError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("kind", "settings"), [("prior", {}), ("prior", {"lora_rank": 2}), ("restorer", {})]
)
def test_a_complete_runs_last_checkpoint_makes_the_model_it_ended_with(
    kind: str, settings: dict[str, Any], filled: Filled, root: str, tiny_base: Path, tmp_path: Path
) -> None:
    """Byte for byte, and the run's own model is left as it is."""
    list(train(kind, filled, tiny_base, "whole", **settings))
    model = filled[0].runs / "whole" / "model"
    before = folder_sha256(model)
    said = export(root, "whole", "--to", str(tmp_path / "again")).output
    assert "whole at step 4 of 4" in said
    assert "half-trained" not in said
    assert folder_sha256(tmp_path / "again") == before == folder_sha256(model)
    assert folder_facts(tmp_path / "again") == folder_facts(model)
    assert (tmp_path / "again" / "README.md").read_text() == (model / "README.md").read_text()


def test_a_half_trained_run_gives_any_checkpoint_it_keeps(
    filled: Filled, root: str, tiny_base: Path
) -> None:
    """Killed after step 5 of 6: no model of its own, checkpoints of 2 and 4."""
    runs = filled[0].runs
    stop_after(train("prior", filled, tiny_base, "half", steps=6), 5)
    assert not (runs / "half" / "model").exists()
    said = export(root, "half").output
    assert "half at step 4 of 6" in said
    assert "half-trained: 2 steps are missing" in said
    export(root, "half", "--step", "2")
    export(root, "half", "--step", "2")  # over the one before
    for step in (2, 4):
        folder = runs / "half" / "exports" / f"step-{step:06d}"
        assert folder_facts(folder)["trained_steps"] == step
        unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        kept = load_file(runs / "half" / f"checkpoints/step-{step:06d}" / "weights.safetensors")
        assert unet.keys() == {k.removeprefix("unet.") for k in kept}
        assert all(torch.equal(v, kept[f"unet.{k}"]) for k, v in unet.items())


def test_a_lora_is_exported_alone_in_either_form(
    filled: Filled, root: str, tiny_base: Path, tmp_path: Path
) -> None:
    """The same files as beside the run's own model; kohya's is named after run and step."""
    list(train("prior", filled, tiny_base, "lora", lora_rank=2))
    beside = filled[0].runs / "lora" / "model" / "lora"
    export(root, "lora", "--format", "lora")
    export(root, "lora", "--format", "kohya", "--to", str(tmp_path / "loras"))
    for folder, name, theirs in (
        (
            filled[0].runs / "lora/exports/step-000004-lora",
            "pytorch_lora_weights.safetensors",
            "pytorch_lora_weights.safetensors",
        ),
        (tmp_path / "loras", "lora-step-000004.safetensors", "kohya_lora_weights.safetensors"),
    ):
        assert [p.name for p in sorted(folder.iterdir())] == ["authface.json", name]
        assert (folder / name).read_bytes() == (beside / theirs).read_bytes()


def test_a_damaged_checkpoint_is_passed_over_or_refused_by_name(
    filled: Filled, root: str, tiny_base: Path
) -> None:
    list(train("prior", filled, tiny_base, "p"))
    weights = filled[0].runs / "p/checkpoints/step-000004/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    said = export(root, "p").output
    assert "step-000004 is damaged" in said
    assert "p at step 2 of 4" in said
    with pytest.raises(CheckpointError, match=r"weights\.safetensors has another size"):
        export(root, "p", "--step", "4")


def test_what_can_not_be_exported_is_told(
    filled: Filled, root: str, tiny_base: Path, tmp_path: Path
) -> None:
    stop_after(train("prior", filled, tiny_base, "p", save_every=3), 1)
    with pytest.raises(InputError, match=r"no checkpoint yet.*after step 3"):
        export(root, "p")
    list(train("restorer", filled, tiny_base, "r"))
    for wrong, match in (
        (("nobody",), "no run 'nobody'.*There are: p, r"),
        (("../p",), "no run"),
        (("r", "--step", "3"), "no checkpoint of step 3.*Kept are those of steps 4, 2"),
        (("r", "--format", "kohya"), "has no LoRA"),
        (("r", "--to", str(filled[0].runs / "r" / "model")), "stands in .* already"),
    ):
        with pytest.raises(InputError, match=match):
            export(root, *wrong)


def test_a_base_that_was_moved_is_named_and_another_is_refused(
    filled: Filled, root: str, tiny_base: Path, tmp_path: Path
) -> None:
    """Known by its bytes: here a prior of our own, which has its hash beside it."""
    workspace = filled[0]
    for name, seed in (("prior", 0), ("other", 1)):
        list(train("prior", filled, tiny_base, name, steps=2, seed=seed))
    stands_on = workspace.runs / "prior" / "model"
    list(train("restorer", filled, stands_on, "r", steps=2))
    shutil.move(stands_on, tmp_path / "moved")
    with pytest.raises(InputError, match="no model folder"):
        export(root, "r")
    with pytest.raises(CheckpointError, match=r"not the model that the run r stands on.*--base"):
        export(root, "r", "--base", str(workspace.runs / "other" / "model"))
    said = export(root, "r", "--base", str(tmp_path / "moved")).output
    assert "r at step 2 of 2" in said
    assert folder_sha256(workspace.runs / "r/exports/step-000002") == folder_sha256(
        workspace.runs / "r" / "model"
    )


def test_an_erasure_is_told_again_when_its_run_is_exported(
    filled: Filled, root: str, tiny_base: Path
) -> None:
    list(train("prior", filled, tiny_base, "p", steps=2))
    assert "erased" not in export(root, "p").output
    (filled[0].runs / "p" / "contains_erased.json").write_text(json.dumps([]))
    assert "saw somebody who has been erased" in export(root, "p").output
    assert newest(filled[0].runs / "p" / "checkpoints") is not None
