from __future__ import annotations

import csv
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from curation import raw
from curation.config import DecoderConfig, FacesConfig, GatesConfig, IngestConfig
from curation.decode import read_photo
from curation.faces import find_yunet
from curation.source import open_source
from curation.worker import Worker
from data_manifests.errors import UnreadablePhoto

Srgb = NDArray[np.uint8]


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


def portrait_mosaic(portrait: Srgb) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """The portrait as a sensor behind a Bayer filter sees it, held sideways (orientation 6)."""
    stored = np.rot90(portrait)
    linear = (stored / 255.0) ** 2.2 * 15000 + 500
    samples = linear[..., 1].copy()
    samples[0::2, 0::2] = linear[0::2, 0::2, 0]
    samples[1::2, 1::2] = linear[1::2, 1::2, 2]
    return samples.astype(np.uint16)


@pytest.mark.skipif(
    importlib.util.find_spec("facenet_pytorch") is None and find_yunet() is None,
    reason="neither YuNet's file nor MTCNN is there",
)
def test_a_raw_is_judged_at_half_size_and_developed_whole_if_it_passes(
    tmp_path: Path, portrait: Srgb
) -> None:
    source = open_source(write_dng(tmp_path / "shot.dng", portrait_mosaic(portrait)))
    lenient = {"least_long_side": 1000, "most_clipped": 1, "most_clipped_channel": 1}
    passing = IngestConfig(gates=GatesConfig(**lenient))
    refusing = IngestConfig(gates=GatesConfig(**lenient, least_eye_distance=1000))
    kept, aside = Worker(passing).take(source), Worker(refusing).take(source)
    assert kept.photo.state == "kept", kept.photo.reasons
    assert aside.photo.reasons == ("eye_distance",)
    assert kept.photo.development is not None
    assert "LibRaw" in kept.photo.development
    assert {c.bit_depth for c in kept.faces[0].crops} == {16}
    assert not aside.faces[0].crops
    named = {kept.photo.proxy_path, kept.photo.thumb_path, *(c.path for c in kept.faces[0].crops)}
    assert {b.path for b in kept.blobs} == named  # nothing is left over from the half size
    whole, half = kept.faces[0], aside.faces[0]
    assert (aside.photo.width, aside.photo.height) == (1536, 1536)
    assert half.eye_distance == pytest.approx(whole.eye_distance, rel=0.05)
    assert half.box.left == pytest.approx(whole.box.left, abs=40)
    assert half.box.bottom == pytest.approx(whole.box.bottom, abs=40)


def test_a_raw_whose_name_is_no_utf8_is_developed_too(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.dng"))
    write_dng(tmp_path / "plain.dng", mosaic()).rename(odd)
    assert read_photo(odd).facts.format == "RAW"


def test_a_preview_is_judged_by_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here LibRaw develops the file: what it says of a compression that it lacks is played."""
    path = write_dng(tmp_path / "shot.dng", mosaic())
    small = replace(read_photo(path), pixels_HWC=np.zeros((60, 40, 3), np.uint8))
    small = replace(small, facts=replace(small.facts, width=40, height=60))

    def refuses(*_: object, **__: object) -> None:
        raise UnreadablePhoto("raw_unsupported_compression", "LibRaw can't develop it.")

    monkeypatch.setattr(raw, "open_raw", refuses)
    monkeypatch.setattr(raw, "read_preview", lambda *_, **__: small)
    config = IngestConfig(
        gates=GatesConfig(least_long_side=150),
        faces=FacesConfig(finder="haar"),
        decoder=DecoderConfig(raw_preview=True),
    )
    photo = Worker(config).take(open_source(path)).photo
    assert (photo.width, photo.height) == (40, 60)
    assert "long_side" in photo.reasons


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


def test_a_photographer_with_an_x3f_is_told_what_helps(shared: Path, tmp_path: Path) -> None:
    """One without its sensor data is to be copied again; SIGMA's program opens what LibRaw can't.

    Its preview of 8 x 8 px helps nobody.
    """
    stub = shared / "raw" / "exiftool_SigmaDP2.x3f"
    with pytest.raises(UnreadablePhoto, match=r"4,364 bytes are too few.*Copy the original again"):
        read_photo(stub)
    path = tmp_path / "SDIM0001.X3F"
    path.write_bytes(stub.read_bytes() + bytes(4_000_000))
    with pytest.raises(UnreadablePhoto, match="Export it as TIFF from SIGMA Photo Pro") as told:
        read_photo(path)
    assert "preview" not in str(told.value)
