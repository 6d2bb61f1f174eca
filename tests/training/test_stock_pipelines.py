"""What a run leaves behind, opened and run by the stock libraries, against our own restoration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage.data import astronaut
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from restore.config import RestoreConfig
from restore.pipeline import open_restorer
from training.bases import folder_facts
from training.config import FacialConfig, PriorConfig, RestorerConfig
from training.export import export_restorer
from training.run import train_prior, train_restorer

SIZE, SEED, STEPS, GUIDANCE = 64, 5, 4, 3.0

pytestmark = pytest.mark.filterwarnings(
    # diffusers 0.42's schedulers hand a tensor to NumPy 2 in the old way.
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture(scope="module")
def runs(make_workspace: Any, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior, and a restorer on it whose ControlNet was moved far enough to have a say."""
    workspace, store = make_workspace(tmp_path_factory.mktemp("stock"))
    place: dict[str, Any] = {"store": store, "workspace": workspace}
    size: dict[str, Any] = {"size": SIZE, "lr": 0.02}
    list(train_prior(PriorConfig(base=str(tiny_base), steps=2, **size), name="prior", **place))
    config = RestorerConfig(steps=4, facial=FacialConfig(width=8), **size)
    prior = workspace.runs / "prior" / "model"
    list(train_restorer(config, prior=prior, name="restorer", **place))
    return workspace.runs


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    """A face at the model's size."""
    return cv2.resize(astronaut()[40:200, 145:305], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def stock_restoration(model: Path, face: NDArray[np.uint8], sampler: str) -> NDArray[np.uint8]:
    """A face restored by diffusers alone, with the settings that ours has by default.

    From the posterior's mode under the schedule's full noise, at steps evenly spread from there.
    """
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    if sampler == "ddpm":
        scheduler = DDPMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    else:
        scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="dpmsolver++", euler_at_final=True
        )
    pipe.scheduler = scheduler
    rng = torch.Generator().manual_seed(SEED)
    picture = Image.fromarray(face)
    facts = folder_facts(model)
    with torch.no_grad():
        seen = pipe.vae.encode(pipe.image_processor.preprocess(picture)).latent_dist.mode()
    latents = seen * pipe.vae.config.scaling_factor
    noise = torch.randn(latents.shape[1:], generator=rng)[None]
    spread = np.rint(np.linspace(999, 0, STEPS + 1)[:-1]).astype(int).tolist()
    scheduler.set_timesteps(timesteps=spread)  # DPM++ adds the noise of another step before it
    found = pipe(
        prompt=facts["prompt"],
        negative_prompt=facts["negative_prompt"],
        image=picture,
        latents=scheduler.add_noise(latents, noise, torch.tensor([spread[0]])),
        timesteps=spread,
        generator=rng,
        guidance_scale=GUIDANCE,
    ).images[0]
    return np.asarray(found)


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
def test_the_stock_pipeline_restores_as_ours_does(
    sampler: Any, runs: Path, face: NDArray[np.uint8]
) -> None:
    """Equal; a byte may fall to the other side of a rounding, as the noise is added otherwise."""
    model = runs / "restorer" / "model"
    config = RestoreConfig(sampler=sampler, guidance=GUIDANCE, steps=STEPS)
    ours = open_restorer(str(model), config=config).restore([face], seeds=[SEED])[0]
    stock = stock_restoration(model, face, sampler)
    gap = np.abs(ours.astype(int) - stock.astype(int))
    assert gap.max() <= 1
    assert (gap > 0).mean() < 0.001
    # The training has a say: without it the two would agree too easily.
    plain = RestoreConfig(sampler=sampler, guidance=GUIDANCE, steps=STEPS, control=0.0)
    other = open_restorer(str(model), config=plain).restore([face], seeds=[SEED])[0]
    assert not np.array_equal(ours, other)


def test_the_prior_opens_as_the_stock_pipeline_it_is(runs: Path) -> None:
    """No part is missing, none is one too many, and nothing is drawn anew."""
    model = runs / "prior" / "model"
    index = json.loads((model / "model_index.json").read_text())
    pipe, told = StableDiffusionXLPipeline.from_pretrained(model), index["_class_name"]
    assert type(pipe).__name__ == told == "StableDiffusionXLPipeline"
    for name in ("unet", "vae"):
        stored = load_file(model / name / "diffusion_pytorch_model.safetensors")
        held = getattr(pipe, name).state_dict()
        assert stored.keys() == held.keys()
        assert all(torch.equal(stored[k], held[k]) for k in stored)


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_words_are_stored_in_the_form_that_transformers_4_and_5_both_read(
    kind: str, runs: Path
) -> None:
    assert_both_read(runs / kind / "model")


def test_a_base_in_transformers_5s_own_form_is_exported_in_the_older_one(
    runs: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """As transformers 5 saves what was built from a config: no prefix, no vocabulary file."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    path = base / "text_encoder" / "model.safetensors"
    known = load_file(path)
    flat = {k.removeprefix("text_model."): v.clone() for k, v in known.items()}
    save_file(flat, path, metadata={"format": "pt"})
    for name in ("tokenizer", "tokenizer_2"):
        (base / name / "vocab.json").unlink()
        (base / name / "merges.txt").unlink()
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(runs / "restorer" / "model")
    facts = folder_facts(runs / "restorer" / "model")
    model = export_restorer(pipe.controlnet, base, tmp_path / "model", facts)
    assert_both_read(model)
    mended = load_file(model / "text_encoder" / "model.safetensors")
    assert mended.keys() == known.keys()
    assert all(torch.equal(v, known[k]) for k, v in mended.items())
    for name in ("tokenizer", "tokenizer_2"):
        for file in ("vocab.json", "merges.txt"):
            assert (model / name / file).read_bytes() == (tiny_base / name / file).read_bytes()


def assert_both_read(model: Path) -> None:
    """transformers 4 wants these names on disk; 5, which is here, finds each weight by them."""
    for kind, name, apart in (
        (CLIPTextModel, "text_encoder", set()),
        (CLIPTextModelWithProjection, "text_encoder_2", {"text_projection.weight"}),
    ):
        keys = set(load_file(model / name / "model.safetensors"))
        assert {k for k in keys if not k.startswith("text_model.")} == apart
        assert "text_model.embeddings.token_embedding.weight" in keys
        assert "text_model.final_layer_norm.bias" in keys
        _, told = kind.from_pretrained(model / name, output_loading_info=True)
        assert not told["missing_keys"]
        assert not told["unexpected_keys"]
    for name, pad in (("tokenizer", 49407), ("tokenizer_2", 0)):
        vocabulary = json.loads((model / name / "vocab.json").read_text())
        assert (len(vocabulary), vocabulary["<|endoftext|>"]) == (49408, 49407)
        assert len((model / name / "merges.txt").read_text().splitlines()) == 48894 + 1
        assert CLIPTokenizer.from_pretrained(model / name).pad_token_id == pad
