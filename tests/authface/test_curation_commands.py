"""The curation commands as typed: what they print for people and for programs, and their codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from authface.demo_photos import HELD_OUT, enlarge
from data_manifests.records import Photo
from data_manifests.store import Store


def authface(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "authface.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace `w` and a shoot of four files."""
    root = tmp_path_factory.mktemp("curation")
    shoot = root / "shoot"
    shoot.mkdir()
    pixels = enlarge(HELD_OUT, 1600, seed=1)
    Image.fromarray(pixels).save(shoot / "IMG_1.jpg", quality=92)
    Image.fromarray(pixels).save(shoot / "IMG_1-Edit.png")
    Image.fromarray(np.asarray(pixels)[::4, ::4]).save(shoot / "small.jpg")
    (shoot / "broken.jpg").write_bytes((shoot / "IMG_1.jpg").read_bytes()[:-20_000])
    assert authface("init", str(root / "w")).returncode == 0
    settings = "[ingest.gates]\nleast_long_side = 1000\n[ingest.faces]\nfinder = 'haar'\n"
    (root / "w/authface.toml").write_text(settings)
    return root


def told(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_shoot_from_a_dry_run_to_the_report(place: Path) -> None:
    shoot, workspace = str(place / "shoot"), str(place / "w")
    dry = authface("ingest", shoot, "-w", workspace, "--dry-run")
    assert "new, to be judged" in dry.stdout
    [counts] = told(authface("ingest", shoot, "-w", workspace, "--dry-run", "--json"))
    assert (counts["new"], counts["known"]) == (4, 0)
    assert not (place / "w/tables/photos").exists()
    *files, counts, settled = told(authface("ingest", shoot, "-w", workspace, "--json"))
    assert {Path(str(f["path"])).name: f["state"] for f in files} == {
        "IMG_1-Edit.png": "kept",
        "IMG_1.jpg": "kept",
        "broken.jpg": "quarantined",
        "small.jpg": "set_aside",
    }
    assert (counts["files"], counts["new"]) == (4, 4)
    assert settled["settled"] == 2  # the edit stands for the shot, and both rows say which it is
    rows = told(authface("photos", "list", "-w", workspace, "--json"))
    reasons = {Path(str(r["path"])).name: r["reasons"] for r in rows}
    assert reasons["IMG_1.jpg"] == ["shot"]
    assert reasons["IMG_1-Edit.png"] == []
    faces = told(authface("faces", "list", "-w", workspace, "--json"))
    assert {f["finder"] for f in faces}
    page = place / "report.html"
    assert authface("photos", "report", "-w", workspace, "--out", str(page)).returncode == 0
    assert "IMG_1-Edit.png" in page.read_text()
    again = authface("ingest", shoot, "-w", workspace)
    assert "known already" in again.stdout


def test_a_limit_that_keeps_every_photo_out_is_named_with_its_setting(place: Path) -> None:
    workspace = place / "strict"
    assert authface("init", str(workspace)).returncode == 0
    done = authface("ingest", str(place / "shoot" / "IMG_1.jpg"), "-w", str(workspace))
    assert done.returncode == 0, done.stderr
    assert "long_side asks for 8192 px, as least_long_side under [ingest.gates]" in done.stderr
    again = authface("ingest", str(place / "shoot" / "IMG_1.jpg"), "-w", str(place / "w"))
    assert "least_long_side" not in again.stderr


def test_an_empty_folder_is_told_to_programs_too(place: Path, tmp_path: Path) -> None:
    done = authface("ingest", str(tmp_path), "-w", str(place / "w"), "--json")
    assert told(done) == [{"files": 0}]
    assert "no photo" in done.stderr


def test_control_c_says_what_stays(place: Path) -> None:
    code = (
        "import os, signal\nfrom authface import cli, curate\n"
        # What a shell runs in the background is told to ignore Ctrl-C, and all its children too.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def stopped(*_, **__):\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "curate._run = stopped\ncli.main()\n"
    )
    command = [sys.executable, "-c", code, "ingest", str(place / "shoot"), "-w", str(place / "w")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "what was committed stays" in done.stderr


def test_shards_make_the_whole_and_are_settled_afterwards(place: Path) -> None:
    workspace = place / "shards"
    assert authface("init", str(workspace)).returncode == 0
    (workspace / "authface.toml").write_text((place / "w/authface.toml").read_text())
    for part in ("1/2", "2/2"):
        shoot = str(place / "shoot")
        assert authface("ingest", shoot, "-w", str(workspace), "--shard", part).returncode == 0
    assert len(Store(workspace / "tables").read(Photo)) == 4
    settled = authface("photos", "settle", "-w", str(workspace))
    assert "1 as another file of a shot" in settled.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "SHOOT", "--shard", "3/2"), "i/n"),
        (("ingest", "SHOOT", "--engine", "spark"), "local, ray"),
        (("photos", "embed"), "[ingest.embed]"),
        (("photos", "fetch"), "media_url"),
        (("faces", "identify"), "[ingest.identity] enabled = true"),
        (("photos", "list", "--state", "lost"), "kept, set_aside, quarantined"),
    ],
)
def test_what_can_not_be_done_is_one_line(
    place: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [a.replace("SHOOT", str(place / "shoot")) for a in arguments]
    done = authface(*given, "-w", str(place / "w"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
