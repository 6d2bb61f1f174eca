"""The connection to Label Studio: nothing follows a redirect, and a local one is made anew."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

__all__ = ["LOOPBACK", "connected"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def connected(
    url: str, *, timeout_s: float, check: Callable[[httpx.Response], None]
) -> httpx.Client:
    """A client for this server that shows every answer to `check` before anybody reads it."""
    local = urlsplit(url).hostname in LOOPBACK
    # The development server sends an answer's head and body apart. On a connection that is kept,
    # the kernel holds back its receipt of the first for 40 ms, and the second waits for it; a new
    # connection on this machine costs a tenth of a millisecond.
    limits = httpx.Limits(max_keepalive_connections=0 if local else 20)
    return httpx.Client(
        timeout=timeout_s,
        limits=limits,
        follow_redirects=False,  # a token must not follow to another host
        trust_env=not local,
        event_hooks={"response": [check]},
    )
