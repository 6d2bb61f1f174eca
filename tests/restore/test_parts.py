"""A model folder that is not whole: one plain error, and no word of the libraries below."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from data_manifests.errors import CheckpointError
from restore.checking import check_restorer
from restore.pipeline import AuthFacePipeline, open_restorer


def without(name: str) -> Callable[[Path], None]:
    """What takes a file or folder away."""

    def take(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return take


def cut(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def no_json(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def other_shape(folder: Path) -> None:
    path = folder / "vae" / "config.json"
    told = json.loads(path.read_text())
    told["block_out_channels"] = [2 * n for n in told["block_out_channels"]]
    path.write_text(json.dumps(told))


def fewer(file: str) -> Callable[[Path], None]:
    """What takes a tensor out of a file."""

    def take(folder: Path) -> None:
        tensors = load_file(folder / file)
        tensors.pop(min(n for n in tensors if n.endswith("norm1.weight")))
        save_file(tensors, folder / file, {"format": "pt"})

    return take


WEIGHTS = "diffusion_pytorch_model.safetensors"
BROKEN = {
    "vae/ is missing": without("vae"),
    "of vae, config.json is missing": without("vae/config.json"),
    "of vae, no safetensors are there": without(f"vae/{WEIGHTS}"),
    "unet/ is missing": without("unet"),
    "of controlnet, config.json is missing": without("controlnet/config.json"),
    "scheduler/ is missing": without("scheduler"),
    "scheduler_config.json is missing": without("scheduler/scheduler_config.json"),
    "tokenizer/ is missing": without("tokenizer"),
    f"of unet, {WEIGHTS} is cut off": cut,
    "model_index.json can't be read": no_json,
    "can't be opened as an SDXL": other_shape,
    "some weights of vae are in none": fewer(f"vae/{WEIGHTS}"),
    "some weights of a text encoder are in none": fewer("text_encoder/model.safetensors"),
}


@pytest.fixture
def folder(restorer_folder: Path, tmp_path: Path) -> Path:
    """A copy of the restorer."""
    return Path(shutil.copytree(restorer_folder, tmp_path / "model"))


@pytest.mark.parametrize("wanted", BROKEN)
def test_what_is_missing_is_told_in_our_words_alone(
    folder: Path, capfd: pytest.CaptureFixture[str], wanted: str
) -> None:
    BROKEN[wanted](folder)
    with pytest.raises(CheckpointError, match=wanted):
        open_restorer(str(folder))
    assert capfd.readouterr() == ("", "")


def test_to_verify_a_folder_finds_a_missing_part(folder: Path) -> None:
    assert check_restorer(str(folder)).faults == ()
    shutil.rmtree(folder / "tokenizer_2")
    with pytest.raises(CheckpointError, match="tokenizer_2/ is missing"):
        check_restorer(str(folder))


def test_a_part_that_is_given_may_be_missing(folder: Path, restorer_folder: Path) -> None:
    whole = AuthFacePipeline.from_pretrained(restorer_folder)
    shutil.rmtree(folder / "vae")
    assert AuthFacePipeline.from_pretrained(folder, vae=whole.vae).vae is whole.vae


def test_what_the_libraries_say_about_a_model_that_opens_is_heard(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    file = folder / "vae" / WEIGHTS
    tensors = load_file(file)
    save_file({**tensors, "odd.weight": tensors[min(tensors)].clone()}, file, {"format": "pt"})
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    open_restorer(str(folder))
    assert "odd.weight" in caplog.text
