"""open_clip is real here, its weights are not: a tiny model with random weights, made on the spot.

So these tests say that vectors, files and rows go the right way, and nothing about what a picture
looks like.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.config import EmbedConfig
from curation.embed import Embedder, embed_photos, embed_table, open_embedder
from curation.zeroshot import Vectors, antonym_score, ask, judge_watermark, suggest, unit
from data_manifests.errors import ConfigError
from data_manifests.records import Photo, Verdict
from data_manifests.store import Store

open_clip = pytest.importorskip("open_clip", reason="the extra clip is not installed")

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
PROMPTS = {
    "shot": {"close_up": ("a face",), "group": ("many people", "a crowd")},
    "eyewear": {"glasses": ("wearing glasses",), "no_eyewear": ("no glasses",)},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> EmbedConfig:
    """Settings that name a tiny model and the file of its random weights."""
    import torch

    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-test.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-test.json")
    torch.manual_seed(7)
    model = open_clip.create_model("tiny-test")
    torch.save(model.state_dict(), folder / "tiny.pt")
    return EmbedConfig(
        model="tiny-test", pretrained=str(folder / "tiny.pt"), batch=3, least_score=0
    )


@pytest.fixture
def pictures(portrait: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Five different pictures of different shapes."""
    shapes = ((64, 64), (64, 96), (96, 64), (48, 200), (300, 90))
    return [portrait[i * 200 : i * 200 + h, :w].copy() for i, (h, w) in enumerate(shapes)]


def photos_of(media: Path, pictures: Sequence[NDArray[np.uint8]]) -> list[Photo]:
    media.mkdir(exist_ok=True)
    rows = []
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(media / f"{number}.jpg", quality=95)
        rows.append(
            Photo(
                photo_id=f"{number:064x}",
                path=f"/x/{number}.jpg",
                state="kept",
                size_bytes=1,
                proxy_path=f"{number}.jpg",
            )
        )
    return rows


