"""Agreement numbers against figures from the literature and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from annotation.agreement import settle
from annotation.reliability import PersonFigures, QuestionFigures, by_person, by_question
from data_manifests.records import Annotation, Box, Consensus, Point, Region

pytest.importorskip("nltk")


def answer(photo: int, person: str, decision: str = "accept", **values: Any) -> Annotation:
    defaults: dict[str, Any] = {
        "annotation_id": f"s:{photo}-{person}",
        "task_key": f"p{photo}:triage:1",
        "photo_id": f"p{photo}",
        "annotator": person,
        "state": "counted",
        "decision": decision,
        "raw": "[]",
    }
    return Annotation(**(defaults | values))


def figures(answers: list[Annotation]) -> dict[str, QuestionFigures]:
    return {f.question: f for f in by_question(answers)}


def settled(answers: list[Annotation]) -> list[Consensus]:
    ids = sorted({a.photo_id for a in answers})
    return [settle(p, [a for a in answers if a.photo_id == p]) for p in ids]


def person(name: str, answers: list[Annotation]) -> PersonFigures:
    return next(f for f in by_person(answers, settled(answers)) if f.annotator == name)


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    """Computing Krippendorff's Alpha-Reliability, 2011, example C: 0.743, intervals 0.849."""
    rows = {
        "a": "1 2 3 3 2 1 4 1 2 . . .",
        "b": "1 2 3 3 2 2 4 1 2 5 . 3",
        "c": ". 3 3 3 2 3 4 2 2 5 1 .",
        "d": "1 2 3 3 2 4 4 1 2 5 1 .",
    }
    eyes = "1:loop_lighting 2:rim_lighting 3:flat_lighting 4:split_lighting 5:broad_lighting"
    names = dict(pair.split(":") for pair in eyes.split())
    answers = [
        answer(n, who, rating=int(v), photographic_tags=(f"light_pattern/{names[v]}",))
        for who, values in rows.items()
        for n, v in enumerate(values.split())
        if v != "."
    ]
    found = figures(answers)
    assert found["light_pattern"].alpha == pytest.approx(0.743, abs=5e-4)
    assert found["stars"].alpha == pytest.approx(0.849, abs=5e-4)
    assert (found["stars"].measure, found["stars"].kappa) == ("distance", None)
    assert (found["light_pattern"].photos, found["light_pattern"].people) == (11, 4)


def test_kappa_is_that_of_cohens_table() -> None:
    """20 both yes, 5 and 10 apart, 15 both no: 0.4."""
    table = [("accept", "accept")] * 20 + [("accept", "reject")] * 5
    table += [("reject", "accept")] * 10 + [("reject", "reject")] * 15
    answers = [
        answer(n, who, decision)
        for n, pair in enumerate(table)
        for who, decision in zip("ab", pair, strict=True)
    ]
    found = figures(answers)["decision"]
    assert found.kappa == pytest.approx(0.4)
    assert found.agreement == pytest.approx(0.7)


def test_nothing_is_said_of_chance_where_nothing_varies_or_if_it_is_not_asked_for() -> None:
    same = [answer(n, who) for n in range(3) for who in "ab"]
    found = figures(same)["decision"]
    assert (found.agreement, found.kappa, found.alpha) == (1.0, None, None)
    (plain,) = by_question([*same, answer(9, "a"), answer(9, "b", "retouch")], corrected=False)
    assert (plain.agreement, plain.kappa, plain.alpha) == (0.75, None, None)


def test_tags_of_many_count_what_both_gave_and_giving_none_is_an_answer() -> None:
    freckles, both = "facial_detail/freckles", ("facial_detail/freckles", "facial_detail/mole")
    answers = [
        answer(1, "a", photographic_tags=both),
        answer(1, "b", photographic_tags=(freckles,)),
        answer(2, "a", photographic_tags=(freckles,)),
        answer(2, "b"),
        answer(3, "a"),
        answer(3, "b"),
    ]
    assert figures(answers)["facial_detail"].agreement == pytest.approx((0.5 + 0 + 1) / 3)
    assert "facial_detail" not in figures(answers[4:])


def test_boxes_are_compared_by_overlap_and_landmarks_by_the_distance_of_the_eyes() -> None:
    def drawn(shift: float) -> tuple[Region, ...]:
        where = Box(left=shift, top=0, right=shift + 100, bottom=100)
        spots = {"left_eye": 30 + shift, "right_eye": 70 + shift}
        points = (Region(label=k, point=Point(x=x, y=40)) for k, x in spots.items())
        return (Region(label="subject_face", box=where), *points)

    stray = Region(label="other_face", box=Box(left=500, top=0, right=600, bottom=100))
    answers = [answer(1, "a", regions=drawn(0)), answer(1, "b", regions=drawn(10))]
    found = figures(answers)
    assert found["face_box"].agreement == pytest.approx(90 / 110)
    assert found["landmark"].agreement == pytest.approx(1 - 10 / 40)
    assert found["landmark"].measure == "distance"
    answers[0] = replace(answers[0], regions=(*answers[0].regions, stray))
    assert figures(answers)["face_box"].agreement == pytest.approx(90 / 110 / 2)
    assert person("b", [*answers, answer(1, "c", regions=drawn(10))]).landmarks == 0.0


def test_a_person_is_compared_with_peers_with_what_was_settled_and_with_the_truth() -> None:
    answers = [
        *(answer(n, who, lead_time_s=n * 10.0) for n in (1, 2, 3) for who in "ab"),
        answer(1, "c", "reject", lead_time_s=1.0, flags=("rubber_stamp",)),
        answer(2, "c", lead_time_s=3.0),
        answer(4, "c", state="skipped"),
        answer(5, "c", state="set_aside", flags=("missing_required",)),
        answer(6, "c", state="set_aside", flags=("superseded",)),
        answer(7, "c", state="deleted"),
        answer(1, "lead", "retouch", ground_truth=True, semantic_tags=("hair/bald",)),
        answer(2, "lead", ground_truth=True),
    ]
    found = person("c", answers)
    assert (found.answers, found.skipped, found.set_aside, found.rubber_stamps) == (2, 1, 1, 1)
    assert found.median_s == 2.0
    assert (found.with_peers, found.with_consensus) == (0.5, 0.5)
    assert found.with_truth == pytest.approx((0 + 0 + 1) / 3)
    assert (found.truth_photos, found.rules) == (2, (("missing_required", 1),))
    assert person("a", answers).with_peers == pytest.approx((1 + 0 + 1 + 1 + 1) / 5)
    assert "lead" not in {f.annotator for f in by_person(answers, [])}


def test_a_person_alone_is_compared_with_nobody() -> None:
    found = person("a", [answer(1, "a")])
    assert (found.with_peers, found.with_consensus, found.with_truth) == (None, None, None)
    assert by_question([answer(1, "a")]) == []
