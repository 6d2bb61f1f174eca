"""How well a run does on held-out samples, on noise and timesteps that never change.

The training loss of a step swings with the timesteps it happened to draw. Here every sample meets
the same noise in each part of the schedule at every validation, so that two figures differ by the
weights alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from data_manifests.records import Sample
from training.batch import Item
from training.held_out import HeldOut
from training.stages import Prior, Restorer

__all__ = ["BUCKETS", "Validation", "Validator", "fixed_items", "held_still", "timestep"]

BUCKETS = 5  # equal parts of the schedule, the least noise first
_SEED = 0  # the same for all runs, so that runs of other seeds can be compared
_STEP = 2**31  # of the plan; no run comes to it, so that no draw of training is drawn here again

S = TypeVar("S", bound=Prior | Restorer)
Means = list[float | None]  # one for each bucket; none where no sample had a say


@dataclass(frozen=True, slots=True)
class Validation:
    """Losses after a step, each by bucket of the schedule, and how much the condition is used."""

    step: int
    samples: int
    of: str  # fingerprint of the samples
    seen: bool  # whether the run trains on these samples
    losses: dict[str, Means]
    condition_use: Means | None  # of stage 2 with two samples or more
    seconds: float

    @property
    def means(self) -> dict[str, float]:
        """One figure a loss, and the condition's use: means over the buckets that have one."""
        named = self.losses | ({"condition_use": self.condition_use} if self.condition_use else {})
        told = {name: [v for v in values if v is not None] for name, values in named.items()}
        return {name: sum(values) / len(values) for name, values in told.items() if values}


class Validator:
    """Validates a stage in place; changes no weight, no state and no random number of training."""

    def __init__(self, stage: Prior | Restorer, held_out: HeldOut) -> None:
        self._stage = held_still(stage)
        self._held_out = held_out
        self._items: list[Item] = []

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """The losses of the weights as they are after `step`."""
        started = time.perf_counter()
        # A compiled block would be compiled anew for a pass without gradients.
        with torch.compiler.set_stance("force_eager"):
            given = self._losses(step, self._given())
            others = self._swapped()
            swapped = self._losses(step, others) if others else None
        losses = {name: _means(rows) for name, rows in given.items()}
        main = next(iter(given))
        use = None if swapped is None else _use(given[main], swapped[main])
        held = self._held_out
        return Validation(
            step=step,
            samples=len(held.samples),
            of=held.fingerprint,
            seen=held.seen,
            losses=losses,
            condition_use=use,
            seconds=round(time.perf_counter() - started, 3),
        )

    def _given(self) -> list[Item]:
        """The samples as this stage sees them, read and degraded once."""
        if not self._items:
            self._items = fixed_items(self._stage, self._held_out.samples)
        return self._items

    def _swapped(self) -> list[Item]:
        """Each sample with the next one's degraded picture as its condition."""
        items = self._given()
        if len(items) < 2 or items[0].poor_HWC is None:
            return []
        return [
            replace(item, poor_HWC=items[(place + 1) % len(items)].poor_HWC)
            for place, item in enumerate(items)
        ]

    def _losses(self, step: int, items: Sequence[Item]) -> dict[str, list[Tensor]]:
        """Each part of the loss, per bucket, per sample; the stage's own error comes first."""
        found: dict[str, list[Tensor]] = {}
        for bucket in range(BUCKETS):
            parts: dict[str, list[Tensor]] = {}
            for some in self._at(bucket, items):
                loss = self._stage.loss(self._stage.gather(some), step)
                for name, value_B in loss.parts.items():
                    parts.setdefault(name, []).append(value_B.float().cpu())
            for name, values in parts.items():
                found.setdefault(name, []).append(torch.cat(values))
        return found

    def _at(self, bucket: int, items: Sequence[Item]) -> Iterator[list[Item]]:
        """The items at their timesteps in a bucket, so many as may be on the device at once."""
        levels = len(self._stage.base.alpha_bar_T)
        placed = [
            _placed(item, timestep(bucket, place, len(items), levels))
            for place, item in enumerate(items)
        ]
        at_once = self._stage.config.at_once
        for start in range(0, len(placed), at_once):
            yield placed[start : start + at_once]


def timestep(bucket: int, place: int, count: int, levels: int) -> int:
    """The timestep of one of `count` samples in a bucket: they are spread evenly over it."""
    return int((bucket + (place + 0.5) / count) / BUCKETS * levels)


def held_still(stage: S) -> S:
    """The stage with the same weights, under settings that leave nothing to a run's own draws.

    Without the cache, too: held-out pictures have no place among what the training needs.
    """
    still = copy.copy(stage)
    fixed: dict[str, Any] = {"seed": _SEED, "flip": 0.0, "prompt_dropout": 0.0}
    if isinstance(stage, Restorer):
        fixed["log_recipes"] = 0
    else:
        fixed |= {"mixed_words": False, "tag_shuffle": False, "tag_dropout": 0.0}
    still.config = stage.config.model_copy(update=fixed)
    still.encoders = None
    return still


def fixed_items(stage: Prior | Restorer, samples: Sequence[Sample]) -> list[Item]:
    """The samples as a stage that is held still sees them at every look; degraded once for all."""
    return [stage.item(sample, _STEP, place) for place, sample in enumerate(samples)]


def _placed(item: Item, at: int) -> Item:
    drawn = item.draw.timestep_1
    return replace(item, draw=replace(item.draw, timestep_1=torch.full_like(drawn, at)))


def _means(rows: Sequence[Tensor]) -> Means:
    return [_number(float(row_B.nanmean())) for row_B in rows]


def _use(given: Sequence[Tensor], swapped: Sequence[Tensor]) -> Means:
    """By how much the error grows, as a share of it, when the condition is another sample's.

    0: the condition is not looked at, as in a ControlNet that was just made. 0.1: with the wrong
    face the error is a tenth larger. In the style of the permutation importance of Breiman 2001,
    section 10, with the condition as the variable.
    """
    pairs = zip(given, swapped, strict=True)
    return [_number(float(o_B.nanmean() / g_B.nanmean() - 1)) for g_B, o_B in pairs]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
