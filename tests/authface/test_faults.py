"""What can go wrong around the commands: a full disk, no picture, a missing folder or server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from authface.demo_photos import HELD_OUT, enlarge
from data_manifests.records import Photo
from data_manifests.store import Store


def authface(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "authface.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "portrait.jpg"
    path.parent.mkdir()
    Image.fromarray(enlarge(HELD_OUT, 1600, seed=1)).save(path, quality=92)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; making one takes the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def make_workspace(place: Path) -> Path:
    authface("init", str(place / "w"))
    (place / "w" / "authface.toml").write_text("[ingest.gates]\nleast_long_side = 1000\n")
    return place / "w"


def test_a_full_disk_is_one_line_and_the_rerun_completes(photo: Path, small_disk: Path) -> None:
    workspace = make_workspace(small_disk)
    full = authface("ingest", str(photo), "-w", str(workspace))
    assert full.returncode == 2
    assert "is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not [p for p in workspace.rglob("*") if p.name.startswith(".part")]
    enlarged = ["mount", "-o", "remount,size=200m", str(small_disk)]
    subprocess.run(enlarged, check=True)
    assert authface("ingest", str(photo), "-w", str(workspace)).returncode == 0
    assert [p.state for p in Store(workspace / "tables").read(Photo)] == ["kept"]
    assert authface("manifest", "check", "-w", str(workspace)).returncode == 0


def test_a_file_that_is_no_picture_gets_a_row_and_stops_nothing(photo: Path) -> None:
    (photo.parent / "notes.jpg").write_text("this is text")
    workspace = make_workspace(photo.parent.parent)
    assert authface("ingest", str(photo.parent), "-w", str(workspace)).returncode == 0
    states = {Path(p.path).name: p.state for p in Store(workspace / "tables").read(Photo)}
    assert states == {"notes.jpg": "quarantined", "portrait.jpg": "kept"}


def test_a_second_run_adds_no_row_and_originals_stay_untouched(photo: Path) -> None:
    workspace = make_workspace(photo.parent.parent)
    before = (photo.read_bytes(), photo.stat().st_mtime_ns)
    authface("ingest", str(photo.parent), "-w", str(workspace))
    version = Store(workspace / "tables").version(Photo)
    authface("ingest", str(photo.parent), "-w", str(workspace))
    assert Store(workspace / "tables").version(Photo) == version
    assert (photo.read_bytes(), photo.stat().st_mtime_ns) == before


def test_no_label_studio_is_one_line_and_nothing_is_lost(photo: Path) -> None:
    workspace = make_workspace(photo.parent.parent)
    authface("ingest", str(photo.parent), "-w", str(workspace))
    answer = authface("annotate", "push", "-w", str(workspace))
    assert answer.returncode == 2
    assert "authface annotate serve" in answer.stderr
    assert len(Store(workspace / "tables").read(Photo)) == 1


def test_a_table_that_lost_its_log_is_named_and_not_taken_as_empty(photo: Path) -> None:
    workspace = make_workspace(photo.parent.parent)
    authface("ingest", str(photo.parent), "-w", str(workspace))
    shutil.rmtree(workspace / "tables" / "faces" / "_delta_log")
    (workspace / "tables" / "faces" / "_delta_log").mkdir()
    answer = authface("manifest", "check", "-w", str(workspace))
    assert answer.returncode == 2
    assert "faces has rows but no log" in answer.stderr
