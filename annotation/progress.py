"""How far the work is, from the tables alone: what the lead of a studio wants to see. Pure."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from annotation.reliability import PersonFigures, QuestionFigures, by_person, by_question
from annotation.roles import asked_as
from annotation.rules import SUPERSEDED
from data_manifests.records import Annotation, Consensus, Retouch, Standing, Task

__all__ = ["Outcome", "Overview", "Pace", "Queue", "Rows", "Wait", "overview", "waits"]

# Seconds at which the bars of the times of answers begin; the last is open.
TIME_EDGES = (0, 5, 10, 20, 40, 80, 160, 320)
DECIDED = ("accept", "retouch", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the tables hold."""

    tasks: Sequence[Task]
    answers: Sequence[Annotation] = ()
    settled: Sequence[Consensus] = ()
    retouches: Sequence[Retouch] = ()
    standings: Sequence[Standing] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The tasks of one kind in one project, adjudications apart from the triage.

    `open` are on the server without an answer, `unsent` not there.
    """

    kind: str
    desk: str
    project_id: int | None
    labelled: int = 0
    skipped: int = 0
    set_aside: int = 0
    open: int = 0
    unsent: int = 0
    deleted: int = 0

    @property
    def asked(self) -> int:
        """All tasks that still stand."""
        return self.labelled + self.skipped + self.set_aside + self.open + self.unsent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Photos that wait for somebody's work, and since when the first of them does."""

    who: str
    what: str
    photos: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Photos with one settled decision; none stands for those that people disagree on."""

    decision: str | None
    photos: int
    agreement: float  # mean share of voters behind the leading decision
    adjudicated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that answers of one kind took: median, quartiles, and how many in each bar.

    `bars` begin at TIME_EDGES.
    """

    kind: str
    answers: int
    quarter_s: float
    median_s: float
    three_quarters_s: float
    bars: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The whole picture; `drafts` is none where nobody asked the server."""

    queues: tuple[Queue, ...]
    waits: tuple[Wait, ...]
    outcomes: tuple[Outcome, ...]
    people: tuple[PersonFigures, ...]
    questions: tuple[QuestionFigures, ...]
    paces: tuple[Pace, ...]
    rules: tuple[tuple[str, int], ...]
    days: tuple[tuple[date, int], ...]  # days in UTC, answers that count
    drafts: Mapping[str, int] | None = None  # begun and not submitted, by pseudonym


def overview(
    rows: Rows, *, corrected: bool = True, drafts: Mapping[str, int] | None = None
) -> Overview:
    """Everything at once; without `corrected` no agreement is corrected for chance.

    Raises MissingExtra as `by_question` does.
    """
    return Overview(
        queues=tuple(_queues(rows.tasks)),
        waits=tuple(waits(rows)),
        outcomes=tuple(_outcomes(rows.settled)),
        people=tuple(by_person(rows.answers, rows.settled)),
        questions=tuple(by_question(rows.answers, corrected=corrected)),
        paces=tuple(_paces(rows.answers)),
        rules=tuple(_rules(rows.answers)),
        days=tuple(_days(rows.answers)),
        drafts=drafts,
    )


def waits(rows: Rows) -> Iterator[Wait]:
    """What waits for whom: as the standings say, else read off tasks, consensus and retouches."""
    if rows.standings:
        yield from _standing(rows.standings)
    else:
        yield from _voters_and_judges(rows)
        yield from _darkroom(rows)
    unsent = [t for t in rows.tasks if t.state == "waiting"]
    yield from _wait("the lead", "tasks to send: authface annotate push", unsent, ())


def _standing(standings: Iterable[Standing]) -> Iterator[Wait]:
    groups: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for one in standings:
        if one.waits_for != "nobody":
            groups[one.waits_for, one.state].append(one)
    for (who, state), found in sorted(groups.items()):
        yield from _wait(who, state, found, (s.since for s in found))


def _voters_and_judges(rows: Rows) -> Iterator[Wait]:
    for desk in sorted({t.desk for t in rows.tasks if t.kind == "triage"}):
        sent = [
            t
            for t in rows.tasks
            if (t.kind, t.state, t.desk) == ("triage", "sent", desk) and t.round == 1
        ]
        who = f"photographer at {desk}" if desk else "photographer"
        yield from _wait(who, "triage", sent, (t.sent_at for t in sent))
    asked = {t.photo_id: t for t in rows.tasks if t.kind == "triage" and t.round > 1}
    split = [c for c in rows.settled if c.conflict]
    since = (asked[c.photo_id].sent_at for c in split if c.photo_id in asked)
    yield from _wait("adjudicator", "people disagree", split, since)
    aside = [t for t in rows.tasks if t.state == "set_aside"]
    yield from _wait(
        "the lead", "answers set aside by a rule", aside, (t.updated_at for t in aside)
    )


def _darkroom(rows: Rows) -> Iterator[Wait]:
    newest: dict[str, Retouch] = {}
    for one in sorted(rows.retouches, key=lambda r: (r.round, r.retouch_id)):
        newest[one.photo_id] = one
    wanted = [c for c in rows.settled if c.decision == "retouch" and c.photo_id not in newest]
    yield from _wait("retoucher", "first retouch", wanted, ())
    again = [r for r in newest.values() if r.state == "fix"]
    yield from _wait("retoucher", "to be mended", again, (r.returned_at for r in again))
    back = [r for r in newest.values() if r.state == "waiting"]
    yield from _wait("reviewer", "returned files", back, (r.returned_at for r in back))


def _wait(
    who: str,
    what: str,
    rows: Sequence[Task | Consensus | Retouch | Standing],
    since: Iterable[datetime | None],
) -> Iterator[Wait]:
    if rows:
        first = min((when for when in since if when), default=None)
        yield Wait(who=who, what=what, photos=len({r.photo_id for r in rows}), since=first)


def _queues(tasks: Iterable[Task]) -> Iterator[Queue]:
    groups: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    named = [(asked_as(t.kind, t.round), t.desk, t) for t in tasks]
    projects = {(kind, desk): t.project_id for kind, desk, t in named if t.project_id is not None}
    for kind, desk, task in named:
        project = task.project_id or projects.get((kind, desk)) or 0
        groups[kind, desk, project][task.state] += 1
    for (kind, desk, project), states in sorted(groups.items()):
        yield Queue(
            kind=kind,
            desk=desk,
            project_id=project or None,
            labelled=states["labelled"],
            skipped=states["skipped"],
            set_aside=states["set_aside"],
            open=states["sent"],
            unsent=states["waiting"],
            deleted=states["deleted"],
        )


def _outcomes(settled: Iterable[Consensus]) -> Iterator[Outcome]:
    groups: dict[str | None, list[Consensus]] = defaultdict(list)
    for one in settled:
        if one.voters:
            groups[one.decision].append(one)
    others = sorted(d for d in groups if d and d not in DECIDED)
    for decision in (*DECIDED, *others, None):
        if found := groups.get(decision):
            yield Outcome(
                decision=decision,
                photos=len(found),
                agreement=statistics.fmean(c.agreement or 0.0 for c in found),
                adjudicated=sum(c.adjudicated for c in found),
            )


def _paces(answers: Iterable[Annotation]) -> Iterator[Pace]:
    times: dict[str, list[float]] = defaultdict(list)
    for one in answers:
        if one.state == "counted" and one.lead_time_s is not None and not one.ground_truth:
            times[_kind(one)].append(one.lead_time_s)
    for kind, found in sorted(times.items()):
        low, middle, high = (
            statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
        )
        ends = (*TIME_EDGES[1:], float("inf"))
        bars = (
            sum(start <= t < end for t in found)
            for start, end in zip(TIME_EDGES, ends, strict=True)
        )
        yield Pace(
            kind=kind,
            answers=len(found),
            quarter_s=low,
            median_s=middle,
            three_quarters_s=high,
            bars=tuple(bars),
        )


def _kind(one: Annotation) -> str:
    parts = one.task_key.split(":")
    return parts[1] if len(parts) > 1 else "triage"


def _rules(answers: Iterable[Annotation]) -> list[tuple[str, int]]:
    """Name of each merge rule that fired, and on how many answers; the commonest first."""
    fired = Counter(
        flag
        for one in answers
        if one.state == "set_aside"
        for flag in one.flags
        if flag != SUPERSEDED or len(one.flags) == 1
    )
    return sorted(fired.items(), key=lambda pair: (-pair[1], pair[0]))


def _days(answers: Iterable[Annotation]) -> list[tuple[date, int]]:
    found = Counter(
        when.astimezone(UTC).date()
        for one in answers
        if one.state == "counted" and not one.ground_truth
        if (when := one.created_at or one.updated_at)
    )
    return sorted(found.items())
