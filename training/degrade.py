"""Degradation: from a clean face to a poor one, replayable from what was drawn.

A recipe is drawn from a preset's ranges and holds every number, the noise as a seed; what it does
to a picture and to its target are pure functions of the two.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import InputError
from training import degrade_ops as ops
from training.degrade_draw import Recipe, draw
from training.degrade_kernels import Kernel
from training.degrade_presets import PRESETS, Ranges, SecondOrder, preset

__all__ = [
    "PRESETS",
    "Ranges",
    "Recipe",
    "SecondOrder",
    "apply",
    "degrade",
    "draw",
    "draw_at",
    "from_json",
    "moved_by",
    "preset",
    "target",
    "to_json",
]

Pixels = NDArray[np.uint8]

_KINDS = {
    kind.__name__.lower(): kind
    for kind in (
        ops.Blur,
        ops.Grey,
        ops.Haze,
        ops.Jitter,
        ops.Jpeg,
        ops.Move,
        ops.Noise,
        ops.Resize,
        ops.Sharpen,
        ops.Shift,
        ops.Uneven,
    )
}


def degrade(
    pixels_HWC: Pixels, rng: np.random.Generator, ranges: Ranges | SecondOrder
) -> tuple[Pixels, Recipe]:
    """The degraded face, 8-bit sRGB of the same size, and the recipe that made it."""
    height, width = pixels_HWC.shape[:2]
    recipe = draw(rng, ranges, size=(height, width))
    return apply(pixels_HWC, recipe), recipe


def draw_at(
    place: tuple[int, int, int], ranges: Ranges | SecondOrder, *, size: tuple[int, int]
) -> Recipe:
    """The recipe of a training run's (seed, step, index in the batch); `size` as for `draw`."""
    from training import plan  # brings PyTorch, which degrading alone does not need

    seed, step, index = place
    return draw(plan.rng(seed, plan.Stream.DEGRADE, step, index), ranges, size=size)


def apply(pixels_HWC: Pixels, recipe: Recipe) -> Pixels:
    """The degraded face: 8-bit sRGB in and out, of the same size."""
    return _run(pixels_HWC, recipe.shared + recipe.steps)


def target(pixels_HWC: Pixels, recipe: Recipe) -> Pixels:
    """What the restorer aims at, 8-bit sRGB: the face itself but for what the recipe says."""
    return _run(pixels_HWC, recipe.shared + recipe.aim)


def moved_by(recipe: Recipe) -> tuple[int, int]:
    """By how many pixels the target lies to the right of and below the clean face."""
    moves = [step for step in recipe.shared if isinstance(step, ops.Move)]
    return sum(m.right for m in moves), sum(m.down for m in moves)


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values."""
    chains = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    return {name: [_step_to_json(step) for step in chain] for name, chain in chains.items()}


def from_json(values: dict[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote; InputError if it is none."""
    try:
        return Recipe(**{name: _chain_from_json(chain) for name, chain in values.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"That is no degradation recipe: {error}.",
            "Take it as it stands in a run's stats.jsonl.",
        ) from error


def _run(pixels_HWC: Pixels, chain: tuple[ops.Operation, ...]) -> Pixels:
    height, width = pixels_HWC.shape[:2]
    return ops.to_bytes(ops.run(chain, pixels_HWC, (height, width)))


def _step_to_json(step: ops.Operation) -> dict[str, Any]:
    values = {f.name: getattr(step, f.name) for f in dataclasses.fields(step)}
    if isinstance(step, ops.Blur):
        values["kernel"] = dataclasses.asdict(step.kernel)
    if isinstance(step, ops.Uneven):
        values |= {k: [_step_to_json(s) for s in values[k]] for k in ("inside", "outside")}
    return {"do": type(step).__name__.lower(), **values}


def _chain_from_json(chain: list[dict[str, Any]]) -> tuple[ops.Operation, ...]:
    return tuple(_step_from_json(dict(values)) for values in chain)


def _step_from_json(values: dict[str, Any]) -> ops.Operation:
    kind = _KINDS[values.pop("do")]
    if kind is ops.Blur:
        values["kernel"] = Kernel(**values["kernel"])
    if kind is ops.Uneven:
        values |= {name: _chain_from_json(values[name]) for name in ("inside", "outside")}
    step: ops.Operation = kind(**values)
    return step
