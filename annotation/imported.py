"""All that a photo's answers say settled at once: imported ones with those given here, and what
people drew for the retoucher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from annotation.agreement import asked_in_round, newest_of_each, settle
from annotation.form import Column, Form, Question
from annotation.questions import RETOUCH, TRIAGE
from annotation.settle_regions import Masks, settle_regions
from data_manifests.records import Annotation, Consensus

__all__ = ["SETTLED", "settle_all"]

_VOTING = ("triage", "import")  # kinds of questions whose answers decide about a photo
SETTLED = (*_VOTING, "retouch")


def settle_all(
    photo_id: str,
    answers: Sequence[Annotation],
    *,
    majority: float = 0.5,
    form: Form = TRIAGE,
    retouch: Form = RETOUCH,
    masks: Masks | None = None,
) -> Consensus:
    """What people agree on, and questions that only an imported set asks are settled too.

    Where nobody has decided yet, an imported answer's words stand until somebody does. What was
    drawn for the retoucher in the newest round stands beside the face; `masks` reads and keeps
    painted areas.
    """
    voting = [a for a in answers if _kind(a) in _VOTING]
    settled = _decided(photo_id, voting, majority, _widened(form, voting), masks)
    drawn = [a for a in answers if _kind(a) == "retouch" and _counts(a)]
    newest = max((asked_in_round(a.task_key) for a in drawn), default=1)
    asking = newest_of_each([a for a in drawn if asked_in_round(a.task_key) == newest])
    regions, agreements = settle_regions(asking, retouch, masks)
    return replace(
        settled,
        regions=(*settled.regions, *regions),
        agreements=(*settled.agreements, *agreements),
    )


def _kind(answer: Annotation) -> str:
    return next(iter(answer.task_key.split(":")[1:2]), "")


def _counts(answer: Annotation) -> bool:
    return answer.state == "counted" and not answer.ground_truth


def _decided(
    photo_id: str,
    answers: Sequence[Annotation],
    majority: float,
    form: Form,
    masks: Masks | None,
) -> Consensus:
    settled = settle(photo_id, answers, majority=majority, form=form, masks=masks)
    waiting = [a for a in answers if _counts(a)]
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
