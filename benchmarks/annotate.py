"""Push and pull against a real Label Studio: how fast, and what is left of it when all is killed.

    python benchmarks/annotate.py push [--tasks 2000]
    python benchmarks/annotate.py pull [--tasks 2000]
    python benchmarks/annotate.py broken [--tasks 1000] [--kills 50]

`push` is timed beside creating tasks and predictions one by one with the SDK, `pull` beside the
server's own full export. `broken` kills client and server while a proxy drops replies.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from annotation.config import AnnotateConfig
from annotation.projects import find_project
from annotation.pull import pull
from annotation.push import push
from annotation.questions import TRIAGE
from annotation.server import LocalServer, served_media
from annotation.studio import Studio
from annotation.tasks import task_json
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace, write_media
from data_manifests.records import (
    Annotation,
    Box,
    Capture,
    Consensus,
    Face,
    Photo,
    Point,
    Pose,
    Task,
)
from data_manifests.store import Store

TURNS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def add_photos(store: Store, media: Path, count: int) -> None:
    """Kept photos with a face each; all show one small proxy, since nobody looks at it."""
    encoded = io.BytesIO()
    Image.new("RGB", (680, 1024), "grey").save(encoded, "JPEG")
    proxy, _ = write_media(media, "proxies", encoded.getvalue(), ".jpg")
    names = [hashlib.sha256(f"photo {n}".encode()).hexdigest() for n in range(count)]
    points = ((1440, 1120), (1860, 1100), (1660, 1360), (1500, 1580), (1860, 1560))
    photos = [
        Photo(
            photo_id=name,
            path=f"/originals/{n}.jpg",
            state="kept",
            size_bytes=1,
            width=3400,
            height=5120,
            proxy_path=proxy,
            proxy_width=680,
            proxy_height=1024,
            capture=Capture(focal_length_35mm=85.0),
        )
        for n, name in enumerate(names)
    ]
    faces = [
        Face(
            face_id=f"{name}-0",
            photo_id=name,
            index=0,
            box=Box(left=1180, top=600, right=2120, bottom=1900),
            landmarks=tuple(Point(x=x, y=y) for x, y in points),
            pose=Pose(roll=0, yaw=0.05, pitch=0),
            score=0.97,
            finder="benchmark",
        )
        for name in names
    ]
    store.upsert(Photo, photos, why="benchmark")
    store.upsert(Face, faces, why="benchmark")


@contextlib.contextmanager
def desk(config: AnnotateConfig) -> Iterator[tuple[LocalServer, Store, Studio]]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w")
        workspace.root.mkdir()
        workspace.settings.touch()
        with (
            LocalServer(workspace, config) as server,
            Studio(server.url, server.token, media_root=str(served_media(workspace))) as studio,
        ):
            yield server, Store(workspace.tables), studio


def answer(decision: str) -> list[dict[str, Any]]:
    picked = {"choices": [decision]}
    return [
        {"from_name": "decision", "to_name": "photo", "type": "choices", "value": picked, "id": "d"}
    ]


def timed(what: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def time_push(count: int) -> None:
    config = AnnotateConfig(port=free_port())
    with desk(config) as (server, store, studio):
        media = server.workspace.media
        add_photos(store, media, count)
        ours = timed(lambda: push(store, studio, media=media, config=config))
        assert len(store.read(Task)) == count
        few = max(count // 20, 1)
        project = studio.make_project(
            "One by one", "", studio_form(studio), answers_wanted=1, suggests="authface"
        )
        photos, rows = store.read(Photo)[:few], store.read(Task)[:few]
        faces = {f.photo_id: [f] for f in store.read(Face)}
        made = [
            task_json(t, TRIAGE, image="/x", photo=p, faces=faces[p.photo_id])
            for t, p in zip(rows, photos, strict=True)
        ]

        def one_by_one() -> None:
            for task in made:
                new = studio._sdk.tasks.create(project=project, data=task["data"])
                for said in task["predictions"]:
                    studio._sdk.predictions.create(task=new.id, **said)

        theirs = timed(one_by_one) / few
    print(f"push of {count} tasks with boxes, points and tags")
    print(f"authface    {ours:8.1f} s, {1000 * ours / count:6.1f} ms a task")
    print(f"one by one  {theirs * count:8.1f} s, {1000 * theirs:6.1f} ms a task, of {few}")
    print(f"{theirs * count / ours:.1f} times faster")


def studio_form(studio: Studio) -> str:
    return str(next(iter(studio.projects().values()))["label_config"])


def time_pull(count: int) -> None:
    config = AnnotateConfig(port=free_port())
    with desk(config) as (server, store, studio):
        media = server.workspace.media
        add_photos(store, media, count)
        push(store, studio, media=media, config=config)
        project = find_project(studio, TRIAGE, config)
        assert project is not None
        tasks = [t for t in store.read(Task) if t.task_id is not None]
        for task in tasks[:200]:
            studio.submit(int(task.task_id or 0), answer("accept"), lead_time=9.0)
        whole = timed(lambda: pull(store, studio, config=config, full=True))
        changes, exports = [], []
        for turn in range(TURNS):
            time.sleep(config.overlap_s + 5)  # as when somebody pulls once in a while
            for task in tasks[20 * turn : 20 * turn + 20]:
                studio.submit(int(task.task_id or 0), answer("retouch"), lead_time=9.0)
            exports.append(timed(lambda: studio._sdk.projects.exports.as_json(project.id)))
            changes.append(timed(lambda: pull(store, studio, config=config)))
        nothing = timed(lambda: pull(store, studio, config=config))
        assert pull(store, studio, config=config, full=True).changed_rows == 0
    export, changed = statistics.median(exports), statistics.median(changes)
    print(f"{count} tasks, 20 changed, {TURNS} turns")
    print(f"full export by the SDK  {export:7.2f} s")
    print(f"pull of what changed    {changed:7.2f} s, 1/{export / changed:.0f}")
    print(f"pull of nothing         {nothing:7.2f} s")
    print(f"pull of everything      {whole:7.2f} s")


CHILD = """
import sys
from pathlib import Path
from annotation.config import AnnotateConfig
from annotation.pull import pull
from annotation.push import push
from annotation.studio import Studio
from data_manifests.store import Store
tables, media, url, token, root = sys.argv[1:]
config = AnnotateConfig(batch=20, page=200)
store = Store(Path(tables))
with Studio(url, token, media_root=root, timeout_s=30) as studio:
    push(store, studio, media=Path(media), config=config)
    pull(store, studio, config=config, media=Path(media))
