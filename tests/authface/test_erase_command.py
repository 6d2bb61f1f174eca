"""`authface consent`, `erase` and `subject-report` as typed."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_manifests.erase import carry_out, plan_erasure
from data_manifests.media import Workspace, write_media
from data_manifests.records import Consent, Face, Photo, Sample, Task
from data_manifests.store import Store


def authface(*arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "authface.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a photo of each of two people, one of them asked about."""
    place = Workspace(tmp_path / "w")
    for folder in (place.tables, place.media, place.runs):
        folder.mkdir(parents=True)
    place.settings.write_text("")
    store = Store(place.tables)
    photos = [_photo(place.media, n) for n in (1, 2)]
    store.upsert(Photo, photos, why="ingest")
    first = photos[0].photo_id
    task = Task(
        task_key=f"{first}:triage:1",
        photo_id=first,
        kind="triage",
        state="sent",
        image_path=photos[0].proxy_path or "",
        image_width=1,
        image_height=1,
        server="there",
        project_id=3,
        task_id=4,
    )
    store.upsert(Task, [task], why="push")
    return place.root


def _photo(media: Path, number: int) -> Photo:
    proxy, sha256 = write_media(media, "proxies", f"picture {number}".encode(), ".jpg")
    return Photo(
        photo_id=hashlib.sha256(sha256.encode()).hexdigest(),
        path=f"/originals/portrait-{number}.jpg",
        state="kept",
        size_bytes=9,
        subject_id=f"s-{number}",
        proxy_path=proxy,
    )


def test_a_consent_keeps_hashes_of_what_was_shown_and_signed(root: Path, tmp_path: Path) -> None:
    text, scan = tmp_path / "text.txt", tmp_path / "scan.pdf"
    text.write_text("I agree")
    scan.write_bytes(b"signed")
    given = ["consent", "add", "r-1", "--basis", "folder 1", "--purpose", "training"]
    told = ["--subject", "s-1", "--minor", "--jurisdiction", "DE", "-w", str(root)]
    proof = ["--text", str(text), "--evidence", str(scan)]
    assert "guardian" in authface(*given, *told, *proof, code=2)
    authface(*given, *told, *proof, "--guardian", "parent 9")
    (row,) = Store(root / "tables").read(Consent)
    assert row.text_sha256 == hashlib.sha256(b"I agree").hexdigest()
    assert row.evidence_sha256 == hashlib.sha256(b"signed").hexdigest()
    assert (row.subject_id, row.is_minor, row.guardian) == ("s-1", True, "parent 9")
    authface("consent", "withdraw", "r-1", "-w", str(root))
    assert "parent 9" in authface("consent", "list", "-w", str(root))
    assert "the chain holds" in authface("consent", "log", "-w", str(root))
    Store(root / "tables").upsert(Consent, [row], why="behind the ledger's back")
    assert "differs between" in authface("consent", "log", "-w", str(root), code=3)
    assert "can't be read" in authface(*given, "--text", "nowhere", "-w", str(root), code=2)


def test_a_dry_run_says_what_would_go_and_changes_nothing(root: Path) -> None:
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    said = authface("erase", "--subject", "s-1", "-w", str(root))
    assert "nothing was changed" in said
    assert "1 │ photos" in said
    assert "/originals/portrait-1.jpg" in said
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_an_erasure_with_its_server_away_is_partial_and_is_ended_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    said = authface("erase", "--subject", "s-1", "--yes", "-w", str(root), code=3)
    assert "1 tasks on Label Studio wait" in said
    assert "receipt:" in said
    store = Store(root / "tables")
    assert [p.subject_id for p in store.read(Photo)] == ["s-2"]
    assert len(list((root / "media").rglob("*.jpg"))) == 1
    said = authface("erase", "-w", str(root))
    assert "1 tasks of earlier erasures" in said
    assert "--yes ends it" in said
    assert "still to be deleted" in authface("erase", "--yes", "-w", str(root), code=3)


def test_the_same_command_after_a_kill_ends_what_it_began(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    place, store = Workspace(root), Store(root / "tables")
    monkeypatch.setattr("data_manifests.erase.write_receipt", stop)
    with pytest.raises(KeyboardInterrupt):
        carry_out(store, place, plan_erasure(store, place, "s-2"), lambda owed: ())
    again = ("erase", "--subject", "s-2", "--yes", "-w", str(root))
    said = authface(*again)
    assert "was stopped before its end" in said
    assert "that was the erasure of s-2" in said
    assert [p.subject_id for p in store.read(Photo)] == ["s-1"]
    assert "Nothing is held" in authface(*again, code=2)


def test_nobody_and_an_unknown_subject_are_refused(root: Path) -> None:
    assert "Nobody was named" in authface("erase", "-w", str(root), code=2)
    assert "Nothing is held" in authface("erase", "--subject", "s-9", "-w", str(root), code=2)


def test_a_report_holds_every_row_of_the_person_and_of_nobody_else(
    root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    said = authface("subject-report", "s-1", "--json", str(file), "-w", str(root))
    assert "Held about s-1" in said
    told = json.loads(file.read_text())
    assert [p["subject_id"] for p in told["rows"]["photos"]] == ["s-1"]
    assert len(told["rows"]["tasks"]) == len(told["media"]) == 1
    assert told["label_studio_tasks"] == [["there", 3, 4]]
    assert "s-2" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_tables_of_nobody_else_lose_a_row(root: Path) -> None:
    store = Store(root / "tables")
    before = [p for p in store.read(Photo) if p.subject_id == "s-2"]
    authface("erase", "--subject", "s-1", "--yes", "-w", str(root), code=3)
    assert store.read(Photo) == before
    assert store.read(Face) == store.read(Sample) == store.read(Task) == []
    assert datetime.now(UTC).year >= 2026
