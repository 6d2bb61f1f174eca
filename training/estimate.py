"""What a run will need, counted and not guessed: weights, work, memory, hours."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training import sdxl, tiny
from training.config import PriorConfig, RestorerConfig
from training.meta_pass import MetaPass, count_encoders, count_encoding, on_meta
from training.sharding import require_even, units
from training.world import World, dealt

__all__ = ["TINY", "Estimate", "Sizes", "estimate", "read_sizes"]

_MASTER = 4  # bytes of a float32 weight, or of its gradient
_HALF = 2
_MOMENTS = 8  # AdamW's two
_MOMENTS_8BIT = 2 * (1 + 4 / 256)  # a byte each, and a float32 scale for 256 of them
# What compiled blocks keep for the backward pass, of what eager ones do: from the growth of the
# measured peak with the number of samples, at 512 and 1024 px (docs/benchmarks.md, H200).
_COMPILED = 0.86


@dataclass(frozen=True, slots=True)
class Sizes:
    """The models' configs, as diffusers and transformers write them."""

    unet: dict[str, Any] = field(default_factory=lambda: sdxl.UNET)
    vae: dict[str, Any] = field(default_factory=lambda: sdxl.VAE)
    text: tuple[dict[str, Any], dict[str, Any]] = sdxl.TEXT


TINY = Sizes(tiny.UNET, tiny.VAE, (tiny.TEXT, tiny.TEXT))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run needs, in bfloat16 with float32 masters; bytes, and operations as 2 per product.

    Bytes are those on one device. The facial discriminators are left out: under 1 percent of
    everything.
    """

    devices: int
    trained: int  # parameters
    frozen: int
    flops: int  # per sample: forward and backward, latents and words known
    encode_flops: int  # per sample, to encode a crop
    condition_flops: int  # per sample, to encode a condition of latents: degraded anew each time
    weight_bytes: int  # their average with them, where one is kept
    optimizer_bytes: int
    gradient_bytes: int
    activation_bytes: int  # per sample on the device at once
    peak_bytes: int  # of all these; the encoders come on top
    encoder_bytes: int  # the VAE's weights and, where they stay, both text encoders'

    def hours(self, samples: int, *, tflops: float, mfu: float, encode: bool = False) -> float:
        """Hours for a number of samples on devices of so many dense bf16 TFLOP/s, used so well."""
        each = self.flops + self.condition_flops + (self.encode_flops if encode else 0)
        return samples * each / (self.devices * tflops * 1e12 * mfu) / 3600


def read_sizes(folder: Path) -> Sizes:
    """The sizes of a diffusers folder's models."""

    def read(name: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((folder / name / "config.json").read_text())
        return {k: v for k, v in config.items() if not k.startswith("_")}

    return Sizes(read("unet"), read("vae"), (read("text_encoder"), read("text_encoder_2")))


def estimate(
    config: PriorConfig | RestorerConfig, sizes: Sizes | None = None, *, devices: int = 1
) -> Estimate:
    """Count a resolved config's run on so many devices; without sizes, on SDXL.

    Takes a few seconds and no GPU. InputError if the batch can't be dealt out as `parallel` needs.
    """
    sizes = sizes or Sizes()
    if config.size is None or config.batch is None:
        raise ValueError("resolve() the config first")
    with on_meta():
        run = MetaPass(config, sizes.unet)
        flops, held, steps = run.count()
        encode_flops = count_encoding(sizes.vae, config.size)
        vae, text = count_encoders(sizes.vae, sizes.text)
    trained, frozen = run.numbers
    memory = _Memory(config, run, devices)
    # Stage 2 speaks a few fixed prompts: it encodes them at the start and lets the encoders go.
    speaking = text if isinstance(config, PriorConfig) else 0
    drawing = _HALF if config.vae_precision == "bf16" else _MASTER
    return Estimate(
        devices=devices,
        trained=trained,
        frozen=frozen,
        flops=flops,
        encode_flops=encode_flops,
        condition_flops=encode_flops if run.shows_latents else 0,
        weight_bytes=memory.weights,
        optimizer_bytes=memory.optimizer,
        gradient_bytes=memory.gradients,
        activation_bytes=held,
        peak_bytes=memory.peak(held, steps),
        encoder_bytes=drawing * vae + _MASTER * speaking,
    )


class _Memory:
    """Bytes on one device of several that train together."""

    def __init__(self, config: PriorConfig | RestorerConfig, run: MetaPass, devices: int) -> None:
        self.config, self.run = config, run
        sharded = isinstance(config, PriorConfig) and config.parallel == "fsdp" and devices > 1
        batch = config.batch or 1
        if sharded:
            require_even(batch, config.at_once, devices)
        parts = dealt(batch, config.at_once, World(0, devices))
        self.at_once, self.passes = len(parts[0]), len(parts)
        self.trained, self.frozen = run.numbers
        self.share = self.trained / (devices if sharded else 1)
        self.together = _put_together(run.unet) if sharded else 0

    @property
    def weights(self) -> int:
        """Of all models, and of the average."""
        # Under a LoRA the U-Net itself stays in float32 too.
        frozen = (_MASTER if self.run.adapted else _HALF) * self.frozen
        return frozen + round((2 if self.config.ema else 1) * _MASTER * self.share)

    @property
    def optimizer(self) -> int:
        """The moments."""
        each = _MOMENTS_8BIT if self.config.optimizer == "adamw8bit" else _MOMENTS
        return round(each * self.share)

    @property
    def gradients(self) -> int:
        """After the backward pass."""
        return round(_MASTER * self.share)

    def peak(self, held: int, steps: list[tuple[int, int]]) -> int:
        """The most there is at once; `held` and `steps` are of one sample, as MetaPass counts."""
        config = self.config
        # Where gradients are summed over several passes they are there from the second pass on.
        waiting = self.gradients if self.passes > 1 else 0
        growing = 0.0 if waiting else _MASTER * self.share / self.trained
        kept = 1.0 if config.compile == "off" or config.gradient_checkpointing else _COMPILED
        moving = _most(steps, held, self.at_once * kept, growing)
        # Autocast's, of every float32 weight, kept for the backward pass: sharded weights, too, are
        # kept whole in this form.
        copies = _HALF * (self.trained + (self.frozen if self.run.adapted else 0))
        still = self.weights + self.optimizer + waiting + copies + self.together
        return round(still + moving)


def _put_together(unet: Any) -> int:
    """Bytes of sharded weights and gradients that are whole at once, in the backward pass.

    Whole are a unit and the next, which is fetched ahead, and what lies in no unit; of one unit the
    gradients, and what is sent of them. Source: PyTorch's documentation of fully_shard.
    """
    sizes = sorted(
        (sum(p.numel() for p in unit.parameters()) for unit in units(unet)), reverse=True
    )
    loose: int = sum(p.numel() for p in unet.parameters()) - sum(sizes)
    return _MASTER * (loose + sum(sizes[:2]) + 2 * max(sizes, default=0))


def _most(steps: list[tuple[int, int]], held: int, at_once: float, growing: float) -> float:
    """The most bytes of activations and gradients there are at any moment of the backward pass.

    `growing` is by how many bytes of gradients a parameter adds.
    """
    now = most = held * at_once
    for released, parameters in steps:
        now += growing * parameters - released * at_once
        most = max(most, now)
    return most
