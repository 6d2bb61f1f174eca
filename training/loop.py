"""The one loop that trains both stages: it knows no stage, and yields every step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from data_manifests.errors import CheckpointError
from data_manifests.records import Sample
from training import plan, summing
from training.batch import Batch
from training.checkpoint import Checkpoint
from training.config import RunConfig
from training.journal import Step
from training.optimizers import make_optimizer, moments, put_moments
from training.readers import open_pool, reader_count
from training.sharding import whole
from training.stage import Group, Loss, Stage
from training.upkeep import NotFiniteError, Upkeep
from training.world import dealt, here

__all__ = ["capture", "make_optimizer", "put_weights", "resume", "train", "update"]

_EPSILON = 1e-6  # that torch adds to a norm before it divides by it
_SURELY_SHORT = 0.99  # of the most: by far more than float32 rounds


def train(
    stage: Stage,
    samples: Sequence[Sample],
    *,
    config: RunConfig,
    optimizer: torch.optim.Optimizer,
    done: int,
    upkeep: Upkeep | None = None,
) -> Iterator[Step]:
    """Take the steps after `done`, yielding each when its update is made or left out.

    Without an `upkeep` there is no average, and the first fault stops. Raises NotFiniteError before
    the update if the loss or a gradient is not finite once too often in a row.
    """
    upkeep = upkeep or Upkeep()
    steps = config.steps or 0
    readers = reader_count(config.readers)
    # The next step's samples are read, degraded and stacked while this one trains.
    with open_pool(readers, "samples") as pool, open_pool(min(readers, 1), "batches") as ahead:
        feed = _feed(stage, samples, config, pool)
        coming = ahead.submit(feed, done)
        for step in range(done, steps):
            started = time.perf_counter()
            batches = coming.result()
            if step + 1 < steps:
                coming = ahead.submit(feed, step + 1)
            rate = _set_rates(optimizer, stage.groups, step, config.warmup)
            loss, parts, made = math.nan, dict[str, float](), True
            try:
                loss, parts = update(stage, optimizer, batches, step=step, clip=config.clip)
                upkeep.made()
            except NotFiniteError as fault:
                upkeep.missed(fault)
                made = False
            seconds = time.perf_counter() - started
            count, notes = config.batch or 1, summing.all_notes(batches, here())
            yield Step(step + 1, loss, parts, rate, seconds, count / seconds, notes, not made)


def update(
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    *,
    step: int,
    clip: float,
) -> tuple[float, dict[str, float]]:
    """One update of the weights: the loss over all batches before it, and its parts.

    The host waits for the device once, before the optimizer: a loss or gradient that is not finite
    must stop it. Raises NotFiniteError then, the gradients gone.
    """
    loss, parts = _backward(stage, batches, step)
    norms = _norms(stage.groups)
    known = [whole(norm) for norm in norms]
    values = torch.stack([loss, *parts.values(), *known]).tolist()
    lengths = values[1 + len(parts) :]
    fault = _fault(values[0], [g.name for g in stage.groups], lengths, step)
    if fault is not None:
        optimizer.zero_grad(set_to_none=True)
        raise fault
    _shorten(stage.groups, norms, lengths, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    named = zip(parts, values[1 : 1 + len(parts)], strict=True)
    return values[0], {name: value for name, value in named if not math.isnan(value)}


def capture(
    stage: Stage, optimizer: torch.optim.Optimizer, step: int, upkeep: Upkeep | None = None
) -> Checkpoint:
    """Weights, optimizer state and upkeep by name, as they are after `step`."""
    weights = _weights(stage.groups)
    kept, state = (upkeep or Upkeep()).captured()
    tensors = {"weights": dict(weights), "optimizer": moments(optimizer, weights), **kept}
    return Checkpoint(step, tensors, state)


def resume(
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    checkpoint: Checkpoint,
    upkeep: Upkeep | None = None,
) -> None:
    """Put a checkpoint's state in place; CheckpointError if it belongs to other weights."""
    put_weights(stage, checkpoint)
    stored = _of(stage.groups, checkpoint.tensors["optimizer"])
    put_moments(optimizer, _weights(stage.groups), stored)
    if upkeep is not None:
        upkeep.restore(checkpoint)


