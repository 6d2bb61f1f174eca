"""AdamW in 8 bits, and what a LoRA's alpha and a DoRA train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from data_manifests.errors import MissingExtra
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import loop, preflight
from training.config import PriorConfig, resolve
from training.models import Base, load_base
from training.optimizers import make_optimizer, moments, put_moments
from training.stage import Group
from training.stages import Prior

Filled = tuple[Workspace, Store]


class Fit:
    """A layer of 16,384 weights and 128 biases on its way to a fixed picture."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(128, 128)
        self.config = PriorConfig(optimizer=kind, lr=1e-3)
        self.groups = [Group("layer", self.layer, 1e-3)]
        self.optimizer = make_optimizer(self.groups, self.config)
        self.given, self.wanted = torch.randn(2, 64, 128)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        return self.groups[0].parameters()

    def step(self) -> float:
        loss = (self.layer(self.given) - self.wanted).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def test_eight_bit_moments_lead_nearly_as_full_ones_do() -> None:
    pytest.importorskip("bitsandbytes")
    full, eight = Fit("adamw"), Fit("adamw8bit")
    losses = [(full.step(), eight.step()) for _ in range(30)]
    assert losses[0][0] == losses[0][1]
    assert losses[-1][1] < 0.6 * losses[0][1]
    assert losses[-1][1] == pytest.approx(losses[-1][0], rel=0.02)
    held = moments(eight.optimizer, eight.weights)
    assert held["layer.weight|state1"].dtype == torch.uint8
    assert held["layer.bias|state1"].dtype == torch.float32  # too few to be worth it


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_moments_put_back_go_on_bit_for_bit(kind: str) -> None:
    """Through a file's bytes, as a checkpoint does."""
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    whole, broken = Fit(kind), Fit(kind)
    for _ in range(5):
        whole.step()
        broken.step()
    kept = load(save(moments(broken.optimizer, broken.weights)))
    resumed = Fit(kind)
    with torch.no_grad():
        for name, weight in resumed.weights.items():
            weight.copy_(broken.weights[name])
    put_moments(resumed.optimizer, resumed.weights, kept)
    for _ in range(5):
        assert whole.step() == resumed.step()
    assert all(torch.equal(w, resumed.weights[n]) for n, w in whole.weights.items())
    left, right = (moments(f.optimizer, f.weights) for f in (whole, resumed))
    assert left.keys() == right.keys()
    assert all(torch.equal(value, right[key]) for key, value in left.items())


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as Python marks what is not there
    with pytest.raises(MissingExtra, match=r"bitsandbytes.*\[eightbit\]"):
        Fit("adamw8bit")


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, torch.device("cpu"))


def lora(base: Base, filled: Filled, **settings: Any) -> Prior:
    config = PriorConfig(
        size=64, loss="plain", lora_rank=4, flip=0.0, prompt_dropout=0.0, steps=2, **settings
    )
    return Prior(base, resolve(config, tiny=True), filled[0].media)


def test_a_dora_begins_as_the_base_and_merges_into_what_it_was(base: Base, filled: Filled) -> None:
    samples = filled[1].read(Sample)
    before = lora_free(base, samples, filled)
    stage = lora(base, filled, dora=True, lora_alpha=2.0)
    names = stage.groups[0].parameters()
    assert any("lora_magnitude_vector" in name for name in names)
    assert all("lora_" in name for name in names)
    torch.testing.assert_close(said(stage, samples), before, rtol=1e-4, atol=1e-5)
    optimizer = loop.make_optimizer(stage.groups, stage.config)
    list(loop.train(stage, samples, config=stage.config, optimizer=optimizer, done=0))
    unmerged = said(stage, samples)
    assert (unmerged - before).abs().max() > 1e-3
    stage.unet.fuse_lora()
    stage.unet.unload_lora()
    torch.testing.assert_close(said(stage, samples), unmerged, rtol=1e-3, atol=1e-4)


def lora_free(base: Base, samples: list[Sample], filled: Filled) -> torch.Tensor:
    config = resolve(PriorConfig(size=64, loss="plain", flip=0.0, prompt_dropout=0.0), tiny=True)
    found = said(Prior(base, config, filled[0].media), samples)
    base.unet.requires_grad_(False)
    return found


@torch.no_grad()
def said(stage: Prior, samples: list[Sample]) -> torch.Tensor:
    """What the U-Net predicts of one item."""
    batch = stage.gather([stage.item(samples[0], 0, 0)])
    return stage._predict(
        stage.unet, stage._noised(batch), stage._words(batch.items[0]), batch.time_ids_B6
    )


@pytest.mark.parametrize(("alpha", "factor"), [(0.0, 1.0), (2.0, 0.5), (8.0, 2.0)])
def test_alpha_over_rank_scales_a_lora(
    alpha: float, factor: float, base: Base, filled: Filled
) -> None:
    stage = lora(base, filled, lora_alpha=alpha)
    layer = stage.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    assert layer.scaling["default"] == factor


def test_a_dora_s_weights_are_counted_and_need_a_rank(tiny_base: Path) -> None:
    plain, dora = (
        preflight.count_weights(PriorConfig(lora_rank=4, dora=on), tiny_base)[0]
        for on in (False, True)
    )
    assert dora > plain
    for settings in ({"dora": True}, {"lora_alpha": 2.0}):
        with pytest.raises(ValueError, match="set lora_rank too"):
            PriorConfig.model_validate(settings)
