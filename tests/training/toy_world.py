"""What each of several processes finds, started by torchrun from test_world.py; no test itself."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from data_manifests.errors import AuthFaceError, InputError, StorageError
from training import loop, summing
from training.config import PriorConfig
from training.estimate import TINY, estimate
from training.sharding import shard
from training.stage import Group, Loss
from training.tiny import UNET
from training.world import World, WorldError, dealt, joined

BATCH, STEPS = 7, 3


class Toy:
    """A stage: a few weights of which one is not used, and samples that are numbers."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(9, 33), nn.Tanh(), nn.Linear(33, 1))
        self.net.register_parameter("idle", nn.Parameter(torch.ones(3)))
        self.groups = (Group("toy", self.net, 1e-2),)

    def loss(self, batch: Any, step: int) -> Loss:
        error_B = self.net(batch.x_BC).square().mean(dim=1)
        return Loss(error_B, {"noise": error_B.detach()})


def batches_of(step: int, places: list[range], *, bad: bool = False) -> list[Any]:
    rng = torch.Generator().manual_seed(step)
    every_BC = torch.randn(BATCH, 9, generator=rng)
    weights = [1.0 + 0.1 * n for n in range(BATCH)]
    if bad:
        every_BC[1] = torch.inf  # the second process's
    return [
        SimpleNamespace(
            x_BC=every_BC[part.start : part.stop],
            weight_B=torch.tensor(weights[part.start : part.stop], dtype=torch.float64),
            items=[
                SimpleNamespace(example=SimpleNamespace(sample=SimpleNamespace(weight=weights[n])))
                for n in part
            ],
        )
        for part in places
    ]


def trained(world: World) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Losses and parts of every step, and the weights at the end."""
    toy = Toy()
    optimizer = loop.make_optimizer(toy.groups, PriorConfig(weight_decay=0.1))
    found = [
        loop.update(toy, optimizer, batches_of(n, dealt(BATCH, 2, world)), step=n, clip=0.5)
        for n in range(STEPS)
    ]
    return found, dict(toy.net.state_dict())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def main() -> None:
    losses, weights = trained(World())
    lines = []
    with joined() as world:
        again, theirs = trained(world)
        if again == losses and equal(theirs, weights):
            lines.append("in order: equal bit for bit")
        ordered, summing._InOrder = summing._InOrder, lambda w, r, _: summing._Fast(w, r)  # type: ignore
        _, fast = trained(world)
        summing._InOrder = ordered  # type: ignore[misc]
        if all(torch.allclose(v, weights[n], rtol=0, atol=1e-6) for n, v in fast.items()):
            lines.append("fast: equal to rounding")
        lines += [*faults(world), *words(world), *spread(world)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def faults(world: World) -> list[str]:
    toy = Toy()
    before = {name: value.clone() for name, value in toy.net.state_dict().items()}
    optimizer = loop.make_optimizer(toy.groups, PriorConfig())
    batches = batches_of(0, dealt(BATCH, 2, world), bad=True)
    try:
        loop.update(toy, optimizer, batches, step=0, clip=0.5)
    except AuthFaceError as error:
        stopped = "not a finite number" in str(error)
        return ["not finite: not one weight moved"] * (
            stopped and equal(before, dict(toy.net.state_dict()))
        )
    return []


def words(world: World) -> list[str]:
    found = []

    def fail() -> None:
        raise StorageError("The disk is full.")

    try:
        world.of_first(fail)
    except WorldError as error:
        found += ["the first process stopped: told to all"] * ("The disk is full" in str(error))
    except StorageError:
        assert world.first
    toy = Toy()
    if world.rank == 1:
        with torch.no_grad():
            toy.net[0].bias += 1e-3
    try:
        summing.require_same(toy.groups, world)
    except InputError as error:
        found += ["another model: refused"] * ("another model" in str(error))
    return found


def spread(world: World) -> list[str]:
    """Whether a sharded U-Net takes what the estimate counts."""
    config = PriorConfig(parallel="fsdp", loss="plain", size=64, batch=world.size, at_once=1)
    unet = UNet2DConditionModel(**UNET)
    shard(unet, config, world)
    here = 4 * sum(p.to_local().numel() for p in unet.parameters())  # type: ignore[attr-defined]
    counted = estimate(config, TINY, devices=world.size)
    every = world.everyone(here)  # of a tensor of 64 rows three processes hold 22, 22 and 20
    near = here < 1.05 * counted.weight_bytes and sum(every) == 4 * counted.trained
    return ["sharded: a part of the weights, as was counted"] * near


if __name__ == "__main__":
    main()
