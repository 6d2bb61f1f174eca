"""Which words a run speaks: one prompt per sample for what learns, three for what guides it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from data_manifests.records import Sample
from training.config import PriorConfig, RunConfig
from training.data import words

__all__ = ["drawn", "guides", "needed", "spoken", "varies"]


def spoken(config: PriorConfig, sample: Sample) -> str:
    """What the prior's U-Net is told of a sample."""
    if config.loss == "plain":
        return words(sample.caption, sample.semantic_tags, sample.photographic_tags)
    # The photographic tags reach the student through the teacher, under the one identifier phrase.
    return words(config.identifier_prompt, sample.caption, sample.semantic_tags)


def guides(config: PriorConfig, sample: Sample) -> tuple[str, str, str]:
    """What the teacher is told: what is in the picture, how it was taken, and the opposite."""
    return (
        words(sample.caption, sample.semantic_tags),
        words(sample.photographic_tags),
        config.negative_prompt,
    )


def varies(config: RunConfig) -> bool:
    """Whether a sample's words are others at each step."""
    return isinstance(config, PriorConfig) and (
        config.mixed_words or config.tag_shuffle or config.tag_dropout > 0
    )


def drawn(config: PriorConfig, sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample with the words of one step: some of what it has, never none of it.

    Of caption and tags one may go where the sample has both; where all tags would be left out and
    there is no caption, one stays. Tags stay in their group, and those that only the teacher is
    told stay as they are.
    """
    kept = int(rng.integers(3)) if config.mixed_words else 2  # the caption, the tags, both
    caption, semantic = sample.caption, _tags(config, sample.semantic_tags, rng)
    photographic = _tags(config, sample.photographic_tags, rng)
    if kept == 0 and caption.strip():
        semantic = photographic = ()
    elif kept == 1 and sample.semantic_tags:
        caption = ""
    if not caption.strip() and not semantic and sample.semantic_tags:
        semantic = (sample.semantic_tags[int(rng.integers(len(sample.semantic_tags)))],)
    if config.loss == "masked":
        photographic = sample.photographic_tags
    return replace(sample, caption=caption, semantic_tags=semantic, photographic_tags=photographic)


def needed(config: RunConfig, samples: Iterable[Sample]) -> list[str]:
    """Every prompt that a run may ask for, once, in a fixed order; the empty one leads.

    Whether a sample's words are left out is drawn at each step and never kept. Words that vary are
    not among these: there are too many ways to draw them, and each is encoded when it is met.
    """
    asked = {"": None}
    if not isinstance(config, PriorConfig):
        return [*asked, config.identifier_prompt]
    guided = config.loss == "masked" and config.distill_weight > 0
    fixed = not varies(config)
    for sample in samples:
        if fixed:
            asked[spoken(config, sample)] = None
        if guided:
            asked |= dict.fromkeys(guides(config, sample)[0 if fixed else 1 :])
    return list(asked)


def _tags(config: PriorConfig, tags: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    order = rng.permutation(len(tags)) if config.tag_shuffle else range(len(tags))
    left_out = rng.random(len(tags)) < config.tag_dropout
    return tuple(tags[place] for place in order if not left_out[place])
