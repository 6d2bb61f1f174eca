"""How the annotation work stands: on the terminal, as JSON, or as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authface import console
from authface.status_page import asked, day, figure, parts, percent, project, seconds

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from annotation.progress import Overview
    from data_manifests.media import Workspace
    from data_manifests.store import Store
    from restore.reviewed import Reviewed

__all__ = ["print_overview", "read_overview", "show_status"]


def show_status(
    space: Workspace,
    config: AnnotateConfig,
    *,
    as_json: bool = False,
    page: Path | None = None,
    drafts: bool = False,
) -> None:
    """Print the whole picture, or write it as a page; with `drafts` the server is asked too."""
    from annotation import server
    from authface.status_page import render_status
    from data_manifests.media import write_atomic
    from data_manifests.store import Store
    from restore.reviewed import reviewed

    store = Store(space.tables)
    restored = reviewed(store)
    found = read_overview(store, _drafts(store, space, config) if drafts else None)
    running = server.running(space)
    if as_json:
        told = _as_json(found, running.url if running else None)
        console.data(told | {"restored_faces": [asdict(one) for one in restored]})
    elif page is None:
        print_overview(found)
        _print_restored(restored)
        console.say(
            f"Label Studio runs at {running.url}."
            if running
            else "No local Label Studio is running."
        )
    if page is not None:
        title = f"Annotation in {space.root.name}"
        write_atomic(page, render_status(found, title=title, now=datetime.now(UTC)).encode())
        console.note(f"the page is {page}") if as_json else console.done(f"the page is {page}")


def read_overview(store: Store, drafts: Mapping[str, int] | None = None) -> Overview:
    """The picture from the tables; without the package that counts chance out, without that."""
    from annotation.progress import Rows, overview
    from data_manifests.errors import MissingExtra
    from data_manifests.records import Annotation, Consensus, Retouch, Standing, Task

    rows = Rows(
        tasks=store.read(Task),
        answers=store.read(Annotation),
        settled=store.read(Consensus),
        retouches=store.read(Retouch),
        standings=store.read(Standing),
    )
    try:
        return overview(rows, drafts=drafts)
    except MissingExtra as error:
        console.note(f"{error} Alpha and kappa are left out.")
        return overview(rows, corrected=False, drafts=drafts)


def print_overview(found: Overview) -> None:
    """The picture as tables for a terminal; what is empty is left out."""
    tables: tuple[tuple[str, str, Sequence[Sequence[object]]], ...] = (
        (
            "Projects",
            "project|tasks|answered|skipped|set aside|open|not sent|deleted",
            _projects(found),
        ),
        ("Waits", "waits for|what|photos|since", _waits(found)),
        ("Consensus", "decision|photos|mean agreement|by an adjudicator", _outcomes(found)),
        (
            "People",
            "person|counted|skipped|set aside|too fast|median|like peers|like settled"
            "|like truth|box overlap|landmarks off|last answer",
            _people(found),
        ),
        ("Agreement", "question|photos|people|agreement|alpha|kappa", _questions(found)),
        ("Time per answer", "kind|answers|median|half of them between", _paces(found)),
        ("Set aside", "rule|answers", found.rules),
    )
    for title, columns, rows in tables:
        if rows:
            console.table(title, columns.split("|"), rows)
    if found.drafts is not None:
        whose = "".join(f"; {who}: {number}" for who, number in found.drafts.items())
        number = sum(found.drafts.values())
        console.say(f"{number} drafts were begun and not submitted: they count nowhere{whose}.")


def _print_restored(answers: Sequence[Reviewed]) -> None:
    """What people said of restored faces; a photo goes by its file's SHA-256, as in its sidecar."""
    from restore.reviewed import reviews_text

    refused = [one for one in answers if one.decision != "approve"]
    if refused:
        console.table(
            "Restored faces that are not taken",
            ("photo", "file", "answer", "why", "note"),
            [(o.photo_id[:12], o.name, o.decision, ", ".join(o.reasons), o.note) for o in refused],
        )
    if answers:
        console.say(f"Doubtful restored faces: {reviews_text(answers)}.")


def _projects(found: Overview) -> list[tuple[object, ...]]:
    return [
        (project(q), q.asked, q.labelled, q.skipped, q.set_aside, q.open, q.unsent, q.deleted)
        for q in found.queues
    ]


def _waits(found: Overview) -> list[tuple[object, ...]]:
    return [(w.who, w.what, w.photos, day(w.since) or "-") for w in found.waits]


def _outcomes(found: Overview) -> list[tuple[object, ...]]:
    return [
        (o.decision or "people disagree", o.photos, percent(o.agreement), o.adjudicated)
        for o in found.outcomes
    ]


def _people(found: Overview) -> list[tuple[object, ...]]:
    return [
        (
            p.annotator,
            *(p.answers, p.skipped, p.set_aside, p.rubber_stamps),
            seconds(p.median_s) or "-",
            *(percent(v) or "-" for v in (p.with_peers, p.with_consensus, p.with_truth)),
            percent(p.overlap) or "-",
            parts(p.landmarks) or "-",
            day(p.last) or "-",
        )
        for p in found.people
    ]


def _questions(found: Overview) -> list[tuple[object, ...]]:
    return [
        (
            asked(q.question),
            q.photos,
            q.people,
            percent(q.agreement),
            *(figure(v) or "-" for v in (q.alpha, q.kappa)),
        )
        for q in found.questions
    ]


def _paces(found: Overview) -> list[tuple[object, ...]]:
    return [
        (
            p.kind,
            p.answers,
            seconds(p.median_s),
            f"{seconds(p.quarter_s)} and {seconds(p.three_quarters_s)}",
        )
        for p in found.paces
    ]


def _as_json(found: Overview, running: str | None) -> Any:
    from annotation.progress import TIME_EDGES
    from authface.cells import plain

    told = plain(asdict(found))
    return told | {"time_edges_s": TIME_EDGES, "label_studio": running}


def _drafts(store: Store, space: Workspace, config: AnnotateConfig) -> dict[str, int]:
    """Answers that people began and have not submitted, as the server has them now, by person."""
    from annotation.begun import begun_in, of_whom
    from annotation.connect import open_studio
    from annotation.ledger import naming
    from annotation.people import people_of
    from annotation.pull import projects_of

    people = people_of(config, space.root)
    with open_studio(space, config) as studio:
        drafts = begun_in(studio, projects_of(store, studio.identity))
        emails = studio.emails() if drafts else {}
        named, _ = people.users(emails)
        return of_whom(drafts, emails, naming(store, studio.identity, named))
