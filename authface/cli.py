"""The command line: parse, call one function of a part, print.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from authface import (
    __version__,
    annotate,
    consent,
    console,
    curate,
    demo,
    doctor,
    drafting,
    erasing,
    evaluating,
    exchange,
    manifest,
    manifest_look,
    models,
    photos,
    questions_commands,
    restoring,
    retouching,
    train,
    train_ahead,
    train_export,
    train_look,
)
from authface import app as app_page
from authface.stopping import ToldToStop
from data_manifests.errors import AuthFaceError

__all__ = ["app", "main"]

app = typer.Typer(
    name="authface",
    help="From photographers' 8K portraits to a face-restoration model people trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time that it takes to answer
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.say(f"authface {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """From photographers' 8K portraits to a face-restoration model people trust."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="The workspace folder to make.")]) -> None:
    """Make a workspace: a folder with settings, tables, media and runs.

    Example: authface init my-workspace
    """
    from authface.settings import init_workspace

    file, new = init_workspace(folder)
    console.done(f"workspace {folder} {'made' if new else 'was there already; nothing changed'}")
    console.say(f"  settings: {file}")


app.command()(curate.ingest)
annotate.app.add_typer(questions_commands.app)  # no name: it stands beside the others
app.command("draft-captions")(drafting.draft_captions)
app.add_typer(photos.app, name="photos")
app.add_typer(photos.faces_app, name="faces")
annotate.app.command()(retouching.take_back)
annotate.app.command()(retouching.retouch_list)
app.add_typer(
    annotate.app,
    name="annotate",
    help="Questions to photographers in Label Studio, and their answers.",
)
manifest.app.add_typer(manifest_look.app)  # no name: its commands stand beside the others
manifest.app.add_typer(exchange.app)
app.add_typer(manifest.app, name="manifest", help="The tables: build samples, look, check.")
app.add_typer(consent.app, name="consent", help="Who allowed what.")
app.command()(erasing.erase)
app.command("subject-report")(erasing.subject_report)
app.add_typer(
    models.app, name="models", help="Model files, of others and your own: list, get, check."
)
train.app.add_typer(train_ahead.app)
train.app.add_typer(train_export.app)
train.app.add_typer(train_look.app)
app.add_typer(train.app, name="train", help="Stage 1, the prior, and stage 2, the restorer.")
app.command()(restoring.restore)
app.command()(evaluating.evaluate)
app.command("app")(app_page.app)
app.command()(doctor.doctor)
app.command()(demo.demo)
app.command()(demo.report)


def main() -> None:
    """Run the command line; an error from the tree becomes one line and exit code 2."""
    # Other libraries import it where it is installed; it tells of kernels that nobody uses here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app()
    except ToldToStop as told:
        console.note(str(told))
        sys.exit(told.exit_code)
    except AuthFaceError as error:
        console.fail(str(error))
        sys.exit(console.WRONG)
    except SystemExit as end:
        if end.code == console.STOPPED:  # Ctrl-C, which Typer has turned into this
            console.note(
                "stopped; what was committed stays, and the same command goes on from there"
            )
        raise


if __name__ == "__main__":
    main()
