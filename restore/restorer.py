"""The restorer: an SDXL ControlNet pipeline batched over faces, with memory as it comes.

Legend: B faces, C channels, H rows, W columns. Faces go in as uint8 sRGB and come out as uint8 and
uint16, float32 0 to 1 inside; latents are in the VAE's scaled units.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLControlNetPipeline
from numpy.typing import NDArray
from torch import Tensor

from data_manifests.errors import AuthFaceError
from restore.config import RestoreConfig
from restore.latents import LEAST_TILE, decode_faces, encode_faces, latent_shape, tiled
from restore.model import ModelFacts
from restore.sampling import (
    drawn_noise,
    generators,
    make_sampler,
    noised_start,
    rescaled_guidance,
    sampling_steps,
    start_factors,
)
from restore.words import encode_words, words_used

__all__ = ["Restoration", "Restorer", "as_face"]

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
DeepPixels = NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """A restored face, or what went wrong; never the input. `note` says how it was made else.

    `pixels_HWC` is what is judged and shown, `deep_HWC` the same in steps of 1/65535, which a photo
    of 16 bits or of a wide gamut needs; without it those of 8 bits are all there is.
    """

    pixels_HWC: Pixels | None
    trouble: str = ""
    note: str = ""
    deep_HWC: DeepPixels | None = None


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
        words = words or encode_words(pipe, facts.prompt, facts.negative_prompt)
        self._words = words_used(words, guided=config.guidance > 1)
        # How many faces share a batch moves the last bits of float sums, on every device.
        alone = pipe.device.type == "cpu" if config.exact is None else config.exact
        self._batch = 1 if alone else config.batch
        self._tile: int | None = None  # px; the VAE works in one piece until memory runs out
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
        """Yield one result per face.

        When memory runs out the batch is halved, and then the VAE's tile, and it is tried again.
        """
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
                results = self._give_way(error, faces[0].shape[0])
            yield from results
            done += len(results)

    def _give_way(self, error: BaseException, size: int) -> list[Restoration]:
        """No results and half the batch, or half the tile; without either that face's failure."""
        _free_memory()
        if self._batch > 1:
            self._batch //= 2
            log.warning("out of memory; going on with %d faces at a time", self._batch)
            return []
        smaller = (self._tile or size) // 2
        if smaller >= LEAST_TILE:
            self._tile = smaller
            log.warning("out of memory with one face; going on with tiles of %d px", smaller)
            return []
        log.warning("out of memory with a single face: %s", error)
        return [Restoration(None, "out of memory, even for one face at a time")]

    @torch.no_grad()
    def _restore_batch(
        self, faces: Sequence[Pixels], seeds: Sequence[int], fidelity: float
    ) -> list[Restoration]:
        pixels_BHWC = torch.from_numpy(np.stack(faces)).to(self._pipe.vae.device)
        image_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float() / 255
        with tiled(self._pipe.vae, self._tile):
            latent_BCHW = self.sample(image_BCHW, seeds, fidelity)
            results = [as_face(face_CHW) for face_CHW in decode_faces(self._pipe.vae, latent_BCHW)]
        if self._tile is None:
            return results
        note = f"memory ran out: the VAE worked in tiles of {self._tile} px"
        return [replace(r, note=note) for r in results]

    @torch.no_grad()
    def sample(self, image_BCHW: Tensor, seeds: Sequence[int], fidelity: float) -> Tensor:
        """Latents of the restored faces, for faces in 0 to 1."""
        config, pipe = self.config, self._pipe
        # A fresh sampler: multistep solvers carry state, and faces must not see each other's.
        sampler = make_sampler(config.sampler, self._trained_with)
        times = sampling_steps(
            config.sampler, config.spacing, self.steps, fidelity, self._trained_with
        )
        from_noise = config.start == "noise" and fidelity == 0
        factors = start_factors(sampler, times[0], from_noise=from_noise)
        rngs, size = generators(seeds), tuple(image_BCHW.shape[-2:])
        noise_BCHW = drawn_noise(latent_shape(pipe.vae, size), rngs).to(image_BCHW.device)
        # A ControlNet that was trained on latents is shown those; their size is not the face's.
        by_pixels = pipe.controlnet.config.conditioning_channels == image_BCHW.shape[1]
        shown_BCHW, start_BCHW = image_BCHW, noise_BCHW
        if not (from_noise and by_pixels):  # else nobody asks for the latents
            encoded_BCHW = encode_faces(pipe.vae, image_BCHW)
            shown_BCHW = image_BCHW if by_pixels else encoded_BCHW
            start_BCHW = noised_start(encoded_BCHW, factors, noise_BCHW)
        words = {k: v.expand(len(seeds), *v.shape[1:]) for k, v in self._words.items()}
        usual, pipe.scheduler = pipe.scheduler, sampler
        try:
            with rescaled_guidance(pipe.unet, config.guidance, config.guidance_rescale):
                # By the class: a pipeline of ours takes faces when it is called.
                found: Tensor = StableDiffusionXLControlNetPipeline.__call__(
                    pipe,
                    **words,
                    image=shown_BCHW,
                    original_size=size,
                    target_size=size,
                    latents=start_BCHW.to(pipe.unet.dtype),
                    timesteps=times,
                    generator=rngs,
                    guidance_scale=config.guidance,
                    controlnet_conditioning_scale=config.control,
                    output_type="latent",
                    callback_on_step_end=self._stepped,
                ).images
        finally:
            pipe.scheduler = usual
        return found

    def after_step(self, done: int, steps: int) -> None:
        """Called after each sampling step of a batch; what it raises ends the restoration."""

    def _stepped(self, pipe: Any, index: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
        self.after_step(index + 1, pipe.num_timesteps)
        return kept


def as_face(image_CHW: Tensor) -> Restoration:
    """A decoded face as pixels of 8 and of 16 bits, or that it is not made of numbers."""
    if not bool(torch.isfinite(image_CHW).all()):
        return Restoration(None, "the model returned values that are no numbers")
    image_HWC = image_CHW.clamp(0, 1).permute(1, 2, 0).cpu().float().numpy()
    shallow_HWC, deep_HWC = (np.rint(image_HWC * most) for most in (255, 65535))
    return Restoration(shallow_HWC.astype(np.uint8), deep_HWC=deep_HWC.astype(np.uint16))


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
