"""A trained LoRA as files that other programs load: by diffusers' keys and by kohya's.

kohya's keys are those of sd-scripts, ComfyUI and A1111: a module by its name in the U-Net of
Stability AI's own code, with underscores for dots. Both files hold the weights in float32, as they
were trained.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor

__all__ = [
    "DIFFUSERS_FILE",
    "FOLDER",
    "KOHYA_FILE",
    "diffusers_file",
    "kohya_file",
    "kohya_name",
    "kohya_tensors",
    "write_lora",
]

FOLDER = "lora"  # in the model's folder, where no pipeline opens it by itself
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"  # the name that diffusers looks for
KOHYA_FILE = "kohya_lora_weights.safetensors"
_ADAPTER = "default"
# Names in diffusers and in Stability AI's code: inside a residual block, and outside of all blocks.
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_MODULE = re.compile(
    r"(?P<side>down|mid|up)_blocks?\.(?:(?P<block>\d+)\.)?"
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<layer>\d+)\.(?P<rest>.+)"
)


def write_lora(unet: Any, model: Path, facts: Mapping[str, Any]) -> None:
    """Put the U-Net's LoRA, not merged yet, below a model's folder: a file for each kind of reader.

    `lora/pytorch_lora_weights.safetensors` is for `load_lora_weights`,
    `lora/kohya_lora_weights.safetensors` for ComfyUI and its kin. `facts` are those beside the
    model.
    """
    scheduler = json.loads((model / "scheduler" / "scheduler_config.json").read_text())
    folder = model / FOLDER
    folder.mkdir()
    (folder / DIFFUSERS_FILE).write_bytes(diffusers_file(unet))
    (folder / KOHYA_FILE).write_bytes(kohya_file(unet, facts, scheduler["prediction_type"]))


def diffusers_file(unet: Any) -> bytes:
    """The LoRA as `load_lora_weights` takes it: peft's keys, and how it lies on the U-Net."""
    # lora_A and lora_B: diffusers' older spelling of them knows attention alone.
    tensors = {f"unet.{key}": value for key, value in _tensors(unet).items()}
    settings = {f"unet.{key}": value for key, value in _settings(unet).items()}
    about = {"format": "pt", "lora_adapter_metadata": json.dumps(settings, indent=2)}
    return _file(tensors, about)


def kohya_file(unet: Any, facts: Mapping[str, Any], prediction: str) -> bytes:
    """The LoRA by kohya's keys, with what model browsers show of it.

    `prediction` is the scheduler's prediction type. The same weights give the same bytes: no date
    is written.
    """
    tensors = kohya_tensors(unet)
    digest = hashlib.sha256(_split(save(tensors))[1]).hexdigest()
    hashes = {"modelspec.hash_sha256": f"0x{digest}", "sshs_model_hash": digest}
    return _file(tensors, _about(unet, facts, prediction) | hashes)


def kohya_tensors(unet: Any) -> dict[str, Tensor]:
    """The U-Net's LoRA by kohya's keys: each module's `lora_down`, `lora_up` and `alpha`.

    What is added to a module's weights is up @ down * alpha / rank. A DoRA has `dora_scale`
    besides, the norm of each output's row of the changed weights, as one column. ComfyUI takes it
    for the norm of the base's row, so that a DoRA is exact there in the merged model alone.
    Sources: sd-scripts, networks/lora.py; LyCORIS, decomposition on the output.
    """
    found: dict[str, Tensor] = {}
    for key, value in _tensors(unet).items():
        module, _, what = key.partition(".lora_")
        name = "lora_unet_" + kohya_name(module, unet.config).replace(".", "_")
        if what == "A.weight":
            found[f"{name}.lora_down.weight"] = value
            # peft's own factor stands for alpha / rank, however it was reckoned.
            factor = unet.get_submodule(module).scaling[_ADAPTER]
            found[f"{name}.alpha"] = torch.tensor(float(factor * len(value)))
        elif what == "B.weight":
            found[f"{name}.lora_up.weight"] = value
        elif what == "magnitude_vector":
            sides = unet.get_submodule(module).weight.dim() - 1
            found[f"{name}.dora_scale"] = value.reshape(-1, *[1] * sides)
        else:
            raise ValueError(f"{key} has no name in kohya's format")
    return found


def kohya_name(module: str, config: Any) -> str:
    """A U-Net module's name in Stability AI's code, from its name in diffusers and the config.

    Down blocks are counted layer by layer, the change of size included, after the first
    convolution; an attention stands second in its layer, and what enlarges stands last in the last
    layer of its block. Source: Stability-AI/generative-models, openaimodel.py.
    """
    if module in _OUTSIDE:
        return _OUTSIDE[module]
    found = _MODULE.fullmatch(module)
    if found is None:
        raise ValueError(f"{module} is no module of an SDXL U-Net")
    side, kind, rest = found["side"], found["kind"], found["rest"]
    block, layer = int(found["block"] or 0), int(found["layer"])
    per_block = config.layers_per_block + 1
    if kind == "resnets":
        rest = _RESNET[rest]
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * per_block}.0.op"
    if kind == "upsamplers":
        place = 2 if "Attn" in config.up_block_types[block] else 1
        return f"output_blocks.{(block + 1) * per_block - 1}.{place}.conv"
    number = block * per_block + layer + (side == "down")
    return f"{'in' if side == 'down' else 'out'}put_blocks.{number}.{int(kind != 'resnets')}.{rest}"


def _tensors(unet: Any) -> dict[str, Tensor]:
    """The LoRA by peft's keys, in float32 on the CPU, in the order of their names."""
    found: dict[str, Tensor] = get_peft_model_state_dict(unet)
    return {k: v.detach().float().cpu().contiguous() for k, v in sorted(found.items())}


def _settings(unet: Any) -> dict[str, Any]:
    """How the LoRA lies on the U-Net: what diffusers needs to lay it on again, no more."""
    config = unet.peft_config[_ADAPTER].to_dict()
    kept = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_dora", "use_rslora")
    targets = sorted(config["target_modules"])
    return {**{key: config[key] for key in kept}, "target_modules": targets}


def _about(unet: Any, facts: Mapping[str, Any], prediction: str) -> dict[str, str]:
    """The kohya file's metadata. Source: Stability-AI/ModelSpec 1.0.1; sd-scripts' ss_ keys."""
    config, size = unet.peft_config[_ADAPTER], facts["size"]
    warning = "For testing code paths: made on the tiny random model. " if facts["tiny"] else ""
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": f"AuthFace {facts['kind']}, step {facts['trained_steps']}",
        "modelspec.description": f"{warning}Portraits, on the base {facts['base']}.",
        "modelspec.resolution": f"{size}x{size}",
        "modelspec.prediction_type": prediction.removesuffix("_prediction"),
        "modelspec.trigger_phrase": str(facts["prompt"]),
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.r),
        "ss_network_alpha": str(float(config.lora_alpha)),
        "ss_steps": str(facts["trained_steps"]),
        "ss_resolution": f"({size}, {size})",
    }


def _file(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """A safetensors file; its own writer puts what `about` says in an order drawn anew."""
    header, data = _split(save(dict(tensors), dict(about)))
    text = json.dumps(json.loads(header), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors stay aligned
    return len(text).to_bytes(8, "little") + text + data


def _split(file: bytes) -> tuple[bytes, bytes]:
    """Header and tensors of a safetensors file: 8 bytes of length, as much JSON, the tensors."""
    end = 8 + int.from_bytes(file[:8], "little")
    return file[8:end], file[end:]
