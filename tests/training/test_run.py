"""Whole runs on the tiny model: exact resume, stops, refusals, and what comes out of them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_manifests.consent import withdraw
from data_manifests.errors import AuthFaceError, CheckpointError, ConsentError, InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training.bases import find_prior, folder_facts
from training.checkpoint import newest
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.data import load_example
from training.degrade import apply, from_json
from training.journal import Step, read_journal
from training.models import load_base
from training.record import require_match
from training.run import free_name, train_prior, train_restorer
from training.stages import Restorer

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "steps": 6, "save_every": 2, "keep": 3}
FACIAL = FacialConfig(width=8, least_signal=0.0)


def run(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> Iterator[Step]:
    workspace, store = filled
    resume = more.pop("resume", False)
    settings = SMALL | more
    if kind == "prior":
        config = PriorConfig(base=str(base), **settings)
        return train_prior(config, store=store, workspace=workspace, name=name, resume=resume)
    return train_restorer(
        RestorerConfig(**{"facial": FACIAL, **settings}),
        prior=base,
        store=store,
        workspace=workspace,
        name=name,
        resume=resume,
    )


def stop_after(steps: Iterator[Step], last: int) -> None:
    """End a run as SIGKILL would: nothing is saved on the way out."""
    with contextlib.closing(steps):  # type: ignore[type-var]
        for step in steps:
            if step.step == last:
                return


def losses(filled: Filled, name: str) -> list[tuple[int, float, dict[str, float]]]:
    rows = read_journal(filled[0].runs / name)
    return [(r["step"], r["loss"], r["parts"]) for r in rows]


def same_end(filled: Filled, one: str, other: str) -> bool:
    """Whether two runs ended in the same weights, optimizer state and journal, bit for bit."""
    ends = [newest(filled[0].runs / name / "checkpoints") for name in (one, other)]
    first, second = (e.tensors for e in ends if e is not None)
    tensors = all(
        torch.equal(value, second[group][key])
        for group, values in first.items()
        for key, value in values.items()
    )
    return tensors and losses(filled, one) == losses(filled, other)


@pytest.mark.parametrize(
    ("kind", "killed_after"), [("prior", 1), ("prior", 3), ("restorer", 3), ("restorer", 4)]
)
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(
    kind: str, killed_after: int, filled: Filled, tiny_base: Path
) -> None:
    """Killed before, between and right after the checkpoints at 2 and 4."""
    list(run(kind, filled, tiny_base, "whole"))
    stop_after(run(kind, filled, tiny_base, "broken"), killed_after)
    rest = list(run(kind, filled, tiny_base, "broken", resume=True))
    assert rest[0].step == 2 * (killed_after // 2) + 1
    assert same_end(filled, "whole", "broken")
    assert all(np.isfinite(loss) for _, loss, _ in losses(filled, "whole"))


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_a_run_with_kept_latents_equals_the_one_without_bit_for_bit(
    kind: str, filled: Filled, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Encoded as it goes, encoded ahead, and read from what the run before had kept."""
    settings: dict[str, Any] = {"steps": 3, "batch": 3, "at_once": 2}
    list(run(kind, filled, tiny_base, "plain", **settings))
    with caplog.at_level(logging.INFO, logger="training"):
        list(run(kind, filled, tiny_base, "made", cache=True, **settings))
        list(run(kind, filled, tiny_base, "kept", cache=True, **settings))
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("cache:")]
    made = len(list((filled[0].cache / kind).rglob("*.safetensors")))
    assert said == [
        f"cache: 0 kept before, {made} made and kept now",
        f"cache: {made} kept before, 0 made and kept now",
    ]
    assert same_end(filled, "plain", "made")
    assert same_end(filled, "plain", "kept")
    # The cache may be switched on and off between a run and its resumption.
    stop_after(run(kind, filled, tiny_base, "mixed", save_every=1, **settings), 2)
    list(run(kind, filled, tiny_base, "mixed", resume=True, cache=True, save_every=1, **settings))
    assert same_end(filled, "plain", "mixed")


