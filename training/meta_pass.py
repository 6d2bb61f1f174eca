"""One sample through a stage's models on the meta device, where tensors have shapes, no numbers.

A forward and backward pass there runs through every operation of the real one: its products are
counted, and so are the tensors that the backward pass needs and the moment it lets go of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from training import sdxl
from training.condition import make_controlnet
from training.config import PriorConfig, RestorerConfig
from training.data import VAE_FACTOR
from training.stages import open_unet

__all__ = ["MetaPass", "count_encoders", "count_encoding", "on_meta"]


class MetaPass:
    """The models of a stage under a resolved config, and one sample through them.

    `unet` is the U-Net's config as diffusers writes it. Made and counted under `on_meta`.
    """

    def __init__(self, config: PriorConfig | RestorerConfig, unet: Mapping[str, Any]) -> None:
        self.side = (config.size or 0) // VAE_FACTOR
        self.unet: Any = _half(UNet2DConditionModel(**unet))
        self.trained, self.frozen = [self.unet], list[nn.Module]()
        self.controlnet: Any = None
        self.adapted = guided = self.shows_latents = False
        if isinstance(config, PriorConfig):
            self.adapted = config.lora_rank > 0
            guided = config.loss == "masked" and config.distill_weight > 0
        if isinstance(config, RestorerConfig):
            self.controlnet = _half(make_controlnet(self.unet, config.condition, weights=False))
            self.shows_latents = config.condition == "latent"
            self.unet.requires_grad_(False)
            self.trained, self.frozen = [self.controlnet], [self.unet]
        elif self.adapted:
            self.unet.requires_grad_(False)
            open_unet(self.unet, config)
            _half(self.unet)
            self.frozen = [self.unet]  # its own teacher, with the LoRA switched off
        elif guided:
            self.frozen = [UNet2DConditionModel(**unet)]
        if config.gradient_checkpointing:
            for model in (self.trained[0], self.unet):
                model.train().enable_gradient_checkpointing()
        self.teacher_passes = 3 if guided else 0

    @property
    def numbers(self) -> tuple[int, int]:
        """How many parameters are trained, and how many are frozen beside them."""
        trained = sum(p.numel() for m in self.trained for p in m.parameters() if p.requires_grad)
        frozen = sum(p.numel() for m in self.frozen for p in m.parameters())
        return trained, frozen - (trained if self.adapted else 0)

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
            pixels = 3, VAE_FACTOR * self.side, VAE_FACTOR * self.side
            latents = config.in_channels, self.side, self.side
            picture = half(1, *(latents if self.shows_latents else pixels))
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


def count_encoding(vae_config: Mapping[str, Any], size: int) -> int:
    """Operations that encode one picture of side `size`."""
    vae: Any = AutoencoderKL(**vae_config)
    encode: Callable[[Tensor], Any] = vae.encode
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encode(torch.empty(1, 3, size, size))
    return int(counter.get_total_flops())


def count_encoders(vae: Mapping[str, Any], text: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Parameters of the VAE and of both text encoders."""
    kinds = CLIPTextModel, CLIPTextModelWithProjection
    speaking = [kind(CLIPTextConfig(**config)) for kind, config in zip(kinds, text, strict=True)]
    return tuple(
        sum(p.numel() for m in models for p in m.parameters())
        for models in ([AutoencoderKL(**vae)], speaking)
    )


def _half(model: nn.Module) -> Any:
    return nn.Module.to(model, torch.bfloat16)


@contextmanager
def on_meta() -> Iterator[None]:
    """New tensors have shapes alone; attention is a GPU's, with no matrix of all pairs of cells.

    By name and not by a TorchFunctionMode: checkpointing's second forward pass would not see one.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
        seen: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        return seen

    functional: Any = nn.functional
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        with torch.device("meta"):
            yield
    finally:
        functional.scaled_dot_product_attention = before
