"""A ControlNet that is shown latents: begins as nothing, trains, and runs in the stock pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLControlNetPipeline

from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from restore.config import RestoreConfig
from restore.pipeline import encode_faces, open_restorer
from training import preflight
from training.condition import shown
from training.config import FacialConfig, RestorerConfig, resolve
from training.models import Base, load_base
from training.run import train_restorer
from training.stages import Restorer

Filled = tuple[Workspace, Store]
LATENT: dict[str, Any] = {
    "condition": "latent",
    "size": 64,
    "steps": 2,
    "flip": 0.0,
    "facial": FacialConfig(width=8, parts=("eyes", "mouth", "nose")),
}


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, torch.device("cpu"))


def test_what_is_shown_is_what_restoring_encodes(base: Base) -> None:
    faces = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    pixels = shown(base, faces, "rgb")
    assert pixels.shape == (2, 3, 64, 64)
    assert 0 <= pixels.min() < pixels.max() <= 1
    with torch.no_grad():
        encoded = encode_faces(base.pipeline.vae, pixels)
    torch.testing.assert_close(shown(base, faces, "latent"), encoded, rtol=1e-4, atol=1e-4)


def test_a_controlnet_of_latents_begins_as_nothing(base: Base, filled: Filled) -> None:
    stage = Restorer(base, resolve(RestorerConfig(**LATENT), tiny=True), filled[0].media)
    assert stage.controlnet.config.conditioning_channels == 4
    assert len(stage.facial.critics) == 3
    samples = filled[1].read(Sample)
    batch = stage.gather([stage.item(samples[0], 0, 0)])
    noised = stage._noised(batch)
    words = base.words(None if batch.items[0].wordless else stage.config.identifier_prompt)
    with torch.no_grad():
        expected = base.unet(
            noised.noisy_BCHW,
            noised.timestep_B,
            encoder_hidden_states=words.embedding_BSC,
            added_cond_kwargs={
                "text_embeds": words.pooled_BP,
                "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]]),
            },
        ).sample
        assert torch.equal(stage._predict(batch, noised), expected)


def test_weights_of_either_condition_are_counted(tiny_base: Path, base: Base) -> None:
    for condition in ("rgb", "latent"):
        config = RestorerConfig(condition=condition, facial=LATENT["facial"])
        stage = Restorer(base, resolve(config, tiny=True), Path())
        trained = sum(p.numel() for g in stage.groups for p in g.parameters().values())
        assert preflight.count_weights(config, tiny_base)[0] == trained


# diffusers 0.42's Euler scheduler hands a tensor to NumPy 2 in the old way.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_the_stock_pipeline_and_restore_show_it_latents(filled: Filled, tiny_base: Path) -> None:
    workspace, store = filled
    config = RestorerConfig(batch=2, **LATENT)
    place = {"store": store, "workspace": workspace}
    list(train_restorer(config, prior=tiny_base, name="latent", **place))  # type: ignore[arg-type]
    model = workspace.runs / "latent" / "model"
    pipeline = StableDiffusionXLControlNetPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    face = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    pixels = torch.from_numpy(face)[None].permute(0, 3, 1, 2).float() / 255
    seen: list[torch.Size] = []
    pipeline.controlnet.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["controlnet_cond"].shape), with_kwargs=True
    )
    with torch.no_grad():
        drawn = pipeline(
            "a face",
            image=encode_faces(pipeline.vae, pixels),
            latents=torch.randn(1, 4, 8, 8),
            original_size=(64, 64),
            target_size=(64, 64),
            num_inference_steps=2,
            output_type="np",
        ).images
    assert drawn.shape == (1, 64, 64, 3)
    assert np.isfinite(drawn).all()
    assert set(seen) == {torch.Size((2, 4, 8, 8))}  # with and without words
    opened = open_restorer(str(model), config=RestoreConfig(steps=2), device="cpu")
    assert opened.restore([face, face], seeds=[1, 2])[1].shape == (64, 64, 3)
