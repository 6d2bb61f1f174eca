"""Named rules that the tables must keep; each yields the rows that break it.

What a rule says about bytes is proved in full by `fsck`; here each file is looked at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data_manifests.assemble import BuildConfig
from data_manifests.consent import refusal
from data_manifests.errors import ManifestError
from data_manifests.ledger import read_view, verify_ledger
from data_manifests.records import LANDMARK_NAMES, Box, Consent, Face, Photo, Sample
from data_manifests.schema import key_of
from data_manifests.store import TABLES, Store, file_sha256

__all__ = ["RULES", "Fault", "Tables", "check", "looked_at", "read_tables"]


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
    config: BuildConfig


Rule = Callable[[Tables], Iterator[tuple[str, str]]]


def read_tables(
    store: Store, media: Path, now: datetime, config: BuildConfig | None = None
) -> Tables:
    """The newest version of every table the rules need."""
    return Tables(
        tuple(store.read(Photo)),
        tuple(store.read(Face)),
        tuple(store.read(Sample)),
        tuple(read_view(store).values()),
        store,
        media,
        now,
        config or BuildConfig(),
    )


def check(tables: Tables) -> dict[str, list[Fault]]:
    """Every rule's faults, by rule name; an empty list means the rule holds."""
    return {name: list(_faults(name, rule, tables)) for name, rule in RULES.items()}


def _faults(name: str, rule: Rule, tables: Tables) -> Iterator[Fault]:
    try:
        yield from (Fault(name, row, wrong) for row, wrong in rule(tables))
    except (OSError, ManifestError) as error:  # a damaged file, which another rule names
        said = str(error).splitlines()[0]
        yield Fault(name, "a table", f"can't be read ({said}): run `authface manifest fsck`")


def looked_at(tables: Tables, rule: str) -> int:
    """How many rows, or files, a rule looked at."""
    counts: dict[str, int] = {
        "parquet_files_sealed": sum(len(tables.store.seals(noun)) for noun in TABLES),
        "ids_unique": sum(r.num_rows for r in _keys(tables).values()),
        "media_present": sum(1 for _ in _named_media(tables)),
        "faces_have_photos": len(tables.faces),
        "boxes_inside": len(tables.faces) + len(tables.samples),
        "consent_ledger_chained": len(tables.consents),
    }
    return counts.get(rule, len(tables.samples))


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


def _ids_unique(tables: Tables) -> Iterator[tuple[str, str]]:
    for name, rows in _keys(tables).items():
        found = rows.column(0).value_counts()
        for twice in found.filter(pc.greater(found.field("counts"), 1)).to_pylist():
            yield f"{name}: {twice['values']}", f"stands {twice['counts']} times"


def _keys(tables: Tables) -> dict[str, pa.Table]:
    """The key column of every table there is."""
    found = {name: tables.store.columns(noun, [key_of(noun)]) for noun, name in TABLES.items()}
    return {name: rows for name, rows in found.items() if rows is not None}


def _media_present(tables: Tables) -> Iterator[tuple[str, str]]:
    for row, relative, sha256 in _named_media(tables):
        path = tables.media / relative
        if not path.exists():
            yield row, f"{path} is missing"
        elif file_sha256(path) != sha256:
            yield row, f"{path} is damaged: its SHA-256 is not what the row says"


def _named_media(tables: Tables) -> Iterator[tuple[str, str, str]]:
    """(row, path relative to media/, SHA-256), each file once: media go by their hash."""
    named = {p: (row.photo_id, Path(p).stem) for row in tables.photos for p in _shown(row)}
    named |= {c.path: (face.face_id, c.sha256) for face in tables.faces for c in face.crops}
    named |= {s.crop_path: (s.sample_id, s.crop_sha256) for s in tables.samples}
    yield from ((row, path, sha256) for path, (row, sha256) in named.items())


def _shown(photo: Photo) -> list[str]:
    return [path for path in (photo.proxy_path, photo.thumb_path) if path]


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


def _landmarks_in_order(tables: Tables) -> Iterator[tuple[str, str]]:
    """In an aligned crop: left of the picture before right, eyes above the mouth."""
    for sample in tables.samples:
        if len(sample.landmarks) != len(LANDMARK_NAMES):
            continue
        at = dict(zip(LANDMARK_NAMES, sample.landmarks, strict=True))
        if at["left_eye"].x >= at["right_eye"].x or at["mouth_left"].x >= at["mouth_right"].x:
            yield sample.sample_id, "its left and right landmarks are swapped"
        elif max(at["left_eye"].y, at["right_eye"].y) >= at["mouth_left"].y:
            yield sample.sample_id, "its eyes lie below its mouth"


def _lineage_whole(tables: Tables) -> Iterator[tuple[str, str]]:
    photos = {p.photo_id for p in tables.photos}
    faces = {f.face_id: f.photo_id for f in tables.faces}
    for sample in tables.samples:
        if sample.photo_id not in photos:
            yield sample.sample_id, "its photo is not in the table: build again"
        elif faces.get(sample.face_id) != sample.photo_id:
            yield sample.sample_id, "its face is not in the table: build again"


def _one_person_one_split(tables: Tables) -> Iterator[tuple[str, str]]:
    photos = {p.photo_id: p for p in tables.photos}
    groups = {f.face_id: f.identity_group for f in tables.faces}
    splits: dict[str, set[str]] = defaultdict(set)
    for sample in tables.samples:
        photo = photos.get(sample.photo_id)
        known = (photo.subject_id, photo.shot_id, photo.duplicate_group) if photo else ()
        for one in {sample.person, groups.get(sample.face_id), *known} - {None}:
            splits[str(one)].add(sample.split)
    for one, found in splits.items():
        if len(found) > 1:
            yield one, f"is in more than one split: {', '.join(sorted(found))}"


def _classes_balanced(tables: Tables) -> Iterator[tuple[str, str]]:
    """Of the questions that the settings name: no value that was given is rarer than they allow."""
    config = tables.config
    if len(tables.samples) < config.balance_from:
        return
    for question in config.balance_questions:
        tags = (tag for s in tables.samples for tag in (*s.semantic_tags, *s.photographic_tags))
        unclear = f"{question}/not_clear"
        given = Counter(t for t in tags if t.startswith(f"{question}/") and t != unclear)
        for tag, count in sorted(given.items()):
            if count < config.balance_least_share * given.total():
                yield tag, f"{count} of {given.total()} samples: add some, or weigh them"


def _consent_valid(tables: Tables) -> Iterator[tuple[str, str]]:
    ledger = {c.consent_id: c for c in tables.consents}
    for sample in tables.samples:
        why = refusal(ledger.get(sample.consent_id), tables.config.purpose, tables.now)
        if why:
            yield sample.sample_id, why


def _consent_ledger_chained(tables: Tables) -> Iterator[tuple[str, str]]:
    yield from verify_ledger(tables.store)


RULES: dict[str, Rule] = {
    "parquet_files_sealed": _parquet_files_sealed,
    "ids_unique": _ids_unique,
    "media_present": _media_present,
    "faces_have_photos": _faces_have_photos,
    "boxes_inside": _boxes_inside,
    "landmarks_in_order": _landmarks_in_order,
    "captions_not_empty": _captions_not_empty,
    "lineage_whole": _lineage_whole,
    "one_person_one_split": _one_person_one_split,
    "consent_valid": _consent_valid,
    "consent_ledger_chained": _consent_ledger_chained,
    "classes_balanced": _classes_balanced,
}
