"""The facts of a dataset card: counted from the tables, nothing said that no row says."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_manifests.gaps import Facts, gaps
from data_manifests.ledger import read_view
from data_manifests.records import (
    Annotation,
    Consensus,
    Consent,
    Face,
    Photo,
    Sample,
    Tombstone,
)
from data_manifests.schema import key_of
from data_manifests.store import Store

__all__ = ["About", "Card", "Gate", "describe"]

SIZES = (512, 1024, 2048, 4096, 8192)
DISTANCES = (64, 128, 256, 512, 1024)
# The first that stands in the basis as words of its own; what else it says may name somebody.
BASES = {
    "release": r"(signed |model )?releases?",
    "licence": r"licen[cs]ed?",
    "public_domain": r"public[ _-]domain",
    "own_photos": r"own[ _-](photo|picture|work)\w*",
}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What a card is of, and what its samples' rows can't say."""

    name: str
    version: int | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0  # erased from this copy after it was made
    undescribed: int = 0  # in this copy, and no longer in the tables


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate said about the photos and faces of the samples."""

    name: str
    thresholds: str
    judged: int
    passed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything that a card says, counted."""

    about: About
    samples: int
    splits: Mapping[str, int]
    people: int
    photos: int
    photographers: int
    counts: Mapping[str, Mapping[str, int]]  # title of a table, then what was counted
    gates: tuple[Gate, ...]
    reviewers: int
    answers: int
    voters_per_photo: float | None
    agreement: float | None
    consents: int
    minors: int
    gaps: tuple[str, ...]
    versions: Mapping[str, int]
    erased: Mapping[str, int]
    native_px: tuple[int, int, int] | None  # least, median, greatest
    eyes_px: tuple[int, int, int] | None

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences that stand in the photos' rows."""
        return tuple(n for n in self.counts.get("Licences", {}) if n != "not stated")


def describe(store: Store, samples: Sequence[Sample], about: About) -> Card:
    """The card of these samples, from the newest tables."""
    photo_ids = sorted({s.photo_id for s in samples})
    photos = _rows(store, Photo, photo_ids, "licence photographer capture verdicts state")
    faces = _rows(store, Face, [s.face_id for s in samples], "eye_distance verdicts")
    settled = _rows(store, Consensus, photo_ids, "voters agreement conflict annotation_ids")
    consents = read_view(store)
    facts = Facts(samples, photos, faces, settled, consents)
    answers = _answers(store, settled.values())
    shares = [r["agreement"] for r in settled.values() if r["agreement"] is not None]
    voters = [r["voters"] for r in settled.values()]
    return Card(
        about=about,
        samples=len(samples),
        splits=_ordered(Counter(s.split for s in samples)),
        people=len({s.person for s in samples if s.person}),
        photos=len(photo_ids),
        photographers=len({r["photographer"] for r in photos.values() if r["photographer"]}),
        counts=_counts(facts),
        gates=_gates([*photos.values(), *faces.values()]),
        reviewers=len({a["annotator"] for a in answers}),
        answers=len(answers),
        voters_per_photo=statistics.fmean(voters) if voters else None,
        agreement=statistics.fmean(shares) if shares else None,
        consents=len({s.consent_id for s in samples}),
        minors=sum(facts.is_minor(s) for s in samples),
        gaps=gaps(facts),
        versions=store.versions(),
        erased=_ordered(Counter(t.kind for t in store.read(Tombstone) if t.kind != "key")),
        native_px=_spread(facts.native_sides()),
        eyes_px=_spread(facts.eye_distances()),
    )


def _counts(facts: Facts) -> dict[str, dict[str, int]]:
    samples = facts.samples
    consents = [facts.consent(s) for s in samples]
    tables: dict[str, Counter[str]] = {
        "Licences": Counter(facts.photo(s, "licence") or "not stated" for s in samples),
        "Cameras": Counter(facts.camera(s) or "not stated" for s in samples),
        "Consent: basis": Counter(_basis(c) for c in consents),
        "Consent: purposes": Counter(p for c in consents if c for p in c.purposes),
        "Consent: law": Counter((c.jurisdiction if c else None) or "not stated" for c in consents),
        "Side of the crop's area in the original, px": _buckets(facts.native_sides(), SIZES),
        "Distance of the eyes in the original, px": _buckets(facts.eye_distances(), DISTANCES),
    }
    for group in ("semantic_tags", "photographic_tags"):
        tables |= {f"Tag: {q}": c for q, c in sorted(facts.tags(group).items())}
    return {title: _ordered(count) for title, count in tables.items() if count}


def _gates(rows: Iterable[Row]) -> tuple[Gate, ...]:
    said: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for verdict in row["verdicts"] or ():
            said[verdict["gate"]].append(verdict)
    return tuple(
        Gate(
            name,
            ", ".join(sorted({f"{v['threshold']:g}" for v in found if v["threshold"] is not None})),
            len(found),
            sum(v["keep"] for v in found),
        )
        for name, found in sorted(said.items())
    )


def _answers(store: Store, settled: Iterable[Row]) -> list[Row]:
    names = sorted({name for row in settled for name in row["annotation_ids"] or ()})
    rows = _rows(store, Annotation, names, "annotator state")
    return [r for r in rows.values() if r["state"] == "counted"]


def _rows(store: Store, noun: type, keys: Sequence[str], names: str) -> dict[str, Row]:
    """The named columns of the rows with these keys, by key; empty if there is no table."""
    if store.version(noun) is None:
        return {}
    key = key_of(noun)
    table = store.table(noun).select([key, *names.split()])
    found = table.filter(pc.is_in(table[key], value_set=pa.array(keys, pa.string())))
    return {row[key]: row for row in found.to_pylist()}


def _basis(consent: Consent | None) -> str:
    """Of a basis only words that say nothing about a person."""
    said = (consent.basis if consent else "").lower()
    found = (n for n, words in BASES.items() if re.search(rf"(?<!\w){words}(?!\w)", said))
    return next(found, "other")


def _buckets(values: Iterable[float], edges: Sequence[int]) -> Counter[str]:
    names = [f"below {edges[0]}"]
    names += [f"{low} to {high - 1}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]} and more")
    return Counter(names[sum(v >= edge for edge in edges)] for v in values)


def _spread(values: Sequence[float]) -> tuple[int, int, int] | None:
    if not values:
        return None
    return round(min(values)), round(statistics.median(values)), round(max(values))


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
