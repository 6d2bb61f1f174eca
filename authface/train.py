"""Commands that train: stage 1, the prior, and stage 2, the restorer."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from authface import console
from authface.presets import ConfigOption, with_file
from authface.settings import WorkspaceOption, open_workspace
from authface.stopping import ToldToStop

if TYPE_CHECKING:
    from data_manifests.config import Section
    from data_manifests.media import Workspace
    from training.config import RunConfig
    from training.journal import Step

    C = TypeVar("C", bound=Section)

__all__ = ["SetOption", "app", "listen", "make_config"]

app = typer.Typer(no_args_is_help=True)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Updates of the weights in all.")]
NameOption = Annotated[
    str | None, typer.Option(help="Name of the run; else its kind, numbered if taken.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest whole checkpoint, if there is one.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the settings, train nothing.")
]


@app.command()
def prior(
    file: ConfigOption = None,
    set_: SetOption = None,
    steps: StepsOption = None,
    base: Annotated[
        str | None, typer.Option(help="tiny, a diffusers folder, or a model hub id.")
    ] = None,
    name: NameOption = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Teach the text-to-image model portraits (stage 1).

    Example: authface train prior --steps 20
    """
    from data_manifests.store import Store
    from training import run

    place, settings = open_workspace(workspace)
    section = with_file(settings.prior, file)
    config = make_config(section, {"steps": steps, "base": base}, set_ or [])
    store = Store(place.tables)
    if dry_run:
        _show(*run.preview(config, config.base, store=store, workspace=place), config.base)
        return
    named = name or _name(place, "prior", resume)
    taken = run.train_prior(config, store=store, workspace=place, name=named, resume=resume)
    _follow(taken, place, named, config.base)


@app.command()
def restorer(
    file: ConfigOption = None,
    set_: SetOption = None,
    steps: StepsOption = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--prior", "--base", help="A prior run's name (else the newest), a folder, or a hub id."
        ),
    ] = None,
    name: NameOption = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Teach a ControlNet on the frozen prior to restore faces (stage 2).

    Example: authface train restorer --prior prior --steps 20
    """
    from data_manifests.store import Store
    from training import run
    from training.bases import find_prior

    place, settings = open_workspace(workspace)
    section = with_file(settings.restorer, file)
    config = make_config(section, {"steps": steps, "base": base}, set_ or [])
    stands_on = find_prior(config.base, place.runs)
    store = Store(place.tables)
    if dry_run:
        _show(*run.preview(config, stands_on, store=store, workspace=place), stands_on)
        return
    named = name or _name(place, "restorer", resume)
    taken = run.train_restorer(
        config, prior=stands_on, store=store, workspace=place, name=named, resume=resume
    )
    _follow(taken, place, named, stands_on)


@app.command()
def estimate(
    stage: Annotated[str, typer.Argument(help="prior or restorer.", metavar="STAGE")],
    file: ConfigOption = None,
    set_: SetOption = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", "--prior", help="A run's name, a diffusers folder, a hub id, or tiny."
        ),
    ] = None,
    tflops: Annotated[
        float, typer.Option(min=1, help="The device's peak of dense bf16 products, TFLOP/s.")
    ] = 989.0,
    mfu: Annotated[
        float, typer.Option(min=0.01, max=1, help="The share of it that is used.")
    ] = 0.35,
    gpus: Annotated[int, typer.Option(min=1, help="How many share each step's batch.")] = 1,
    workspace: WorkspaceOption = None,
) -> None:
    """Count what a run will need: weights, work, memory, hours. Trains and downloads nothing.

    Example: authface train estimate restorer --base stabilityai/stable-diffusion-xl-base-1.0
    """
    from authface.training_estimate import Devices, show_estimate
    from data_manifests.errors import InputError

    if stage not in ("prior", "restorer"):
        raise InputError(f"There is no stage {stage!r}.", "Name prior or restorer.")
    place, settings = open_workspace(workspace)
    section = with_file(getattr(settings, stage), file)
    config = make_config(section, {"base": base}, set_ or [])
    show_estimate(config, Devices(gpus, tflops, mfu), place.runs)


def make_config(section: C, options: dict[str, Any], overrides: Sequence[str]) -> C:
    """The section with the options and the --set overrides put in, checked again."""
    from data_manifests.config import parse_section

    values = section.model_dump()
    values |= {k: v for k, v in options.items() if v is not None}
    for override in overrides:
        _put(values, override)
    return parse_section(type(section), values, "--set" if overrides else "an option")


def _put(values: dict[str, Any], override: str) -> None:
    from data_manifests.errors import ConfigError

    path, given, text = override.partition("=")
    if not given or not path.strip():
        raise ConfigError(f"--set {override!r} has no value.", "Write it as --set key=value.")
    *tables, last = path.strip().split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override!r}: {table} is no table.", "Leave out the dot.")
        values = inner
    values[last] = _value(text.strip())


def _value(text: str) -> Any:
    """A TOML value; what is none is taken as text, so that paths and words need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def listen() -> None:
    """Show what the training part says while it works, once however often it is called."""
    log = logging.getLogger("training")
    if not any(isinstance(handler, Notes) for handler in log.handlers):
        log.addHandler(Notes())
    log.setLevel(logging.INFO)