def test_the_journal_keeps_the_recipes_it_is_asked_for(filled: Filled, tiny_base: Path) -> None:
    """Every second step's; each degraded copy is made again from its line, and a resume may ask."""
    workspace, store = filled
    list(run("restorer", filled, tiny_base, "plain", steps=4))
    stop_after(run("restorer", filled, tiny_base, "told", steps=4), 2)
    list(run("restorer", filled, tiny_base, "told", steps=4, log_recipes=2, resume=True))
    assert same_end(filled, "plain", "told")
    assert not any("samples" in row for row in read_journal(workspace.runs / "plain"))
    rows = read_journal(workspace.runs / "told")
    assert [row["step"] for row in rows if "samples" in row] == [4]
    by_id = {s.sample_id: s for s in store.read(Sample)}
    config = resolve(RestorerConfig(facial=FACIAL, **SMALL), tiny=True)
    stage = Restorer(load_base(tiny_base, torch.device("cpu")), config, workspace.media)
    assert len(rows[3]["samples"]) == config.batch
    for index, line in enumerate(rows[3]["samples"]):
        sample = by_id[line["sample"]]
        clean = load_example(sample, workspace.media, 64, mirror=line["mirrored"])
        again = apply(clean.pixels_HWC, from_json(line["recipe"]))
        np.testing.assert_array_equal(again, stage.item(sample, 3, index).poor_HWC)


def test_a_damaged_newest_checkpoint_costs_two_steps_and_no_bit(
    filled: Filled, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    list(run("prior", filled, tiny_base, "whole"))
    stop_after(run("prior", filled, tiny_base, "broken"), 5)
    weights = filled[0].runs / "broken/checkpoints/step-000004/weights.safetensors"
    with weights.open("r+b") as handle:
        handle.seek(-9, os.SEEK_END)
        handle.write(b"\x00\xff")
    with caplog.at_level(logging.WARNING, logger="training"):
        rest = list(run("prior", filled, tiny_base, "broken", resume=True))
    assert "step-000004 is damaged" in caplog.text
    assert rest[0].step == 3
    assert same_end(filled, "whole", "broken")


def test_how_many_samples_are_on_the_device_at_once_hardly_matters(
    filled: Filled, tiny_base: Path
) -> None:
    list(run("prior", filled, tiny_base, "two", steps=2, batch=2, at_once=2))
    list(run("prior", filled, tiny_base, "one", steps=2, batch=2, at_once=1))
    two, one = ([row[1] for row in losses(filled, n)] for n in ("two", "one"))
    np.testing.assert_allclose(two, one, rtol=1e-3)


def test_the_prior_comes_out_as_a_pipeline_with_the_trained_weights(
    filled: Filled, tiny_base: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    list(run("prior", filled, tiny_base, "prior", steps=2))
    model = filled[0].runs / "prior" / "model"
    pipeline = StableDiffusionXLPipeline.from_pretrained(model)
    end = newest(filled[0].runs / "prior" / "checkpoints")
    assert end is not None
    for name, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, end.tensors["weights"][f"unet.{name}"])
    start = load_file(tiny_base / "unet" / "diffusion_pytorch_model.safetensors")
    assert any(not torch.equal(v, start[k]) for k, v in pipeline.unet.state_dict().items())
    facts = folder_facts(model)
    assert (facts["kind"], facts["tiny"], facts["trained_steps"]) == ("prior", True, 2)


def test_a_lora_comes_out_merged(filled: Filled, tiny_base: Path) -> None:
    """The exported U-Net is base + B A, computed here from the checkpoint's own tensors."""
    list(run("prior", filled, tiny_base, "lora", steps=3, lora_rank=2))
    end = newest(filled[0].runs / "lora" / "checkpoints")
    assert end is not None
    trained = end.tensors["weights"]
    weights = [
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (tiny_base, filled[0].runs / "lora" / "model")
    ]
    assert weights[0].keys() == weights[1].keys()
    name = next(n for n in trained if n.endswith("to_q.lora_A.default.weight"))
    layer = name.removeprefix("unet.").removesuffix(".lora_A.default.weight")
    change = trained[name.replace("lora_A", "lora_B")] @ trained[name]
    assert change.any()
    key = f"{layer}.weight"
    torch.testing.assert_close(weights[1][key], weights[0][key] + change)


# diffusers 0.42's Euler scheduler hands a tensor to NumPy 2 in the old way.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_both_stages_make_a_folder_that_diffusers_opens_and_runs(
    filled: Filled, tiny_base: Path
) -> None:
    from diffusers import StableDiffusionXLControlNetPipeline
    from PIL import Image

    runs = filled[0].runs
    list(run("prior", filled, tiny_base, "prior", steps=2))
    stands_on = Path(find_prior("prior", runs))
    assert find_prior("", runs) == str(stands_on)
    list(run("restorer", filled, stands_on, "restorer", steps=2))
    model = runs / "restorer" / "model"
    pipeline = StableDiffusionXLControlNetPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    facts = folder_facts(model)
    out = pipeline(
        prompt=facts["prompt"],
        negative_prompt=facts["negative_prompt"],
        image=Image.fromarray(np.full((64, 64, 3), 90, np.uint8)),
        num_inference_steps=2,
        output_type="np",
    ).images
    assert out.shape == (1, 64, 64, 3)
    assert np.isfinite(out).all()
    prior_unet = load_file(stands_on / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(v, prior_unet[k]) for k, v in pipeline.unet.state_dict().items())
    assert facts["tiny"] is True
    assert facts["table_versions"] == {"samples": filled[1].version(Sample)}
    assert facts["base_sha256"] == folder_facts(stands_on)["model_sha256"]


