"""Where sampling starts and which seed each face gets."""

from __future__ import annotations

import pytest
import torch

from data_manifests.errors import ConfigError
from restore.sampling import (
    drawn_noise,
    face_seed,
    generators,
    make_sampler,
    noised_start,
    signal_and_noise,
    timesteps,
)

SDXL = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}


def test_no_fidelity_starts_at_the_very_top_and_full_fidelity_at_the_bottom() -> None:
    assert timesteps(4, 0.0, 1000) == [999, 749, 500, 250]
    assert timesteps(4, 1.0, 1000) == [0]


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999, 1000])
@pytest.mark.parametrize("fidelity", [0.0, 0.001, 0.37, 0.9, 0.999, 1.0])
def test_time_steps_descend_and_stay_inside_the_schedule(steps: int, fidelity: float) -> None:
    found = timesteps(steps, fidelity, 1000)
    assert found == sorted(set(found), reverse=True)
    assert 1 <= len(found) <= steps
    assert found[-1] >= 0
    assert found[0] <= 999


def test_both_samplers_take_the_steps_and_the_model_s_noise() -> None:
    for name in ("ddpm", "dpm++"):
        sampler = make_sampler(name, SDXL)
        sampler.set_timesteps(timesteps=timesteps(5, 0.3, 1000))
        assert sampler.timesteps.tolist() == timesteps(5, 0.3, 1000)
        assert abs(float(sampler.alphas_cumprod[-1]) - 0.0047) < 1e-4


def test_a_face_s_seed_depends_on_seed_photo_and_index_alone() -> None:
    seeds = {face_seed(s, p, i) for s in (0, 1) for p in ("aa", "ab") for i in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= s < 2**63 for s in seeds)
    assert face_seed(0, "aa", 0) == 7589285305805378428


def test_the_start_holds_as_much_input_as_the_step_says() -> None:
    latent = torch.full((2, 4, 32, 32), 3.0)
    start = noised_start(latent, (0.8, 0.6), drawn_noise(latent.shape[1:], generators([1, 2])))
    assert abs(float(start.mean()) - 3 * 0.8) < 0.05
    assert abs(float(start.std()) - 0.6) < 0.05
    alone = noised_start(latent[:1], (0.8, 0.6), drawn_noise(latent[:1].shape[1:], generators([2])))
    assert torch.equal(start[1:], alone)


def test_a_solver_of_flow_finds_the_picture_that_a_perfect_model_tells() -> None:
    """The model says noise - clean of x = (1 - sigma) clean + sigma noise, whatever it is given."""
    sampler = make_sampler("dpm++", SDXL | {"prediction_type": "flow_prediction"})
    for fidelity in (0.0, 0.4, 1.0):
        times = timesteps(6, fidelity, 1000)
        sampler = make_sampler("dpm++", SDXL | {"prediction_type": "flow_prediction"})
        sampler.set_timesteps(timesteps=times)
        assert sampler.timesteps.tolist() == times
        clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        factors = signal_and_noise(sampler, times[0])
        assert sum(factors) == pytest.approx(1)
        x = noised_start(clean, factors, drawn_noise(clean.shape[1:], generators([5])))
        noise = noised_start(clean, (0.0, 1.0), drawn_noise(clean.shape[1:], generators([5])))
        for t in sampler.timesteps:
            x = sampler.step(noise - clean, t, x).prev_sample
        torch.testing.assert_close(x, clean, atol=1e-4, rtol=1e-4)


def test_ddpm_can_not_sample_flow() -> None:
    with pytest.raises(ConfigError, match="flow"):
        make_sampler("ddpm", SDXL | {"prediction_type": "flow_prediction"})


def test_a_model_that_ends_in_noise_alone_starts_from_it() -> None:
    zero = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    for name in ("ddpm", "dpm++"):
        signal, noise = signal_and_noise(make_sampler(name, SDXL | zero), 999)
        assert signal < 1e-3
        assert noise == pytest.approx(1)
