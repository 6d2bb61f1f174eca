"""Push: what is to be asked goes to the server, and the ledger says where each question stands.

A push is exactly-once in effect: rows stand as waiting before anything is sent, each task carries
our own key, and a push first lists what the server has. The next push finishes a killed one.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotation.answered import Wanted, come_back, off_the_server
from annotation.answers import ServerTask
from annotation.asking import Asking, new_questions
from annotation.comparison import outdated_reviews
from annotation.config import AnnotateConfig
from annotation.form import Form
from annotation.ledger import one_at_a_time, server_tasks
from annotation.merge import adopt, no_longer_asked, spare_copies
from annotation.moved import answered_in_files
from annotation.people import people_of
from annotation.projects import Project, ensure_project, find_project
from annotation.studio import Studio
from annotation.tasks import task_json
from annotation.team import forms
from data_manifests.errors import InputError, RemoteError
from data_manifests.records import Face, Photo, Retouch, Task
from data_manifests.store import Store

__all__ = ["Pushed", "push"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do.

    `sent` are new, `adopted` were there already without our knowing, `changed` were renewed in
    place, `withdrawn` were taken off the server: answered in files, or reviews of files that newer
    ones took the place of. `missing` lack their picture, `refused` photos by what speaks against
    asking about them.
    """

    projects: tuple[Project, ...]
    sent: int = 0
    adopted: int = 0
    already: int = 0
    changed: int = 0
    copies_removed: int = 0
    withdrawn: int = 0
    missing: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)


def push(
    store: Store,
    studio: Studio,
    *,
    media: Path,
    config: AnnotateConfig,
    kind: str = "triage",
    dry_run: bool = False,
) -> Pushed:
    """Ask about every kept photo never asked about, and send what other parts left waiting.

    What the server was told of a question that nobody has answered is renewed in place. A dry run
    counts and changes nothing, neither here nor there.
    """
    asked = forms(config, store.folder.parent)
    with one_at_a_time(store):
        photos = {p.photo_id: p for p in store.read(Photo)}
        ledger = {t.task_key: t for t in store.read(Task)}
        faces = _faces(store)
        fresh: list[Task] = []
        refused: dict[str, int] = {}
        if kind == "triage":
            fresh, refused = new_questions(
                Asking(store, config, asked["triage"], photos, faces), ledger
            )
            ledger |= {t.task_key: t for t in fresh}
        changed, needless = answered_in_files(store, ledger, _wanted(store, config))
        ledger |= {t.task_key: t for t in changed}
        outdated = outdated_reviews(store.read(Retouch), ledger.values())
        sender = _Sender(
            store, studio, media, config, asked, photos, faces, needless, outdated, dry_run
        )
        sender.note([ledger[t.task_key] for t in (*fresh, *changed)], "ask about kept photos")
        _refuse_nothing(ledger, refused)
        groups: dict[tuple[str, str], list[Task]] = defaultdict(list)
        for task in ledger.values():
            if task.kind in asked:
                groups[task.kind, task.desk].append(task)
        order = sorted(groups, key=lambda g: (list(asked).index(g[0]), g[1]))
        done = [_push_group(*group, groups[group], sender) for group in order]
    return _added_up(done, refused)


def _wanted(store: Store, config: AnnotateConfig) -> Wanted:
    people = people_of(config, store.folder.parent)
    return Wanted(config.answers_wanted, people.desk_of(store))


@dataclass(frozen=True, slots=True)
class _Sender:
    """What sending needs, whatever the form."""

    store: Store
    studio: Studio
    media: Path
    config: AnnotateConfig
    forms: Mapping[str, Form]
    photos: Mapping[str, Photo]
    faces: Mapping[str, list[Face]]
    needless: frozenset[str]  # keys of questions that were answered in files
    outdated: frozenset[str]  # keys of reviews that nobody needs any more
    dry_run: bool

    def address(self, task: Task) -> str:
        return self.config.media_url.format(path=task.image_path)

    def json(self, task: Task) -> dict[str, Any]:
        photo = self.photos.get(task.photo_id)
        faces = self.faces.get(task.photo_id, ())
        form = self.forms[task.kind]
        return task_json(task, form, image=self.address(task), photo=photo, faces=faces)

    def sent(self, row: Task, task: Mapping[str, Any]) -> Task:
        both = _digest(task["data"]) + _digest(task["predictions"])
        return replace(row, form=self.forms[row.kind].version, sent_sha256=both)

    def note(self, rows: Sequence[Task], why: str) -> None:
        if not self.dry_run:
            self.store.upsert(Task, rows, why=why)


