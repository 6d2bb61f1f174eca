"""A LoRA's two files: reloaded by the stock pipeline, and its kohya names against public ones."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.utils import convert_state_dict_to_kohya
from numpy.typing import NDArray
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from data_manifests.media import Workspace
from data_manifests.store import Store
from training import sdxl
from training.config import PriorConfig
from training.export import export_prior
from training.lora import DIFFUSERS_FILE, KOHYA_FILE, kohya_name, kohya_tensors
from training.run import train_prior

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
FACTS: dict[str, Any] = {
    "kind": "prior",
    "tiny": True,
    "base": "tiny",
    "samples": 4,
    "table_versions": {"samples": 1},
    "size": 64,
    "prompt": "a portrait",
    "trained_steps": 3,
}

pytestmark = pytest.mark.filterwarnings(
    # diffusers 0.42's Euler scheduler hands a tensor to NumPy 2 in the old way.
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def moved_unet(folder: Path, **lora: Any) -> Any:
    """The U-Net of a model folder with a LoRA on it whose every weight is away from its start."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    unet.add_adapter(LoraConfig(**{"r": 2, "lora_alpha": 2, "target_modules": ATTENTION, **lora}))
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_" in name:
                away = 0.2 * torch.randn(parameter.shape, generator=rng)
                parameter.copy_(parameter * (1 + away) if "magnitude" in name else away)
    return unet


def picture(pipeline: Any) -> NDArray[np.float64]:
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        prompt="a portrait",
        negative_prompt="blurry",
        height=64,
        width=64,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).images[0]
    return np.asarray(found, np.float64)


def with_lora(base: Path, folder: Path, name: str) -> NDArray[np.float64]:
    """What the base draws with a LoRA file laid on it as its users do."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(base)
    pipeline.load_lora_weights(folder, weight_name=name)
    assert pipeline.get_active_adapters()
    return picture(pipeline)


def test_a_lora_run_leaves_both_files_and_either_on_the_base_draws_as_the_merged_model(
    filled: tuple[Workspace, Store], tiny_base: Path
) -> None:
    """Within 1e-4 of the range: merged sums are rounded in another order."""
    workspace, store = filled
    config = PriorConfig(base=str(tiny_base), size=64, steps=3, lora_rank=2, lr=0.3)
    list(train_prior(config, store=store, workspace=workspace, name="lora"))
    model = workspace.runs / "lora" / "model"
    merged = picture(StableDiffusionXLPipeline.from_pretrained(model))
    plain = picture(StableDiffusionXLPipeline.from_pretrained(tiny_base))
    assert np.abs(merged - plain).max() > 0.01
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        np.testing.assert_allclose(with_lora(tiny_base, model / "lora", name), merged, atol=1e-4)
    # Without a name the stock pipeline takes the file of its own kind.
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_base)
    pipeline.load_lora_weights(model / "lora")
    np.testing.assert_allclose(picture(pipeline), merged, atol=1e-4)


@pytest.mark.parametrize(
    "lora",
    [
        {"lora_alpha": 8},
        {"use_rslora": True},
        {"target_modules": [*ATTENTION, "proj_in", "ff.net.2"]},
    ],
    ids=["alpha", "rank-stabilised", "more modules"],
)
def test_alpha_and_modules_of_any_kind_survive_both_forms(
    lora: dict[str, Any], tiny_base: Path, tmp_path: Path
) -> None:
    model = export_prior(moved_unet(tiny_base, **lora), tiny_base, tmp_path / "model", FACTS, dict)
    merged = picture(StableDiffusionXLPipeline.from_pretrained(model))
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        np.testing.assert_allclose(with_lora(tiny_base, model / "lora", name), merged, atol=1e-4)


def test_a_dora_survives_diffusers_form_and_kohyas_holds_its_magnitudes(
    tiny_base: Path, tmp_path: Path
) -> None:
    """diffusers drops `dora_scale`, so kohya's form is merged here, by LyCORIS' rule."""
    unet = moved_unet(tiny_base, use_dora=True)
    model = export_prior(unet, tiny_base, tmp_path / "model", FACTS, dict)
    merged = picture(StableDiffusionXLPipeline.from_pretrained(model))
    np.testing.assert_allclose(
        with_lora(tiny_base, model / "lora", DIFFUSERS_FILE), merged, atol=1e-4
    )
    kohya = load_file(model / "lora" / KOHYA_FILE)
    before, after = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (tiny_base, model)
    )
    changed = 0
    for key in (k for k in before if k.endswith(".weight")):
        module = key.removesuffix(".weight")
        if not module.endswith(tuple(ATTENTION)):
            continue
        name = "lora_unet_" + kohya_name(module, unet.config).replace(".", "_")
        np.testing.assert_allclose(decomposed(before[key], kohya, name), after[key], atol=2e-6)
        changed += 1
    assert changed == len(kohya) / 4 > 0


def decomposed(weight: Tensor, kohya: dict[str, Tensor], name: str) -> Tensor:
    """Weights under a kohya DoRA: their rows' directions changed by B A, their lengths given."""
    down, up = kohya[f"{name}.lora_down.weight"], kohya[f"{name}.lora_up.weight"]
    turned = weight + up @ down * kohya[f"{name}.alpha"] / len(down)
    length: Tensor = turned.norm(dim=1, keepdim=True)
    return turned / length * kohya[f"{name}.dora_scale"]


