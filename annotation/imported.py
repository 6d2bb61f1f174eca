"""Answers that were imported settled together with those given here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from annotation.agreement import settle
from annotation.form import Column, Form, Question
from annotation.questions import TRIAGE
from data_manifests.records import Annotation, Consensus

__all__ = ["VOTING", "settle_all"]

VOTING = ("triage", "import")  # kinds of questions whose answers decide about a photo


def settle_all(
    photo_id: str, answers: Sequence[Annotation], *, majority: float = 0.5, form: Form = TRIAGE
) -> Consensus:
    """What people agree on, and questions that only an imported set asks are settled too.

    Where nobody has decided yet, an imported answer's words stand until somebody does.
    """
    settled = settle(photo_id, answers, majority=majority, form=_widened(form, answers))
    waiting = [a for a in answers if a.state == "counted" and not a.ground_truth]
    if settled.voters or not waiting:
        return settled
    first = min(waiting, key=lambda a: a.annotation_id)
    return replace(
        settled,
        caption=first.caption,
        semantic_tags=first.semantic_tags,
        photographic_tags=first.photographic_tags,
        annotation_ids=(first.annotation_id,),
    )


def _widened(form: Form, answers: Sequence[Annotation]) -> Form:
    """The form with the tag questions that these answers have and it lacks."""
    asked = {question.name for question in form.questions}
    groups: tuple[tuple[Column, str], ...] = (
        ("semantic", "semantic_tags"),
        ("photographic", "photographic_tags"),
    )
    more = {
        (column, tag.split("/", 1)[0])
        for answer in answers
        for column, group in groups
        for tag in getattr(answer, group)
    }
    added = tuple(
        Question(name, "many", column, name) for column, name in sorted(more) if name not in asked
    )
    return replace(form, questions=(*form.questions, *added)) if added else form
