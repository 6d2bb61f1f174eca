"""Pull: the answers that are new or have changed, judged and merged into the tables.

Only what the server changed since the last look is read; where that can't be the whole story (a
task is gone, a question stands there twice) its project is read whole. Two pulls in a row change
nothing, and a killed one is made good by the next: tasks are noted last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from annotation.answered import Wanted, come_back
from annotation.answers import ServerTask
from annotation.begun import Draft, begun_in, left_lying
from annotation.comparison import review_outcomes
from annotation.config import AnnotateConfig
from annotation.form import Form
from annotation.ledger import naming, one_at_a_time, server_tasks
from annotation.mask_files import MaskFiles
from annotation.merge import Judging, Known, Merged, adopt, merge
from annotation.moved import moved_tasks, write_standings
from annotation.people import People, people_of
from annotation.projects import Project, find_project
from annotation.rules import OWN_CONFLICT
from annotation.studio import Studio
from annotation.team import forms
from annotation.united import settling, unite
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace
from data_manifests.records import (
    Annotation,
    Consensus,
    Photo,
    Retouch,
    Sample,
    Task,
)
from data_manifests.store import Commit, Store

__all__ = ["Pulled", "projects_of", "pull"]

FEW = 5  # so many tasks may always vanish: someone tidied up


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull found: tasks by state, which add up to `sent`, and the rows that changed."""

    sent: int
    labelled: int
    skipped: int
    waiting: int
    set_aside: int
    deleted: int
    answers: int
    drafts: int
    old_drafts: int
    foreign: int
    conflicts: int
    changed_rows: int
    read: int  # tasks read from the server
    stale_samples: int  # built from answers that have changed since
    own_conflicts: int = 0  # answers read that settle what their authors had voted on
    unknown_people: tuple[str, ...] = ()  # names whose user the server does not have

    @property
    def balances(self) -> bool:
        """Whether every task sent is accounted for."""
        return (
            self.sent == self.labelled + self.skipped + self.waiting + self.set_aside + self.deleted
        )


def pull(
    store: Store,
    studio: Studio,
    *,
    config: AnnotateConfig,
    media: Path | None = None,
    accept_deletions: bool = False,
    full: bool = False,
) -> Pulled:
    """Read what changed, or everything if `full`; judge it, settle the voters, write it down.

    Painted areas become files below `media`, the workspace's own if none is given.
    """
    root = store.folder.parent
    asked, people = forms(config, root), people_of(config, root)
    named, missing = people.users(studio.emails() if people.name_users else {})
    unite(store, people, named, server=studio.identity, how=settling(store, config, asked, people))
    # The server looks for drafts while the tables are written.
    with one_at_a_time(store), ThreadPoolExecutor(1, "drafts") as aside:
        masks = MaskFiles(media or Workspace(root).media)
        reader = _Reader(store, studio, config, asked, people, named, masks)
        ledger = _Ledger(store, studio.identity)
        looks = list(_looks(reader, ledger, full))
        listing = [task for look in looks for task in look.listing]
        merged = _merged(reader, looks, listing)
        sent = len(ledger) + sum(look.late for look in looks)
        _refuse_landslide(merged, sent, config, accept_deletions)
        begun = aside.submit(begun_in, studio, [look.project.id for look in looks])
        why = f"pull from {studio.identity}"
        # Tasks last: as long as one is not noted as seen, the next pull reads it again.
        changed = 0
        if merged.tasks:
            photos = {t.photo_id for t in merged.tasks}
            wanted = Wanted(config.answers_wanted, people.desk_of(store))
            tasks = moved_tasks(store, photos, merged.annotations, wanted, newer=merged.tasks)
            commits = [
                store.upsert(Annotation, merged.annotations, why=why),
                store.upsert(Consensus, merged.settled, why=why),
                *_moved_on(store, merged, config, why),
                store.upsert(Task, tasks, why=why),
            ]
            changed = sum(c.added + c.changed for c in commits)
        return replace(
            _counted(store, studio.identity, listing, merged, begun.result()),
            changed_rows=changed,
            unknown_people=missing,
        )


