"""How far people can be relied on: question by question, and person by person.

Chance-corrected figures come from NLTK (Cohen's kappa of each pair, Krippendorff's alpha of all),
which Label Studio's client brings along. Pure functions on rows; people by pseudonym only.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from annotation.agreement import asked_in_round
from annotation.questions import TRIAGE, Form, Question
from annotation.rules import SUPERSEDED
from annotation.settle_regions import eye_distance, overlap
from data_manifests.errors import MissingExtra
from data_manifests.records import Annotation, Consensus, Point, Region

__all__ = ["RUBBER_STAMP", "PersonFigures", "QuestionFigures", "by_person", "by_question"]

RUBBER_STAMP = "rubber_stamp"  # flag of an answer that was given faster than one can look

Value: TypeAlias = Hashable
Votes: TypeAlias = dict[str, dict[str, Value]]  # photo, person, what they answered
Pairs: TypeAlias = list[tuple[Annotation, Annotation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFigures:
    """How far people agree on one question, over the photos that several of them answered.

    `agreement` is the mean over pairs of answers: 1 for the same choice, shared in parts of all
    for tags, 1 less the distance in parts of the scale for stars, overlap for boxes, 1 less the
    distance in parts of the eyes' for landmarks. `kappa` and `alpha` take chance out of it: 0 is as
    good as chance, 1 perfect; none where nothing varies or where they do not apply.
    """

    question: str
    measure: str  # share, iou or distance, as in the Consensus
    photos: int
    people: int
    agreement: float
    kappa: float | None = None
    alpha: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonFigures:
    """One person's answers to all forms, and how those to one form compare with others'.

    Shares are none where there is nothing to compare. `with_peers` is the share of other people's
    decisions on the same photos that are the same, `with_consensus` that of the settled decisions
    of photos with several voters, and `with_truth` that of the choices of ground-truth answers.
    `overlap` and `landmarks` compare what was drawn with the consensus: mean overlap of boxes, mean
    distance in parts of the distance of the eyes.
    """

    annotator: str
    answers: int = 0
    skipped: int = 0
    set_aside: int = 0
    rubber_stamps: int = 0
    median_s: float | None = None
    with_peers: float | None = None
    with_consensus: float | None = None
    with_truth: float | None = None
    truth_photos: int = 0
    overlap: float | None = None
    landmarks: float | None = None
    rules: tuple[tuple[str, int], ...] = ()
    last: datetime | None = None  # server time of the newest answer


def by_question(
    answers: Iterable[Annotation], form: Form = TRIAGE, *, corrected: bool = True
) -> list[QuestionFigures]:
    """Figures for every question that two people answered on one photo, in the form's order.

    Without `corrected` kappa and alpha are left out. Raises MissingExtra if NLTK is not installed.
    """
    voting = [a for a in answers if _votes(a, form)]
    found = (_question(q, voting, corrected) for q in form.questions)
    return [figures for figures in found if figures]


def by_person(
    answers: Sequence[Annotation], settled: Iterable[Consensus], form: Form = TRIAGE
) -> list[PersonFigures]:
    """Figures for everybody who answered, in the order of their pseudonyms."""
    given: dict[str, list[Annotation]] = defaultdict(list)
    for one in answers:
        if one.state != "deleted" and not one.ground_truth:
            given[one.annotator].append(one)
    peers: dict[str, list[Annotation]] = defaultdict(list)
    for one in answers:
        if _votes(one, form):
            peers[one.photo_id].append(one)
    truth = {
        a.photo_id: a
        for a in answers
        if a.ground_truth and a.state == "counted" and _is_of(a, form)
    }
    agreed = {c.photo_id: c for c in settled if c.voters > 1}
    return [_person(name, given[name], peers, agreed, truth, form) for name in sorted(given)]


def _votes(one: Annotation, form: Form) -> bool:
    first = _is_of(one, form) and asked_in_round(one.task_key) == 1
    return bool(one.state == "counted" and one.decision and not one.ground_truth and first)


def _is_of(one: Annotation, form: Form) -> bool:
    """Whether the answer is to this form; imported ones are answers to the triage."""
    kind = one.task_key.split(":")[1:2]
    return kind == [form.kind] or (form.kind == "triage" and kind == ["import"])


def _question(
    question: Question, voting: Sequence[Annotation], corrected: bool
) -> QuestionFigures | None:
    if question.column == "regions":
        return _drawn(question, voting)
    if question.kind == "text":
        return None
    votes = _votes_on(question, voting)
    if not votes:
        return None
    near = _nearness(question)
    pairs = [
        near(a, b) for given in votes.values() for a, b in itertools.combinations(given.values(), 2)
    ]
    kappa, alpha = _corrected(votes, near) if corrected else (None, None)
    return QuestionFigures(
        question=question.name,
        measure="distance" if question.kind == "stars" else "share",
        photos=len(votes),
        people=len({person for given in votes.values() for person in given}),
        agreement=statistics.fmean(pairs),
        kappa=None if question.kind == "stars" else kappa,
        alpha=alpha,
    )


def _votes_on(question: Question, voting: Iterable[Annotation]) -> Votes:
    """Answers to one question where at least two people gave one.

    Of several values none is an answer too, if anybody ever gave one; reasons are asked of those
    who rejected.
    """
    votes: Votes = defaultdict(dict)
    for one in voting:
        value = _value(one, question)
        if value is not None:
            votes[one.photo_id][one.annotator] = value
    shared = {photo: given for photo, given in votes.items() if len(given) > 1}
    used = any(value != frozenset() for given in shared.values() for value in given.values())
    return shared if used else {}


def _value(one: Annotation, question: Question) -> Value | None:
    if question.column == "decision":
        return one.decision
    if question.column == "rating":
        return one.rating
    if question.column == "reasons":
        return frozenset(one.reasons) if one.decision == "reject" else None
    tags = one.semantic_tags if question.column == "semantic" else one.photographic_tags
    values = frozenset(t.split("/", 1)[1] for t in tags if t.split("/", 1)[0] == question.name)
    return values if question.kind == "many" else next(iter(values), None)


def _nearness(question: Question) -> Callable[[Value, Value], float]:
    if question.kind == "stars":
        return lambda a, b: 1 - abs(_number(a) - _number(b)) / max(question.most - 1, 1)
    return _shared if question.kind == "many" else lambda a, b: float(a == b)


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _shared(one: Value, other: Value) -> float:
    """Values of both in parts of the values of either: Jaccard's index; 1 if both are empty."""
    if not isinstance(one, frozenset) or not isinstance(other, frozenset):
        return float(one == other)
    return len(one & other) / len(one | other) if one | other else 1.0


