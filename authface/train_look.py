"""Commands that look at training runs: a page about one, a table of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from data_manifests.media import Workspace

__all__ = ["app", "write_run_page"]

app = typer.Typer(no_args_is_help=True)

PAGE = "report.html"


@app.command("report")
def report_run(
    run: Annotated[
        str | None, typer.Argument(help="Name of the run; else the one that wrote last.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; else report.html in the run's folder.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write one HTML page about a run: curves, pictures, data, settings. A run may be going on.

    Example: authface train report restorer
    """
    place, _ = open_workspace(workspace)
    file = write_run_page(place, run, out)
    console.done(f"report: {file} ({file.stat().st_size / 1e6:.1f} MB)")


@app.command("compare")
def compare(
    runs: Annotated[list[str], typer.Argument(help="Names of two runs or more.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write it as a page, with curves.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Lay runs side by side: settings that differ, losses, speed.

    Example: authface train compare restorer restorer-2
    """
    from authface.run_compare import compare_runs, doubts, render_comparison
    from authface.run_facts import read_run
    from data_manifests.errors import InputError
    from data_manifests.media import write_atomic

    if len(runs) < 2:
        raise InputError("One run can't be compared.", "Name two runs or more.")
    place, _ = open_workspace(workspace)
    read = [read_run(place.runs, name) for name in runs]
    rows = [(line.name, *line.values) for line in compare_runs(read)]
    console.table("Runs side by side", ("what", *runs), rows)
    for doubt in doubts(read):
        console.note(doubt)
    if html is not None:
        write_atomic(html, render_comparison(read).encode())
        console.done(f"page: {html}")


def write_run_page(place: Workspace, name: str | None, out: Path | None = None) -> Path:
    """Write a run's page and return where it lies."""
    from authface.run_facts import read_run
    from authface.run_page import render_run
    from data_manifests.media import write_atomic
    from data_manifests.store import Store

    run = read_run(place.runs, name)
    file = out or run.folder / PAGE
    write_atomic(file, render_run(run, Store(place.tables)).encode())
    return file
