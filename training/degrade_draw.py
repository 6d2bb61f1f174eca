"""A recipe drawn from a preset's ranges: all that is random, and nothing that touches a pixel.

What depends on the size of a face, its blur above all, scales with the picture, so that a face is
as blurred at 128 px as at 512.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from training import degrade_ops as ops
from training.degrade_kernels import Kernel
from training.degrade_presets import Colour, Order, Pair, Ranges, SecondOrder, Trouble

__all__ = ["SIDE", "Recipe", "draw"]

SIDE = 512  # the side, in pixels, that the published numbers are for

Chain = tuple[ops.Operation, ...]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one face goes through: enough to do it again, bit for bit."""

    shared: Chain = ()  # done to the picture and to its target
    steps: Chain = ()  # then, to the picture only
    aim: Chain = ()  # then, to the target only


def draw(
    rng: Generator, ranges: Ranges | SecondOrder, *, size: tuple[int, int] = (SIDE, SIDE)
) -> Recipe:
    """A recipe for a picture of `size`, (height, width)."""
    if isinstance(ranges, SecondOrder):
        return _second_order(rng, ranges, max(size) / SIDE)
    return _first_order(rng, ranges, size)


def _first_order(rng: Generator, ranges: Ranges, size: tuple[int, int]) -> Recipe:
    scale = max(size) / SIDE
    trouble = ranges.trouble
    shared = _move(rng, trouble, scale) if _happens(rng, trouble.move) else ()
    steps = _chain(rng, ranges, scale)
    if _happens(rng, trouble.uneven):
        steps = (_uneven(rng, ranges, size, steps),)
    coloured, aim = _colour(rng, ranges.colour)
    return Recipe(shared, steps + coloured, aim)


def _chain(rng: Generator, ranges: Ranges, scale: float) -> Chain:
    """Blur, perhaps haze, reduction, noise, JPEG, and back to size. Source: GFP-GAN, eq. 1."""
    ellipse = _happens(rng, ranges.anisotropic)
    side = _scaled_side(_odd(rng, ranges.kernel), scale)
    shape = Kernel("gaussian", side)
    blur = ops.Blur(_bell(rng, shape, ranges.sigma, ellipse=ellipse, scale=scale))
    trouble = ranges.trouble
    veil = (ops.Haze(_between(rng, trouble.alpha)),) if _happens(rng, trouble.haze) else ()
    return (
        blur,
        *veil,
        ops.Resize(_between(rng, ranges.down)),
        ops.Noise("gaussian", _between(rng, ranges.noise), False, _seed(rng)),
        ops.Jpeg(_whole(rng, ranges.jpeg)),
        ops.Resize(1.0),
    )


def _move(rng: Generator, trouble: Trouble, scale: float) -> Chain:
    most = round(trouble.most_move * scale)
    right, down = _whole(rng, (-most, most)), _whole(rng, (-most, most))
    return (ops.Move(right, down),)


def _uneven(rng: Generator, ranges: Ranges, size: tuple[int, int], inside: Chain) -> ops.Uneven:
    scale = max(size) / SIDE
    low, high = (round(side * scale) for side in ranges.trouble.square)
    side = min(_whole(rng, (low, high)), *size)
    top, left = (_whole(rng, (0, length - side)) for length in size)
    return ops.Uneven(left, top, side, inside, _chain(rng, ranges, scale))


def _colour(rng: Generator, colour: Colour) -> tuple[Chain, Chain]:
    """What is done to the picture's colours, and to its target's. Source: GFP-GAN's data set."""
    steps: list[ops.Operation] = []
    aim: Chain = ()
    if _happens(rng, colour.shift):
        steps.append(
            ops.Shift(*(_between(rng, (-colour.most_shift, colour.most_shift)) for _ in range(3)))
        )
    if _happens(rng, colour.grey):
        steps.append(ops.Grey())
        aim = (ops.Grey(),) if colour.grey_target else ()
    if _happens(rng, colour.jitter):
        jitters: list[ops.Operation] = [
            ops.Jitter("brightness", _between(rng, colour.brightness)),
            ops.Jitter("contrast", _between(rng, colour.contrast)),
            ops.Jitter("saturation", _between(rng, colour.saturation)),
            ops.Jitter("hue", _between(rng, colour.hue)),
        ]
        steps += [jitters[which] for which in rng.permutation(4)]
    return tuple(steps), aim


