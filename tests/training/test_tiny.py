from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.bases import find_base, folder_facts, is_tiny
from training.models import load_base
from training.tiny import make_tiny, make_tokenizer


def test_the_tokenizer_gives_clips_own_ids() -> None:
    """The ids that OpenAI's CLIP gives for this sentence."""
    assert make_tokenizer("!")("a photo of a cat").input_ids == [
        49406,
        320,
        1125,
        539,
        320,
        2368,
        49407,
    ]


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path, tiny_base: Path) -> None:
    again, other = make_tiny(tmp_path / "again"), make_tiny(tmp_path / "other", seed=1)
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert (again / weights).read_bytes() == (tiny_base / weights).read_bytes()
    assert (other / weights).read_bytes() != (tiny_base / weights).read_bytes()


def test_text_encoders_are_saved_under_the_names_every_version_reads(tiny_base: Path) -> None:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    for kind, name in (
        (CLIPTextModel, "text_encoder"),
        (CLIPTextModelWithProjection, "text_encoder_2"),
    ):
        keys = load_file(tiny_base / name / "model.safetensors")
        assert all(k.startswith(("text_model.", "text_projection.")) for k in keys)
        _, info = kind.from_pretrained(tiny_base / name, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
    for name in ("tokenizer", "tokenizer_2"):
        assert (tiny_base / name / "vocab.json").is_file()
        assert (tiny_base / name / "merges.txt").is_file()


def test_it_says_what_it_is(tiny_base: Path) -> None:
    assert is_tiny(tiny_base)
    assert "random weights" in folder_facts(tiny_base)["about"]
    assert "testing code paths" in (tiny_base / "README.md").read_text()


def test_tiny_is_made_once_for_all_runs(tmp_path: Path) -> None:
    folder = find_base("tiny", tmp_path)
    first = (folder / "model_index.json").stat().st_mtime_ns
    assert find_base("tiny", tmp_path) == folder
    assert (folder / "model_index.json").stat().st_mtime_ns == first
    assert [p.name for p in tmp_path.iterdir()] == ["tiny-base"]


def test_latents_show_the_picture_at_about_unit_deviation(tiny_base: Path) -> None:
    from skimage.data import astronaut

    base = load_base(tiny_base, torch.device("cpu"))
    pixels = np.ascontiguousarray(astronaut()[None, 0:256, 100:356])
    noise = torch.randn(2, 1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = (base.latents(pixels, n) for n in noise)
    assert one.shape == (1, 4, 32, 32)
    assert 0.3 < float(one.std()) < 3
    assert float((one - other).std()) < 0.3 * float(one.std())


def test_words_do_not_depend_on_what_was_encoded_before(tiny_base: Path) -> None:
    base, fresh = (load_base(tiny_base, torch.device("cpu")) for _ in range(2))
    base.words("something else")
    one, other = base.words("a woman smiles"), fresh.words("a woman smiles")
    assert torch.equal(one.embedding_BSC, other.embedding_BSC)
    assert one.embedding_BSC.shape == (1, 77, 64)
    assert one.pooled_BP.shape == (1, 32)
    assert not base.words(None).embedding_BSC.any()
    assert base.words("").embedding_BSC.any()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("./nowhere", "no model folder"), ("no-such-model", "no model folder")],
)
def test_a_base_that_is_not_there_is_named(tmp_path: Path, name: str, reason: str) -> None:
    from data_manifests.errors import InputError

    with pytest.raises(InputError, match=reason):
        find_base(name, tmp_path)


def test_a_hub_id_without_a_hub_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_manifests.errors import InputError

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InputError, match="download it elsewhere and name its folder"):
        find_base("nobody/has-this-model", tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    from data_manifests.errors import InputError

    with pytest.raises(InputError, match=r"model_index\.json"):
        find_base(str(tmp_path), tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(InputError, match="FluxPipeline"):
        find_base(str(tmp_path), tmp_path)
