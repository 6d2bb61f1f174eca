from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annotation.agreement import settle
from data_manifests.records import Annotation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def vote(number: int, decision: str | None = "accept", **values: Any) -> Annotation:
    defaults: dict[str, Any] = {
        "annotation_id": f"s:{number}",
        "task_key": "p:triage:1",
        "photo_id": "p",
        "annotator": f"person-{number}",
        "state": "counted",
        "decision": decision,
        "raw": "[]",
        "updated_at": NOON + timedelta(minutes=number),
    }
    return Annotation(**(defaults | values))


@pytest.mark.parametrize(
    ("votes", "decision", "share", "conflict"),
    [
        (["accept"], "accept", 1.0, False),
        (["accept", "accept", "reject"], "accept", 2 / 3, False),
        (["accept", "reject"], None, 0.5, True),
        (["accept", "retouch", "reject"], None, 1 / 3, True),
        (["accept", "accept", "retouch", "reject"], None, 0.5, True),
    ],
)
def test_a_decision_needs_more_than_half_of_the_voters(
    votes: list[str], decision: str | None, share: float, conflict: bool
) -> None:
    made = settle("p", [vote(i, v) for i, v in enumerate(votes)])
    assert (made.decision, made.conflict, made.voters) == (decision, conflict, len(votes))
    assert made.agreement == pytest.approx(share)


def test_a_team_may_ask_for_a_larger_majority() -> None:
    votes = [vote(1), vote(2), vote(3, "reject", reasons=("noise",))]
    assert settle("p", votes, majority=0.7).conflict


def test_nobody_voting_is_no_conflict() -> None:
    made = settle("p", [])
    assert (made.voters, made.conflict, made.decision, made.agreement) == (0, False, None, None)


@pytest.mark.parametrize("state", ["skipped", "set_aside", "deleted"])
def test_only_counted_answers_vote(state: str) -> None:
    made = settle("p", [vote(1, "reject"), replace(vote(2, "accept"), state=state)])
    assert (made.decision, made.voters, made.annotation_ids) == ("reject", 1, ("s:1",))


def test_ground_truth_scores_people_and_does_not_vote() -> None:
    made = settle("p", [vote(1), vote(2, "reject", ground_truth=True)])
    assert (made.decision, made.voters) == ("accept", 1)


def test_a_tag_stands_if_half_the_voters_gave_it_and_a_tie_settles_nothing() -> None:
    soft = ("light_quality/soft_light",)
    hard = ("light_quality/hard_light",)
    made = settle("p", [vote(1, photographic_tags=soft), vote(2, photographic_tags=hard)])
    assert made.photographic_tags == ()
    made = settle("p", [vote(1, photographic_tags=soft), vote(2)])
    assert made.photographic_tags == soft
    made = settle("p", [vote(1, photographic_tags=soft), vote(2), vote(3)])
    assert made.photographic_tags == ()


def test_a_question_with_many_values_may_settle_several() -> None:
    tags = ("facial_detail/freckles", "facial_detail/mole")
    made = settle("p", [vote(1, photographic_tags=tags), vote(2, photographic_tags=tags[:1])])
    assert made.photographic_tags == tags
    (detail,) = [a for a in made.agreements if a.question == "facial_detail"]
    assert (detail.value, detail.voters, detail.share) == ("freckles,mole", 2, 1.0)


def test_reasons_are_shared_by_half_of_those_who_rejected() -> None:
    votes = [
        vote(1, "reject", reasons=("noise", "other")),
        vote(2, "reject", reasons=("noise",)),
        vote(3, "reject", reasons=("noise",)),
        vote(4, "accept"),
    ]
    assert settle("p", votes).reasons == ("noise",)


def test_stars_are_the_median_and_captions_the_newest_never_mixed() -> None:
    votes = [
        vote(3, rating=5, caption="third"),
        vote(1, rating=2),
        vote(2, rating=3, caption="second"),
    ]
    made = settle("p", votes)
    assert (made.rating, made.caption) == (3.0, "third")


def test_the_order_of_answers_does_not_matter() -> None:
    votes = [vote(1), vote(2, "reject", reasons=("noise",)), vote(3, semantic_tags=("hair/bald",))]
    assert settle("p", votes) == settle("p", votes[::-1])
