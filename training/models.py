"""Base models: load, freeze, and put words and pictures into their latent spaces.

States of the data: pixels_BCHW in [0, 1] sRGB,
latent_BCHW scaled to about unit deviation, words as (embedding_BSC, pooled_BP).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from numpy.typing import NDArray
from torch import Tensor, nn

from data_manifests.errors import InputError
from training.schedules import kind_of
from training.targets import Kind
from training.tiny import make_tiny, quiet

__all__ = [
    "Base",
    "Words",
    "load_base",
    "make_tiny",
    "pick_device",
    "time_embedding",
]


@dataclass(frozen=True, slots=True)
class Words:
    """Prompts as SDXL's U-Net takes them: one row per token, and one vector for the whole."""

    embedding_BSC: Tensor
    pooled_BP: Tensor

    @staticmethod
    def stack(rows: Sequence[Words]) -> Words:
        """Several prompts as one batch."""
        return Words(
            torch.cat([r.embedding_BSC for r in rows]), torch.cat([r.pooled_BP for r in rows])
        )


# As many of SDXL's take 0.6 GB of the device; older ones are encoded or read anew when asked again.
_MOST_PROMPTS = 1024


@dataclass
class Base:
    """A loaded SDXL: `unet` to be trained or used, everything else frozen in float32."""

    folder: Path
    pipeline: Any
    alpha_bar_T: Tensor
    device: torch.device
    kind: Kind = "epsilon"  # what the U-Net predicts as it was loaded
    look_up: Callable[[str], Words] | None = None  # asked in place of the text encoders
    _seen: dict[str, Words] = field(default_factory=dict, repr=False)
    _settled: bool = False

    @property
    def unet(self) -> Any:
        """The U-Net."""
        return self.pipeline.unet

    def words(self, prompt: str | None) -> Words:
        """A prompt's embeddings; none gives zeros, as SDXL was trained with for left-out words.

        Each prompt is encoded by itself and kept, so that its bits do not depend on the batch it
        comes in.
        """
        key = "" if prompt is None else f"={prompt}"
        if key not in self._seen:
            if len(self._seen) >= _MOST_PROMPTS and not self._settled:
                del self._seen[next(iter(self._seen))]
            encoded = (self.look_up or self.encode_words)(prompt or "")
            blank = Words(
                torch.zeros_like(encoded.embedding_BSC), torch.zeros_like(encoded.pooled_BP)
            )
            self._seen[key] = blank if prompt is None else encoded
        return self._seen[key]

    @torch.no_grad()
    def posterior(self, pixels_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, unscaled, of 8-bit sRGB pictures' latents, as B x C x H/8 x W/8.

        In the VAE's own precision, which is never float16: SDXL's VAE overflows there. On the CPU
        each picture is encoded by itself, so that its bits do not depend on the batch it comes in.
        """
        at_once = 1 if self.device.type == "cpu" else len(pixels_BHWC)
        found = [self._posterior(some) for some in torch.split(pixels_BHWC, at_once)]
        return torch.cat([mean for mean, _ in found]), torch.cat([logvar for _, logvar in found])

    def drawn(self, mean_BCHW: Tensor, logvar_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
        """Latents of about unit deviation, drawn from a posterior with the given unit noise."""
        drawn_BCHW = mean_BCHW + torch.exp(0.5 * logvar_BCHW) * noise_BCHW
        latent_BCHW: Tensor = drawn_BCHW * self.pipeline.vae.config.scaling_factor
        return latent_BCHW

    def latents(self, pixels_NHWC: NDArray[np.uint8], noise_BCHW: Tensor) -> Tensor:
        """Latents of 8-bit sRGB pictures, drawn from the VAE's posterior with the given noise."""
        mean_BCHW, logvar_BCHW = self.posterior(torch.from_numpy(pixels_NHWC))
        return self.drawn(mean_BCHW, logvar_BCHW, noise_BCHW.to(self.device))

    def settle_words(self, prompts: Sequence[str | None]) -> None:
        """Encode these prompts and let the text encoders go: no other can be asked for later."""
        for prompt in prompts:
            self.words(prompt)
        self._settled = True
        self.pipeline.text_encoder = self.pipeline.text_encoder_2 = None

    def _posterior(self, pixels_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        vae = self.pipeline.vae
        pixels_BCHW = pixels_BHWC.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        found = vae.encode(pixels_BCHW.to(next(vae.parameters()).dtype)).latent_dist
        # Convolutions leave channels innermost here and there, and later ones round by layout.
        mean_BCHW, logvar_BCHW = found.mean.float(), found.logvar.float()
        return mean_BCHW.contiguous(), logvar_BCHW.contiguous()

    @torch.no_grad()
    def encode_words(self, prompt: str) -> Words:
        """A prompt through both text encoders, nothing kept."""
        embedding, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=prompt, device=self.device, do_classifier_free_guidance=False
        )
        return Words(embedding.float(), pooled.float())


def load_base(folder: Path, device: torch.device, *, unet: bool = True) -> Base:
    """The model in float32 on the device, frozen and in evaluation mode.

    Without its U-Net, most of its bytes, it still puts words and pictures into latent space.
    """
    without: dict[str, Any] = {} if unet else {"unet": None}
    with quiet():
        try:
            pipeline = StableDiffusionXLPipeline.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                add_watermarker=False,
                **without,
            )
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{folder} can't be loaded as an SDXL model: {error}.", "Check or replace it."
            ) from error
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    kind = kind_of(scheduler.config.prediction_type, folder)
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    for module in parts if unet else parts[1:]:
        _settle(module, device)
    return Base(folder, pipeline, scheduler.alphas_cumprod.to(device), device, kind)


def time_embedding(unet: Any, timestep_B: Tensor) -> Tensor:
    """The U-Net's own embedding of the timestep, without gradient."""
    with torch.no_grad():
        projected = unet.time_proj(timestep_B).to(next(unet.time_embedding.parameters()).dtype)
        embedded: Tensor = unet.time_embedding(projected)
    return embedded


def pick_device(name: str) -> torch.device:
    """The device by name; "auto" takes a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"There is no device {name!r}.", "Use auto, cpu, cuda or cuda:N."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device can be used here.", "Set device = auto or cpu.")
    return device


def _settle(module: nn.Module, device: torch.device) -> None:
    module.requires_grad_(False).eval().to(device)
    for parameter in module.parameters():
        # Weights mapped from a file lie at odd offsets, and kernels round differently there; a
        # copy is aligned.
        parameter.data = parameter.data.clone()
