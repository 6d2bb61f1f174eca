"""Commands of the annotation part: a local Label Studio, questions out, answers in."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from authface import console, offline, offline_sheets
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.pull import Pulled
    from annotation.push import Pushed

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
    database: Annotated[
        str | None,
        typer.Option(
            envvar="AUTHFACE_DATABASE_URL",
            help="postgresql://user:password@host/name for a team, else SQLite in the workspace."
            " Better in that variable: a command line can be read by all.",
        ),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the server that runs for this workspace.")
    ] = False,
) -> None:
    """Run a local Label Studio for this workspace until Ctrl-C.

    Example: authface annotate serve --port 8081
    """
    from annotation import server
    from annotation.server_settings import DATABASE

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
    if database:
        os.environ[DATABASE] = database
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
def push(
    workspace: WorkspaceOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent; change nothing.")
    ] = False,
) -> None:
    """Send every kept photo that was never asked about, with boxes and suggested tags.

    What the server was told of a question that nobody has answered is renewed in place.

    Example: authface annotate push
    """
    from annotation import push as pushing
    from annotation.connect import open_studio
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    config = settings.annotate
    with open_studio(space, config) as studio:
        pushed = pushing.push(
            Store(space.tables), studio, media=space.media, config=config, dry_run=dry_run
        )
    _say_pushed(pushed, dry_run=dry_run)


@app.command()
def pull(
    workspace: WorkspaceOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read and judge every task, not only what changed.")
    ] = False,
    accept_deletions: Annotated[
        bool,
        typer.Option(
            "--accept-deletions", help="Go on even if most tasks are gone from the server."
        ),
    ] = False,
) -> None:
    """Fetch the answers that changed, check them, and merge them into the tables.

    Example: authface annotate pull
    """
    from annotation import pull as pulling
    from annotation.connect import open_studio
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    with open_studio(space, settings.annotate) as studio:
        pulled = pulling.pull(
            Store(space.tables),
            studio,
            config=settings.annotate,
            media=space.media,
            accept_deletions=accept_deletions,
            full=full,
        )
    _say_pulled(pulled)


@app.command()
def watch(
    workspace: WorkspaceOption = None,
    every: Annotated[float, typer.Option(help="Look this often anyway, in seconds.", min=1)] = 15,
) -> None:
    """Pull whenever somebody answers, until Ctrl-C.

    The server calls if webhooks = true stands under [annotate]; otherwise it is asked every 15 s.

    Example: authface annotate watch --every 30
    """
    from annotation.connect import open_studio
    from annotation.watching import watch as watching
    from data_manifests.errors import RemoteError
    from data_manifests.store import Store

    space, settings = open_workspace(workspace)
    signal.signal(signal.SIGTERM, _end)
    config = settings.annotate
    try:
        with open_studio(space, config) as studio:
            console.say(f"Watching {studio.url}. Ctrl-C ends it.")
            for seen in watching(Store(space.tables), studio, config=config, every_s=every):
                if isinstance(seen, RemoteError):
                    console.note(f"{seen.wrong} {seen.todo}")
                elif seen.changed_rows:
                    _say_pulled(seen)
    except KeyboardInterrupt:
        pass
    console.done("Stopped watching.")


@app.command()
def status(
    page: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    drafts: Annotated[
        bool, typer.Option("--drafts", help="Ask the server for answers not submitted, too.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Show how far the work is, what waits for whom, and how far people agree.

    Example: authface annotate status --html status.html
    """
    from authface.annotate_status import show_status

    space, settings = open_workspace(workspace)
    show_status(space, settings.annotate, as_json=as_json, page=page, drafts=drafts)


@app.command()
def history(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PHOTO|ANSWER",
            help="A photo's id (6 digits or more), path or file name, or an answer's id.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Show every pulled version of the answers about a photo: what changed, when, and whose it is.

    Example: authface annotate history 4f0a9c
    """
    from authface.answer_history import show_history
    from data_manifests.store import Store

    space, _ = open_workspace(workspace)
    show_history(Store(space.tables), name, as_json=as_json)


def _say_pushed(pushed: Pushed, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    were = would or "were "
    console.done(
        f"{console.counted(pushed.sent, 'task')} {would}sent, {pushed.already} there already."
    )
    for number, said in (
        (pushed.changed, f"that nobody has answered {were}renewed."),
        (pushed.adopted, "had come through in a push that was broken off."),
        (pushed.withdrawn, f"{were}taken off the server: answered in files, or a newer file came."),
        (pushed.copies_removed, f"unanswered second copies {were}removed."),
    ):
        if number:
            console.say(f"  {number} {said}")
    for project in pushed.projects:
        console.say(f"  {project.title}: {project.url}")
    for why, photos in pushed.refused.items():
        console.note(f"{photos} photos are not asked about: {why}. See authface consent list")
    if pushed.missing:
        console.note(
            f"{len(pushed.missing)} tasks wait: their picture is missing. Run `authface ingest`."
        )
        raise typer.Exit(console.PARTIAL)


def _say_pulled(pulled: Pulled) -> None:
    states = ("labelled", "skipped", "waiting", "set_aside", "deleted")
    rows = [(state.replace("_", " "), getattr(pulled, state)) for state in states]
    console.table("Answers", ("state", "tasks"), [*rows, ("sent", pulled.sent)])
    console.done(
        f"{console.counted(pulled.read, 'task')} read,"
        f" {console.counted(pulled.changed_rows, 'row')} changed;"
        f" {console.counted(pulled.answers, 'answer')} in all that count."
    )
    for number, said in (
        (pulled.conflicts, "photos people disagree on: another pair of eyes is needed."),
        (
            pulled.own_conflicts,
            "answers settle a conflict that their own author voted in, and do not count: the next"
            " push asks somebody else (voters_may_settle = true and pull --full let them count).",
        ),
        (pulled.skipped, "skipped so far. Whoever opens one in its project's list can answer it."),
        (pulled.set_aside, "tasks have answers that break a rule: authface annotate status"),
        (pulled.old_drafts, "drafts lie for over a day: somebody forgot to submit."),
        (pulled.stale_samples, "samples cite answers that changed: authface manifest build"),
        (pulled.foreign, "tasks in the projects are not of this workspace: left alone."),
    ):
        if number:
            console.note(f"{number} {said}")

    for name in pulled.unknown_people:
        console.note(f"{name}: the server knows no such user. See people_file")


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
