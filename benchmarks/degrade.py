"""Degrading a 512 px face on one core: ours against the usual way, on the same draws.

    OPENBLAS_NUM_THREADS=1 python benchmarks/degrade.py [--draws N] [--recipe NAME]

The usual way is GFP-GAN's data set on BasicSR's functions (random_mixed_kernels,
add_gaussian_noise, add_jpg_compression, cv2.filter2D and cv2.resize in float32 of 0 to 1), in words
of our own: BasicSR imports a module that torchvision no longer has. Both are given the same
recipes. For time each draws its own noise, for equality both get the same field.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from pictures import portrait

from training import degrade_ops as ops
from training.degrade import Ranges, Recipe, apply, draw, preset

SIDE = 512


def usual_kernel(kernel: Any) -> np.ndarray:
    """A bivariate Gaussian over a mesh, by its covariance matrix, in float64."""
    axis = np.arange(-kernel.side // 2 + 1.0, kernel.side // 2 + 1.0)
    x, y = np.meshgrid(axis, axis)
    grid = np.stack([x, y], axis=-1)
    cos, sin = np.cos(kernel.angle), np.sin(kernel.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    covariance = turn @ np.diag([kernel.sigma_x**2, kernel.sigma_y**2]) @ turn.T
    density = np.exp(-0.5 * np.sum(np.dot(grid, np.linalg.inv(covariance)) * grid, 2))
    density = density / np.sum(density)
    return density / np.sum(density)


def usual_chain(
    face: np.ndarray, recipe: Recipe, randn: Callable[[tuple[int, ...]], np.ndarray]
) -> dict[str, np.ndarray]:
    """From 8 bits to 8 bits; what comes out of each step, floats of 0 to 1, BGR."""
    blur, down, noise, jpeg, _, *colours = recipe.steps
    height, width = face.shape[:2]
    seen: dict[str, np.ndarray] = {}
    x = cv2.cvtColor(face, cv2.COLOR_RGB2BGR).astype(np.float32) / 255.0
    x = seen["blur"] = cv2.filter2D(x, -1, usual_kernel(blur.kernel))
    small = int(width // down.down), int(height // down.down)
    x = seen["reduction"] = cv2.resize(x, small, interpolation=cv2.INTER_LINEAR)
    x = x + np.float32(randn(x.shape)) * noise.strength / 255.0
    x = seen["noise"] = np.clip(x, 0, 1)
    x = np.clip(x, 0, 1)
    _, data = cv2.imencode(".jpg", x * 255.0, [int(cv2.IMWRITE_JPEG_QUALITY), jpeg.quality])
    x = np.float32(cv2.imdecode(data, 1)) / 255.0
    x = cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR)
    for colour in colours:
        x = usual_colour(x, colour)
    x = np.clip((x * 255.0).round(), 0, 255)
    seen["end"] = cv2.cvtColor(x.astype(np.uint8), cv2.COLOR_BGR2RGB)
    return seen


def usual_colour(x: np.ndarray, step: Any) -> np.ndarray:
    """Shift and grey in NumPy, the rest by torchvision on a tensor, as GFP-GAN has it."""
    if isinstance(step, ops.Shift):
        by = np.array([step.blue, step.green, step.red], np.float32) / 255.0
        return np.clip(x + by, 0, 1)
    if isinstance(step, ops.Grey):
        return np.tile(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY)[:, :, None], [1, 1, 3])
    import torch
    from torchvision.transforms import functional

    image = torch.from_numpy(cv2.cvtColor(x, cv2.COLOR_BGR2RGB).transpose(2, 0, 1))
    image = getattr(functional, f"adjust_{step.what}")(image, step.factor)
    return cv2.cvtColor(np.ascontiguousarray(image.numpy().transpose(1, 2, 0)), cv2.COLOR_RGB2BGR)


def compare(face: np.ndarray, recipe: Recipe) -> tuple[dict[str, float], float, float]:
    """The largest difference after each step before the codec; equal bytes and mean after it."""
    seed = recipe.steps[2].seed

    def same_field(shape: tuple[int, ...]) -> np.ndarray:
        # Ours is drawn in RGB.
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)[..., ::-1]

    usual = usual_chain(face, recipe, same_field)
    worst = {}
    for count, name in enumerate(("blur", "reduction", "noise"), start=1):
        ours = ops.run(recipe.steps[:count], face, face.shape[:2]) / 255
        worst[name] = float(np.abs(ours - usual[name][..., ::-1]).max())
    end = apply(face, recipe).astype(int)
    return worst, float((end == usual["end"]).mean()), float(np.abs(end - usual["end"]).mean())


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--recipe", default="gfpgan")
    options = parser.parse_args()
    ranges = preset(options.recipe)
    if not isinstance(ranges, Ranges) or ranges.trouble.move:
        parser.error("the usual way is written out for the plain first-order recipes only")
    cv2.setNumThreads(1)
    if hasattr(cv2, "setLogLevel"):  # the usual way hands floats to the codec, and is warned
        cv2.setLogLevel(0)
    import torch

    torch.set_num_threads(1)
    face = portrait(SIDE, SIDE, grain=2.0)
    rng = np.random.default_rng(0)
    recipes = [draw(rng, ranges) for _ in range(options.draws)]
    legacy = np.random.RandomState(0)
    rows = []
    for recipe in recipes:  # in turns, so that other work on the machine slows both
        ours = timed(lambda r=recipe: apply(face, r))
        usual = timed(lambda r=recipe: usual_chain(face, r, lambda s: legacy.randn(*s)))
        rows.append((usual, ours, *compare(face, recipe), recipe.steps[0].kernel))
    report(options.recipe, rows)


def report(name: str, rows: list[tuple[Any, ...]]) -> None:
    usual, ours = (np.array([row[i] for row in rows]) for i in (0, 1))
    print(f"OpenCV {cv2.__version__}, {name}, {SIDE} px, {len(rows)} draws, CPU time of one core")
    for label, chosen in (
        ("all", [True] * len(rows)),
        ("round", [row[5].sigma_x == row[5].sigma_y for row in rows]),
        ("ellipse", [row[5].sigma_x != row[5].sigma_y for row in rows]),
    ):
        a, b = usual[chosen], ours[chosen]
        means, medians = (a.mean(), b.mean()), (np.median(a), np.median(b))
        for what, (slow, fast) in (("mean", means), ("median", medians)):
            print(f"{label:8}{what:7} {slow:6.1f} ms, ours {fast:5.1f} ms: {slow / fast:.1f} x")
    for step in rows[0][2]:
        print(f"largest difference after {step}: {255 * max(r[2][step] for r in rows):.3f} / 255")
    equal, off = [row[3] for row in rows], statistics.mean(row[4] for row in rows)
    print(f"bytes equal at the end: {statistics.mean(equal):.2%}, worst picture {min(equal):.2%}")
    print(f"mean difference at the end: {off:.4f} / 255")


if __name__ == "__main__":
    main()
