"""How imported answers are settled together with those given here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from annotation.questions import Column, Form
    from data_manifests.import_files import PixelHash
    from data_manifests.importing import Rules
    from data_manifests.records import Annotation, Consensus

__all__ = ["import_rules", "settle_imported"]


def import_rules(config: AnnotateConfig) -> Rules:
    """What an import needs from annotation and curation."""
    from annotation.questions import TRIAGE
    from data_manifests.importing import Rules

    def settle(photo_id: str, answers: Sequence[Annotation]) -> Consensus:
        return settle_imported(photo_id, answers, config.majority)

    columns = {question.name: question.column for question in TRIAGE.questions}
    return Rules(settle, columns, _pixel_hash())


def settle_imported(photo_id: str, answers: Sequence[Annotation], majority: float) -> Consensus:
    """As for answers given here, and questions that only the imported set asks are settled too.

    Where nobody has decided yet, an imported answer's words stand until somebody does.
    """
    from annotation.agreement import settle

    settled = settle(photo_id, answers, majority=majority, form=_form(answers))
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


def _form(answers: Sequence[Annotation]) -> Form:
    from annotation.questions import TRIAGE, Question

    asked = {question.name for question in TRIAGE.questions}
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
    return replace(TRIAGE, questions=(*TRIAGE.questions, *added))


def _pixel_hash() -> PixelHash | None:
    """The fingerprint of pixels that erased photos are known by; none without curation's extra."""
    try:
        from curation.duplicates import pixel_hash
    except ImportError:
        return None
    return pixel_hash
