"""The photographers' questions as sentences that a model can compare a picture with.

The words come from the one schema (annotation/questions.py): a value that is added there is asked
here too. What stands in PHRASES only reads better than its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotation.questions import TRIAGE, Form, Question, tag_questions

__all__ = ["LEFT_TO_PEOPLE", "draft_questions", "question_prompts"]

# What a model is not asked. Gender and age: a guess put before people sways them, and it is theirs
# to say. The lens stands in the metadata. Focus, skin and fine detail do not show at the 224 px a
# model looks at; a question with many answers has no one likeliest.
LEFT_TO_PEOPLE = frozenset({"gender", "age_group", "focal_length", "focus", "skin_texture"})

TEMPLATES = ("a portrait photo, {}", "a photograph of a person, {}", "{}")

PHRASES: Mapping[str, str] = {
    "close_up": "a close-up of the face that fills the frame",
    "shoulders_up": "head and shoulders",
    "half_length": "the upper half of the body",
    "full_length": "the whole body from head to feet",
    "group": "a group of several people",
    "uniform": "wearing a uniform",
    "costume": "wearing a costume",
    "casual_clothes": "wearing casual clothes",
    "formal_clothes": "wearing formal clothes",
    "traditional_clothes": "wearing traditional clothes",
    "bald": "a bald head",
    "covered_hair": "hair covered by a hat or a scarf",
    "no_eyewear": "no glasses",
    "glasses": "wearing glasses",
    "sunglasses": "wearing sunglasses",
    "smile": "smiling",
    "laugh": "laughing",
    "surprise": "looking surprised",
    "sadness": "looking sad",
    "monochrome": "in black and white",
    "nature_background": "outdoors in nature",
    "city_background": "outdoors in a city",
    "indoor_background": "in a room",
    "frontal_view": "the face seen from the front",
    "three_quarter_view": "the face turned to one side, in three-quarter view",
    "profile_view": "the face seen in profile",
    "no_makeup": "without make-up",
}


def question_prompts(form: Form = TRIAGE) -> dict[str, dict[str, Sequence[str]]]:
    """question -> value -> sentences, for every tag question with one answer, in their order."""
    questions = [*tag_questions(form, "semantic"), *tag_questions(form, "photographic")]
    return {q.name: _sentences(q) for q in questions if _asked(q)}


def draft_questions(form: Form = TRIAGE) -> dict[str, Sequence[str]]:
    """question -> values, for every tag question that a vision-language model is asked."""
    questions = [*tag_questions(form, "semantic"), *tag_questions(form, "photographic")]
    return {q.name: [c.value for c in q.choices] for q in questions if q.name not in LEFT_TO_PEOPLE}


def _asked(question: Question) -> bool:
    return question.kind == "one" and question.name not in LEFT_TO_PEOPLE


def _sentences(question: Question) -> dict[str, Sequence[str]]:
    return {
        choice.value: tuple(t.format(_phrase(choice.value)) for t in TEMPLATES)
        for choice in question.choices
    }


def _phrase(value: str) -> str:
    return PHRASES.get(value, value.replace("_", " "))
