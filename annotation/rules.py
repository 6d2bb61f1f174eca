"""The merge checks, each named: the server takes what it is sent, so every answer is judged here.

An answer that breaks a rule is set aside with the rule's name and its raw JSON: never merged,
never lost.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from annotation.agreement import asked_in_round
from annotation.answers import Item, Reading
from annotation.questions import Question
from data_manifests.records import Annotation

__all__ = [
    "OWN_CONFLICT",
    "RULES",
    "SUPERSEDED",
    "broken",
    "last_per_person",
    "revived",
    "settled_by_others",
]

SUPERSEDED = "superseded"
OWN_CONFLICT = "own_conflict"
_BY_OTHERS = {SUPERSEDED, OWN_CONFLICT}
EPSILON = 0.01  # percent; the editor rounds at the edges

_TYPES = {
    "one": "choices",
    "many": "choices",
    "stars": "rating",
    "text": "textarea",
    "boxes": "rectanglelabels",
    "points": "keypointlabels",
    "brush": "brushlabels",
}


def broken(reading: Reading) -> tuple[str, ...]:
    """Names of the rules that an answer breaks; a skip is not judged: nothing of it is used."""
    if reading.answer.was_cancelled:
        return ()
    if reading.items is None:
        return ("malformed",)
    return tuple(name for name, breaks in RULES.items() if breaks(reading))


def last_per_person(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Same rows; a person's last answer to a question counts, and a skip never beats an answer.

    A question that stands in several projects, or twice in one, is one question: nobody votes
    twice.
    """
    best: dict[tuple[str, str], Annotation] = {}
    rows = [revived(a) for a in annotations]
    for one in sorted(rows, key=_age):
        usable = one.state in ("counted", "skipped")
        standing = best.get(_vote(one))
        if usable and not (standing and standing.state == "counted" and one.state == "skipped"):
            best[_vote(one)] = one
    return [
        _superseded(a) if a.state in ("counted", "skipped") and a is not best[_vote(a)] else a
        for a in rows
    ]


def settled_by_others(
    annotations: Sequence[Annotation], *, voters_may_settle: bool = False
) -> list[Annotation]:
    """Same rows; who voted on a photo does not settle what the voters left open.

    The answer is set aside as it is: it counts again as soon as the vote is taken back.
    """
    if voters_may_settle:
        return list(annotations)
    voters: dict[str, set[str]] = defaultdict(set)
    for one in annotations:
        if _in_triage(one) and asked_in_round(one.task_key) == 1 and _votes(one):
            voters[one.photo_id].add(one.annotator)
    return [
        replace(a, state="set_aside", flags=(*a.flags, OWN_CONFLICT))
        if _in_triage(a)
        and asked_in_round(a.task_key) > 1
        and a.state == "counted"
        and a.annotator in voters[a.photo_id]
        else a
        for a in annotations
    ]


def _in_triage(one: Annotation) -> bool:
    return one.task_key.split(":")[1:2] == ["triage"]


def _votes(one: Annotation) -> bool:
    known = one.annotator not in ("", "unknown")
    return known and one.state == "counted" and bool(one.decision) and not one.ground_truth


def _vote(one: Annotation) -> tuple[str, str]:
    photo_kind_round = ":".join(one.task_key.split(":")[:3])
    return photo_kind_round, one.annotator


def revived(one: Annotation) -> Annotation:
    """A row that only other answers had set aside, as it was before: to be judged anew."""
    if one.state != "set_aside" or not _BY_OTHERS & set(one.flags):
        return one
    state = "skipped" if one.cancelled else "counted"
    return replace(one, state=state, flags=tuple(f for f in one.flags if f not in _BY_OTHERS))


def _age(one: Annotation) -> tuple[datetime, str]:
    return one.updated_at or datetime.min.replace(tzinfo=UTC), one.annotation_id


def _superseded(one: Annotation) -> Annotation:
    return replace(one, state="set_aside", flags=(*one.flags, SUPERSEDED))


def _known(reading: Reading) -> Iterator[tuple[Item, Question]]:
    for item in reading.items or ():
        question = reading.asked.questions.get(item.from_name)
        if question is not None:
            yield item, question


def _unknown_question(reading: Reading) -> bool:
    return any(i.from_name not in reading.asked.questions for i in reading.items or ())


def _wrong_type(reading: Reading) -> bool:
    return any(item.type != _TYPES[question.kind] for item, question in _known(reading))


def _unknown_choice(reading: Reading) -> bool:
    return any(not _choices_fit(item, question) for item, question in _known(reading))


def _choices_fit(item: Item, question: Question) -> bool:
    if question.kind in ("stars", "text"):
        return True
    return bool(item.values) and set(item.values) <= {c.value for c in question.choices}


def _several_answers(reading: Reading) -> bool:
    times = Counter(
        (i.from_name, i.id if q.of else "") for i, q in _known(reading) if q.column != "regions"
    )
    single = [i for i, q in _known(reading) if q.kind in ("one", "boxes", "points", "brush")]
    return any(n > 1 for n in times.values()) or any(len(i.values) > 1 for i in single)


def _missing_required(reading: Reading) -> bool:
    return any(
        q.required and _is_asked(q, reading) and _lacks(q, reading)
        for q in reading.asked.form.questions
    )


def _lacks(question: Question, reading: Reading) -> bool:
    if not question.of:
        return not reading.said(question.name)
    items = reading.items or ()
    answered = {i.id for i in items if i.from_name == question.name and i.values}
    return any(i.id not in answered for i in items if i.from_name == question.of)


def _is_asked(question: Question, reading: Reading) -> bool:
    return question.when is None or bool(
        set(reading.picked(question.when[0])) & set(question.when[1])
    )


def _rating_out_of_range(reading: Reading) -> bool:
    stars = [(i.value.rating, q.most) for i, q in _known(reading) if q.kind == "stars"]
    return any(rating is None or not 1 <= rating <= most for rating, most in stars)


def _geometry_out_of_range(reading: Reading) -> bool:
    return any(not _inside(i, q) for i, q in _known(reading) if q.column == "regions")


def _inside(item: Item, question: Question) -> bool:
    value = item.value
    numbers = [value.x, value.y]
    if question.kind == "boxes":
        if not (value.width > 0 and value.height > 0):  # false for NaN too
            return False
        numbers += [value.x + value.width, value.y + value.height]
    return all(math.isfinite(n) and -EPSILON <= n <= 100 + EPSILON for n in numbers)


def _rotated_box(reading: Reading) -> bool:
    return any(i.value.rotation % 360 != 0 for i, q in _known(reading) if q.kind == "boxes")


def _other_picture(reading: Reading) -> bool:
    sent = (reading.asked.task.image_width, reading.asked.task.image_height)
    seen = {
        (i.original_width, i.original_height) for i, q in _known(reading) if q.column == "regions"
    }
    return bool(seen - {sent, (None, None)})


def _unreadable_mask(reading: Reading) -> bool:
    task = reading.asked.task
    for item, question in _known(reading):
        if question.kind == "brush":
            try:
                item.mask(task.image_width, task.image_height)
            except ValueError:
                return True
    return False


RULES: dict[str, Callable[[Reading], bool]] = {
    "unknown_question": _unknown_question,
    "wrong_type": _wrong_type,
    "unknown_choice": _unknown_choice,
    "several_answers": _several_answers,
    "missing_required": _missing_required,
    "rating_out_of_range": _rating_out_of_range,
    "geometry_out_of_range": _geometry_out_of_range,
    "rotated_box": _rotated_box,
    "other_picture": _other_picture,
    "unreadable_mask": _unreadable_mask,
}