def test_vectors_are_units_and_a_batch_gives_what_single_pictures_give(
    tiny: EmbedConfig, pictures: list[NDArray[np.uint8]]
) -> None:
    embedder = open_embedder(tiny)
    together = embedder.images(pictures)
    singles = np.concatenate([embedder.images([p]) for p in pictures])
    assert together.shape == (5, 32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, singles, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    words = embedder.texts([f"a photo of {n}" for n in range(70)])
    np.testing.assert_allclose(words[66:67], embedder.texts(["a photo of 66"]), atol=1e-5)


def test_the_same_file_gives_the_same_vectors_and_another_file_another_name(
    tiny: EmbedConfig, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    import torch

    one, other = open_embedder(tiny), open_embedder(tiny)
    assert one.name == other.name
    np.testing.assert_array_equal(one.images(pictures), other.images(pictures))
    state = torch.load(str(tiny.pretrained), weights_only=True)
    torch.save({k: v + 0.01 for k, v in state.items()}, tmp_path / "tiny.pt")
    moved = open_embedder(tiny.model_copy(update={"pretrained": str(tmp_path / "tiny.pt")}))
    assert moved.name != one.name
    assert np.abs(moved.images(pictures) - one.images(pictures)).max() > 1e-4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (EmbedConfig(), "No embedding model is named"),
        (EmbedConfig(model="no-such-model"), "knows no model"),
        (EmbedConfig(model="ViT-B-32"), "every suggestion is noise"),
        (EmbedConfig(model="ViT-B-32", pretrained="/gone.pt"), "neither a file nor one of"),
    ],
)
def test_what_can_not_be_opened_is_said_with_what_to_set(config: EmbedConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        open_embedder(config)
    assert caught.value.todo


def test_random_weights_are_had_by_an_explicit_word_only(tiny: EmbedConfig) -> None:
    config = tiny.model_copy(update={"pretrained": None})
    with pytest.raises(ConfigError, match="noise"):
        open_embedder(config)
    assert open_embedder(config, random_weights=True).name == "tiny-test/random"


def test_weights_of_another_model_are_refused(tiny: EmbedConfig, tmp_path: Path) -> None:
    import torch

    torch.save({"no": torch.zeros(1)}, tmp_path / "odd.pt")
    config = tiny.model_copy(update={"pretrained": str(tmp_path / "odd.pt")})
    with pytest.raises(ConfigError, match="could not be loaded"):
        open_embedder(config).texts(["a face"])


def test_photos_get_a_vector_and_suggestions_once(
    tiny: EmbedConfig, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    store, embedder = Store(tmp_path / "tables"), open_embedder(tiny)
    store.upsert(Photo, photos_of(tmp_path / "media", pictures), why="test")

    def run(config: EmbedConfig) -> list[Photo]:
        media = tmp_path / "media"
        return list(
            embed_table(store, media=media, embedder=embedder, prompts=PROMPTS, config=config)
        )

    assert len(run(tiny)) == 5
    rows = store.read(Photo)
    assert {p.embedder for p in rows} == {embedder.name}
    assert all(len(p.embedding) == 32 for p in rows)
    asked = ["shot", "eyewear", "aesthetic", "watermark"]
    assert all([s.question for s in p.suggestions] == asked for p in rows)
    version = store.version(Photo)
    assert run(tiny) == []
    assert store.version(Photo) == version
    # Another limit asks the kept vectors again: no proxy is needed for that.
    for proxy in (tmp_path / "media").iterdir():
        proxy.unlink()
    assert len(run(tiny.model_copy(update={"least_score": 1.0}))) == 5
    assert [s.question for s in store.read(Photo)[0].suggestions] == ["aesthetic", "watermark"]


def test_one_bad_proxy_is_noted_and_costs_no_other_photo(
    tiny: EmbedConfig, pictures: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    rows = photos_of(tmp_path, pictures)
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "2.jpg").unlink()
    embedder = open_embedder(tiny)

    def run(photos: Sequence[Photo]) -> dict[str, Photo]:
        stream = embed_photos(
            photos, media=tmp_path, embedder=embedder, prompts=PROMPTS, config=tiny
        )
        return {Path(p.path).stem: p for p in stream}

    first = run(rows)
    assert {k for k, p in first.items() if p.embedder} == {"0", "3", "4"}
    assert first["1"].notes == ("could not be embedded: UnidentifiedImageError",)
    assert first["2"].notes == ("could not be embedded: FileNotFoundError",)
    (tmp_path / "1.jpg").write_bytes(whole)
    again = run([first[str(n)] for n in range(5)])
    assert set(again) == {"1"}
    assert again["1"].notes == ()
    assert again["1"].embedder == embedder.name


def test_photos_that_were_not_decoded_are_passed_over(tiny: EmbedConfig, tmp_path: Path) -> None:
    broken = Photo(photo_id="a", path="/a", state="quarantined", size_bytes=1, proxy_path="a.jpg")
    small = Photo(photo_id="b", path="/b", state="set_aside", size_bytes=1)

    def never() -> None:
        raise AssertionError("the model was loaded for nothing")

    idle = Embedder("idle", never)  # type: ignore[arg-type]
    stream = embed_photos(
        [broken, small], media=tmp_path, embedder=idle, prompts=PROMPTS, config=tiny
    )
    assert list(stream) == []


AXES = {"a": (1.0, 0, 0), "b": (0, 1.0, 0), "c": (0, 0, 1.0), "b too": (0, 0.6, 0.8)}


def axes(sentences: Sequence[str]) -> Vectors:
    return np.array([AXES[s] for s in sentences], dtype=np.float32)


def test_the_likeliest_answer_is_suggested_with_its_softmax() -> None:
    asked = ask({"letter": {"A": ("a",), "B": ("b", "b too"), "C": ("c",)}}, axes)
    expected = unit(np.array([[0, 1.6, 0.8]]))
    np.testing.assert_allclose(asked[0].vectors_VD[1:2], expected, atol=1e-6)
    pictures = unit(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]))
    told = suggest(pictures, asked, logit_scale=10, least_score=0.5)
    assert [[s.value for s in of_one] for of_one in told] == [["A"], ["B"], ["B"]]
    chance = np.exp(10) / (np.exp(10) + 2)
    assert told[0][0].score == round(float(chance), 3)
    assert suggest(pictures, asked, logit_scale=0, least_score=0.5) == [(), (), ()]


def test_an_antonym_pair_scores_between_its_ends() -> None:
    pairs = np.stack([axes(["a", "b"]), axes(["c", "b"])])
    pictures = unit(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]))
    good, bad, even = antonym_score(pictures, pairs, logit_scale=4)
    high = 1 / (1 + np.exp(-4))
    assert good == pytest.approx((high + 0.5) / 2, abs=1e-6)
    assert bad == pytest.approx(1 - high, abs=1e-6)
    assert even == pytest.approx(0.5, abs=1e-6)


def test_the_watermark_gate_sets_aside_only_when_asked_and_takes_it_back() -> None:
    on = EmbedConfig(watermark_gate=True, most_watermark=0.8)
    soft = Verdict(gate="sharpness", value=1, threshold=8, keep=False, reason="soft")
    photo = Photo(photo_id="a", path="/a", state="kept", size_bytes=1)
    assert judge_watermark(photo, 0.99, EmbedConfig()) == photo
    marked = judge_watermark(photo, 0.99, on)
    assert (marked.state, marked.reasons) == ("set_aside", ("watermark",))
    assert judge_watermark(marked, 0.99, on) == marked
    assert judge_watermark(marked, 0.99, EmbedConfig()) == photo
    clean = judge_watermark(marked, 0.1, on)
    assert (clean.state, clean.reasons, clean.verdicts[0].keep) == ("kept", (), True)
    refused = replace(photo, state="set_aside", reasons=("sharpness",), verdicts=(soft,))
    both = judge_watermark(refused, 0.99, on)
    assert both.reasons == ("sharpness", "watermark")
    assert judge_watermark(both, 0.1, on).state == "set_aside"
