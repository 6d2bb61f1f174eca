"""What a stage sees of a step: items, drawn and read on the CPU, and batches of them on a device.

An item is made in a thread ahead of its step. Gathering stacks items in pinned memory where a GPU
is used, so that sending them waits for nothing the GPU still has to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import plan
from training.data import VAE_FACTOR, Example, Posterior
from training.plan import Stream
from training.targets import Level

__all__ = ["Batch", "Draw", "Item", "Noised", "draw", "gather"]


@dataclass(frozen=True, slots=True)
class Draw:
    """The random numbers of one sample at one step."""

    posterior_CHW: Tensor  # unit noise, for the VAE's posterior
    noise_CHW: Tensor  # unit noise, to be found again by the U-Net
    timestep_1: Tensor  # as the run's schedule has them


@dataclass(frozen=True, slots=True)
class Item:
    """One sample of one step."""

    index: int  # place in the batch
    example: Example
    wordless: bool
    draw: Draw
    poor_HWC: NDArray[np.uint8] | None = None  # the degraded crop
    note: dict[str, Any] | None = None  # what the journal keeps of it


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that are on the device at once, stacked; `items` keeps what is no tensor."""

    items: tuple[Item, ...]
    posterior_BCHW: Tensor
    noise_BCHW: Tensor
    timestep_B: Tensor
    time_ids_B6: Tensor
    mask_B1HW: Tensor
    boxes_BP4: Tensor
    has_words_B: Tensor
    weight_B: Tensor
    # Crops as 8-bit sRGB, or their latents' mean and log-variance where every item brings them.
    pixels_BHWC: Tensor | None = None
    mean_BCHW: Tensor | None = None
    logvar_BCHW: Tensor | None = None
    poor_BHWC: Tensor | None = None

    def on(self, device: torch.device) -> Batch:
        """The same on a device, not waiting for it."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return Batch(items=self.items, **moved)


@dataclass(frozen=True, slots=True)
class Noised:
    """Latents as the U-Net gets them, and what was put into them."""

    clean_BCHW: Tensor
    noise_BCHW: Tensor
    noisy_BCHW: Tensor
    timestep_B: Tensor
    level: Level


def draw(
    seed: int,
    step: int,
    index: int,
    *,
    size: int,
    channels: int,
    timestep: Callable[[torch.Generator], Tensor],
) -> Draw:
    """What the plan gives the sample at a place in a step's batch; `timestep` draws one.

    A crop of side `size` has size/8 x size/8 latent cells of `channels` numbers.
    """
    rng = plan.torch_rng(seed, Stream.NOISE, step, index)
    cells = size // VAE_FACTOR
    posterior_CHW, noise_CHW = (torch.randn((channels, cells, cells), generator=rng) for _ in "ab")
    return Draw(posterior_CHW, noise_CHW, timestep(rng))


def gather(items: Sequence[Item], *, pinned: bool = False) -> Batch:
    """The items stacked, on the CPU; `pinned`: in memory that a GPU can read by itself.

    Pixels are left out where every item brings its latents' posterior.
    """
    poor = [i.poor_HWC for i in items if i.poor_HWC is not None]
    tensors: dict[str, Tensor | None] = {
        "posterior_BCHW": torch.stack([i.draw.posterior_CHW for i in items]),
        "noise_BCHW": torch.stack([i.draw.noise_CHW for i in items]),
        "timestep_B": torch.cat([i.draw.timestep_1 for i in items]),
        "time_ids_B6": torch.stack([i.example.time_ids_6 for i in items]),
        "mask_B1HW": torch.stack([i.example.mask_HW[None] for i in items]),
        "boxes_BP4": torch.stack([i.example.boxes_P4 for i in items]),
        "has_words_B": torch.tensor([not i.wordless for i in items]),
        "weight_B": torch.tensor([i.example.sample.weight for i in items], dtype=torch.float64),
        "poor_BHWC": torch.from_numpy(np.stack(poor)) if poor else None,
        **_pictures([i.example for i in items]),
    }
    there = {name: value for name, value in tensors.items() if value is not None}
    if pinned:
        there = {name: value.pin_memory() for name, value in there.items()}
    return Batch(items=tuple(items), **there)


def _pictures(examples: Sequence[Example]) -> dict[str, Tensor]:
    known: list[Posterior] = [e.posterior for e in examples if e.posterior is not None]
    if len(known) == len(examples):
        return {
            "mean_BCHW": torch.stack([p.mean_CHW for p in known]),
            "logvar_BCHW": torch.stack([p.logvar_CHW for p in known]),
        }
    return {"pixels_BHWC": torch.from_numpy(np.stack([e.pixels_HWC for e in examples]))}
