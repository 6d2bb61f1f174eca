"""The words of a step: which there are, how often, and that they are the step's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training import prompts
from training.cache import Cache
from training.config import PriorConfig, RestorerConfig, resolve
from training.encoders import Encoders
from training.models import Base, load_base
from training.stages import Prior

Filled = tuple[Workspace, Store]
SEMANTIC, PHOTOGRAPHIC = ("woman", "hat", "indoors"), ("studio light", "sharp focus")


@pytest.fixture
def sample(filled: Filled) -> Sample:
    first = filled[1].read(Sample)[0]
    return replace(first, semantic_tags=SEMANTIC, photographic_tags=PHOTOGRAPHIC)


def draws(sample: Sample, count: int = 600, **settings: Any) -> list[Sample]:
    config = PriorConfig(**({"loss": "plain"} | settings))
    return [prompts.drawn(config, sample, np.random.default_rng(n)) for n in range(count)]


def test_mixed_words_are_caption_tags_or_both_a_third_each(sample: Sample) -> None:
    found = Counter(
        (bool(s.caption), s.semantic_tags, s.photographic_tags)
        for s in draws(sample, mixed_words=True)
    )
    assert set(found) == {
        (True, (), ()),
        (False, SEMANTIC, PHOTOGRAPHIC),
        (True, SEMANTIC, PHOTOGRAPHIC),
    }
    assert all(150 < count < 250 for count in found.values())


def test_shuffled_tags_come_in_every_order_and_stay_in_their_group(sample: Sample) -> None:
    found = Counter(s.semantic_tags for s in draws(sample, tag_shuffle=True))
    assert len(found) == 6
    assert all(set(order) == set(SEMANTIC) for order in found)
    assert all(60 < count < 140 for count in found.values())


def test_dropped_tags_keep_their_order_and_go_as_often_as_set(sample: Sample) -> None:
    found = draws(sample, tag_dropout=0.3)
    left = [tag for s in found for tag in (*s.semantic_tags, *s.photographic_tags)]
    assert len(left) / (600 * 5) == pytest.approx(0.7, abs=0.03)
    for s in found:
        places = [SEMANTIC.index(tag) for tag in s.semantic_tags]
        assert places == sorted(places)


@pytest.mark.parametrize("caption", ["", "a woman in a hat"])
def test_a_sample_is_never_left_without_a_word(caption: str, sample: Sample) -> None:
    for tags in ((), SEMANTIC):
        said = replace(sample, caption=caption, semantic_tags=tags)
        for s in draws(said, 60, mixed_words=True, tag_dropout=1.0):
            assert bool(s.caption or s.semantic_tags) == bool(caption or tags)


def test_the_teacher_s_own_tags_stay_where_the_student_is_not_told_them(sample: Sample) -> None:
    for s in draws(sample, 60, loss="masked", mixed_words=True, tag_dropout=0.9, tag_shuffle=True):
        assert s.photographic_tags == PHOTOGRAPHIC


@pytest.fixture
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, torch.device("cpu"))


def prior(base: Base, filled: Filled, **settings: Any) -> Prior:
    given: dict[str, Any] = {"size": 64, "flip": 0.0, "prompt_dropout": 0.0, **settings}
    return Prior(base, resolve(PriorConfig(**given), tiny=True), filled[0].media)


def test_a_step_s_words_are_its_own_and_leave_all_else_alone(
    base: Base, filled: Filled, sample: Sample
) -> None:
    stage = prior(base, filled, mixed_words=True, tag_shuffle=True, tag_dropout=0.2)
    said = [stage.item(sample, step, 0) for step in range(40)]
    again = stage.item(sample, 7, 0)
    assert again.example.sample == said[7].example.sample
    assert len({prompts.spoken(stage.config, i.example.sample) for i in said}) > 8
    # Without the settings the row is taken as it is, and every other draw is the same.
    stage.config = prior(base, filled).config
    plain = stage.item(sample, 7, 0)
    assert plain.example.sample is sample
    assert torch.equal(plain.draw.noise_CHW, again.draw.noise_CHW)
    assert plain.draw.timestep_1 == again.draw.timestep_1


def test_words_that_vary_are_not_kept_on_disk(base: Base, filled: Filled, tmp_path: Path) -> None:
    samples = filled[1].read(Sample)
    fixed, varied = (
        resolve(PriorConfig(size=64, tag_shuffle=on), tiny=True) for on in (False, True)
    )
    asked = prompts.needed(varied, samples)
    assert asked == ["", *dict.fromkeys(prompts.guides(varied, samples[0])[1:])]
    assert set(asked) < set(prompts.needed(fixed, samples))
    encoders = Encoders(base, varied, Cache(tmp_path / "cache"))
    met = encoders.words("a woman, sharp focus")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    keeping = Encoders(base, fixed, Cache(tmp_path / "cache"))
    assert torch.equal(keeping.words("a woman, sharp focus").embedding_BSC, met.embedding_BSC)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1


def test_the_restorer_s_words_never_vary() -> None:
    assert not prompts.varies(RestorerConfig())