def _corrected(
    votes: Votes, near: Callable[[Value, Value], float]
) -> tuple[float | None, float | None]:
    """(mean of Cohen's kappa over pairs, weighed by the photos they share; Krippendorff's alpha).

    Stars count by their squared distance in alpha, as an interval scale does.
    """
    try:
        from nltk.metrics.agreement import AnnotationTask  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("nltk", "annotation", "Agreement corrected for chance") from error
    rows = [(person, photo, v) for photo, given in votes.items() for person, v in given.items()]
    if len({value for _, _, value in rows}) < 2:
        return None, None
    numbers = all(isinstance(value, int) for _, _, value in rows)
    power = 2 if numbers else 1
    alpha = AnnotationTask(rows, distance=lambda a, b: (1 - near(a, b)) ** power).alpha()
    kappas: list[tuple[float, int]] = []
    for one, other in itertools.combinations(sorted({person for person, _, _ in rows}), 2):
        both = [p for p, given in votes.items() if one in given and other in given]
        shared = [(who, p, votes[p][who]) for p in both for who in (one, other)]
        if len({value for _, _, value in shared}) > 1:
            task = AnnotationTask(shared)
            kappas.append((float(task.kappa_pairwise(one, other)), len(both)))
    weight = sum(n for _, n in kappas)
    return (sum(k * n for k, n in kappas) / weight if weight else None), float(alpha)


def _drawn(question: Question, voting: Sequence[Annotation]) -> QuestionFigures | None:
    labels = {choice.value for choice in question.choices}
    by_photo: dict[str, list[Annotation]] = defaultdict(list)
    for one in voting:
        if any(r.label in labels for r in one.regions):
            by_photo[one.photo_id].append(one)
    compare = _points_near if question.kind == "points" else _boxes_near
    pairs = [
        (photo, a, b, near)
        for photo, given in by_photo.items()
        for a, b in itertools.combinations(given, 2)
        if (near := compare(_of(a.regions, labels), _of(b.regions, labels))) is not None
    ]
    if not pairs:
        return None
    return QuestionFigures(
        question=question.name,
        measure="distance" if question.kind == "points" else "iou",
        photos=len({photo for photo, *_ in pairs}),
        people=len({who for _, a, b, _ in pairs for who in (a.annotator, b.annotator)}),
        agreement=statistics.fmean(near for *_, near in pairs),
    )


