"""The steps that benchmarks/step.py compares with: the loop of diffusers' SDXL examples.

After train_controlnet_sdxl.py and train_text_to_image_sdxl.py as they run under accelerate with
mixed precision bf16: the trained model in float32 under autocast, its outputs cast back to float32;
a frozen U-Net and the VAE's latents in bfloat16; no channels-last, no compiling; AdamW as torch
gives it, the loss read on the host each step for the log. Text embeddings are computed before, as
there; latents are given, or encoded by the VAE in float32 within the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor
from torch.nn.functional import mse_loss


@dataclass
class Given:
    """What a step is given, on the device: latents (None: encode the pixels), words, pictures."""

    latents_BCHW: Tensor | None
    pixels_BCHW: Tensor | None  # -1 to 1
    poor_BCHW: Tensor  # 0 to 1
    embedding_BSC: Tensor
    pooled_BP: Tensor
    time_ids_B6: Tensor


@dataclass
class Models:
    """The models of a step."""

    unet: Any
    vae: Any
    alpha_bar_T: Tensor


def controlnet_step(models: Models, lr: float) -> Callable[[Given], float]:
    """One update of a ControlNet on the frozen U-Net, which is cast to bfloat16 here."""
    device = models.alpha_bar_T.device
    controlnet: Any = ControlNetModel.from_unet(models.unet).to(device).train()
    unet = models.unet.requires_grad_(False).to(torch.bfloat16)
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=lr, weight_decay=1e-2)

    def step(given: Given) -> float:
        latents = _latents(models, given).to(torch.bfloat16)
        noise, timesteps, noisy = _noised(models, latents)
        half = {
            "encoder_hidden_states": given.embedding_BSC.to(torch.bfloat16),
            "added_cond_kwargs": {
                "text_embeds": given.pooled_BP.to(torch.bfloat16),
                "time_ids": given.time_ids_B6,
            },
        }
        with torch.autocast(device.type, torch.bfloat16):
            down, middle = controlnet(
                noisy, timesteps, controlnet_cond=given.poor_BCHW, return_dict=False, **half
            )
        predicted = unet(
            noisy,
            timesteps,
            down_block_additional_residuals=[d.float().to(torch.bfloat16) for d in down],
            mid_block_additional_residual=middle.float().to(torch.bfloat16),
            **half,
        ).sample
        loss = mse_loss(predicted.float(), noise.float(), reduction="mean")
        return _update(loss, optimizer, controlnet)

    return step


def unet_step(models: Models, lr: float) -> Callable[[Given], float]:
    """One update of the whole U-Net."""
    device = models.alpha_bar_T.device
    unet = models.unet.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=lr, weight_decay=1e-2)

    def step(given: Given) -> float:
        latents = _latents(models, given).to(torch.bfloat16)
        noise, timesteps, noisy = _noised(models, latents)
        with torch.autocast(device.type, torch.bfloat16):
            predicted = unet(
                noisy,
                timesteps,
                given.embedding_BSC.to(torch.bfloat16),
                added_cond_kwargs={
                    "text_embeds": given.pooled_BP.to(torch.bfloat16),
                    "time_ids": given.time_ids_B6,
                },
                return_dict=False,
            )[0]
        loss = mse_loss(predicted.float(), noise.float(), reduction="mean")
        return _update(loss, optimizer, unet)

    return step


def _latents(models: Models, given: Given) -> Tensor:
    if given.latents_BCHW is not None:
        return given.latents_BCHW
    with torch.no_grad():
        drawn: Tensor = models.vae.encode(given.pixels_BCHW).latent_dist.sample()
    return drawn * models.vae.config.scaling_factor


def _noised(models: Models, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    noise = torch.randn_like(latents)
    timesteps = torch.randint(len(models.alpha_bar_T), (len(latents),), device=latents.device)
    a = models.alpha_bar_T.to(latents.dtype)[timesteps].view(-1, 1, 1, 1)
    return noise, timesteps, a.sqrt() * latents + (1 - a).sqrt() * noise


def _update(loss: Tensor, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> float:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())
