"""Latents and words kept on disk: what is found again, what is not, and that no bit changes."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_manifests.errors import InputError
from data_manifests.media import Workspace, write_media
from data_manifests.person import Person
from data_manifests.records import Sample
from data_manifests.store import Store
from data_manifests.traces import find_traces
from training import prompts
from training.cache import Cache, Key, make_key
from training.config import PriorConfig, RestorerConfig, resolve
from training.data import load_example
from training.encoders import Encoders
from training.models import Base, load_base
from training.stages import Prior, Restorer

Filled = tuple[Workspace, Store]
Open = Callable[..., Encoders]
CPU = torch.device("cpu")
KEY = make_key("latents", "ab" * 32, encoder="e", size=64, mirror=False)
TENSORS = {"mean": torch.arange(8.0).reshape(2, 2, 2), "logvar": torch.full((2, 2, 2), -8.0)}


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base, CPU, unet=False)


@pytest.fixture
def opened(base: Base, filled: Filled) -> Open:
    """A function that puts the workspace's cache before the tiny model's encoders."""

    def open_with(**settings: Any) -> Encoders:
        base._seen.clear()
        config = resolve(PriorConfig.model_validate({"size": 64} | settings), tiny=True)
        return Encoders(base, config, Cache(filled[0].cache / "prior"))

    return open_with


def fill(encoders: Encoders, filled: Filled, **more: Any) -> Counter[tuple[str, bool]]:
    """What filling met: (shelf, whether it was there) -> how many."""
    samples = filled[1].read(Sample)
    return Counter((f.shelf, f.hit) for f in encoders.fill(samples, filled[0].media, **more))


def records(filled: Filled) -> list[Path]:
    return sorted(filled[0].cache.rglob("*.safetensors"))


# One record


def test_a_record_comes_back_as_it_was_put_down(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.read(KEY) is None
    half = {"embedding": torch.randn(3, dtype=torch.bfloat16), "count": torch.tensor(5)}
    for key, tensors in ((KEY, TENSORS), (make_key("words", "cd" * 32), half)):
        cache.write(key, tensors)
        found = cache.read(key)
        assert found is not None
        assert found.keys() == tensors.keys()
        assert all(
            torch.equal(found[n], v) and found[n].dtype == v.dtype for n, v in tensors.items()
        )


@pytest.mark.parametrize(
    "other",
    [
        make_key("latents", "ac" * 32, encoder="e", size=64, mirror=False),
        make_key("latents", "ab" * 32, encoder="f", size=64, mirror=False),
        make_key("latents", "ab" * 32, encoder="e", size=96, mirror=False),
        make_key("latents", "ab" * 32, encoder="e", size=64, mirror=True),
        make_key("words", "ab" * 32, encoder="e", size=64, mirror=False),
    ],
)
def test_anything_else_of_a_key_is_another_record(tmp_path: Path, other: Key) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, TENSORS)
    assert cache.read(other) is None


def test_another_version_of_the_code_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(tmp_path).write(KEY, TENSORS)
    monkeypatch.setattr("training.cache.VERSION", 10_000)
    newer = make_key("latents", "ab" * 32, encoder="e", size=64, mirror=False)
    assert Cache(tmp_path).read(newer) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_last(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def no_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, empty, flip_last, no_header, folder_instead])
def test_a_damaged_record_is_a_miss_with_a_note(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, TENSORS)
    damage(tmp_path / KEY.path)
    assert cache.read(KEY) is None
    assert str(KEY.path) in caplog.text
    assert "made again" in caplog.text


def test_every_byte_of_a_record_counts(tmp_path: Path) -> None:
    """No change of one byte is read as other latents: not in the header, not in the numbers."""
    cache = Cache(tmp_path)
    cache.write(KEY, TENSORS)
    path = tmp_path / KEY.path
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        found = cache.read(KEY)
        assert found is None or all(torch.equal(found[n], v) for n, v in TENSORS.items()), place


def test_a_record_in_anothers_place_is_not_taken_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, other = Cache(tmp_path), make_key("latents", "cd" * 32, encoder="e")
    cache.write(KEY, TENSORS)
    target = tmp_path / other.path
    target.parent.mkdir(parents=True)
    (tmp_path / KEY.path).rename(target)
    assert cache.read(other) is None
    assert "another record" in caplog.text


def test_pruning_takes_what_is_not_needed_and_what_a_killed_writer_left(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path), make_key("latents", "cd" * 32, encoder="e")
    for key in (KEY, other):
        cache.write(key, TENSORS)
    dead, alive = (tmp_path / KEY.path.parent / f".part-{name}" for name in ("dead", "alive"))
    foreign = tmp_path / "notes.txt"
    for path in (dead, alive, foreign):
        path.write_bytes(b"12345")
    long_ago = time.time() - 7200
    os.utime(dead, (long_ago, long_ago))
    size = (tmp_path / other.path).stat().st_size
    assert sorted(cache.stale([KEY])) == sorted([tmp_path / other.path, dead])
    assert cache.prune([KEY]) == (2, size + 5)
    assert cache.read(KEY) is not None
    assert alive.exists()
    assert foreign.exists()


# Encoders with a cache before them


def test_filling_makes_all_once_and_the_second_time_nothing(opened: Open, filled: Filled) -> None:
    first = fill(opened(), filled)
    asked = prompts.needed(opened().config, filled[1].read(Sample))
    assert first == {("latents", False): 8, ("words", False): len(asked)}
    written = {p: p.stat().st_mtime_ns for p in records(filled)}
    assert len(written) == 8 + len(asked)
    assert fill(opened(), filled) == {("latents", True): 8, ("words", True): len(asked)}
    assert {p: p.stat().st_mtime_ns for p in records(filled)} == written


def test_filling_that_was_stopped_goes_on_where_it_was(opened: Open, filled: Filled) -> None:
    samples, media = filled[1].read(Sample), filled[0].media
    begun = opened().fill(samples, media)
    for _ in range(7):
        next(begun)
    begun.close()
    kept = len(records(filled))
    assert 7 <= kept < opened().steps(samples)
    again = fill(opened(), filled)
    assert sum(n for (_, hit), n in again.items() if hit) == kept


@pytest.mark.parametrize("kind", [PriorConfig, RestorerConfig])
def test_the_bytes_that_are_missing_are_those_that_are_written(
    kind: type[PriorConfig | RestorerConfig], base: Base, filled: Filled
) -> None:
    base._seen.clear()
    config = resolve(kind(size=256), tiny=True)
    encoders = Encoders(base, config, Cache(filled[0].cache))
    samples = filled[1].read(Sample)
    foretold = encoders.missing_bytes(samples)
    fill(encoders, filled, shard=(0, 2))
    half = sum(p.stat().st_size for p in records(filled))
    assert encoders.missing_bytes(samples) == pytest.approx(foretold - half, rel=0.05)
    fill(encoders, filled)
    assert foretold == pytest.approx(sum(p.stat().st_size for p in records(filled)), rel=0.05)
    assert encoders.missing_bytes(samples) == 0


def test_shards_together_make_all_and_no_two_the_same(opened: Open, filled: Filled) -> None:
    samples = filled[1].read(Sample)
    made = [fill(opened(), filled, shard=(i, 3)) for i in range(3)]
    assert not any(hit for counts in made for (_, hit) in counts)
    assert sum(sum(counts.values()) for counts in made) == opened().steps(samples)
    assert not any(not hit for _, hit in fill(opened(), filled))


def test_what_is_kept_is_the_posterior_of_the_crop_and_of_its_mirror_image(
    opened: Open, filled: Filled, base: Base
) -> None:
    encoders = opened()
    fill(encoders, filled)
    for sample in filled[1].read(Sample):
        for mirror in (False, True):
            pixels_HWC = load_example(sample, filled[0].media, 64, mirror=mirror).pixels_HWC
            mean_1CHW, logvar_1CHW = base.posterior(torch.from_numpy(pixels_HWC[None]))
            kept = encoders.posterior(sample, mirror=mirror)
            assert kept is not None
            assert torch.equal(kept.mean_CHW, mean_1CHW[0])
            assert torch.equal(kept.logvar_CHW, logvar_1CHW[0])
    # The encoder is not symmetric: turning the latents round would not do.
    plain, turned = (encoders.posterior(sample, mirror=m) for m in (False, True))
    assert plain is not None
    assert turned is not None
    assert not torch.equal(plain.mean_CHW.flip(-1), turned.mean_CHW)


@pytest.mark.parametrize(("flip", "forms"), [(0.0, {False}), (1.0, {True}), (0.5, {False, True})])
def test_a_form_that_is_never_drawn_is_not_encoded(
    flip: float, forms: set[bool], opened: Open, filled: Filled
) -> None:
    encoders = opened(flip=flip)
    fill(encoders, filled)
    sample = filled[1].read(Sample)[0]
    kept = {m for m in (False, True) if encoders.posterior(sample, mirror=m) is not None}
    assert kept == forms


def test_a_retouched_picture_is_encoded_anew_and_the_old_latents_are_stale(
    opened: Open, filled: Filled
) -> None:
    encoders, store = opened(), filled[1]
    fill(encoders, filled)
    old, *_ = store.read(Sample)
    pixels_HWC = load_example(old, filled[0].media, old.width, mirror=False).pixels_HWC.copy()
    pixels_HWC[80:90, 70:80] = 128  # a spot taken away
    data = io.BytesIO()
    Image.fromarray(pixels_HWC).save(data, "PNG")
    path, sha256 = write_media(filled[0].media, "crops", data.getvalue(), ".png")
    retouched = dataclasses.replace(old, crop_path=path, crop_sha256=sha256)
    before = encoders.posterior(old, mirror=False)
    assert before is not None
    assert encoders.posterior(retouched, mirror=False) is None
    store.upsert(Sample, [retouched], why="retouched")
    assert fill(encoders, filled)["latents", False] == 2
    after = encoders.posterior(retouched, mirror=False)
    assert after is not None
    assert not torch.equal(after.mean_CHW, before.mean_CHW)
    stale = encoders.cache.stale(encoders.needed(store.read(Sample)))
    assert {p.name[:64] for p in stale} == {old.crop_sha256}
    assert len(stale) == 2


def test_a_picture_edited_in_its_place_is_refused_though_its_latents_are_kept(
    opened: Open, filled: Filled
) -> None:
    fill(opened(), filled)
    path = filled[0].media / filled[1].read(Sample)[2].crop_path
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="changed after the table was made"):
        fill(opened(), filled)


def test_another_vae_another_size_another_precision_miss(
    opened: Open, filled: Filled, base: Base
) -> None:
    encoders, sample = opened(), filled[1].read(Sample)[0]
    fill(encoders, filled)
    assert encoders.posterior(sample, mirror=False) is not None
    for other in (opened(size=96), opened(vae_precision="bf16")):
        assert other.posterior(sample, mirror=False) is None
    bias = base.pipeline.vae.encoder.conv_in.bias
    first = float(bias.data[0])
    bias.data[0] += 1e-6
    try:
        assert opened().posterior(sample, mirror=False) is None
        assert fill(opened(), filled)["words", False] == 0  # words have nothing to do with the VAE
    finally:
        bias.data[0] = first


def test_another_text_encoder_misses_words_alone(opened: Open, filled: Filled, base: Base) -> None:
    fill(opened(), filled)
    norm = base.pipeline.text_encoder_2.text_model.final_layer_norm.weight
    norm.data[0] += 0.5
    try:
        again = fill(opened(), filled)
    finally:
        norm.data[0] -= 0.5
    assert again["words", True] == 0
    assert again["latents", False] == 0


def test_words_come_back_bit_for_bit_and_the_empty_prompt_once(
    opened: Open, filled: Filled, base: Base
) -> None:
    asked = prompts.needed(opened().config, filled[1].read(Sample))
    assert asked.count("") == 1
    fill(opened(), filled)
    kept = opened()
    for prompt in asked:
        found, made = kept.words(prompt), base.encode_words(prompt)
        assert torch.equal(found.embedding_BSC, made.embedding_BSC)
        assert torch.equal(found.pooled_BP, made.pooled_BP)


def test_an_erasure_finds_a_persons_latents_and_nobody_elses(opened: Open, filled: Filled) -> None:
    fill(opened(), filled)
    theirs = filled[1].read(Sample)[1]
    person = Person(subject="s", values={}, media=(theirs.crop_path,))
    found = find_traces(filled[0], person).caches
    paths = [opened().latents_key(theirs, mirror=m).path for m in (False, True)]
    assert found == tuple(sorted(filled[0].cache / "prior" / path for path in paths))


def test_latents_that_are_not_finite_are_refused_by_name_and_not_kept(
    opened: Open, filled: Filled, base: Base
) -> None:
    weight = base.pipeline.vae.quant_conv.weight
    first = weight.data.clone()
    weight.data[0] = torch.nan
    try:
        with pytest.raises(InputError, match="not finite") as refused:
            fill(opened(), filled)
    finally:
        weight.data.copy_(first)
    assert any(s.crop_path in str(refused.value) for s in filled[1].read(Sample))
    assert not list(filled[0].cache.glob("prior/latents/*/*"))


# In a run


def stage(kind: str, tiny_base: Path, filled: Filled, **settings: Any) -> Prior | Restorer:
    base = load_base(tiny_base, CPU)
    if kind == "prior":
        prior = PriorConfig.model_validate({"size": 64} | settings)
        return Prior(base, resolve(prior, tiny=True), filled[0].media)
    restorer = RestorerConfig.model_validate({"size": 64} | settings)
    return Restorer(base, resolve(restorer, tiny=True), filled[0].media)


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_items_with_kept_latents_are_those_without_but_for_the_encoding(
    kind: str, tiny_base: Path, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes, masks, size and crop ids are the same; no VAE is run and no crop's file is read."""
    plain, kept = (stage(kind, tiny_base, filled) for _ in range(2))
    kept.encoders = Encoders(kept.base, kept.config, Cache(filled[0].cache))
    samples = filled[1].read(Sample)
    list(kept.encoders.fill(samples, filled[0].media))
    monkeypatch.setattr(kept.base.pipeline, "vae", None)
    kept.media = filled[0].root / "nowhere"
    mirrored, wordless = set(), set()
    for step in range(12):
        one, other = plain.item(samples[1], step, 0), kept.item(samples[1], step, 0)
        for name in ("mask_HW", "boxes_P4", "time_ids_6"):
            assert torch.equal(getattr(one.example, name), getattr(other.example, name))
        assert (one.wordless, one.draw.timestep_1) == (other.wordless, other.draw.timestep_1)
        assert other.example.posterior is not None
        encoded, _ = plain.base.posterior(torch.from_numpy(one.example.pixels_HWC[None]))
        assert torch.equal(other.example.posterior.mean_CHW, encoded[0])
        if kind == "prior":
            assert other.example.pixels_HWC.size == 0
        else:
            np.testing.assert_array_equal(one.example.pixels_HWC, other.example.pixels_HWC)
            np.testing.assert_array_equal(one.poor_HWC, other.poor_HWC)
        mirrored.add(float(other.example.boxes_P4[0, 0]))
        wordless.add(other.wordless)
    assert len(mirrored) == 2
    assert kept.gather([kept.item(samples[0], 0, 0)]).pixels_BHWC is None


