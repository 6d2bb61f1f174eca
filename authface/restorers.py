"""What commands that restore begin with: settings, face finder, and which model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.settings import open_workspace

if TYPE_CHECKING:
    from authface.sections import Settings
    from curation.faces import NamedFinder
    from data_manifests.media import Workspace

__all__ = ["ModelOption", "newest_restorer", "open_finder_for", "settings_or_defaults"]

ModelOption = Annotated[
    str | None,
    typer.Option(help="A restorer's model folder or hub id; else the workspace's newest restorer."),
]


def settings_or_defaults(workspace: Path | None) -> tuple[Workspace | None, Settings]:
    """The workspace and its settings; without one, the defaults: restoring needs no workspace."""
    from authface.sections import Settings
    from data_manifests.errors import ConfigError

    try:
        return open_workspace(workspace)
    except ConfigError as error:
        if workspace is not None or not error.wrong.startswith("No workspace here"):
            raise
        return None, Settings()


def open_finder_for(settings: Settings) -> NamedFinder:
    """The ingest's face finder, less strict: degraded faces score lower."""
    from curation.faces import open_finder

    least = settings.restore.least_score
    finder = open_finder(settings.ingest.faces.model_copy(update={"least_score": least}))
    if finder.lacks:
        console.note(finder.lacks)
    return finder


def newest_restorer(place: Workspace | None) -> str:
    """The model/ folder of the workspace's newest restorer; raises ConfigError if there is none."""
    from data_manifests.errors import ConfigError

    found = [] if place is None else list(place.runs.glob("*/model/controlnet"))
    if not found:
        where = f"{place.runs} holds no trained restorer" if place else "There is no workspace here"
        raise ConfigError(
            f"{where}, so there is no model to restore with.",
            "Name one with --model, or train one with `authface train restorer`.",
        )
    return str(max(found, key=lambda p: p.stat().st_mtime_ns).parent)