def _second_order(rng: Generator, ranges: SecondOrder, scale: float) -> Recipe:
    """Source: Wang et al., Real-ESRGAN, ICCVW 2021, fig. 2; the way back to size as in DiffBIR."""
    shared = (
        (ops.Sharpen(side=_scaled_side(ops.Sharpen().side, scale)),) if ranges.sharpened else ()
    )
    first, second = ranges.first, ranges.second
    back = [ops.Resize(ranges.down, _mode(rng))]
    ringing: list[ops.Operation] = [*back]
    if _happens(rng, ranges.final_sinc):
        ringing.append(ops.Blur(_sinc(rng, _odd(rng, second.kernel), math.pi / 3)))
    jpeg = ops.Jpeg(_whole(rng, second.jpeg))
    # JPEG before or after the sinc filter: both kinds of pictures are met.
    end = (*ringing, jpeg) if _happens(rng, 0.5) else (jpeg, *ringing)
    return Recipe(
        shared,
        (
            *_round(rng, first, down=1.0, scale=scale),
            ops.Jpeg(_whole(rng, first.jpeg)),
            *_round(rng, second, down=ranges.down, scale=scale),
            *end,
            ops.Resize(1.0, "cubic"),
        ),
    )


def _round(rng: Generator, order: Order, *, down: float, scale: float) -> Chain:
    """Blur, resizing and noise of one of the two rounds."""
    blur = (ops.Blur(_kernel(rng, order, scale)),) if _happens(rng, order.blurred) else ()
    ranges = ((1.0, order.scale[1]), (order.scale[0], 1.0), (1.0, 1.0))
    times = _between(rng, ranges[rng.choice(3, p=order.resize)])
    return (*blur, ops.Resize(down / times, _mode(rng)), _noise(rng, order))


def _noise(rng: Generator, order: Order) -> ops.Noise:
    if _happens(rng, order.gaussian):
        return ops.Noise(
            "gaussian", _between(rng, order.noise), _happens(rng, order.grey_noise), _seed(rng)
        )
    return ops.Noise(
        "poisson", _between(rng, order.poisson), _happens(rng, order.grey_noise), _seed(rng)
    )


def _kernel(rng: Generator, order: Order, scale: float) -> Kernel:
    side = _odd(rng, order.kernel)
    if _happens(rng, order.sinc):
        return _sinc(rng, side, math.pi / 3 if side < 13 else math.pi / 5)
    which = rng.choice(len(order.families), p=[share for _, _, share in order.families])
    family, ellipse, _ = order.families[which]
    side = _scaled_side(side, scale)
    beta = 1.0
    if family != "gaussian":
        low, high = order.generalized_beta if family == "generalized" else order.plateau_beta
        beta = _between(rng, (low, 1.0) if _happens(rng, 0.5) else (1.0, high))
    shape = Kernel(family, side, beta=beta)
    return _bell(rng, shape, order.sigma, ellipse=ellipse, scale=scale)


def _bell(rng: Generator, shape: Kernel, sigma: Pair, *, ellipse: bool, scale: float) -> Kernel:
    """The kernel of that family, side and beta with a width, and an angle if it is an ellipse."""
    sigma_x = _between(rng, sigma) * scale
    if not ellipse:
        return replace(shape, sigma_x=sigma_x, sigma_y=sigma_x)
    sigma_y = _between(rng, sigma) * scale
    angle = _between(rng, (-math.pi, math.pi))
    return replace(shape, sigma_x=sigma_x, sigma_y=sigma_y, angle=angle)


def _sinc(rng: Generator, side: int, least: float) -> Kernel:
    # Ringing is a trait of the pixels and not of the face: it does not scale.
    return Kernel("sinc", side, cutoff=_between(rng, (least, math.pi)))


def _mode(rng: Generator) -> ops.Mode:
    modes: tuple[ops.Mode, ...] = ("area", "linear", "cubic")
    return modes[rng.integers(3)]


def _scaled_side(side: int, scale: float) -> int:
    return 2 * max(1, round(side // 2 * scale)) + 1


def _odd(rng: Generator, between: tuple[int, int]) -> int:
    return 2 * _whole(rng, (between[0] // 2, between[1] // 2)) + 1


def _happens(rng: Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _between(rng: Generator, bounds: Pair) -> float:
    return float(rng.uniform(*bounds))


def _whole(rng: Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**63))