"""


class Proxy:
    """Passes everything on, and drops the reply of some POSTs: the server has done them."""

    def __init__(self, target: str, drop: float, draw: random.Random) -> None:
        parts = urlsplit(target)
        self._address = (str(parts.hostname), int(parts.port or 80))
        self._drop, self._draw = drop, draw
        self.posts = self.dropped = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = self._whole(client)
            if not request:
                return
            is_post = request.startswith(b"POST")
            with socket.create_connection(self._address, timeout=120) as server:
                server.sendall(request.replace(b"onnection: keep-alive", b"onnection: close"))
                reply = b"".join(iter(lambda: server.recv(65536), b""))
            self.posts += is_post
            if is_post and self._draw.random() < self._drop:
                self.dropped += 1
                return
            client.sendall(reply.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

    @staticmethod
    def _whole(client: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part:
                return b""
            head += part
        top, body = head.split(b"\r\n\r\n", 1)
        lengths = [
            int(line.split(b":")[1])
            for line in top.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        while len(body) < (lengths[0] if lengths else 0):
            body += client.recv(65536)
        return top + b"\r\n\r\n" + body


def broken(count: int, kills: int) -> None:
    draw = random.Random(7)
    config = AnnotateConfig(port=free_port(), batch=20)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w")
        workspace.root.mkdir()
        workspace.settings.touch()
        store = Store(workspace.tables)
        add_photos(store, workspace.media, count)
        killed: Counter[str] = Counter()
        server = LocalServer(workspace, config)
        server.__enter__()
        proxy = Proxy(server.url, 0.2, draw)
        root = str(served_media(workspace))
        places = [str(workspace.tables), str(workspace.media), proxy.url, server.token, root]
        answered = 0
        while sum(killed.values()) < kills:
            answered += _answer_some(server, store, answered, root)
            whom = _kill_one(server, places, draw)
            killed.update([whom] if whom else [])
            if whom == "server":
                server.close()
                server = LocalServer(workspace, config)
                server.__enter__()
        with Studio(server.url, server.token, media_root=root) as studio:
            push(store, studio, media=workspace.media, config=config)
            pull(store, studio, config=config)
            _report(store, studio, workspace, config, count)
        print(f"killed: {dict(killed)}; POSTs {proxy.posts}, replies dropped {proxy.dropped}")
        server.close()


def _kill_one(server: LocalServer, places: list[str], draw: random.Random) -> str:
    """Push and pull in a process of their own, and kill it or the server; which one it was."""
    command = [sys.executable, "-c", CHILD, *places]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        time.sleep(draw.uniform(2.0, 12.0))
        if draw.random() < 0.2:
            os.kill(int(server.pid or 0), signal.SIGKILL)
            child.wait()
            return "server"
        if child.poll() is not None:
            return ""  # it was through already
        child.kill()
        return "client"


def _answer_some(server: LocalServer, store: Store, start: int, root: str) -> int:
    """Five people's answers between two kills."""
    ready = [t for t in store.read(Task) if t.task_id is not None][start : start + 5]
    with Studio(server.url, server.token, media_root=root) as studio:
        for number, task in enumerate(ready):
            said = "retouch" if number % 3 == 0 else "accept"
            with contextlib.suppress(RemoteError):
                studio.submit(int(task.task_id or 0), answer(said), lead_time=9.0)
    return len(ready)


