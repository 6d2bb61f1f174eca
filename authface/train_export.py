"""The command that makes a model of a run's checkpoint again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace
from authface.train import listen

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Name of the run, as it stands in runs/.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder; else in the run's own.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Of which checkpoint; else of the newest whole one.")
    ] = None,
    form: Annotated[
        Literal["diffusers", "lora", "kohya"],
        typer.Option(
            "--format",
            help="diffusers: the whole model; lora: a LoRA for load_lora_weights; "
            "kohya: one for ComfyUI and its kin.",
        ),
    ] = "diffusers",
    base: Annotated[
        str | None, typer.Option(help="What the run stands on, if it was moved since.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a model of a run's checkpoint again, without training on; half-trained runs too.

    Example: authface train export prior --step 500 --format kohya
    """
    from data_manifests.seen import MARK
    from data_manifests.store import Store
    from training.bases import is_tiny
    from training.reexport import Reexport, reexport

    listen()
    place, _ = open_workspace(workspace)
    wanted = Reexport(run, step, form, to, base)
    folder, at, steps = reexport(wanted, store=Store(place.tables), workspace=place)
    console.done(f"{run} at step {at} of {steps}: {folder}")
    if at < steps:
        console.note(f"it is half-trained: {steps - at} steps are missing")
    if (place.runs / run / MARK).is_file():
        console.note(
            "the run saw somebody who has been erased since: whether its models may be used is "
            "your decision"
        )
    if is_tiny(folder):
        console.note("tiny random base: this tests the code paths and makes no good picture")