def _faces(store: Store) -> Mapping[str, list[Face]]:
    faces: dict[str, list[Face]] = defaultdict(list)
    for face in store.read(Face):
        faces[face.photo_id].append(face)
    return faces


def _push_group(kind: str, desk: str, rows: Sequence[Task], sender: _Sender) -> Pushed:
    """Send one project's questions."""
    server = sender.studio.identity
    outdated = [t for t in rows if t.task_key in sender.outdated]
    rows = [t for t in rows if t.task_key not in sender.outdated]
    waiting = [
        t for t in rows if t.state == "waiting" or (t.state == "sent" and t.server != server)
    ]
    project = _project(kind, desk, sender)
    listing, answered, spare = _tidy_listing(sender, project)
    retired = _retire(outdated, listing, answered, sender)
    late = come_back(rows, (t.key for t in listing if answered.get(t.id)))
    here = [*waiting, *late]
    adopted = adopt(here, listing, server=server, project_id=project.id) if project else []
    sender.note(adopted, "found on the server")
    there = {t.task_key for t in adopted}
    missing = tuple(
        t.task_key
        for t in waiting
        if t.task_key not in there and not (sender.media / t.image_path).is_file()
    )
    to_send = [t for t in waiting if t.task_key not in there and t.task_key not in missing]
    changed = [t for t in rows if t.state == "sent" and t.server == server]
    renewed = withdrawn = 0
    if project is not None:
        _refuse_invisible(sender, to_send)
        for start in range(0, len(to_send), sender.config.batch):
            _send(to_send[start : start + sender.config.batch], project, sender)
        blank = {t.key: t for t in listing if not answered.get(t.id)}
        renewed = _renew([*changed, *adopted], blank, sender)
        withdrawn = _withdraw(rows, blank, project, sender)
    return Pushed(
        (project,) if project else (),
        sent=len(to_send),
        adopted=len(adopted),
        already=len(rows) - len(waiting),
        changed=renewed,
        copies_removed=spare,
        withdrawn=withdrawn + retired,
        missing=missing,
    )


def _project(kind: str, desk: str, sender: _Sender) -> Project | None:
    if sender.dry_run:
        return find_project(sender.studio, sender.forms[kind], sender.config, desk=desk)
    return ensure_project(sender.studio, sender.forms[kind], sender.config, desk=desk)


def _send(rows: Sequence[Task], project: Project, sender: _Sender) -> None:
    if sender.dry_run:
        return
    tasks = [sender.json(t) for t in rows]
    ids = sender.studio.add_tasks(project.id, tasks)
    now, server = datetime.now(UTC), sender.studio.identity
    sent = [
        replace(
            sender.sent(row, task),
            state="sent",
            server=server,
            project_id=project.id,
            task_id=task_id,
            sent_at=now,
        )
        for row, task, task_id in zip(rows, tasks, ids, strict=True)
    ]
    sender.note(sent, f"sent to project {project.id}")


def _renew(rows: Sequence[Task], blank: Mapping[str, ServerTask], sender: _Sender) -> int:
    """Tell the server anew what has changed in questions that nobody has answered; how many."""
    done: list[Task] = []
    for row in rows:
        there = blank.get(row.task_key)
        if there is None:
            continue  # an answer is about what was shown: that is never changed under it
        task = sender.json(row)
        noted = sender.sent(row, task)
        known = row.sent_sha256 or _digest(there.data) + noted.sent_sha256[_HALF:]  # type: ignore[index]
        if known == noted.sent_sha256:
            continue
        if not sender.dry_run:
            same = known[_HALF:] == noted.sent_sha256[_HALF:]  # type: ignore[index]
            sender.studio.change_task(there.id, task["data"], None if same else task["predictions"])
        done.append(noted)
    sender.note(done, "renewed on the server")
    return len(done)


