"""The command `authface app`: the web page that restores photos, on this machine."""

from __future__ import annotations

import importlib.util
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from authface import console
from authface.restorers import (
    ModelOption,
    newest_restorer,
    open_finder_for,
    settings_or_defaults,
)
from authface.settings import WorkspaceOption

__all__ = ["app"]


def app(
    model: ModelOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Another address than loopback needs --password-file.")
    ] = "127.0.0.1",
    password_file: Annotated[
        Path | None, typer.Option(help="Users who may come in, one `name:password` a line.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Open a web page on this machine: upload a photo, pick faces, restore, compare, download.

    Nothing leaves the machine, and photos are deleted after ten minutes. Ctrl-C ends it.

    Example: authface app --model runs/restorer/model
    """
    from data_manifests.errors import MissingExtra

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("gradio", "app", "The web page")
    from restore.app import check_access, serving
    from restore.app_desk import Desk, replace_settings
    from restore.app_folder import AppFolder
    from restore.pipeline import open_restorer

    users = None if password_file is None else read_users(password_file)
    check_access(host, users)  # before a model is loaded for nothing
    place, settings = settings_or_defaults(workspace)
    config = settings.restore
    if device is not None:
        config = replace_settings(config, device=device)
    finder = open_finder_for(settings)
    restorer = open_restorer(model or newest_restorer(place), config=config)
    if restorer.facts.warning:
        console.note(restorer.facts.warning)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a service is ended
    with (
        AppFolder() as folder,
        Desk(restorer, finder, folder) as desk,
        serving(desk, host=host, port=port, users=users) as address,
    ):
        console.done(f"the page is ready: {address}")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.done("stopped; every photo that was uploaded is deleted")


def read_users(file: Path) -> dict[str, str]:
    """Users and their passwords; raises InputError if the file has none, or others may read it."""
    from data_manifests.errors import InputError

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        open_to_others = file.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} can't be read: {error}.", "Check the path.") from error
    if open_to_others:
        raise InputError(f"Others may read {file}.", f"Close it to them: chmod 600 {file}")
    users = dict(line.split(":", 1) for line in lines if ":" in line)
    if not users or not all(name and len(word) >= 8 for name, word in users.items()):
        raise InputError(
            f"{file} must name at least one user, with a password of 8 characters or more.",
            "Write one `name:password` a line.",
        )
    return users
