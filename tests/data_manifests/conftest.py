"""A small workspace with samples whose crops are real files, for whatever reads samples."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_manifests.consent import grant
from data_manifests.media import Workspace, write_media
from data_manifests.records import (
    Annotation,
    Box,
    Capture,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Point,
    Sample,
    Verdict,
)
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPLITS = ("train",) * 6 + ("validation", "test")


@dataclass(frozen=True)
class Gallery:
    """A workspace and the samples in it."""

    place: Workspace
    store: Store
    samples: Sequence[Sample]
    now: datetime = NOW


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """Eight samples of four people; the last two stand on a consent for training only."""
    place = Workspace(tmp_path / "w")
    for folder in (place.tables, place.media):
        folder.mkdir(parents=True)
    place.settings.touch()
    store = Store(place.tables)
    began = NOW - timedelta(days=9)
    for name, purposes in (("open", ("training", "publish")), ("inside", ("training",))):
        basis = "signed release, cabinet 17"
        grant(store, Consent(consent_id=name, purposes=purposes, basis=basis, valid_from=began))
    rows = [_rows(place.media, number) for number in range(8)]
    for noun, records in zip(
        (Photo, Face, Annotation, Consensus, Sample), zip(*rows, strict=True), strict=True
    ):
        store.upsert(noun, records, why="test")
    return Gallery(place, store, store.read(Sample))


def png(number: int, side: int = 48) -> bytes:
    """A picture that no other number gives."""
    pixels_HWC = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def _rows(media: Path, number: int) -> tuple[Photo, Face, Annotation, Consensus, Sample]:
    path, sha256 = write_media(media, "crops", png(number), ".png")
    photo_id = hashlib.sha256(f"photo {number}".encode()).hexdigest()
    face_id = f"{photo_id}-{number:012d}"
    consent_id = "open" if number < 6 else "inside"
    verdict = Verdict(gate="sharp", value=9.0, threshold=4.5, keep=True)
    photo = Photo(
        photo_id=photo_id,
        path=f"/originals/{number}.jpg",
        state="kept",
        size_bytes=9,
        width=9000,
        height=9000,
        licence="CC-BY-4.0",
        photographer="p1" if number else None,
        consent_id=consent_id,
        capture=Capture(camera="Canon EOS R5"),
        verdicts=(verdict,),
    )
    crop = Crop(
        path=path,
        sha256=sha256,
        kind="aligned",
        width=48,
        height=48,
        matrix=(0.02, 0, 0, 0, 0.02, 0),
    )
    face = Face(
        face_id=face_id,
        photo_id=photo_id,
        index=0,
        box=Box(left=0, top=0, right=9, bottom=9),
        finder="test",
        eye_distance=200.0 + number,
        crops=(crop,),
    )
    answer = Annotation(
        annotation_id=f"studio:{number}",
        task_key=f"{photo_id}:triage:1",
        photo_id=photo_id,
        annotator=f"reviewer {number % 2}",
        state="counted",
        decision="accept",
        raw="[]",
    )
    consensus = Consensus(
        photo_id=photo_id,
        decision="accept",
        voters=1,
        agreement=1.0,
        conflict=False,
        annotation_ids=(answer.annotation_id,),
    )
    return photo, face, answer, consensus, _sample(number, face, crop, consent_id)


def _sample(number: int, face: Face, crop: Crop, consent_id: str) -> Sample:
    return Sample(
        sample_id=hashlib.sha256(f"{crop.sha256}:{face.face_id}".encode()).hexdigest()[:32],
        photo_id=face.photo_id,
        face_id=face.face_id,
        annotation_ids=(f"studio:{number}",),
        crop_path=crop.path,
        crop_sha256=crop.sha256,
        width=48,
        height=48,
        caption=f"portrait nümber {number}, with a smile",
        semantic_tags=("gender/woman", "shot/close_up"),
        photographic_tags=("focus/sharp_eyes",),
        landmarks=tuple(Point(x=i + 0.5, y=i) for i in range(5)),
        left_eye_box=Box(left=1, top=2, right=3.5, bottom=4),
        mouth_box=Box(left=5, top=6, right=7, bottom=8) if number % 2 else None,
        native_width=2400,
        native_height=2400,
        split=SPLITS[number],
        consent_id=consent_id,
        person=f"person {number // 2}",
    )
