"""The restorer: a diffusers SDXL ControlNet pipeline, batched over faces. Picks the device.

Legend: B faces, C channels, H rows, W columns. Faces are uint8 sRGB outside, float32 0 to 1 inside;
latents are in the VAE's scaled units.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionXLControlNetPipeline
from numpy.typing import NDArray
from torch import Tensor

from data_manifests.errors import AuthFaceError, CheckpointError, ConfigError
from restore.config import RestoreConfig
from restore.model import ModelFacts, describe_model, find_model
from restore.sampling import (
    generators,
    make_sampler,
    noised_start,
    signal_and_noise,
    timesteps,
)

__all__ = [
    "Restoration",
    "Restorer",
    "as_face",
    "decode_faces",
    "encode_faces",
    "laid_out",
    "load_pipeline",
    "open_restorer",
    "pick_device",
]

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restored face, or what went wrong; never the input."""

    pixels_HWC: Pixels | None
    trouble: str = ""


class Restorer:
    """Restores aligned faces; made by `open_restorer`."""

    def __init__(
        self,
        pipe: Any,
        facts: ModelFacts,
        config: RestoreConfig,
        words: dict[str, Tensor] | None = None,
    ) -> None:
        self.facts = facts
        self.config = config
        self.steps = config.steps_for(tiny=facts.tiny)
        self._pipe = pipe
        # By diffusers' names where they are known; else the text encoders are let go after it.
        self._words = words or _encode_prompts(pipe, facts, guided=config.guidance > 1)
        # How many faces share a batch moves the last bits of float sums, on every device.
        alone = pipe.device.type == "cpu" if config.exact is None else config.exact
        self._batch = 1 if alone else config.batch
        self._trained_with = dict(pipe.scheduler.config)

    @property
    def faces_at_once(self) -> int:
        """How many faces go through the model together; fewer after memory ran out."""
        return self._batch

    def restore(
        self, faces: Sequence[Pixels], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> list[Pixels]:
        """The restored faces, in order; raises if one of them could not be restored."""
        done = list(self.restore_each(faces, seeds=seeds, fidelity=fidelity))
        found = [r.pixels_HWC for r in done if r.pixels_HWC is not None]
        if len(found) < len(done):
            raise AuthFaceError(next(r.trouble for r in done if r.pixels_HWC is None))
        return found

    def restore_each(
        self, faces: Sequence[Pixels], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> Iterator[Restoration]:
        """Yield one result per face; when memory runs out the batch is halved and tried again."""
        _check_faces(faces, seeds)
        fidelity = self.config.fidelity if fidelity is None else fidelity
        done = 0
        while done < len(faces):
            part = slice(done, done + self._batch)
            try:
                results = self._restore_batch(faces[part], seeds[part], fidelity)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                results = self._give_way(error)
            yield from results
            done += len(results)

    def _give_way(self, error: BaseException) -> list[Restoration]:
        """No results and half the batch; if the batch was one face, that face's failure."""
        _free_memory()
        if self._batch == 1:
            log.warning("out of memory with a single face: %s", error)
            return [Restoration(None, "out of memory, even for one face at a time")]
        self._batch //= 2
        log.warning("out of memory; going on with %d faces at a time", self._batch)
        return []

    @torch.no_grad()
    def _restore_batch(
        self, faces: Sequence[Pixels], seeds: Sequence[int], fidelity: float
    ) -> list[Restoration]:
        pixels_BHWC = torch.from_numpy(np.stack(faces)).to(self._pipe.vae.device)
        image_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 255
        latent_BCHW = self.sample(image_BCHW, seeds, fidelity)
        return [as_face(face_CHW) for face_CHW in decode_faces(self._pipe.vae, latent_BCHW)]

    @torch.no_grad()
    def sample(self, image_BCHW: Tensor, seeds: Sequence[int], fidelity: float) -> Tensor:
        """Latents of the restored faces, for faces in 0 to 1."""
        # A fresh sampler: multistep solvers carry state, and faces must not see each other's.
        sampler = make_sampler(self.config.sampler, self._trained_with)
        self._pipe.scheduler = sampler
        times = timesteps(self.steps, fidelity, sampler.config.num_train_timesteps)
        factors = signal_and_noise(sampler, times[0])
        rngs = generators(seeds)
        encoded_BCHW = encode_faces(self._pipe.vae, image_BCHW)
        start_BCHW = noised_start(encoded_BCHW, factors, rngs)
        # A ControlNet that was trained on latents is shown those; their size is not the face's.
        by_pixels = self._pipe.controlnet.config.conditioning_channels == image_BCHW.shape[1]
        size = tuple(image_BCHW.shape[-2:])
        words = {k: v.expand(len(seeds), *v.shape[1:]) for k, v in self._words.items()}
        found: Tensor = self._pipe(
            **words,
            image=image_BCHW if by_pixels else encoded_BCHW,
            original_size=size,
            target_size=size,
            latents=start_BCHW.to(self._pipe.unet.dtype),
            timesteps=times,
            generator=rngs,
            guidance_scale=self.config.guidance,
            controlnet_conditioning_scale=self.config.control,
            output_type="latent",
        ).images
        return found


def open_restorer(
    name: str, *, config: RestoreConfig | None = None, device: str | None = None
) -> Restorer:
    """The restorer in a local folder or under a hub id; only safetensors, never pickle."""
    config = config or RestoreConfig()
    folder = find_model(str(name))
    facts = describe_model(folder)
    where = pick_device(device or config.device)
    dtype = _pick_dtype(config.precision, where)
    try:
        pipe = load_pipeline(folder, dtype)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder} can't be opened as an SDXL ControlNet pipeline: {reason}",
            "Train or copy it again; weights must be safetensors.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return Restorer(laid_out(pipe.to(where)), facts, config)


def laid_out(pipe: Any) -> Any:
    """The pipeline, on a GPU with channels innermost: as its convolutions want them."""
    if pipe.device.type == "cuda":
        for model in (pipe.unet, pipe.controlnet):
            model.to(memory_format=torch.channels_last)
    return pipe


def load_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The diffusers pipeline in a folder, on the CPU: its VAE in float32, the rest in `dtype`."""
    with _no_progress_bars():
        return StableDiffusionXLControlNetPipeline.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            add_watermarker=False,
            # SDXL's VAE overflows in half precision.
            dtype={"default": dtype, "vae": torch.float32},
        )


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Both libraries draw bars while loading; the command line draws its own."""
    diffusers_bars = diffusers.utils.logging.is_progress_bar_enabled()
    transformers_bars = transformers.utils.logging.is_progress_bar_enabled()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if diffusers_bars:
            diffusers.utils.logging.enable_progress_bar()
        if transformers_bars:
            transformers.utils.logging.enable_progress_bar()


def encode_faces(vae: Any, image_BCHW: Tensor) -> Tensor:
    """Scaled latents of faces in 0 to 1: the mode of the VAE's posterior, so nothing is random."""
    latent_BCHW: Tensor = vae.encode(image_BCHW.to(vae.dtype) * 2 - 1).latent_dist.mode()
    mean, std = _latent_norm(vae, latent_BCHW)
    scaled_BCHW: Tensor = (latent_BCHW - mean) / std * vae.config.scaling_factor
    return scaled_BCHW


def decode_faces(vae: Any, latent_BCHW: Tensor) -> Tensor:
    """Faces of scaled latents, about 0 to 1 and not clipped."""
    latent_BCHW = latent_BCHW.to(vae.dtype)
    mean, std = _latent_norm(vae, latent_BCHW)
    image_BCHW: Tensor = vae.decode(latent_BCHW / vae.config.scaling_factor * std + mean).sample
    return image_BCHW / 2 + 0.5


def _latent_norm(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is None or std is None:
        return like.new_zeros(()), like.new_ones(())
    return like.new_tensor(mean).view(1, -1, 1, 1), like.new_tensor(std).view(1, -1, 1, 1)


def as_face(image_CHW: Tensor) -> Restoration:
    """A decoded face as 8-bit pixels, or that it is not made of numbers."""
    if not bool(torch.isfinite(image_CHW).all()):
        return Restoration(None, "the model returned values that are no numbers")
    bytes_HWC = (image_CHW.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return Restoration(bytes_HWC.cpu().numpy())


def _encode_prompts(pipe: Any, facts: ModelFacts, *, guided: bool) -> dict[str, Tensor]:
    """The prompts' embeddings, made once; the text encoders are let go after it."""
    with torch.no_grad():
        found = pipe.encode_prompt(
            facts.prompt,
            device=pipe.unet.device,
            do_classifier_free_guidance=guided,
            negative_prompt=facts.negative_prompt,
        )
    pipe.text_encoder = pipe.text_encoder_2 = None
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    return {name: value for name, value in zip(names, found, strict=True) if value is not None}


def pick_device(name: str) -> torch.device:
    """The device of that name, or the best there is for `auto`; raises ConfigError."""
    if name == "auto":
        best = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else best)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {name!r} can't be used here.", "Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    return device


def _pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision != "auto":
        named: torch.dtype = getattr(torch, precision)
        return named
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _check_faces(faces: Sequence[Pixels], seeds: Sequence[int]) -> None:
    if len(faces) != len(seeds):
        raise ValueError(f"{len(faces)} faces but {len(seeds)} seeds")
    for face in faces:
        if face.shape != faces[0].shape or face.dtype != np.uint8 or face.shape[0] % 8:
            raise ValueError("faces must be uint8, of one size, with sides that 8 divides")


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def _free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
