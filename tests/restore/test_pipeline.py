"""The pipeline of ours beside diffusers' own: each opens what the other writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import load_file

from data_manifests.errors import CheckpointError, ConfigError, InputError
from restore.config import RestoreConfig
from restore.pipeline import AuthFacePipeline, open_restorer
from restore.presets import PRESETS, with_preset

SEED = 11


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def released(restorer_folder: Path, tmp_path: Path) -> Path:
    """A folder as diffusers 0.28 wrote it: half precision, a key of the authors' own, no note."""
    folder = tmp_path / "AuthFace"
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(restorer_folder)
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.to(torch.float16).save_pretrained(folder)
    for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        shutil.rmtree(folder / name)
        shutil.copytree(restorer_folder / name, folder / name)  # in the form of transformers 4
    for path in folder.glob("*/config.json"):
        change(path, _diffusers_version="0.28.0", **_added(path))
    change(folder / "model_index.json", _diffusers_version="0.28.0")
    change(folder / "scheduler" / "scheduler_config.json", _diffusers_version="0.28.0")
    return folder


def _added(path: Path) -> dict[str, Any]:
    return {"use_pre_img_encoder": False} if path.parent.name == "controlnet" else {}


def change(file: Path, **keys: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def test_a_notebook_s_call_restores_as_the_command_does(
    restorer_folder: Path, faces: list[np.ndarray]
) -> None:
    config = RestoreConfig(colour="none")
    pipe = AuthFacePipeline.from_pretrained(restorer_folder, config=config)
    made = pipe(faces[:2], seeds=[SEED, 12], fidelity=0.3, output_type="np").images
    told = open_restorer(str(restorer_folder)).restore(faces[:2], seeds=[SEED, 12], fidelity=0.3)
    for one, other in zip(made, told, strict=True):
        assert np.array_equal(one, other)
    # One picture, of another size, without a seed: the same face every time.
    large = Image.fromarray(faces[0]).resize((96, 96))
    first, second = (pipe(large, colour="wavelet").images for _ in range(2))
    assert first[0].size == faces[0].shape[:2]
    assert first[0].tobytes() == second[0].tobytes()
    assert pipe([]).images == []


def test_wrong_calls_are_told_in_plain_words(restorer_folder: Path, faces) -> None:
    pipe = AuthFacePipeline.from_pretrained(restorer_folder)
    with pytest.raises(InputError, match="no aligned face"):
        pipe(faces[0][:32])
    with pytest.raises(ConfigError, match="unknown setting 'fidelty'"):
        pipe(faces[0], fidelty=1)
    with pytest.raises(ConfigError, match="settled when the model is opened"):
        pipe(faces[0], precision="bfloat16")
    with pytest.raises(ConfigError, match="output type"):
        pipe(faces[0], output_type="latent")


def test_what_ours_writes_the_stock_pipeline_opens_and_the_other_way_round(
    restorer_folder: Path, tmp_path: Path, faces
) -> None:
    pipe = AuthFacePipeline.from_pretrained(restorer_folder)
    before = pipe(faces[0], seeds=[SEED]).images[0]
    pipe.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").rglob("*.bin"))
    stock = DiffusionPipeline.from_pretrained(tmp_path / "saved")
    assert type(stock) is StableDiffusionXLControlNetPipeline
    assert stock.text_encoder is not None
    stock.save_pretrained(tmp_path / "stock")
    for name in ("saved", "stock"):
        again = AuthFacePipeline.from_pretrained(tmp_path / name)
        settings: dict[str, Any] = {} if name == "saved" else {"steps": 4}
        if name == "stock":  # its prompts and size are not written there
            again.facts, again.words = pipe.facts, pipe.words
        assert again(faces[0], seeds=[SEED], **settings).images[0].tobytes() == before.tobytes()
    with pytest.raises(InputError, match="there already"):
        pipe.save_pretrained(tmp_path / "saved")


def test_a_pipeline_put_together_from_parts_restores_too(restorer_folder: Path, faces) -> None:
    stock = StableDiffusionXLControlNetPipeline.from_pretrained(restorer_folder)
    pipe = AuthFacePipeline(**stock.components, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    face = pipe(np.ascontiguousarray(faces[0]), steps=1, guidance=1.0).images[0]
    assert face.size == (512, 512)


def test_the_authors_layout_opens_unchanged_and_with_the_paper_s_settings(
    released: Path, faces
) -> None:
    config = with_preset(RestoreConfig(), "released").model_copy(update={"steps": 5})
    restorer = open_restorer(str(released), config=config)
    assert (restorer.facts.size, restorer.facts.tiny) == (512, False)
    ours = restorer.restore(faces[:1], seeds=[SEED])[0]
    stock = StableDiffusionXLControlNetPipeline.from_pretrained(released)
    stock.set_progress_bar_config(disable=True)
    made = stock(
        prompt=restorer.facts.prompt,
        negative_prompt=restorer.facts.negative_prompt,
        image=Image.fromarray(faces[0]),
        num_inference_steps=5,
        guidance_scale=8.0,
        generator=torch.Generator().manual_seed(SEED),
        output_type="np",
    ).images[0]
    gap = np.abs(ours.astype(int) - np.rint(made * 255).astype(int))
    assert gap.max() <= 1
    assert (gap > 0).mean() < 0.01
    # Its defaults restore too, and they are not the paper's.
    plain = open_restorer(str(released), config=RestoreConfig(steps=5))
    assert not np.array_equal(plain.restore(faces[:1], seeds=[SEED])[0], ours)


def test_weights_named_by_their_precision_open_too(released: Path, faces) -> None:
    for path in released.rglob("*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    restorer = open_restorer(str(released), config=RestoreConfig(steps=1))
    assert restorer.restore(faces[:1], seeds=[SEED])[0].shape == faces[0].shape


def test_a_controlnet_goes_on_a_base_from_elsewhere(
    restorer_folder: Path, tmp_path: Path, faces
) -> None:
    base = tmp_path / "base"
    StableDiffusionXLPipeline.from_pretrained(restorer_folder).save_pretrained(base)
    for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        shutil.rmtree(base / name)
        shutil.copytree(restorer_folder / name, base / name)
    alone = shutil.copytree(restorer_folder / "controlnet", tmp_path / "control")
    same = {"prompt": "a portrait", "negative_prompt": "blurry", "steps": 4}
    config = RestoreConfig.model_validate({"base": str(base), **same})
    whole = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[SEED])[0]
    for name in (alone, restorer_folder):
        restorer = open_restorer(str(name), config=config)
        assert np.array_equal(restorer.restore(faces[:1], seeds=[SEED])[0], whole)
        assert " on " in restorer.facts.name
        assert len(restorer.facts.sha256) == 64
    with pytest.raises(ConfigError, match="name its SDXL in the setting base"):
        open_restorer(str(alone))
    with pytest.raises(ConfigError, match="diffusers"):
        open_restorer(str(alone), config=RestoreConfig(base=str(alone)))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler
def test_the_vae_in_bfloat16_is_near_and_compiled_blocks_change_no_name(
    restorer_folder: Path, faces
) -> None:
    full = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[SEED])[0]
    pipe = AuthFacePipeline.from_pretrained(
        restorer_folder, config=RestoreConfig(vae_precision="bfloat16", compile=True)
    )
    assert pipe.vae.dtype == torch.bfloat16
    assert any(m._compiled_call_impl is not None for m in pipe.unet.modules())
    assert any(m._compiled_call_impl is not None for m in pipe.controlnet.modules())
    with torch.compiler.set_stance("force_eager"):
        half = pipe(faces[0], seeds=[SEED], colour="none", output_type="np").images[0]
    gap = np.abs(full.astype(int) - half.astype(int))
    assert 0 < gap.mean() < 8
    stored = load_file(restorer_folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert stored.keys() == pipe.unet.state_dict().keys()


def test_presets_are_settings_and_a_wrong_one_is_named() -> None:
    for name, told in PRESETS.items():
        config = with_preset(RestoreConfig(seed=7), name)
        assert all(getattr(config, key) == value for key, value in told.items())
        assert config.seed == 7
    assert with_preset(RestoreConfig(), None) == RestoreConfig()
    with pytest.raises(ConfigError, match="Known are released"):
        with_preset(RestoreConfig(), "paper")


def test_text_parts_that_are_given_are_never_taken_from_the_cache(restorer_folder: Path) -> None:
    AuthFacePipeline.from_pretrained(restorer_folder)
    stock = StableDiffusionXLControlNetPipeline.from_pretrained(restorer_folder)
    with torch.no_grad():
        for weights in stock.text_encoder.parameters():
            weights.mul_(1.5)
    pipe = AuthFacePipeline.from_pretrained(restorer_folder, text_encoder=stock.text_encoder)
    usual = AuthFacePipeline.from_pretrained(restorer_folder)
    assert not torch.equal(pipe.words["prompt_embeds"], usual.words["prompt_embeds"])


def test_a_model_without_safetensors_is_refused(restorer_folder: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(restorer_folder, tmp_path / "bad")
    (bad / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is not whole: of unet, no safetensors"):
        AuthFacePipeline.from_pretrained(bad)
