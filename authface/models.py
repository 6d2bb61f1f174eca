"""Commands on model files: where they are, getting them, checking them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import WorkspaceOption

if TYPE_CHECKING:
    from curation.models import Model
    from data_manifests.media import Workspace

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Open no connection; as AUTHFACE_OFFLINE=1.")
]


@app.command("list")
def show(workspace: WorkspaceOption = None) -> None:
    """Print each model with its licence, and where its file is: finders and restorers.

    Restorers are those of the workspace's runs and those in the Hugging Face cache.

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
    rows = [_row(*found) for found in _restorers(workspace)]
    if rows:
        console.table("Restorers", ("name", "licence", "MB", "SHA-256", "folder"), rows)


@app.command()
def get(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A model of the list, or a restorer of the hub as OWNER/NAME or "
            "OWNER/NAME@REVISION; those of the list that are missing if left out."
        ),
    ] = None,
    offline: OfflineOption = False,
) -> None:
    """Fetch a model from its publisher into the cache, and check that it is the published file.

    A restorer of the Hugging Face hub is pinned to a commit, fetched as safetensors only, and the
    SHA-256 of its files is taken down. Exit 3 if some could be had and some not.
    AUTHFACE_MODELS_URL names a mirror, HF_ENDPOINT one of the hub.

    Example: authface models get yunet
    """
    _stay_offline(offline)
    if name is not None and "/" in name:
        _get_restorer(name)
        return
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
def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER|OWNER/NAME[@COMMIT]",
            help="A restorer, by its folder or as it was fetched; the list's models if left out.",
        ),
    ] = None,
) -> None:
    """Check every byte of the files that are there; exit 3 if some are wrong, 2 if all are.

    Example: authface models verify
    """
    if name is not None:
        _verify_restorer(name)
        return
    from curation.models import MODELS, find_model

    there = [(m, path) for m in MODELS if (path := find_model(m.name)) is not None]
    wrong = [m for m, path in there if not _is_right(m, path)]
    for model in MODELS:
        if model not in [m for m, _ in there]:
            console.note(f"{model.name} is missing: authface models get {model.name}")
    _exit(len(wrong), len(there))


def _get_restorer(name: str) -> None:
    from restore.hub import bring, fetch
    from restore.model import licence_of

    if _is_offline():
        folder = bring(name)
        console.done(f"{name} is in the cache: {folder}")
        return
    found = fetch(name)
    licence = licence_of(found.folder) or "no licence named"
    console.done(f"{found.repo}@{found.commit} ({licence}): {found.folder}")
    if not name.endswith(f"@{found.commit}"):
        console.note(f"To use this very version, write {found.repo}@{found.commit}.")


def _verify_restorer(name: str) -> None:
    from restore.checking import check_restorer

    checked = check_restorer(name)
    for fault in checked.faults:
        console.fail(f"{checked.folder}: {fault}")
    if checked.faults:
        raise typer.Exit(console.WRONG)
    if not checked.against:
        console.note("Nothing was taken down of it before, so that there is nothing to compare.")
        console.say(f"SHA-256 {checked.sha256}")
        return
    console.done(f"{checked.folder}: every file is as {checked.against} says")


def _restorers(workspace: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of the workspace's trained restorers and of the hub cache's."""
    from restore.hub import cached_restorers

    place = _workspace(workspace)
    for controlnet in sorted(place.runs.glob("*/model/controlnet")) if place else ():
        yield controlnet.parents[1].name, controlnet.parent
    for repo, commit, folder in cached_restorers():
        yield f"{repo}@{commit[:12]}", folder


def _workspace(named: Path | None) -> Workspace | None:
    """The workspace, none where there is none: hub models are listed without one."""
    from authface.settings import open_workspace
    from data_manifests.errors import ConfigError

    try:
        return open_workspace(named)[0]
    except ConfigError:
        if named is not None:
            raise
        return None


def _row(name: str, folder: Path) -> tuple[str, ...]:
    from restore.checking import quick_sha256
    from restore.model import licence_of

    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    licence = licence_of(folder) or "not named"
    sha256 = quick_sha256(folder)[:12] or "not taken down"
    return name, licence, f"{size / 1e6:.1f}", sha256, str(folder)


def _stay_offline(offline: bool) -> None:
    if offline:
        os.environ["AUTHFACE_OFFLINE"] = "1"


def _is_offline() -> bool:
    from curation.models import is_offline

    return is_offline()


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
