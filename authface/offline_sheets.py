"""Commands for contact sheets, and for the answers that come back as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.offline import DryOption, NameOption, Taking, say_taken, taking
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.csv_answers import Aside
    from data_manifests.records import Annotation, Photo
    from data_manifests.store import Store

    Judged = tuple[list[Annotation], list[Aside]]

__all__ = ["answers", "sheet"]


def sheet(
    out: Annotated[Path, typer.Option(help="Folder for the pages, the PDF and answers.csv.")],
    workspace: WorkspaceOption = None,
    photos: Annotated[
        str, typer.Option(help="kept, asked (sent out), or open (kept and not decided yet).")
    ] = "kept",
    per_page: Annotated[int, typer.Option(min=1, max=200, help="Photos on an HTML page.")] = 24,
) -> None:
    """Make contact sheets for somebody without the server: HTML, PDF, and answers.csv to fill in.

    Example: authface annotate sheet --out sheets --photos open
    """
    from annotation.csv_answers import short_ids, write_rows
    from annotation.sheets import html_page, pdf_sheet
    from annotation.team import forms
    from data_manifests.media import write_atomic
    from data_manifests.records import Photo
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    store, form = Store(space.tables), forms(settings.annotate, space.root)["triage"]
    every = store.read(Photo)
    short = short_ids(p.photo_id for p in every)
    chosen = sorted(_chosen(store, every, photos), key=lambda p: (p.path, p.photo_id))
    if not chosen:
        console.note(f"No photo is {photos}: nothing was written.")
        return
    pages = [chosen[i : i + per_page] for i in range(0, len(chosen), per_page)]
    for number, some in enumerate(console.track(pages, label="pages"), 1):
        place = number, len(pages)
        text = html_page(some, media=space.media, short=short, place=place, form=form)
        write_atomic(out / f"sheet-{number:03}.html", text.encode())
    write_atomic(out / "sheets.pdf", pdf_sheet(chosen, media=space.media, short=short, form=form))
    _write_new(out / "answers.csv", write_rows(chosen, form))
    told = console.counted(len(chosen), "photo"), console.counted(len(pages), "page")
    console.done(f"{told[0]} on {told[1]}: {out}")
    console.say("  Answers back: authface annotate answers FILE.csv --as NAME")


def answers(
    files: Annotated[list[Path], typer.Argument(help="Filled-in CSV files.")],
    who: NameOption,
    workspace: WorkspaceOption = None,
    dry_run: DryOption = False,
) -> None:
    """Take the answers of contact sheets: each row is checked, none is lost.

    Rows that can't count go into FILE.set-aside.csv with their numbers and reasons; mend them there
    and read that file. Exit code 3 if there are such rows.

    Example: authface annotate answers answers-1.csv answers-2.csv --as "Anna Berg"
    """
    from annotation.csv_answers import aside_row
    from annotation.taken import take
    from data_manifests.media import write_atomic
    from data_manifests.records import Photo
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    store, now = Store(space.tables), datetime.now(UTC)
    mine, failed = taking(store, settings.annotate, who), 0
    photo_ids = sorted(p.photo_id for p in store.read(Photo))
    for file in files:
        good, aside = _judged(file, photo_ids, mine, now)
        bad = [
            row
            for a in aside
            if (row := aside_row(a, who=mine.name, at=now, form=mine.form)) is not None
        ]
        counted = {g.annotation_id for g in good}
        rows = [*good, *(b for b in bad if b.annotation_id not in counted)]
        taken = take(
            store,
            rows,
            how=mine.how,
            why="answers by CSV",
            write=not dry_run,
        )
        told = console.counted(len(good), "answer"), console.counted(len(aside), "row")
        console.say(f"{file}: {told[0]}, {told[1]} set aside")
        say_taken(taken, dry_run=dry_run)
        for one in aside:
            console.note(f"row {one.row.number}: {console.one_line(one.why)}")
        if aside and not dry_run:
            kept = file.with_name(f"{file.stem}.set-aside.csv")
            write_atomic(kept, _table(aside))
            console.say(f"  Rows to mend: {kept}")
        failed += len(aside)
    if failed:
        raise typer.Exit(console.PARTIAL)


def _judged(file: Path, photo_ids: Sequence[str], mine: Taking, now: datetime) -> Judged:
    from annotation.csv_answers import Aside, form_of, read_rows, to_answer
    from data_manifests.errors import InputError
    from data_manifests.records import Annotation

    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}.", "Check the file.") from error

    def find(digits: str) -> list[str]:
        return [i for i in photo_ids if i.startswith(digits)]

    rows = read_rows(data)
    if older := sorted({form_of(row) for row in rows} - {"", mine.form.version}):
        console.note(
            f"{file} was made from other questions ({', '.join(older)}) than are asked now"
            f" ({mine.form.version}): what fits those of today counts."
        )
    told = [to_answer(row, find=find, who=mine.name, at=now, form=mine.form) for row in rows]
    good = {a.annotation_id: a for a in told if isinstance(a, Annotation)}  # a later row counts
    return list(good.values()), [a for a in told if isinstance(a, Aside)]


def _chosen(store: Store, every: Sequence[Photo], which: str) -> list[Photo]:
    from data_manifests.errors import InputError
    from data_manifests.records import Consensus, Task

    kept = [p for p in every if p.state == "kept" and p.proxy_path]
    if which == "kept":
        return kept
    if which == "asked":
        asked = {t.photo_id for t in store.read(Task) if t.kind == "triage"}
        return [p for p in kept if p.photo_id in asked]
    if which == "open":
        decided = {c.photo_id for c in store.read(Consensus) if c.decision is not None}
        return [p for p in kept if p.photo_id not in decided]
    raise InputError(f"There are no photos called {which}.", "Choose kept, asked or open.")


def _table(aside: Sequence[Aside]) -> bytes:
    from annotation.csv_answers import aside_table

    return aside_table(aside)


def _write_new(file: Path, data: bytes) -> None:
    """Answers that somebody filled in are never written over."""
    from data_manifests.media import write_atomic

    if file.exists() and file.read_bytes() != data:
        console.note(f"{file} is there already, perhaps filled in: it was left as it is.")
        return
    write_atomic(file, data)
