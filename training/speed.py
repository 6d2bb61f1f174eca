"""How models lie in memory and run on a device: precision, layout, compiled blocks.

In float32 on the CPU, without compiling, nothing here changes a bit of what is computed. On a GPU
a run's numbers depend on all of it, and on the card: two runs agree to rounding, not bit for bit.
"""

from __future__ import annotations

import torch
from torch import nn

from restore.compiling import compile_blocks
from training.config import RunConfig

__all__ = ["compile_blocks", "freeze", "prepare", "prepare_vae", "uses_bf16", "uses_compile"]


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
