"""What the model makes of the held-out samples as it is now: the pictures of a grid.

Stage 2's go through the pipeline that restores photos, with the weights that are being trained in
place of a folder's. Seeds are fixed, so that two grids differ by the weights alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from numpy.typing import NDArray

from restore.config import RestoreConfig
from restore.model import ModelFacts
from restore.pipeline import Restorer as Pipeline
from restore.pipeline import as_face, decode_faces
from restore.sampling import generators, make_sampler, timesteps
from training import prompts
from training.batch import Item
from training.data import load_example
from training.grids import Grid
from training.held_out import HeldOut
from training.models import Words
from training.stages import Prior, Restorer
from training.validate import fixed_items, held_still

__all__ = ["Previews"]

Pixels = NDArray[np.uint8]


class Previews:
    """Makes grids of the same samples, from the same noise, with whatever the weights are then."""

    def __init__(self, stage: Prior | Restorer, held_out: HeldOut, *, tiny: bool) -> None:
        self._stage = held_still(stage)
        self._samples = held_out.samples
        self._seeds = [_seed(sample.sample_id) for sample in self._samples]
        self._config = RestoreConfig(batch=min(stage.config.at_once, 64))
        self._tiny = tiny
        self._items: list[Item] = []

    @torch.no_grad()
    def make(self) -> Grid:
        """Degraded, restored and original; or of stage 1, what the words make and their photo."""
        stage = self._stage
        with _as_trained(stage):
            return self._restored(stage) if isinstance(stage, Restorer) else self._spoken(stage)

    def _restored(self, stage: Restorer) -> Grid:
        self._items = self._items or fixed_items(stage, self._samples)
        poor = [i.poor_HWC for i in self._items if i.poor_HWC is not None]
        pipeline = Pipeline(_restoring(stage), self._facts(stage), self._config, _said(stage))
        made = [r.pixels_HWC for r in pipeline.restore_each(poor, seeds=self._seeds)]
        aims = [item.example.pixels_HWC for item in self._items]
        return Grid(
            ("degraded", "restored", "original"),
            tuple(zip(poor, made, aims, strict=True)),
            tuple(s.sample_id for s in self._samples),
            self._how(pipeline.steps) | {"recipe": stage.config.recipe},
        )

    def _spoken(self, stage: Prior) -> Grid:
        steps = self._config.steps_for(tiny=self._tiny)
        said = [prompts.spoken(stage.config, sample) for sample in self._samples]
        made: list[Pixels | None] = []
        at_once = stage.config.at_once
        for start in range(0, len(said), at_once):
            part = slice(start, start + at_once)
            made += self._generated(stage, said[part], self._seeds[part], steps)
        size = stage.config.size or 0
        photos = [
            load_example(s, stage.media, size, mirror=False).pixels_HWC for s in self._samples
        ]
        return Grid(
            ("made from words", "their photo"),
            tuple(zip(made, photos, strict=True)),
            tuple(s.sample_id for s in self._samples),
            self._how(steps) | {"prompts": said},
            wholly_made=True,
        )

    def _generated(
        self, stage: Prior, said: Sequence[str], seeds: Sequence[int], steps: int
    ) -> list[Pixels | None]:
        pipe = _plain(stage)
        size = stage.config.size
        words = Words.stack([stage.base.words(prompt) for prompt in said])
        against = Words.stack([stage.base.words(stage.config.negative_prompt)] * len(said))
        latent_BCHW = pipe(
            **_embedded(words, against),
            height=size,
            width=size,
            timesteps=timesteps(steps, 0.0, pipe.scheduler.config.num_train_timesteps),
            guidance_scale=self._config.guidance,
            generator=generators(seeds),
            output_type="latent",
        ).images
        # One by one: in float32 the decoder takes more memory than a step of a small run.
        faces = [decode_faces(pipe.vae, one_1CHW)[0] for one_1CHW in latent_BCHW.split(1)]
        return [as_face(face_CHW.float()).pixels_HWC for face_CHW in faces]

    def _how(self, steps: int) -> dict[str, Any]:
        config = self._config
        return {
            "seeds": self._seeds,
            "denoising_steps": steps,
            "sampler": config.sampler,
            "guidance": config.guidance,
            "tiny": self._tiny,
        }

    def _facts(self, stage: Restorer) -> ModelFacts:
        config = stage.config
        return ModelFacts(
            name="in training",
            folder=Path(stage.base.folder),
            sha256="",
            size=config.size or 0,
            prompt=config.identifier_prompt,
            negative_prompt=config.negative_prompt,
            tiny=self._tiny,
            trained_steps=None,
            base=str(stage.base.folder),
        )


def _seed(sample_id: str) -> int:
    """The sample's own seed, whatever stands beside it in the grid."""
    return int.from_bytes(hashlib.sha256(f"grid:{sample_id}".encode()).digest()[:8], "big") >> 1


@contextmanager
def _as_trained(stage: Prior | Restorer) -> Iterator[None]:
    """In the precision of a training step; blocks uncompiled, as their shapes are others here."""
    kind = stage.base.device.type
    with (
        torch.compiler.set_stance("force_eager"),
        torch.autocast(kind, torch.bfloat16, enabled=stage.bf16),
    ):
        yield


def _parts(stage: Prior | Restorer) -> dict[str, Any]:
    """The base's parts for another pipeline; words come encoded, so without the text encoders."""
    pipeline = stage.base.pipeline
    named = ("vae", "unet", "tokenizer", "tokenizer_2", "scheduler")
    parts = {name: getattr(pipeline, name) for name in named}
    return parts | {"text_encoder": None, "text_encoder_2": None, "add_watermarker": False}


def _restoring(stage: Restorer) -> Any:
    pipe = StableDiffusionXLControlNetPipeline(**_parts(stage), controlnet=stage.controlnet)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _plain(stage: Prior) -> Any:
    parts = _parts(stage)
    trained_with = stage.schedule.sampler(dict(parts["scheduler"].config))
    sampler = make_sampler("dpm++", trained_with)
    pipe = StableDiffusionXLPipeline(**parts | {"scheduler": sampler})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _said(stage: Restorer) -> dict[str, torch.Tensor]:
    config = stage.config
    return _embedded(
        stage.base.words(config.identifier_prompt), stage.base.words(config.negative_prompt)
    )


def _embedded(words: Words, against: Words) -> dict[str, torch.Tensor]:
    """Two sets of prompts, by the names that diffusers' pipelines take them by."""
    return {
        "prompt_embeds": words.embedding_BSC,
        "negative_prompt_embeds": against.embedding_BSC,
        "pooled_prompt_embeds": words.pooled_BP,
        "negative_pooled_prompt_embeds": against.pooled_BP,
    }
