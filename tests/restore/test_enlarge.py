"""Enlarging a photo by Lanczos or by a super-resolution model, which is made on the spot."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data_manifests.errors import ConfigError
from restore.enlarge import enlarge, open_upscaler
from restore.photo import restore_photo


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Real-ESRGAN Compact model that doubles, nearly the nearest neighbour, as it begins."""
    arch = import_module("spandrel.architectures.Compact.__arch.SRVGG")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = arch.SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2)
    file = tmp_path_factory.mktemp("upscaler") / "compact.safetensors"
    save_file(model.state_dict(), file)
    return file


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiles_leave_no_seam(compact: Path, portrait, depth) -> None:
    upscaler = open_upscaler(compact)
    pixels = portrait[:200, :300].astype(depth) * (257 if depth is np.uint16 else 1)
    whole = upscaler(pixels)
    upscaler.tile = 64
    tiled = upscaler(pixels)
    assert whole.shape == (400, 600, 3)
    assert whole.dtype == depth
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_when_memory_runs_out_tiles_get_smaller(compact: Path, portrait, monkeypatch) -> None:
    upscaler = open_upscaler(compact)
    wanted = upscaler(portrait)
    real = upscaler.model

    def small_only(seen_1CHW: torch.Tensor) -> torch.Tensor:
        if seen_1CHW.shape[-1] > 200:
            raise RuntimeError("CUDA out of memory")
        return real(seen_1CHW)

    upscaler.model = small_only
    assert np.abs(upscaler(portrait).astype(int) - wanted).max() <= 1
    assert upscaler.tile == 128


def test_a_factor_that_is_not_the_models_is_resampled(compact: Path, portrait) -> None:
    upscaler = open_upscaler(compact)
    assert enlarge(portrait, 1, upscaler).shape == (1024, 1024, 3)
    assert enlarge(portrait, 1.5, upscaler).shape == (768, 768, 3)
    assert enlarge(portrait, 3, upscaler).shape == (1536, 1536, 3)
    assert enlarge(portrait, 1) is portrait


def test_what_is_no_upscaler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no file"):
        open_upscaler(tmp_path / "gone.safetensors")
    pickled = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(3)}, pickled)
    with pytest.raises(ConfigError, match=r"no upscaler .*[^.]\. It must be"):
        open_upscaler(pickled)
    save_file({"weight": torch.zeros(3)}, pickled)
    with pytest.raises(ConfigError, match="no upscaler"):
        open_upscaler(pickled)


def test_faces_are_pasted_into_the_enlarged_photo(
    compact: Path, make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.png"
    outcome = restore_photo(
        photo,
        target,
        restorer=make_restorer(),
        finder=finder_of(marked),
        upscaler=open_upscaler(compact),
    )
    assert outcome.status == "restored"
    assert cv2.imread(str(target)).shape == (1024, 1024, 3)
    assert any("compact.safetensors" in note for note in outcome.notes)
