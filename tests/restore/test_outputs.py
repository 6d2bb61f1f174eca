"""Restorations whose outputs carry what their inputs had, by the command and by the library."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from authface.cli import app
from curation.decode import read_photo
from data_manifests.errors import ConfigError
from restore.batch import plan_jobs, restore_jobs
from restore.outcome import read_sidecar
from restore.photo import restore_photo


def test_alpha_goes_through_a_restoration(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    alpha = np.arange(portrait.shape[0] * portrait.shape[1], dtype=np.uint32) % 251
    pixels = np.dstack([portrait, alpha.reshape(portrait.shape[:2]).astype(np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    jobs = plan_jobs(tmp_path / "a.png", tmp_path / "b.png")
    (outcome,) = restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked))
    assert (outcome.status, outcome.notes) == ("restored", ())
    with Image.open(tmp_path / "b.png") as image:
        again = np.asarray(image)
    assert np.array_equal(again[..., 3], pixels[..., 3])
    assert not np.array_equal(again, pixels)


def test_a_psd_s_transparency_goes_into_the_tiff(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    psd_tools = pytest.importorskip("psd_tools")
    alpha = np.full(portrait.shape[:2], 255, np.uint8)
    alpha[:20] = 0  # above the face
    cut_out = Image.fromarray(np.dstack([portrait, alpha]))
    psd_tools.PSDImage.frompil(cut_out).save(tmp_path / "a.psd")
    jobs = plan_jobs(tmp_path / "a.psd", tmp_path / "b.tif")
    (outcome,) = restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked))
    assert outcome.status == "restored", outcome.problem
    assert outcome.notes == ()
    written = read_photo(tmp_path / "b.tif")
    assert written.alpha_HW is not None
    assert np.array_equal(written.alpha_HW, alpha)


def test_a_grey_photo_stays_a_file_without_colours(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    Image.fromarray(portrait).convert("L").save(tmp_path / "a.png")
    outcome = restore_photo(
        tmp_path / "a.png", tmp_path / "b.png", restorer=make_restorer(), finder=finder_of(marked)
    )
    assert outcome.status == "restored"
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "L"
    assert read_photo(tmp_path / "b.png").grey


def test_the_mark_in_the_file_names_the_sidecar_s_model_and_settings(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    restore_photo(photo, target, restorer=make_restorer(seed=3), finder=finder_of(marked))
    said, data = read_sidecar(target), target.read_bytes()
    assert said is not None
    assert said["model"]["sha256"].encode() in data
    assert said["key"].encode() in data
    assert b"<authface:Seed>3</authface:Seed>" in data


def test_no_mark_is_explicit_and_logged(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs = plan_jobs(photo, tmp_path / "out.png")
    (outcome,) = restore_jobs(jobs, restorer=make_restorer(mark=False), finder=finder_of(marked))
    assert b"Algorithmic" not in (tmp_path / "out.png").read_bytes()
    assert any("not marked" in note for note in outcome.notes)
    said = read_sidecar(tmp_path / "out.png")
    assert said is not None
    assert said["settings"]["mark"] is False
    assert any("not marked" in note for note in said["notes"])
    assert caplog.text.count("not marked") == 1


def test_the_command_takes_no_mark(
    photo: Path, restorer_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out.png"
    words = ["restore", photo, target, "--model", restorer_folder, "--no-mark"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert (
        json.loads(target.with_name("out.png.authface.json").read_text())["settings"]["mark"]
        is False
    )
    assert caplog.text.count("not marked") == 1  # cli.main shows what is logged
    assert "not marked" not in result.output


def test_a_certificate_that_is_not_there_stops_before_the_first_photo(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("c2pa", reason="C2PA is not installed: pip install -e '.[c2pa]'")
    restorer = make_restorer(c2pa={"certificate": str(tmp_path / "none.pem")})
    jobs = plan_jobs(photo, tmp_path / "out.png")
    with pytest.raises(ConfigError, match=r"none\.pem can't be read"):
        list(restore_jobs(jobs, restorer=restorer, finder=finder_of(marked)))
    assert not (tmp_path / "out.png").exists()
