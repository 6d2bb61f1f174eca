"""What the loop knows of a stage, and what both stages share.

A stage turns samples into items (on the CPU, safe in a thread) and items into a loss. Everything
random is drawn from the plan by (seed, step, place in the batch), so a stage holds no state but
its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from data_manifests.records import Sample
from training import plan, schedules, speed, targets
from training.batch import Batch, Item, Noised, draw, gather
from training.config import RunConfig
from training.data import Example, bare_example, load_example
from training.encoders import Encoders
from training.models import Base
from training.plan import Stream
from training.schedules import Schedule

__all__ = ["Group", "Loss", "SharedStage", "Stage"]


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that are optimised together."""

    name: str
    module: nn.Module
    lr: float

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable ones, by a name that is stable across runs."""
        return {f"{self.name}.{n}": p for n, p in self.module.named_parameters() if p.requires_grad}


@dataclass(frozen=True, slots=True)
class Loss:
    """What a stage minimises, per sample, and what it is made of; NaN where a part had no say."""

    error_B: Tensor
    parts: dict[str, Tensor]
    rival_B: Tensor | None = None  # what the discriminators minimise, on weights of their own


class Stage(Protocol):
    """What the loop knows of a stage."""

    groups: tuple[Group, ...]

    def item(self, sample: Sample, step: int, index: int) -> Item:
        """A sample as it is seen at this step."""

    def gather(self, items: Sequence[Item]) -> Batch:
        """Items stacked for the device, on the CPU still."""

    def loss(self, batch: Batch, step: int) -> Loss:
        """The loss of some of the step's items; the batch is on the CPU or the device."""


@dataclass
class SharedStage:
    """A base, a config, items and noised latents: all that a stage does not decide itself."""

    base: Base
    config: RunConfig
    media: Path
    groups: tuple[Group, ...] = field(init=False)
    schedule: Schedule = field(init=False)
    encoders: Encoders | None = field(default=None, init=False)  # set where there is a cache

    def __post_init__(self) -> None:
        base = self.base
        self.schedule = schedules.choose(self.config, base.kind, base.alpha_bar_T)
        self.bf16 = speed.uses_bf16(self.config, self.base.device)
        speed.prepare_vae(self.base.pipeline.vae, self.config, self.base.device)

    def item(self, sample: Sample, step: int, index: int) -> Item:
        """The sample's crop and all that is drawn for it."""
        rng = plan.rng(self.config.seed, Stream.AUGMENT, step, index)
        mirror, wordless = (
            rng.random() < self.config.flip,
            rng.random() < self.config.prompt_dropout,
        )
        example = self._example(sample, mirror=bool(mirror))
        drawn = draw(
            self.config.seed,
            step,
            index,
            size=self._size,
            channels=self.base.unet.config.in_channels,
            timestep=self.schedule.draw,
        )
        return Item(index, example, bool(wordless), drawn)

    def gather(self, items: Sequence[Item]) -> Batch:
        """Items stacked, in pinned memory for a GPU."""
        return gather(items, pinned=self.base.device.type == "cuda")

    def _example(self, sample: Sample, *, mirror: bool) -> Example:
        """The sample with its latents' posterior where there is a cache, else to be encoded."""
        if self.encoders is None:
            return load_example(sample, self.media, self._size, mirror=mirror)
        kept = self.encoders.posterior(sample, mirror=mirror)
        if kept is None:
            example = load_example(sample, self.media, self._size, mirror=mirror)
            kept = self.encoders.encode(sample, example.pixels_HWC, mirror=mirror)
            return replace(example, posterior=kept)
        bare = bare_example(sample, self._size, mirror=mirror)
        seen_HWC = bare.pixels_HWC if kept.pixels_HWC is None else kept.pixels_HWC
        return replace(bare, pixels_HWC=seen_HWC, posterior=kept)

    @property
    def _size(self) -> int:
        if self.config.size is None:
            raise ValueError("resolve() the config first")
        return self.config.size

    def _noised(self, batch: Batch) -> Noised:
        level = self.schedule.level(batch.timestep_B)
        if batch.mean_BCHW is not None and batch.logvar_BCHW is not None:
            mean_BCHW, logvar_BCHW = batch.mean_BCHW, batch.logvar_BCHW
        elif batch.pixels_BHWC is not None:
            mean_BCHW, logvar_BCHW = self.base.posterior(batch.pixels_BHWC)
        else:
            raise ValueError("a batch has pixels or a posterior")
        clean_BCHW = self.base.drawn(mean_BCHW, logvar_BCHW, batch.posterior_BCHW)
        noisy_BCHW = targets.noised(clean_BCHW, batch.noise_BCHW, level)
        return Noised(clean_BCHW, batch.noise_BCHW, noisy_BCHW, batch.timestep_B, level)

    def _target(self, noised: Noised) -> Tensor:
        """What the model is to predict of the noised latents."""
        clean_BCHW, noise_BCHW = noised.clean_BCHW, noised.noise_BCHW
        return targets.target(self.schedule.kind, clean_BCHW, noise_BCHW, noised.level)

    def _weighed(self, error_B: Tensor, noised: Noised) -> Tensor:
        return self.schedule.weighed(error_B, noised.timestep_B, noised.level)

    def _call(self, model: Any, *inputs: Tensor, **named: Any) -> Any:
        """A model's answer: in its own precision if its weights are bfloat16, else autocast."""
        if next(model.parameters()).dtype == torch.bfloat16:
            return model(*_half(inputs), **_half(named))
        with torch.autocast(self.base.device.type, torch.bfloat16, enabled=self.bf16):
            return model(*inputs, **named)


def _half(value: Any) -> Any:
    """Floating-point tensors in bfloat16, wherever they stand in a model's arguments."""
    if isinstance(value, Tensor):
        return value.to(torch.bfloat16) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _half(v) for k, v in value.items()}
    return type(value)(_half(v) for v in value) if isinstance(value, tuple | list) else value