def _report(
    store: Store, studio: Studio, workspace: Workspace, config: AnnotateConfig, count: int
) -> None:
    project = find_project(studio, TRIAGE, config)
    assert project is not None
    there = Counter(str(t["data"]["task_key"]) for t in studio.tasks(project.id, answers=False))
    asked = {t.task_key for t in store.read(Task) if t.kind == "triage"}
    again = pull(store, studio, config=config, full=True)
    fresh = Store(workspace.root / "fresh" / "tables")
    add_photos(fresh, workspace.media, count)
    key = workspace.root / ".annotator-key"
    (fresh.folder.parent / key.name).write_bytes(key.read_bytes())
    push(fresh, studio, media=workspace.media, config=config)
    pull(fresh, studio, config=config)
    print(f"tasks on the server {there.total()}, of {count} asked")
    print(f"doubled {sum(n - 1 for n in there.values())}, missing {len(asked - set(there))}")
    print(f"rows that a full pull changes: {again.changed_rows}; balances: {again.balances}")
    for noun in (Annotation, Consensus):
        mine, theirs = store.read(noun), fresh.read(noun)
        print(f"{noun.__name__}: {len(mine)} rows, equal to a fresh pull's: {mine == theirs}")
    state = {t.task_key: (t.state, t.task_id) for t in store.read(Task) if t.kind == "triage"}
    new = {t.task_key: (t.state, t.task_id) for t in fresh.read(Task) if t.kind == "triage"}
    print(f"Task: {len(state)} rows, equal to a fresh pull's: {state == new}")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=("push", "pull", "broken"))
    asked.add_argument("--tasks", type=int)
    asked.add_argument("--kills", type=int, default=50)
    told = asked.parse_args()
    print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds")}))
    if told.what == "push":
        time_push(told.tasks or 2000)
    elif told.what == "pull":
        time_pull(told.tasks or 2000)
    else:
        broken(told.tasks or 1000, told.kills)


if __name__ == "__main__":
    main()
