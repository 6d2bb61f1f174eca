"""What is missing from a dataset or skewed in it, found by named rules over its rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_manifests.join import DEFAULT_CAPTION
from data_manifests.records import Consent, Sample

__all__ = ["Facts", "gaps"]

MUCH = 0.8  # share from which one value counts as a skew
MOST = 0.5  # share from which one photographer counts as most
SPLITS = ("train", "validation", "test")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """Samples beside the rows that they came from; `photos` and the rest by key."""

    samples: Sequence[Sample]
    photos: Mapping[str, Row]
    faces: Mapping[str, Row]
    settled: Mapping[str, Row]
    consents: Mapping[str, Consent]

    def photo(self, sample: Sample, column: str) -> Any:
        """A cell of the sample's photo, none if there is no such row."""
        return self.photos.get(sample.photo_id, {}).get(column)

    def camera(self, sample: Sample) -> str | None:
        """The camera that took it."""
        return (self.photo(sample, "capture") or {}).get("camera")

    def consent(self, sample: Sample) -> Consent | None:
        """The consent that it stands on."""
        return self.consents.get(sample.consent_id)

    def is_minor(self, sample: Sample) -> bool:
        """Whether its consent was given for a minor."""
        consent = self.consent(sample)
        return consent is not None and consent.is_minor

    def native_sides(self) -> list[float]:
        """The shorter side of each crop's area in the original, in px."""
        return [min(s.native_width, s.native_height) for s in self.samples]

    def eye_distances(self) -> list[float]:
        """Of the faces whose eyes were found, in px of the original."""
        found = (self.faces.get(s.face_id, {}).get("eye_distance") for s in self.samples)
        return [distance for distance in found if distance is not None]

    def tags(self, group: str) -> dict[str, Counter[str]]:
        """How often each value of each question was given."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sample in self.samples:
            for tag in getattr(sample, group):
                question, _, value = tag.rpartition("/")
                counts[question][value] += 1
        return counts


def gaps(facts: Facts) -> tuple[str, ...]:
    """Sentences, one per gap; empty if no rule finds any."""
    if not facts.samples:
        return ("There are no samples.",)
    return (*_missing(facts), *_skewed(facts), *_judged(facts))


def _missing(facts: Facts) -> Iterator[str]:
    held = {s.split for s in facts.samples}
    for split in SPLITS:
        if split not in held:
            yield f"There are no samples for {split}."
    for count, what in (
        (sum(not s.person for s in facts.samples), _UNKNOWN_PERSON),
        (sum(not facts.photo(s, "licence") for s in facts.samples), "come with no stated licence"),
        (sum(not facts.photo(s, "photographer") for s in facts.samples), _NO_PHOTOGRAPHER),
        (sum(not facts.camera(s) for s in facts.samples), "do not say what camera took them"),
        (sum(len(s.landmarks) != 5 for s in facts.samples), "have no landmarks of the face"),
        (sum(s.mouth_box is None for s in facts.samples), "have no boxes of eyes and mouth"),
        (sum(s.caption == DEFAULT_CAPTION for s in facts.samples), _NO_WORDS),
        (sum(facts.consent(s) is None for s in facts.samples), "name a consent that is not there"),
    ):
        if count:
            yield f"{_of(count, len(facts.samples))} {what}."


def _skewed(facts: Facts) -> Iterator[str]:
    total = len(facts.samples)
    enlarged = sum(s.native_width < s.width for s in facts.samples)
    if enlarged:
        yield f"{_of(enlarged, total)} show an area that has fewer pixels in the original."
    makers = Counter(name for s in facts.samples if (name := facts.photo(s, "photographer")))
    if makers and max(makers.values()) > MOST * total:
        yield f"One photographer took {_percent(max(makers.values()), total)} of them."
    for group in ("semantic_tags", "photographic_tags"):
        for question, values in sorted(facts.tags(group).items()):
            yield from _one_sided(question, values, total)


def _one_sided(question: str, values: Counter[str], total: int) -> Iterator[str]:
    answered = sum(values.values())
    value, count = values.most_common(1)[0]
    if count >= MUCH * answered and answered > 1:
        yield f"{question}: {_percent(count, answered)} of the answers are {value}."
    if answered < (1 - MUCH) * total:
        yield f"{question}: answered for {_of(answered, total)} only."


def _judged(facts: Facts) -> Iterator[str]:
    total = len(facts.samples)
    votes = [facts.settled.get(s.photo_id, {}).get("voters") or 0 for s in facts.samples]
    if votes.count(0):
        yield f"{_of(votes.count(0), total)} were accepted by nobody."
    if votes.count(1):
        yield f"{_of(votes.count(1), total)} were judged by one person only."
    no_gate = sum(not facts.photo(s, "verdicts") for s in facts.samples)
    if no_gate:
        yield f"{_of(no_gate, total)} come from photos that no gate measured."
    ends = [c.valid_until for s in facts.samples if (c := facts.consent(s)) and c.valid_until]
    if ends:
        first = min(ends).date().isoformat()
        yield f"{_of(len(ends), total)} stand on a consent that ends, the first on {first}."


_UNKNOWN_PERSON = "show nobody who is known by a name, so one person could stand in two splits"
_NO_PHOTOGRAPHER = "do not say who took them"
_NO_WORDS = "have no words of their own"


def _of(count: int, total: int) -> str:
    return f"{count} of {total} samples ({_percent(count, total)})"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %"
