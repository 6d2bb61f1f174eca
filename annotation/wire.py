"""The connection to Label Studio: nothing follows a redirect, and a local one is made anew."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from data_manifests.errors import RemoteError

__all__ = ["LOOPBACK", "connected"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def connected(url: str, *, timeout_s: float) -> httpx.Client:
    """A client for this server; raises RemoteError for an answer that no Label Studio gives."""
    local = urlsplit(url).hostname in LOOPBACK

    def refuse_html(answer: httpx.Response) -> None:
        if answer.is_redirect:
            where = answer.headers.get("location", "elsewhere").split("?")[0]
            raise RemoteError(
                f"{url} redirects to {where}.",
                "Set LABEL_STUDIO_URL to the address it really has.",
            )
        if answer.is_success and "html" in answer.headers.get("content-type", ""):
            raise RemoteError(
                f"{url} answers with a web page instead of data.",
                "Is LABEL_STUDIO_URL a Label Studio?",
            )

    # The development server sends an answer's head and body apart. On a connection that is kept,
    # the kernel holds back its receipt of the first for 40 ms, and the second waits for it; a new
    # connection on this machine costs a tenth of a millisecond.
    limits = httpx.Limits(max_keepalive_connections=0 if local else 20)
    return httpx.Client(
        timeout=timeout_s,
        limits=limits,
        follow_redirects=False,  # a token must not follow to another host
        trust_env=not local,
        event_hooks={"response": [refuse_html]},
    )