def put_weights(stage: Stage, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights in place; CheckpointError if they are of another model."""
    weights, stored = _weights(stage.groups), _of(stage.groups, checkpoint.tensors["weights"])
    if {n: p.shape for n, p in weights.items()} != {n: t.shape for n, t in stored.items()}:
        raise CheckpointError(
            "The checkpoint's weights do not fit this model.", "Resume with the base it began with."
        )
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(stored[name])


def _feed(
    stage: Stage, samples: Sequence[Sample], config: RunConfig, pool: Executor
) -> Callable[[int], list[Batch]]:
    """A function from a step to this process's batches, each of as many items as may be on the
    device.
    """
    places = dealt(config.batch or 1, config.at_once, here())

    def batches(step: int) -> list[Batch]:
        chosen = plan.order(config.seed, step, batch=config.batch or 1, count=len(samples))
        items = pool.map(
            lambda place: stage.item(samples[chosen[place]], step, place), chain(*places)
        )
        return [stage.gather(list(islice(items, len(part)))) for part in places]

    return batches


def _set_rates(
    optimizer: torch.optim.Optimizer, groups: Sequence[Group], step: int, warmup: int
) -> float:
    for row, group in zip(optimizer.param_groups, groups, strict=True):
        row["lr"] = plan.learning_rate(step, group.lr, warmup)
    return float(optimizer.param_groups[0]["lr"])


def _backward(
    stage: Stage, batches: Sequence[Batch], step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients of the items' weighted mean, a batch at a time; the mean and its parts.

    Of all processes' items where there are several.
    """
    world, weights = here(), list(_weights(stage.groups).values())
    total, shares = summing.share_out(batches, world)
    gradients = summing.open_sum(weights, world, shares)
    values: list[tuple[Tensor, dict[str, Tensor]]] = []
    for batch in batches:
        share_B = (batch.weight_B / total).float()
        loss = stage.loss(batch, step)
        share_B = share_B.to(loss.error_B.device, non_blocking=True)
        torch.autograd.backward(_joined(loss, share_B))
        gradients.add()
        values.append(((loss.error_B.detach() * share_B).sum(), loss.parts))
    gradients.finish()
    values = summing.all_values(values, world, weights[0].device)
    means = {name: torch.cat([p[name] for _, p in values]).nanmean() for name in values[0][1]}
    return torch.stack([loss for loss, _ in values]).sum(), means


def _joined(loss: Loss, share_B: Tensor) -> Tensor:
    # The two share no trainable weights, so one backward pass gives each its own gradient.
    error = (loss.error_B * share_B).sum()
    return error if loss.rival_B is None else error + (loss.rival_B * share_B).sum()


def _norms(groups: Sequence[Group]) -> list[Tensor]:
    """The length of each group's gradient, still on the device."""
    norm = torch.nn.utils.get_total_norm
    return [norm([p.grad for p in g.parameters().values() if p.grad is not None]) for g in groups]


def _shorten(
    groups: Sequence[Group], norms: Sequence[Tensor], lengths: Sequence[float], most: float
) -> None:
    """Bring gradients that are longer than `most` to that; `lengths` are the norms on the host.

    Torch's own way multiplies by 1 where nothing is to be shortened: two passes over gigabytes.
    Where a rounding could decide, it is asked.
    """
    for group, norm, length in zip(groups, norms, lengths, strict=True):
        if length + _EPSILON > _SURELY_SHORT * most:
            torch.nn.utils.clip_grads_with_norm_(group.parameters().values(), most, norm)


def _fault(
    loss: float, names: Sequence[str], norms: Sequence[float], step: int
) -> NotFiniteError | None:
    wrong = [name for name, norm in zip(names, norms, strict=True) if not math.isfinite(norm)]
    if not wrong and math.isfinite(loss):
        return None
    what = f"the gradient of {', '.join(wrong)}" if wrong else "the loss"
    return NotFiniteError(
        f"At step {step + 1} {what} is not a finite number; the weights were not touched.",
        "Resume with a lower lr, or with precision = fp32.",
    )


def _of(groups: Sequence[Group], stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors of the groups that are trained here.

    Critics that nothing listens to are not trained. Checkpoints of runs begun when they still were
    hold them; no other group's weights were ever moved by them.
    """
    names = {group.name for group in groups}
    return {name: value for name, value in stored.items() if name.partition(".")[0] in names}


def _weights(groups: Sequence[Group]) -> dict[str, Any]:
    return {name: p for g in groups for name, p in g.parameters().items()}
