"""Which words a run speaks: one prompt per sample for what learns, three for what guides it."""

from __future__ import annotations

from collections.abc import Iterable

from data_manifests.records import Sample
from training.config import PriorConfig, RunConfig
from training.data import words

__all__ = ["guides", "needed", "spoken"]


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


def needed(config: RunConfig, samples: Iterable[Sample]) -> list[str]:
    """Every prompt that a run may ask for, once, in a fixed order; the empty one leads.

    Whether a sample's words are left out is drawn at each step and never kept.
    """
    asked = {"": None}
    if not isinstance(config, PriorConfig):
        return [*asked, config.identifier_prompt]
    guided = config.loss == "masked" and config.distill_weight > 0
    for sample in samples:
        asked[spoken(config, sample)] = None
        if guided:
            asked |= dict.fromkeys(guides(config, sample))
    return list(asked)
