"""The tables as typed: build, check, fsck, migrate."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authface import console
from authface.cli import app
from authface.settings import init_workspace
from data_manifests.consent import grant
from data_manifests.media import write_media
from data_manifests.records import Box, Consensus, Consent, Crop, Face, Photo
from data_manifests.store import Store

NOW = datetime.now(UTC)
GOLDEN = Path(__file__).parents[1] / "data_manifests" / "golden"


pytestmark = pytest.mark.usefixtures("fresh_console")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty accepted photos, one rejected, one without consent."""
    root = tmp_path / "ws"
    init_workspace(root)
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(root))
    store = Store(root / "tables")
    terms = {"purposes": ("training",), "basis": "release", "valid_from": NOW - timedelta(days=1)}
    grant(store, Consent(consent_id="c", **terms))  # type: ignore[arg-type]
    photos, faces, answers = [], [], []
    for n in range(32):
        path, sha256 = write_media(root / "media", "crops", f"crop {n}".encode(), ".png")
        matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        cut = Crop(path=path, sha256=sha256, kind="aligned", width=9, height=9, matrix=matrix)
        box = Box(left=1.0, top=1.0, right=8.0, bottom=8.0)
        name, consent = f"p{n:02d}", None if n == 31 else "c"
        photos.append(
            Photo(
                photo_id=name,
                path=name,
                state="kept",
                size_bytes=1,
                width=9,
                height=9,
                consent_id=consent,
            )
        )
        faces.append(
            Face(face_id=f"{name}-1", photo_id=name, index=0, box=box, finder="t", crops=(cut,))
        )
        decision = "reject" if n == 30 else "accept"
        answers.append(Consensus(photo_id=name, decision=decision, voters=1, conflict=False))
    store.upsert(Photo, photos, why="test")
    store.upsert(Face, faces, why="test")
    store.upsert(Consensus, answers, why="test")
    return root


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_build_accounts_for_every_photo_and_shows_the_first_samples(workspace: Path) -> None:
    said = run("manifest", "build")
    assert said.exit_code == 0, said.output
    assert "32 photos = 30 samples + 2 left out" in said.output
    assert "no_consent" in said.output
    assert "rejected" in said.output
    assert "... and 10 more: authface manifest show samples" in said.output
    assert "annotations@" not in said.output  # there is no such table yet


def test_check_counts_what_it_looked_at_and_fails_on_a_fault(workspace: Path) -> None:
    run("manifest", "build")
    sound = run("manifest", "check")
    assert sound.exit_code == 0, sound.output
    assert "every rule holds" in sound.output
    assert "consent_ledger_chained" in sound.output
    next((workspace / "media").rglob("*.png")).unlink()
    broken = run("manifest", "check")
    assert broken.exit_code == console.PARTIAL
    assert "is missing" in broken.output


def test_fsck_proves_all_and_names_what_is_wrong(workspace: Path) -> None:
    sound = run("manifest", "fsck")
    assert sound.exit_code == 0, sound.output
    assert "every byte is what was committed" in sound.output
    file = next((workspace / "tables" / "photos").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    broken = run("manifest", "fsck")
    assert broken.exit_code == console.PARTIAL
    assert file.name in broken.output
    assert "is damaged" in broken.output


def test_fsck_takes_leftovers_away_when_told(workspace: Path) -> None:
    left = workspace / "media" / "crops" / ".part-x"
    left.write_bytes(b"half")
    assert "1 files that stopped writers left" in run("manifest", "fsck").output
    assert left.exists()
    assert "1 files taken away" in run("manifest", "fsck", "--tidy").output
    assert not left.exists()


def test_a_command_on_a_damaged_table_says_what_to_do(workspace: Path) -> None:
    file = next((workspace / "tables" / "photos").glob("*.parquet"))
    file.write_bytes(b"PAR1" + b"x" * 200)
    said = run("manifest", "show", "photos")
    assert said.exception is not None
    assert "authface manifest fsck" in str(said.exception)


def test_tables_of_the_first_release_are_migrated_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "old"
    init_workspace(root)
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(root))
    shutil.copytree(GOLDEN / "v1", root / "tables", dirs_exist_ok=True)
    said = run("manifest", "migrate")
    assert said.exit_code == 0, said.output
    assert "samples: 0002_capture_facts_and_lineage" in said.output
    assert "every table is of this release" in run("manifest", "migrate").output
    assert run("manifest", "show", "samples").exit_code == 0
