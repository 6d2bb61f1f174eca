"""What a choice, a question and a form are; the questions themselves stand in `questions`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Literal

__all__ = ["Choice", "Column", "Form", "Kind", "Question", "named", "tag_questions"]

Kind = Literal["one", "many", "stars", "text", "boxes", "points", "brush"]
Column = Literal[
    "decision",
    "reasons",
    "rating",
    "semantic",
    "photographic",
    "caption",
    "note",
    "regions",
    "priority",  # of a region, as is region_note
    "region_note",
]


@dataclass(frozen=True, slots=True)
class Choice:
    """A value as the tables hold it, its words on the form, and the key that picks it."""

    value: str
    words: str = ""
    hotkey: str = ""
    colour: str = ""
    help: str = ""  # one line: when it is the right one

    @property
    def title(self) -> str:
        """What a person reads."""
        return (self.words or self.value).replace("_", " ")


@dataclass(frozen=True, slots=True)
class Question:
    """One question; `column` says where its answer goes in the Annotation row."""

    name: str
    kind: Kind
    column: Column
    title: str
    choices: tuple[Choice, ...] = ()
    required: str = ""  # what the form says when it is left empty; empty if it may be
    when: tuple[str, tuple[str, ...]] | None = (
        None  # asked only after these values of that question
    )
    draft: str = ""  # key of the task data that it is prefilled from
    most: int = 0  # stars, or boxes at the most
    hotkey: str = ""  # of the question itself: one star more
    help: str = ""  # one line: what it asks
    of: str = ""  # asked of each region of that question, empty if of the whole picture


@dataclass(frozen=True, slots=True)
class Form:
    """The questions of one kind of task, and the picture that they are about."""

    kind: str
    title: str
    picture: str  # name of the picture's control
    questions: tuple[Question, ...]
    whole: str = ""  # name of the control that shows the photo beside it, empty if none does
    headings: tuple[str, str] = ("In the picture", "How it was photographed")  # of the tag groups

    @property
    def version(self) -> str:
        """A short hash of the whole form: it stands in each task and changes with any question."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]


def named(form: Form) -> dict[str, Question]:
    """The questions by name."""
    return {q.name: q for q in form.questions}


def tag_questions(form: Form, group: str) -> Iterator[Question]:
    """The questions of one tag group."""
    return (q for q in form.questions if q.column == group)
