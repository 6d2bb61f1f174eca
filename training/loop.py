"""The one loop that trains both stages: it knows no stage, and yields every step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from data_manifests.errors import AuthFaceError, CheckpointError
from data_manifests.records import Sample
from training import plan
from training.checkpoint import Checkpoint
from training.config import RunConfig
from training.journal import Step
from training.stages import Group, Item, Loss, Stage

__all__ = ["capture", "make_optimizer", "resume", "train"]


def train(
    stage: Stage,
    samples: Sequence[Sample],
    *,
    config: RunConfig,
    optimizer: torch.optim.Optimizer,
    done: int,
) -> Iterator[Step]:
    """Take the steps after `done`, yielding each when its update is made.

    Raises AuthFaceError before the update if the loss or a gradient is not finite.
    """
    steps = config.steps or 0
    with ThreadPoolExecutor(1, "samples") as ahead:  # the next batch is read while this one trains
        feed = _feed(stage, samples, config)
        coming = ahead.submit(feed, done)
        for step in range(done, steps):
            started = time.perf_counter()
            items = coming.result()
            if step + 1 < steps:
                coming = ahead.submit(feed, step + 1)
            rate = _set_rates(optimizer, stage.groups, step, config.warmup)
            loss, parts = _backward(stage, items, step, config.at_once)
            _clip(stage.groups, config.clip, loss=loss, step=step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - started
            notes = [i.note for i in items if i.note is not None]
            yield Step(step + 1, loss, parts, rate, seconds, len(items) / seconds, notes)


def make_optimizer(groups: Sequence[Group], config: RunConfig) -> torch.optim.Optimizer:
    """AdamW with one group of parameters per group of weights."""
    fused = all(p.is_cuda for g in groups for p in g.parameters().values())
    rows = [{"params": list(g.parameters().values()), "lr": g.lr, "name": g.name} for g in groups]
    return torch.optim.AdamW(
        rows, betas=(0.9, 0.999), weight_decay=config.weight_decay, fused=fused
    )


def capture(stage: Stage, optimizer: torch.optim.Optimizer, step: int) -> Checkpoint:
    """Weights and optimizer state by name, as they are after `step`."""
    weights = _weights(stage.groups)
    moments = {
        f"{name}|{key}": value
        for name, parameter in weights.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    return Checkpoint(step, {"weights": dict(weights), "optimizer": moments}, {})


def resume(stage: Stage, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state in place; CheckpointError if it belongs to other weights."""
    weights, stored = _weights(stage.groups), checkpoint.tensors["weights"]
    if {n: p.shape for n, p in weights.items()} != {n: t.shape for n, t in stored.items()}:
        raise CheckpointError(
            "The checkpoint's weights do not fit this model.", "Resume with the base it began with."
        )
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(stored[name])
    for full_name, value in checkpoint.tensors["optimizer"].items():
        name, key = full_name.split("|")
        parameter = weights[name]
        # AdamW's count of steps stays on the CPU unless it is fused; the moments go with their
        # weights.
        device = (
            torch.device("cpu") if key == "step" and not parameter.is_cuda else parameter.device
        )
        optimizer.state.setdefault(parameter, {})[key] = value.clone().to(device)


def _feed(
    stage: Stage, samples: Sequence[Sample], config: RunConfig
) -> Callable[[int], list[Item]]:
    def items(step: int) -> list[Item]:
        chosen = plan.order(config.seed, step, batch=config.batch or 1, count=len(samples))
        return [stage.item(samples[which], step, index) for index, which in enumerate(chosen)]

    return items


def _set_rates(
    optimizer: torch.optim.Optimizer, groups: Sequence[Group], step: int, warmup: int
) -> float:
    for row, group in zip(optimizer.param_groups, groups, strict=True):
        row["lr"] = plan.learning_rate(step, group.lr, warmup)
    return float(optimizer.param_groups[0]["lr"])


def _backward(
    stage: Stage, items: Sequence[Item], step: int, at_once: int
) -> tuple[float, dict[str, float]]:
    """Gradients of the batch's weighted mean, some items at a time; the mean and its parts."""
    total = sum(i.example.sample.weight for i in items)
    losses: list[Tensor] = []
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(items), at_once):
        some = items[start : start + at_once]
        loss = stage.loss(some, step)
        share_B = torch.tensor(
            [i.example.sample.weight / total for i in some], device=loss.error_B.device
        )
        torch.autograd.backward(_joined(loss, share_B))
        losses.append((loss.error_B.detach() * share_B).sum())
        for name, value_B in loss.parts.items():
            parts.setdefault(name, []).append(value_B)
    means = {name: float(torch.cat(values).nanmean()) for name, values in parts.items()}
    return float(torch.stack(losses).sum()), {n: v for n, v in means.items() if not math.isnan(v)}


def _joined(loss: Loss, share_B: Tensor) -> Tensor:
    # The two share no trainable weights, so one backward pass gives each its own gradient.
    error = (loss.error_B * share_B).sum()
    return error if loss.rival_B is None else error + (loss.rival_B * share_B).sum()


def _clip(groups: Sequence[Group], most: float, *, loss: float, step: int) -> None:
    norms = {
        g.name: float(torch.nn.utils.clip_grad_norm_(g.parameters().values(), most)) for g in groups
    }
    wrong = [name for name, norm in norms.items() if not math.isfinite(norm)]
    if wrong or not math.isfinite(loss):
        what = f"the gradient of {', '.join(wrong)}" if wrong else "the loss"
        raise AuthFaceError(
            f"At step {step + 1} {what} is not a finite number; the weights were not touched.",
            "Resume with a lower lr, or with precision = fp32.",
        )


def _weights(groups: Sequence[Group]) -> dict[str, Any]:
    return {name: p for g in groups for name, p in g.parameters().items()}
