"""Commands of the annotation part: a local Label Studio, questions out, answers in."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from authface import console, offline, offline_sheets
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.sync import Pulled, Pushed

app = typer.Typer(
    help="Ask photographers in Label Studio and merge their answers.", no_args_is_help=True
)
app.add_typer(offline.app)  # no name: its commands stand beside the others
app.command()(offline_sheets.sheet)
app.command()(offline_sheets.answers)


@app.command()
def serve(
    workspace: WorkspaceOption = None,
    port: Annotated[
        int | None, typer.Option(help="Port on this machine, else the one in authface.toml.")
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the server that runs for this workspace.")
    ] = False,
) -> None:
    """Run a local Label Studio for this workspace until Ctrl-C.

    Example: authface annotate serve --port 8081
    """
    from annotation import server

    space, settings = open_workspace(workspace)
    if stop:
        stopped = server.stop(space)
        console.done(
            f"Stopped {stopped.url}."
            if stopped
            else "No Label Studio was running for this workspace."
        )
        return
    found = server.running(space)
    if found is not None:
        console.say(f"Label Studio is already running at {found.url} (process {found.pid}).")
        return
    config = settings.annotate.model_copy(update={"port": port} if port else {})
    signal.signal(signal.SIGTERM, _end)
    try:
        with server.LocalServer(space, config, say=console.say) as local:
            console.done(f"Label Studio is ready at {local.url}")
            console.say(f"  E-mail and password are in {local.login_file}")
            console.say(
                "  Now, in another terminal: authface annotate push. Ctrl-C stops the server."
            )
            local.wait()
    except KeyboardInterrupt:
        pass
    console.done("Label Studio is stopped.")


@app.command()
def push(workspace: WorkspaceOption = None) -> None:
    """Send every kept photo that was never asked about, with boxes and suggested tags.

    Example: authface annotate push
    """
    from annotation import sync
    from annotation.studio import open_studio
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    with open_studio(space, settings.annotate) as studio:
        pushed = sync.push(Store(space.tables), studio, media=space.media, config=settings.annotate)
    _say_pushed(pushed)


@app.command()
def pull(
    workspace: WorkspaceOption = None,
    accept_deletions: Annotated[
        bool,
        typer.Option(
            "--accept-deletions", help="Go on even if most tasks are gone from the server."
        ),
    ] = False,
) -> None:
    """Fetch the answers, check them, and merge them into the tables.

    Example: authface annotate pull
    """
    from annotation import sync
    from annotation.studio import open_studio
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    with open_studio(space, settings.annotate) as studio:
        pulled = sync.pull(
            Store(space.tables), studio, config=settings.annotate, accept_deletions=accept_deletions
        )
    _say_pulled(pulled)


@app.command()
def status(workspace: WorkspaceOption = None) -> None:
    """Show what was asked, what was answered and where people disagree.

    Example: authface annotate status
    """
    from annotation import progress, server
    from data_manifests.records import Annotation, Consensus, Task
    from data_manifests.store import Store

    space, _ = open_workspace(workspace)
    store = Store(space.tables)
    answers, settled = store.read(Annotation), store.read(Consensus)
    tables = (
        ("Tasks", ("kind", "state", "tasks"), progress.tasks_by_state(store.read(Task))),
        ("Consensus", ("decision", "photos", "mean agreement"), progress.decisions(settled)),
        (
            "People",
            ("person", "counted", "skipped", "set aside", "median s"),
            progress.people(answers),
        ),
        ("Set aside", ("rule", "answers"), progress.broken_rules(answers)),
    )
    for title, columns, rows in tables:
        if rows:
            console.table(title, columns, rows)
    found = server.running(space)
    console.say(
        f"Label Studio runs at {found.url}." if found else "No local Label Studio is running."
    )


def _say_pushed(pushed: Pushed) -> None:
    console.done(f"{pushed.sent} tasks sent, {pushed.already} were there already.")
    if pushed.adopted:
        console.say(f"  {pushed.adopted} had come through in a push that was broken off.")
    if pushed.copies_removed:
        console.say(f"  {pushed.copies_removed} unanswered second copies were removed.")
    for project in pushed.projects:
        console.say(f"  {project.kind}: {project.url}")
    if pushed.missing:
        console.note(
            f"{len(pushed.missing)} tasks wait: their picture is missing. Run `authface ingest`."
        )
        raise typer.Exit(console.PARTIAL)


def _say_pulled(pulled: Pulled) -> None:
    states = ("labelled", "skipped", "waiting", "set_aside", "deleted")
    rows = [(state.replace("_", " "), getattr(pulled, state)) for state in states]
    console.table("Answers", ("state", "tasks"), [*rows, ("sent", pulled.sent)])
    console.done(f"{pulled.answers} answers count, {pulled.changed_rows} rows changed.")
    if pulled.conflicts:
        console.note(
            f"On {pulled.conflicts} photos people disagree: another pair of eyes is needed."
        )
    if pulled.set_aside:
        console.note(
            f"{pulled.set_aside} tasks have answers that break a rule: authface annotate status"
        )
    if pulled.foreign:
        console.note(
            f"{pulled.foreign} tasks in the projects are not of this workspace: left alone."
        )


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
