"""How models lie in memory and run on a device: precision, layout, compiled blocks.

In float32 on the CPU, without compiling, nothing here changes a bit of what is computed. On a GPU
a run's numbers depend on all of it, and on the card: two runs agree to rounding, not bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from training.config import RunConfig

__all__ = ["compile_blocks", "freeze", "prepare", "prepare_vae", "uses_bf16", "uses_compile"]

# Repeated parts of U-Net, ControlNet and VAE, small enough to compile in seconds and used many
# times over: attention with its feed-forward, residual convolutions, and the norms between.
_BLOCKS = {
    "BasicTransformerBlock",
    "ControlNetConditioningEmbedding",
    "GroupNorm",
    "ResnetBlock2D",
}
# Each width and resolution is a variant of one block's code; dynamo's own limit of 8 would send
# the rest to eager mode without a word.
_VARIANTS = 256


def uses_bf16(config: RunConfig, device: torch.device) -> bool:
    """Whether products are taken in bfloat16."""
    if config.precision != "auto":
        return config.precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def uses_compile(config: RunConfig, device: torch.device) -> bool:
    """Whether blocks are compiled."""
    return config.compile == "on" or (config.compile == "auto" and device.type == "cuda")


def freeze(module: nn.Module, *, bf16: bool) -> nn.Module:
    """The module for use without training; in bfloat16 it takes half the memory and no autocast.

    What is trained keeps float32 weights: in bfloat16 an update smaller than 1/256 of a weight
    would be lost.
    """
    module.requires_grad_(False).eval()
    # Of nn.Module itself: diffusers' own warns of modules it would keep in float32, of which SDXL
    # has none.
    return nn.Module.to(module, torch.bfloat16) if bf16 else module


def prepare(module: nn.Module, config: RunConfig, device: torch.device) -> None:
    """Lay a model out for the device and compile its blocks, as the config says, in place."""
    if device.type == "cuda":
        # Tensor cores convolve with channels innermost; otherwise each convolution transposes.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if uses_compile(config, device):
        compile_blocks(module)


def prepare_vae(vae: nn.Module, config: RunConfig, device: torch.device) -> None:
    """The VAE in the precision it is to encode in, laid out for the device."""
    if config.vae_precision == "bf16":
        vae.to(torch.bfloat16)
    prepare(vae, config, device)


def compile_blocks(module: nn.Module, backend: str = "inductor") -> int:
    """Compile the repeated blocks in place and say how many; names of weights stay as they are.

    Compiled at first use, once per shape. A block inside another is compiled as a part of it.
    """
    from torch import _dynamo

    settings: Any = _dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, _VARIANTS)
    settings.accumulated_recompile_limit = max(settings.accumulated_recompile_limit, 16 * _VARIANTS)
    blocks = _outermost(module)
    for block in blocks:
        block.compile(dynamic=False, backend=backend)
    return len(blocks)


def _outermost(module: nn.Module) -> list[nn.Module]:
    if type(module).__name__ in _BLOCKS:
        return [module]
    return [block for child in module.children() for block in _outermost(child)]
