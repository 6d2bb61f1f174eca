"""Push and pull: the ledger of what was asked, and the answers merged into the tables.

A push is exactly-once in effect: rows stand as waiting before anything is sent, each task carries
our own key, and a push first lists what the server has. The next push finishes a killed one.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from annotation.answers import ServerTask, pseudonym
from annotation.config import AnnotateConfig
from annotation.merge import Known, Merged, adopt, merge, spare_copies
from annotation.private import write_private
from annotation.projects import Project, ensure_project, find_project
from annotation.questions import FORMS
from annotation.studio import Studio
from annotation.tasks import task_json, triage_tasks
from data_manifests.errors import InputError, RemoteError
from data_manifests.records import Annotation, Consensus, Face, Photo, Task
from data_manifests.store import Store

__all__ = ["Pulled", "Pushed", "pull", "push"]

FEW = 5  # so many tasks may always vanish: someone tidied up


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: `sent` are new, `adopted` were there, `missing` lack their picture."""

    projects: tuple[Project, ...]
    sent: int = 0
    adopted: int = 0
    already: int = 0
    copies_removed: int = 0
    missing: tuple[str, ...] = ()


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
    foreign: int
    conflicts: int
    changed_rows: int

    @property
    def balances(self) -> bool:
        """Whether every task sent is accounted for."""
        return (
            self.sent == self.labelled + self.skipped + self.waiting + self.set_aside + self.deleted
        )


def push(
    store: Store, studio: Studio, *, media: Path, config: AnnotateConfig, kind: str = "triage"
) -> Pushed:
    """Ask about every kept photo never asked about, and send what other parts left waiting."""
    with _one_at_a_time(store):
        photos = {p.photo_id: p for p in store.read(Photo)}
        ledger = {t.task_key: t for t in store.read(Task)}
        if kind == "triage":
            fresh = list(triage_tasks(photos.values(), ledger))
            store.upsert(Task, fresh, why="ask about kept photos")
            ledger |= {t.task_key: t for t in fresh}
        if not ledger:
            raise InputError(
                "There is nothing to ask about: no photo was kept.", "Run `authface ingest` first."
            )
        faces: dict[str, list[Face]] = defaultdict(list)
        for face in store.read(Face):
            faces[face.photo_id].append(face)
        done = [
            _push_form(
                name,
                [t for t in ledger.values() if t.kind == name],
                _Sender(store, studio, media, config, photos, faces),
            )
            for name in FORMS
            if any(t.kind == name for t in ledger.values())
        ]
    return _added_up(done)


def pull(
    store: Store, studio: Studio, *, config: AnnotateConfig, accept_deletions: bool = False
) -> Pulled:
    """Read every answer, judge it, settle the voters; a second pull of the same changes no row."""
    with _one_at_a_time(store):
        listing = _adopted_listing(store, studio, config)
        ledger = [t for t in store.read(Task) if t.server == studio.identity and t.kind in FORMS]
        known = Known(
            ledger,
            {p.photo_id: p for p in store.read(Photo)},
            store.read(Annotation),
            store.read(Consensus),
        )
        name_person = partial(pseudonym, _secret(store), studio.identity)
        merged = merge(
            known,
            listing,
            server=studio.identity,
            name_person=name_person,
            majority=config.majority,
        )
        _refuse_landslide(merged, len(ledger), config, accept_deletions)
        why = f"pull from {studio.identity}"
        commits = [
            store.upsert(Annotation, merged.annotations, why=why),
            store.upsert(Task, merged.tasks, why=why),
            store.upsert(Consensus, merged.settled, why=why),
        ]
    return _counted(merged, listing, sum(c.added + c.changed for c in commits))


@dataclass(frozen=True, slots=True)
class _Sender:
    """What sending needs, whatever the form."""

    store: Store
    studio: Studio
    media: Path
    config: AnnotateConfig
    photos: Mapping[str, Photo]
    faces: Mapping[str, list[Face]]

    def address(self, task: Task) -> str:
        return self.config.media_url.format(path=task.image_path)

    def json(self, task: Task) -> dict[str, Any]:
        photo = self.photos.get(task.photo_id)
        faces = self.faces.get(task.photo_id, ())
        return task_json(task, FORMS[task.kind], image=self.address(task), photo=photo, faces=faces)


def _push_form(kind: str, rows: Sequence[Task], sender: _Sender) -> Pushed:
    studio, server = sender.studio, sender.studio.identity
    waiting = [
        t for t in rows if t.state == "waiting" or (t.state == "sent" and t.server != server)
    ]
    project = ensure_project(studio, FORMS[kind], sender.config)
    listing, spare = _tidy_listing(studio, project.id)
    adopted = adopt(waiting, listing, server=server, project_id=project.id)
    sender.store.upsert(Task, adopted, why="found on the server")
    there = {t.task_key for t in adopted}
    missing = tuple(
        t.task_key
        for t in waiting
        if t.task_key not in there and not (sender.media / t.image_path).is_file()
    )
    to_send = [t for t in waiting if t.task_key not in there and t.task_key not in missing]
    _refuse_invisible(sender, to_send)
    for start in range(0, len(to_send), sender.config.batch):
        _send(to_send[start : start + sender.config.batch], project, sender)
    return Pushed((project,), len(to_send), len(adopted), len(rows) - len(waiting), spare, missing)


