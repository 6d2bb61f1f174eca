"""Questions for one more pair of eyes, made from the photos on which people disagree. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from annotation.agreement import asked_in_round
from annotation.questions import TRIAGE, Form, named
from annotation.rules import OWN_CONFLICT, SUPERSEDED
from annotation.tasks import task_key
from data_manifests.records import Annotation, Consensus, Task

__all__ = ["adjudication_tasks", "disagreement", "still_voting"]

TOLD = 4  # questions that a note names
TO_OTHERS = "for somebody who did not vote on it"


def adjudication_tasks(
    settled: Iterable[Consensus],
    ledger: Iterable[Task],
    answers: Iterable[Annotation],
    *,
    wanted: int = 1,
    form: Form = TRIAGE,
    voters_may_settle: bool = False,
) -> Iterator[Task]:
    """A waiting Task of the next round for each photo in conflict whose voters have all answered.

    Never a second while an earlier one is open, skipped or set aside: people see to those. One that
    only a voter answered is asked again. It says what people disagree on, never who. `wanted` is
    how many were to answer a question that all share. The rows have no desk: an adjudicator has a
    project of their own.
    """
    asked: dict[str, list[Task]] = defaultdict(list)
    for task in ledger:
        if task.kind == "triage":
            asked[task.photo_id].append(task)
    given: dict[str, list[Annotation]] = defaultdict(list)
    judged: dict[str, list[Annotation]] = defaultdict(list)
    for answer in answers:
        if answer.task_key.split(":")[1:2] == ["triage"]:
            first = asked_in_round(answer.task_key) == 1
            (given if first else judged)[answer.photo_id].append(answer)
    for one in sorted(settled, key=lambda c: c.photo_id):
        tasks, votes = asked[one.photo_id], given[one.photo_id]
        if one.conflict and _may_ask(tasks, votes, judged[one.photo_id], wanted):
            task = _task(one, tasks, votes, form)
            yield task if voters_may_settle else replace(task, note=f"{task.note}; {TO_OTHERS}")


def still_voting(task: Task, answers: Iterable[Annotation], wanted: int) -> bool:
    """Whether somebody who was asked in the first round may still answer."""
    if task.state in ("waiting", "sent"):
        return True
    if task.desk or task.state == "deleted":
        return False
    people = {a.annotator for a in answers if a.task_key == task.task_key and _stands(a)}
    return len(people) < wanted


def disagreement(answers: Iterable[Annotation], form: Form = TRIAGE) -> str:
    """What people disagree on, in the form's words: "decision (accept or reject), hair"."""
    voters = [a for a in answers if a.state == "counted" and not a.ground_truth and a.decision]
    found = list(_contested(voters, form))
    more = len(found) - TOLD
    return ", ".join(found[:TOLD]) + (f" and {more} more" if more > 0 else "")


def _may_ask(
    tasks: Sequence[Task], votes: Sequence[Annotation], judged: Sequence[Annotation], wanted: int
) -> bool:
    first = [t for t in tasks if t.round == 1]
    later = [t for t in tasks if t.round > 1]
    return (
        bool(first)
        and not any(still_voting(t, votes, wanted) for t in first)
        and all(t.state == "labelled" or _only_by_voters(t, judged) for t in later)
    )


def _only_by_voters(task: Task, judged: Sequence[Annotation]) -> bool:
    """Whether all that was answered came from people who had voted on the photo before."""
    given = [a for a in judged if a.task_key == task.task_key and _stands(a)]
    own = bool(given) and all(OWN_CONFLICT in a.flags for a in given)
    return task.state == "set_aside" and own


def _stands(one: Annotation) -> bool:
    return one.state in ("counted", "skipped", "set_aside") and SUPERSEDED not in one.flags


def _task(one: Consensus, tasks: Sequence[Task], votes: Sequence[Annotation], form: Form) -> Task:
    round_ = 1 + max(t.round for t in tasks)
    newest = max(tasks, key=lambda t: (t.round, t.task_key))
    said = disagreement(votes, form)
    return Task(
        task_key=task_key(one.photo_id, "triage", round_),
        photo_id=one.photo_id,
        kind="triage",
        round=round_,
        state="waiting",
        image_path=newest.image_path,
        image_width=newest.image_width,
        image_height=newest.image_height,
        note=f"people disagree on {said}" if said else "people disagree",
        uncertainty=1 - (one.agreement or 0.0),
    )


def _contested(voters: Sequence[Annotation], form: Form) -> Iterator[str]:
    questions = named(form)
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for one in voters:
        values["decision"][one.decision or ""] += 1
        for tag in (*one.semantic_tags, *one.photographic_tags):
            name, value = tag.split("/", 1)
            values[name][value] += 1
    for name in sorted(values, key=lambda n: _place(n, questions)):
        question = questions.get(name)
        if question and question.kind == "one" and len(values[name]) > 1 and _tied(values[name]):
            words = {c.value: c.title for c in question.choices}
            told = " or ".join(words.get(v, v) for v in sorted(values[name]))
            yield f"{question.title.lower()} ({told})"


def _place(name: str, questions: Mapping[str, object]) -> int:
    return list(questions).index(name) if name in questions else len(questions)


def _tied(counts: Counter[str]) -> bool:
    (_, most), (_, second) = counts.most_common(2)
    return most == second or 2 * most <= counts.total()
