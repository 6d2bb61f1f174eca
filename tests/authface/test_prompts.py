from __future__ import annotations

from annotation.questions import TRIAGE, named
from authface.prompts import LEFT_TO_PEOPLE, PHRASES, question_prompts


def test_every_value_of_the_schema_is_asked_in_words_of_its_own() -> None:
    prompts, questions = question_prompts(), named(TRIAGE)
    assert {"shot", "clothing", "light_pattern", "colour"} <= set(prompts)
    for name, values in prompts.items():
        assert list(values) == [c.value for c in questions[name].choices]
        sentences = [s for some in values.values() for s in some]
        assert len(sentences) == len(set(sentences)) == 3 * len(values)
        assert all("_" not in s and "{" not in s for s in sentences)


def test_what_people_are_is_left_to_people() -> None:
    assert set(named(TRIAGE)) >= LEFT_TO_PEOPLE
    assert not LEFT_TO_PEOPLE & set(question_prompts())


def test_a_phrase_without_a_value_in_the_schema_is_noticed() -> None:
    known = {c.value for q in TRIAGE.questions for c in q.choices}
    assert set(PHRASES) <= known
