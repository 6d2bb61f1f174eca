from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.jpeg_tables import jpeg_quality

PIXELS = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def pillow_tables(pixels: NDArray[np.uint8], **options: object) -> dict[int, list[int]]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return tables_of(buffer)


def tables_of(file: io.BytesIO | Path) -> dict[int, list[int]]:
    with Image.open(file) as photo:
        known: Any = photo
        return dict(known.quantization)


@pytest.mark.parametrize("quality", range(1, 101))
def test_quality_is_exact_on_what_pillow_wrote(quality: int) -> None:
    assert jpeg_quality(pillow_tables(PIXELS, quality=quality)) == quality


@pytest.mark.parametrize("quality", range(1, 101))
def test_quality_is_exact_on_what_libjpeg_turbo_wrote(quality: int) -> None:
    simplejpeg = pytest.importorskip("simplejpeg")
    data = simplejpeg.encode_jpeg(PIXELS, quality=quality, colorspace="RGB")
    assert jpeg_quality(tables_of(io.BytesIO(data))) == quality


@pytest.mark.parametrize("quality", [1, 20, 50, 75, 92, 100])
def test_a_grey_jpeg_has_one_table_and_a_quality(quality: int) -> None:
    tables = pillow_tables(PIXELS[..., 0], quality=quality)
    assert len(tables) == 1
    assert jpeg_quality(tables) == quality


def test_progressive_and_subsampling_change_nothing() -> None:
    tables = pillow_tables(PIXELS, quality=83, progressive=True, subsampling=0)
    assert jpeg_quality(tables) == 83


def test_tables_of_ones_own_give_the_nearest_quality_and_coarser_ones_a_lower() -> None:
    """Flat tables, as some cameras have: no libjpeg quality has them."""
    fine, coarse = [2] * 64, [12] * 64
    assert 90 < jpeg_quality({0: fine, 1: fine}) <= 99
    assert jpeg_quality({0: coarse, 1: coarse}) < jpeg_quality({0: fine, 1: fine})


def test_tables_a_little_off_give_the_same_quality() -> None:
    tables = pillow_tables(PIXELS, quality=70)
    nudged = {key: [max(1, v + (i % 3 == 0)) for i, v in enumerate(t)] for key, t in tables.items()}
    assert abs(jpeg_quality(nudged) - 70) <= 3


@pytest.mark.parametrize("tables", [{}, {0: [1] * 63}, {0: [0] * 64}, {0: [1] * 64, 1: []}])
def test_tables_that_no_jpeg_has_are_refused(tables: dict[int, list[int]]) -> None:
    with pytest.raises(ValueError, match="64 positive steps"):
        jpeg_quality(tables)


def test_photos_of_cameras_are_of_good_quality(shared: Path) -> None:
    """14 camera and phone JPEGs, some saved again for the web at 75 and above."""
    found = [jpeg_quality(tables_of(p)) for p in (shared / "photos/portraits").glob("*.jpg")]
    assert len(found) == 14
    assert min(found) >= 70
    assert max(found) <= 100
