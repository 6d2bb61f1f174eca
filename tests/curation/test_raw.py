from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from curation.decode import read_photo
from data_manifests.errors import UnreadablePhoto


def write_dng(path: Path, samples_HW: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Path:
    """A plain uncompressed Bayer DNG with an orientation of 6."""
    tags = [
        (274, 3, 1, 6, True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),
        (50706, 1, 4, (1, 4, 0, 0), True),
        (50708, 2, 0, "Test camera", True),
        (50717, 4, 1, 16383, True),
        (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
    ]
    tifffile.imwrite(path, samples_HW, photometric=32803, extratags=tags)
    return path


def mosaic() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    rng = np.random.default_rng(0)
    return rng.integers(500, 16000, (128, 192), dtype=np.uint16)


def test_a_dng_is_developed_upright_at_sixteen_bits(tmp_path: Path) -> None:
    photo = read_photo(write_dng(tmp_path / "shot.dng", mosaic()))
    assert photo.pixels_HWC.dtype == np.uint16
    assert photo.pixels_HWC.shape == (192, 128, 3)
    assert photo.facts.format == "RAW"
    assert photo.facts.orientation == 6
    assert photo.facts.bit_depth == 14


def test_a_dng_named_tif_is_developed_too(tmp_path: Path) -> None:
    assert read_photo(write_dng(tmp_path / "shot.tif", mosaic())).facts.format == "RAW"


def test_a_cut_dng_never_passes(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "cut.dng", mosaic())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(path)
    assert caught.value.reason == "truncated"


def test_a_dng_whose_pixels_are_missing_never_passes(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "flat.dng", np.full((128, 192), 900, np.uint16))
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(path)
    assert caught.value.reason == "raw_no_pixels"


def test_every_raw_file_gets_the_verdict_it_should(shared: Path) -> None:
    with (shared / "raw/manifest.csv").open() as listed:
        rows = list(csv.DictReader(listed))
    wrong = [r["file"] for r in rows if verdict(shared / "raw" / r["file"]) != wanted(r)]
    assert len(rows) > 20
    assert wrong == []


def wanted(row: dict[str, str]) -> str:
    return "accept" if row["tool_should"].startswith("accept") else "reject"


def verdict(path: Path) -> str:
    try:
        read_photo(path)
    except UnreadablePhoto:
        return "reject"
    return "accept"
