"""Commands on the model files that others publish: where they are, getting them, checking them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from authface import console

if TYPE_CHECKING:
    from pathlib import Path

    from curation.models import Model

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def show() -> None:
    """Print each model with its licence, its purpose, and where its file is.

    Example: authface models list
    """
    from curation.models import MODELS, find_model

    console.table(
        "Models",
        ("name", "licence", "purpose", "MB", "file"),
        [
            (m.name, m.licence, m.purpose, f"{m.size_bytes / 1e6:.1f}", _place(find_model(m.name)))
            for m in MODELS
        ],
    )


@app.command()
def get(
    name: Annotated[
        str | None, typer.Argument(help="The model; those that are missing if left out.")
    ] = None,
) -> None:
    """Fetch a model from its publisher into the cache, and check that it is the published file.

    Exit 3 if some could be had and some not. AUTHFACE_MODELS_URL names a mirror.

    Example: authface models get yunet
    """
    from curation.models import (
        MODELS,
        fetch_model,
        find_model,
        model_named,
        models_folder,
        verify_model,
    )
    from data_manifests.errors import AuthFaceError

    failed = []
    wanted = [model_named(name)] if name else list(MODELS)
    for model in wanted:
        try:
            path = find_model(model.name)
            if path is None or path.parent == models_folder():  # a wrong file there is replaced
                path = fetch_model(model.name)
            verify_model(path, model)
        except AuthFaceError as error:
            failed.append(model)
            console.fail(str(error))
        else:
            console.done(f"{model.name} ({model.licence}, {model.source}): {path}")
    _exit(len(failed), len(wanted))


@app.command()
def verify() -> None:
    """Check the files that are there; exit 3 if some are wrong, 2 if all are.

    Example: authface models verify
    """
    from curation.models import MODELS, find_model

    there = [(m, path) for m in MODELS if (path := find_model(m.name)) is not None]
    wrong = [m for m, path in there if not _is_right(m, path)]
    for model in MODELS:
        if model not in [m for m, _ in there]:
            console.note(f"{model.name} is missing: authface models get {model.name}")
    _exit(len(wrong), len(there))


def _is_right(model: Model, path: Path) -> bool:
    from curation.models import verify_model
    from data_manifests.errors import ConfigError

    try:
        verify_model(path, model)
    except ConfigError as error:
        console.fail(str(error))
        return False
    console.done(f"{model.name}: {path} is the published file")
    return True


def _place(path: Path | None) -> str:
    return "missing" if path is None else str(path)


def _exit(wrong: int, asked: int) -> None:
    if wrong:
        raise typer.Exit(console.WRONG if wrong == asked else console.PARTIAL)
