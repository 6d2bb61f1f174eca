"""Contact sheets of restored faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from authface.cli import app
from data_manifests.errors import InputError
from data_manifests.records import Box
from restore.looking import Looked, Zoom
from restore.outcome import FaceReport, Outcome
from restore.sheet import ContactSheet

RED, BLUE = (np.full((90, 60, 3), v, np.uint8) for v in ((200, 0, 0), (0, 0, 200)))
FACE = FaceReport(
    index=0,
    box=Box(left=0, top=0, right=9, bottom=9),
    landmarks=(),
    score=1.0,
    status="restored",
    scale=0.25,
    matrix=(0.25, 0, 0, 0, 0.25, 0),
)


def sheets_of(file: Path, faces: int) -> list[Path]:
    name = Path("a very long name of a photo " * 5 + ".jpg")
    outcome = Outcome(source=name, target=name, status="restored")
    sheet = ContactSheet(file, warning="Random weights.")
    sheet.add(outcome, Looked(RED, BLUE, (Zoom(FACE, RED, BLUE, 64),) * faces))
    sheet.add(outcome, None)
    return sheet.close()


def test_before_stands_left_of_after_and_the_sheet_says_it_was_made(tmp_path: Path) -> None:
    (file,) = sheets_of(tmp_path / "faces.jpg", 1)
    with Image.open(file) as picture:
        pixels_HWC = np.asarray(picture)
        assert b"compositeWithTrainedAlgorithmicMedia" in picture.info["xmp"]
    red_W, blue_W = (
        np.abs(pixels_HWC[220].astype(int) - c).sum(axis=1) < 30 for c in ((200, 0, 0), (0, 0, 200))
    )
    assert 200 < red_W.sum() < 220  # 2:3 in a square of 320
    assert np.flatnonzero(red_W).max() < np.flatnonzero(blue_W).min()


def test_many_faces_fill_sheets_and_a_shorter_run_leaves_none_behind(tmp_path: Path) -> None:
    file = tmp_path / "faces.jpg"
    photo = tmp_path / "faces-9.jpg"
    Image.fromarray(RED).save(photo)
    assert [f.name for f in sheets_of(file, 31)] == ["faces.jpg", "faces-2.jpg", "faces-3.jpg"]
    with Image.open(file) as full, Image.open(tmp_path / "faces-3.jpg") as short:
        assert short.height < full.height / 2
    assert sheets_of(file, 2) == [file]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces-9.jpg", "faces.jpg"]


def test_no_sheet_without_faces_and_no_photo_is_overwritten(tmp_path: Path) -> None:
    assert sheets_of(tmp_path / "none.jpg", 0) == []
    assert list(tmp_path.iterdir()) == []
    photo = tmp_path / "photo.jpg"
    Image.fromarray(RED).save(photo)
    with pytest.raises(InputError, match="no contact sheet"):
        ContactSheet(photo)
    with pytest.raises(InputError, match="no name for a JPEG"):
        ContactSheet(tmp_path / "faces.png")


def test_the_command_writes_the_sheet_and_refuses_a_photos_name_before_it_works(
    photo: Path, restorer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["restore", str(photo), "out.png", "--model", str(restorer_folder)]
    (tmp_path / "mine.jpg").write_bytes(b"x")
    refused = CliRunner().invoke(app, [*words, "--sheet", "mine.jpg"])
    assert isinstance(refused.exception, InputError)
    assert not (tmp_path / "out.png").exists()
    done = CliRunner().invoke(app, [*words, "--sheet", "faces.jpg", "--page", "page.html"])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "faces.jpg") as sheet:
        assert sheet.width > 1900
    assert "Face 0: " in (tmp_path / "page.html").read_text()
