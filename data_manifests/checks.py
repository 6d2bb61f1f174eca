"""Named rules that the tables must keep; each yields the rows that break it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data_manifests.consent import refusal
from data_manifests.records import Box, Consent, Face, Photo, Sample
from data_manifests.store import TABLES, Store, file_sha256

__all__ = ["RULES", "Fault", "Tables", "check", "read_tables"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row or file that breaks a rule."""

    rule: str
    row: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows that the rules look at, and where the media lie."""

    photos: tuple[Photo, ...]
    faces: tuple[Face, ...]
    samples: tuple[Sample, ...]
    consents: tuple[Consent, ...]
    store: Store
    media: Path
    now: datetime


Rule = Callable[[Tables], Iterator[tuple[str, str]]]


def read_tables(store: Store, media: Path, now: datetime) -> Tables:
    """The newest version of every table the rules need."""
    return Tables(
        tuple(store.read(Photo)),
        tuple(store.read(Face)),
        tuple(store.read(Sample)),
        tuple(store.read(Consent)),
        store,
        media,
        now,
    )


def check(tables: Tables) -> dict[str, list[Fault]]:
    """Every rule's faults, by rule name; an empty list means the rule holds."""
    return {
        name: [Fault(name, row, wrong) for row, wrong in rule(tables)]
        for name, rule in RULES.items()
    }


def _parquet_files_sealed(tables: Tables) -> Iterator[tuple[str, str]]:
    for noun, name in TABLES.items():
        for file in tables.store.unsealed(noun):
            yield (
                f"{name}/{file}",
                "has no recorded SHA-256: its writer was killed; the next write records it",
            )
        for file, sha256 in tables.store.seals(noun).items():
            path = tables.store.folder / name / file
            if not path.exists():
                yield str(path), "is missing"
            elif file_sha256(path) != sha256:
                yield str(path), "is not what was committed: its SHA-256 differs"


def _media_present(tables: Tables) -> Iterator[tuple[str, str]]:
    named = [(p.photo_id, p.proxy_path) for p in tables.photos if p.proxy_path]
    named += [(f.face_id, c.path) for f in tables.faces for c in f.crops]
    for row, relative in named:
        path = tables.media / relative
        if not path.exists():
            yield row, f"{path} is missing"
        elif file_sha256(path) != path.stem:
            yield row, f"{path} is damaged: its SHA-256 is not its name"


def _faces_have_photos(tables: Tables) -> Iterator[tuple[str, str]]:
    known = {p.photo_id for p in tables.photos}
    for face in tables.faces:
        if face.photo_id not in known:
            yield face.face_id, "belongs to a photo that is not in the table"


def _boxes_inside(tables: Tables) -> Iterator[tuple[str, str]]:
    sizes = {p.photo_id: (p.width, p.height) for p in tables.photos}
    for face in tables.faces:
        width, height = sizes.get(face.photo_id, (0, 0))
        if not _overlaps(face.box, width, height):
            yield face.face_id, f"its box lies outside the {width} x {height} photo"
    for sample in tables.samples:
        for box in (sample.left_eye_box, sample.right_eye_box, sample.nose_box, sample.mouth_box):
            if box is not None and not _overlaps(box, sample.width, sample.height):
                yield sample.sample_id, "a part box lies outside the crop"


def _overlaps(box: Box, width: float, height: float) -> bool:
    proper = box.left < box.right and box.top < box.bottom
    return proper and box.left < width and box.top < height and box.right > 0 and box.bottom > 0


def _captions_not_empty(tables: Tables) -> Iterator[tuple[str, str]]:
    for sample in tables.samples:
        if not sample.caption.strip():
            yield sample.sample_id, "has no caption"


def _one_person_one_split(tables: Tables) -> Iterator[tuple[str, str]]:
    subject = {p.photo_id: p.subject_id for p in tables.photos}
    splits: dict[str, set[str]] = defaultdict(set)
    for sample in tables.samples:
        person = subject.get(sample.photo_id)
        if person:
            splits[person].add(sample.split)
    for person, found in splits.items():
        if len(found) > 1:
            yield person, f"is in more than one split: {', '.join(sorted(found))}"


def _consent_valid(tables: Tables) -> Iterator[tuple[str, str]]:
    ledger = {c.consent_id: c for c in tables.consents}
    for sample in tables.samples:
        why = refusal(ledger.get(sample.consent_id), "training", tables.now)
        if why:
            yield sample.sample_id, why


RULES: dict[str, Rule] = {
    "parquet_files_sealed": _parquet_files_sealed,
    "media_present": _media_present,
    "faces_have_photos": _faces_have_photos,
    "boxes_inside": _boxes_inside,
    "captions_not_empty": _captions_not_empty,
    "one_person_one_split": _one_person_one_split,
    "consent_valid": _consent_valid,
}
