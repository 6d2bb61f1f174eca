"""A tiny restorer with random weights, and NASA's portrait of Eileen Collins to restore."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.config import FacesConfig
from curation.crops import align_matrix, warp
from curation.faces import FoundFace, NamedFinder, open_finder
from data_manifests.records import Box, Point
from restore.config import RestoreConfig

SIZE = 64  # px; what the tiny restorer works at
# Eyes, nose and corners of the mouth in skimage.data.astronaut().
LANDMARKS = ((205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # diffusers' DPM++ hands numpy a torch tensor, whose __array__ does not know numpy 2's copy.
    known = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(known))


@pytest.fixture(scope="session")
def restorer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model/ folder of a restorer that was never trained."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    from training.export import export_restorer
    from training.models import make_tiny

    root = tmp_path_factory.mktemp("restorer")
    base = make_tiny(root / "base")
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    controlnet = ControlNetModel.from_unet(unet)
    # A fresh ControlNet ends in zeros and would have no say.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for name, weights in controlnet.named_parameters():
            if name.startswith(("controlnet_down", "controlnet_mid")):
                weights.normal_(std=0.1)
    facts = {
        "kind": "restorer",
        "prompt": "a portrait",
        "negative_prompt": "blurry",
        "size": SIZE,
        "base": "tiny",
        "trained_steps": 0,
        "samples": 0,
        "table_versions": {},
        "tiny": True,
    }
    return export_restorer(controlnet, base, root / "run" / "model", facts)


@pytest.fixture(scope="session")
def make_restorer(restorer_folder: Path):
    """A function that gives the tiny restorer with settings of its own.

    All of them share the weights of one that was opened: a test that changes weights opens its own.
    """
    import torch

    from restore.model import describe_model
    from restore.pipeline import Restorer, load_pipeline

    pipe = load_pipeline(restorer_folder, torch.float32)
    parts, facts = pipe.components, describe_model(restorer_folder)

    def make(**settings: object) -> Restorer:
        again = type(pipe)(**parts, add_watermarker=False)
        again.set_progress_bar_config(disable=True)
        return Restorer(again, facts, RestoreConfig.model_validate(settings))

    return make


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """The portrait, 512 x 512."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="session")
def faces(portrait: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Three different crops of the face at the model's size."""
    cuts = [portrait[40 + d : 200 + d, 145 + d : 305 + d] for d in (0, 9, 18)]
    return [cv2.resize(c, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for c in cuts]


@pytest.fixture(scope="session")
def aligned_face(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The portrait's face on the FFHQ template, 512 px: four times as large as it is."""
    matrix_23 = align_matrix(mark().landmarks, 512)
    return np.asarray(warp([portrait], matrix_23, 512), np.uint8)


@pytest.fixture(scope="session")
def sharp_face(aligned_face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A stand-in for a face of 512 photo pixels: the portrait's has fewer, so detail is added."""
    rng = np.random.default_rng(0)
    soft = aligned_face.astype(np.float32)
    pores = cv2.GaussianBlur(rng.normal(0, 1, (512, 512)), (0, 0), 0.5)[..., None]
    crisp = soft + 1.5 * (soft - cv2.GaussianBlur(soft, (0, 0), 3)) + 6 * pores
    return np.clip(np.rint(crisp), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def mtcnn() -> NamedFinder:
    """A real face finder whose weights are in its wheel."""
    return open_finder(FacesConfig(finder="mtcnn"))


@pytest.fixture(scope="session")
def finder_of():
    """A function that makes a finder of faces marked by hand."""

    def make(*faces: FoundFace, name: str = "by-hand") -> NamedFinder:
        return NamedFinder(name, True, lambda: lambda pixels_HWC: list(faces), FacesConfig())

    return make


@pytest.fixture(scope="session")
def marked() -> FoundFace:
    """The portrait's face as marked by hand."""
    return mark()


def mark(scale: float = 1.0, left: float = 0.0, top: float = 0.0) -> FoundFace:
    """The marked face of a portrait enlarged by `scale` and moved."""
    points = tuple(Point(x=x * scale + left, y=y * scale + top) for x, y in LANDMARKS)
    box = Box(
        left=180 * scale + left,
        top=70 * scale + top,
        right=270 * scale + left,
        bottom=165 * scale + top,
    )
    return FoundFace(box=box, landmarks=points, score=1.0)


@pytest.fixture(scope="session")
def mark_face():
    """The function `mark`."""
    return mark


@pytest.fixture
def photo(tmp_path: Path, portrait: NDArray[np.uint8]) -> Path:
    """The portrait as a PNG file."""
    path = tmp_path / "in" / "portrait.png"
    path.parent.mkdir()
    Image.fromarray(portrait).save(path)
    return path


@pytest.fixture(scope="session")
def shared_photos() -> Path:
    """Photos that lie beside the repository and are no part of it."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("AUTHFACE_SHARED", root.parent / "shared")) / "photos"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set AUTHFACE_SHARED to run on real photos")
    return folder
