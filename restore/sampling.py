"""Where sampling starts, which steps it takes, and which seed each face gets: all pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from torch import Tensor

from data_manifests.errors import ConfigError

__all__ = [
    "FlowSolver",
    "drawn_noise",
    "face_seed",
    "generators",
    "make_sampler",
    "noised_start",
    "rescaled_guidance",
    "sampling_steps",
    "signal_and_noise",
    "start_factors",
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

_LCM_STEPS = 50  # what LCMs and LCM LoRAs are distilled on


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


def sampling_steps(
    sampler: str, spacing: str, steps: int, fidelity: float, trained_with: dict[str, Any]
) -> list[int]:
    """Descending time steps as the sampler's weights know them, at most `steps` of them.

    Fidelity means the same for all: the first step lies (1 - fidelity) of the way up. Sources: Lin
    et al., WACV 2024, table 2 (spacings); Luo et al. 2023, section 4.3 (LCM's skipped steps).
    """
    trained = int(trained_with.get("num_train_timesteps", 1000))
    # So many of the schedule's steps are left, one at least.
    left = max(1, round((1 - fidelity) * trained))
    found: Iterable[float]
    if sampler == "lcm":
        found = _lcm_steps(steps, left, trained)
    elif spacing == "leading":
        ratio, offset = max(1, left // steps), int(trained_with.get("steps_offset", 0))
        found = np.arange(min(steps, left)) * ratio + offset
    elif sampler == "euler":
        # Weights distilled to a few steps were taught these very ones.
        found = np.rint(np.arange(steps, 0, -1) * (left / steps)).astype(int) - 1
    else:
        return timesteps(steps, fidelity, trained)
    return sorted({min(max(int(t), 0), trained - 1) for t in found}, reverse=True)


def _lcm_steps(steps: int, left: int, trained: int) -> list[int]:
    """Some of the 50 steps that an LCM is distilled on, evenly from the highest that is left."""
    every = max(1, trained // _LCM_STEPS)
    known = np.arange(every, max(left, every) + 1, every)[::-1] - 1
    picked = np.linspace(0, len(known), min(steps, len(known)), endpoint=False)
    return [int(known[int(i)]) for i in picked]


def make_sampler(name: str, trained_with: dict[str, Any]) -> Any:
    """The scheduler of that name, on the noise that the model was trained with."""
    noise = {key: trained_with[key] for key in _NOISE_KEYS if key in trained_with}
    if trained_with.get("prediction_type") == "flow_prediction":
        return _flow_sampler(name, noise)
    if name == "ddpm":
        return DDPMScheduler(**noise, clip_sample=False)
    if name == "euler":
        return EulerDiscreteScheduler(**noise, timestep_spacing="trailing")
    if name == "lcm":
        return LCMScheduler(**noise, original_inference_steps=_LCM_STEPS)
    return DPMSolverMultistepScheduler(**noise, algorithm_type="dpmsolver++", euler_at_final=True)


def _flow_sampler(name: str, noise: dict[str, Any]) -> FlowSolver:
    if name in {"ddpm", "lcm"}:
        raise ConfigError(
            f"This model was trained on flow, which {name.upper()} can't sample.",
            "Set sampler = dpm++ or euler.",
        )
    # On flow's straight paths DPM-Solver++ of order 1 is Euler's step.
    order = 1 if name == "euler" else 2
    settings = {"use_flow_sigmas": True, "flow_shift": 1.0, "euler_at_final": True}
    return FlowSolver(**noise, **settings, solver_order=order)


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


def start_factors(sampler: Any, timestep: int, *, from_noise: bool) -> tuple[float, float]:
    """The factors of picture and noise that sampling starts from, before the sampler's own scale.

    `from_noise` leaves the picture out.
    """
    if from_noise:
        return 0.0, 1.0
    signal, noise = signal_and_noise(sampler, timestep)
    # Euler keeps the picture at its own size and adds sigma of noise; the pipeline scales by sigma.
    return (signal / noise, 1.0) if isinstance(sampler, EulerDiscreteScheduler) else (signal, noise)


def _sigma(timestep: int, trained: int) -> float:
    # The solver takes the logarithm of it, so that the lowest step is not quite nothing.
    return max(timestep, 0.5) / trained


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per face, on the CPU so that a seed means the same noise on every device."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def drawn_noise(shape: Sequence[int], rngs: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise of one face's shape from each generator, float32 on the CPU."""
    return torch.stack([torch.randn(tuple(shape), generator=rng) for rng in rngs])


def noised_start(latent_BCHW: Tensor, factors: tuple[float, float], noise_BCHW: Tensor) -> Tensor:
    """The latents under the noise of one time step, by `start_factors`."""
    signal, noise = factors
    noised_BCHW: Tensor = signal * latent_BCHW + noise * noise_BCHW
    return noised_BCHW


@contextmanager
def rescaled_guidance(unet: Any, guidance: float, share: float) -> Iterator[None]:
    """While it holds, guided predictions are brought back to the spread of the unguided ones.

    The U-Net gives what the pipeline would make of its two halves, in both of them, so that the
    pipeline's own guidance changes nothing more. Source: Lin et al., WACV 2024, section 3.4.
    """
    if share == 0 or guidance <= 1 or unet.config.time_cond_proj_dim is not None:
        yield
        return

    def rescale(module: Any, given: Any, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        without_BCHW, with_BCHW = found[0].chunk(2)
        guided_BCHW = without_BCHW + guidance * (with_BCHW - without_BCHW)
        axes = tuple(range(1, guided_BCHW.dim()))
        spread = with_BCHW.std(axes, keepdim=True) / guided_BCHW.std(axes, keepdim=True)
        mixed_BCHW = share * (guided_BCHW * spread) + (1 - share) * guided_BCHW
        return (torch.cat([mixed_BCHW, mixed_BCHW]), *found[1:])

    handle = unet.register_forward_hook(rescale)
    try:
        yield
    finally:
        handle.remove()
