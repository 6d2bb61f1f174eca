"""Grids of pictures while a run goes on: made as a photo is restored, and found by an erasure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from data_manifests.media import Workspace
from data_manifests.person import Person
from data_manifests.records import Sample
from data_manifests.store import Store
from data_manifests.traces import find_traces
from restore.config import RestoreConfig
from restore.pipeline import open_restorer
from training.checkpoint import newest
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.grids import Grid, draw_grid, grid_files, write_grid
from training.held_out import pick_held_out
from training.journal import Step, read_journal
from training.models import load_base
from training.run import train_prior, train_restorer
from training.stages import Restorer
from training.validate import fixed_items, held_still

# diffusers 0.42's solver hands a tensor to NumPy 2 in the old way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "steps": 2, "save_every": 2}
FACIAL = FacialConfig(width=8, least_signal=0.0)


def run(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> Iterator[Step]:
    workspace, store = filled
    named: dict[str, Any] = {"store": store, "workspace": workspace, "name": name}
    if kind == "prior":
        return train_prior(PriorConfig(base=str(base), **SMALL | more), **named)
    config = RestorerConfig(facial=FACIAL, **SMALL | more)
    return train_restorer(config, prior=base, **named)


def cells(file: Path, rows: int, columns: int, side: int = 64) -> list[list[NDArray[np.uint8]]]:
    """The pictures of a grid under a title, a note and heads, at their own size again."""
    grid = np.asarray(Image.open(file))
    shown = 192
    top = grid.shape[0] - rows * (shown + 8)
    places = [
        (top + r * (shown + 8), 8 + c * (shown + 8)) for r in range(rows) for c in range(columns)
    ]
    step = shown // side
    flat = [grid[y : y + shown : step, x : x + shown : step] for y, x in places]
    return [flat[r * columns : (r + 1) * columns] for r in range(rows)]


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_a_run_with_grids_learns_the_same_bit_for_bit(
    kind: str, filled: Filled, tiny_base: Path
) -> None:
    list(run(kind, filled, tiny_base, "plain"))
    list(run(kind, filled, tiny_base, "shown", grid_every=2, grid_of=2))
    plain, shown = (newest(filled[0].runs / n / "checkpoints") for n in ("plain", "shown"))
    assert plain is not None
    assert shown is not None
    for group, tensors in plain.tensors.items():
        assert all(torch.equal(value, shown.tensors[group][key]) for key, value in tensors.items())
    found = grid_files(filled[0].runs / "shown")
    assert [step for step, _ in found] == [0, 2]
    told = json.loads(found[0][1].with_name("step-000000.png.authface.json").read_text())
    assert told["tiny"] is True
    assert len(told["samples"]) == len(told["seeds"]) == 2
    assert "rainedAlgorithmicMedia" in Image.open(found[0][1]).text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
    before, after = (cells(file, 2, 3 if kind == "restorer" else 2) for _, file in found)
    made = 1 if kind == "restorer" else 0
    for row, later in zip(before, after, strict=True):
        changed = [not np.array_equal(a, b) for a, b in zip(row, later, strict=True)]
        assert changed == [column == made for column in range(len(row))]


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_rank": 2, "ema": 0.9},
        {"target": "flow", "loss": "plain", "cache": True, "ema": 0.9},
    ],
)
def test_looking_leaves_averages_loras_and_other_targets_as_they_are(
    settings: dict[str, Any], filled: Filled, tiny_base: Path
) -> None:
    looks = {"grid_every": 1, "grid_of": 1, "validate_every": 1}
    list(run("prior", filled, tiny_base, "plain", **settings))
    list(run("prior", filled, tiny_base, "shown", **settings, **looks))
    plain, shown = (newest(filled[0].runs / n / "checkpoints") for n in ("plain", "shown"))
    assert plain is not None
    assert shown is not None
    assert "ema" in plain.tensors
    for group, tensors in plain.tensors.items():
        assert all(torch.equal(value, shown.tensors[group][key]) for key, value in tensors.items())
    assert [step for step, _ in grid_files(filled[0].runs / "shown")] == [0, 1, 2]


def test_a_restored_preview_is_what_the_exported_model_restores(
    filled: Filled, tiny_base: Path
) -> None:
    """From the same degraded faces and seeds, by the pipeline that restores photos.

    Weights read from a file lie at odd offsets, where kernels round differently: by one at most.
    """
    list(run("restorer", filled, tiny_base, "shown", grid_every=2, grid_of=2))
    folder = filled[0].runs / "shown"
    (_, _), (_, file) = grid_files(folder)
    seeds = json.loads(file.with_name(file.name + ".authface.json").read_text())["seeds"]
    config = resolve(RestorerConfig(facial=FACIAL, **SMALL), tiny=True)
    stage = Restorer(load_base(tiny_base, torch.device("cpu")), config, filled[0].media)
    held = pick_held_out(filled[1].read(Sample), 2)
    poor = [
        i.poor_HWC for i in fixed_items(held_still(stage), held.samples) if i.poor_HWC is not None
    ]
    restorer = open_restorer(str(folder / "model"), config=RestoreConfig(device="cpu"))
    wanted = restorer.restore(poor, seeds=seeds)
    for row, degraded, restored in zip(cells(file, 2, 3), poor, wanted, strict=True):
        np.testing.assert_array_equal(row[0], degraded)
        np.testing.assert_allclose(row[1].astype(int), restored.astype(int), atol=1)


def test_a_grid_is_drawn_in_bfloat16_too(filled: Filled, tiny_base: Path) -> None:
    """The text encoders are gone there: all words that a grid needs were encoded before."""
    settings: dict[str, Any] = {"steps": 1, "precision": "bf16", "grid_every": 1, "grid_of": 1}
    list(run("restorer", filled, tiny_base, "half", **settings))
    assert [step for step, _ in grid_files(filled[0].runs / "half")] == [0, 1]
    made = cells(grid_files(filled[0].runs / "half")[0][1], 1, 3)[0][1]
    assert made.std() > 0


def test_a_grids_figures_reach_tensorboard_and_its_pictures_a_file_of_their_own(
    filled: Filled, tiny_base: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = {"grid_every": 2, "grid_of": 1, "validate_every": 2, "tensorboard": True}
    list(run("restorer", filled, tiny_base, "told", **settings, peak_tflops=1e-3))
    folder = filled[0].runs / "told"
    figures = EventAccumulator(str(folder / "tensorboard")).Reload()
    named = set(figures.Tags()["scalars"])
    assert {"loss", "mfu", "validation/noise", "validation/condition_use"} <= named
    rows = read_journal(folder, "validation")
    assert [e.step for e in figures.Scalars("validation/noise")] == [r["step"] for r in rows]
    pictures = EventAccumulator(str(folder / "tensorboard" / "grids")).Reload()
    assert [e.step for e in pictures.Images("grid")] == [0, 2]
    (file,) = (folder / "tensorboard" / "grids").iterdir()
    shown = pick_held_out(filled[1].read(Sample), 1).samples[0].sample_id
    assert file.name.endswith(f".{shown}")


def test_a_grid_that_does_not_fit_costs_no_run(
    filled: Filled,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Memory that runs out can't be had on order, so the pipeline is made to say so."""

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("training.previews.StableDiffusionXLPipeline.__call__", full)
    assert len(list(run("prior", filled, tiny_base, "full", grid_every=2, grid_of=1))) == 2
    assert grid_files(filled[0].runs / "full") == []
    assert "no grid at step 2" in caplog.text