def test_a_complete_run_resumes_to_nothing_and_can_be_made_longer(
    filled: Filled, tiny_base: Path
) -> None:
    list(run("prior", filled, tiny_base, "p", steps=2))
    assert list(run("prior", filled, tiny_base, "p", steps=2, resume=True)) == []
    assert [s.step for s in run("prior", filled, tiny_base, "p", steps=4, resume=True)] == [3, 4]
    assert folder_facts(filled[0].runs / "p" / "model")["trained_steps"] == 4


def test_a_run_keeps_to_the_table_version_it_began_with(filled: Filled, tiny_base: Path) -> None:
    workspace, store = filled
    stop_after(run("prior", filled, tiny_base, "p"), 2)
    began = store.version(Sample)
    first = store.read(Sample)[0]
    store.upsert(Sample, [replace(first, split="test")], why="test")
    assert store.version(Sample) != began
    list(run("prior", filled, tiny_base, "p", resume=True))
    record = json.loads((workspace.runs / "p" / "config.json").read_text())
    assert record["tables"] == {"samples": began}
    assert record["samples"] == 4


def test_a_loss_that_is_not_finite_stops_before_the_update(filled: Filled, tiny_base: Path) -> None:
    """A rate that throws the weights far off makes the second loss infinite or not a number.

    Two updates are left out, the third in a row stops the run; the count goes through a resume.
    """
    steps = run("prior", filled, tiny_base, "wild", lr=1e25, clip=1e9, save_every=1)
    with pytest.raises(AuthFaceError, match="not a finite number; the weights were not touched"):
        list(steps)
    taken = [row[0] for row in losses(filled, "wild")]
    end = newest(filled[0].runs / "wild" / "checkpoints")
    assert end is not None
    assert end.step == taken[-1]
    assert all(t.isfinite().all() for t in end.tensors["weights"].values())
    assert not (filled[0].runs / "wild" / "model").exists()
    rows = read_journal(filled[0].runs / "wild")
    made = [row["step"] for row in rows if not row.get("skipped")]
    assert taken == [*made, made[-1] + 1, made[-1] + 2]
    assert all(row["loss"] is None for row in rows[len(made) :])
    assert end.state["bad_updates"] == 2
    before = {k: v.clone() for k, v in end.tensors["weights"].items()}
    again = run("prior", filled, tiny_base, "wild", lr=1e25, clip=1e9, save_every=1, resume=True)
    with pytest.raises(AuthFaceError, match=f"At step {taken[-1] + 1} "):
        list(again)
    # How many are borne may be changed for a resume.
    more = run(
        "prior",
        filled,
        tiny_base,
        "wild",
        lr=1e25,
        clip=1e9,
        save_every=1,
        bad_updates=5,
        resume=True,
    )
    with pytest.raises(AuthFaceError):
        list(more)
    last = newest(filled[0].runs / "wild" / "checkpoints")
    assert last is not None
    assert last.step == min(taken[-1] + 2, 6)
    assert all(torch.equal(v, last.tensors["weights"][k]) for k, v in before.items())


