"""AdamW in 32 bits, or with its moments in 8: made from a config, captured and put back by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data_manifests.errors import MissingExtra
from training.config import RunConfig
from training.stage import Group

__all__ = ["make_optimizer", "moments", "put_moments"]

_BETAS = (0.9, 0.999)


def make_optimizer(groups: Sequence[Group], config: RunConfig) -> torch.optim.Optimizer:
    """AdamW with one group of parameters per group of weights.

    In 8 bits the moments of a weight of 4096 numbers or more take a quarter of the memory; smaller
    ones stay in 32. Source: Dettmers et al. 2022, block-wise quantisation. MissingExtra if its
    library is not installed.
    """
    rows = [{"params": list(g.parameters().values()), "lr": g.lr, "name": g.name} for g in groups]
    shared: dict[str, Any] = {"betas": _BETAS, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw8bit":
        made: torch.optim.Optimizer = _bitsandbytes().AdamW8bit(rows, **shared)
        return made
    fused = all(p.is_cuda for g in groups for p in g.parameters().values())
    return torch.optim.AdamW(rows, **shared, fused=fused)


def moments(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """All that the optimizer remembers of each weight, as `name|what`."""
    return {
        f"{name}|{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for name, parameter in weights.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def put_moments(
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, nn.Parameter],
    stored: Mapping[str, Tensor],
) -> None:
    """Put back what `moments` gave, for an optimizer of the same kind."""
    counted = not isinstance(optimizer, torch.optim.AdamW)  # whose count of steps is an int
    for full_name, value in stored.items():
        name, key = full_name.split("|")
        state = optimizer.state.setdefault(weights[name], {})
        state[key] = int(value) if key == "step" and counted else _placed(value, weights[name], key)


def _placed(value: Tensor, parameter: nn.Parameter, key: str) -> Tensor:
    if key != "step" and value.shape == parameter.shape:
        # Moments lie with their weights and as they do, which the fused update relies on.
        return torch.empty_like(parameter, dtype=value.dtype).detach().copy_(value)
    # AdamW's count of steps stays on the CPU unless it is fused: torch.optim sees to that.
    return value.clone().to(parameter.device)


def _bitsandbytes() -> Any:
    log = logging.getLogger("bitsandbytes")
    before = log.level
    log.setLevel(logging.ERROR)  # on a CPU it tells at length of kernels that are not used here
    try:
        from bitsandbytes import optim
    except ImportError as error:
        raise MissingExtra("bitsandbytes", "eightbit", "optimizer = adamw8bit") from error
    finally:
        log.setLevel(before)
    return optim
