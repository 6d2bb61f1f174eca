"""A local Label Studio for one workspace: started on loopback, waited for, stopped by process id.

Safe settings: no sign-up without an invitation, no telemetry, and a served folder that holds
nothing but a link to media/. The login lives in a file that only the owner reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import httpx

from annotation.config import AnnotateConfig
from annotation.private import write_private
from annotation.server_settings import HOST, environment
from annotation.server_upgrade import keep_before_upgrade, version_of
from data_manifests.errors import ConfigError, RemoteError
from data_manifests.media import Workspace, write_atomic

__all__ = [
    "LocalServer",
    "Running",
    "add_person",
    "find_program",
    "login_of",
    "running",
    "served_media",
    "stop",
]

ADMIN = "admin@authface.local"
SAY_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A Label Studio that runs for a workspace now."""

    url: str
    pid: int


class LocalServer:
    """Context manager: Label Studio runs inside it and is stopped after it."""

    def __init__(
        self,
        workspace: Workspace,
        config: AnnotateConfig,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.login_file = workspace.label_studio / "login.json"
        self.url = f"http://{HOST}:{config.port}"
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def token(self) -> str:
        """The owner's API token."""
        return str(login_of(self.workspace)["token"])

    @property
    def pid(self) -> int | None:
        """Process id of the server, none if it is not running."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> LocalServer:
        program = find_program(self.config)
        self.workspace.label_studio.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            _refuse_busy_port(self.config.port)
            self._start(program)
            self._wait_until_healthy()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server: politely first, by force after ten seconds."""
        if self._process is not None:
            _end(self._process)
            self._process = None
            _state_file(self.workspace).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wait(self) -> None:
        """Return when somebody stops the server; raises RemoteError if it ends by itself."""
        if self._process is not None:
            code = self._process.wait()
            if _state_file(self.workspace).exists():  # who stops it removes the file first
                raise RemoteError(f"Label Studio ended by itself, code {code}.", self._see_log())

    def add_person(self, email: str) -> str:
        """The API token of another person, who is signed up through the invitation if new."""
        return add_person(self.workspace, self.url, email)

    def _take_lock(self) -> None:
        found = running(self.workspace)
        if found is not None:
            raise _already(found.url)
        self._lock = (self.workspace.label_studio / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            raise _already("an address that it will tell") from error

    def _start(self, program: Path) -> None:
        login = login_of(self.workspace, create=True)
        _link_media(self.workspace)
        keep_before_upgrade(self.workspace, version_of(program), self._say)
        command = [
            program,
            "start",
            "--no-browser",
            "--internal-host",
            HOST,
            "--port",
            str(self.config.port),
        ]
        self._log_file().touch(mode=0o600)
        self._log_file().chmod(0o600)  # it names people by their e-mail
        with self._log_file().open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                env=environment(
                    self.workspace,
                    login,
                    self.config,
                    served=str(served_media(self.workspace).parent),
                ),
                cwd=self.workspace.label_studio,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we then stop it in order
            )
        state = {"url": self.url, "pid": self._process.pid}
        write_atomic(_state_file(self.workspace), json.dumps(state).encode())

    def _wait_until_healthy(self) -> None:
        first = not (self.workspace.label_studio / "data" / "label_studio.sqlite3").exists()
        why = " (the first start prepares its database, a minute or two)" if first else ""
        started = said = time.monotonic()
        self._say(f"Starting Label Studio at {self.url}{why} ...")
        while not _healthy(self.url):
            now = time.monotonic()
            if self._process is None or self._process.poll() is not None:
                raise RemoteError("Label Studio ended while it was starting.", self._see_log())
            if now - started > self.config.start_timeout_s:
                raise RemoteError(
                    f"Label Studio was not ready after {now - started:.0f} s.", self._see_log()
                )
            if now - said >= SAY_EVERY_S:
                said = now
                self._say(f"  still starting, {now - started:.0f} s")
            time.sleep(0.5)

    def _log_file(self) -> Path:
        return self.workspace.label_studio / "label-studio.log"

    def _see_log(self) -> str:
        lines = self._log_file().read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "nothing")
        return f"Its log {self._log_file()} ends with: {last.strip()[:200]}"


