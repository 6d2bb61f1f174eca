"""Prompts kept on disk: what is kept, when it is used, what a damaged file does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from restore.config import RestoreConfig
from restore.pipeline import open_restorer
from restore.words import read_words, words_file, write_words

CPU = torch.device("cpu")
WORDS = {
    "prompt_embeds": torch.rand(1, 77, 8),
    "negative_prompt_embeds": torch.rand(1, 77, 8),
    "pooled_prompt_embeds": torch.rand(1, 4),
    "negative_pooled_prompt_embeds": torch.rand(1, 4).bfloat16(),
}


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "authface" / "words"


def test_words_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "words.safetensors"
    assert read_words(file, CPU) is None
    write_words(file, WORDS)
    found = read_words(file, CPU)
    assert found is not None
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in WORDS.items())
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "no header"])
def test_a_damaged_file_is_a_miss(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "words.safetensors"
    write_words(file, WORDS)
    data = bytearray(file.read_bytes())
    if harm == "flipped":
        data[-3] ^= 1
    harmed = {"cut": data[:-9], "flipped": data, "empty": b"", "no header": b"x" * 64}[harm]
    file.write_bytes(harmed)
    assert read_words(file, CPU) is None


def test_a_folder_that_can_not_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    write_words(tmp_path / "taken" / "words.safetensors", WORDS)


def test_encoders_prompts_precision_and_device_each_name_another_file(
    restorer_folder: Path, tmp_path: Path
) -> None:
    import shutil

    said = ("a portrait", "blurry")
    usual = words_file(restorer_folder, said, torch.float32, "cpu")
    assert usual == words_file(restorer_folder, said, torch.float32, "cpu")
    other = shutil.copytree(restorer_folder, tmp_path / "other")
    assert usual == words_file(other, said, torch.float32, "cpu")
    names = {
        usual,
        words_file(other, ("a portrait", "blur"), torch.float32, "cpu"),
        words_file(other, said, torch.bfloat16, "cpu"),
        words_file(other, said, torch.float32, "cuda"),
    }
    weights = other / "text_encoder_2" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    names.add(words_file(other, said, torch.float32, "cpu"))
    tokens = other / "tokenizer" / "tokenizer_config.json"
    tokens.write_text(json.dumps({**json.loads(tokens.read_text()), "added": 1}))
    names.add(words_file(other, said, torch.float32, "cpu"))
    assert len(names) == 6


def test_the_second_time_no_text_encoder_is_loaded_and_no_pixel_is_another(
    restorer_folder: Path, kept: Path, faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[1])[0]
    [file] = kept.iterdir()
    loaded: list[str] = []
    for kind in (CLIPTextModel, CLIPTextModelWithProjection):
        load = kind.from_pretrained.__func__

        def noted(cls, *given, load=load, **more):
            loaded.append(cls.__name__)
            return load(cls, *given, **more)

        monkeypatch.setattr(kind, "from_pretrained", classmethod(noted))
    again = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[1])[0]
    assert loaded == []
    assert np.array_equal(first, again)
    file.write_bytes(file.read_bytes()[:-5])
    mended = open_restorer(str(restorer_folder)).restore(faces[:1], seeds=[1])[0]
    assert len(loaded) == 2
    assert np.array_equal(first, mended)
    assert read_words(file, CPU) is not None
    other = RestoreConfig(cache_prompts=False)
    assert open_restorer(str(restorer_folder), config=other).facts.prompt == "a portrait"
    assert len(loaded) == 4
    assert len(list(kept.iterdir())) == 1
