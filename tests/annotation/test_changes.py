"""What changed on the server, and nothing else, is read; what changed here is renewed there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotation.pull import pull
from annotation.push import push
from annotation.watching import watch
from data_manifests.consent import grant
from data_manifests.errors import InputError, RemoteError
from data_manifests.records import Annotation, Consensus, Consent, Face, Photo, Sample, Task
from data_manifests.store import Store

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def narrow(desk: Desk) -> Desk:
    """A desk whose pulls look no second further back than they must."""
    return replace(desk, config=desk.config.model_copy(update={"overlap_s": 0.0}))


def tables(desk: Desk) -> list[list[Any]]:
    return [desk.store.read(noun) for noun in (Task, Annotation, Consensus)]


def test_a_pull_reads_what_changed_and_ends_as_a_full_one_does(
    narrow: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    photos = add_photos(narrow.store, narrow.media, 6)
    narrow.push()
    assert narrow.pull().read == 6
    narrow.studio.submit(narrow.sent(photos[2]), answer("retouch"), lead_time=9.0)
    pulled = narrow.pull()
    assert (pulled.read, pulled.labelled, pulled.waiting) == (1, 1, 5)
    assert pulled.balances
    standing, versions = tables(narrow), narrow.store.versions()
    full = narrow.pull(full=True)
    assert (full.read, full.changed_rows) == (6, 0)
    assert tables(narrow) == standing
    assert narrow.store.versions() == versions


def test_an_edit_and_a_deleted_answer_are_changes(
    narrow: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    photos = add_photos(narrow.store, narrow.media, 3)
    narrow.push()
    first, second = (
        narrow.studio.submit(narrow.sent(p), answer("accept"), lead_time=9.0) for p in photos[:2]
    )
    narrow.pull()
    narrow.studio._sdk.annotations.update(id=first, result=answer("retouch"))
    narrow.studio._sdk.annotations.delete(id=second)
    pulled = narrow.pull()
    assert (pulled.read, pulled.labelled, pulled.waiting) == (2, 1, 2)
    assert narrow.settled(photos[0]).decision == "retouch"
    assert narrow.settled(photos[1]).voters == 0


def test_a_deleted_task_is_noticed_though_nobody_tells(narrow: Desk, add_photos: AddPhotos) -> None:
    photos = add_photos(narrow.store, narrow.media, 4)
    narrow.push()
    narrow.pull()
    narrow.studio.drop_task(narrow.sent(photos[1]))
    pulled = narrow.pull()
    assert (pulled.read, pulled.deleted, pulled.waiting) == (3, 1, 3)
    assert (narrow.pull().read, narrow.pull().deleted) == (0, 1)


def test_tasks_found_on_the_server_hide_no_answer_that_was_not_read(
    narrow: Desk, add_photos: AddPhotos, answer: Answer, tmp_path: Path
) -> None:
    """A push notes what it finds there; an answer that is older than that is still to be read."""
    photos = add_photos(narrow.store, narrow.media, 2)
    narrow.push()
    narrow.studio.submit(narrow.sent(photos[0]), answer("retouch"), lead_time=9.0)
    narrow.studio.change_task(narrow.sent(photos[1]), {**_data(narrow, photos[1])}, None)
    lost = replace(narrow, store=Store(tmp_path / "other" / "tables"))
    add_photos(lost.store, lost.media, 2)
    assert lost.push().adopted == 2
    pulled = lost.pull()
    assert (pulled.labelled, pulled.waiting) == (1, 1)
    assert lost.pull(full=True).changed_rows == 0


def _data(desk: Desk, photo: Photo) -> dict[str, Any]:
    listed = desk.studio.tasks(desk.project(), answers=False)
    return dict(next(t["data"] for t in listed if t["id"] == desk.sent(photo)))


def test_a_task_that_was_imported_anew_keeps_its_place(
    narrow: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(narrow.store, narrow.media)
    narrow.push()
    narrow.pull()
    (there,) = narrow.studio.tasks(narrow.project())
    (again,) = narrow.studio.add_tasks(narrow.project(), [{"data": there["data"]}])
    narrow.studio.drop_task(narrow.sent(photo))
    narrow.studio.submit(again, answer("accept"), lead_time=9.0)
    pulled = narrow.pull()
    assert (pulled.labelled, pulled.deleted) == (1, 0)
    assert narrow.sent(photo) == again


def test_a_person_who_answers_two_copies_votes_once(
    narrow: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(narrow.store, narrow.media)
    narrow.push()
    (there,) = narrow.studio.tasks(narrow.project())
    (copy,) = narrow.studio.add_tasks(narrow.project(), [{"data": there["data"]}])
    narrow.studio.submit(narrow.sent(photo), answer("accept"), lead_time=9.0)
    narrow.studio.submit(copy, answer("reject", reject_reason=["noise"]), lead_time=9.0)
    narrow.pull()
    assert (narrow.settled(photo).voters, narrow.settled(photo).decision) == (1, "reject")


def test_samples_of_an_answer_that_changed_are_told_and_stay(
    narrow: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(narrow.store, narrow.media)
    narrow.push()
    made = narrow.studio.submit(narrow.sent(photo), answer("accept"), lead_time=9.0)
    narrow.pull()
    (row,) = narrow.answers()
    assert row.updated_at is not None
    sample = Sample(
        sample_id="s",
        photo_id=photo.photo_id,
        face_id="f",
        annotation_ids=(row.annotation_id,),
        annotation_versions=(row.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),),
        crop_path="c",
        crop_sha256="c",
        width=1,
        height=1,
        caption="c",
        native_width=1,
        native_height=1,
        split="train",
        consent_id="c",
    )
    narrow.store.upsert(Sample, [sample], why="test")
    assert narrow.pull(full=True).stale_samples == 0
    narrow.studio._sdk.annotations.update(id=made, result=answer("retouch"))
    assert narrow.pull().stale_samples == 1
    assert narrow.store.read(Sample) == [sample]


def test_a_waiting_question_is_renewed_in_place_and_an_answered_one_is_left(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    waiting, answered = add_photos(desk.store, desk.media, 2)
    desk.push()
    assert desk.push().changed == 0
    desk.studio.submit(desk.sent(answered), answer(), lead_time=9.0)
    desk.pull()
    ids = {desk.sent(waiting), desk.sent(answered)}
    faces = desk.store.read(Face)
    moved = [replace(f, box=replace(f.box, left=f.box.left + 340)) for f in faces]
    desk.store.upsert(Face, moved, why="found otherwise")
    assert desk.push().changed == 1
    there = {t["id"]: t for t in desk.studio.tasks(desk.project())}
    assert there.keys() == ids

    def left_of(photo: Photo) -> float:
        (said,) = there[desk.sent(photo)]["predictions"]
        result = said["result"] if isinstance(said, dict) else said.dict()["result"]
        return float(next(r["value"]["x"] for r in result if r["type"] == "rectanglelabels"))

    assert left_of(waiting) == pytest.approx(left_of(answered) + 10, abs=0.01)
    assert desk.push().changed == 0


def test_a_dry_run_counts_and_changes_nothing(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media, 2)
    before = desk.store.versions()
    dry = push(desk.store, desk.studio, media=desk.media, config=desk.config, dry_run=True)
    assert (dry.sent, dry.projects) == (2, ())
    assert desk.store.versions() == before
    assert desk.push().sent == 2
    add_photos(desk.store, desk.media, 3)
    dry = push(desk.store, desk.studio, media=desk.media, config=desk.config, dry_run=True)
    assert (dry.sent, dry.already) == (1, 2)
    assert len(desk.studio.tasks(desk.project())) == 2


def test_who_did_not_consent_to_being_looked_at_is_not_asked_about(
    desk: Desk, add_photos: AddPhotos
) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    for name, purposes in (("all", ("annotation", "training")), ("some", ("training",))):
        grant(
            desk.store,
            Consent(consent_id=name, purposes=purposes, basis="release", valid_from=since),
        )
    (refused,) = add_photos(desk.store, desk.media, 1, consent_id="some")
    with pytest.raises(InputError, match="consents speak against 1 photos"):
        desk.push()
    photos = add_photos(desk.store, desk.media, 3)
    ids = ("some", "all", None)
    rows = [replace(p, consent_id=c) for p, c in zip(photos, ids, strict=True)]
    assert rows[0] == refused
    desk.store.upsert(Photo, rows, why="test")
    pushed = desk.push()
    assert (pushed.sent, dict(pushed.refused)) == (2, {"consent_other_purpose": 1})


def test_a_watch_is_woken_by_an_answer(desk: Desk, add_photos: AddPhotos, answer: Answer) -> None:
    """The shared server may call loopback; nothing else is due for a minute."""
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    config = desk.config.model_copy(update={"webhooks": True})
    looks = watch(desk.store, desk.studio, config=config, every_s=60, calm_s=0.1)
    first = next(looks)
    assert not isinstance(first, RemoteError), first
    desk.studio.submit(desk.sent(photo), answer(), lead_time=9.0)
    second = next(looks)
    assert not isinstance(second, RemoteError)
    assert second.labelled == 1
    looks.close()
    asked = {"project": desk.project()}
    assert desk.studio._ask("GET", "/api/webhooks/", "listing", params=asked).json() == []


def test_a_watch_goes_on_when_the_server_is_away(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media)
    desk.push()
    lost = type(desk.studio)("http://127.0.0.1:9", desk.server.token)
    looks = watch(desk.store, lost, config=desk.config, every_s=0.1)
    assert [type(next(looks)) for _ in range(2)] == [RemoteError, RemoteError]
    looks.close()
    assert pull(desk.store, desk.studio, config=desk.config).waiting == 1


def test_the_most_unsure_photo_is_asked_about_first(desk: Desk, add_photos: AddPhotos) -> None:
    sure, unsure, middling = add_photos(desk.store, desk.media, 3)
    scores = {sure.photo_id: 0.99, unsure.photo_id: 0.31, middling.photo_id: 0.7}
    faces = [replace(f, score=scores[f.photo_id]) for f in desk.store.read(Face)]
    desk.store.upsert(Face, faces, why="test")
    desk.push()
    asked = []
    for _ in range(3):
        path = f"/api/projects/{desk.project()}/next"
        task = desk.studio._ask("GET", path, "asking for a task").json()
        asked.append(task["data"]["photo_id"])
        desk.studio.submit(task["id"], [], lead_time=9.0)
    assert asked == [unsure.photo_id, middling.photo_id, sure.photo_id]