def _of(regions: Iterable[Region], labels: set[str]) -> list[Region]:
    return [r for r in regions if r.label in labels]


def _boxes_near(one: Sequence[Region], other: Sequence[Region]) -> float | None:
    """Mean overlap of boxes paired best first; a box without its like counts as 0."""
    mine, theirs = [r.box for r in one if r.box], [r.box for r in other if r.box]
    scores = sorted(
        ((overlap(a, b), i, j) for i, a in enumerate(mine) for j, b in enumerate(theirs)),
        reverse=True,
    )
    taken: set[tuple[str, int]] = set()
    total = 0.0
    for score, i, j in scores:
        if ("mine", i) not in taken and ("theirs", j) not in taken:
            taken |= {("mine", i), ("theirs", j)}
            total += score
    most = max(len(mine), len(theirs))
    return total / most if most else None


def _points_near(one: Sequence[Region], other: Sequence[Region]) -> float | None:
    away = _points_away(one, other)
    return None if away is None else max(1 - away, 0.0)


def _points_away(one: Iterable[Region], other: Iterable[Region]) -> float | None:
    """Mean distance of points of one label in parts of the eyes' distance; none without eyes."""
    mine, theirs = _places(one), _places(other)
    eyes = eye_distance(theirs) or eye_distance(mine)
    both = mine.keys() & theirs.keys()
    if not eyes or not both:
        return None
    apart = (math.hypot(mine[k].x - theirs[k].x, mine[k].y - theirs[k].y) for k in sorted(both))
    return statistics.fmean(apart) / eyes


def _places(regions: Iterable[Region]) -> dict[str, Point]:
    return {r.label: r.point for r in regions if r.point}


def _person(
    name: str,
    given: Sequence[Annotation],
    peers: Mapping[str, Sequence[Annotation]],
    agreed: Mapping[str, Consensus],
    truth: Mapping[str, Annotation],
    form: Form,
) -> PersonFigures:
    counted = [a for a in given if a.state == "counted"]
    voted = [a for a in counted if _votes(a, form)]
    others = [
        (a, b) for a in voted for b in peers.get(a.photo_id, ()) if b.annotator != a.annotator
    ]
    settled = [(a, agreed[a.photo_id]) for a in voted if a.photo_id in agreed]
    known = [(a, truth[a.photo_id]) for a in counted if _is_of(a, form) and a.photo_id in truth]
    states = Counter(a.state for a in given if SUPERSEDED not in a.flags)
    rules = Counter(f for a in given if a.state == "set_aside" for f in a.flags if f != SUPERSEDED)
    times = [a.lead_time_s for a in counted if a.lead_time_s is not None]
    return PersonFigures(
        annotator=name,
        answers=states["counted"],
        skipped=states["skipped"],
        set_aside=states["set_aside"],
        rubber_stamps=sum(RUBBER_STAMP in a.flags for a in given),
        median_s=statistics.median(times) if times else None,
        with_peers=_mean(float(a.decision == b.decision) for a, b in others),
        with_consensus=_mean(float(a.decision == c.decision) for a, c in settled if c.decision),
        with_truth=_mean(_choices_like(known, form)),
        truth_photos=len({a.photo_id for a, _ in known}),
        overlap=_mean(_against(settled, _boxes_near)),
        landmarks=_mean(_against(settled, _points_away)),
        rules=tuple(sorted(rules.items())),
        last=max((a.updated_at for a in given if a.updated_at), default=None),
    )


def _choices_like(known: Pairs, form: Form) -> Iterator[float]:
    """How near an answer is to the truth in each choice that the truth makes."""
    for one, true in known:
        for question in form.questions:
            right = _value(true, question) if question.kind in ("one", "many") else None
            if right is not None and right != frozenset():
                yield _shared(_value(one, question), right)


def _against(
    settled: Iterable[tuple[Annotation, Consensus]],
    compare: Callable[[Sequence[Region], Sequence[Region]], float | None],
) -> Iterator[float]:
    for one, agreed in settled:
        near = compare(one.regions, agreed.regions)
        if near is not None and one.regions and agreed.regions:
            yield near


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None
