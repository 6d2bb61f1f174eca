"""A desk for each test: tables of its own, and a project of its own on the shared server."""

from __future__ import annotations

import hashlib
import io
import shutil
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotation.config import AnnotateConfig
from annotation.projects import find_project
from annotation.pull import Pulled, pull
from annotation.push import Pushed, push
from annotation.questions import TRIAGE
from annotation.server import LocalServer, login_of, served_media
from annotation.studio import Studio
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

Result = list[dict[str, Any]]


@dataclass(frozen=True)
class Desk:
    """Tables, server and settings of one test."""

    server: LocalServer
    store: Store
    studio: Studio
    config: AnnotateConfig

    @property
    def media(self) -> Path:
        return self.server.workspace.media

    def push(self) -> Pushed:
        return push(self.store, self.studio, media=self.media, config=self.config)

    def pull(self, **options: Any) -> Pulled:
        return pull(self.store, self.studio, config=self.config, media=self.media, **options)

    def keys_on_server(self) -> Counter[str]:
        listing = self.studio.tasks(self.project(), answers=False)
        return Counter(str(t["data"]["task_key"]) for t in listing)

    def project(self) -> int:
        found = find_project(self.studio, TRIAGE, self.config)
        assert found is not None
        return found.id

    def sent(self, photo: Photo) -> int:
        task_id = self.task(photo).task_id
        assert task_id is not None
        return task_id

    def task(self, photo: Photo) -> Task:
        return next(t for t in self.store.read(Task) if t.photo_id == photo.photo_id)

    def answers(self) -> list[Annotation]:
        return self.store.read(Annotation)

    def settled(self, photo: Photo) -> Consensus:
        return next(c for c in self.store.read(Consensus) if c.photo_id == photo.photo_id)


@pytest.fixture
def desk(label_studio: LocalServer, tmp_path: Path) -> Iterator[Desk]:
    config = AnnotateConfig(project=f"T{uuid.uuid4().hex[:12]}", answers_wanted=2)
    root = str(served_media(label_studio.workspace))
    with Studio(label_studio.url, label_studio.token, media_root=root) as studio:
        yield Desk(label_studio, Store(tmp_path / "tables"), studio, config)


@pytest.fixture
def page(desk: Desk, browser: Any) -> Any:
    """A page whose person has logged in."""
    login = login_of(desk.server.workspace)
    browser.goto(f"{desk.server.url}/user/login/")
    browser.fill("input[name=email]", login["email"])
    browser.fill("input[name=password]", login["password"])
    browser.click("button[type=submit]")
    browser.wait_for_url(lambda url: "login" not in url)
    return browser


@pytest.fixture
def prepared(label_studio: LocalServer, tmp_path: Path) -> Workspace:
    """A workspace whose server starts in seconds: its database is a copy of the shared one's."""
    workspace, source = Workspace(tmp_path / "prepared"), label_studio.workspace.label_studio
    data, name = workspace.label_studio / "data", "label_studio.sqlite3"
    shutil.copytree(source / "data", data, ignore=shutil.ignore_patterns("*.sqlite3*"))
    shutil.copy2(source / "login.json", workspace.label_studio / "login.json")
    with (
        closing(sqlite3.connect(source / "data" / name)) as live,
        closing(sqlite3.connect(data / name)) as copy,
    ):
        live.backup(copy)
    workspace.settings.touch()
    return workspace


@pytest.fixture(scope="session")
def portrait() -> Image.Image:
    """The public-domain portrait that comes with scikit-image, cropped to a portrait format."""
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((60, 0, 400, 512))


@pytest.fixture
def add_photos(portrait: Image.Image) -> Callable[..., list[Photo]]:
    """Writes kept photos of 3400 x 5120 px with one face each, and proxies of 680 x 1024 px."""

    def add(store: Store, media: Path, count: int = 1, **values: Any) -> list[Photo]:
        made = [_photo(portrait, media, number, values) for number in range(count)]
        store.upsert(Photo, made, why="test")
        store.upsert(Face, [_face(p) for p in made], why="test")
        return made

    return add


def _photo(portrait: Image.Image, media: Path, number: int, values: Mapping[str, Any]) -> Photo:
    encoded = io.BytesIO()
    portrait.resize((680, 1024)).save(encoded, "JPEG", quality=90)
    proxy_path, _ = write_media(media, "proxies", encoded.getvalue(), ".jpg")
    defaults: dict[str, Any] = {
        "photo_id": hashlib.sha256(f"photo {number}".encode()).hexdigest(),
        "path": f"/originals/portrait-{number}.jpg",
        "state": "kept",
        "size_bytes": 1,
        "width": 3400,
        "height": 5120,
        "proxy_path": proxy_path,
        "proxy_width": 680,
        "proxy_height": 1024,
        "capture": Capture(focal_length_35mm=85.0),
    }
    return Photo(**(defaults | dict(values)))


def _face(photo: Photo) -> Face:
    points = ((1440, 1120), (1860, 1100), (1660, 1360), (1500, 1580), (1860, 1560))
    return Face(
        face_id=f"{photo.photo_id}-000000000000",
        photo_id=photo.photo_id,
        index=0,
        box=Box(left=1180, top=600, right=2120, bottom=1900),
        landmarks=tuple(Point(x=x, y=y) for x, y in points),
        pose=Pose(roll=0, yaw=0.05, pitch=0),
        score=0.97,
        finder="by-hand-1",
    )


def choice(name: str, *values: str) -> dict[str, Any]:
    return {
        "from_name": name,
        "to_name": "photo",
        "type": "choices",
        "value": {"choices": list(values)},
    }


@pytest.fixture
def answer() -> Callable[..., Result]:
    """An answer as the editor writes it: answer("reject", reject_reason=["noise"])."""

    def build(decision: str = "accept", **more: Sequence[str]) -> Result:
        return [choice("decision", decision), *(choice(k, *v) for k, v in more.items())]

    return build
