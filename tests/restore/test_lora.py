"""LoRAs merged before inference: as training's own merging does it, safetensors only."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from data_manifests.errors import CheckpointError, ConfigError
from restore.config import RestoreConfig
from restore.lora import changes_words, find_lora
from restore.pipeline import AuthFacePipeline, open_restorer
from training.export import export_prior, export_restorer
from training.lora import DIFFUSERS_FILE, KOHYA_FILE
from training.tiny import quiet

FACTS = {
    "kind": "prior",
    "prompt": "a portrait",
    "negative_prompt": "blurry",
    "size": 64,
    "base": "tiny",
    "trained_steps": 1,
    "samples": 0,
    "table_versions": {},
    "tiny": True,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def prior(restorer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior as training exports it: a LoRA merged into the tiny U-Net, and beside it."""
    root = tmp_path_factory.mktemp("lora")
    with quiet():
        unet = UNet2DConditionModel.from_pretrained(restorer_folder / "unet")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        layers = ["to_q", "to_v", "conv1"]
        unet.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=layers))
        for name, weights in unet.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.1)
    return export_prior(unet, restorer_folder, root / "prior", FACTS, lambda told: told)


@pytest.fixture(scope="module")
def merged(prior: Path, restorer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer on the merged prior."""
    with quiet():
        controlnet = ControlNetModel.from_pretrained(restorer_folder / "controlnet")
    target = tmp_path_factory.mktemp("merged") / "model"
    return export_restorer(controlnet, prior, target, {**FACTS, "kind": "restorer"})


@pytest.mark.parametrize("name", [DIFFUSERS_FILE, KOHYA_FILE])
def test_a_lora_merged_here_is_the_one_that_training_merged(
    restorer_folder: Path, prior: Path, merged: Path, faces, name: str
) -> None:
    config = RestoreConfig(lora=(str(prior / "lora" / name),))
    restorer = open_restorer(str(restorer_folder), config=config)
    ours = restorer._pipe.unet.state_dict()
    theirs = load_file(merged / "unet" / WEIGHTS)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-5)
    found = restorer.restore(faces[:1], seeds=[1])[0].astype(int)
    aim = open_restorer(str(merged)).restore(faces[:1], seeds=[1])[0].astype(int)
    plain = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[1])[0].astype(int)
    assert np.abs(found - aim).max() <= 1
    assert np.abs(found - plain).max() > 1


def test_weight_and_file_are_told_and_change_the_model_s_hash(
    restorer_folder: Path, prior: Path, tmp_path: Path
) -> None:
    plain = load_file(restorer_folder / "unet" / WEIGHTS)
    whole = load_file(prior / "unet" / WEIGHTS)
    hashes = {open_restorer(str(restorer_folder)).facts.sha256}
    for text, share in ((f"{prior}", 1.0), (f"{prior}=0.5", 0.5), (f"{prior / 'lora'}=0", 0.0)):
        config = RestoreConfig(lora=(text,))
        pipe = AuthFacePipeline.from_pretrained(restorer_folder, config=config)
        hashes.add(pipe.facts.sha256)
        assert f"x {share:g}" in pipe.facts.loras[0]
        for key, value in pipe.unet.state_dict().items():
            aim = plain[key] + share * (whole[key] - plain[key])
            torch.testing.assert_close(value, aim, atol=1e-5, rtol=1e-4)
    assert len(hashes) == 4
    # Two of them add up, and what is saved holds them.
    both = RestoreConfig(lora=(f"{prior}=0.5", f"{prior}=0.5"))
    AuthFacePipeline.from_pretrained(restorer_folder, config=both).save_pretrained(tmp_path / "m")
    saved = load_file(tmp_path / "m" / "unet" / WEIGHTS)
    for key, value in whole.items():
        torch.testing.assert_close(saved[key], value, atol=1e-5, rtol=1e-4)


def test_what_is_no_lora_is_refused_in_plain_words(
    restorer_folder: Path, prior: Path, tmp_path: Path
) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    torch.save({}, pickled / "pytorch_lora_weights.bin")
    for name in (pickled, pickled / "pytorch_lora_weights.bin"):
        with pytest.raises(ConfigError, match="pickled"):
            find_lora(str(name))
    with pytest.raises(ConfigError, match="no such file"):
        find_lora(str(tmp_path / "nowhere" / "at" / "all"))
    with pytest.raises(ConfigError, match="a weight behind it is a number"):
        find_lora(f"{prior}=much")
    with pytest.raises(ConfigError, match="no weight"):
        find_lora(f"{prior}=nan")
    several = shutil.copytree(prior / "lora", tmp_path / "several")
    (several / DIFFUSERS_FILE).rename(several / "other.safetensors")
    with pytest.raises(ConfigError, match="Name one of them"):
        find_lora(str(several))
    strange = tmp_path / "strange.safetensors"
    save_file({"some.weight": torch.zeros(2)}, strange)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((prior / "lora" / DIFFUSERS_FILE).read_bytes()[:500])
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    for file, why in ((strange, ""), (damaged, ": it is no whole"), (junk, ": it is no whole")):
        with pytest.raises(CheckpointError, match=f"can't be merged.*{why}"):
            open_restorer(str(restorer_folder), config=RestoreConfig(lora=(str(file),)))


def test_a_lora_of_the_text_encoders_is_seen(prior: Path, tmp_path: Path) -> None:
    assert not changes_words(find_lora(str(prior)))
    file = tmp_path / "words=1.safetensors"
    save_file({"text_encoder.q.lora_A.weight": torch.zeros(2)}, file)
    found = find_lora(str(file))
    assert (found.file, found.weight) == (file, 1.0)
    assert changes_words(found)
