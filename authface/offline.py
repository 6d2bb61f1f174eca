"""Commands for photographers who don't sit at the server: XMP, contact sheets, answers by CSV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from annotation.form import Form
    from annotation.sidecars import Planned
    from annotation.taken import Settling, Taken
    from authface.offline_xmp import Read
    from data_manifests.store import Store

__all__ = ["DryOption", "NameOption", "app", "say_taken", "taking"]

app = typer.Typer()

SHOWN = 20  # lines told one by one

NameOption = Annotated[
    str, typer.Option("--as", help="Whose answers these are; only a pseudonym is kept.")
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
]


@app.command("xmp-read")
def xmp_read(
    who: NameOption, workspace: WorkspaceOption = None, dry_run: DryOption = False
) -> None:
    """Take ratings, flags, labels and keywords from sidecars and originals as a person's answers.

    Run it again after more was rated: a changed file changes its answer, an unrated one takes it
    back. Exit code 3 if an original can't be read.

    Example: authface annotate xmp-read --as "Anna Berg" --dry-run
    """
    from annotation.taken import take
    from annotation.xmp import UNEXPLAINED, to_row
    from authface.offline_xmp import read_photo_xmp, xmp_rules
    from data_manifests.records import Annotation, Photo
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    store = Store(space.tables)
    mine = taking(store, settings.annotate, who)
    rules = xmp_rules(settings.annotate, mine.form)
    photos = [p for p in store.read(Photo) if p.state == "kept"]
    read = [read_photo_xmp(p, rules) for p in console.track(photos, label="photos")]
    fresh = [
        to_row(r.reading.answer, r.photo.photo_id, who=mine.name, form=mine.form)
        for r in read
        if r.reading and r.reading.answer
    ]
    silent = {
        r.photo.photo_id for r in read if r.reading and not r.reading.answer and not r.reading.ours
    }
    held = store.rows_with(Annotation, "annotator", [mine.name])
    taken = take(
        store,
        fresh,
        withdrawn=[a.annotation_id for a in held if a.source == "xmp" and a.photo_id in silent],
        how=mine.how,
        why="xmp-read",
        write=not dry_run,
    )
    _say_read(read)
    if unexplained := sum(UNEXPLAINED in one.flags for one in fresh):
        console.note(
            f"{console.counted(unexplained, 'reject')} without a reason: counted, and marked. The"
            " keyword authface|reject_reason|VALUE gives one."
        )
    say_taken(taken, dry_run=dry_run)
    if any(r.wrong for r in read):
        raise typer.Exit(console.PARTIAL)


@app.command("xmp-write")
def xmp_write(
    workspace: WorkspaceOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write; without it only shown.")] = False,
) -> None:
    """Write decisions, stars, tags and captions into the sidecars of the originals.

    Shows what would change in each file, and writes nothing without --yes. Originals are never
    written, what other programs wrote stays, and the first state is kept beside each sidecar as
    NAME.xmp.authface-backup. Exit code 3 if a sidecar can't be written.

    Example: authface annotate xmp-write --yes
    """
    from annotation.sidecars import plan
    from authface.offline_xmp import settled_photos
    from curation.xmp import sidecars
    from data_manifests.records import Annotation, Consensus, Photo
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    store = Store(space.tables)
    rows = store.read(Photo), store.read(Consensus), store.read(Annotation)
    unreachable, plans = 0, []
    prepare = partial(plan, existing=sidecars, labels=list(settings.annotate.xmp_labels))
    for _, settled in settled_photos(*rows, settings.annotate):
        if settled is None:
            unreachable += 1
        else:
            plans += prepare(settled, at=datetime.now(UTC))
    if not plans and not unreachable:
        console.note("People have decided about no photo yet: authface annotate status")
        return
    failed = _write_all(plans, write_them=yes)
    if unreachable:
        console.note(f"{unreachable} originals can't be reached: nothing was written beside them.")
    if failed or unreachable:
        raise typer.Exit(console.PARTIAL)


def _write_all(plans: list[Planned], *, write_them: bool) -> int:
    """Show every change, and make them if that is wanted; how many failed comes back."""
    from annotation.sidecars import write
    from data_manifests.errors import AuthFaceError

    failed = written = 0
    for planned in plans:
        _say_planned(planned)
        try:
            if write_them and planned.changes:
                write(planned)
                written += 1
        except AuthFaceError as error:
            console.note(str(error))
            failed += 1
    failed += sum(bool(p.wrong) for p in plans)
    to_change = sum(p.changes for p in plans)
    same = sum(p.after is not None and not p.changes for p in plans)
    if write_them:
        console.done(f"{written} sidecars written, {same} were as they should be.")
        return failed
    console.done(f"{to_change} sidecars would change, {same} are as they should be.")
    if to_change:
        console.say("  Nothing is written yet. To write them: authface annotate xmp-write --yes")
    return failed


def _say_planned(planned: Planned) -> None:
    if planned.wrong:
        console.note(f"{planned.sidecar}: {planned.wrong}")
        return
    assert planned.after is not None
    if planned.changes:
        new = " (new)" if planned.before is None else ""
        console.say(f"{console.one_line(str(planned.sidecar))}{new}")
    for change in planned.after.changes:
        console.say(f"  {change.name}: {_diff(change.name, change.before, change.after)}")
    for text in planned.after.notes:
        console.note(f"{console.one_line(planned.sidecar.name)}: {console.one_line(text)}")


def _diff(name: str, before: str, after: str) -> str:
    before, after = (_short(console.one_line(text)) for text in (before, after))
    if name in ("keywords", "subjects"):
        told = ([f"- {before}"] if before else []) + ([f"+ {after}"] if after else [])
        return "  ".join(told)
    return f"{before or 'none'} -> {after or 'none'}"


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


@dataclass(frozen=True, slots=True)
class Taking:
    """Whose answers come in, to which questions, and how photos are settled after them."""

    name: str  # the pseudonym
    form: Form
    how: Settling


def taking(store: Store, config: AnnotateConfig, who: str) -> Taking:
    """What taking a person's answers needs; raises InputError for a name that nobody here has."""
    from annotation.ledger import person
    from annotation.people import people_of
    from annotation.team import forms
    from annotation.united import settling

    root = store.folder.parent
    asked, people = forms(config, root), people_of(config, root)
    name = person(store, people.name_of(who))
    return Taking(name, asked["triage"], settling(store, config, asked, people))


def _say_read(read: Iterable[Read]) -> None:
    notes = [
        f"{console.one_line(Path(one.photo.path).name)}: {console.one_line(text)}"
        for one in read
        for text in ([one.wrong] if one.wrong else one.reading.notes if one.reading else ())
    ]
    for line in notes[:SHOWN]:
        console.note(line)
    if len(notes) > SHOWN:
        console.note(f"and {len(notes) - SHOWN} more like these")


def say_taken(taken: Taken, *, dry_run: bool) -> None:
    """Print what became of the answers."""
    would = "would be " if dry_run else ""
    console.done(
        f"{console.counted(taken.new, 'answer')} {would}new,"
        f" {taken.changed} {would}changed, {taken.same} the same,"
        f" {taken.withdrawn} {would}taken back."
    )
    if taken.refused:
        console.note(f"{taken.refused} set aside: the people file gives this person no such role.")
    if taken.conflicts:
        console.note(
            f"On {taken.conflicts} of these photos people disagree: authface annotate status"
        )
