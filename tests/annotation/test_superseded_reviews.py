"""Reviews of returned files that newer files took the place of, on a real Label Studio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from annotation.comparison import superseded
from annotation.projects import find_project
from annotation.push import Pushed, push
from annotation.questions import REVIEW
from data_manifests.records import Photo, Retouch, Task

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]


def came_back(photo: Photo, number: int) -> Retouch:
    return Retouch(
        retouch_id=f"{number}" * 64,
        photo_id=photo.photo_id,
        path=f"retouches/{number}.tif",
        match_method="id",
        match_score=1.0,
        round=number,
        state="waiting",
    )


def review(retouch: Retouch, photo: Photo) -> Task:
    return Task(
        task_key=f"{photo.photo_id}:review:{retouch.round}",
        photo_id=photo.photo_id,
        kind="review",
        round=retouch.round,
        state="waiting",
        image_path=str(photo.proxy_path),
        image_width=680,
        image_height=1024,
        retouch_id=retouch.retouch_id,
    )


def ask(desk: Desk, photo: Photo) -> Retouch:
    """The first file that came back, its review sent."""
    first = came_back(photo, 1)
    desk.store.upsert(Retouch, [first], why="test")
    desk.store.upsert(Task, [review(first, photo)], why="test")
    assert desk.push().sent == 2  # the photo's triage too
    return first


def supersede(desk: Desk, first: Retouch, photo: Photo) -> None:
    """A second file comes back, as a take-back notes it."""
    second = came_back(photo, 2)
    gone, tasks = superseded(first, second, desk.store.read(Task))
    desk.store.upsert(Retouch, [gone, second], why="test")
    desk.store.upsert(Task, [*tasks, review(second, photo)], why="test")


def on_server(desk: Desk) -> dict[str, int]:
    """Reviews that the server lists: task id by task key."""
    project = find_project(desk.studio, REVIEW, desk.config)
    assert project is not None
    listed = desk.studio.tasks(project.id, answers=False)
    return {str(t["data"]["task_key"]): int(t["id"]) for t in listed}


def states(desk: Desk) -> dict[int, str]:
    return {t.round: t.state for t in desk.store.read(Task) if t.kind == "review"}


def test_an_unanswered_review_of_a_superseded_file_is_taken_off_the_server(
    desk: Desk, add_photos: AddPhotos
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    supersede(desk, ask(desk, photo), photo)
    dry = dry_run(desk)
    assert (dry.withdrawn, len(on_server(desk)), states(desk)[1]) == (1, 1, "sent")
    pushed = desk.push()
    assert (pushed.withdrawn, pushed.sent) == (1, 1)
    assert set(on_server(desk)) == {f"{photo.photo_id}:review:2"}
    assert states(desk) == {1: "deleted", 2: "sent"}
    again = desk.push()
    assert (again.withdrawn, again.sent, again.already) == (0, 0, 2)
    desk.pull()
    assert states(desk) == {1: "deleted", 2: "sent"}


def test_a_review_that_somebody_has_begun_stays_on_the_server(
    desk: Desk, add_photos: AddPhotos
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    first = ask(desk, photo)
    (number,) = on_server(desk).values()
    second = str(desk.server.add_person("begun-review@authface.local"))
    reply = httpx.post(
        f"{desk.studio.url}/api/tasks/{number}/drafts",
        headers={"Authorization": f"Token {second}"},
        json={"result": [], "lead_time": 1},
        trust_env=False,
    )
    assert reply.is_success
    supersede(desk, first, photo)
    assert desk.push().withdrawn == 0
    assert len(on_server(desk)) == 2
    assert states(desk) == {1: "sent", 2: "sent"}
    assert desk.pull().balances


def dry_run(desk: Desk) -> Pushed:
    return push(desk.store, desk.studio, media=desk.media, config=desk.config, dry_run=True)


def test_an_answered_review_of_a_superseded_file_is_kept(desk: Desk, add_photos: AddPhotos) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    first = ask(desk, photo)
    verdict = {
        "from_name": "verdict",
        "to_name": "photo",
        "type": "choices",
        "value": {"choices": ["approve"]},
    }
    desk.studio.submit(on_server(desk)[f"{photo.photo_id}:review:1"], [verdict])
    supersede(desk, first, photo)
    assert desk.push().withdrawn == 0
    assert len(on_server(desk)) == 2
    desk.pull()
    assert states(desk) == {1: "labelled", 2: "sent"}
    assert {r.round: r.state for r in desk.store.read(Retouch)} == {1: "superseded", 2: "waiting"}


def test_a_superseded_review_that_lies_on_another_server_is_not_sent_to_this_one(
    desk: Desk, add_photos: AddPhotos
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    first = came_back(photo, 1)
    elsewhere = replace(
        review(first, photo), state="sent", server="another", project_id=1, task_id=1
    )
    desk.store.upsert(Retouch, [first], why="test")
    desk.store.upsert(Task, [elsewhere], why="test")
    supersede(desk, first, photo)
    pushed = desk.push()
    assert (pushed.sent, pushed.withdrawn) == (2, 0)  # its triage and the newer review
    assert set(on_server(desk)) == {f"{photo.photo_id}:review:2"}
    row = next(t for t in desk.store.read(Task) if t.retouch_id == first.retouch_id)
    assert (row.state, row.server, row.task_id) == ("sent", "another", 1)


def test_a_copy_that_a_killed_push_left_on_the_server_is_taken_off_too(
    desk: Desk, add_photos: AddPhotos
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    first = ask(desk, photo)
    unnoted = review(first, photo)  # sent, and the push did not live to note it
    desk.store.upsert(Task, [unnoted], why="test")
    supersede(desk, first, photo)
    assert states(desk) == {1: "deleted", 2: "waiting"}
    desk.push()
    assert set(on_server(desk)) == {f"{photo.photo_id}:review:2"}
