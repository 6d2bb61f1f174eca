"""`authface erase` and `authface subject-report`: what is held about a person, and its end."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from data_manifests.erase import Answers, Outcome, Plan
    from data_manifests.journal import Sent
    from data_manifests.media import Workspace

__all__ = ["erase", "subject_report"]

MANY = 20  # lines of a list before it is cut


def erase(
    subject: Annotated[str | None, typer.Option(help="Who is to be erased, by pseudonym.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this, only say what would be done.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why, for the tombstones and the receipt.")
    ] = "subject_request",
    workspace: WorkspaceOption = None,
) -> None:
    """Remove a person from every version of every table, the media, exports and Label Studio.

    Originals are never touched. A run that was killed is ended first. Exit code 3 if something
    could not be done.

    Example: authface erase --subject person-4 --yes
    """
    from data_manifests.erase import carry_out, finish, pending, plan_erasure
    from data_manifests.store import Store

    place, settings = open_workspace(workspace)
    store, server = Store(place.tables), _Server(place, settings.annotate)
    uploaded = partial(_forget_uploaded, settings.ingest.media_url)
    complete, ended = True, False
    if waiting := pending(place):
        console.note(waiting + ("" if yes else "; --yes ends it first"))
    for done in finish(store, place, server.forget, forget_media=uploaded) if yes else ():
        complete &= _say_finished(done)
        ended |= _is_end_of(done, subject)
    if ended:
        console.done(f"that was the erasure of {subject}: nothing more is held")
    elif subject is None:
        if not waiting:
            _refuse_nobody()
    elif not yes:
        _say_plan(plan_erasure(store, place, subject, reason=reason))
        console.say("  nothing was changed; to do it: the same command with --yes")
    else:
        plan = plan_erasure(store, place, subject, reason=reason)
        outcome = carry_out(store, place, plan, server.forget, forget_media=uploaded)
        complete &= _say_outcome(outcome)
    server.say()
    if not complete:
        raise typer.Exit(console.PARTIAL)


def subject_report(
    subject: Annotated[str, typer.Argument(help="The subject, by pseudonym.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write everything to this file as JSON.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Print everything that is held about a person, to answer a request for access.

    Example: authface subject-report person-4 --json person-4.json
    """
    from data_manifests.erase import plan_erasure
    from data_manifests.holdings import holdings
    from data_manifests.private import write_private
    from data_manifests.store import Store

    place, _ = open_workspace(workspace)
    store = Store(place.tables)
    plan = plan_erasure(store, place, subject)
    _say_plan(plan)
    if json_file is not None:
        told = holdings(store, place, plan)
        write_private(json_file, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        console.done(f"{json_file}: every row, for the person to read; only you can read it here")


class _Server:
    """The Label Studio that owes deletions: opened when it is needed, and why it was not."""

    def __init__(self, place: Workspace, config: AnnotateConfig) -> None:
        self.place, self.config, self.trouble = place, config, ""

    def forget(self, owed: tuple[Sent, ...]) -> tuple[Sent, ...]:
        """Delete the tasks; those that are still there."""
        from annotation.connect import open_studio
        from annotation.forget import compact, forget_tasks
        from data_manifests.errors import AuthFaceError

        try:
            with open_studio(self.place, self.config) as studio:
                left = forget_tasks(studio, owed)
                if left:
                    self.trouble = f"{studio.url} did not delete {len(left)} tasks, or lacks them."
        except AuthFaceError as error:
            self.trouble = str(error)
            return owed
        if len(left) < len(owed):
            compact(self.place)
        return left

    def say(self) -> None:
        """Say what the server did not do."""
        if self.trouble:
            console.note(f"Label Studio: {self.trouble}")


def _forget_uploaded(media_url: str | None, names: tuple[str, ...]) -> None:
    if media_url:
        from curation.remote import forget_media

        forget_media(media_url, names)


def _refuse_nobody() -> None:
    from data_manifests.errors import InputError

    raise InputError("Nobody was named.", "Say who is to be erased: --subject NAME.")


def _say_plan(plan: Plan) -> None:
    console.table(f"Held about {plan.person.subject}", ("count", "what"), _lines(plan))
    person = plan.person
    if person.beside:
        console.note(
            f"other subjects are in the same photos or groups: {', '.join(person.beside[:MANY])}"
        )
    if person.groups_left:
        console.note(
            f"{person.groups_left} identity groups also show others and were not followed: "
            "ingest those photos with --subject to have them found"
        )
    _say_runs(plan)
    _say_paths("files of other making name the person", plan.traces.named)
    _say_originals(plan)


def _lines(plan: Plan) -> list[tuple[int, str]]:
    person, traces = plan.person, plan.traces
    rows = [
        (n, f"rows of {name}, {person.rows.get(name, 0)} of them in the newest version")
        for name, n in sorted(person.copies.items())
    ]
    kept = f" ({person.shared_media} more are others' too and stay)" if person.shared_media else ""
    more = [
        (len(person.media), f"files under media/{kept}"),
        (len(traces.restored), "restored photos and their sidecars in the workspace"),
        (len(traces.returned), "retouched files that came back into the workspace"),
        (len(traces.pages), "HTML pages that show or name the person, to be made anew"),
        (len(traces.caches), "cached files"),
        (len(traces.parts), "half-written files"),
        (len(person.sent), "tasks on Label Studio"),
        (len(plan.exports), "exports"),
        (len(plan.runs), "training runs that saw the person"),
    ]
    return [(len(person.of("photo")), "photos"), *rows, *((n, what) for n, what in more if n)]


def _is_end_of(done: Outcome | Answers | int, subject: str | None) -> bool:
    """Whether an earlier erasure that was ended now has left nothing of the subject."""
    from data_manifests.erase import Outcome

    return isinstance(done, Outcome) and done.plan.person.subject == subject and not done.came_in


def _say_finished(done: Outcome | Answers | int) -> bool:
    from data_manifests.erase import Answers

    if isinstance(done, Answers):
        return _say_exports(done)
    if not isinstance(done, int):
        return _say_outcome(done)
    if done:
        console.note(f"{done} tasks on Label Studio are still to be deleted: run it again later")
    else:
        console.done("every task that was left on Label Studio is gone now")
    return not done


def _say_exports(answers: Answers) -> bool:
    for line in answers.said:
        console.say(f"  {line}")
    for why in (*answers.failed.values(), *answers.missing.values()):
        console.note(f"an export was not done: {why}")
    if answers.failed:
        console.note("mend or delete those exports and run `authface erase --yes` again")
    else:
        console.done("every export that was left is done now")
    return not (answers.failed or answers.missing)


def _say_outcome(outcome: Outcome) -> bool:
    plan = outcome.plan
    console.table("Erased", ("count", "what"), _lines(plan))
    for line in outcome.said:
        console.say(f"  {line}")
    for why in plan.left.values():
        console.note(f"an export was not done: {why}")
    if plan.left:
        console.note("what can be mended is ended by `authface erase --yes`")
    if outcome.open_tasks:
        console.note(
            f"{outcome.open_tasks} tasks on Label Studio wait for their server: "
            "run `authface erase --yes` when it is there"
        )
    if outcome.came_in:
        console.note(f"{outcome.came_in} rows came in meanwhile: run it again for this subject")
    _say_runs(plan)
    _say_paths("files of other making name the person", plan.traces.named)
    _say_paths("files were being written just now", plan.traces.busy)
    _say_originals(plan)
    console.done(f"receipt: {outcome.receipt}")
    return outcome.complete


def _say_runs(plan: Plan) -> None:
    if plan.runs:
        rows = [
            (r.run, r.kind, r.samples, r.descends_from or "", ", ".join(r.checkpoints))
            for r in plan.runs
        ]
        columns = ("run", "kind", "samples", "descends from", "checkpoints")
        console.table("Runs that saw the person: retrain, restrict, or say why not", columns, rows)
    for name in plan.unreadable_runs:
        console.note(f"runs/{name}/config.json can't be read: whether it saw the person is unknown")


def _say_originals(plan: Plan) -> None:
    from data_manifests.traces import path_text

    originals = plan.person.originals
    if originals:
        _say_paths("original files are not touched: deleting them is their owner's part", originals)
    outside = plan.person.of("returned") - {path_text(p) for p in plan.traces.returned}
    _say_paths("retouched files lie outside the workspace and are not touched", tuple(outside))


def _say_paths(what: str, paths: tuple[object, ...]) -> None:
    if paths:
        from data_manifests.traces import path_text

        console.note(f"{len(paths)} {what}")
        for path in paths[:MANY]:
            told = path_text(path) if isinstance(path, Path) else str(path)
            console.say(f"  {console.one_line(told)}")
        if len(paths) > MANY:
            console.say(f"  and {len(paths) - MANY} more")
