"""Targets, levels and weights against the same written out in NumPy, and against diffusers."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from torch import Tensor

from data_manifests.errors import ConfigError, InputError
from training import schedules, targets
from training.config import PriorConfig, RestorerConfig, RunConfig
from training.schedules import Schedule, choose
from training.targets import Kind, Level

SDXL: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
KINDS: tuple[Kind, ...] = get_args(Kind)
STEPS = torch.tensor([0, 17, 500, 999])


def draw(seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(4, 4, 6, 6, generator=rng, dtype=torch.float64)


CLEAN, NOISE, WRONG = (draw(seed) for seed in range(3))
ALPHA_BAR = DDPMScheduler(**SDXL).alphas_cumprod.double()


def level(kind: Kind) -> Level:
    if kind == "flow":
        return targets.flow_level(torch.tensor([0.001, 0.3, 0.5, 0.98], dtype=torch.float64))
    return targets.diffusion_level(ALPHA_BAR[STEPS])


def test_noised_and_v_are_diffusers_own() -> None:
    """Of DDPMScheduler.add_noise and get_velocity, which every script for SDXL trains by."""
    theirs = DDPMScheduler(**SDXL)
    theirs.alphas_cumprod = theirs.alphas_cumprod.double()
    ours = level("v")
    torch.testing.assert_close(
        targets.noised(CLEAN, NOISE, ours), theirs.add_noise(CLEAN, NOISE, STEPS)
    )
    torch.testing.assert_close(
        targets.target("v", CLEAN, NOISE, ours), theirs.get_velocity(CLEAN, NOISE, STEPS)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_as_written_out_in_numpy(kind: Kind) -> None:
    at = level(kind)
    noisy, wanted = targets.noised(CLEAN, NOISE, at), targets.target(kind, CLEAN, NOISE, at)
    for i in range(4):
        x0, eps = CLEAN[i].numpy(), NOISE[i].numpy()
        if kind == "flow":
            a, b = 1 - at.noise_B[i].item(), at.noise_B[i].item()
        else:
            a, b = np.sqrt(ALPHA_BAR[STEPS[i]].item()), np.sqrt(1 - ALPHA_BAR[STEPS[i]].item())
        np.testing.assert_allclose(noisy[i], a * x0 + b * eps)
        expected = {"epsilon": eps, "v": a * eps - b * x0, "flow": eps - x0}[kind]
        np.testing.assert_allclose(wanted[i], expected)
        np.testing.assert_allclose(at.alpha_bar_B[i], a**2 / (a**2 + b**2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_true_prediction_gives_back_clean_latents_and_noise(kind: Kind) -> None:
    at = level(kind)
    given = targets.target(kind, CLEAN, NOISE, at), targets.noised(CLEAN, NOISE, at), at
    torch.testing.assert_close(targets.clean_from(kind, *given), CLEAN)
    torch.testing.assert_close(targets.noise_from(kind, *given), NOISE)


@pytest.mark.parametrize("kind", KINDS)
def test_clean_and_noise_of_any_prediction_make_the_noised_latents_again(kind: Kind) -> None:
    at, noisy = level(kind), targets.noised(CLEAN, NOISE, level(kind))
    clean = targets.clean_from(kind, WRONG, noisy, at)
    noise = targets.noise_from(kind, WRONG, noisy, at)
    torch.testing.assert_close(targets.noised(clean, noise, at), noisy)
    torch.testing.assert_close(targets.target(kind, clean, noise, at), WRONG)


def test_min_snr_by_the_paper_s_own_divisors() -> None:
    """Weighed, epsilon's and v's errors of one prediction are the same error of clean latents."""
    at = level("v")
    snr = (ALPHA_BAR[STEPS] / (1 - ALPHA_BAR[STEPS])).numpy()
    for kind, divisor in (("epsilon", snr), ("v", snr + 1)):
        weight = targets.min_snr_weight(kind, at, 5.0)  # type: ignore[arg-type]
        np.testing.assert_allclose(weight, np.minimum(snr, 5.0) / divisor)
    nothing_left = targets.diffusion_level(torch.zeros(1))
    assert targets.min_snr_weight("v", nothing_left, 5.0).item() == 0
    with pytest.raises(ValueError, match="epsilon and v"):
        targets.min_snr_weight("flow", level("flow"), 5.0)


def test_min_snr_makes_one_loss_of_two_targets() -> None:
    at, noisy = level("v"), targets.noised(CLEAN, NOISE, level("v"))
    clean = targets.clean_from("v", WRONG, noisy, at)
    noise = targets.noise_from("v", WRONG, noisy, at)
    by_v = (WRONG - targets.target("v", CLEAN, NOISE, at)).square().mean(dim=(1, 2, 3))
    by_noise = (noise - NOISE).square().mean(dim=(1, 2, 3))
    of_clean = (clean - CLEAN).square().mean(dim=(1, 2, 3))
    snr = ALPHA_BAR[STEPS] / (1 - ALPHA_BAR[STEPS])
    torch.testing.assert_close(
        by_v * targets.min_snr_weight("v", at, 5.0), of_clean * snr.clamp(max=5)
    )
    torch.testing.assert_close(
        by_noise * targets.min_snr_weight("epsilon", at, 5.0), of_clean * snr.clamp(max=5)
    )


def test_the_logit_normal_weight_is_a_density_that_peaks_in_the_middle() -> None:
    time = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    weight = targets.logit_normal(time)
    assert weight.mean().item() == pytest.approx(1, abs=1e-4)
    assert abs(time[weight.argmax()].item() - 0.5) < 1e-3
    t = 0.2
    logit = np.log(t / (1 - t))
    expected = np.exp(-((logit - 0.3) ** 2) / (2 * 0.8**2)) / (
        0.8 * np.sqrt(2 * np.pi) * t * (1 - t)
    )
    got = targets.logit_normal(torch.tensor([t], dtype=torch.float64), 0.3, 0.8)
    assert got.item() == pytest.approx(expected)


def test_zero_terminal_levels_are_those_of_the_paper_s_algorithm() -> None:
    """As diffusers computes them by way of betas, and as DDPMScheduler trains by."""
    ours = schedules.zero_terminal(ALPHA_BAR)
    betas = DDPMScheduler(**SDXL).betas.double()
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
    assert ours[-1].item() == 0
    assert ours[0].item() == pytest.approx(ALPHA_BAR[0].item())
    assert (ours.diff() < 0).all()


@pytest.mark.parametrize("how", ["uniform", "logit_normal"])
def test_flow_levels_are_drawn_as_the_setting_says(how: str) -> None:
    schedule = Schedule("flow", ALPHA_BAR, logit_normal=how == "logit_normal")
    rng = torch.Generator().manual_seed(0)
    sigma = torch.cat([schedule.draw(rng) for _ in range(4000)]) / 1000
    assert ((sigma >= 0) & (sigma < 1)).all()
    inner = ((sigma > 0.25) & (sigma < 0.75)).float().mean().item()
    # The share of a standard normal within logit(0.75) = ln 3 of its mean is 0.728.
    assert inner == pytest.approx(0.5 if how == "uniform" else 0.728, abs=0.03)
    at = schedule.level(1000 * sigma)
    torch.testing.assert_close(at.noise_B, sigma)
    error = torch.ones(4000)
    assert schedule.weighed(error, 1000 * sigma, at) is error


def test_weights_of_a_level_multiply() -> None:
    schedule = Schedule("epsilon", ALPHA_BAR, logit_normal=True, min_snr=5.0)
    at = schedule.level(STEPS)
    error = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    expected = (
        error
        * targets.min_snr_weight("epsilon", at, 5.0)
        * targets.logit_normal((STEPS + 0.5) / 1000)
    )
    torch.testing.assert_close(schedule.weighed(error, STEPS, at), expected)
    plain = Schedule("epsilon", ALPHA_BAR)
    assert plain.weighed(error, STEPS, at) is error


ZERO = schedules.zero_terminal(ALPHA_BAR)
ALONE = {"loss": "plain"}


@pytest.mark.parametrize(
    ("config", "kind", "levels", "said"),
    [
        (PriorConfig(zero_terminal=True), "epsilon", ALPHA_BAR, "epsilon can't be learned"),
        (PriorConfig(target="epsilon", loss="plain"), "v", ZERO, "epsilon can't be learned"),
        (PriorConfig(min_snr=5.0), "flow", ALPHA_BAR, "epsilon and v alone"),
        (PriorConfig(target="v", zero_terminal=True), "v", ALPHA_BAR, "can't guide"),
        (PriorConfig(target="flow"), "epsilon", ALPHA_BAR, "can't guide"),
        (RestorerConfig(target="v"), "epsilon", ALPHA_BAR, "frozen prior predicts epsilon"),
        (RestorerConfig(zero_terminal=True), "v", ALPHA_BAR, "other noise levels"),
        (RestorerConfig(target="flow"), "v", ALPHA_BAR, "other noise levels"),
    ],
)
def test_what_does_not_fit_is_refused(
    config: RunConfig, kind: Kind, levels: Tensor, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        choose(config, kind, levels)


def test_what_never_fits_is_refused_before_a_base_is_loaded() -> None:
    for refused in ({"target": "flow", "zero_terminal": True}, {"target": "flow", "min_snr": 5}):
        with pytest.raises(ValueError, match="not with target = flow"):
            PriorConfig.model_validate(refused)
    with pytest.raises(InputError, match="predicts sample"):
        schedules.kind_of("sample", "there")


def test_a_run_takes_over_what_its_base_does() -> None:
    by_default = choose(PriorConfig(), "epsilon", ALPHA_BAR)
    assert (by_default.kind, by_default.from_zero) == ("epsilon", False)
    assert by_default.alpha_bar_T is ALPHA_BAR
    on_zero = choose(RestorerConfig(), "v", ZERO)
    assert on_zero.from_zero
    assert on_zero.alpha_bar_T is ZERO
    assert choose(RestorerConfig(), "flow", ALPHA_BAR).kind == "flow"
    assert choose(PriorConfig(target="v"), "epsilon", ALPHA_BAR).kind == "v"
    stretched = choose(PriorConfig(target="v", zero_terminal=True, loss="plain"), "v", ALPHA_BAR)
    torch.testing.assert_close(stretched.alpha_bar_T, ZERO)


def test_the_sampler_s_config_says_what_was_trained() -> None:
    euler = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **SDXL}
    assert Schedule("epsilon", ALPHA_BAR).sampler(euler | {"prediction_type": "epsilon"}) == (
        euler | {"prediction_type": "epsilon"}
    )
    v = Schedule("v", ZERO, from_zero=True).sampler(euler)
    assert (v["prediction_type"], v["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert (v["_class_name"], v["timestep_spacing"]) == ("EulerDiscreteScheduler", "trailing")
    pndm = Schedule("v", ZERO, from_zero=True).sampler(euler | {"_class_name": "PNDMScheduler"})
    assert pndm["_class_name"] == "EulerDiscreteScheduler"
    flow = Schedule("flow", ALPHA_BAR).sampler(euler)
    assert flow["use_flow_sigmas"] is True
    back = Schedule("epsilon", ALPHA_BAR).sampler(flow)
    assert (back["prediction_type"], back["use_flow_sigmas"]) == ("epsilon", False)
