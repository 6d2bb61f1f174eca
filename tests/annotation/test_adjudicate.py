from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from annotation.adjudicate import adjudication_tasks, disagreement
from annotation.agreement import settle
from data_manifests.records import Annotation, Task


def task(state: str = "labelled", round_: int = 1, desk: str = "") -> Task:
    return Task(
        task_key=f"p:triage:{round_}" + (f":{desk}" if desk else ""),
        photo_id="p",
        kind="triage",
        round=round_,
        state=state,
        image_path="proxies/p.jpg",
        image_width=10,
        image_height=20,
        server="s",
        project_id=3,
        task_id=4,
        desk=desk,
    )


def vote(number: int, decision: str, **values: Any) -> Annotation:
    defaults: dict[str, Any] = {
        "annotation_id": f"s:{number}",
        "task_key": "p:triage:1",
        "photo_id": "p",
        "annotator": f"person-{number}",
        "state": "counted",
        "decision": decision,
        "raw": "[]",
    }
    return Annotation(**(defaults | values))


SPLIT = [vote(1, "accept", semantic_tags=("hair/bald",)), vote(2, "reject", reasons=("noise",))]


def made(ledger: list[Task], answers: list[Annotation], wanted: int = 2) -> list[Task]:
    return list(adjudication_tasks([settle("p", answers)], ledger, answers, wanted=wanted))


def test_a_conflict_becomes_a_question_of_the_next_round_that_says_what_and_never_who() -> None:
    (asked,) = made([task()], SPLIT)
    assert (asked.task_key, asked.round, asked.kind) == ("p:triage:2", 2, "triage")
    assert (asked.state, asked.server, asked.task_id, asked.desk) == ("waiting", None, None, "")
    assert (asked.image_path, asked.image_width, asked.image_height) == ("proxies/p.jpg", 10, 20)
    assert asked.note == (
        "people disagree on decision (accept or reject); for somebody who did not vote on it"
    )
    assert asked.uncertainty == 0.5


def test_photos_that_people_agree_on_are_not_asked_about_again() -> None:
    assert made([task()], [vote(1, "accept"), vote(2, "accept")]) == []


@pytest.mark.parametrize("state", ["waiting", "sent", "skipped", "set_aside", "deleted"])
def test_a_photo_is_never_asked_about_twice(state: str) -> None:
    assert made([task(), task(state, round_=2)], SPLIT) == []


def test_a_conflict_that_outlived_a_round_opens_the_next() -> None:
    (asked,) = made([task(), task("labelled", round_=2)], SPLIT)
    assert asked.round == 3


def test_what_only_a_voter_answered_is_asked_again() -> None:
    own = vote(
        3, "accept", annotator="person-1", task_key="p:triage:2", state="set_aside",
        flags=("own_conflict",),
    )  # fmt: skip
    (asked,) = made([task(), task("set_aside", round_=2)], [*SPLIT, own])
    assert asked.round == 3
    broken = replace(own, flags=("missing_required",))
    assert made([task(), task("set_aside", round_=2)], [*SPLIT, own, broken]) == []


def test_an_adjudicated_photo_is_at_rest() -> None:
    answers = [*SPLIT, vote(3, "accept", task_key="p:triage:2")]
    assert made([task(), task(round_=2)], answers) == []


def test_the_voters_are_waited_for() -> None:
    desks = [task(desk="a"), task(desk="b"), task("sent", desk="c")]
    assert made(desks, SPLIT) == []
    assert len(made([*desks[:2], task("skipped", desk="c")], SPLIT)) == 1
    assert made([task()], SPLIT, wanted=3) == []
    passed = vote(3, "accept", state="skipped")
    assert len(made([task()], [*SPLIT, passed], wanted=3)) == 1


def test_a_note_names_what_nobody_has_a_majority_for_in_the_words_of_the_form() -> None:
    answers = [
        vote(1, "accept", photographic_tags=("light_pattern/loop_lighting", "view/frontal_view")),
        vote(2, "accept", photographic_tags=("light_pattern/rim_lighting", "view/frontal_view")),
    ]
    assert disagreement(answers) == "light pattern (loop or rim)"
    two_in_three = [*answers, replace(answers[0], annotation_id="s:3", annotator="person-3")]
    assert disagreement(two_in_three) == ""
