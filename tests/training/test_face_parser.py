"""Masks of a face parser; the parser is a tiny SegFormer of random weights, for the code paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_manifests.errors import ConfigError, InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training.cache import Cache
from training.config import PriorConfig, resolve
from training.face_parser import FaceMasks, FaceParser, load_parser
from training.models import load_base
from training.run import train_prior
from training.stages import Prior

CPU = torch.device("cpu")
NAMES = ("background", "skin", "hair")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    made = tmp_path_factory.mktemp("parser")
    torch.manual_seed(0)
    config = SegformerConfig(
        num_labels=3,
        id2label=dict(enumerate(NAMES)),
        label2id={n: i for i, n in enumerate(NAMES)},
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    SegformerForSemanticSegmentation(config).save_pretrained(made)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(made)
    return made


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8)


class Sees:
    """A parser that takes the left half of any picture for skin, with near certainty."""

    sha256, parts = "0" * 64, (1,)

    def mask(self, pixels_HWC: np.ndarray, cells: int) -> torch.Tensor:
        mask_HW = torch.zeros(cells, cells)
        mask_HW[:, : cells // 2] = self.certainty
        return mask_HW

    def __init__(self, certainty: float = 1.0) -> None:
        self.certainty = certainty


def test_parts_add_up_and_all_of_them_are_the_whole_picture(
    folder: Path, pixels: np.ndarray
) -> None:
    skin, hair, both, every = (
        load_parser(str(folder), parts, CPU).mask(pixels, 16)
        for parts in (["skin"], ["hair"], ["skin", "hair"], NAMES)
    )
    assert skin.shape == (16, 16)
    assert torch.allclose(skin + hair, both, atol=1e-5)
    assert torch.allclose(every, torch.ones(16, 16), atol=1e-5)
    assert 0 < float(skin.min()) < float(skin.max()) < 1


def test_a_part_that_the_parser_lacks_and_a_folder_that_is_none_are_named(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no part nose"):
        load_parser(str(folder), ["skin", "nose"], CPU)
    with pytest.raises(InputError, match="can't be loaded"):
        load_parser(str(tmp_path), ["skin"], CPU)


def test_a_mask_is_made_once_and_mirrored_with_the_crop(
    filled: tuple[Workspace, Store], tmp_path: Path
) -> None:
    sample, media = filled[1].read(Sample)[0], filled[0].media
    masks = FaceMasks(_as_parser(Sees()), 128, Cache(tmp_path))
    plain = masks.of(sample, media, mirror=False)
    assert plain is not None
    assert plain[:, :8].min() == 1
    assert plain[:, 8:].max() == 0
    masks.parser.mask = _must_not_be_called  # type: ignore[method-assign]
    turned = masks.of(sample, media, mirror=True)
    assert turned is not None
    assert torch.equal(turned, plain.flip(1))
    edited = replace(sample, crop_sha256="f" * 64)
    assert masks.key(edited) != masks.key(sample)


def test_a_crop_without_a_face_has_no_mask(filled: tuple[Workspace, Store], tmp_path: Path) -> None:
    samples, media = filled[1].read(Sample), filled[0].media
    masks = FaceMasks(_as_parser(Sees(0.4)), 128, Cache(tmp_path))
    assert masks.of(samples[0], media, mirror=False) is None
    assert [seen for _, seen in masks.fill(samples[:2], media)] == [False, False]


def test_the_prior_sees_the_parser_s_mask_and_the_ellipse_where_there_is_none(
    filled: tuple[Workspace, Store], tiny_base: Path, tmp_path: Path
) -> None:
    sample = filled[1].read(Sample)[0]
    config = resolve(PriorConfig(flip=0.0), tiny=True)
    stage = Prior(load_base(tiny_base, CPU), config, filled[0].media)
    ellipse = stage.item(sample, 0, 0).example.mask_HW
    stage.masks = FaceMasks(_as_parser(Sees()), 128, Cache(tmp_path / "sees"))
    seen = stage.item(sample, 0, 0).example.mask_HW
    assert seen[:, 0].min() == 1
    assert seen.shape == ellipse.shape
    stage.masks = FaceMasks(_as_parser(Sees(0.1)), 128, Cache(tmp_path / "blind"))
    assert torch.equal(stage.item(sample, 0, 0).example.mask_HW, ellipse)


def test_a_run_keeps_the_masks_and_says_where_there_are_none(
    filled: tuple[Workspace, Store], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace, store = filled
    config = PriorConfig(
        steps=1, batch=1, lora_rank=2, face_parser=str(folder), face_parts=("skin",)
    )
    assert len(list(train_prior(config, store=store, workspace=workspace, name="parsed"))) == 1
    assert len(list(workspace.cache.rglob("masks/*/*.safetensors"))) == 4
    # What the random model says of a picture is no face.
    assert "sees no face in 4 of 4 crops" in caplog.text


def _as_parser(made: Any) -> FaceParser:
    parser: FaceParser = made
    return parser


def _must_not_be_called(*_: Any) -> torch.Tensor:
    raise AssertionError("the kept mask was not read")
