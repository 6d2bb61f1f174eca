"""Degradation models: from a clean face to a poor one, replayable from what was drawn.

y = JPEG(down_r(x * k_sigma) + n_delta), resized back. Source: Wang et al., GFP-GAN, CVPR 2021, eq.
1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import ConfigError

__all__ = ["PRESETS", "Ranges", "Recipe", "apply", "blur_kernel", "degrade", "draw", "preset"]

Pixels = NDArray[np.uint8]
SIDE = 512  # the side, in pixels, that the published numbers are for


@dataclass(frozen=True, slots=True)
class Ranges:
    """Between which bounds a recipe is drawn; every draw is uniform."""

    sigma: tuple[float, float]  # of the blur, in pixels of a 512 px face
    down: tuple[float, float]  # how many times smaller; below 1 enlarges
    noise: tuple[float, float]  # standard deviation, on the 0 to 255 scale
    jpeg: tuple[int, int]  # quality, both ends included
    anisotropic: float = 0.5  # how often the blur is an ellipse
    kernel: int = 41  # side of the blur kernel at 512 px


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one face went through: enough to do it again, bit for bit."""

    sigma_x: float
    sigma_y: float
    angle: float
    kernel: int
    down: float
    noise: float
    noise_seed: int
    jpeg: int


# AuthFace takes "type and degree" from GFP-GAN and BFRffusion: GFP-GAN's ranges without its colour
# jitter.
PRESETS = {
    "gfpgan": Ranges(sigma=(0.1, 10.0), down=(0.8, 8.0), noise=(0.0, 20.0), jpeg=(60, 100)),
}


def preset(name: str) -> Ranges:
    """The ranges of a named degradation."""
    if name not in PRESETS:
        raise ConfigError(
            f"There is no degradation recipe {name!r}.", f"Known are: {', '.join(sorted(PRESETS))}."
        )
    return PRESETS[name]


def degrade(pixels_HWC: Pixels, rng: np.random.Generator, ranges: Ranges) -> tuple[Pixels, Recipe]:
    """The degraded face, 8-bit sRGB of the same size, and the recipe that made it."""
    recipe = draw(rng, ranges, side=max(pixels_HWC.shape[:2]))
    return apply(pixels_HWC, recipe), recipe


def draw(rng: np.random.Generator, ranges: Ranges, *, side: int = SIDE) -> Recipe:
    """A recipe; the blur scales with the side, so that a face is as blurred at 128 px as at 512."""
    scale = side / SIDE
    round_one = rng.random() >= ranges.anisotropic
    sigma_x, sigma_y = rng.uniform(*ranges.sigma, size=2) * scale
    angle = rng.uniform(-math.pi, math.pi)
    return Recipe(
        sigma_x=float(sigma_x),
        sigma_y=float(sigma_x if round_one else sigma_y),
        angle=0.0 if round_one else float(angle),
        kernel=2 * max(1, round(ranges.kernel // 2 * scale)) + 1,
        down=float(rng.uniform(*ranges.down)),
        noise=float(rng.uniform(*ranges.noise)),
        noise_seed=int(rng.integers(2**63)),
        jpeg=int(rng.integers(ranges.jpeg[0], ranges.jpeg[1] + 1)),
    )


def apply(pixels_HWC: Pixels, recipe: Recipe) -> Pixels:
    """The face after blur, reduction, noise and JPEG, resized back; 8-bit sRGB in and out."""
    height, width = pixels_HWC.shape[:2]
    kernel = blur_kernel(recipe)
    blurred = cv2.filter2D(pixels_HWC.astype(np.float32) / 255, -1, kernel)
    small = cv2.resize(
        blurred, _reduced(width, height, recipe.down), interpolation=cv2.INTER_LINEAR
    )
    noise = np.random.default_rng(recipe.noise_seed).standard_normal(small.shape, dtype=np.float32)
    noisy = np.clip(small + noise * np.float32(recipe.noise / 255), 0, 1)
    coded = _jpeg(_to_bytes(noisy), recipe.jpeg).astype(np.float32) / 255
    return _to_bytes(cv2.resize(coded, (width, height), interpolation=cv2.INTER_LINEAR))


def blur_kernel(recipe: Recipe) -> NDArray[np.float32]:
    """A Gaussian of unit sum, turned by the recipe's angle."""
    half = recipe.kernel // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    cos, sin = math.cos(recipe.angle), math.sin(recipe.angle)
    along, across = cos * x + sin * y, cos * y - sin * x
    weights = np.exp(-0.5 * ((along / recipe.sigma_x) ** 2 + (across / recipe.sigma_y) ** 2))
    return np.asarray(weights / weights.sum(), np.float32)


def _reduced(width: int, height: int, down: float) -> tuple[int, int]:
    return max(1, int(width // down)), max(1, int(height // down))


def _to_bytes(pixels_HWC: NDArray[np.float32]) -> Pixels:
    return np.round(pixels_HWC * 255).astype(np.uint8)


def _jpeg(pixels_HWC: Pixels, quality: int) -> Pixels:
    # OpenCV's codec takes BGR; with RGB the luma weights of red and blue would be swapped.
    _, data = cv2.imencode(".jpg", pixels_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded_HWC = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return decoded_HWC[..., ::-1]
