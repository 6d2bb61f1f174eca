"""Answers that come in as files: into the tables, and settled with everybody else's.

The rules are pure functions of rows; `take` is the shell that reads and writes the tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from annotation.agreement import asked_in_round
from annotation.answered import Wanted
from annotation.imported import SETTLED
from annotation.ledger import one_at_a_time
from annotation.moved import moved_tasks, write_standings
from annotation.roles import NOT_THEIR_ROLE, Roles, refused_by_role
from annotation.rules import last_per_person, revived, settled_by_others
from data_manifests.records import Annotation, Consensus, Task
from data_manifests.store import Store

__all__ = ["Settle", "Settling", "Taken", "take"]


Settle = Callable[[str, Sequence[Annotation]], Consensus]


@dataclass(frozen=True, slots=True)
class Settling:
    """How photos are settled after answers came: what people may answer, how many are wanted."""

    settle: Settle
    wanted: Wanted = field(default_factory=Wanted)
    roles: Roles = field(default_factory=Roles)


@dataclass(frozen=True, slots=True)
class Taken:
    """What taking answers in did, or would do: answers by fate, and photos in conflict after it.

    `refused` are of people who may not answer such questions. What can't be read is not among them.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    withdrawn: int = 0
    conflicts: int = 0
    refused: int = 0


def take(
    store: Store,
    fresh: Sequence[Annotation],
    *,
    how: Settling,
    why: str,
    withdrawn: Collection[str] = (),
    write: bool = True,
) -> Taken:
    """Put answers into the tables and settle their photos; the same answers again change no row.

    `withdrawn` names answers that their file no longer gives: their rows stay as deleted. Questions
    that the answers take the place of count as answered; of answers taken back they open again.
    """
    with one_at_a_time(store):
        photo_ids = {a.photo_id for a in fresh} | {w.rsplit(":", 1)[1] for w in withdrawn}
        known = store.rows_with(Annotation, "photo_id", sorted(photo_ids))
        fresh = [_allowed(one, how.roles) for one in fresh]
        rows = _after(known, fresh, withdrawn, how.roles)
        settled = _settled([*known, *rows], how.settle)
        if write:
            every = {a.annotation_id: a for a in (*known, *rows)}.values()
            store.upsert(Annotation, rows, why=why)
            store.upsert(Consensus, settled, why=why)
            store.upsert(Task, moved_tasks(store, photo_ids, every, how.wanted), why=why)
            write_standings(store, photo_ids, why)
    return _counted(known, rows, fresh, settled)


def _after(
    known: Sequence[Annotation],
    fresh: Sequence[Annotation],
    withdrawn: Collection[str],
    roles: Roles,
) -> list[Annotation]:
    """The rows that change: of each person's answers the newest counts, wherever it was given."""
    held = {a.annotation_id: a for a in known}
    rows = {a.annotation_id: revived(a) for a in known}
    for one in fresh:
        before = rows.get(one.annotation_id)
        if one.state == "set_aside" and before is not None and before.state == "counted":
            continue  # a row that can't be read never costs the answer that could
        rows[one.annotation_id] = _merged(before, one)
    for key in set(withdrawn) & set(rows):
        rows[key] = replace(rows[key], state="deleted")
    last = last_per_person(list(rows.values()))
    standing = settled_by_others(last, voters_may_settle=roles.voters_may_settle)
    return [r for r in standing if held.get(r.annotation_id) != r]


def _allowed(one: Annotation, roles: Roles) -> Annotation:
    kind = next(iter(one.task_key.split(":")[1:2]), "")
    fits = roles.allow(one.annotator, kind, asked_in_round(one.task_key))
    return one if fits or one.state != "counted" else refused_by_role(one)


def _merged(before: Annotation | None, now: Annotation) -> Annotation:
    if before is None:
        return now
    if replace(now, created_at=before.created_at, updated_at=before.updated_at) == before:
        return before  # only the file's time is another
    return replace(now, created_at=before.created_at)


def _settled(rows: Iterable[Annotation], settle: Settle) -> list[Consensus]:
    newest = {a.annotation_id: a for a in rows}
    by_photo: dict[str, list[Annotation]] = defaultdict(list)
    for one in newest.values():
        if one.task_key.split(":")[1] in SETTLED:
            by_photo[one.photo_id].append(one)
    return [settle(photo_id, answers) for photo_id, answers in sorted(by_photo.items())]


def _counted(
    known: Sequence[Annotation],
    rows: Sequence[Annotation],
    fresh: Sequence[Annotation],
    settled: Sequence[Consensus],
) -> Taken:
    held, given = {a.annotation_id for a in known}, {a.annotation_id for a in fresh}
    unread = {a.annotation_id for a in fresh if a.state == "set_aside" and not _refused(a)}
    touched = [r for r in rows if r.annotation_id in given]
    return Taken(
        new=sum(r.annotation_id not in held | unread for r in touched),
        changed=sum(r.annotation_id in held - unread for r in touched),
        same=len(given - unread - {r.annotation_id for r in touched}),
        withdrawn=sum(r.state == "deleted" for r in rows if r.annotation_id not in given),
        conflicts=sum(c.conflict for c in settled),
        refused=sum(map(_refused, fresh)),
    )


def _refused(one: Annotation) -> bool:
    return NOT_THEIR_ROLE in one.flags
