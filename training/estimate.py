"""What a run will need, counted and not guessed: weights, work, memory, hours.

The models are built on the meta device, where tensors have shapes and no numbers. One forward and
backward pass there runs through every operation of the real one: its products are counted, and so
are the tensors that the backward pass needs and the moment it lets go of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from training import sdxl
from training.condition import make_controlnet
from training.config import PriorConfig, RestorerConfig
from training.data import VAE_FACTOR
from training.stages import open_unet

__all__ = ["Estimate", "Sizes", "estimate", "read_sizes"]

_MASTER = 4  # bytes of a float32 weight, or of its gradient
_HALF = 2
_MOMENTS = 8  # AdamW's two
_MOMENTS_8BIT = 2 * (1 + 4 / 256)  # a byte each, and a float32 scale for 256 of them
# What compiled blocks keep for the backward pass, of what eager ones do: from the growth of the
# measured peak with the number of samples, at 512 and 1024 px (docs/benchmarks.md, H200).
_COMPILED = 0.86


@dataclass(frozen=True, slots=True)
class Sizes:
    """The models' configs, as diffusers writes them."""

    unet: dict[str, Any] = field(default_factory=lambda: sdxl.UNET)
    vae: dict[str, Any] = field(default_factory=lambda: sdxl.VAE)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run needs, in bfloat16 with float32 masters; bytes, and operations as 2 per product.

    The facial discriminators are left out: under 1 percent of everything.
    """

    trained: int  # parameters
    frozen: int
    flops: int  # per sample: forward and backward, latents and words known
    encode_flops: int  # per sample, to encode a crop
    weight_bytes: int  # their average with them, where one is kept
    optimizer_bytes: int
    gradient_bytes: int
    activation_bytes: int  # per sample on the device at once
    peak_bytes: int

    def hours(self, samples: int, *, tflops: float, mfu: float, encode: bool = False) -> float:
        """Hours for a number of samples on a device of so many dense bf16 TFLOP/s, used so well."""
        each = self.flops + (self.encode_flops if encode else 0)
        return samples * each / (tflops * 1e12 * mfu) / 3600


def read_sizes(folder: Path) -> Sizes:
    """The sizes of a diffusers folder's models."""

    def read(name: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((folder / name / "config.json").read_text())
        return {k: v for k, v in config.items() if not k.startswith("_")}

    return Sizes(read("unet"), read("vae"))


def estimate(config: PriorConfig | RestorerConfig, sizes: Sizes | None = None) -> Estimate:
    """Count a resolved config's run; without sizes, on SDXL. Takes a few seconds and no GPU."""
    sizes = sizes or Sizes()
    if config.size is None or config.batch is None:
        raise ValueError("resolve() the config first")
    with torch.device("meta"), _flash():
        run = _Pass(config, sizes)
        flops, held, released = run.count()
        encode_flops = _count_encoding(sizes, config.size)
    trained = _number(run.trained, True)
    frozen = _number(run.frozen, False) - (trained if run.adapted else 0)
    at_once = min(config.at_once, config.batch)
    # Under a LoRA the U-Net itself stays in float32 too.
    weight_bytes = _MASTER * trained + (_MASTER if run.adapted else _HALF) * frozen
    weight_bytes += _MASTER * trained if config.ema else 0
    # Where gradients are summed over several passes they are there from the second pass on.
    waiting = _MASTER * trained if config.batch > at_once else 0
    kept = 1.0 if config.compile == "off" or config.gradient_checkpointing else _COMPILED
    moving = _peak(released, held, at_once * kept, growing=not waiting)
    # Autocast's, of every float32 weight, kept for the backward pass.
    copies = _HALF * (trained + (frozen if run.adapted else 0))
    each = _MOMENTS_8BIT if config.optimizer == "adamw8bit" else _MOMENTS
    optimizer_bytes = round(each * trained)
    return Estimate(
        trained=trained,
        frozen=frozen,
        flops=flops,
        encode_flops=encode_flops,
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes,
        gradient_bytes=_MASTER * trained,
        activation_bytes=held,
        peak_bytes=weight_bytes + optimizer_bytes + waiting + copies + moving,
    )


class _Pass:
    """One sample through the models of a stage."""

    def __init__(self, config: PriorConfig | RestorerConfig, sizes: Sizes) -> None:
        self.side = (config.size or 0) // VAE_FACTOR
        self.unet: Any = _half(UNet2DConditionModel(**sizes.unet))
        self.trained, self.frozen = [self.unet], list[nn.Module]()
        self.controlnet: Any = None
        self.adapted = guided = False
        if isinstance(config, PriorConfig):
            self.adapted = config.lora_rank > 0
            guided = config.loss == "masked" and config.distill_weight > 0
        if isinstance(config, RestorerConfig):
            self.controlnet = _half(make_controlnet(self.unet, config.condition, weights=False))
            self.unet.requires_grad_(False)
            self.trained, self.frozen = [self.controlnet], [self.unet]
        elif self.adapted:
            self.unet.requires_grad_(False)
            open_unet(self.unet, config)
            _half(self.unet)
            self.frozen = [self.unet]  # its own teacher, with the LoRA switched off
        elif guided:
            self.frozen = [UNet2DConditionModel(**sizes.unet)]
        if config.gradient_checkpointing:
            for model in (self.trained[0], self.unet):
                model.train().enable_gradient_checkpointing()
        self.teacher_passes = 3 if guided else 0

    def count(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Operations, bytes held at the end of the forward pass, and the backward pass's steps.

        Each step is (bytes of activations let go of, bytes of gradients made), in its order.
        """
        ledger = _Ledger(self.trained + self.frozen)
        counter = FlopCounterMode(display=False)
        with counter, ledger.watch(self.trained):
            loss = self._forward().float().square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
        if self.teacher_passes:
            with FlopCounterMode(display=False) as aside, torch.no_grad():
                self._forward()
            taught = self.teacher_passes * aside.get_total_flops()
        else:
            taught = 0
        return counter.get_total_flops() + taught, ledger.held, ledger.steps

    def _forward(self) -> Tensor:
        def half(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.bfloat16)

        seen = half(1, 4, self.side, self.side), torch.zeros(1, dtype=torch.long)
        config = self.unet.config
        ids = (config.projection_class_embeddings_input_dim, config.addition_time_embed_dim)
        told: dict[str, Any] = {
            "encoder_hidden_states": half(1, sdxl.TOKENS, config.cross_attention_dim),
            "added_cond_kwargs": {
                "text_embeds": half(1, ids[0] - 6 * ids[1]),
                "time_ids": half(1, 6),
            },
        }
        if self.controlnet is not None:
            picture = half(1, 3, VAE_FACTOR * self.side, VAE_FACTOR * self.side)
            down, middle = self.controlnet(
                *seen, controlnet_cond=picture, return_dict=False, **told
            )
            told |= {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }
        predicted: Tensor = self.unet(*seen, **told).sample
        return predicted


class _Ledger:
    """Tensors kept for the backward pass, each storage once; weights and views of them are not."""

    def __init__(self, models: list[nn.Module]) -> None:
        self._weights = {
            p.untyped_storage()._cdata for m in models for p in (*m.parameters(), *m.buffers())
        }
        self._users: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no address is used twice
        self.held = 0
        self.steps: list[tuple[int, int]] = []

    @contextmanager
    def watch(self, trained: list[nn.Module]) -> Iterator[None]:
        """Count what autograd keeps and lets go of."""
        hooks = [
            p.register_post_accumulate_grad_hook(self._grown)  # type: ignore[no-untyped-call]
            for m in trained
            for p in m.parameters()
            if p.requires_grad
        ]
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _pack(self, tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in self._weights:
            if key not in self._users:
                self.held += tensor.untyped_storage().nbytes()
                self._alive.append(tensor)
            self._users[key] = self._users.get(key, 0) + 1
        return tensor

    def _unpack(self, tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key in self._users:
            self._users[key] -= 1
            if not self._users[key]:
                self.steps.append((tensor.untyped_storage().nbytes(), 0))
        return tensor

    def _grown(self, parameter: Tensor) -> None:
        self.steps.append((0, parameter.numel()))
        parameter.grad = None


def _peak(steps: list[tuple[int, int]], held: int, at_once: float, *, growing: bool) -> int:
    """The most bytes of activations and gradients there are at any moment of the backward pass."""
    now = most = held * at_once
    for released, parameters in steps:
        now += (_MASTER * parameters if growing else 0) - released * at_once
        most = max(most, now)
    return round(most)


def _count_encoding(sizes: Sizes, size: int) -> int:
    vae: Any = AutoencoderKL(**sizes.vae)
    encode: Callable[[Tensor], Any] = vae.encode
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encode(torch.empty(1, 3, size, size))
    return int(counter.get_total_flops())


def _half(model: nn.Module) -> Any:
    return nn.Module.to(model, torch.bfloat16)


def _number(models: list[nn.Module], trained: bool) -> int:
    return sum(p.numel() for m in models for p in m.parameters() if p.requires_grad or not trained)


@contextmanager
def _flash() -> Iterator[None]:
    """Attention as a GPU does it: without the meta device's matrix of all pairs of cells.

    By name and not by a TorchFunctionMode: checkpointing's second forward pass would not see one.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
        seen: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        return seen

    functional: Any = nn.functional
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before
