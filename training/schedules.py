"""The noise levels a run trains on, and the scheduler that its model is to be sampled with.

Epsilon and v have the base's discrete levels, timesteps 0 to T - 1. Flow has every level sigma in
0 to 1, and the U-Net is told T sigma in place of a timestep, not rounded: diffusers' samplers of
flow tell it the same, rounded down.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor

from data_manifests.errors import ConfigError, InputError
from training import targets
from training.config import PriorConfig, RunConfig
from training.targets import Kind, Level

__all__ = ["Schedule", "choose", "kind_of", "zero_terminal"]

_NAMES: dict[Kind, str] = {"epsilon": "epsilon", "v": "v_prediction", "flow": "flow_prediction"}


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is predicted, over which noise levels, and how often or how much each of them counts."""

    kind: Kind
    alpha_bar_T: Tensor  # of the discrete levels; flow takes its number alone
    logit_normal: bool = False
    min_snr: float = 0.0
    from_zero: bool = False  # whether the last level is noise alone

    @property
    def prediction_type(self) -> str:
        """What diffusers calls it."""
        return _NAMES[self.kind]

    def draw(self, rng: torch.Generator) -> Tensor:
        """A timestep for one sample, of shape (1,): a whole number, or for flow T sigma."""
        steps = len(self.alpha_bar_T)
        if self.kind != "flow":
            return torch.randint(steps, (1,), generator=rng)
        if self.logit_normal:
            return steps * torch.randn(1, generator=rng).sigmoid()
        return steps * torch.rand(1, generator=rng)

    def level(self, timestep_B: Tensor) -> Level:
        """The noise levels at timesteps as `draw` gives them."""
        if self.kind == "flow":
            return targets.flow_level(timestep_B.float() / len(self.alpha_bar_T))
        return targets.diffusion_level(self.alpha_bar_T[timestep_B])

    def weighed(self, error_B: Tensor, timestep_B: Tensor, level: Level) -> Tensor:
        """The errors of samples, each times what its noise level counts.

        Flow is weighed by how often a level is drawn, so its errors stay as they are.
        """
        if self.kind == "flow":
            return error_B
        if self.min_snr:
            error_B = error_B * targets.min_snr_weight(self.kind, level, self.min_snr)
        if self.logit_normal:
            error_B = error_B * targets.logit_normal(self.time(timestep_B))
        return error_B

    def time(self, timestep_B: Tensor) -> Tensor:
        """Timesteps as times in (0, 1), the ends left out."""
        half = 0.0 if self.kind == "flow" else 0.5
        time_B = (timestep_B.float() + half) / len(self.alpha_bar_T)
        return time_B.clamp(1e-6, 1 - 1e-6)

    def sampler(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The base's scheduler_config.json, made to fit what was trained."""
        if self.kind == "flow":
            # diffusers' own scheduler of flow can't be used in an SDXL pipeline: that scales its
            # inputs by the scheduler, and this one scales none.
            kept = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
            return {key: config[key] for key in kept if key in config} | {
                "_class_name": "DPMSolverMultistepScheduler",
                "prediction_type": _NAMES["flow"],
                "use_flow_sigmas": True,
                "flow_shift": 1.0,
            }
        fitting = dict(config) | {"prediction_type": _NAMES[self.kind]}
        if "use_flow_sigmas" in fitting:
            fitting["use_flow_sigmas"] = False
        if self.from_zero:
            # Both belong together: sampling has to begin where nothing but noise is left.
            # Source: Lin et al. 2024, sections 3.1 and 3.3.
            fitting |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
            fitting["_class_name"] = _knows_zero(str(config.get("_class_name")))
        return fitting


def choose(config: RunConfig, kind: Kind, alpha_bar_T: Tensor) -> Schedule:
    """The schedule of a run on a base that predicts `kind` over levels `alpha_bar_T`.

    Raises ConfigError if the settings do not fit each other or the base.
    """
    chosen: Kind = kind if config.target == "base" else config.target
    based_on_zero = float(alpha_bar_T[-1]) == 0
    from_zero = config.zero_terminal or (based_on_zero and chosen != "flow")
    if from_zero and chosen != "v":
        raise ConfigError(
            f"Without any signal at the last level {chosen} can't be learned.",
            "Set target = v, or zero_terminal = false and another base.",
        )
    if config.min_snr and chosen == "flow":
        raise ConfigError("min_snr weighs epsilon and v alone.", "Set min_snr = 0.")
    same = chosen == kind or "flow" not in (chosen, kind)
    if not (same and from_zero == based_on_zero):
        _must_stand_alone(config)
    if not isinstance(config, PriorConfig) and chosen != kind:
        raise ConfigError(
            f"The frozen prior predicts {kind}; a restorer on it can't learn {chosen}.",
            "Set target = base, or train the prior anew.",
        )
    levels_T = zero_terminal(alpha_bar_T) if from_zero and not based_on_zero else alpha_bar_T
    return Schedule(chosen, levels_T, config.timesteps == "logit_normal", config.min_snr, from_zero)


def kind_of(prediction_type: str, folder: object) -> Kind:
    """What a scheduler's prediction_type is called here; InputError if it can't be trained."""
    for kind, name in _NAMES.items():
        if name == prediction_type:
            return kind
    raise InputError(
        f"{folder} predicts {prediction_type}; training knows {', '.join(_NAMES.values())}.",
        "Choose another base.",
    )


def zero_terminal(alpha_bar_T: Tensor) -> Tensor:
    """The levels stretched so that the last holds noise alone and the first stays as it is.

    Source: Lin et al. 2024 (WACV), algorithm 1.
    """
    root_T = alpha_bar_T.sqrt()
    stretched_T = (root_T - root_T[-1]) * root_T[0] / (root_T[0] - root_T[-1])
    return stretched_T.square()


def _must_stand_alone(config: RunConfig) -> None:
    """What the frozen base says at a timestep is of other latents than those of the new levels."""
    if isinstance(config, PriorConfig):
        if config.loss == "masked" and config.distill_weight:
            raise ConfigError(
                "The base has other noise levels than this run, so it can't guide it.",
                "Set distill_weight = 0 or loss = plain.",
            )
        return
    raise ConfigError(
        "The frozen prior has other noise levels than this run.",
        "Set target = base and zero_terminal = false, or train the prior anew.",
    )


def _knows_zero(name: str) -> str:
    """The scheduler of that name if it can start from noise alone, else one that can."""
    known = getattr(diffusers, name, None)
    if known is not None and "rescale_betas_zero_snr" in inspect.signature(known).parameters:
        return name
    return "EulerDiscreteScheduler"