def projects_of(store: Store, server: str) -> list[int]:
    """Ids of the projects that hold tasks of ours on this server."""
    rows = _Ledger(store, server).rows
    if rows is None:
        return []
    return sorted(i for i in set(rows.column("project_id").to_pylist()) if i is not None)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reading the server needs, whatever the form."""

    store: Store
    studio: Studio
    config: AnnotateConfig
    forms: Mapping[str, Form]
    people: People
    named: Mapping[int, str]  # people by their user's number
    masks: MaskFiles


class _Ledger:
    """The tasks that stand on one server, in columns: a ledger may hold a million of them."""

    NAMES = ("task_key", "kind", "desk", "state", "server", "project_id", "task_id", "updated_at")

    def __init__(self, store: Store, server: str) -> None:
        self._every = store.columns(Task, self.NAMES)
        rows = self._every
        self.rows = rows.filter(pc.equal(rows.column("server"), server)) if rows else None

    def __len__(self) -> int:
        return self.rows.num_rows if self.rows is not None else 0

    def live(self, project_id: int) -> tuple[dict[str, int], datetime | None]:
        """Task ids by key of a project's tasks that are still there, and the newest change seen."""
        if self.rows is None:
            return {}, None
        mask = pc.and_(
            pc.equal(self.rows.column("project_id"), project_id),
            pc.not_equal(self.rows.column("state"), "deleted"),
        )
        ours = self.rows.filter(mask)
        ids = zip(
            ours.column("task_key").to_pylist(), ours.column("task_id").to_pylist(), strict=True
        )
        newest = pc.max(ours.column("updated_at")).as_py()
        return dict(ids), newest

    def groups(self, order: Sequence[str]) -> dict[tuple[str, str], bool]:
        """Kinds and desks that were ever asked, on any server: whether tasks of theirs wait.

        Each pair has a project of its own. In the order of the kinds, then of the desks.
        """
        if self._every is None:
            return {}
        names = [n for n in ("kind", "desk", "state") if n in self._every.column_names]
        rows = self._every.select(names).group_by(names).aggregate([]).to_pylist()
        found: dict[tuple[str, str], bool] = {}
        for row in rows:
            group = row["kind"], row.get("desk") or ""
            found[group] = found.get(group, False) or row["state"] == "waiting"
        known = sorted((g for g in found if g[0] in order), key=lambda g: (order.index(g[0]), g[1]))
        return {group: found[group] for group in known}

    def states(self) -> Counter[str]:
        """How many tasks are in which state."""
        return Counter(self.rows.column("state").to_pylist() if self.rows is not None else ())


@dataclass(frozen=True, slots=True)
class _Look:
    """What one project said: tasks that changed, or all of them if it was read whole."""

    project: Project
    listing: Sequence[ServerTask]
    whole: bool
    late: int = 0  # tasks whose push was killed before it noted them


def _looks(reader: _Reader, ledger: _Ledger, full: bool) -> Iterator[_Look]:
    """Every project in turn."""
    standing = reader.studio.projects()
    for (kind, desk), some_wait in ledger.groups(list(reader.forms)).items():
        project = find_project(
            reader.studio, reader.forms[kind], reader.config, desk=desk, standing=standing
        )
        if project is not None:
            yield _look(reader, project, ledger.live(project.id), full=full, some_wait=some_wait)


def _look(
    reader: _Reader,
    project: Project,
    known: tuple[dict[str, int], datetime | None],
    *,
    full: bool,
    some_wait: bool,
) -> _Look:
    store, studio, (live, newest) = reader.store, reader.studio, known
    since = None if full or newest is None else newest - timedelta(seconds=reader.config.overlap_s)
    listing = server_tasks(studio.tasks(project.id, since=since))
    here: list[Task] = []
    if some_wait:
        waiting = store.rows_with(Task, "state", ["waiting"])
        here = [t for t in waiting if (t.kind, t.desk) == (project.kind, project.desk)]
    if strays := _strays(live, listing):
        off = store.rows_with(Task, "task_key", strays)
        here += come_back(off, (t.key for t in listing if t.annotations))
    late = adopt(here, listing, server=studio.identity, project_id=project.id)
    if late:
        store.upsert(Task, late, why="found on the server")
    live |= {t.task_key: t.task_id for t in late if t.task_id is not None}
    if since is not None and not _is_whole_story(studio, project, live, listing):
        listing, since = server_tasks(studio.tasks(project.id)), None
    return _Look(project, listing, since is None, len(late))


def _strays(live: Mapping[str, int], listing: Sequence[ServerTask]) -> list[str]:
    """Keys of ours whose rows don't stand here: some were taken off the server as answered."""
    return sorted({t.key for t in listing if t.key} - live.keys())


def _is_whole_story(
    studio: Studio, project: Project, live: dict[str, int], listing: Sequence[ServerTask]
) -> bool:
    """False if a task is gone, was moved here or stands here twice: what changed says too little.

    Nobody tells what was deleted, but the server counts the tasks with our keys in no time.
    """
    if any(t.key and live.get(t.key) != t.id for t in listing):
        return False
    return studio.count_tasks(project.id, "task_key", f":{project.kind}:") == len(live)


