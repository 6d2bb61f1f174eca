"""Compile the repeated blocks of a model, in place."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["compile_blocks"]

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
