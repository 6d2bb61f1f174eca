from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annotation.agreement import settle
from data_manifests.records import Agreement, Annotation, Consensus

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


def by_name(made: Consensus) -> dict[str, Agreement]:
    return {a.question: a for a in made.agreements}


def judge(number: int, decision: str, round_: int = 2, **values: Any) -> Annotation:
    return vote(number, decision, task_key=f"p:triage:{round_}", **values)


def test_every_question_says_how_near_people_were() -> None:
    votes = [
        vote(1, "reject", reasons=("noise",), rating=1, caption="a", semantic_tags=("hair/bald",)),
        vote(2, "reject", reasons=("other",), rating=5, caption="b"),
        vote(3, "accept", rating=2),
    ]
    found = by_name(settle("p", votes))
    told = {q: (a.value, a.voters, a.measure) for q, a in found.items()}
    assert told == {
        "decision": ("reject", 3, "share"),
        "reject_reason": ("noise,other", 2, "share"),
        "stars": ("2", 3, "distance"),
        "caption": ("s:2", 2, "share"),
        "hair": ("", 1, "share"),
    }
    assert found["stars"].share == pytest.approx(1 - (1 + 3 + 0) / 3 / 4)
    assert found["caption"].share == 0.5


def test_an_adjudicator_settles_what_the_others_left_open_and_nothing_else() -> None:
    first = [
        vote(1, "accept", semantic_tags=("hair/bald", "shot/close_up"), caption="theirs"),
        vote(2, "reject", semantic_tags=("hair/long_hair", "shot/close_up"), reasons=("noise",)),
    ]
    last = judge(
        9,
        "reject",
        reasons=("other",),
        caption="a draft nobody read",
        semantic_tags=("hair/bald", "shot/group", "gender/woman"),
    )
    open_ = settle("p", first)
    assert (open_.conflict, open_.adjudicated) == (True, False)
    made = settle("p", [*first, last])
    assert (made.decision, made.conflict, made.adjudicated) == ("reject", False, True)
    assert (made.voters, made.agreement) == (2, 0.5)
    assert made.reasons == ("other",)
    assert made.semantic_tags == ("shot/close_up", "gender/woman", "hair/bald")
    assert made.caption == "theirs"
    assert made.annotation_ids == ("s:1", "s:2", "s:9")
    found = by_name(made)
    assert (found["decision"].value, found["decision"].share) == ("reject", 0.5)
    assert (found["gender"].value, found["gender"].voters) == ("woman", 1)


def test_an_adjudicator_does_not_overrule_a_majority() -> None:
    first = [vote(1), vote(2), vote(3, "reject", reasons=("noise",))]
    made = settle("p", [*first, judge(9, "reject", reasons=("noise",))])
    assert (made.decision, made.adjudicated) == ("accept", False)
    assert made.annotation_ids == ("s:1", "s:2", "s:3")


def test_the_newest_answer_of_the_last_round_adjudicates() -> None:
    first = [vote(1), vote(2, "reject")]
    made = settle("p", [*first, judge(8, "accept", 2), judge(7, "retouch", 3)])
    assert (made.decision, made.annotation_ids) == ("retouch", ("s:1", "s:2", "s:7"))


def test_a_later_answer_stands_alone_if_nobody_answered_before() -> None:
    made = settle("p", [replace(vote(1), state="skipped"), judge(9, "retouch")])
    assert (made.decision, made.voters, made.adjudicated) == ("retouch", 1, False)


def test_a_person_asked_at_two_places_has_one_vote_the_newer() -> None:
    votes = [
        vote(1, "accept", annotator="anna"),
        vote(2, "reject", annotator="anna", task_key="p:triage:1:north"),
        vote(3, "reject", annotator="ben"),
    ]
    made = settle("p", votes)
    assert (made.decision, made.voters, made.annotation_ids) == ("reject", 2, ("s:2", "s:3"))
    nameless = [replace(v, annotator="unknown") for v in votes]
    assert settle("p", nameless).voters == 3


def test_ground_truth_votes_only_if_it_is_asked_to() -> None:
    votes = [vote(1), vote(2, "reject", ground_truth=True)]
    assert settle("p", votes, truth_votes=True).conflict
