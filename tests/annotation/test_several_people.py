"""Several people: each sees their own project only, what they disagree on goes to one more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from data_manifests.records import Photo, Task

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def blind(desk: Desk) -> Desk:
    """Two desks that see every photo; each project wants one answer."""
    config = desk.config.model_copy(
        update={"desks": ("north", "south"), "overlap": 2, "answers_wanted": 1}
    )
    return replace(desk, config=config)


def rows(desk: Desk, photo: Photo) -> dict[str, Task]:
    """The photo's tasks by desk."""
    return {t.desk: t for t in desk.store.read(Task) if t.photo_id == photo.photo_id}


def number(task: Task) -> int:
    assert task.task_id is not None
    return task.task_id


def test_blind_desks_agree_or_somebody_else_decides(
    blind: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    agreed, disputed = add_photos(blind.store, blind.media, 2)
    pushed = blind.push()
    assert (pushed.sent, [p.title for p in pushed.projects]) == (
        4,
        ["triage, north", "triage, south"],
    )
    assert blind.push().sent == 0
    second = str(blind.server.add_person("second@authface.local"))
    for photo, said in ((agreed, "accept"), (disputed, "reject")):
        asked = rows(blind, photo)
        reason = {"reject_reason": ["noise"]} if said == "reject" else {}
        blind.studio.submit(number(asked["north"]), answer("accept"), lead_time=9.0)
        blind.studio.submit(
            number(asked["south"]), answer(said, **reason), token=second, lead_time=9.0
        )
    pulled = blind.pull()
    assert pulled.balances
    assert (pulled.labelled, pulled.conflicts) == (4, 1)
    assert (blind.settled(agreed).decision, blind.settled(agreed).voters) == ("accept", 2)

    third = blind.push()
    assert (third.sent, third.projects[0].title) == (1, "triage")
    question = rows(blind, disputed)[""]
    assert question.round == 2
    assert "decision (accept or reject)" in question.note
    assert question.note.endswith("for somebody who did not vote on it")
    assert blind.push().sent == 0
    third_person = str(blind.server.add_person("third@authface.local"))
    blind.studio.submit(number(question), answer("retouch"), token=third_person, lead_time=9.0)
    pulled = blind.pull()
    assert (pulled.labelled, pulled.conflicts, pulled.own_conflicts) == (5, 0, 0)
    settled = blind.settled(disputed)
    assert (settled.decision, settled.adjudicated) == ("retouch", True)
    after = blind.push()
    assert after.sent == 1
    assert {t.kind for t in blind.store.read(Task) if t.state == "sent"} == {"retouch"}


def test_a_voter_does_not_settle_their_own_conflict(
    blind: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(blind.store, blind.media)
    blind.push()
    asked = rows(blind, photo)
    second = str(blind.server.add_person("own-second@authface.local"))
    third = str(blind.server.add_person("own-third@authface.local"))
    blind.studio.submit(number(asked["north"]), answer("accept"), lead_time=9.0)
    vote = blind.studio.submit(
        number(asked["south"]), answer("retouch"), token=second, lead_time=9.0
    )
    blind.pull()
    assert blind.push().sent == 1
    own = rows(blind, photo)[""]
    blind.studio.submit(number(own), answer("retouch"), token=second, lead_time=9.0)
    pulled = blind.pull()
    assert (pulled.set_aside, pulled.conflicts, pulled.own_conflicts) == (1, 1, 1)
    assert blind.pull().changed_rows == 0

    assert blind.push().sent == 1
    again = next(t for t in blind.store.read(Task) if t.round == 3)
    blind.studio.submit(number(again), answer("reject", reject_reason=["noise"]), token=third)
    pulled = blind.pull()
    assert (pulled.balances, pulled.conflicts) == (True, 0)
    assert (blind.settled(photo).decision, blind.settled(photo).adjudicated) == ("reject", True)

    # Without their vote they are nobody's rival any more, and what they judged is as good as any.
    blind.studio._sdk.annotations.delete(id=vote)
    blind.pull()
    (revived,) = [t for t in blind.store.read(Task) if t.task_key == own.task_key]
    assert revived.state == "labelled"


def test_who_sits_at_two_desks_has_one_vote(
    blind: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(blind.store, blind.media)
    blind.push()
    asked = rows(blind, photo)
    blind.studio.submit(number(asked["north"]), answer("accept"), lead_time=9.0)
    blind.pull()
    later = blind.studio.submit(number(asked["south"]), answer("retouch"), lead_time=9.0)
    blind.pull()
    assert (blind.settled(photo).voters, blind.settled(photo).decision) == (1, "retouch")
    blind.studio._sdk.annotations.delete(id=later)
    blind.pull()
    assert (blind.settled(photo).voters, blind.settled(photo).decision) == (1, "accept")
