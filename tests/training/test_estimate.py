from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from authface.presets import with_file
from data_manifests.errors import InputError
from training.config import PriorConfig, RestorerConfig
from training.estimate import TINY, estimate, read_sizes
from training.tiny import UNET

GIB = 2**30
ALL = {"batch": 8, "at_once": 8}


@pytest.mark.parametrize(
    ("size", "restorer_tflop", "prior_tflop"), [(512, 4.63, 4.74), (1024, 20.4, 20.6)]
)
def test_sdxl_is_counted_as_it_was_by_hand(
    size: int, restorer_tflop: float, prior_tflop: float
) -> None:
    """Forward and backward, the frozen U-Net's backward pass only where gradients flow."""
    restorer = estimate(RestorerConfig(size=size, **ALL))
    assert restorer.flops / 1e12 == pytest.approx(restorer_tflop, rel=0.01)
    assert (restorer.trained / 1e6, restorer.frozen / 1e6) == pytest.approx((1251.0, 2567.5), 1e-4)
    prior = estimate(PriorConfig(loss="plain", size=size, **ALL))
    assert prior.flops / 1e12 == pytest.approx(prior_tflop, rel=0.01)


def test_checkpointing_is_less_memory_and_more_work() -> None:
    plain = estimate(PriorConfig(loss="plain", size=128, **ALL), TINY)
    saved = estimate(PriorConfig(loss="plain", size=128, gradient_checkpointing=True, **ALL), TINY)
    assert saved.activation_bytes < plain.activation_bytes / 2
    assert saved.flops > 1.1 * plain.flops


def test_the_teacher_adds_three_forward_passes() -> None:
    plain = estimate(PriorConfig(loss="plain", size=128, **ALL), TINY)
    guided = estimate(PriorConfig(size=128, **ALL), TINY)
    assert guided.frozen == guided.trained == plain.trained
    # A forward pass is a third of forward and backward, so three of them double the work.
    assert guided.flops == pytest.approx(2 * plain.flops, rel=0.02)


def test_what_is_held_is_what_autograd_holds() -> None:
    """Counted on the meta device, and once more on real tensors in the same precision."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET)
    torch.nn.Module.to(unet, torch.bfloat16)
    own = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    half = {"dtype": torch.bfloat16}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        kept = unet(
            torch.randn(1, 4, 16, 16, **half),
            torch.zeros(1, dtype=torch.long),
            encoder_hidden_states=torch.randn(1, 77, 64, **half),
            added_cond_kwargs={
                "text_embeds": torch.randn(1, 32, **half),
                "time_ids": torch.ones(1, 6, **half),
            },
        ).sample
    held = sum(t.untyped_storage().nbytes() for k, t in seen.items() if k not in own)
    assert kept.requires_grad
    counted = estimate(PriorConfig(loss="plain", size=128, **ALL), TINY)
    assert counted.activation_bytes == pytest.approx(held, rel=0.1)


def test_gradients_that_wait_for_a_second_pass_are_in_the_peak() -> None:
    at_once = estimate(PriorConfig(loss="plain", size=128, batch=2, at_once=2), TINY)
    in_turns = estimate(PriorConfig(loss="plain", size=128, batch=4, at_once=2), TINY)
    assert in_turns.peak_bytes > at_once.peak_bytes


def test_an_average_is_in_the_peak() -> None:
    plain, averaged = (
        estimate(PriorConfig(loss="plain", size=128, ema=ema, **ALL), TINY) for ema in (0.0, 0.999)
    )
    assert averaged.peak_bytes - plain.peak_bytes == 4 * plain.trained


def test_hours_are_work_over_speed() -> None:
    counted = estimate(PriorConfig(loss="plain", size=128, **ALL), TINY)
    hours = counted.hours(1000, tflops=100, mfu=0.5)
    assert hours == pytest.approx(1000 * counted.flops / 50e12 / 3600)
    assert counted.hours(1000, tflops=100, mfu=0.5, encode=True) > hours


@pytest.mark.parametrize(
    ("config", "measured_gib"),
    [
        (RestorerConfig(size=512, batch=32, at_once=32), 62.7),
        (RestorerConfig(size=512, batch=64, at_once=64), 104.0),
        (RestorerConfig(size=1024, batch=8, at_once=8), 61.9),
        (RestorerConfig(size=1024, batch=16, at_once=16), 102.4),
        (PriorConfig(loss="plain", size=1024, batch=6, at_once=6), 67.5),
    ],
)
def test_the_peak_is_near_the_one_measured_on_a_gpu(
    config: PriorConfig | RestorerConfig, measured_gib: float
) -> None:
    """Peaks of `benchmarks/step.py` on an H200 with compiled blocks (docs/benchmarks.md)."""
    assert estimate(config).peak_bytes / GIB == pytest.approx(measured_gib, rel=0.05)


def test_moments_in_8_bits_take_a_quarter() -> None:
    plain, small = (
        estimate(PriorConfig(loss="plain", size=128, optimizer=kind, **ALL), TINY)
        for kind in ("adamw", "adamw8bit")
    )
    assert small.optimizer_bytes / plain.optimizer_bytes == pytest.approx(0.25, rel=0.02)
    assert plain.peak_bytes - small.peak_bytes == plain.optimizer_bytes - small.optimizer_bytes


def test_without_compiling_more_is_kept() -> None:
    compiled, eager = (
        estimate(PriorConfig(loss="plain", size=128, compile=how, **ALL), TINY)
        for how in ("auto", "off")
    )
    assert eager.peak_bytes > compiled.peak_bytes


def test_a_lora_trains_little_and_is_its_own_teacher() -> None:
    """Its base's weights stay in float32, and their gradients are never taken."""
    whole = estimate(PriorConfig(size=128, **ALL), TINY)
    lora = estimate(PriorConfig(size=128, lora_rank=4, **ALL), TINY)
    assert lora.frozen == whole.trained
    assert lora.trained < whole.trained / 10
    assert lora.weight_bytes == 4 * (lora.trained + lora.frozen)
    assert lora.optimizer_bytes == 8 * lora.trained
    plain = estimate(PriorConfig(size=128, lora_rank=4, loss="plain", **ALL), TINY)
    # Forward and the activations' gradients: two thirds of the whole; the teacher: three forwards.
    assert plain.flops == pytest.approx(whole.flops / 2 * 2 / 3, rel=0.1)
    assert lora.flops - plain.flops == pytest.approx(whole.flops / 2, rel=0.1)