def test_dropout_is_drawn_at_each_step_and_never_kept(tiny_base: Path, filled: Filled) -> None:
    kept = stage("prior", tiny_base, filled, prompt_dropout=0.5)
    kept.encoders = Encoders(kept.base, kept.config, Cache(filled[0].cache))
    sample = filled[1].read(Sample)[0]
    list(kept.encoders.fill([sample], filled[0].media))
    drawn = [kept.item(sample, step, 0).wordless for step in range(40)]
    assert 8 < sum(drawn) < 32


def test_a_record_that_is_damaged_during_a_run_is_made_again(
    tiny_base: Path, filled: Filled, caplog: pytest.LogCaptureFixture
) -> None:
    kept = stage("prior", tiny_base, filled, flip=0.0)
    encoders = Encoders(kept.base, kept.config, Cache(filled[0].cache))
    kept.encoders = encoders
    sample = filled[1].read(Sample)[0]
    list(encoders.fill([sample], filled[0].media))
    before = kept.item(sample, 0, 0).example.posterior
    path = filled[0].cache / encoders.latents_key(sample, mirror=False).path
    flip_last(path)
    with caplog.at_level(logging.WARNING):
        after = kept.item(sample, 0, 0).example.posterior
    assert "made again" in caplog.text
    assert before is not None
    assert after is not None
    assert torch.equal(before.mean_CHW, after.mean_CHW)
    assert encoders.cache.read(encoders.latents_key(sample, mirror=False)) is not None