def _merged(reader: _Reader, looks: Sequence[_Look], listing: Sequence[ServerTask]) -> Merged:
    """The rows concerned, and those alone, as they should be."""
    store, server = reader.store, reader.studio.identity
    tasks = _tasks(reader, looks)
    photos = sorted({t.photo_id for t in tasks})
    known = Known(
        tasks,
        {p.photo_id: p for p in store.rows_with(Photo, "photo_id", photos)},
        store.rows_with(Annotation, "photo_id", photos),
        store.rows_with(Consensus, "photo_id", photos),
    )
    return merge(
        known,
        listing,
        Judging(
            server,
            naming(store, server, reader.named),
            reader.forms,
            reader.config.majority,
            reader.masks.keep,
            reader.masks.voted,
            reader.people.roles(store),
        ),
    )


def _moved_on(store: Store, merged: Merged, config: AnnotateConfig, why: str) -> Iterator[Commit]:
    """What reviewers say of retouches, and where each photo then stands."""
    photos = sorted({t.photo_id for t in merged.tasks})
    tasks = {t.task_key: t for t in store.rows_with(Task, "photo_id", photos)}
    tasks |= {t.task_key: t for t in merged.tasks}
    retouches = review_outcomes(
        store.rows_with(Retouch, "photo_id", photos),
        tasks.values(),
        merged.annotations,
        wanted=config.answers_wanted,
        majority=config.majority,
    )
    if retouches:
        yield store.upsert(Retouch, retouches, why=why)
    yield write_standings(store, photos, why, tasks=merged.tasks, retouches=retouches)


def _tasks(reader: _Reader, looks: Sequence[_Look]) -> list[Task]:
    """The ledger's rows that were looked at: of a project read whole all, else those listed."""
    store, server = reader.store, reader.studio.identity
    whole = {look.project.id for look in looks if look.whole}
    keys = [t.key for look in looks if not look.whole for t in look.listing if t.key]
    found = store.rows_with(Task, "task_key", keys) if keys else []
    if whole:
        found += [t for t in store.rows_with(Task, "server", [server]) if t.project_id in whole]
    one_each = {t.task_key: t for t in found if t.server == server and t.kind in reader.forms}
    return [one_each[key] for key in sorted(one_each)]


def _refuse_landslide(merged: Merged, sent: int, config: AnnotateConfig, accepted: bool) -> None:
    if merged.vanished > max(FEW, config.largest_drop * sent) and not accepted:
        raise RemoteError(
            f"{merged.vanished} of {sent} tasks are gone from the server since the last pull.",
            "Nothing was changed. If they were deleted on purpose, pull with --accept-deletions.",
        )


def _counted(
    store: Store,
    server: str,
    listing: Sequence[ServerTask],
    merged: Merged,
    drafts: Sequence[Draft],
) -> Pulled:
    ledger = _Ledger(store, server)
    states = ledger.states()
    ours = {t.task_key for t in merged.tasks}
    return Pulled(
        sent=len(ledger),
        labelled=states["labelled"],
        skipped=states["skipped"],
        waiting=states["sent"],
        set_aside=states["set_aside"],
        deleted=states["deleted"],
        answers=_count(store, Annotation, "state", "counted"),
        drafts=len(drafts),
        old_drafts=left_lying(drafts, datetime.now(UTC)),
        foreign=sum(t.key not in ours for t in listing),
        conflicts=_count(store, Consensus, "conflict", True),
        changed_rows=0,
        read=len(listing),
        stale_samples=_stale_samples(store, merged.annotations),
        own_conflicts=sum(OWN_CONFLICT in a.flags for a in merged.annotations),
    )


def _count(store: Store, noun: type, column: str, value: Any) -> int:
    rows = store.columns(noun, [column])
    return 0 if rows is None else int(pc.sum(pc.equal(rows.column(column), value)).as_py() or 0)


def _stale_samples(store: Store, answers: Sequence[Annotation]) -> int:
    """Samples that cite one of these answers in another version than it now has.

    They stay as they are, as do the versions of the table that a training run pins; the next build
    makes new ones.
    """
    now = {a.annotation_id: a for a in answers}
    if not now or store.version(Sample) is None:
        return 0
    photos = sorted({a.photo_id for a in answers})
    return sum(
        any(
            key in now and not _stands(now[key], version)
            for key, version in zip(s.annotation_ids, s.annotation_versions, strict=False)
        )
        for s in store.rows_with(Sample, "photo_id", photos)
    )


def _stands(one: Annotation, cited: str) -> bool:
    """Whether the answer still counts and is the version that a build cited, if it said which."""
    if one.state != "counted":
        return False
    return not cited or one.updated_at == datetime.fromisoformat(cited)
