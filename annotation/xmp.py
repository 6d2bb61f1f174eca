"""Pure: what a photographer says in XMP, as an answer to the triage form.

A rating in Lightroom, Capture One, Photo Mechanic, digiKam or darktable counts as the answer of one
reviewer. Only what a person said counts: a value that AuthFace itself wrote into a sidecar (which
`af:wrote` lists) is no answer until somebody changes it. Source: ISO 16684-1 (XMP part 1).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from annotation.questions import TRIAGE, Form, Question
from annotation.tasks import task_key
from annotation.xmp_names import (
    AF,
    DC,
    DIGIKAM,
    LR,
    PHOTOSHOP,
    XMP,
    owned,
    parse_wrote,
)
from data_manifests.records import Annotation

__all__ = ["UNEXPLAINED", "Packet", "Reading", "XmpAnswer", "XmpRules", "read_answer", "to_row"]

# What cameras and programs put into dc:description by themselves.
_BY_MACHINE = frozenset(
    (
        *("default", "digital camera", "olympus digital camera", "sony dsc", "dcim"),
        *("samsung camera pictures", "kodak digital still camera", "minolta digital camera"),
        *("konica minolta digital camera", "exif_jpeg_picture", "exif_jpeg_t422", "dav", "sdr"),
        *("created with gimp", "screenshot", "untitled", "unknown"),
    )
)
UNEXPLAINED = "unexplained"  # a reject whose reason nobody gave
LONGEST_TEXT = 2000  # characters


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was read; `where` is the sidecar's name, empty for the photo's own packet.

    `values` gives the texts of a property by its qualified name, the default language first.
    """

    where: str
    rating: int | None
    label: str | None
    pick: int | None
    subjects: tuple[str, ...]
    values: Callable[[str], Sequence[str]]
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class XmpRules:
    """How colour labels and stars are read; labels without regard to case."""

    labels: Mapping[str, str] = field(default_factory=dict)
    accept_stars: int = 0  # so many stars mean accept where nothing else decides; 0: they never do
    form: Form = TRIAGE

    def decision_of(self, label: str | None) -> str | None:
        """What a colour label means here, none if the table doesn't hold it."""
        table = {name.casefold(): decision for name, decision in self.labels.items()}
        return table.get((label or "").casefold())


@dataclass(frozen=True, slots=True)
class XmpAnswer:
    """What one person says about one photo; `raw` is the facts as JSON."""

    raw: str
    at: datetime
    decision: str | None = None
    reasons: tuple[str, ...] = ()
    rating: int | None = None
    semantic_tags: tuple[str, ...] = ()
    photographic_tags: tuple[str, ...] = ()
    caption: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a photo's packets: the answer, if there is one, and what was odd.

    `ours`: nothing stands there but what AuthFace wrote itself, so an older answer still holds.
    """

    answer: XmpAnswer | None = None
    ours: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts of one packet that can be an answer."""

    rating: int | None = None
    label: str | None = None
    pick: int | None = None
    keywords: tuple[str, ...] = ()
    caption: str | None = None
    instructions: str | None = None

    @property
    def says_something(self) -> bool:
        """A caption or a note alone is no answer: nothing is said about the photo's worth."""
        return bool(self.rating or self.pick or self.label or self.keywords)


def read_answer(packets: Sequence[Packet], *, suffix: str, rules: XmpRules) -> Reading:
    """The answer in a photo's packets; `suffix` is the photo's own, such as ".NEF".

    The newest packet that says something counts as a whole, by xmp:MetadataDate, else by the file's
    time; one that says something else is noted as a conflict.
    """
    mine = sorted((p for p in packets if _is_of(p, suffix)), key=_time, reverse=True)
    told = [(p, facts, _by_person(p, facts)) for p in mine if (facts := _facts(p)).says_something]
    by_people = [(p, facts, person) for p, facts, person in told if person.says_something]
    if not by_people:
        return Reading(ours=bool(told))
    packet, _, person = by_people[0]
    notes = [
        f"{_place(packet)} and {_place(other)} disagree: the newer one counts"
        for other, _, said in by_people[1:]
        if said != person
    ]
    parsed = _parsed(person, rules, notes)
    if parsed["decision"] is None:
        # Whoever changes the stars beside our decision has seen it and left it.
        written = parse_wrote(packet.values(f"{AF}wrote")).get("keywords", ())
        parsed["decision"] = next((k.split("|")[2] for k in written if "|decision|" in k), None)
    if not any(parsed.values()):
        return Reading(notes=tuple(notes))
    answer = XmpAnswer(raw=_raw(packet, person), at=_time(packet), **parsed)
    return Reading(answer, notes=tuple(notes))


def to_row(answer: XmpAnswer, photo_id: str, *, who: str, form: Form = TRIAGE) -> Annotation:
    """The answer as a row; the same photo and person always have the same row.

    A flag has no place for reasons, so a reject counts without one; it is marked.
    """
    told = set(answer.reasons) - {"other"} or ("other" in answer.reasons and answer.note)
    unexplained = answer.decision == "reject" and not told
    return Annotation(
        annotation_id=f"xmp:{who}:{photo_id}",
        task_key=task_key(photo_id, form.kind),
        photo_id=photo_id,
        annotator=who,
        state="counted",
        flags=(UNEXPLAINED,) if unexplained else (),
        decision=answer.decision,
        reasons=answer.reasons,
        rating=answer.rating,
        semantic_tags=answer.semantic_tags,
        photographic_tags=answer.photographic_tags,
        caption=answer.caption,
        note=answer.note,
        raw=answer.raw,
        created_at=answer.at,
        updated_at=answer.at,
        source="xmp",
        form=form.version,
    )


