"""The workspace file and the environment, read and checked once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_manifests.errors import ConfigError

if TYPE_CHECKING:
    from authface.sections import Settings
    from data_manifests.media import Workspace

__all__ = ["WorkspaceOption", "find_workspace", "init_workspace", "open_workspace", "read_settings"]

FILE = "authface.toml"

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        help="Workspace folder (else AUTHFACE_WORKSPACE, else the nearest one above).",
    ),
]

TEMPLATE = """\
# Settings of this AuthFace workspace. Every line is optional: what stands here as a comment is the
# default.
# `authface doctor` checks this file. Secrets never stand here: LABEL_STUDIO_URL and
# LABEL_STUDIO_API_KEY are
# read from the environment.

[ingest]
# photographer = "name or pseudonym"
# licence = "CC-BY-4.0"
# consent_id = "see `authface consent add`"

[ingest.gates]
# least_long_side = 8192   # px; smaller photos are set aside

[annotate]

[retouch]
# settle_s = 3.0           # s; so long a returned file must stay the same to be taken
# most_identity_shift = 0.2  # needs [ingest.identity] enabled = true, and consents for it

[manifest]

[prior]
# base = "tiny"            # or "stabilityai/stable-diffusion-xl-base-1.0", or a local folder

[restorer]

[restore]
"""


def init_workspace(root: Path) -> tuple[Path, bool]:
    """Make the folders and the settings file where they are missing.

    (settings file, whether it is new).
    """
    from data_manifests.media import Workspace, write_atomic

    workspace = Workspace(root.absolute())
    if root.exists() and not root.is_dir():
        raise ConfigError(
            f"{root} is a file, not a folder.", "Choose another name for the workspace."
        )
    for folder in (workspace.tables, workspace.media, workspace.runs):
        _make_folder(folder)
    new = not workspace.settings.exists()
    if new:
        write_atomic(workspace.settings, TEMPLATE.encode())
    return workspace.settings, new


def open_workspace(root: Path | None = None) -> tuple[Workspace, Settings]:
    """The workspace and its checked settings."""
    from data_manifests.media import Workspace

    workspace = Workspace(find_workspace(root))
    return workspace, read_settings(workspace.settings)


def find_workspace(root: Path | None = None) -> Path:
    """The workspace folder: as given, else from AUTHFACE_WORKSPACE, else the nearest one above."""
    named = root or (
        Path(os.environ["AUTHFACE_WORKSPACE"]) if os.environ.get("AUTHFACE_WORKSPACE") else None
    )
    if named is not None:
        if not (named / FILE).is_file():
            raise ConfigError(
                f"{named} is no workspace: it holds no {FILE}.",
                f"Make one with: authface init {named}",
            )
        return named.absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder
    raise ConfigError(
        f"No workspace here: no {FILE} in {here} or above.",
        "Make one with `authface init NAME`, or name one with --workspace.",
    )


def read_settings(file: Path) -> Settings:
    """The checked settings of a workspace file."""
    from authface.sections import Settings
    from data_manifests.config import read_section

    return read_section(Settings, file)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be made: {error.strerror}.", "Choose a place that can be written."
        ) from error
