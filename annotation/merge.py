"""Pure: from what the tables hold and what the server lists, to the rows as they should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from annotation.answered import state_after
from annotation.answers import Asked, Reading, ServerTask, to_annotation
from annotation.circumstances import refused, remarks
from annotation.form import Form
from annotation.imported import SETTLED, settle_all
from annotation.roles import NOT_THEIR_ROLE, Roles
from annotation.rules import SUPERSEDED, broken, last_per_person, settled_by_others
from annotation.settle_regions import Masks
from data_manifests.records import Annotation, Consensus, Photo, Task

__all__ = ["Known", "Merged", "adopt", "merge", "no_longer_asked", "spare_copies"]


@dataclass(frozen=True, slots=True)
class Known:
    """What the tables hold before a pull; `tasks` are those sent to the server that is read."""

    tasks: Sequence[Task]
    photos: Mapping[str, Photo]
    annotations: Sequence[Annotation]
    settled: Sequence[Consensus]


@dataclass(frozen=True, slots=True)
class Judging:
    """How answers are judged: whose server, under which forms, and where painted areas go."""

    server: str
    name_person: Callable[[int | None], str]
    forms: Mapping[str, Form]
    majority: float = 0.5
    keep_mask: Callable[[bytes], str] | None = None
    masks: Masks | None = None
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows after a pull; unchanged ones are among them and cost nothing to write."""

    tasks: tuple[Task, ...]
    annotations: tuple[Annotation, ...]
    settled: tuple[Consensus, ...]
    vanished: int  # tasks that the server had at the last look and has no longer


def merge(known: Known, listing: Sequence[ServerTask], how: Judging) -> Merged:
    """Judge every answer, keep what vanished as deleted, settle the voters."""
    copies: dict[str, list[ServerTask]] = defaultdict(list)
    for found in listing:
        copies[found.key].append(found)
    read: list[Annotation] = []
    for task in known.tasks:
        read += _read(task, copies[task.task_key], known, how)
    seen = {a.annotation_id for a in read}
    asked = {t.task_key for t in known.tasks}
    gone = [
        replace(a, state="deleted")
        for a in known.annotations
        if a.annotation_id not in seen
        and a.task_key in asked
        and a.annotation_id.startswith(f"{how.server}:")
    ]
    # Those of other projects and other sources too: a vote given twice is one vote.
    every = {a.annotation_id: a for a in (*known.annotations, *gone, *read)}
    last = last_per_person(list(every.values()))
    standing = settled_by_others(last, voters_may_settle=how.roles.voters_may_settle)
    judged = {a.annotation_id: a for a in standing}
    by_task: dict[str, list[Annotation]] = defaultdict(list)
    for key in seen:
        by_task[judged[key].task_key].append(judged[key])
    tasks = tuple(_after(t, copies[t.task_key], by_task[t.task_key]) for t in known.tasks)
    vanished = sum(
        old.state != "deleted" and new.state == "deleted"
        for old, new in zip(known.tasks, tasks, strict=True)
    )
    settled = _settle(judged.values(), known.settled, how)
    return Merged(tasks, tuple(judged.values()), tuple(settled), vanished)


def adopt(
    waiting: Iterable[Task], listing: Sequence[ServerTask], *, server: str, project_id: int
) -> list[Task]:
    """Waiting rows that the server has already: sent by a push that did not live to note it.

    Their time of change is not noted: a pull looks from the newest one on, and answers that it has
    not read yet may be older.
    """
    oldest: dict[str, ServerTask] = {}
    for found in listing:
        if found.key not in oldest or found.id < oldest[found.key].id:
            oldest[found.key] = found
    return [
        replace(
            row,
            state="sent",
            server=server,
            project_id=project_id,
            task_id=oldest[row.task_key].id,
        )
        for row in waiting
        if row.task_key in oldest
    ]


def spare_copies(listing: Sequence[ServerTask], answered: Mapping[int, int]) -> list[int]:
    """Ids of second copies of a question that nobody answered; answered ones are never touched."""
    copies: dict[str, list[int]] = defaultdict(list)
    for found in listing:
        if found.key:
            copies[found.key].append(found.id)
    spare: list[int] = []
    for ids in copies.values():
        blank = [i for i in sorted(ids) if not answered.get(i)]
        spare += blank if len(blank) < len(ids) else blank[1:]
    return spare


def no_longer_asked(
    rows: Iterable[Task],
    listing: Sequence[ServerTask],
    answered: Mapping[int, int],
    *,
    server: str,
) -> tuple[list[int], list[Task]]:
    """(ids that the server is to delete, rows that are deleted then) of questions nobody needs.

    One that somebody answered stays, here and there; one that lies on another server is left to the
    next push to that one.
    """
    asked = {t.task_key: t for t in rows}
    there = [found for found in listing if found.key in asked]
    kept = {found.key for found in there if answered.get(found.id)}
    drop = [found.id for found in there if found.key not in kept]
    here = [t for t in asked.values() if t.state == "sent" and t.server == server]
    unsent = [t for t in asked.values() if t.state == "waiting"]
    gone = [replace(t, state="deleted") for t in (*here, *unsent) if t.task_key not in kept]
    return drop, gone


def _read(task: Task, copies: Sequence[ServerTask], known: Known, how: Judging) -> list[Annotation]:
    photo = known.photos.get(task.photo_id)
    width, height = (photo.width, photo.height) if photo else (task.image_width, task.image_height)
    asked = Asked(task, how.forms[task.kind], width, height)
    return [
        _row(Reading(asked, answer), found, how) for found in copies for answer in found.annotations
    ]


def _row(reading: Reading, found: ServerTask, how: Judging) -> Annotation:
    answer, task = reading.answer, reading.asked.task
    annotator = how.name_person(answer.completed_by)
    allowed = answer.was_cancelled or how.roles.allow(annotator, task.kind, task.round)
    role = () if allowed else (NOT_THEIR_ROLE,)
    row = to_annotation(
        reading,
        server=how.server,
        annotator=annotator,
        flags=(*broken(reading), *refused(reading, found), *role),
        keep_mask=how.keep_mask,
    )
    odd = remarks(reading, found)
    other = how.name_person(answer.updated_by) if "edited_by_other" in odd else None
    form = str(found.data.get("schema", ""))
    return replace(row, flags=(*row.flags, *odd), edited_by=other, form=form)


def _after(task: Task, copies: Sequence[ServerTask], answers: Sequence[Annotation]) -> Task:
    if not copies:
        return replace(task, state="deleted")
    states = {a.state for a in answers if SUPERSEDED not in a.flags}
    state = state_after(states) or "sent"
    # The copy that was noted may be gone, moved or imported anew: what counts is the question.
    ids = sorted(c.id for c in copies)
    return replace(
        task,
        state=state,
        task_id=task.task_id if task.task_id in ids else ids[0],
        updated_at=max((c.updated_at for c in copies if c.updated_at), default=None),
    )


def _settle(
    annotations: Iterable[Annotation], settled: Sequence[Consensus], how: Judging
) -> Iterable[Consensus]:
    by_photo: dict[str, list[Annotation]] = {c.photo_id: [] for c in settled}
    for one in annotations:
        if one.task_key.split(":")[1] in SETTLED:
            by_photo.setdefault(one.photo_id, []).append(one)
    return (
        settle_all(
            photo_id,
            answers,
            majority=how.majority,
            form=how.forms["triage"],
            retouch=how.forms["retouch"],
            masks=how.masks,
        )
        for photo_id, answers in sorted(by_photo.items())
    )
