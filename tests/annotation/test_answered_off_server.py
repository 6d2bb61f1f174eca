"""Push and pull beside answers from files: nobody is asked what is answered, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from annotation.answered import off_the_server
from annotation.imported import settle_all
from annotation.ledger import person
from annotation.taken import Settling, take
from data_manifests.records import Annotation, Photo, Task
from tests.annotation.test_answered import NOW

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def one(desk: Desk) -> Desk:
    """A desk whose questions want one answer."""
    return replace(desk, config=desk.config.model_copy(update={"answers_wanted": 1}))


def by_csv(desk: Desk, photo: Photo, decision: str = "accept", **more: Any) -> Annotation:
    who = person(desk.store, "Anna Berg")
    values: dict[str, Any] = {
        "annotation_id": f"csv:{who}:{photo.photo_id}",
        "task_key": f"{photo.photo_id}:triage:1",
        "photo_id": photo.photo_id,
        "annotator": who,
        "state": "counted",
        "decision": decision,
        "raw": "{}",
        "source": "csv",
        "created_at": NOW,
        "updated_at": NOW,
    }
    row = Annotation(**(values | more))
    take(desk.store, [row], how=Settling(settle_all), why="test")
    return row


def test_what_was_answered_in_a_file_leaves_the_server_and_never_comes_back(
    one: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    told, open_ = add_photos(one.store, one.media, 2)
    one.push()
    one.pull()
    by_csv(one, told)
    pulled = one.pull()
    assert (pulled.balances, pulled.labelled, pulled.waiting) == (True, 1, 1)
    pushed = one.push()
    assert (pushed.sent, pushed.withdrawn) == (0, 1)
    assert one.keys_on_server() == Counter([f"{open_.photo_id}:triage:1"])
    assert (one.push().withdrawn, one.push().sent) == (0, 0)
    one.studio.submit(one.sent(open_), answer("accept"), lead_time=9.0)
    pulled = one.pull()
    assert (pulled.balances, pulled.sent, pulled.labelled, pulled.deleted) == (True, 1, 1, 0)
    assert {t.state for t in one.store.read(Task)} == {"labelled"}


def test_a_photo_answered_before_it_was_asked_about_is_not_sent(
    one: Desk, add_photos: AddPhotos
) -> None:
    told, _ = add_photos(one.store, one.media, 2)
    row = by_csv(one, told)
    assert (one.push().sent, one.task(told).state) == (1, "labelled")
    take(one.store, [], how=Settling(settle_all), why="t", withdrawn=[row.annotation_id])
    assert one.task(told).state == "waiting"
    assert (one.push().sent, one.push().sent) == (1, 0)
    assert set(one.keys_on_server().values()) == {1}


def test_a_push_killed_while_it_takes_a_question_off_is_made_good_by_the_next(
    one: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    noted, answered = add_photos(one.store, one.media, 2)
    one.push()
    tasks = {p.photo_id: one.task(p) for p in (noted, answered)}
    for photo in (noted, answered):
        by_csv(one, photo)
    off = [off_the_server(one.task(p)) for p in (noted, answered)]
    one.store.upsert(Task, off, why="a push that was killed before it deleted anything")
    number = tasks[answered.photo_id].task_id
    assert number is not None
    late = one.studio.submit(number, answer("accept"), lead_time=9.0)
    pulled = one.pull()
    assert (pulled.balances, pulled.sent, pulled.labelled) == (True, 1, 1)
    assert any(a.annotation_id.endswith(f":{late}") for a in one.answers())  # it is not lost
    assert one.push().withdrawn == 1
    assert one.keys_on_server() == Counter([f"{answered.photo_id}:triage:1"])
    assert one.pull().balances


def test_what_somebody_has_begun_stays_on_the_server(
    one: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(one.store, one.media)
    one.push()
    second = str(one.server.add_person("drafting@authface.local"))
    reply = httpx.post(
        f"{one.studio.url}/api/tasks/{one.sent(photo)}/drafts",
        headers={"Authorization": f"Token {second}"},
        json={"result": answer("accept"), "lead_time": 1},
        trust_env=False,
    )
    assert reply.is_success
    by_csv(one, photo)
    assert one.push().withdrawn == 0
    assert one.keys_on_server() == Counter([f"{photo.photo_id}:triage:1"])
    assert (one.task(photo).state, one.task(photo).task_id is None) == ("labelled", False)
    assert one.pull().balances


def test_a_desk_is_relieved_and_the_other_is_asked_all_the_same(
    one: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    blind = replace(
        one, config=one.config.model_copy(update={"desks": ("north", "south"), "overlap": 2})
    )
    (photo,) = add_photos(blind.store, blind.media)
    blind.push()
    by_csv(blind, photo, "accept")
    assert blind.push().withdrawn == 1
    (left,) = [t for t in blind.store.read(Task) if t.state == "sent"]
    assert left.task_id is not None
    blind.studio.submit(left.task_id, answer("reject", reject_reason=["noise"]), lead_time=9.0)
    pulled = blind.pull()
    assert (pulled.balances, pulled.conflicts) == (True, 1)
    assert (blind.push().sent, blind.push().sent) == (1, 0)  # to one more person
    assert blind.settled(photo).voters == 2
