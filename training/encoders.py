"""A base's encoders with a cache before them: a picture or a prompt is encoded once, then read.

What is kept of a picture is its posterior, mean and log-variance, and never a draw from it; what is
kept of words does not know whether a step leaves them out. Both are drawn at each step. There is no
random crop: a record is of the whole crop the row names, so the row's size and crop ids are its.
Stage 2 degrades the crop at each step, so its pixels at the training's size are kept beside: that
spares each step decoding the crop's file and bringing it to size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from data_manifests.errors import InputError
from data_manifests.records import Sample
from training import prompts
from training.cache import Cache, Key, make_key, tensors_sha256
from training.config import RestorerConfig, RunConfig
from training.data import VAE_FACTOR, Posterior, crop_bytes, crop_pixels, mirrored
from training.models import Base, Words
from training.readers import open_pool, reader_count

__all__ = ["Encoders", "Found"]

_FLOAT = 4  # bytes


@dataclass(frozen=True, slots=True)
class Found:
    """How one record was met while a cache was filled."""

    shelf: Literal["latents", "words"]
    hit: bool  # else it was made


class Encoders:
    """Posteriors and words of a base under one config, read from a cache or made and put there.

    Takes the base as it was loaded: the hash of its weights is that of the file's, whatever
    precision they are used in later. The base's words go through the cache from then on.
    """

    def __init__(self, base: Base, config: RunConfig, cache: Cache) -> None:
        if config.size is None:
            raise ValueError("resolve() the config first")
        self.base, self.config, self.cache, self.size = base, config, cache, config.size
        pipeline = base.pipeline
        self._vae = tensors_sha256(pipeline.vae.state_dict())
        self._text = "-".join(
            tensors_sha256(encoder.state_dict())
            for encoder in (pipeline.text_encoder, pipeline.text_encoder_2)
        )
        self._one_at_a_time = Lock()
        self.keeps_pixels = isinstance(config, RestorerConfig)
        self._bytes = self._record_bytes()
        base.look_up = self.words

    def latents_key(self, sample: Sample, *, mirror: bool) -> Key:
        """The record of a sample's crop, as it is or mirrored: both are encoded."""
        pixels = {"pixels": True} if self.keeps_pixels else {}
        return make_key(
            "latents",
            sample.crop_sha256,
            encoder=self._vae,
            size=self.size,
            mirror=mirror,
            precision=self.config.vae_precision,
            # Sums are taken in another order there, so numbers differ in their last digits.
            device=self.base.device.type,
            **pixels,
        )

    def words_key(self, prompt: str) -> Key:
        """The record of a prompt, by its tokens: they are all that the text encoders see of it."""
        source = hashlib.sha256(json.dumps(self._tokens(prompt)).encode()).hexdigest()
        return make_key("words", source, encoder=self._text, device=self.base.device.type)

    def posterior(self, sample: Sample, *, mirror: bool) -> Posterior | None:
        """What is kept of the sample's crop; none if it has to be encoded."""
        found = self.cache.read(self.latents_key(sample, mirror=mirror))
        if found is None:
            return None
        pixels_HWC = found["pixels"].numpy() if self.keeps_pixels else None
        return Posterior(found["mean"], found["logvar"], pixels_HWC)

    def encode(self, sample: Sample, pixels_HWC: NDArray[np.uint8], *, mirror: bool) -> Posterior:
        """Encode a crop, mirrored already where `mirror` says so, and keep it.

        Safe in a thread. InputError if the latents are not finite.
        """
        with self._one_at_a_time:
            mean_1CHW, logvar_1CHW = self.base.posterior(torch.from_numpy(pixels_HWC[None]))
        # One mark for both, so that a device is waited for once.
        if not bool((mean_1CHW.isfinite() & logvar_1CHW.isfinite()).all()):
            raise InputError(
                f"The VAE gives latents that are not finite for {sample.crop_path} "
                f"(sample {sample.sample_id}); nothing of it was kept.",
                "Look at the picture; if it is sound, set vae_precision = fp32 or another base.",
            )
        found = Posterior(mean_1CHW[0].cpu(), logvar_1CHW[0].cpu())
        tensors = {"mean": found.mean_CHW, "logvar": found.logvar_CHW}
        if self.keeps_pixels:
            found = replace(found, pixels_HWC=pixels_HWC)
            tensors["pixels"] = torch.from_numpy(pixels_HWC)
        self.cache.write(self.latents_key(sample, mirror=mirror), tensors)
        return found

    def words(self, prompt: str) -> Words:
        """A prompt's embeddings on the base's device, from the cache or made and put there.

        Where words vary from step to step they are not put there: most would not be met again.
        """
        return self._words(prompt, keep=not prompts.varies(self.config))[0]

    def fill(
        self, samples: Sequence[Sample], media: Path, *, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Found]:
        """Make what is missing for a run on these samples, yielding each record that it needs.

        `shard` is (which, of how many): each takes its part of the samples and prompts, and
        together they take all. Crops' files are proved against the table even where nothing is
        encoded; raises InputError as reading them for training does.
        """
        which, of = shard
        asked = prompts.needed(self.config, samples)
        for prompt in asked[which::of]:
            yield Found("words", self._words(prompt)[1])
        readers = reader_count(self.config.readers)
        at_once = 2 * max(1, readers)
        with open_pool(readers, "crops") as pool:
            ours = samples[which::of]
            for start in range(0, len(ours), at_once):
                some = ours[start : start + at_once]
                read = pool.map(lambda sample: self._missing(sample, media), some)
                for sample, missing in zip(some, read, strict=True):
                    for mirror in self._mirrors:
                        if mirror in missing:
                            self.encode(sample, missing[mirror], mirror=mirror)
                        yield Found("latents", mirror not in missing)

    def needed(self, samples: Sequence[Sample]) -> list[Key]:
        """The keys of all records that a run on these samples may read."""
        pictures = [self.latents_key(s, mirror=m) for s in samples for m in self._mirrors]
        return [*pictures, *map(self.words_key, prompts.needed(self.config, samples))]

    def missing_bytes(self, samples: Sequence[Sample]) -> int:
        """How much `fill` will write for a run on these samples, but for the records' headers."""
        absent = (k for k in self.needed(samples) if not (self.cache.folder / k.path).is_file())
        return sum(self._bytes[key.shelf] for key in absent)

    def steps(self, samples: Sequence[Sample], *, shard: tuple[int, int] = (0, 1)) -> int:
        """How many records `fill` goes through."""
        which, of = shard
        asked = prompts.needed(self.config, samples)
        return len(samples[which::of]) * len(self._mirrors) + len(asked[which::of])

    def _record_bytes(self) -> dict[str, int]:
        """Of a record on each shelf; asked while the text encoders are there."""
        pipeline, cells = self.base.pipeline, (self.size // VAE_FACTOR) ** 2
        latents = 2 * pipeline.vae.config.latent_channels * cells  # mean and log-variance
        first, second = pipeline.text_encoder.config, pipeline.text_encoder_2.config
        tokens = pipeline.tokenizer.model_max_length
        words = tokens * (first.hidden_size + second.hidden_size) + second.projection_dim
        pixels = 3 * self.size**2 if self.keeps_pixels else 0
        return {"latents": _FLOAT * latents + pixels, "words": _FLOAT * words}

    @property
    def _mirrors(self) -> tuple[bool, ...]:
        return tuple(
            m for m, drawn in ((False, self.config.flip < 1), (True, self.config.flip > 0)) if drawn
        )

    def _missing(self, sample: Sample, media: Path) -> dict[bool, NDArray[np.uint8]]:
        """Pixels of the forms of a crop, mirrored or not, that are not in the cache."""
        data = crop_bytes(sample, media)
        lacking = [m for m in self._mirrors if self.posterior(sample, mirror=m) is None]
        if not lacking:
            return {}
        pixels_HWC = crop_pixels(sample, data, self.size)
        return {m: mirrored(pixels_HWC) if m else pixels_HWC for m in lacking}

    def _words(self, prompt: str, *, keep: bool = True) -> tuple[Words, bool]:
        """Embeddings and whether they were kept."""
        key, device = self.words_key(prompt), self.base.device
        kept = self.cache.read(key)
        if kept is not None:
            return Words(kept["embedding"].to(device), kept["pooled"].to(device)), True
        made = self.base.encode_words(prompt)
        if keep:
            self.cache.write(key, {"embedding": made.embedding_BSC, "pooled": made.pooled_BP})
        return made, False

    def _tokens(self, prompt: str) -> list[list[int]]:
        pipeline = self.base.pipeline
        return [
            tokenizer(
                prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True
            ).input_ids
            for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)
        ]