def _withdraw(
    rows: Sequence[Task], blank: Mapping[str, ServerTask], project: Project, sender: _Sender
) -> int:
    """Take questions off the server that people have answered in files; how many.

    Each is looked at again just before: what somebody has begun there stays.
    """
    server = sender.studio.identity
    found = [
        (row, blank[row.task_key])
        for row in rows
        if row.task_key in sender.needless & blank.keys()
        and row.state == "labelled"
        and row.server in (None, server)
    ]
    if sender.dry_run:
        return len(found)
    # Noted first: killed in between, the next push finds the rest, and no pull takes them for lost.
    sender.note([off_the_server(row) for row, _ in found if row.server], "answered in files")
    begun: list[Task] = []
    for row, there in found:
        if sender.studio.is_untouched(there.id):
            sender.studio.drop_task(there.id)
        else:
            begun.append(replace(row, server=server, project_id=project.id, task_id=there.id))
    sender.note(begun, "begun on the server")
    return len(found) - len(begun)


_HALF = 32  # hex digits: the first half tells the data, the second one the suggestions


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_HALF]


def _tidy_listing(
    sender: _Sender, project: Project | None
) -> tuple[list[ServerTask], Mapping[int, int], int]:
    """The project's tasks, answers by task id, and how many unanswered copies were removed."""
    if project is None:
        return [], {}, 0
    raw = sender.studio.tasks(project.id, answers=False)
    listing = server_tasks(raw)
    answered = {int(t["id"]): _answers(t) for t in raw}
    spare = spare_copies(listing, answered)
    if not sender.dry_run:
        for task_id in spare:
            sender.studio.drop_task(task_id)
    return [t for t in listing if t.id not in set(spare)], answered, len(spare)


def _retire(
    rows: Sequence[Task],
    listing: Sequence[ServerTask],
    answered: Mapping[int, int],
    sender: _Sender,
) -> int:
    """Take questions back that nobody needs to answer any more; how many."""
    drop, gone = no_longer_asked(rows, listing, answered, server=sender.studio.identity)
    begun: set[str] = set()
    if not sender.dry_run:
        for there in listing:
            if there.id in drop:  # looked at again: what somebody has begun there stays
                if sender.studio.is_untouched(there.id):
                    sender.studio.drop_task(there.id)
                else:
                    begun.add(there.key)
    gone = [row for row in gone if row.task_key not in begun]
    sender.note(gone, "a newer file took the place of what was to be reviewed")
    return len(gone)


def _answers(task: Mapping[str, Any]) -> int:
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)


def _refuse_nothing(ledger: Mapping[str, Task], refused: Mapping[str, int]) -> None:
    if ledger:
        return
    if refused:
        raise InputError(
            f"There is nothing to ask about: consents speak against {sum(refused.values())} photos"
            f" ({', '.join(refused)}).",
            "See `authface consent list`; looking at a photo takes the purpose annotation.",
        )
    raise InputError(
        "There is nothing to ask about: no photo was kept.", "Run `authface ingest` first."
    )


def _refuse_invisible(sender: _Sender, rows: Sequence[Task]) -> None:
    if rows and not sender.studio.shows(sender.address(rows[0])):
        raise RemoteError(
            f"Label Studio at {sender.studio.url} does not show the picture {rows[0].image_path}.",
            "Serve media/ to it: see server_media and media_url under [annotate].",
        )


def _added_up(done: Sequence[Pushed], refused: Mapping[str, int]) -> Pushed:
    return Pushed(
        tuple(project for one in done for project in one.projects),
        sum(one.sent for one in done),
        sum(one.adopted for one in done),
        sum(one.already for one in done),
        sum(one.changed for one in done),
        sum(one.copies_removed for one in done),
        sum(one.withdrawn for one in done),
        tuple(key for one in done for key in one.missing),
        refused,
    )
