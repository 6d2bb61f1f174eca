"""Push and pull against a real Label Studio, answered by two real people of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotation.begun import begun_in, left_lying, of_whom
from annotation.ledger import naming
from annotation.projects import ensure_project, find_project
from annotation.push import push
from annotation.questions import REVIEW, TRIAGE
from data_manifests.errors import InputError, RemoteError
from data_manifests.media import write_media
from data_manifests.records import Annotation, Consensus, Photo, Task
from data_manifests.store import Store

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def second(desk: Desk) -> str:
    """Token of a second real person of the server."""
    return str(desk.server.add_person("second@authface.local"))


def test_nothing_kept_is_nothing_to_ask(desk: Desk) -> None:
    with pytest.raises(InputError, match="authface ingest"):
        desk.push()


def test_a_second_push_adds_nothing(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media, 5)
    first, again = desk.push(), desk.push()
    assert (first.sent, first.already) == (5, 0)
    assert (again.sent, again.already, again.projects) == (0, 5, first.projects)
    assert desk.keys_on_server() == Counter(t.task_key for t in desk.store.read(Task))


def test_new_photos_join_the_same_project(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media, 2)
    first = desk.push()
    add_photos(desk.store, desk.media, 3)
    second = desk.push()
    assert (second.sent, second.already) == (1, 2)
    assert second.projects == first.projects


def test_the_ledger_knows_where_each_task_stands(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media, 3)
    desk.push()
    project = desk.project()
    there = {t["data"]["task_key"]: t["id"] for t in desk.studio.tasks(project)}
    rows = desk.store.read(Task)
    assert {t.task_key: t.task_id for t in rows} == there
    assert {(t.state, t.project_id, t.server) for t in rows} == {
        ("sent", project, desk.studio.identity)
    }


def test_a_task_whose_picture_is_missing_waits_and_is_told(
    desk: Desk, add_photos: AddPhotos
) -> None:
    photos = add_photos(desk.store, desk.media, 2)
    lost = replace(photos[0], proxy_path="proxies/00/lost.jpg")
    desk.store.upsert(Photo, [lost], why="test")
    pushed = desk.push()
    assert (pushed.sent, pushed.missing) == (1, (f"{lost.photo_id}:triage:1",))
    assert desk.task(lost).state == "waiting"


def test_a_changed_form_is_renewed_in_place(desk: Desk) -> None:
    project = ensure_project(desk.studio, TRIAGE, desk.config)
    other = replace(TRIAGE, questions=TRIAGE.questions[:-1])
    assert ensure_project(desk.studio, other, desk.config) == project
    form = desk.studio.projects()[project.id]["label_config"]
    assert "KeyPointLabels" not in form


def test_the_demo_s_five_answers_are_merged(
    desk: Desk, add_photos: AddPhotos, answer: Answer, second: str
) -> None:
    """Accept, retouch, reject, skip and disagreement; a second pull changes no row."""
    accepted, retouched, rejected, skipped, disputed, waiting = add_photos(
        desk.store, desk.media, 6
    )
    desk.push()

    def submit(photo: Photo, result: list[dict[str, Any]], **more: Any) -> None:
        desk.studio.submit(desk.sent(photo), result, lead_time=4.0, **more)

    submit(accepted, answer("accept", hair=["short_hair"], facial_detail=["mole", "freckles"]))
    submit(accepted, answer("accept", hair=["short_hair"]), token=second)
    submit(retouched, answer("retouch"), token=second)
    submit(rejected, answer("reject", reject_reason=["noise"]))
    submit(skipped, answer("accept"), cancelled=True)
    submit(disputed, answer("accept"))
    submit(disputed, answer("reject", reject_reason=["soft_focus"]), token=second)

    pulled = desk.pull()
    assert pulled.balances
    assert (pulled.sent, pulled.labelled, pulled.skipped, pulled.waiting) == (6, 4, 1, 1)
    assert (pulled.answers, pulled.conflicts) == (6, 1)
    assert desk.settled(accepted).decision == "accept"
    assert desk.settled(accepted).semantic_tags == ("hair/short_hair",)
    assert desk.settled(retouched).decision == "retouch"
    assert desk.settled(rejected).reasons == ("noise",)
    assert (desk.settled(skipped).decision, desk.settled(skipped).voters) == (None, 0)
    assert (desk.settled(disputed).decision, desk.settled(disputed).conflict) == (None, True)
    assert waiting.photo_id not in {c.photo_id for c in desk.store.read(Consensus)}

    before = desk.store.versions()
    assert desk.pull().changed_rows == 0
    assert desk.store.versions() == before


def test_people_appear_by_pseudonym_only(
    desk: Desk, add_photos: AddPhotos, answer: Answer, second: str
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    task_id = desk.sent(photo)
    desk.studio.submit(task_id, answer())
    desk.studio.submit(task_id, answer(), token=second)
    desk.pull()
    people = {a.annotator for a in desk.answers()}
    assert len(people) == 2
    assert not any("@" in str(a) for a in desk.answers())
    key = desk.store.folder.parent / ".annotator-key"
    assert key.stat().st_mode & 0o077 == 0


def test_regions_come_back_in_photo_pixels(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    (sent,) = desk.studio.tasks(desk.project())
    suggested = sent["predictions"][0]
    result = suggested["result"] if isinstance(suggested, dict) else suggested.dict()["result"]
    desk.studio.submit(desk.sent(photo), [*result, *answer()])
    desk.pull()
    (row,) = desk.answers()
    box = next(r.box for r in row.regions if r.box)
    nose = next(r.point for r in row.regions if r.label == "nose" and r.point)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx(
        (1180, 600, 2120, 1900), abs=0.01
    )
    assert (nose.x, nose.y) == pytest.approx((1660, 1360), abs=0.01)
    assert row.photographic_tags == ("view/frontal_view", "focal_length/short_telephoto")


@pytest.mark.parametrize(
    ("rule", "extra"),
    [
        ("unknown_choice", {"hair": ["purple"]}),
        ("missing_required", {"decision": None}),
    ],
)
def test_what_the_server_takes_in_silence_is_set_aside(
    desk: Desk, add_photos: AddPhotos, answer: Answer, rule: str, extra: dict[str, Any]
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    result = [] if "decision" in extra else answer("accept", **extra)
    desk.studio.submit(desk.sent(photo), result)
    pulled = desk.pull()
    assert (pulled.set_aside, pulled.labelled) == (1, 0)
    (row,) = desk.answers()
    assert (row.state, row.flags, json.loads(row.raw)) == ("set_aside", (rule,), result)
    assert desk.settled(photo).voters == 0


def test_an_edit_a_deletion_and_a_second_answer_are_seen(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    task_id = desk.sent(photo)
    first = desk.studio.submit(task_id, answer("accept"))
    desk.pull()
    assert desk.settled(photo).decision == "accept"

    desk.studio.submit(task_id, answer("retouch"))
    desk.pull()
    assert (desk.settled(photo).decision, desk.settled(photo).voters) == ("retouch", 1)
    assert Counter(a.state for a in desk.answers()) == {"counted": 1, "set_aside": 1}

    sdk = desk.studio._sdk
    sdk.annotations.delete(id=first)
    desk.pull()
    assert Counter(a.state for a in desk.answers()) == {"counted": 1, "deleted": 1}
    (left,) = [a for a in desk.answers() if a.state == "counted"]
    sdk.annotations.update(id=int(left.annotation_id.split(":")[1]), result=answer("accept"))
    desk.pull()
    assert desk.settled(photo).decision == "accept"


def test_a_draft_is_counted_and_never_merged(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    import httpx

    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    reply = httpx.post(
        f"{desk.studio.url}/api/tasks/{desk.sent(photo)}/drafts",
        headers={"Authorization": f"Token {desk.server.add_person('begun@authface.local')}"},
        json={"result": answer("accept"), "lead_time": 1},
        trust_env=False,
    )
    assert reply.is_success
    pulled = desk.pull()  # not by the one who began
    assert (pulled.drafts, pulled.old_drafts, pulled.waiting, pulled.answers) == (1, 0, 1, 0)
    assert desk.answers() == []
    drafts, emails = begun_in(desk.studio, [desk.project()]), desk.studio.emails()
    user = next(n for n, email in emails.items() if email == "begun@authface.local")
    name = naming(desk.store, desk.studio.identity)
    assert of_whom(drafts, emails, name) == {name(user): 1}
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=1)
    assert left_lying(drafts, tomorrow) == 1


def test_a_deleted_task_is_told_kept_and_not_asked_again(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    gone, left = add_photos(desk.store, desk.media, 2)
    desk.push()
    desk.studio.submit(desk.sent(gone), answer("accept"))
    desk.pull()
    desk.studio.drop_task(desk.sent(gone))
    pulled = desk.pull()
    assert pulled.balances
    assert (pulled.deleted, pulled.waiting) == (1, 1)
    assert [a.state for a in desk.answers()] == ["deleted"]
    assert "accept" in desk.answers()[0].raw
    assert desk.settled(gone).voters == 0
    assert desk.push().sent == 0
    assert desk.task(left).state == "sent"


def test_a_landslide_of_deletions_stops_the_pull_unless_it_is_wanted(
    desk: Desk, add_photos: AddPhotos
) -> None:
    photos = add_photos(desk.store, desk.media, 8)
    desk.push()
    for photo in photos[:6]:
        desk.studio.drop_task(desk.sent(photo))
    before = desk.store.versions()
    with pytest.raises(RemoteError, match="6 of 8 tasks are gone"):
        desk.pull()
    assert desk.store.versions() == before
    assert desk.pull(accept_deletions=True).deleted == 6
    assert desk.pull().changed_rows == 0


def test_unanswered_copies_are_removed_and_answered_ones_merged(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    (there,) = desk.studio.tasks(desk.project())
    copy, spare = desk.studio.add_tasks(desk.project(), [{"data": there["data"]}] * 2)
    desk.studio.submit(copy, answer("retouch"))
    assert desk.push().copies_removed == 2
    assert [t["id"] for t in desk.studio.tasks(desk.project())] == [copy]
    assert spare != copy
    desk.pull()
    assert desk.settled(photo).decision == "retouch"


def test_tasks_of_others_in_the_project_are_left_alone(desk: Desk, add_photos: AddPhotos) -> None:
    add_photos(desk.store, desk.media)
    desk.push()
    project = desk.project()
    desk.studio.add_tasks(
        project, [{"data": {"image": "/x", "title": "t", "caption_draft": ""}}] * 2
    )
    pulled = desk.pull()
    assert (pulled.sent, pulled.foreign) == (1, 2)
    desk.push()
    assert len(desk.studio.tasks(project)) == 3


def test_review_tasks_that_wait_are_sent_and_answered(desk: Desk, portrait: Any) -> None:
    import io

    encoded = io.BytesIO()
    portrait.resize((900, 300)).save(encoded, "PNG")
    path, _ = write_media(desk.media, "reviews", encoded.getvalue(), ".png")
    waiting = Task(
        task_key="r1:review:1",
        photo_id="r1",
        kind="review",
        state="waiting",
        image_path=path,
        image_width=900,
        image_height=300,
        note="the face moved by 4 px",
    )
    desk.store.upsert(Task, [waiting], why="test")
    pushed = desk.push()
    assert [(p.kind, pushed.sent) for p in pushed.projects] == [("review", 1)]
    (task,) = desk.store.read(Task)
    fix = [
        {"from_name": n, "to_name": "comparison", "type": "choices", "value": {"choices": [v]}}
        for n, v in (("verdict", "fix"), ("fix_reason", "identity_changed"))
    ]
    assert task.task_id is not None
    desk.studio.submit(task.task_id, fix)
    desk.pull()
    (row,) = desk.answers()
    assert (row.decision, row.reasons, row.state) == ("fix", ("identity_changed",), "counted")
    assert desk.store.read(Consensus) == []
    assert find_project(desk.studio, REVIEW, desk.config) is not None


def test_pictures_that_the_server_does_not_show_stop_the_push(
    desk: Desk, add_photos: AddPhotos
) -> None:
    add_photos(desk.store, desk.media)
    blind = desk.config.model_copy(update={"media_url": "/data/local-files/?d=elsewhere/{path}"})
    with pytest.raises(RemoteError, match="does not show the picture"):
        push(desk.store, desk.studio, media=desk.media, config=blind)
    assert {t.state for t in desk.store.read(Task)} == {"waiting"}


def test_a_lost_ledger_is_found_again_on_the_server(
    desk: Desk, add_photos: AddPhotos, tmp_path: Path
) -> None:
    add_photos(desk.store, desk.media, 4)
    desk.push()
    fresh = Store(tmp_path / "other" / "tables")
    add_photos(fresh, desk.media, 4)
    pushed = push(fresh, desk.studio, media=desk.media, config=desk.config)
    assert (pushed.sent, pushed.adopted) == (0, 4)
    assert set(desk.keys_on_server().values()) == {1}


def test_a_person_s_answers_survive_as_rows_of_one_table(
    desk: Desk, add_photos: AddPhotos, answer: Answer
) -> None:
    photos = add_photos(desk.store, desk.media, 3)
    desk.push()
    for photo in photos:
        desk.studio.submit(desk.sent(photo), answer("accept", gaze=["looking_at_camera"]))
    desk.pull()
    rows = desk.store.read(Annotation)
    assert len({r.annotation_id for r in rows}) == 3
    assert {r.photographic_tags for r in rows} == {("gaze/looking_at_camera",)}