def test_a_picture_that_could_not_be_made_is_an_empty_cell() -> None:
    pixels = np.full((16, 16, 3), 200, np.uint8)
    grid = Grid(("a", "b"), ((pixels, None), (pixels, pixels)), ("x", "y"), {})
    image = draw_grid(grid, title="step 1")
    drawn = np.asarray(image)
    assert drawn.shape == (8 + 2 * 22 + 2 * 200, 8 + 2 * 200, 3)
    assert (drawn[52:244, 8:200] == 200).all()
    assert not (drawn[52:244, 208:400] == 200).all()
    assert draw_grid(grid, title="step 1", note="tiny").height == image.height + 22
    assert draw_grid(grid, title="step 1", note="tiny " * 30).height > image.height + 22


def test_an_erasure_finds_a_grid_by_the_samples_it_shows(filled: Filled) -> None:
    workspace, store = filled
    rows = sorted(store.read(Sample), key=lambda s: s.sample_id)
    pixels = np.zeros((64, 64, 3), np.uint8)
    files = {}
    for name, sample in (("his", rows[0]), ("others", rows[1])):
        grid = Grid(("a",), ((pixels,),), (sample.sample_id,), {"seeds": [1]})
        (workspace.runs / name).mkdir(parents=True)
        files[name] = write_grid(workspace.runs / name, 1, grid, draw_grid(grid, title="t"))
    person = Person("person-1", {"sample": frozenset({rows[0].sample_id})})
    doomed = find_traces(workspace, person).doomed
    assert files["his"] in doomed
    assert files["his"].with_name(files["his"].name + ".authface.json") in doomed
    assert files["others"] not in doomed
