"""A model's weights, gradients and moments spread over the processes that train it (FSDP2).

Each process holds its part; a block's weights are put together for as long as it is computed.
Checkpoints and exports hold whole tensors under the same names as ever, so that a run may go on in
a world of any size, sharded or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from data_manifests.errors import InputError
from training.checkpoint import Checkpoint
from training.world import World, dealt

if TYPE_CHECKING:
    from training.config import PriorConfig
    from training.stage import Group

__all__ = [
    "gathered",
    "is_sharded",
    "plain_unet",
    "put_apart",
    "require_even",
    "shard",
    "spread",
    "units",
    "whole",
]

# What is put together at once: the parts that SDXL's U-Net is built of, each once per pass.
_UNITS = {
    "CrossAttnDownBlock2D",
    "CrossAttnUpBlock2D",
    "DownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "UpBlock2D",
}


def shard(model: nn.Module, config: PriorConfig, world: World) -> None:
    """Spread a model in place if the config says so; alone, it stays as it is.

    Gradients are summed over the processes, as the loss has each sample's share already. Raises
    InputError if the processes' parts of a batch would not be of as many micro-batches: all of
    them have to put each block together together.
    """
    if world.alone or config.parallel == "ddp":
        return
    require_even(config.batch or 1, config.at_once, world.size)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (world.size,))
    for part in [*units(model), model]:
        fully_shard(part, mesh=mesh)
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def units(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that are each put together at once; the rest is a unit of its own."""
    return [part for part in model.modules() if type(part).__name__ in _UNITS]


def require_even(batch: int, at_once: int, size: int) -> None:
    """Raise InputError if some of `size` processes would have more micro-batches than others."""
    shares = {len(dealt(batch, at_once, World(rank, size))) for rank in range(size)}
    if len(shares) > 1:
        raise InputError(
            f"A batch of {batch}, {at_once} at once, can't be dealt evenly to {size} processes, "
            "as parallel = fsdp needs it.",
            "Set batch to a multiple of at_once times the number of processes.",
        )


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are spread over several processes."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


def put_apart(model: nn.Module) -> None:
    """Let go of weights that a forward pass without a backward one has left put together.

    As long as they are, a module's parameters are copies that no optimizer and no average knows.
    """
    from torch.distributed.fsdp import FSDPModule

    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def whole(value: Tensor) -> Tensor:
    """The tensor put together, on every process; all of them have to ask at once."""
    full = getattr(value, "full_tensor", None)
    return value if full is None else full()


def plain_unet(unet: Any, world: World) -> Any:
    """A U-Net to be written down by the first process: itself, or put together if it is sharded."""
    if not is_sharded(unet):
        return unet
    from diffusers import UNet2DConditionModel

    state = _kept(unet.state_dict().items(), world)
    if not world.first:
        return unet
    made = UNet2DConditionModel.from_config(unet.config)
    made.load_state_dict(state)
    return made


def gathered(checkpoint: Checkpoint, world: World) -> Checkpoint:
    """A checkpoint of whole tensors, one after another, that the first process alone keeps."""
    return Checkpoint(
        checkpoint.step,
        {group: _kept(named.items(), world) for group, named in checkpoint.tensors.items()},
        checkpoint.state,
    )


def spread(checkpoint: Checkpoint, groups: Sequence[Group]) -> Checkpoint:
    """A checkpoint of which each tensor is sharded as the weight that it belongs to.

    A tensor is a weight's by its name up to a bar, and by its shape.
    """
    weights = {name: weight for g in groups for name, weight in g.parameters().items()}
    return Checkpoint(
        checkpoint.step,
        {
            group: {name: _as(weights.get(name.split("|")[0]), t) for name, t in named.items()}
            for group, named in checkpoint.tensors.items()
        },
        checkpoint.state,
    )


def _kept(named: Iterable[tuple[str, Tensor]], world: World) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    for name, value in named:
        if not hasattr(value, "full_tensor"):
            kept[name] = value
            continue
        full = whole(value.detach())
        if world.first:
            kept[name] = full.cpu()
    return kept


def _as(weight: Any, value: Tensor) -> Tensor:
    if not hasattr(weight, "full_tensor") or weight.shape != value.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    # Every process has read the whole tensor: nothing has to be sent.
    spread: Tensor = distribute_tensor(
        value.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )
    return spread
