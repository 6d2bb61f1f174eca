"""The average of weights and the updates left out: what a run carries beside its weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from data_manifests.errors import CheckpointError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import loop
from training.batch import Batch
from training.checkpoint import at, newest
from training.config import PriorConfig, resolve
from training.ema import Average
from training.journal import read_journal
from training.models import load_base
from training.reexport import Reexport, reexport
from training.run import train_prior
from training.stage import Loss
from training.stages import Prior
from training.upkeep import NotFiniteError, Upkeep, make_upkeep

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "steps": 6, "save_every": 2, "keep": 3, "loss": "plain"}


def drawn(seed: int) -> nn.Parameter:
    rng = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(5, 3, generator=rng))


def test_the_average_as_written_out_in_numpy() -> None:
    """min(0.9, (1 + n) / (10 + n)) of what was, for 100 updates: the warm-up ends at the 81st."""
    weight = drawn(0)
    average = Average({"w": weight}, 0.9)
    expected = weight.detach().numpy().copy()
    for n in range(1, 101):
        now = drawn(n)
        weight.data = now.data
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        assert (decay < 0.9) == (n < 80)
        expected = decay * expected + (1 - decay) * now.detach().numpy()
    np.testing.assert_allclose(average.tensors["w"], expected, rtol=1e-4, atol=1e-6)
    assert average.tensors["w"].dtype == torch.float32


def test_a_worn_average_gives_the_weights_back() -> None:
    weight = drawn(0)
    layer = nn.Linear(3, 5, bias=False)
    layer.weight = weight
    average = Average({"w": weight}, 0.5)
    weight.data = drawn(1).data
    average.update()
    raw, mean, place = weight.detach().clone(), average.tensors["w"].clone(), weight.data_ptr()
    with contextlib.suppress(ZeroDivisionError), average.worn():
        assert torch.equal(layer.weight, mean)
        raise ZeroDivisionError
    assert torch.equal(layer.weight, raw)
    assert weight.data_ptr() == place
    assert torch.equal(average.tensors["w"], mean)


def test_an_average_of_other_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="average does not fit"):
        Average({"w": drawn(0)}, 0.5).restore({"w": torch.zeros(2, 3)}, 1)


def run(filled: Filled, base: Path, name: str, **more: Any) -> list[Any]:
    resume, stop = more.pop("resume", False), more.pop("stop", 0)
    config = PriorConfig(base=str(base), **(SMALL | more))
    steps = train_prior(config, store=filled[1], workspace=filled[0], name=name, resume=resume)
    taken = []
    with contextlib.closing(steps):  # type: ignore[type-var]
        for step in steps:
            taken.append(step)
            if step.step == stop:
                break
    return taken


def end(filled: Filled, name: str) -> Any:
    found = newest(filled[0].runs / name / "checkpoints")
    assert found is not None
    return found


def test_an_average_changes_nothing_of_what_is_trained_and_is_what_is_exported(
    filled: Filled, tiny_base: Path
) -> None:
    run(filled, tiny_base, "plain")
    run(filled, tiny_base, "averaged", ema=0.99)
    plain, averaged = end(filled, "plain").tensors, end(filled, "averaged").tensors
    assert averaged.keys() - plain.keys() == {"ema"}
    for group, tensors in plain.items():
        assert all(torch.equal(value, averaged[group][key]) for key, value in tensors.items())
    assert averaged["ema"].keys() == averaged["weights"].keys()
    exported = load_file(filled[0].runs / "averaged/model/unet/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(v, averaged["ema"][f"unet.{k}"]) for k, v in exported.items())
    assert any(not torch.equal(v, averaged["weights"][f"unet.{k}"]) for k, v in exported.items())
    assert end(filled, "averaged").state["ema_updates"] == 6
    # A checkpoint that is exported again gives its own average.
    again, step, _ = reexport(Reexport("averaged", 4), store=filled[1], workspace=filled[0])
    earlier = at(filled[0].runs / "averaged/checkpoints", step).tensors["ema"]
    exported = load_file(again / "unet/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(v, earlier[f"unet.{k}"]) for k, v in exported.items())


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_average_equals_the_unbroken_one_bit_for_bit(
    killed_after: int, filled: Filled, tiny_base: Path
) -> None:
    run(filled, tiny_base, "whole", ema=0.99)
    run(filled, tiny_base, "broken", ema=0.99, stop=killed_after)
    run(filled, tiny_base, "broken", ema=0.99, resume=True)
    whole, broken = end(filled, "whole"), end(filled, "broken")
    assert whole.state == broken.state
    assert whole.tensors.keys() == broken.tensors.keys()
    for group, tensors in whole.tensors.items():
        assert all(torch.equal(v, broken.tensors[group][k]) for k, v in tensors.items())


class Faulty(Prior):
    """A stage whose loss or gradient is not finite at some steps."""

    bad_loss: frozenset[int] = frozenset()
    bad_gradient: frozenset[int] = frozenset()

    def loss(self, batch: Batch, step: int) -> Loss:
        found = super().loss(batch, step)
        error_B = found.error_B
        if step in self.bad_loss:
            error_B = error_B * torch.inf
        if step in self.bad_gradient:
            error_B.register_hook(lambda gradient: gradient * torch.nan)
        return Loss(error_B, found.parts)


@pytest.fixture
def faulty(filled: Filled, tiny_base: Path) -> Faulty:
    base = load_base(tiny_base, torch.device("cpu"))
    config = PriorConfig(size=64, steps=8, loss="plain", flip=0.0, ema=0.9)
    return Faulty(base, resolve(config, tiny=True), filled[0].media)


def taken(stage: Faulty, filled: Filled, upkeep: Upkeep, done: int = 0) -> Any:
    optimizer = loop.make_optimizer(stage.groups, stage.config)
    samples = filled[1].read(Sample)
    return optimizer, loop.train(
        stage, samples, config=stage.config, optimizer=optimizer, done=done, upkeep=upkeep
    )


def test_an_update_that_is_not_finite_is_left_out_and_counted(
    faulty: Faulty, filled: Filled
) -> None:
    faulty.bad_loss, faulty.bad_gradient = frozenset({1, 5}), frozenset({2, 4})
    upkeep = make_upkeep(faulty, faulty.config)
    assert upkeep.average is not None
    optimizer, steps = taken(faulty, filled, upkeep)
    weights = list(faulty.groups[0].parameters().values())
    before, counts = [w.detach().clone() for w in weights], []
    for step in steps:
        counts.append(upkeep.bad)
        assert np.isnan(step.loss) == step.skipped
        same = all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
        assert same == step.skipped
        before = [w.detach().clone() for w in weights]
        assert all(w.grad is None for w in weights)
    assert counts == [0, 1, 2, 0, 1, 2, 0, 0]
    assert upkeep.average.updates == 4
    assert {float(s["step"]) for s in optimizer.state.values()} == {4.0}


def test_the_run_stops_after_as_many_as_are_borne(faulty: Faulty, filled: Filled) -> None:
    faulty.bad_loss = frozenset({1, 2, 3, 4})
    upkeep = make_upkeep(faulty, faulty.config)
    _, steps = taken(faulty, filled, upkeep)
    assert [next(steps).skipped for _ in range(3)] == [False, True, True]
    with pytest.raises(NotFiniteError, match="At step 4 "):
        next(steps)


def test_the_journal_says_what_was_left_out(filled: Filled, tiny_base: Path) -> None:
    run(filled, tiny_base, "sound", steps=2)
    rows = read_journal(filled[0].runs / "sound")
    assert not any("skipped" in row for row in rows)