def _send(rows: Sequence[Task], project: Project, sender: _Sender) -> None:
    ids = sender.studio.add_tasks(project.id, [sender.json(t) for t in rows])
    now = datetime.now(UTC)
    sent = [
        replace(
            t,
            state="sent",
            server=sender.studio.identity,
            project_id=project.id,
            task_id=i,
            sent_at=now,
        )
        for t, i in zip(rows, ids, strict=True)
    ]
    sender.store.upsert(Task, sent, why=f"sent to project {project.id}")


def _tidy_listing(studio: Studio, project_id: int) -> tuple[list[ServerTask], int]:
    """The project's tasks, copies that nobody answered removed; and how many those were."""
    raw = studio.tasks(project_id, answers=False)
    listing = _server_tasks(raw)
    answered = {int(t["id"]): _answers(t) for t in raw}
    spare = spare_copies(listing, answered)
    for task_id in spare:
        studio.drop_task(task_id)
    return [t for t in listing if t.id not in set(spare)], len(spare)


def _answers(task: Mapping[str, Any]) -> int:
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)


def _adopted_listing(store: Store, studio: Studio, config: AnnotateConfig) -> list[ServerTask]:
    listing: list[ServerTask] = []
    waiting = [t for t in store.read(Task) if t.state == "waiting"]
    for kind, form in FORMS.items():
        project = find_project(studio, form, config)
        if project is None:
            continue
        found = _server_tasks(studio.tasks(project.id))
        rows = [t for t in waiting if t.kind == kind]
        late = adopt(rows, found, server=studio.identity, project_id=project.id)
        store.upsert(Task, late, why="found on the server")
        listing += found
    return listing


def _server_tasks(raw: Sequence[Mapping[str, Any]]) -> list[ServerTask]:
    try:
        return [ServerTask.model_validate(t) for t in raw]
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(p) for p in fault["loc"])
        raise RemoteError(
            f"Label Studio listed a task whose {where} can't be read: {fault['msg']}.",
            "Is it version 1.23 or newer?",
        ) from error


def _refuse_invisible(sender: _Sender, rows: Sequence[Task]) -> None:
    if rows and not sender.studio.shows(sender.address(rows[0])):
        raise RemoteError(
            f"Label Studio at {sender.studio.url} does not show the picture {rows[0].image_path}.",
            "Serve media/ to it: see server_media and media_url under [annotate].",
        )


def _refuse_landslide(merged: Merged, sent: int, config: AnnotateConfig, accepted: bool) -> None:
    if merged.vanished > max(FEW, config.largest_drop * sent) and not accepted:
        raise RemoteError(
            f"{merged.vanished} of {sent} tasks are gone from the server since the last pull.",
            "Nothing was changed. If they were deleted on purpose, pull with --accept-deletions.",
        )


def _added_up(done: Sequence[Pushed]) -> Pushed:
    return Pushed(
        tuple(project for one in done for project in one.projects),
        sum(one.sent for one in done),
        sum(one.adopted for one in done),
        sum(one.already for one in done),
        sum(one.copies_removed for one in done),
        tuple(key for one in done for key in one.missing),
    )


def _counted(merged: Merged, listing: Sequence[ServerTask], changed_rows: int) -> Pulled:
    states = Counter(t.state for t in merged.tasks)
    ours = {t.task_key for t in merged.tasks}
    return Pulled(
        sent=len(merged.tasks),
        labelled=states["labelled"],
        skipped=states["skipped"],
        waiting=states["sent"],
        set_aside=states["set_aside"],
        deleted=states["deleted"],
        answers=sum(a.state == "counted" for a in merged.annotations),
        drafts=sum(len(t.drafts) for t in listing),
        foreign=sum(t.key not in ours for t in listing),
        conflicts=sum(c.conflict for c in merged.settled),
        changed_rows=changed_rows,
    )


def _secret(store: Store) -> bytes:
    """The key of people's pseudonyms: beside the tables, never in them, for its owner only."""
    file = store.folder.parent / ".annotator-key"
    if not file.exists():
        write_private(file, secrets.token_hex(32))
    return file.read_bytes()


@contextlib.contextmanager
def _one_at_a_time(store: Store) -> Iterator[None]:
    # The kernel frees the lock when its holder dies, so a killed push never blocks the next.
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / ".sync.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
