"""From photos, faces and the people's consensus to Samples: join, gate by consent, split by person.

Every photo ends as one sample or is left out for one reason: photos = samples + left out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from data_manifests.config import Section
from data_manifests.consent import refusal
from data_manifests.records import Consensus, Consent, Crop, Face, Photo, Point, Sample
from data_manifests.store import Store

__all__ = ["BuildConfig", "Built", "assemble", "build", "split_of"]


class BuildConfig(Section):
    """How samples are chosen and split."""

    purpose: str = Field(default="training", description="the purpose a consent must cover")
    accept_unreviewed: bool = Field(
        default=False, description="take kept photos that nobody has answered about yet"
    )
    validation_share: float = Field(
        default=0.1, ge=0, le=0.5, description="share of people held out for validation"
    )
    test_share: float = Field(
        default=0.1, ge=0, le=0.5, description="share of people held out for the final test"
    )
    salt: str = Field(default="authface", description="changes which people fall in which split")


@dataclass(frozen=True, slots=True)
class Built:
    """Samples in key order, and how many photos were left out for each reason."""

    samples: tuple[Sample, ...]
    left_out: Mapping[str, int]
    version: int | None = None
    sources: str = ""


def build(store: Store, config: BuildConfig, now: datetime) -> Built:
    """Assemble from the newest tables and commit the Samples table, rows that fell out removed."""
    sources = " ".join(f"{name}@{v}" for name, v in store.versions().items() if name != "samples")
    made = assemble(
        store.read(Photo),
        store.read(Face),
        store.read(Consensus),
        store.read(Consent),
        config=config,
        now=now,
    )
    gone = {s.sample_id for s in store.read(Sample)} - {s.sample_id for s in made.samples}
    store.remove(Sample, gone, why=f"no longer chosen, from {sources}")
    store.upsert(Sample, made.samples, why=f"build from {sources}")
    return Built(made.samples, made.left_out, store.version(Sample), sources)


def assemble(
    photos: Sequence[Photo],
    faces: Sequence[Face],
    settled: Sequence[Consensus],
    consents: Sequence[Consent],
    *,
    config: BuildConfig,
    now: datetime,
) -> Built:
    """The samples and the counts of what was left out; a pure function of its arguments."""
    main_face = {f.photo_id: f for f in faces if f.index == 0}
    consensus = {c.photo_id: c for c in settled}
    ledger = {c.consent_id: c for c in consents}
    samples: list[Sample] = []
    left_out: Counter[str] = Counter()
    for photo in photos:
        face, answer = main_face.get(photo.photo_id), consensus.get(photo.photo_id)
        reason = _why_not(photo, face, answer, config) or refusal(
            ledger.get(photo.consent_id or ""), config.purpose, now
        )
        if reason or face is None:
            left_out[reason or "no_face"] += 1
        else:
            samples.append(_sample(photo, face, answer, config))
    return Built(tuple(sorted(samples, key=lambda s: s.sample_id)), dict(sorted(left_out.items())))


def split_of(group: str, config: BuildConfig) -> str:
    """train, validation or test: a hash of the group, so that adding rows moves nobody."""
    digest = hashlib.sha256(f"{config.salt}:{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test_share:
        return "test"
    return "validation" if place < config.test_share + config.validation_share else "train"


def _why_not(
    photo: Photo, face: Face | None, answer: Consensus | None, config: BuildConfig
) -> str | None:
    if photo.state != "kept":
        return f"{photo.state}: {', '.join(photo.reasons) or 'no reason given'}"
    if face is None:
        return "no_face"
    if _aligned(face) is None:
        return "no_aligned_crop"
    return _why_not_answered(answer, config)


def _why_not_answered(answer: Consensus | None, config: BuildConfig) -> str | None:
    if answer is None or answer.voters == 0:
        return None if config.accept_unreviewed else "not_reviewed"
    if answer.conflict or answer.decision is None:
        return "reviewers_disagree"
    return {"accept": None, "retouch": "waits_for_retouch", "reject": "rejected"}.get(
        answer.decision, "rejected"
    )


def _aligned(face: Face) -> Crop | None:
    return next((c for c in face.crops if c.kind == "aligned"), None)


def _sample(photo: Photo, face: Face, answer: Consensus | None, config: BuildConfig) -> Sample:
    crop = _aligned(face)
    if crop is None:
        raise ValueError("a face without an aligned crop makes no sample")
    scale = math.sqrt(abs(crop.matrix[0] * crop.matrix[4] - crop.matrix[1] * crop.matrix[3]))
    semantic = answer.semantic_tags if answer else ()
    photographic = answer.photographic_tags if answer else ()
    words = ", ".join(tag.split("/", 1)[-1].replace("_", " ") for tag in (*semantic, *photographic))
    return Sample(
        sample_id=hashlib.sha256(f"{crop.sha256}:{face.face_id}".encode()).hexdigest()[:32],
        photo_id=photo.photo_id,
        face_id=face.face_id,
        annotation_ids=answer.annotation_ids if answer else (),
        crop_path=crop.path,
        crop_sha256=crop.sha256,
        width=crop.width,
        height=crop.height,
        caption=(answer.caption if answer and answer.caption else words)
        or "portrait photograph of a face",
        semantic_tags=semantic,
        photographic_tags=photographic,
        landmarks=tuple(_moved(crop.matrix, p) for p in face.landmarks),
        left_eye_box=face.left_eye_box,
        right_eye_box=face.right_eye_box,
        nose_box=face.nose_box,
        mouth_box=face.mouth_box,
        native_width=crop.width / scale,
        native_height=crop.height / scale,
        split=split_of(photo.subject_id or face.identity_group or photo.photo_id, config),
        consent_id=photo.consent_id or "",
    )


def _moved(matrix: tuple[float, ...], point: Point) -> Point:
    a, b, c, d, e, f = matrix
    return Point(x=a * point.x + b * point.y + c, y=d * point.x + e * point.y + f)
