"""Where sampling starts, which steps it takes, and which seed each face gets: all pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from data_manifests.errors import ConfigError

__all__ = [
    "FlowSolver",
    "face_seed",
    "generators",
    "make_sampler",
    "noised_start",
    "signal_and_noise",
    "timesteps",
]

# What defines the noise a model was trained on; the rest of a scheduler's config is about sampling.
_NOISE_KEYS = (
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "num_train_timesteps",
    "prediction_type",
    "rescale_betas_zero_snr",
)


def face_seed(seed: int, photo_sha256: str, index: int) -> int:
    """One face's own seed, so that neither order nor batch size nor a rerun changes a pixel."""
    digest = hashlib.sha256(f"{seed}:{photo_sha256}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits


def timesteps(steps: int, fidelity: float, trained: int) -> list[int]:
    """Descending time steps, at most `steps` of them, evenly from the start down to nearly 0.

    `fidelity` is the share of the schedule that is left out: the first step lies (1 - fidelity) of
    the way up. Starting at the very top even for 0 avoids the mismatch of "leading" spacing between
    training and sampling. Source: Lin et al., WACV 2024, section 3.3.
    """
    top = round((1 - fidelity) * (trained - 1))
    spread = np.rint(np.linspace(top, 0, steps + 1)[:-1]).astype(int)
    return sorted(set(spread.tolist()), reverse=True)


def make_sampler(name: str, trained_with: dict[str, Any]) -> Any:
    """The scheduler for `ddpm` or `dpm++`, on the noise that the model was trained with."""
    noise = {key: trained_with[key] for key in _NOISE_KEYS if key in trained_with}
    if trained_with.get("prediction_type") == "flow_prediction":
        if name == "ddpm":
            raise ConfigError(
                "This model was trained on flow, which DDPM can't sample.", "Set sampler = dpm++."
            )
        return FlowSolver(**noise, use_flow_sigmas=True, flow_shift=1.0, euler_at_final=True)
    if name == "ddpm":
        return DDPMScheduler(**noise, clip_sample=False)
    return DPMSolverMultistepScheduler(**noise, algorithm_type="dpmsolver++", euler_at_final=True)


class FlowSolver(DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM-Solver++ of flow, at given time steps: a step t is the level sigma = t / T."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
    ) -> None:
        """Take `timesteps` if given, which diffusers' own leaves out for flow; else as it does."""
        count = num_inference_steps if timesteps is None else len(timesteps)
        super().set_timesteps(count, device)
        if timesteps is not None:
            self.timesteps = torch.tensor(list(timesteps), device=device, dtype=torch.int64)
            levels = [*(_sigma(t, self.config.num_train_timesteps) for t in timesteps), 0.0]
            self.sigmas = torch.tensor(levels)


def signal_and_noise(sampler: Any, timestep: int) -> tuple[float, float]:
    """The factors of picture and noise at a time step, by what the sampler's model predicts."""
    if sampler.config.prediction_type == "flow_prediction":
        sigma = _sigma(timestep, sampler.config.num_train_timesteps)
        return 1 - sigma, sigma
    alpha_bar = float(sampler.alphas_cumprod[timestep])
    return alpha_bar**0.5, (1 - alpha_bar) ** 0.5


def _sigma(timestep: int, trained: int) -> float:
    # The solver takes the logarithm of it, so that the lowest step is not quite nothing.
    return max(timestep, 0.5) / trained


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per face, on the CPU so that a seed means the same noise on every device."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def noised_start(
    latent_BCHW: Tensor, factors: tuple[float, float], rngs: Sequence[torch.Generator]
) -> Tensor:
    """The latents under the noise of one time step, by `signal_and_noise`."""
    shape = latent_BCHW.shape[1:]
    noise_BCHW = torch.stack([torch.randn(shape, generator=rng) for rng in rngs])
    noise_BCHW = noise_BCHW.to(latent_BCHW.device, latent_BCHW.dtype)
    signal, noise = factors
    noised_BCHW: Tensor = signal * latent_BCHW + noise * noise_BCHW
    return noised_BCHW
