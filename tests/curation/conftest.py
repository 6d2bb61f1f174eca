"""What the curation tests share: the one public-domain portrait, enlarged, and ways to write it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

Srgb = NDArray[np.uint8]


@pytest.fixture(scope="session")
def portrait() -> Srgb:
    """Head and shoulders at 1536 x 1536 px, sRGB."""
    cut = np.ascontiguousarray(astronaut()[0:320, 60:380])
    return np.asarray(cv2.resize(cut, (1536, 1536), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


@pytest.fixture
def write_photo(tmp_path: Path) -> Callable[..., Path]:
    """Write pixels as a picture file and give its path."""

    def write(pixels: Srgb, name: str = "photo.jpg", **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP", "avif": "AVIF"}
        settings: dict[str, object] = {"quality": 95} | options if name[-3:] == "jpg" else options
        Image.fromarray(pixels).save(buffer, kind[name.rsplit(".", 1)[1]], **settings)
        path.write_bytes(buffer.getvalue())
        return path

    return write


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with third-party photos to run on, where there is one."""
    named = os.environ.get("AUTHFACE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with photos to run on; name one in AUTHFACE_SHARED")
    return folder
