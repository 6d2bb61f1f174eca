"""What the demo reviewers say fits the form."""

from __future__ import annotations

from annotation.questions import TRIAGE, named
from authface.demo_reviewers import BUILT_IN_TAGS, PLAN, _result


def test_the_made_up_tags_are_values_of_the_form() -> None:
    questions = named(TRIAGE)
    for name, value in BUILT_IN_TAGS.items():
        assert value in {c.value for c in questions[name].choices}


def test_the_plan_holds_an_accept_a_retouch_a_reject_a_skip_and_a_disagreement() -> None:
    agreed = {one for one, other in PLAN if one == other}
    assert agreed == {"accept", "retouch", "reject", "skip"}
    assert any(one != other for one, other in PLAN)


def test_a_suggested_tag_is_not_answered_twice() -> None:
    draft = [{"from_name": "gaze", "type": "choices", "score": 0.9}]
    names = [r["from_name"] for r in _result("accept", draft, BUILT_IN_TAGS)]
    assert names.count("gaze") == 1


def test_a_reject_gives_a_reason() -> None:
    assert "reject_reason" in [r["from_name"] for r in _result("reject", [], {})]
