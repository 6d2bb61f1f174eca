"""What the doctor says of Label Studio: too old, out of reach, or set up so that faces leak."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from authface.sections import Settings

__all__ = ["Finding", "studio_findings"]

LEAST_STUDIO = (1, 23)  # older servers have known holes: stored XSS, SSRF
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table; `blocks` says that the main job can't run without it."""

    what: str
    state: str
    detail: str
    blocks: bool = False


def studio_findings(settings: Settings | None = None) -> Iterator[Finding]:
    """Whether there is a Label Studio that can be trusted with portraits, and what to watch."""
    url = os.environ.get("LABEL_STUDIO_URL")
    if url:
        yield _studio_at(url)
        yield from _watch_out(url, os.environ.get("LABEL_STUDIO_API_KEY", ""))
        return
    yield _local_studio(settings)


def _local_studio(settings: Settings | None) -> Finding:
    import subprocess

    from annotation.config import AnnotateConfig
    from annotation.server import find_program
    from data_manifests.errors import ConfigError

    try:
        program = find_program(settings.annotate if settings else AnnotateConfig())
    except ConfigError as error:
        todo = f"{error} Or set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."
        return Finding("Label Studio", "missing", todo, blocks=True)
    asked = "import importlib.metadata as m; print(m.version('label-studio'))"
    python = program.with_name("python")
    answer = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return _judge_studio(answer.stdout.strip(), str(program))


def _studio_at(url: str) -> Finding:
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/version", timeout=10).json()
        version = str(answer["label-studio-os-package"]["version"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Finding(
            "Label Studio",
            "unreachable",
            f"{url}: {type(error).__name__}; is it running?",
            blocks=True,
        )
    return _judge_studio(version, url)


def _judge_studio(version: str, where: str) -> Finding:
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdigit())
    if numbers < LEAST_STUDIO:
        least = ".".join(map(str, LEAST_STUDIO))
        return Finding(
            "Label Studio",
            "too old",
            f"{version or 'unknown'} at {where}; {least} or newer is needed",
            blocks=True,
        )
    return Finding("Label Studio", "ok", f"{version} at {where}")


def _watch_out(url: str, token: str) -> Iterator[Finding]:
    """What a team's server lets happen; it works all the same."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        said = f"{url} is plain http: the token and the portraits can be read on the way"
        yield Finding("Label Studio address", "warning", said)
    if re.fullmatch("[0-9a-f]{40}", token):
        said = "a legacy token never ends: a personal access token can be rotated"
        local = parts.hostname in LOOPBACK
        yield Finding("Label Studio token", "ok" if local else "warning", said)
    if (why := _open_to_strangers(url)) is not None:
        yield Finding("Label Studio sign-up", "warning", why)


def _open_to_strangers(url: str) -> str | None:
    """Why strangers could get in; none if the server turns them away, or can't be asked."""
    import httpx

    try:
        with httpx.Client(base_url=url, timeout=10, follow_redirects=False) as stranger:
            stranger.get("/user/signup/")
            token = stranger.cookies.get("csrftoken", "")
            # An address that no server takes: nobody is signed up by asking.
            form = {"email": "nobody", "password": "", "csrfmiddlewaretoken": token}
            answer = stranger.post("/user/signup/", data=form)
    except httpx.HTTPError:
        return None
    if answer.status_code == httpx.codes.FORBIDDEN:
        return None
    return "anybody can sign up and see every portrait: LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"
