"""How imported answers are settled together with those given here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from data_manifests.import_files import PixelHash
    from data_manifests.importing import Rules
    from data_manifests.records import Annotation, Consensus

__all__ = ["import_rules"]


def import_rules(config: AnnotateConfig) -> Rules:
    """What an import needs from annotation and curation."""
    from annotation.imported import settle_all
    from annotation.questions import TRIAGE
    from data_manifests.importing import Rules

    def settle(photo_id: str, answers: Sequence[Annotation]) -> Consensus:
        return settle_all(photo_id, answers, majority=config.majority)

    columns = {question.name: question.column for question in TRIAGE.questions}
    return Rules(settle, columns, _pixel_hash())


def _pixel_hash() -> PixelHash | None:
    """The fingerprint of pixels that erased photos are known by; none without curation's extra."""
    try:
        from curation.duplicates import pixel_hash
    except ImportError:
        return None
    return pixel_hash
