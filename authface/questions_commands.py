"""Command to look at the questions as photographers, the tables and the docs have them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import FILE, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.form import Form

__all__ = ["app"]

app = typer.Typer()


@app.command()
def questions(
    workspace: WorkspaceOption = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/questions.md.")
    ] = False,
    xml: Annotated[
        str | None,
        typer.Option(help="Print a form's Label Studio XML: triage, retouch or review."),
    ] = None,
) -> None:
    """Show every question with its values, the team's own among them.

    The team's questions come from questions_file of a workspace; outside of one there are none.

    Example: authface annotate questions --xml triage
    """
    from annotation.labeling import to_xml
    from annotation.questions_page import questions_page
    from data_manifests.errors import InputError

    known = _forms(workspace, plain=markdown)
    if xml is not None and xml not in known:
        raise InputError(f"There is no form {xml!r}.", f"There are {', '.join(known)}.")
    if xml is not None:
        sys.stdout.write(to_xml(known[xml]) + "\n")
    elif markdown:
        sys.stdout.write(questions_page(known))
    else:
        for form in known.values():
            rows = [
                (q.name, q.title, ", ".join(c.value for c in q.choices)) for q in form.questions
            ]
            console.table(form.title, ("question", "title", "values"), rows)


@app.command()
def rules(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/merge-rules.md.")
    ] = False,
) -> None:
    """Show the rules that every answer is judged by, and what happens where one does not hold.

    Example: authface annotate rules
    """
    from annotation.rulebook import RULEBOOK, rulebook_page

    if markdown:
        sys.stdout.write(rulebook_page())
        return
    rows = [(r.number, r.name, ", ".join(r.flags), r.then) for r in RULEBOOK]
    console.table("Merge rules", ("", "rule", "flags", "else"), rows)


def _forms(workspace: Path | None, *, plain: bool) -> dict[str, Form]:
    """The forms of the workspace; the schema's own for the docs, or where there is no workspace."""
    from annotation.questions import FORMS
    from annotation.team import forms

    if workspace is None and (plain or not _in_a_workspace()):
        return FORMS
    space, settings = open_workspace(workspace)
    return forms(settings.annotate, space.root)


def _in_a_workspace() -> bool:
    if os.environ.get("AUTHFACE_WORKSPACE"):
        return True
    return any((folder / FILE).is_file() for folder in (Path.cwd(), *Path.cwd().parents))
