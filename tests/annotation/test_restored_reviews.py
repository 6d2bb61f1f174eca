"""A doubtful restored face on a real Label Studio: asked about, answered, read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from data_manifests.records import Box, Consensus, Photo, Retouch, Task
from data_manifests.store import file_sha256
from restore.review import Doubtful, ask_about
from restore.reviewed import reviewed, reviews_text

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk


@pytest.fixture
def doubtful(portrait: Image.Image, tmp_path: Path) -> Doubtful:
    source, target = tmp_path / "old.png", tmp_path / "restored.png"
    portrait.save(source)
    portrait.point(lambda value: value * 0.8).save(target)
    box = Box(left=120, top=70, right=210, bottom=165)
    doubt = "drift from the input 0.09, over 0.08"
    return Doubtful(
        source=source, target=target, photo_id=file_sha256(source), box=box, doubt=doubt
    )


def said(verdict: str, *reasons: str) -> list[dict[str, Any]]:
    picked = {"verdict": [verdict], "fix_reason": list(reasons)}
    return [
        {"from_name": n, "to_name": "comparison", "type": "choices", "value": {"choices": v}}
        for n, v in picked.items()
        if v
    ]


def test_an_answer_about_a_restored_face_comes_back(desk: Desk, doubtful: Doubtful) -> None:
    assert len(ask_about([doubtful], desk.store, desk.media).tasks) == 1
    assert desk.push().sent == 1
    (task,) = desk.store.read(Task)
    assert task.task_id is not None
    shown = desk.studio.tasks(int(task.project_id or 0), answers=False)[0]["data"]
    assert shown["title"] == "old.png, restored face: drift from the input 0.09, over 0.08"
    assert desk.studio.shows(shown["image"])
    desk.studio.submit(task.task_id, said("fix", "identity_changed"))
    desk.pull()
    (answer,) = reviewed(desk.store)
    assert (answer.photo_id, answer.decision) == (doubtful.photo_id, "fix")
    assert answer.name == "old.png"
    assert reviews_text([answer]) == "1 to be done again (identity_changed 1x)"
    assert desk.store.read(Consensus) == []
    assert desk.store.read(Retouch) == []


def test_it_moves_no_photo_of_the_workspace(desk: Desk, doubtful: Doubtful) -> None:
    row = Photo(photo_id=doubtful.photo_id, path=str(doubtful.source), state="kept", size_bytes=1)
    desk.store.upsert(Photo, [row], why="test")
    ask_about([doubtful], desk.store, desk.media)
    desk.push()
    (task,) = desk.store.read(Task)
    assert task.task_id is not None
    desk.studio.submit(task.task_id, said("approve"))
    desk.pull()
    assert [one.decision for one in reviewed(desk.store)] == ["approve"]
    assert desk.store.read(Consensus) == []
    again = ask_about([doubtful], desk.store, desk.media)
    assert (again.tasks, again.before) == ((), 1)  # the same picture was answered


def test_a_newer_restoration_takes_the_place_of_one_that_nobody_judged(
    desk: Desk, doubtful: Doubtful
) -> None:
    ask_about([doubtful], desk.store, desk.media)
    assert desk.push().sent == 1
    with Image.open(doubtful.source) as picture:
        picture.point(lambda value: value * 0.6).save(doubtful.target)
    assert len(ask_about([doubtful], desk.store, desk.media).tasks) == 1
    again = desk.push()
    assert (again.sent, again.withdrawn) == (1, 1)
    first, second = sorted(desk.store.read(Task), key=lambda task: task.round)
    assert (first.state, second.state) == ("deleted", "sent")
    there = desk.studio.tasks(int(second.project_id or 0), answers=False)
    assert [task["data"]["task_key"] for task in there] == [second.task_key]
    assert second.task_id is not None
    desk.studio.submit(second.task_id, said("approve"))
    desk.pull()
    with Image.open(doubtful.source) as picture:
        picture.point(lambda value: value * 0.4).save(doubtful.target)
    ask_about([doubtful], desk.store, desk.media)
    last = desk.push()
    assert (last.sent, last.withdrawn) == (1, 0)  # what somebody said stays
    assert [one.decision for one in reviewed(desk.store)] == ["approve"]