def _is_of(packet: Packet, suffix: str) -> bool:
    """Adobe's `IMG.xmp` says which of the files called IMG it is about, if it says anything."""
    said = next(iter(packet.values(f"{PHOTOSHOP}SidecarForExtension")), "")
    return not (packet.where and said) or said.casefold() == suffix.removeprefix(".").casefold()


def _time(packet: Packet) -> datetime:
    for text in packet.values(f"{XMP}MetadataDate"):
        try:
            at = datetime.fromisoformat(text.strip())
        except ValueError:
            continue
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return packet.changed_at


def _place(packet: Packet) -> str:
    return packet.where or "the file's own XMP"


def _facts(packet: Packet) -> _Facts:
    paths = [p.split("|") for p in packet.values(f"{LR}hierarchicalSubject")]
    paths += [p.split("/") for p in packet.values(f"{DIGIKAM}TagsList")]
    ours = ["|".join(_plain(part) for part in path) for path in paths if owned(path)]
    return _Facts(
        rating=packet.rating,
        label=packet.label,
        pick=packet.pick,
        keywords=tuple(dict.fromkeys(k for k in ours if k.count("|") == 2)),
        caption=_words(packet.values(f"{DC}description")),
        instructions=_words(packet.values(f"{PHOTOSHOP}Instructions")),
    )


def _by_person(packet: Packet, facts: _Facts) -> _Facts:
    """The facts less what AuthFace wrote."""
    wrote = parse_wrote(packet.values(f"{AF}wrote"))
    written = set(wrote.get("keywords", ()))
    kept = {
        name: None if value == wrote.get(name) else value
        for name in ("rating", "label", "pick", "caption", "instructions")
        if (value := getattr(facts, name)) is not None
    }
    return _Facts(**kept, keywords=tuple(k for k in facts.keywords if k not in written))


def _parsed(facts: _Facts, rules: XmpRules, notes: list[str]) -> dict[str, Any]:
    given = _keyword_answers(facts.keywords, rules.form, notes)
    found: dict[str, Any] = {"semantic_tags": (), "photographic_tags": ()}
    for question, values in given:
        if question.column in ("semantic", "photographic"):
            found[f"{question.column}_tags"] += tuple(f"{question.name}/{v}" for v in values)
        else:
            found[question.column] = values if question.kind == "many" else values[0]
    by_flag = _decision(facts, rules, notes)
    found.setdefault("decision", by_flag)
    if facts.rating is not None and facts.rating > 0:
        found["rating"] = facts.rating
    return found | {"caption": facts.caption, "note": facts.instructions}


def _decision(facts: _Facts, rules: XmpRules, notes: list[str]) -> str | None:
    """From the flag, else the rating; a colour label says more about what is not rejected."""
    labelled = rules.decision_of(facts.label)
    if facts.label and labelled is None:
        notes.append(f'the label "{facts.label}" has no meaning under xmp_labels: kept as written')
    rejected = facts.pick == -1 or (facts.pick != 1 and facts.rating == -1)
    flag = "reject" if rejected else "accept" if facts.pick == 1 else None
    if {flag, labelled} in ({"reject", "accept"}, {"reject", "retouch"}):
        notes.append(f'flag and label "{facts.label}" contradict each other: the flag counts')
        return flag
    if labelled or flag:
        return labelled or flag
    enough = 0 < rules.accept_stars <= (facts.rating or 0)
    return "accept" if enough else None


def _keyword_answers(
    keywords: Sequence[str], form: Form, notes: list[str]
) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """The answers in `authface|QUESTION|VALUE`; what the form doesn't know is noted."""
    asked = {q.name: q for q in form.questions if q.kind in ("one", "many")}
    given: dict[str, list[str]] = defaultdict(list)
    for keyword in keywords:
        _, name, value = keyword.split("|")
        question = asked.get(name)
        if question is None or value not in {c.value for c in question.choices}:
            notes.append(f'the keyword "{keyword}" is no answer to a question of the form')
        else:
            given[name].append(value)
    for name, values in given.items():
        if asked[name].kind == "one" and len(values) > 1:
            notes.append(f"{name} has {len(values)} answers in the keywords: none counts")
        else:
            yield asked[name], tuple(values)


def _words(texts: Sequence[str]) -> str | None:
    text = next((t.strip() for t in texts if t.strip()), "")
    kept = "".join(c for c in text if c == "\n" or c.isprintable())[:LONGEST_TEXT]
    return None if kept.casefold() in _BY_MACHINE else kept or None


def _plain(part: str) -> str:
    return part.strip().casefold().replace(" ", "_").replace("-", "_")


def _raw(packet: Packet, facts: _Facts) -> str:
    written = parse_wrote(packet.values(f"{AF}wrote")).get("subjects", ())
    told = {
        "where": packet.where or "embedded",
        "rating": facts.rating,
        "label": facts.label,
        "pick": facts.pick,
        "subjects": [s for s in packet.subjects if s not in written],
        "keywords": list(facts.keywords),
        "description": facts.caption,
        "instructions": facts.instructions,
    }
    return json.dumps({k: v for k, v in told.items() if v not in (None, [])}, ensure_ascii=False)