def add_person(workspace: Workspace, url: str, email: str) -> str:
    """The API token of another person on the workspace's running server, signed up if new."""
    login = login_of(workspace)
    people: dict[str, dict[str, str]] = login.setdefault("people", {})
    if email not in people:
        password = secrets.token_urlsafe(16)
        token = _sign_up(url, str(login["token"]), email, password)
        people[email] = {"password": password, "token": token}
        write_private(workspace.label_studio / "login.json", json.dumps(login, indent=1))
    return people[email]["token"]


def find_program(config: AnnotateConfig) -> Path:
    """The label-studio program; raises ConfigError that says how to get it."""
    beside = Path(__file__).resolve().parent.parent / ".venv-label-studio" / "bin" / "label-studio"
    on_path = shutil.which("label-studio")
    for candidate in (config.label_studio, beside, Path(on_path) if on_path else None):
        if candidate is not None and candidate.is_file():
            return candidate.absolute()
        if candidate is not None and candidate == config.label_studio:
            break  # a place that was named is not silently replaced by another
    wrong = (
        f"There is no program {config.label_studio}."
        if config.label_studio
        else "Label Studio is not installed."
    )
    raise ConfigError(
        wrong, "Run `make setup`, or set label_studio under [annotate] in authface.toml."
    )


def running(workspace: Workspace) -> Running | None:
    """The server that runs for this workspace now, none if there is none."""
    try:
        state = json.loads(_state_file(workspace).read_text())
        found = Running(str(state["url"]), int(state["pid"]))
    except (OSError, ValueError, KeyError):
        return None
    return found if _is_label_studio(found.pid) and _healthy(found.url) else None


def stop(workspace: Workspace) -> Running | None:
    """Stop the server that runs for this workspace, whoever started it; which one it was."""
    found = running(workspace)
    if found is None:
        return None
    _state_file(workspace).unlink(missing_ok=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while _is_label_studio(found.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def login_of(workspace: Workspace, *, create: bool = False) -> dict[str, Any]:
    """E-mail, password and token of the server's owner, kept in a file of mode 0600."""
    file = workspace.label_studio / "login.json"
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        if not create:
            raise ConfigError(
                f"There is no {file}: Label Studio never ran for this workspace.",
                "Start it with `authface annotate serve`.",
            ) from None
    except ValueError as error:
        raise ConfigError(f"{file} is damaged: {error}.", "Restore it from a backup.") from error
    login = {"email": ADMIN, "password": secrets.token_urlsafe(16), "token": secrets.token_hex(20)}
    write_private(file, json.dumps(login, indent=1))
    return login


def served_media(workspace: Workspace) -> Path:
    """Where the local server sees media/: below a folder that holds nothing else."""
    return workspace.label_studio / "served" / "media"


def _link_media(workspace: Workspace) -> None:
    # A link, so that the served root holds nothing but pictures: tables and logins are near.
    link = served_media(workspace)
    workspace.media.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.resolve() != workspace.media.resolve():
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(workspace.media.resolve(), target_is_directory=True)


def _sign_up(url: str, token: str, email: str, password: str) -> str:
    with httpx.Client(base_url=url, timeout=60) as browser:
        invite = browser.get("/api/invite", headers={"Authorization": f"Token {token}"})
        page = str(invite.raise_for_status().json()["invite_url"])
        browser.get(page)
        form = {
            "email": email,
            "password": password,
            "csrfmiddlewaretoken": browser.cookies.get("csrftoken", ""),
        }
        if not browser.post(page, data=form).is_redirect:
            raise RemoteError(
                f"Label Studio did not sign up {email}.", "Is that e-mail address taken?"
            )
        return str(browser.get("/api/current-user/token").raise_for_status().json()["token"])


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _refuse_busy_port(port: int) -> None:
    # Label Studio would silently take the next free port.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} is taken by another program.",
                "Give another with --port, or set port under [annotate] in authface.toml.",
            ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_label_studio(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"label-studio" in command


def _already(where: str) -> ConfigError:
    return ConfigError(
        f"A Label Studio is already running for this workspace, at {where}.",
        "Use that one, or stop it with `authface annotate serve --stop`.",
    )


def _state_file(workspace: Workspace) -> Path:
    return workspace.label_studio / "server.json"
