"""Pull whenever the server calls, and every so often anyway: calls get lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from annotation.config import AnnotateConfig
from annotation.pull import Pulled, projects_of, pull
from annotation.studio import Studio
from annotation.webhook import ACTIONS, Listener
from data_manifests.errors import RemoteError
from data_manifests.store import Store

__all__ = ["watch"]


def watch(
    store: Store, studio: Studio, *, config: AnnotateConfig, every_s: float, calm_s: float = 1.0
) -> Iterator[Pulled | RemoteError]:
    """A pull now, and one after each call or `every_s` seconds, until the caller stops.

    The server is asked to call only if the settings allow it. A server that can't be reached is no
    reason to stop: its error is yielded, and the next look is due as ever. Several calls within
    `calm_s` are one.
    """
    with Listener() as listener, contextlib.ExitStack() as hooks:
        wanted = config.webhooks
        while True:
            try:
                if wanted:
                    ours = projects_of(store, studio.identity)
                    calls = studio.calling(ours, listener.url, listener.headers, ACTIONS)
                    hooks.enter_context(calls)
                    wanted = False
                yield pull(store, studio, config=config)
            except RemoteError as error:
                yield error
            if listener.wait(every_s):
                listener.wait(calm_s)