@pytest.mark.parametrize("name", ["prior-sdxl-24gb", "restorer-sdxl-24gb"])
def test_the_small_presets_fit_24_gb(name: str) -> None:
    """With room to spare for what the allocator loses."""
    section = PriorConfig() if name.startswith("prior") else RestorerConfig()
    counted = estimate(with_file(section, name))
    assert (counted.peak_bytes + counted.encoder_bytes) / GIB < 21


def test_the_encoders_are_counted_apart(tiny_base: Path) -> None:
    """SDXL's: 83.7 million weights of the VAE, 817.7 of both text encoders."""
    vae, text = 83.65e6, 817.72e6
    assert estimate(PriorConfig(size=512, **ALL)).encoder_bytes == pytest.approx(
        4 * (vae + text), rel=1e-3
    )
    small = RestorerConfig(size=512, vae_precision="bf16", **ALL)
    assert estimate(small).encoder_bytes == pytest.approx(2 * vae, rel=1e-3)
    lying = sum(
        t.nbytes
        for name in ("vae", "text_encoder", "text_encoder_2")
        for path in (tiny_base / name).glob("*.safetensors")
        for t in load_file(path).values()
    )
    assert estimate(PriorConfig(size=128, **ALL), read_sizes(tiny_base)).encoder_bytes == lying


def test_a_condition_of_latents_is_encoded_at_each_step() -> None:
    """Whatever is cached: the picture is degraded anew each time."""
    pixels, latents = (
        estimate(RestorerConfig(size=128, condition=kind, **ALL), TINY)
        for kind in ("rgb", "latent")
    )
    assert (pixels.condition_flops, latents.condition_flops) == (0, pixels.encode_flops)
    assert latents.flops < pixels.flops  # no strided convolutions
    hours = {"tflops": 1.0, "mfu": 1.0}
    each = latents.flops + latents.encode_flops
    assert latents.hours(100, **hours) == pytest.approx(100 * each / 1e12 / 3600)


# Several devices


def test_devices_that_share_a_batch_hold_all_weights_and_fewer_samples() -> None:
    one, four = (
        estimate(PriorConfig(loss="plain", size=128, batch=8, at_once=8), TINY, devices=count)
        for count in (1, 4)
    )
    assert (four.weight_bytes, four.optimizer_bytes) == (one.weight_bytes, one.optimizer_bytes)
    assert one.peak_bytes - four.peak_bytes > 4 * one.activation_bytes * 0.8
    assert four.hours(100, tflops=1, mfu=1) == one.hours(100, tflops=1, mfu=1) / 4


def test_sharded_weights_gradients_and_moments_are_spread_over_the_devices() -> None:
    settings = {"loss": "plain", "size": 128, "batch": 8, "at_once": 1, "ema": 0.9}
    held, spread = (
        estimate(PriorConfig(parallel=kind, **settings), TINY, devices=4)
        for kind in ("ddp", "fsdp")
    )
    for what in ("weight_bytes", "optimizer_bytes", "gradient_bytes"):
        assert getattr(spread, what) == pytest.approx(getattr(held, what) / 4, abs=1)
    assert spread.peak_bytes < held.peak_bytes
    assert estimate(PriorConfig(parallel="fsdp", **settings), TINY) == estimate(
        PriorConfig(parallel="ddp", **settings), TINY
    )


def test_a_frozen_teacher_is_not_spread() -> None:
    settings = {"parallel": "fsdp", "size": 128, "batch": 4, "at_once": 1}
    plain, guided = (
        estimate(PriorConfig(loss=kind, **settings), TINY, devices=4)
        for kind in ("plain", "masked")
    )
    assert guided.weight_bytes - plain.weight_bytes == 2 * guided.trained


def test_a_batch_that_can_not_be_dealt_evenly_is_refused_as_the_run_would() -> None:
    config = PriorConfig(parallel="fsdp", size=128, batch=5, at_once=1)
    with pytest.raises(InputError, match="can't be dealt evenly to 2 processes"):
        estimate(config, TINY, devices=2)


def test_the_full_fine_tune_of_sdxl_fits_less_memory_sharded() -> None:
    settings = {"size": 1024, "batch": 96, "at_once": 4}
    held, spread = (
        estimate(PriorConfig(parallel=kind, **settings), devices=8) for kind in ("ddp", "fsdp")
    )
    # 16 bytes of each of 2.57 billion weights are an eighth; what is put together comes back.
    assert 10 < (held.peak_bytes - spread.peak_bytes) / GIB < 35
