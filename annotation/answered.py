"""Questions that people answered in a file instead of on the server: which ones, and so what. Pure.

An answer by XMP or CSV is about a photo and names no task. It takes the place of one question of
the first round: the one that all share, or that of one desk; the other desks are asked all the
same. Whatever is said here is read off the rows anew each time, so an answer that is taken back
opens its question again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from annotation.desks import desks_of
from annotation.rules import SUPERSEDED
from data_manifests.records import Annotation, Task

__all__ = [
    "FROM_FILES",
    "Wanted",
    "come_back",
    "needless",
    "off_the_server",
    "reconciled",
    "state_after",
]

FROM_FILES = ("xmp", "csv")  # sources of answers that come as files
_ORDER = (("counted", "labelled"), ("set_aside", "set_aside"), ("skipped", "skipped"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many people a question that all share wants, and the desk of each pseudonym."""

    answers: int = 1
    desk_of: Mapping[str, str] = field(default_factory=dict)


def reconciled(
    tasks: Iterable[Task], answers: Iterable[Annotation], wanted: Wanted
) -> Iterator[Task]:
    """The tasks that stand otherwise than their photos' answers say, as they should stand.

    `answers` are all of these photos, and `tasks` all that ask about them. What is on the server is
    labelled with the first answer; what is not is labelled when nobody more is wanted.
    """
    rows = list(answers)
    told = _in_files(tasks := list(tasks), rows, wanted)
    given: dict[str, set[str]] = defaultdict(set)
    for one in rows:
        if one.source == "label_studio" and SUPERSEDED not in one.flags:
            given[one.task_key].add(one.state)
    for task in tasks:
        if task.kind == "triage" and task.state != "deleted":
            after = replace(task, state=_state(task, told[task.task_key], given, wanted))
            if after != task:
                yield after


def needless(
    tasks: Iterable[Task], answers: Iterable[Annotation], wanted: Wanted
) -> frozenset[str]:
    """Keys of the questions about these photos that nobody more needs to answer on the server."""
    told = _in_files(tasks := list(tasks), list(answers), wanted)
    return frozenset(t.task_key for t in tasks if told[t.task_key] >= _enough(t, wanted))


def off_the_server(task: Task) -> Task:
    """The row of a question that the server is rid of; what was answered in files stays."""
    return replace(
        task,
        server=None,
        project_id=None,
        task_id=None,
        sent_at=None,
        updated_at=None,
        sent_sha256=None,
    )


def come_back(tasks: Iterable[Task], answered: Iterable[str]) -> list[Task]:
    """Rows of questions taken off the server that somebody answered there in that moment."""
    keys = set(answered)
    return [t for t in tasks if t.task_key in keys and t.state == "labelled" and t.server is None]


def state_after(states: Iterable[str]) -> str | None:
    """A task's state from those of its answers, none if nobody gave one."""
    found = set(states)
    return next((after for state, after in _ORDER if state in found), None)


def _state(task: Task, people: int, given: Mapping[str, set[str]], wanted: Wanted) -> str:
    states = given.get(task.task_key, set())
    if people and (task.server is not None or people >= _enough(task, wanted)):
        states = states | {"counted"}
    return state_after(states) or ("waiting" if task.server is None else "sent")


def _enough(task: Task, wanted: Wanted) -> int:
    return 1 if task.desk else wanted.answers


def _in_files(tasks: Sequence[Task], answers: Sequence[Annotation], wanted: Wanted) -> Counter[str]:
    """How many people answered each question in a file."""
    people: dict[str, set[str]] = defaultdict(set)
    busy = {a.task_key for a in answers if a.source == "label_studio" and _stands(a)}
    for one in answers:
        if one.source in FROM_FILES and _decides(one):
            people[one.photo_id].add(one.annotator)
    asked: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        if task.kind == "triage" and task.round == 1 and task.photo_id in people:
            asked[task.photo_id].append(task)
    told: Counter[str] = Counter()
    for photo_id, found in asked.items():
        told.update(_taken(found, sorted(people[photo_id]), busy, wanted))
    return told


def _taken(
    asked: Sequence[Task], people: Sequence[str], busy: set[str], wanted: Wanted
) -> Iterator[str]:
    """The key of the question that each person's answer stands for.

    A person's own desk is theirs. Others stand for the shared question, else for a desk where
    nobody has answered, the photo's last choice first.
    """
    by_desk = {t.desk: t.task_key for t in asked if t.state != "deleted"}
    own = {p: wanted.desk_of[p] for p in people if wanted.desk_of.get(p) in by_desk}
    yield from (by_desk[desk] for desk in own.values())
    others = len(people) - len(own)
    if "" in by_desk:
        yield from [by_desk[""]] * others
        return
    free = {d for d, key in by_desk.items() if key not in busy} - set(own.values())
    ranked = desks_of(asked[0].photo_id, free, len(free))
    yield from (by_desk[desk] for desk in tuple(reversed(ranked))[:others])


def _decides(one: Annotation) -> bool:
    """Stars or keywords without a decision leave the question open."""
    voting = one.task_key.split(":")[1:2] == ["triage"]
    return one.state == "counted" and voting and not one.ground_truth and bool(one.decision)


def _stands(one: Annotation) -> bool:
    return one.state in ("counted", "skipped", "set_aside") and SUPERSEDED not in one.flags
