"""What a model predicts of noised latents: the noise, v, or the flow; and how much a level counts.

Noised latents are x = a clean + b noise, with a and b the factors of a noise level. Every target is
a linear form of clean and noise, so that a prediction of one gives clean latents and noise too:

    target   is                  clean from it   noise from it   source
    epsilon  noise               (x - b p) / a   p               Ho et al. 2020, eq. 15
    v        a noise - b clean   a x - b p       b x + a p       Salimans and Ho 2022, appendix D
    flow     noise - clean       x - b p         x + a p         Liu et al. 2022, eq. 1

The second row takes a^2 + b^2 = 1 and the third a + b = 1, as their levels have it. Everything is
per sample (suffix B); latents are B x C x H x W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Kind",
    "Level",
    "clean_from",
    "diffusion_level",
    "flow_level",
    "logit_normal",
    "min_snr_weight",
    "noise_from",
    "noised",
    "target",
]

Kind = Literal["epsilon", "v", "flow"]


@dataclass(frozen=True, slots=True)
class Level:
    """How noisy each sample is: the factors of the clean latents and of the noise.

    `alpha_bar_B` is the share of the variance that is the signal's: a^2 / (a^2 + b^2), 0 to 1.
    """

    signal_B: Tensor
    noise_B: Tensor
    alpha_bar_B: Tensor


def diffusion_level(alpha_bar_B: Tensor) -> Level:
    """The level of epsilon and v: a^2 = alpha_bar, b^2 = 1 - alpha_bar. Source: Ho et al. 2020."""
    return Level(alpha_bar_B.sqrt(), (1 - alpha_bar_B).sqrt(), alpha_bar_B)


def flow_level(sigma_B: Tensor) -> Level:
    """The level of flow: a = 1 - sigma, b = sigma, in 0 to 1. Source: Liu et al. 2022, eq. 1."""
    signal_B = 1 - sigma_B
    powers_B = signal_B.square(), sigma_B.square()
    return Level(signal_B, sigma_B, powers_B[0] / (powers_B[0] + powers_B[1]))


def noised(clean_BCHW: Tensor, noise_BCHW: Tensor, level: Level) -> Tensor:
    """The noised latents a clean + b noise."""
    return _wide(level.signal_B) * clean_BCHW + _wide(level.noise_B) * noise_BCHW


def target(kind: Kind, clean_BCHW: Tensor, noise_BCHW: Tensor, level: Level) -> Tensor:
    """What the model is to predict."""
    if kind == "epsilon":
        return noise_BCHW
    if kind == "v":
        return _wide(level.signal_B) * noise_BCHW - _wide(level.noise_B) * clean_BCHW
    return noise_BCHW - clean_BCHW


def clean_from(kind: Kind, predicted_BCHW: Tensor, noisy_BCHW: Tensor, level: Level) -> Tensor:
    """The clean latents that a prediction implies.

    For epsilon alone it is unbounded where nothing of the signal is left.
    """
    drowned_BCHW = _wide(level.noise_B) * predicted_BCHW
    if kind == "epsilon":
        return (noisy_BCHW - drowned_BCHW) / _wide(level.signal_B)
    if kind == "v":
        return _wide(level.signal_B) * noisy_BCHW - drowned_BCHW
    return noisy_BCHW - drowned_BCHW


def noise_from(kind: Kind, predicted_BCHW: Tensor, noisy_BCHW: Tensor, level: Level) -> Tensor:
    """The noise that a prediction implies."""
    if kind == "epsilon":
        return predicted_BCHW
    if kind == "v":
        return _wide(level.noise_B) * noisy_BCHW + _wide(level.signal_B) * predicted_BCHW
    return noisy_BCHW + _wide(level.signal_B) * predicted_BCHW


def min_snr_weight(kind: Kind, level: Level, gamma: float) -> Tensor:
    """The weight of each sample's error: min(SNR, gamma) / SNR, or / (SNR + 1) for v.

    Source: Hang et al. 2023, section 3.4: min(SNR, gamma) on the error of the clean latents, which
    is SNR times smaller than epsilon's error and SNR + 1 times smaller than v's. Taken without a
    division by zero, so that v has weight 0 where no signal is left. Not defined for flow.
    """
    if kind == "epsilon":
        return (gamma * (1 - level.alpha_bar_B) / level.alpha_bar_B).clamp(max=1)
    if kind == "v":
        # 1 / (SNR + 1) is 1 - alpha_bar, and SNR / (SNR + 1) is alpha_bar.
        return torch.minimum(level.alpha_bar_B, gamma * (1 - level.alpha_bar_B))
    raise ValueError("min-SNR weighs epsilon and v")


def logit_normal(time_B: Tensor, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    """The logit-normal density at times in (0, 1): most in the middle, nothing at both ends.

    Source: Esser et al. 2024 (Stable Diffusion 3), section 3.1. AuthFace v1 takes it as the
    time-aware weight of its loss; mean and deviation are not reported there, these are the
    distribution's own.
    """
    logit_B = time_B.logit()
    spread_B = torch.exp(-(logit_B - mean).square() / (2 * deviation**2))
    return spread_B / (deviation * math.sqrt(2 * math.pi) * time_B * (1 - time_B))


def _wide(factor_B: Tensor) -> Tensor:
    return factor_B.view(-1, 1, 1, 1)
