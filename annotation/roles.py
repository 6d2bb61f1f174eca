"""What each role may answer. Pure; where the photos then move stands in `standing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from data_manifests.records import Annotation

__all__ = ["MAY_ANSWER", "NOT_THEIR_ROLE", "Role", "Roles", "refused_by_role"]

Role = Literal["photographer", "adjudicator", "retoucher", "reviewer"]

NOT_THEIR_ROLE = "not_their_role"
ADJUDICATION = "adjudication"
# A retouch question asks what is to be retouched: whoever judges or does the work can say.
MAY_ANSWER: Mapping[str, frozenset[Role]] = {
    "triage": frozenset({"photographer"}),
    ADJUDICATION: frozenset({"adjudicator"}),
    "retouch": frozenset({"photographer", "adjudicator", "retoucher", "reviewer"}),
    "review": frozenset({"reviewer"}),
}


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of people by pseudonym; none stands for all of them."""

    of: Mapping[str, Sequence[Role]] = field(default_factory=dict)
    others: Sequence[Role] | None = None
    voters_may_settle: bool = False  # a conflict that they voted in

    def allow(self, annotator: str, kind: str, round_: int) -> bool:
        """Whether a person may answer this kind of question in this round."""
        held = self.of.get(annotator, self.others)
        asked = asked_as(kind, round_)
        return held is None or asked not in MAY_ANSWER or bool(MAY_ANSWER[asked] & set(held))


def asked_as(kind: str, round_: int) -> str:
    """What a question is for people: a triage of a later round is an adjudication."""
    return ADJUDICATION if kind == "triage" and round_ > 1 else kind


def refused_by_role(one: Annotation) -> Annotation:
    """The answer set aside, with nothing of it but what came, raw."""
    return replace(
        one,
        state="set_aside",
        flags=(*one.flags, NOT_THEIR_ROLE),
        decision=None,
        reasons=(),
        rating=None,
        semantic_tags=(),
        photographic_tags=(),
        caption=None,
        note=None,
        regions=(),
    )
