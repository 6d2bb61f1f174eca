"""Which Label Studio a workspace talks to: the one that the environment names, or its own."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from annotation.config import AnnotateConfig
from annotation.server import login_of, running, served_media
from annotation.studio import START, Studio
from annotation.wire import LOOPBACK
from data_manifests.errors import ConfigError
from data_manifests.media import Workspace

__all__ = ["open_studio"]


def open_studio(workspace: Workspace, config: AnnotateConfig) -> Studio:
    """The server that the environment names, else the local one that runs for the workspace."""
    url, token = os.environ.get("LABEL_STUDIO_URL", ""), os.environ.get("LABEL_STUDIO_API_KEY", "")
    if url:
        _check_address(url, token, config)
        root = config.server_media
    else:
        found = running(workspace)
        if found is None:
            raise ConfigError(
                "No Label Studio is running for this workspace.",
                START,
            )
        url, token = found.url, token or str(login_of(workspace)["token"])
        root = _absolute(served_media(workspace))
    return Studio(url, token, media_root=root, timeout_s=config.request_timeout_s, page=config.page)


def _check_address(url: str, token: str, config: AnnotateConfig) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"LABEL_STUDIO_URL is no web address: {url!r}.",
            "It looks like https://labels.example.org",
        )
    if not token:
        raise ConfigError(
            "LABEL_STUDIO_URL is set, but LABEL_STUDIO_API_KEY is not.",
            "Copy the token from Account & Settings in Label Studio into that variable.",
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not config.allow_http:
        raise ConfigError(
            f"{url} would carry the token over plain http to another machine.",
            "Use https, or set allow_http = true under [annotate].",
        )


def _absolute(path: Path) -> str:
    # Not resolved: the server must see the link inside the folder that it serves.
    return str(path.absolute())
