"""One photo's way through the people: triage, retouch, review, back, and approved at last."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from annotation.comparison import review_task
from data_manifests.media import write_media
from data_manifests.records import Photo, Retouch, Standing, Task, Verdict

if TYPE_CHECKING:
    from PIL import Image

    from tests.annotation.conftest import Desk

pytestmark = pytest.mark.studio

AddPhotos = Callable[..., list[Photo]]
Answer = Callable[..., list[dict[str, Any]]]


def said(verdict: str, *reasons: str) -> list[dict[str, Any]]:
    picked = {"verdict": [verdict]} | ({"fix_reason": list(reasons)} if reasons else {})
    return [
        {"from_name": n, "to_name": "comparison", "type": "choices", "value": {"choices": v}}
        for n, v in picked.items()
    ]


def returned(desk: Desk, photo: Photo, picture: Image.Image, round_: int) -> None:
    """A file that passed its checks: its row, and the question about it."""
    encoded = io.BytesIO()
    picture.rotate(90 * round_).save(encoded, "PNG")
    path, sha256 = write_media(desk.media, "retouches", encoded.getvalue(), ".png")
    passed = Verdict(gate="texture", value=1.0, threshold=0.9, keep=True)
    row = Retouch(
        retouch_id=sha256,
        photo_id=photo.photo_id,
        path=path,
        match_method="id",
        match_score=1.0,
        round=round_,
        verdicts=(passed,),
        state="waiting",
    )
    desk.store.upsert(Retouch, [row], why="test")
    task = review_task(row, (path, *picture.size), desk.store.read(Task))
    assert task is not None
    desk.store.upsert(Task, [task], why="test")


def where(desk: Desk) -> tuple[str, int, str]:
    (one,) = desk.store.read(Standing)
    return one.state, one.round, one.waits_for


def open_task(desk: Desk, kind: str) -> int:
    (task,) = [t for t in desk.store.read(Task) if (t.kind, t.state) == (kind, "sent")]
    assert task.task_id is not None
    return task.task_id


def test_a_photo_goes_to_the_retoucher_until_its_review_approves(
    desk: Desk, add_photos: AddPhotos, answer: Answer, portrait: Image.Image
) -> None:
    desk = type(desk)(
        desk.server,
        desk.store,
        desk.studio,
        desk.config.model_copy(update={"answers_wanted": 1}),
    )
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    desk.studio.submit(open_task(desk, "triage"), answer("retouch"), lead_time=9.0)
    desk.pull()
    assert where(desk) == ("retouch", 1, "retoucher")
    assert desk.push().sent == 1  # where the retouch is wanted

    returned(desk, photo, portrait, 1)
    assert desk.push().sent == 1
    sent_back = said("fix", "over_smoothed")
    desk.studio.submit(open_task(desk, "review"), sent_back, lead_time=9.0)
    desk.pull()
    (first,) = desk.store.read(Retouch)
    assert (first.state, first.reasons) == ("fix", ("over_smoothed",))
    assert where(desk) == ("retouch", 2, "retoucher")

    assert desk.push().sent == 1  # what is wanted now
    returned(desk, photo, portrait, 2)
    desk.push()
    desk.studio.submit(open_task(desk, "review"), said("approve"), lead_time=9.0)
    pulled = desk.pull()
    assert {r.round: r.state for r in desk.store.read(Retouch)} == {1: "fix", 2: "approved"}
    assert where(desk) == ("done", 2, "nobody")
    assert pulled.balances
    assert desk.pull().changed_rows == 0
    assert desk.pull(full=True).changed_rows == 0
    assert desk.push().sent == 0