def test_diffusers_turns_our_kohya_names_into_its_own_and_its_own_into_ours(
    tiny_base: Path,
) -> None:
    """Both of its converters, over all attention of the real SDXL, each tensor known by its mark.

    The way to kohya's form keeps diffusers' names of blocks, which `kohya_name` turns.
    """
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**sdxl.UNET)
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=ATTENTION))
    marks = {key: torch.full((4, 1), float(n)) for n, key in enumerate(lora_keys(unet))}
    assert len(marks) == 2 * 560  # 70 transformer blocks, two attentions of four layers each
    ours = {}
    for key, value in marks.items():
        module, _, half = key.partition(".lora_")
        name = kohya_name(module, unet.config).replace(".", "_")
        ours[f"lora_unet_{name}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = value
    mapped = _maybe_map_sgm_blocks_to_diffusers(dict(ours), unet.config)
    found, _ = _convert_non_diffusers_lora_to_diffusers(mapped)
    back = {as_peft(key): value for key, value in found.items()}
    assert {k: int(v[0]) for k, v in back.items()} == {k: int(v[0]) for k, v in marks.items()}
    theirs = convert_state_dict_to_kohya({f"unet.{k}": v for k, v in marks.items()})
    known = {
        f"lora_unet_{m.replace('.', '_')}": f"lora_unet_{kohya_name(m, unet.config)}"
        for m in {k.partition(".lora_")[0] for k in marks}
    }
    turned = {}
    for key, value in theirs.items():
        module, _, what = key.partition(".")
        turned[f"{known[module].replace('.', '_')}.{what}"] = value
    weights = {k: v for k, v in turned.items() if not k.endswith(".alpha")}
    assert {k: int(v[0]) for k, v in weights.items()} == {k: int(v[0]) for k, v in ours.items()}
    assert {int(v) for k, v in turned.items() if k.endswith(".alpha")} == {4}
    # As they stand in published SDXL LoRAs.
    for known_key in (
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.lora_down.weight",
        "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_out_0.lora_up.weight",
        "lora_unet_middle_block_1_transformer_blocks_5_attn1_to_q.lora_down.weight",
        "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_v.lora_up.weight",
    ):
        assert known_key in ours


def lora_keys(unet: Any) -> list[str]:
    return list(get_peft_model_state_dict(unet))


def as_peft(key: str) -> str:
    """One of diffusers' older spellings as peft's key."""
    for old, new in (
        ("unet.", ""),
        (".processor", ""),
        ("_lora.down", ".lora_A"),
        ("_lora.up", ".lora_B"),
        ("to_out.", "to_out.0."),
    ):
        key = key.replace(old, new)
    return key


def test_every_module_of_sdxl_has_the_name_it_has_in_stabilitys_checkpoint() -> None:
    """diffusers reads that checkpoint: given our names, it must find each module again."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**sdxl.UNET)
    marks, modules = {}, {}
    for n, key in enumerate(unet.state_dict()):
        module, _, what = key.rpartition(".")
        marks[f"model.diffusion_model.{kohya_name(module, unet.config)}.{what}"] = torch.tensor(n)
        modules[key] = n
    config = dict(unet.config) | {"class_embed_type": None, "num_class_embeds": None}
    found = convert_ldm_unet_checkpoint(marks, config)
    assert {k: int(v) for k, v in found.items()} == modules


def test_names_outside_a_u_net_are_refused(tiny_base: Path) -> None:
    config = UNet2DConditionModel.from_pretrained(tiny_base / "unet").config
    with pytest.raises(ValueError, match="no module of an SDXL U-Net"):
        kohya_name("text_model.encoder.layers.0", config)


def test_kohyas_file_says_what_it_is_and_the_same_weights_make_the_same_bytes(
    tiny_base: Path, tmp_path: Path
) -> None:
    unet = moved_unet(tiny_base)
    again = copy.deepcopy(unet)
    expected = kohya_tensors(unet)
    folder, other = (
        export_prior(one, tiny_base, tmp_path / name, FACTS, dict) / "lora"
        for one, name in ((unet, "one"), (again, "two"))
    )
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    with safe_open(folder / KOHYA_FILE, "pt") as file:
        about = file.metadata()
        assert set(file.keys()) == set(expected)
        assert {file.get_slice(k).get_dtype() for k in file.keys()} == {"F32"}  # noqa: SIM118
    assert about["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert about["modelspec.prediction_type"] == "epsilon"
    assert about["modelspec.resolution"] == "64x64"
    assert about["ss_base_model_version"] == "sdxl_base_v1-0"
    assert (about["ss_network_dim"], about["ss_network_alpha"]) == ("2", "2.0")
    assert "testing code paths" in about["modelspec.description"]
    stored = (folder / KOHYA_FILE).read_bytes()
    data = stored[8 + int.from_bytes(stored[:8], "little") :]
    assert about["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    assert about["modelspec.hash_sha256"] == f"0x{about['sshs_model_hash']}"
