"""Runs on each target: the loss falls, and what comes out is sampled by diffusers as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from PIL import Image

from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from restore.config import RestoreConfig
from restore.pipeline import open_restorer
from training import loop, losses, targets
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.models import Base, Words, load_base
from training.run import train_prior, train_restorer
from training.stages import Prior, Restorer

Filled = tuple[Workspace, Store]
SMALL: dict[str, Any] = {"size": 64, "batch": 2, "flip": 0.0, "prompt_dropout": 0.0}
V = {"target": "v", "min_snr": 5.0, "loss": "plain"}
EPSILON = {"min_snr": 5.0, "timesteps": "logit_normal", "loss": "plain"}
ZERO = {"target": "v", "zero_terminal": True, "loss": "plain"}
FLOW = {"target": "flow", "loss": "plain", "timesteps": "logit_normal"}
# diffusers 0.42's Euler scheduler hands a tensor to NumPy 2 in the old way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, torch.device("cpu"))


def prior(base: Base, filled: Filled, **settings: Any) -> Prior:
    return Prior(base, resolve(PriorConfig(**(SMALL | settings)), tiny=True), filled[0].media)


@pytest.mark.parametrize(
    "settings",
    [V, EPSILON, ZERO, FLOW],
    ids=["v", "epsilon", "zero terminal", "flow"],
)
def test_the_loss_of_every_target_falls(
    settings: dict[str, Any], base: Base, filled: Filled
) -> None:
    """Of the same eight items, before and after 16 updates on others."""
    stage = prior(base, filled, steps=16, **settings)
    samples = filled[1].read(Sample)
    seen = stage.gather([stage.item(samples[i % 4], 1000, i) for i in range(8)])

    def measured() -> float:
        with torch.no_grad():
            return float(stage.loss(seen, 0).error_B.mean())

    before = measured()
    optimizer = loop.make_optimizer(stage.groups, stage.config)
    taken = list(loop.train(stage, samples, config=stage.config, optimizer=optimizer, done=0))
    assert all(np.isfinite(step.loss) for step in taken)
    assert measured() < 0.9 * before


def test_the_guide_of_a_new_target_is_of_noise(base: Base, filled: Filled) -> None:
    """The teacher says noise and the student v: the guide compares what both say of the noise."""
    stage = prior(base, filled, target="v", distill_weight=0.7)
    samples = filled[1].read(Sample)
    batch = stage.gather([stage.item(samples[i], 0, i) for i in range(2)])
    loss, noised = stage.loss(batch, 0), stage._noised(batch)
    with torch.no_grad():
        # Before the first update the student's weights are the teacher's.
        said = Words.stack([stage._words(i) for i in batch.items])
        v = stage._predict(stage.unet, noised, said, batch.time_ids_B6)
        a, b = (x.view(-1, 1, 1, 1) for x in (noised.level.signal_B, noised.level.noise_B))
        guide = losses.mean_error(b * noised.noisy_BCHW + a * v, stage._guide(batch, noised))
        wanted = a * noised.noise_BCHW - b * noised.clean_BCHW
        face = losses.masked_error(v, wanted, batch.mask_B1HW)
    torch.testing.assert_close(loss.parts["guide"], guide)
    torch.testing.assert_close(loss.parts["face"], face)
    torch.testing.assert_close(loss.error_B.detach(), face + 0.7 * guide)


@pytest.mark.parametrize("on", ["clean", "noise"])
@pytest.mark.parametrize("kind", ["epsilon", "v", "flow"])
def test_the_facial_loss_sees_clean_latents_of_any_target(
    kind: targets.Kind, on: str, base: Base, filled: Filled
) -> None:
    base.kind = kind
    facial = FacialConfig(width=8, on=on, least_signal=0.0, timesteps="logit_normal")
    config = resolve(RestorerConfig(**SMALL, facial=facial), tiny=True)
    stage = Restorer(base, config, filled[0].media)
    samples = filled[1].read(Sample)
    batch = stage.gather([stage.item(samples[i], 0, i) for i in range(2)])
    noised = stage._noised(batch)
    true = targets.target(kind, noised.clean_BCHW, noised.noise_BCHW, noised.level)
    predicted, real = stage._judged(true, noised)
    torch.testing.assert_close(predicted, real, rtol=1e-3, atol=1e-3)
    assert real is (noised.clean_BCHW if on == "clean" else noised.noise_BCHW)
    loss = stage.loss(batch, 0)
    weight = targets.logit_normal(stage.schedule.time(noised.timestep_B))
    parts = loss.parts
    expected = parts["noise"] + weight * (0.05 * parts["gan"] + 200 * parts["gram"])
    torch.testing.assert_close(loss.error_B.detach(), expected)


@pytest.mark.parametrize("settings", [{"target": "v"}, ZERO, FLOW], ids=["v", "zero", "flow"])
def test_both_stages_of_a_target_are_sampled_as_they_were_trained(
    settings: dict[str, Any], filled: Filled, tiny_base: Path
) -> None:
    workspace, store = filled
    place = {"store": store, "workspace": workspace}
    config = PriorConfig(base=str(tiny_base), steps=2, **(SMALL | settings))
    list(train_prior(config, name="prior", **place))  # type: ignore[arg-type]
    model = workspace.runs / "prior" / "model"
    pipeline = StableDiffusionXLPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline("a portrait", height=64, width=64, num_inference_steps=3, output_type="np")
    assert np.isfinite(drawn.images).all()
    after = load_base(model, torch.device("cpu"))
    assert after.kind == settings["target"]
    assert (float(after.alpha_bar_T[-1]) == 0) == settings.get("zero_terminal", False)

    # Stage 2 takes its prior's target over.
    second = RestorerConfig(steps=2, facial=FacialConfig(width=8), **SMALL)
    list(train_restorer(second, prior=model, name="restorer", **place))  # type: ignore[arg-type]
    restorer = workspace.runs / "restorer" / "model"
    both = StableDiffusionXLControlNetPipeline.from_pretrained(restorer)
    both.set_progress_bar_config(disable=True)
    face = np.full((64, 64, 3), 90, np.uint8)
    drawn = both("a face", image=Image.fromarray(face), num_inference_steps=3, output_type="np")
    assert np.isfinite(drawn.images).all()
    opened = open_restorer(str(restorer), config=RestoreConfig(steps=3), device="cpu")
    assert opened.restore([face], seeds=[1])[0].shape == (64, 64, 3)


def test_the_sampler_of_flow_leads_a_perfect_model_to_its_picture(
    filled: Filled, tiny_base: Path
) -> None:
    """diffusers' scheduler, as it was exported, fed with noise - clean at each of its steps."""
    workspace, store = filled
    config = PriorConfig(base=str(tiny_base), steps=1, **(SMALL | FLOW))
    list(train_prior(config, store=store, workspace=workspace, name="prior"))
    pipeline = StableDiffusionXLPipeline.from_pretrained(workspace.runs / "prior" / "model")
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(8)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x = noise * scheduler.init_noise_sigma
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        # The U-Net is told a thousandth of sigma, rounded down.
        assert int(t) == int(1000 * float(sigma) + 1e-3)
        x = scheduler.step(noise - clean, t, scheduler.scale_model_input(x, t)).prev_sample
    torch.testing.assert_close(x, clean, atol=5e-3, rtol=1e-3)
