"""What several processes made of their parts of one batch, summed to what one would have made.

In order, a micro-batch at a time, the sums are those of one process, bit for bit: addition of
floats is not associative, so whoever sums partial sums gets other last digits. That sends every
gradient to everyone, once per round of micro-batches. The fast way sums a process's micro-batches
first and all processes once per step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from training.world import World, in_turn, lost_peers

if TYPE_CHECKING:
    from training.batch import Batch
    from training.stage import Group

__all__ = ["Sum", "all_notes", "all_values", "open_sum", "require_same", "share_out"]

_BUCKET = 32 * 2**20  # numbers that are sent at once: 128 MiB of float32


class Sum:
    """One process alone: its gradients are the batch's."""

    def add(self) -> None:
        """A micro-batch's gradients lie with the weights."""

    def finish(self) -> None:
        """Leave the whole batch's gradients with the weights."""


class _Fast(Sum):
    def __init__(self, weights: Sequence[nn.Parameter], world: World) -> None:
        self.weights, self.world = weights, world

    def finish(self) -> None:
        used = _used(self.weights, self.world)
        for some in _buckets(used):
            flat = _flat(some)
            with lost_peers():
                torch.distributed.all_reduce(flat)
            _give(some, flat)


class _InOrder(Sum):
    """Adds as one process would: ((first + second) + third) + ..."""

    def __init__(self, weights: Sequence[nn.Parameter], world: World, dealt: list[int]) -> None:
        self.weights, self.world, self.dealt = weights, world, dealt
        self.total: dict[nn.Parameter, Tensor] = {}
        self.rounds = 0

    def add(self) -> None:
        bringing = [r for r, count in enumerate(self.dealt) if count > self.rounds]
        self.rounds += 1
        for some in _buckets(_used(self.weights, self.world)):
            flat = _flat(some)
            theirs = [torch.empty_like(flat) for _ in range(self.world.size)]
            with lost_peers():
                torch.distributed.all_gather(theirs, flat)
            for rank in bringing:
                self._count_in(some, theirs[rank])
        for weight in self.weights:
            weight.grad = None

    def finish(self) -> None:
        while self.rounds < max(self.dealt):
            self.add()  # others still bring one
        for weight, total in self.total.items():
            weight.grad = total

    def _count_in(self, some: Sequence[nn.Parameter], flat: Tensor) -> None:
        for weight, part in zip(some, _parts(some, flat), strict=True):
            if weight in self.total:
                self.total[weight] += part
            else:
                self.total[weight] = part.clone()


def share_out(batches: Sequence[Batch], world: World) -> tuple[float, list[int]]:
    """The samples' weight in the whole batch, and how many micro-batches each process has."""
    ours = [[item.example.sample.weight for item in batch.items] for batch in batches]
    every = world.everyone(ours)
    return sum(w for some in in_turn(every) for w in some), [len(some) for some in every]


def open_sum(weights: Sequence[nn.Parameter], world: World, dealt: list[int]) -> Sum:
    """The sum of a step's gradients; `dealt` says how many micro-batches each process has.

    In order on the CPU, where it can give the same bits, the fast way on GPUs. Weights that are
    sharded are summed where they are sharded.
    """
    if world.alone or any(hasattr(w, "full_tensor") for w in weights):
        return Sum()
    ordered = all(w.device.type == "cpu" for w in weights)
    return _InOrder(weights, world, dealt) if ordered else _Fast(weights, world)


def all_values(
    ours: list[tuple[Tensor, dict[str, Tensor]]], world: World, device: torch.device
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Each micro-batch's loss and its parts on the device, in the order of the whole batch."""
    if world.alone:
        return ours
    sent = [(loss.cpu(), {n: v.cpu() for n, v in parts.items()}) for loss, parts in ours]
    found = in_turn(world.everyone(sent))
    return [(loss.to(device), {n: v.to(device) for n, v in parts.items()}) for loss, parts in found]


def all_notes(batches: Sequence[Batch], world: World) -> list[dict[str, Any]]:
    """What the journal is to keep of the step's samples, in the order of the whole batch."""
    ours = [[i.note for i in batch.items if i.note is not None] for batch in batches]
    return [note for some in in_turn(world.everyone(ours)) for note in some]


def require_same(groups: Sequence[Group], world: World) -> None:
    """Raise InputError if the processes do not all start from the same weights."""
    weights = [w for g in groups for w in g.parameters().values() if not hasattr(w, "full_tensor")]
    if world.alone or not weights:
        return
    sums = torch.stack([w.detach().sum(dtype=torch.float64) for w in weights]).tolist()
    world.agreed("model", [f"{value:.9e}" for value in sums])


def _used(weights: Sequence[nn.Parameter], world: World) -> list[nn.Parameter]:
    """Those that any process has a gradient of: the optimizer leaves the others alone."""
    marks = world.everyone(bytes(w.grad is not None for w in weights))
    return [w for w, *some in zip(weights, *marks, strict=True) if any(some)]


def _buckets(weights: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Weights whose gradients are sent at once: of one type, and not too many numbers."""
    some: list[nn.Parameter] = []
    for weight in weights:
        full = sum(w.numel() for w in some) + weight.numel() > _BUCKET
        if some and (full or weight.dtype != some[0].dtype):
            yield some
            some = []
        some.append(weight)
    if some:
        yield some


def _flat(weights: Sequence[nn.Parameter]) -> Tensor:
    return torch.cat(
        [(torch.zeros_like(w) if w.grad is None else w.grad).reshape(-1) for w in weights]
    )


def _parts(weights: Sequence[nn.Parameter], flat: Tensor) -> list[Tensor]:
    pieces = torch.split(flat, [w.numel() for w in weights])
    return [piece.view(w.shape) for w, piece in zip(weights, pieces, strict=True)]


def _give(weights: Sequence[nn.Parameter], flat: Tensor) -> None:
    for weight, part in zip(weights, _parts(weights, flat), strict=True):
        if weight.grad is None:
            weight.grad = part.clone()
        else:
            weight.grad.copy_(part)
