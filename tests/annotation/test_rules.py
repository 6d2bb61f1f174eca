"""Every named merge check, on an answer as the editor writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annotation.answers import Asked, Reading, ServerAnswer, to_annotation
from annotation.questions import REVIEW, TRIAGE
from annotation.rules import RULES, SUPERSEDED, broken, last_per_person
from data_manifests.records import Annotation, Task

TASK = Task(
    task_key="p:triage:1",
    photo_id="p",
    kind="triage",
    state="sent",
    image_path="a.jpg",
    image_width=680,
    image_height=1024,
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Result = list[dict[str, Any]]


def box(**changes: Any) -> dict[str, Any]:
    value = {
        "x": 30,
        "y": 10,
        "width": 20,
        "height": 25,
        "rotation": 0,
        "rectanglelabels": ["subject_face"],
    }
    item = {
        "from_name": "face_box",
        "type": "rectanglelabels",
        "original_width": 680,
        "original_height": 1024,
        "value": value | {k: v for k, v in changes.items() if k in value},
    }
    return item | {k: v for k, v in changes.items() if k in item}


def stars(rating: int) -> dict[str, Any]:
    return {"from_name": "stars", "type": "rating", "value": {"rating": rating}}


def reading(result: Any, *, cancelled: bool = False) -> Reading:
    return Reading(
        Asked(TASK, TRIAGE, 3400, 5120), ServerAnswer(id=1, result=result, was_cancelled=cancelled)
    )


def test_a_whole_answer_breaks_no_rule(answer: Callable[..., Result]) -> None:
    whole = [
        *answer(
            "reject",
            reject_reason=["noise", "watermark_or_text"],
            hair=["bald"],
            facial_detail=["mole", "scar"],
        ),
        box(),
        box(x=0, y=0, width=100, height=100.004, rectanglelabels=["other_face"]),
        stars(5),
        {"from_name": "caption", "type": "textarea", "value": {"text": ["a portrait"]}},
    ]
    assert broken(reading(whole)) == ()


@pytest.mark.parametrize(
    ("rule", "extra"),
    [
        (
            "unknown_question",
            [{"from_name": "mood", "type": "choices", "value": {"choices": ["x"]}}],
        ),
        ("wrong_type", [{"from_name": "hair", "type": "rating", "value": {"choices": ["bald"]}}]),
        (
            "unknown_choice",
            [{"from_name": "hair", "type": "choices", "value": {"choices": ["purple"]}}],
        ),
        ("unknown_choice", [box(rectanglelabels=["somebody"])]),
        (
            "several_answers",
            [{"from_name": "hair", "type": "choices", "value": {"choices": ["bald", "long_hair"]}}],
        ),
        (
            "several_answers",
            [{"from_name": "decision", "type": "choices", "value": {"choices": ["reject"]}}],
        ),
        ("rating_out_of_range", [stars(0)]),
        ("rating_out_of_range", [stars(6)]),
        ("geometry_out_of_range", [box(x=180)]),
        ("geometry_out_of_range", [box(x=90)]),
        ("geometry_out_of_range", [box(width=0)]),
        ("geometry_out_of_range", [box(y=float("nan"))]),
        ("geometry_out_of_range", [box(height=float("nan"))]),
        ("rotated_box", [box(rotation=12)]),
        ("other_picture", [box(original_width=1024, original_height=680)]),
    ],
)
def test_each_rule_fires(rule: str, extra: Result, answer: Callable[..., Result]) -> None:
    assert rule in RULES
    assert rule in broken(reading([*answer(), *extra]))


def test_an_answer_without_a_decision_is_missing_what_is_required() -> None:
    assert broken(reading([])) == ("missing_required",)


def test_a_reject_needs_a_reason_and_an_accept_does_not(answer: Callable[..., Result]) -> None:
    assert broken(reading(answer("reject"))) == ("missing_required",)
    assert broken(reading(answer("accept"))) == ()


@pytest.mark.parametrize(("words", "breaks"), [("a strap", ()), (" ", ("missing_required",))])
def test_another_reason_needs_its_words(
    words: str, breaks: tuple[str, ...], answer: Callable[..., Result]
) -> None:
    other = answer("reject", reject_reason=["other"])
    assert broken(reading(other)) == ("missing_required",)
    said = {"from_name": "reject_other", "type": "textarea", "value": {"text": [words]}}
    note = {"from_name": "note", "type": "textarea", "value": {"text": ["look again"]}}
    assert broken(reading([*other, said])) == breaks
    row = to_annotation(reading([*other, said, note]), server="s", annotator="a")
    assert row.note == ("a strap; look again" if not breaks else "look again")


@pytest.mark.parametrize("result", [None, "text", 3, [{"type": "choices"}], [["x"]], {"a": 1}])
def test_a_result_that_is_no_list_of_items_is_malformed(result: Any) -> None:
    assert broken(reading(result)) == ("malformed",)


def test_a_skip_is_never_an_accept_however_full_the_form(answer: Callable[..., Result]) -> None:
    skipped = reading(answer("accept", hair=["bald"]), cancelled=True)
    row = to_annotation(skipped, server="s", annotator="a", flags=broken(skipped))
    assert (row.state, row.decision, row.semantic_tags) == ("skipped", None, ())
    assert "accept" in row.raw


def test_a_broken_answer_keeps_its_raw_json_and_nothing_else(answer: Callable[..., Result]) -> None:
    bad = reading([*answer("accept"), box(x=180)])
    row = to_annotation(bad, server="s", annotator="a", flags=broken(bad))
    assert (row.state, row.flags, row.decision, row.regions) == (
        "set_aside",
        ("geometry_out_of_range",),
        None,
        (),
    )
    assert "180" in row.raw


def test_a_review_asks_for_a_reason_unless_it_approves() -> None:
    def verdict(value: str) -> tuple[str, ...]:
        item = {"from_name": "verdict", "type": "choices", "value": {"choices": [value]}}
        return broken(Reading(Asked(TASK, REVIEW, 1, 1), ServerAnswer(id=1, result=[item])))

    assert verdict("approve") == ()
    assert verdict("fix") == ("missing_required",)


def given(number: int, state: str, *, person: str = "a", minutes: int = 0) -> Annotation:
    return Annotation(
        annotation_id=f"s:{number}",
        task_key="p:triage:1",
        photo_id="p",
        annotator=person,
        state=state,
        raw="[]",
        updated_at=NOON + timedelta(minutes=minutes),
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["counted", "counted"], ["set_aside", "counted"]),
        (["skipped", "counted"], ["set_aside", "counted"]),
        (["counted", "skipped"], ["counted", "set_aside"]),
        (["skipped", "skipped"], ["set_aside", "skipped"]),
        (["counted", "set_aside"], ["counted", "set_aside"]),
    ],
)
def test_the_last_usable_answer_of_a_person_counts(states: list[str], expected: list[str]) -> None:
    rows = [given(i, state, minutes=i) for i, state in enumerate(states)]
    after = last_per_person(rows)
    assert [a.state for a in after] == expected
    flagged = [a for a, before in zip(after, rows, strict=True) if a != before]
    assert all(a.flags == (SUPERSEDED,) for a in flagged)


def test_two_people_and_two_tasks_do_not_supersede_each_other() -> None:
    rows = [
        given(1, "counted"),
        given(2, "counted", person="b"),
        replace(given(3, "counted"), task_key="q:triage:1"),
    ]
    assert last_per_person(rows) == rows
