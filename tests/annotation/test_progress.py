from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from annotation.progress import Outcome, Queue, Rows, Wait, overview, waits
from data_manifests.records import Annotation, Consensus, Retouch, Standing, Task

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def task(photo: str, state: str, **values: Any) -> Task:
    defaults: dict[str, Any] = {
        "task_key": f"{photo}:triage:{values.get('round', 1)}:{values.get('desk', '')}",
        "photo_id": photo,
        "kind": "triage",
        "state": state,
        "image_path": "p.jpg",
        "image_width": 1,
        "image_height": 1,
        "project_id": None if state == "waiting" else 7,
        "sent_at": None if state == "waiting" else NOON,
    }
    return Task(**(defaults | values))


def answer(photo: str, person: str = "a", decision: str = "accept", **values: Any) -> Annotation:
    defaults: dict[str, Any] = {
        "annotation_id": f"s:{photo}-{person}",
        "task_key": f"{photo}:triage:1",
        "photo_id": photo,
        "annotator": person,
        "state": "counted",
        "decision": decision,
        "raw": "[]",
        "created_at": NOON,
    }
    return Annotation(**(defaults | values))


def consensus(photo: str, decision: str | None, share: float = 1.0, **more: Any) -> Consensus:
    return Consensus(
        photo_id=photo,
        decision=decision,
        voters=2,
        agreement=share,
        conflict=decision is None,
        **more,
    )


def retouch(photo: str, state: str, round_: int = 1) -> Retouch:
    return Retouch(
        retouch_id=f"{photo}-{round_}",
        photo_id=photo,
        path="/r",
        match_method="id",
        match_score=1.0,
        round=round_,
        state=state,
        returned_at=NOON + timedelta(hours=round_),
    )


def test_each_project_and_desk_counts_its_tasks_and_unsent_ones_are_of_the_same_project() -> None:
    tasks = [
        task("1", "labelled"),
        task("2", "skipped"),
        task("3", "sent"),
        task("4", "waiting"),
        task("5", "deleted"),
        task("1", "set_aside", desk="north", project_id=8),
        task("1", "sent", round=2),
    ]
    judged, shared, north = overview(Rows(tasks=tasks), corrected=False).queues
    assert shared == Queue(
        kind="triage", desk="", project_id=7, labelled=1, skipped=1, open=1, unsent=1, deleted=1
    )
    assert (judged.kind, judged.asked) == ("adjudication", 1)
    assert (shared.asked, north.desk, north.project_id, north.set_aside) == (4, "north", 8, 1)


def test_what_waits_for_whom_is_read_off_the_rows() -> None:
    rows = Rows(
        tasks=[
            task("1", "sent", desk="north"),
            task("2", "sent", desk="north", sent_at=NOON - timedelta(days=1)),
            task("1", "sent", desk="south"),
            task("3", "sent", round=2, sent_at=NOON + timedelta(days=1)),
            task("4", "set_aside", updated_at=NOON),
            task("5", "waiting"),
        ],
        settled=[
            consensus("3", None, 0.5),
            *(consensus(p, "retouch") for p in ("6", "7", "8", "9")),
        ],
        retouches=[
            retouch("7", "fix"),
            retouch("8", "fix"),
            retouch("8", "waiting", 2),
            retouch("9", "approved"),
        ],
    )
    found = {(w.who, w.what.split(":")[0]): (w.photos, w.since) for w in waits(rows)}
    assert found == {
        ("photographer at north", "triage"): (2, NOON - timedelta(days=1)),
        ("photographer at south", "triage"): (1, NOON),
        ("adjudicator", "people disagree"): (1, NOON + timedelta(days=1)),
        ("the lead", "answers set aside by a rule"): (1, NOON),
        ("the lead", "tasks to send"): (1, None),
        ("retoucher", "first retouch"): (1, None),
        ("retoucher", "to be mended"): (1, NOON + timedelta(hours=1)),
        ("reviewer", "returned files"): (1, NOON + timedelta(hours=2)),
    }


def test_standings_say_what_waits_for_whom_if_there_are_any() -> None:
    def standing(photo: str, state: str, who: str, hours: int) -> Standing:
        since = NOON + timedelta(hours=hours)
        return Standing(
            photo_id=photo, state=state, waits_for=who, moved_by="photographer", since=since
        )

    rows = Rows(
        tasks=[task("1", "sent")],
        standings=[
            standing("1", "review", "reviewer", 3),
            standing("2", "review", "reviewer", 1),
            standing("3", "done", "nobody", 0),
        ],
    )
    assert list(waits(rows)) == [
        Wait(who="reviewer", what="review", photos=2, since=NOON + timedelta(hours=1))
    ]


def test_outcomes_stand_in_the_forms_order_and_a_conflict_last() -> None:
    settled = [
        consensus("1", None, 0.5),
        consensus("2", "reject"),
        consensus("3", "accept", 0.5, adjudicated=True),
        consensus("4", "accept"),
    ]
    found = overview(Rows(tasks=[], settled=settled), corrected=False).outcomes
    assert found == (
        Outcome(decision="accept", photos=2, agreement=0.75, adjudicated=1),
        Outcome(decision="reject", photos=1, agreement=1.0),
        Outcome(decision=None, photos=1, agreement=0.5),
    )


def test_times_are_told_by_kind_as_quartiles_and_bars() -> None:
    answers = [answer(str(n), lead_time_s=float(t)) for n, t in enumerate((4, 6, 8, 30, 400))]
    answers.append(answer("1", "lead", ground_truth=True, lead_time_s=900.0))
    answers.append(answer("9", task_key="9:review:1", decision="approve", lead_time_s=50.0))
    review, triage = overview(Rows(tasks=[], answers=answers), corrected=False).paces
    assert (triage.answers, triage.quarter_s, triage.median_s) == (5, 6.0, 8.0)
    assert (triage.three_quarters_s, triage.bars) == (30.0, (1, 2, 0, 1, 0, 0, 0, 1))
    assert (review.kind, review.median_s, sum(review.bars)) == ("review", 50.0, 1)


def test_rules_and_days_are_counted() -> None:
    answers = [
        answer("1"),
        answer("2", created_at=NOON + timedelta(days=2)),
        answer("3", state="set_aside", flags=("malformed",)),
        answer("4", state="set_aside", flags=("malformed", "superseded")),
        answer("5", state="set_aside", flags=("superseded",)),
    ]
    found = overview(Rows(tasks=[], answers=answers), corrected=False)
    assert found.rules == (("malformed", 2), ("superseded", 1))
    assert found.days == ((date(2026, 1, 1), 1), (date(2026, 1, 3), 1))


def test_answers_of_a_review_are_not_compared_with_those_of_a_triage() -> None:
    answers = [answer("1"), answer("1", "b", "approve", task_key="1:review:1")]
    found = overview(Rows(tasks=[], answers=answers))
    assert found.questions == ()
    assert [p.with_peers for p in found.people] == [None, None]


@pytest.mark.parametrize("drafts", [None, {"p1": 3}])
def test_drafts_are_what_the_server_said(drafts: dict[str, int] | None) -> None:
    assert overview(Rows(tasks=[]), drafts=drafts).drafts == drafts
