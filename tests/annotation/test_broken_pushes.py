"""Pushes that are broken off for real: a lost reply, a killed client, a killed server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import pytest

from annotation.config import AnnotateConfig
from annotation.connect import open_studio
from annotation.projects import find_project
from annotation.pull import pull
from annotation.push import push
from annotation.questions import TRIAGE
from annotation.server import LocalServer
from annotation.studio import Studio
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace
from data_manifests.records import Photo, Task
from data_manifests.store import Store

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]


@contextmanager
def swallowing(url: str, replies_let_through: int) -> Iterator[str]:
    """A proxy that passes everything on, but lets only so many import replies back."""
    target = urlsplit(url)
    imports = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        done = threading.Event()

        def serve_one(client: socket.socket) -> None:
            nonlocal imports
            with client:
                request = _whole(client)
                reply = _answer(request, target) if request else b""
                asked_to_import = b"/import?" in request.split(b"\r\n", 1)[0]
                imports += asked_to_import
                if not asked_to_import or imports <= replies_let_through:
                    # Said aloud: else the client would keep the connection, and might send its
                    # next question into it just before it sees that it is closed.
                    client.sendall(reply.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

        def accept() -> None:
            while not done.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=serve_one, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


def _answer(request: bytes, target: SplitResult) -> bytes:
    address = (str(target.hostname), int(target.port or 80))
    with socket.create_connection(address) as server:
        server.sendall(request.replace(b"onnection: keep-alive", b"onnection: close"))
        return b"".join(iter(lambda: server.recv(65536), b""))


def _whole(client: socket.socket) -> bytes:
    head, body, length = b"", b"", 0
    while b"\r\n\r\n" not in head:
        part = client.recv(65536)
        if not part:
            return b""
        head += part
    head, body = head.split(b"\r\n\r\n", 1)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def test_a_lost_reply_makes_no_second_task(desk: Desk, add_photos: AddPhotos) -> None:
    """The server takes the second batch, but its reply never comes back."""
    add_photos(desk.store, desk.media, 6)
    config = desk.config.model_copy(update={"batch": 2})
    with (
        swallowing(desk.studio.url, replies_let_through=1) as url,
        Studio(url, desk.server.token, media_root=desk.studio.media_root) as studio,
        pytest.raises(RemoteError, match="broke off while taking tasks") as caught,
    ):
        push(desk.store, studio, media=desk.media, config=config)
    assert desk.server.token not in str(caught.value)
    assert Counter(t.state for t in desk.store.read(Task)) == {"sent": 2, "waiting": 4}
    again = push(desk.store, desk.studio, media=desk.media, config=config)
    assert (again.adopted, again.sent) == (2, 2)
    assert desk.keys_on_server() == Counter(t.task_key for t in desk.store.read(Task))
    assert desk.push().sent == 0


PUSHER = """
import sys
from pathlib import Path
from annotation.config import AnnotateConfig
from annotation.studio import Studio
from annotation.push import push
from data_manifests.store import Store
tables, media, url, token, root, project = sys.argv[1:]
config = AnnotateConfig(project=project, batch=1)
push(Store(Path(tables)), Studio(url, token, media_root=root), media=Path(media), config=config)
"""


def test_a_push_killed_in_the_middle_is_finished_by_the_next_one(
    desk: Desk, add_photos: AddPhotos
) -> None:
    add_photos(desk.store, desk.media, 30)
    for wanted in (3, 12):
        _push_until_killed(desk, wanted)
    sent = Counter(t.state for t in desk.store.read(Task))
    assert 12 <= sent["sent"] < 30, "the kill came too late to prove anything"
    desk.push()
    rows = desk.store.read(Task)
    assert {t.state for t in rows} == {"sent"}
    assert desk.keys_on_server() == Counter(t.task_key for t in rows)
    assert pull(desk.store, desk.studio, config=desk.config).waiting == 30


def _push_until_killed(desk: Desk, wanted: int) -> None:
    places = [str(desk.store.folder), str(desk.media), desk.studio.url, desk.server.token]
    command = [
        sys.executable,
        "-c",
        PUSHER,
        *places,
        str(desk.studio.media_root),
        desk.config.project,
    ]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if sum(t.state == "sent" for t in desk.store.read(Task)) >= wanted:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_push_loses_and_doubles_nothing(
    prepared: Workspace,
    add_photos: AddPhotos,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    config = AnnotateConfig(port=free_port(), project="killed", batch=1)
    store = Store(prepared.tables)
    add_photos(store, prepared.media, 30)
    with LocalServer(prepared, config) as server, open_studio(prepared, config) as studio:
        killer = threading.Thread(target=_kill_when_sent, args=(server, store, 5))
        killer.start()
        with pytest.raises(RemoteError) as caught:
            push(store, studio, media=prepared.media, config=config)
        killer.join()
        assert server.token not in str(caught.value)
    sent = sum(t.state == "sent" for t in store.read(Task))
    assert 5 <= sent < 30, "the kill came too late to prove anything"
    with LocalServer(prepared, config), open_studio(prepared, config) as studio:
        push(store, studio, media=prepared.media, config=config)
        project = find_project(studio, TRIAGE, config)
        assert project is not None
        there = Counter(str(t["data"]["task_key"]) for t in studio.tasks(project.id))
        assert there == Counter(t.task_key for t in store.read(Task))
        assert pull(store, studio, config=config).waiting == 30


def _kill_when_sent(server: LocalServer, store: Store, wanted: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if sum(t.state == "sent" for t in store.read(Task)) >= wanted:
            break
        time.sleep(0.05)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
