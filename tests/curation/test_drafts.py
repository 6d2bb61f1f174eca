"""Drafts of a vision-language model: how they are read, and the whole path on a tiny one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from curation.drafts import Draft, Drafter, draft_photos, open_drafter, prompt_of, read_draft
from data_manifests.errors import ConfigError
from data_manifests.records import Photo, Suggestion

QUESTIONS = {"shot": ["close_up", "half_length"], "accessories": ["hat", "necklace"]}
SPECIAL = ["<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = (
    "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "{% endfor %}"
)


@pytest.fixture
def photo(tmp_path: Path) -> Photo:
    Image.new("RGB", (96, 128), (180, 140, 120)).save(tmp_path / "p.jpg")
    return Photo(
        photo_id="a",
        path="/a.jpg",
        state="kept",
        size_bytes=1,
        proxy_path="p.jpg",
        suggestions=(Suggestion(question="shot", value="close_up", score=0.9, origin="x"),),
    )


def read(text: str, score: float = 0.8) -> list[tuple[str, str]]:
    found = read_draft(Draft(text, score), QUESTIONS, "model 1")
    assert all((s.origin, s.score) == ("model 1", 0.8) for s in found)
    return [(s.question, s.value) for s in found]


def test_a_draft_becomes_a_caption_and_tags_of_the_schema() -> None:
    text = '```json\n{"caption": " a woman,\\n soft light", "tags": {"shot": "close_up"}}\n```'
    assert read(text) == [("caption", "a woman, soft light"), ("shot", "close_up")]


def test_values_and_questions_that_the_schema_lacks_are_dropped() -> None:
    text = '{"tags": {"shot": "selfie", "mood": "sad", "accessories": ["hat", "hat", "ring", 3]}}'
    assert read(text) == [("accessories", "hat")]


@pytest.mark.parametrize(
    "text", ["", "a woman", "{", "[1]", '{"caption": 3}', '{"tags": [1]}', "}{", "{" * 5000 + "}"]
)
def test_words_without_an_object_suggest_nothing(text: str) -> None:
    assert read(text) == []


def test_the_model_is_told_every_question_and_value() -> None:
    assert all(
        v in prompt_of(QUESTIONS) for v in ("shot", "half_length", "accessories", "necklace")
    )


def test_a_photo_is_drafted_once_by_each_model_and_keeps_what_others_said(
    photo: Photo, tmp_path: Path
) -> None:
    drafter = Drafter("model 1", lambda *_: Draft('{"caption": "a woman"}', 0.5))
    aside = replace(photo, photo_id="b", state="set_aside")
    broken = replace(photo, photo_id="c", proxy_path="none.jpg")
    (made,) = draft_photos(
        [photo, aside, broken], media=tmp_path, drafter=drafter, questions=QUESTIONS
    )
    assert [s.origin for s in made.suggestions] == ["x", "model 1"]
    again = draft_photos([made], media=tmp_path, drafter=drafter, questions=QUESTIONS)
    assert list(again) == []


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a Qwen2.5-VL of random weights and a tokenizer of single bytes."""
    pytest.importorskip("torch", reason="torch is not installed")
    qwen = pytest.importorskip(
        "transformers.models.qwen2_5_vl", reason="this transformers has no Qwen2.5-VL"
    )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=letters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[0],
        additional_special_tokens=SPECIAL[1:],
    )
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    tokenizer.image_token, tokenizer.video_token = SPECIAL[3], SPECIAL[4]
    config = qwen.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "eos_token_id": ids[SPECIAL[0]],
            "pad_token_id": ids[SPECIAL[0]],
            "bos_token_id": ids[SPECIAL[0]],
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids[SPECIAL[3]],
        video_token_id=ids[SPECIAL[4]],
        vision_start_token_id=ids[SPECIAL[1]],
        vision_end_token_id=ids[SPECIAL[2]],
    )
    folder = tmp_path / "tiny-qwen"
    qwen.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return folder


def _processor(tokenizer: object) -> object:
    from transformers import (
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    pictures = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pictures),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pictures),
        chat_template=TEMPLATE,
    )


def test_a_tiny_qwen_writes_about_a_picture(tiny: Path, photo: Photo, tmp_path: Path) -> None:
    drafter = open_drafter(str(tiny), most_tokens=8)
    assert drafter.origin.startswith("tiny-qwen ")
    with Image.open(tmp_path / "p.jpg") as picture:
        first = drafter.write(picture.convert("RGB"), prompt_of(QUESTIONS))
        again = drafter.write(picture.convert("RGB"), prompt_of(QUESTIONS))
    assert first == again
    assert 0 < first.score < 1
    drafted = draft_photos([photo], media=tmp_path, drafter=drafter, questions=QUESTIONS)
    assert list(drafted) == []  # random weights write no JSON, so nothing is suggested


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(ConfigError, match="could not be loaded"):
        open_drafter(str(tmp_path))
