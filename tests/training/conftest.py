"""A small workspace of real samples: NASA's portrait of Eileen Collins, cut at several jitters."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data_manifests.consent import grant
from data_manifests.media import Workspace, write_media
from data_manifests.records import Box, Consent, Point, Sample
from data_manifests.store import Store

# Eyes, nose and corners of the mouth in skimage.data.astronaut(), as MTCNN finds them.
LANDMARKS = np.array(
    [(205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9)]
)
TAGS = (("close-up portrait", "woman"), ("studio light", "sharp focus"))


@pytest.fixture(scope="session")
def make_workspace():
    """A function that fills a folder with a workspace of `count` samples."""
    return fill_workspace


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, made once for all tests."""
    from training.models import make_tiny

    return make_tiny(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Workspace, Store]:
    """A workspace of four samples."""
    return fill_workspace(tmp_path)


def fill_workspace(root: Path, count: int = 4, side: int = 160) -> tuple[Workspace, Store]:
    """A workspace and its store: samples with crops, landmarks, boxes and a consent."""
    from skimage.data import astronaut

    workspace = Workspace(root)
    store = Store(workspace.tables)
    grant(store, _consent())
    rng = np.random.default_rng(7)
    samples = [_sample(astronaut(), workspace, _jitter(rng, side), side) for _ in range(count)]
    store.upsert(Sample, samples, why="test samples")
    return workspace, store


def _consent() -> Consent:
    return Consent(
        consent_id="nasa",
        purposes=("curation", "annotation", "training"),
        basis="public_domain",
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
    )


def _jitter(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A similarity that puts the face about where an aligned crop has it."""
    turn = cv2.getRotationMatrix2D(
        (225.0, 125.0), float(rng.uniform(-8, 8)), side / rng.uniform(150, 175)
    )
    turn[:, 2] += (side / 2 - 225 + rng.uniform(-4, 4), side * 0.52 - 125 + rng.uniform(-4, 4))
    return np.asarray(turn, np.float64)


def _sample(
    photo_HWC: NDArray[np.uint8], workspace: Workspace, matrix_23: NDArray[np.float64], side: int
) -> Sample:
    crop_HWC = cv2.warpAffine(photo_HWC, matrix_23, (side, side), flags=cv2.INTER_CUBIC)
    data = io.BytesIO()
    Image.fromarray(crop_HWC).save(data, "PNG")
    path, sha256 = write_media(workspace.media, "crops", data.getvalue(), ".png")
    points_52 = LANDMARKS @ matrix_23[:, :2].T + matrix_23[:, 2]
    scale = float(np.hypot(*matrix_23[0, :2]))
    return Sample(
        sample_id=sha256[:32],
        photo_id=hashlib.sha256(photo_HWC.tobytes()).hexdigest(),
        face_id="astronaut-0",
        crop_path=path,
        crop_sha256=sha256,
        width=side,
        height=side,
        caption="an astronaut in an orange suit smiles",
        semantic_tags=TAGS[0],
        photographic_tags=TAGS[1],
        landmarks=tuple(Point(x=float(x), y=float(y)) for x, y in points_52),
        left_eye_box=_box(points_52[0], 14 * scale),
        right_eye_box=_box(points_52[1], 14 * scale),
        nose_box=_box(points_52[2], 15 * scale),
        mouth_box=_box(points_52[3:5].mean(axis=0), 24 * scale),
        native_width=side / scale,
        native_height=side / scale,
        split="train",
        consent_id="nasa",
    )


def _box(centre_2: NDArray[np.float64], half: float) -> Box:
    x, y = (float(v) for v in centre_2)
    return Box(left=x - half, top=y - half, right=x + half, bottom=y + half)
