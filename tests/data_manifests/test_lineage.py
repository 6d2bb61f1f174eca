"""One sample's chain: from the original's bytes to the runs that read it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data_manifests.assemble import BuildConfig, build
from data_manifests.consent import grant, withdraw
from data_manifests.errors import InputError
from data_manifests.lineage import Chain, explain
from data_manifests.media import Workspace, write_media
from data_manifests.records import (
    Agreement,
    Annotation,
    Box,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Retouch,
    Sample,
    Verdict,
)
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONFIG = BuildConfig(validation_share=0.0, test_share=0.0)
CONSENT = Consent(
    consent_id="c1",
    purposes=("training",),
    basis="release",
    valid_from=NOW - timedelta(days=9),
    subject_id="subject-1",
)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Three photos with real files: accepted, rejected, set aside; the samples are built."""
    workspace = Workspace(tmp_path)
    store = Store(workspace.tables)
    grant(store, CONSENT)
    for name, decision in (("a", "accept"), ("b", "reject"), ("c", "accept")):
        _add(workspace, store, name, decision)
    build(store, CONFIG, NOW)
    return workspace


def _add(workspace: Workspace, store: Store, name: str, decision: str) -> None:
    original = workspace.root / f"{name}.jpg"
    original.write_bytes(f"bytes of {name}".encode())
    photo_id = hashlib.sha256(original.read_bytes()).hexdigest()
    relative, sha256 = write_media(workspace.media, "crops", f"crop {name}".encode(), ".png")
    crop = Crop(
        path=relative,
        sha256=sha256,
        kind="aligned",
        width=64,
        height=64,
        matrix=(0.5, 0.0, 0.0, 0.0, 0.5, 0.0),
    )
    photo = Photo(
        photo_id=photo_id,
        path=str(original),
        state="set_aside" if name == "c" else "kept",
        reasons=("blurred",) if name == "c" else (),
        size_bytes=10,
        width=200,
        height=100,
        photographer="P",
        consent_id="c1",
        subject_id="subject-1",
        verdicts=(Verdict(gate="sharp", value=3.0, threshold=2.0, keep=True),),
    )
    face = Face(
        face_id=f"{photo_id}-aaaaaaaaaaaa",
        photo_id=photo_id,
        index=0,
        box=Box(left=1, top=1, right=90, bottom=90),
        finder="test 1",
        eye_distance=33.0,
        crops=(crop,),
    )
    answer = Annotation(
        annotation_id=f"answer-{name}",
        task_key=f"{photo_id}:triage:1",
        photo_id=photo_id,
        annotator="annotator-1",
        state="counted",
        decision=decision,
        semantic_tags=("shot/close_up",),
        raw="{}",
        updated_at=NOW,
    )
    settled = Consensus(
        photo_id=photo_id,
        decision=decision,
        voters=1,
        agreement=1.0,
        conflict=False,
        semantic_tags=("shot/close_up",),
        agreements=(Agreement(question="shot", value="close_up", voters=1, share=1.0),),
        annotation_ids=(answer.annotation_id,),
    )
    for noun, row in ((Photo, photo), (Face, face), (Annotation, answer), (Consensus, settled)):
        store.upsert(noun, [row], why="test")


def chain(place: Workspace, name: str, **more: Any) -> Chain:
    return explain(place, name, config=CONFIG, now=NOW, **more)


def photo_named(place: Workspace, name: str) -> Photo:
    rows = Store(place.tables).read(Photo)
    return next(p for p in rows if Path(p.path).name == f"{name}.jpg")


def run_of(place: Workspace, name: str, version: int | None) -> None:
    folder = place.runs / name
    (folder / "model").mkdir(parents=True)
    record = {"kind": "prior", "tables": {"samples": version}}
    (folder / "config.json").write_text(json.dumps(record))


def test_a_sample_is_found_by_id_digits_photo_crop_and_path(place: Workspace) -> None:
    (sample,) = Store(place.tables).read(Sample)
    original = photo_named(place, "a").path
    for name in (
        sample.sample_id,
        sample.sample_id[:6],
        sample.photo_id,
        sample.photo_id[:6],
        sample.face_id,
        sample.crop_path,
        str(place.media / sample.crop_path),
        original,
    ):
        assert chain(place, name).sample == sample, name


def test_the_chain_holds_every_link(place: Workspace) -> None:
    (sample,) = Store(place.tables).read(Sample)
    found = chain(place, sample.sample_id)
    assert found.photo == photo_named(place, "a")
    assert found.face is not None
    assert found.crop == found.face.crops[0]
    assert [a.annotation.annotation_id for a in found.answers] == ["answer-a"]
    assert found.answers[0].used
    assert found.consensus is not None
    assert found.consensus.agreements[0].question == "shot"
    assert found.consent is not None
    assert (found.consent.consent_id, found.refused) == ("c1", None)
    assert {f.what: f.state for f in found.files} == {"original": "present", "crop": "present"}
    assert found.left_out is None