def test_consent_is_asked_at_start_and_at_resume(filled: Filled, tiny_base: Path) -> None:
    stop_after(run("prior", filled, tiny_base, "p"), 2)
    withdraw(filled[1], "nasa", datetime(2024, 1, 1, tzinfo=UTC))
    # A table that is built anew is none of a run that was begun.
    for resume, name, todo in ((True, "p", "start a new run"), (False, "q", "leave them out")):
        with pytest.raises(ConsentError, match=todo):
            list(run("prior", filled, tiny_base, name, resume=resume))


def test_what_differs_in_a_table_of_settings_is_named_alone(
    filled: Filled, tiny_base: Path
) -> None:
    stop_after(run("restorer", filled, tiny_base, "r"), 2)
    other = {"facial": FacialConfig(width=16), "identifier_prompt": "p" * 300}
    with pytest.raises(CheckpointError) as refused:
        list(run("restorer", filled, tiny_base, "r", resume=True, **other))
    assert "facial.width was 8 and is 16" in refused.value.wrong
    assert "gan_weight" not in refused.value.wrong
    assert len(refused.value.wrong) < 250  # prompts are cut short


def test_a_run_whose_table_lost_samples_says_so_and_goes_on(
    filled: Filled, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an erasure: the version's number stays and the person's rows are gone."""
    stop_after(run("prior", filled, tiny_base, "p"), 2)
    path = filled[0].runs / "p" / "config.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"samples": 5}))
    assert next(run("prior", filled, tiny_base, "p", resume=True)).step == 3
    assert "began on 5 samples and its table holds 4 now" in caplog.text


def test_a_run_on_the_tiny_base_goes_on_in_a_workspace_that_was_moved(
    filled: Filled, tmp_path: Path
) -> None:
    place = filled[0].root
    stop_after(run("prior", filled, Path("tiny"), "p"), 2)
    moved = Workspace(tmp_path / "moved")
    shutil.copytree(place, moved.root, ignore=shutil.ignore_patterns("moved"))
    there = moved, Store(moved.tables)
    assert next(run("prior", there, Path("tiny"), "p", resume=True)).step == 3


@pytest.mark.parametrize(
    ("base", "goes_on"),
    [
        ("/b/models--org--sdxl/snapshots/abc", True),
        ("/b/models--org--sdxl/snapshots/def", False),
        ("/b/sdxl", False),
    ],
)
def test_a_base_of_the_hub_is_known_by_its_revision_wherever_its_cache_lies(
    base: str, goes_on: bool
) -> None:
    shared = {"kind": "prior", "config": {}, "base_sha256": None, "tiny": False}
    before = shared | {"base": "/a/hub/models--org--sdxl/snapshots/abc"}
    now = shared | {"base": base, "config": PriorConfig().model_dump(mode="json")}
    if goes_on:
        require_match(before, now)
        return
    with pytest.raises(CheckpointError, match="base was /a/hub"):
        require_match(before, now)


def test_refusals_come_before_any_work(filled: Filled, tiny_base: Path, tmp_path: Path) -> None:
    stop_after(run("prior", filled, tiny_base, "p"), 2)
    with pytest.raises(InputError, match="--resume"):
        list(run("prior", filled, tiny_base, "p"))
    with pytest.raises(CheckpointError, match=r"lr was 0.001 and is 0.5; seed was 0 and is 3"):
        list(run("prior", filled, tiny_base, "p", resume=True, lr=0.5, seed=3))
    with pytest.raises(CheckpointError, match="trains a prior"):
        list(run("restorer", filled, tiny_base, "p", resume=True))
    with pytest.raises(InputError, match="can't name a run"):
        list(run("prior", filled, tiny_base, "../p"))
    with pytest.raises(InputError, match="has no model yet"):
        find_prior("p", filled[0].runs)
    with pytest.raises(InputError, match="no trained prior"):
        find_prior("", filled[0].runs)
    empty = Workspace(tmp_path / "empty"), Store(tmp_path / "empty" / "tables")
    with pytest.raises(InputError, match="manifest build"):
        list(run("prior", empty, tiny_base, "p"))
    assert [p.name for p in filled[0].runs.iterdir()] == ["p"]
    (filled[0].media / filled[1].read(Sample)[1].crop_path).unlink()
    with pytest.raises(InputError, match="1 of 4 crops are missing"):
        list(run("prior", filled, tiny_base, "q"))


def test_a_setting_younger_than_the_run_had_its_default_then(
    filled: Filled, tiny_base: Path
) -> None:
    """In tables of settings too; any other value of it is a change."""
    stop_after(run("restorer", filled, tiny_base, "r"), 2)
    path = filled[0].runs / "r" / "config.json"
    record = json.loads(path.read_text())
    for table, key in (
        (record["config"], "ema"),
        (record["config"], "target"),
        (record["config"]["facial"], "parts"),
    ):
        del table[key]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"ema was 0\.0 and is 0\.9"):
        list(run("restorer", filled, tiny_base, "r", resume=True, ema=0.9))
    assert next(run("restorer", filled, tiny_base, "r", resume=True)).step == 3


def test_two_processes_do_not_train_in_one_folder(filled: Filled, tiny_base: Path) -> None:
    first = run("prior", filled, tiny_base, "p")
    next(first)
    with pytest.raises(InputError, match="Another process"):
        list(run("prior", filled, tiny_base, "p", resume=True))
    stop_after(first, 2)


def test_runs_are_numbered_if_their_name_is_taken(tmp_path: Path) -> None:
    assert free_name(tmp_path, "prior") == "prior"
    for name in ("prior", "prior-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert free_name(tmp_path, "prior") == "prior-3"


PROGRAM = """
import sys
from authface.cli import main
sys.argv = ["authface", "train", "prior", "--workspace", sys.argv[1], "--base", sys.argv[2],
            "--name", "p", "--steps", "24", "--set", "size=64", "--set", "save_every=1000"]
main()
"""


def test_ctrl_c_saves_and_the_resumed_run_equals_the_unbroken_one(
    filled: Filled, tiny_base: Path
) -> None:
    workspace = filled[0]
    workspace.settings.write_text("")
    command = [sys.executable, "-c", PROGRAM, str(workspace.root), str(tiny_base)]
    journal = workspace.runs / "p" / "stats.jsonl"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as going:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and going.poll() is None:
            if journal.exists() and journal.read_text().count("\n") >= 3:
                going.send_signal(signal.SIGINT)
                break
            time.sleep(0.02)
        said, _ = going.communicate(timeout=120)
    assert going.returncode == 130, said
    assert "Stopped by Ctrl-C" in said
    assert "--resume --name p." in said
    assert "goes on from there" not in said  # what other commands say: this one needs --resume
    stopped = newest(workspace.runs / "p" / "checkpoints")
    assert stopped is not None
    assert 3 <= stopped.step < 24
    settings = {"steps": 24, "save_every": 1000, "keep": 2}
    rest = list(run("prior", filled, tiny_base, "p", resume=True, **settings))
    assert rest[0].step == stopped.step + 1
    list(run("prior", filled, tiny_base, "whole", **settings))
    assert same_end(filled, "p", "whole")
