"""Samplers with few steps, where they start, and guidance that keeps its spread."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, StableDiffusionXLPipeline

from data_manifests.errors import ConfigError
from restore.latents import encode_faces
from restore.sampling import (
    drawn_noise,
    generators,
    make_sampler,
    noised_start,
    sampling_steps,
    signal_and_noise,
    start_factors,
)

SDXL = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
FLOW = SDXL | {"prediction_type": "flow_prediction"}
SAMPLERS = ["dpm++", "ddpm", "euler", "lcm"]
SEEDS = [11, 12, 13]


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_restores_in_any_number_of_steps(
    make_restorer, faces, sampler: str, steps: int
) -> None:
    start = "noise" if steps == 4 else "input"
    restorer = make_restorer(sampler=sampler, steps=steps, start=start, guidance=1.0)
    found = restorer.restore(faces[:1], seeds=[1])[0]
    assert found.shape == faces[0].shape
    assert found.std() > 1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_perfect_model_gives_the_picture_back(sampler: str, prediction: str, steps: int) -> None:
    """It tells what is noise and what picture in whatever it is given; LCM ends on its boundary."""
    trained = SDXL | {"prediction_type": prediction}
    if prediction == "flow_prediction" and sampler in {"ddpm", "lcm"}:
        with pytest.raises(ConfigError, match="flow"):
            make_sampler(sampler, trained)
        return
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for fidelity in (0.0, 0.4):
        solver = make_sampler(sampler, trained)
        times = sampling_steps(sampler, "trailing", steps, fidelity, trained)
        solver.set_timesteps(timesteps=times)
        x = noised_start(
            clean,
            start_factors(solver, times[0], from_noise=False),
            drawn_noise(clean.shape[1:], generators([5])),
        )
        x = x * solver.init_noise_sigma
        for t in solver.timesteps:
            seen = solver.scale_model_input(x, t)
            signal, level = signal_and_noise(solver, int(t))
            noise = (seen - signal * clean) / level
            told = {
                "epsilon": noise,
                "v_prediction": signal * noise - level * clean,
                "flow_prediction": noise - clean,
            }[prediction]
            x = solver.step(told, t, x, return_dict=False)[0]
        torch.testing.assert_close(x, clean, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_few_step_weights_see_the_very_steps_they_were_taught(steps: int) -> None:
    euler = EulerDiscreteScheduler.from_config(SDXL, timestep_spacing="trailing")
    euler.set_timesteps(steps)
    assert sampling_steps("euler", "trailing", steps, 0.0, SDXL) == euler.timesteps.tolist()
    lcm = LCMScheduler.from_config(SDXL)
    lcm.set_timesteps(steps)
    assert sampling_steps("lcm", "trailing", steps, 0.0, SDXL) == lcm.timesteps.tolist()


def test_leading_steps_are_those_of_sdxl_s_own_settings() -> None:
    euler = EulerDiscreteScheduler.from_config(SDXL, timestep_spacing="leading")
    for steps in (4, 50):
        euler.set_timesteps(steps)
        found = sampling_steps("ddpm", "leading", steps, 0.0, SDXL)
        assert found == euler.timesteps.tolist()
    assert sampling_steps("ddpm", "leading", 50, 0.0, SDXL)[0] == 981


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("fidelity", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_fidelity_is_the_share_of_the_schedule_left_out(
    sampler: str, spacing: str, fidelity: float
) -> None:
    for steps in (1, 4, 20, 1000):
        found = sampling_steps(sampler, spacing, steps, fidelity, SDXL)
        assert found == sorted(set(found), reverse=True)
        assert 1 <= len(found) <= steps
        top = max(19 if sampler == "lcm" else 1, round((1 - fidelity) * 1000))
        assert 0 <= found[-1] <= found[0] <= min(top, 999)
        if spacing == "trailing":
            assert found[0] >= top - 20


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_fidelity_means_closer_to_the_input_whatever_the_start(
    make_restorer, faces, sampler: str
) -> None:
    image = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() / 255
    restorer = make_restorer(sampler=sampler, start="noise")
    with torch.no_grad():
        target = encode_faces(restorer._pipe.vae, image)
    away = [
        float((restorer.sample(image, SEEDS, fidelity) - target).square().mean())
        for fidelity in (0.0, 0.5, 1.0)
    ]
    assert away == sorted(away, reverse=True)
    # With more fidelity than none there is no other start than the input.
    as_input = make_restorer(sampler=sampler, start="input")
    ours, theirs = (r.sample(image[:1], SEEDS[:1], 0.5) for r in (restorer, as_input))
    assert torch.equal(ours, theirs)
    ours, theirs = (r.sample(image[:1], SEEDS[:1], 0.0) for r in (restorer, as_input))
    assert not torch.equal(ours, theirs)


def test_a_start_from_noise_does_not_encode_what_nobody_asks_for(
    make_restorer, faces, monkeypatch
) -> None:
    image = torch.from_numpy(np.stack(faces[:1])).permute(0, 3, 1, 2).float() / 255
    restorer, encoded = make_restorer(start="noise"), []
    usual = restorer._pipe.vae.encode
    monkeypatch.setattr(
        restorer._pipe.vae, "encode", lambda *a, **k: encoded.append(1) or usual(*a, **k)
    )
    restorer.sample(image, SEEDS[:1], 0.0)
    assert not encoded
    restorer.sample(image, SEEDS[:1], 0.5)
    assert encoded


def test_noise_alone_knows_the_input_through_the_controlnet_only(make_restorer, faces) -> None:
    blind = make_restorer(start="noise", control=0.0)
    assert np.array_equal(*(blind.restore([f], seeds=[1])[0] for f in faces[:2]))
    seeing = make_restorer(start="noise")
    # The shared ControlNet's look at the picture still ends in zeros, as before any training.
    seeing._pipe.controlnet = copy.deepcopy(seeing._pipe.controlnet)
    with torch.no_grad():
        seeing._pipe.controlnet.controlnet_cond_embedding.conv_out.weight.fill_(0.5)
    assert not np.array_equal(*(seeing.restore([f], seeds=[1])[0] for f in faces[:2]))


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_rescaled_guidance_is_that_of_diffusers(make_restorer, faces, share: float) -> None:
    """Without a say of the ControlNet, both pipelines make the same latents."""
    settings = {"start": "noise", "control": 0.0, "guidance": 6.0, "steps": 4, "sampler": "euler"}
    restorer = make_restorer(**settings, guidance_rescale=share)
    image = torch.from_numpy(faces[0])[None].permute(0, 3, 1, 2).float() / 255
    ours = restorer.sample(image, SEEDS[:1], 0.0)
    parts = dict(restorer._pipe.components)
    del parts["controlnet"]
    stock = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = make_sampler("euler", dict(stock.scheduler.config))
    theirs = stock(
        **restorer._words,
        height=image.shape[2],
        width=image.shape[3],
        timesteps=sampling_steps("euler", "trailing", 4, 0.0, SDXL),
        latents=torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEEDS[0])),
        guidance_scale=6.0,
        guidance_rescale=share,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    plain = make_restorer(**settings).sample(image, SEEDS[:1], 0.0)
    assert not torch.allclose(ours, plain, atol=1e-2)
    assert not restorer._pipe.unet._forward_hooks