@pytest.mark.parametrize(("name", "why"), [("b", "rejected"), ("c", "set_aside: blurred")])
def test_a_photo_without_a_sample_says_why(place: Workspace, name: str, why: str) -> None:
    found = chain(place, photo_named(place, name).photo_id)
    assert found.sample is None
    assert found.left_out == why


def test_a_withdrawn_consent_is_seen_at_once(place: Workspace) -> None:
    withdraw(Store(place.tables), "c1", NOW)
    (sample,) = Store(place.tables).read(Sample)
    assert chain(place, sample.sample_id).refused == "consent_withdrawn"


def test_damaged_and_missing_files_are_told_apart(place: Workspace) -> None:
    (sample,) = Store(place.tables).read(Sample)
    (place.media / sample.crop_path).write_bytes(b"other bytes")
    Path(photo_named(place, "a").path).unlink()
    states = {f.what: f.state for f in chain(place, sample.sample_id).files}
    assert states == {"original": "missing", "crop": "damaged"}


def test_an_answer_that_changed_since_the_build_is_marked(place: Workspace) -> None:
    store = Store(place.tables)
    (sample,) = store.read(Sample)
    pinned = replace(sample, annotation_ids=("answer-a",), annotation_versions=(NOW.isoformat(),))
    store.upsert(Sample, [pinned], why="test")
    assert not chain(place, sample.sample_id).answers[0].changed_since
    (answer,) = (a for a in store.read(Annotation) if a.annotation_id == "answer-a")
    store.upsert(Annotation, [replace(answer, updated_at=NOW + timedelta(hours=1))], why="test")
    assert chain(place, sample.sample_id).answers[0].changed_since


def test_an_approved_retouch_is_the_source_of_the_crop(place: Workspace) -> None:
    store = Store(place.tables)
    photo = photo_named(place, "a")
    file = place.root / "a-retouched.jpg"
    file.write_bytes(b"retouched")
    relative, sha256 = write_media(place.media, "crops", b"crop of the retouch", ".png")
    (face,) = (f for f in store.read(Face) if f.photo_id == photo.photo_id)
    retouch = Retouch(
        retouch_id=hashlib.sha256(b"retouched").hexdigest(),
        photo_id=photo.photo_id,
        path=str(file),
        match_method="name",
        match_score=1.0,
        state="approved",
        crop=replace(face.crops[0], path=relative, sha256=sha256),
    )
    store.upsert(Retouch, [retouch], why="test")
    build(store, CONFIG, NOW)
    found = chain(place, photo.photo_id)
    assert found.sample is not None
    assert found.sample.retouch_id == retouch.retouch_id
    assert found.crop == retouch.crop
    states = {f.what: f.state for f in found.files}
    assert states == {"original": "present", "retouch": "present", "crop": "present"}
    assert chain(place, relative).sample == found.sample
    assert chain(place, str(file)).sample == found.sample


def test_runs_are_listed_that_are_pinned_to_a_version_that_holds_it(place: Workspace) -> None:
    store = Store(place.tables)
    (sample,) = store.read(Sample)
    first = store.version(Sample)
    store.upsert(Sample, [replace(sample, split="test")], why="test")
    held_out = store.version(Sample)
    store.remove(Sample, [sample.sample_id], why="test")
    run_of(place, "early", first)
    run_of(place, "held-out", held_out)
    run_of(place, "late", store.version(Sample))
    run_of(place, "lost", 99)
    run_of(place, "odd", None)
    (place.runs / "broken").mkdir()
    (place.runs / "broken" / "config.json").write_text("{")
    uses = chain(place, sample.photo_id).uses
    assert [(u.run, u.trained, u.split) for u in uses] == [
        ("early", True, "train"),
        ("held-out", False, "test"),
    ]
    assert uses[0].exported
    assert chain(place, sample.sample_id, at=first).sample == sample


def test_a_name_that_means_nothing_or_too_much_is_refused(place: Workspace) -> None:
    for name in ("abc", "f" * 12, "it's"):
        with pytest.raises(InputError, match="No sample, photo or crop"):
            chain(place, name)
    store = Store(place.tables)
    (sample,) = store.read(Sample)
    other = replace(sample, sample_id="e" * 32, photo_id="d" * 64)
    twin = replace(sample, sample_id="e" * 31 + "f", photo_id="c" * 64)
    store.upsert(Sample, [other, twin], why="test")
    with pytest.raises(InputError, match="may be any of 2"):
        chain(place, "eeeeee")