def _name(place: Workspace, kind: str, resume: bool) -> str:
    """The run to start or, to resume, the newest of this kind."""
    import json

    from training.run import free_name

    records = place.runs.glob("*/config.json") if resume else ()
    runs = [p for p in records if json.loads(p.read_text()).get("kind") == kind]
    if not runs:
        return free_name(place.runs, kind)
    return max(runs, key=lambda p: p.stat().st_mtime).parent.name


def _show(config: RunConfig, samples: int, version: int, base: str) -> None:
    from data_manifests.config import flat

    rows = [(key, value) for key, value in flat(config.model_dump()) if key != "base"]
    console.table("Settings of this run", ("setting", "value"), [("base", base), *rows])
    console.done(f"{samples} samples of samples@{version}; nothing was trained or written")


def _follow(steps: Iterator[Step], place: Workspace, name: str, base: str) -> None:
    """Show a run while it goes, and what came of it."""
    from authface.train_look import write_run_page
    from training.signals import Stopped

    folder = place.runs / name
    first = os.environ.get("RANK", "0") == "0"  # one of several processes speaks for all
    if not first:
        logging.getLogger("training").addHandler(logging.NullHandler())
    else:
        listen()
        console.say(f"training in {folder}, on {base}")
    try:
        taken = list(_tracked(steps, folder) if first else steps)
    except Stopped as stopped:
        if not first:
            raise typer.Exit(stopped.exit_code) from None
        todo = f"Go on by the same command with --resume --name {name}."
        raise ToldToStop(stopped.exit_code, stopped.wrong, todo) from None
    if first:
        _sum_up(taken, folder)
        console.say(f"  curves and pictures: {write_run_page(place, name)}")


def _tracked(steps: Iterator[Step], folder: Path) -> Iterator[Step]:
    """The steps, shown among all of the run's; the first, which waits for the start, untimed."""
    import json

    for first in steps:
        yield first
        total = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]["steps"]
        yield from console.track(steps, total, label=folder.name, done=first.step)


def _sum_up(taken: Sequence[Step], folder: Path) -> None:
    from training.bases import is_tiny

    if not taken:
        console.done(f"{folder.name} is complete: nothing to do")
    else:
        made = [s for s in taken if not s.skipped]
        few = max(1, len(made) // 5)
        before, after = (sum(s.loss for s in some) / few for some in (made[:few], made[-few:]))
        seconds = sum(s.seconds for s in taken)
        console.done(
            f"steps {taken[0].step} to {taken[-1].step} in {seconds:.1f} s; "
            f"loss {before:.4f} -> {after:.4f} (means of the first and last {few})"
        )
        if len(made) < len(taken):
            console.note(f"{len(taken) - len(made)} updates left out: the loss was not finite")
    model = folder / "model"
    console.done(f"model: {model}")
    if is_tiny(model):
        console.note("tiny random base: this tests the code paths and makes no good picture")


class Notes(logging.Handler):
    """Shows the library's warnings as notes, and what else it says as lines of result."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        show = console.note if record.levelno >= logging.WARNING else console.say
        show(record.getMessage())
