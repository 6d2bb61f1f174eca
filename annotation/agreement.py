"""Settle what several people answered about one photo, and say how far they agree."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from annotation.questions import TRIAGE, Form, tag_questions
from data_manifests.records import Agreement, Annotation, Consensus

__all__ = ["settle"]


def settle(
    photo_id: str, answers: Sequence[Annotation], *, majority: float = 0.5, form: Form = TRIAGE
) -> Consensus:
    """What the voters agree on: a decision needs more than `majority` of them, a tag half."""
    voters = sorted(
        (a for a in answers if a.state == "counted" and not a.ground_truth and a.decision),
        key=lambda a: a.annotation_id,
    )
    decisions = Counter(a.decision or "" for a in voters)
    winner, share = _leader(decisions, len(voters))
    settled = winner is not None and share > majority
    semantic, semantic_agreement = _tags(voters, form, "semantic")
    photographic, photographic_agreement = _tags(voters, form, "photographic")
    decided = Agreement(
        question="decision",
        value=winner if settled and winner else "",
        voters=len(voters),
        share=share,
    )
    stars = [a.rating for a in voters if a.rating is not None]
    return Consensus(
        photo_id=photo_id,
        decision=winner if settled else None,
        voters=len(voters),
        agreement=share if voters else None,
        conflict=bool(voters) and not settled,
        reasons=_shared((a.reasons for a in voters if a.decision == "reject"), decisions["reject"]),
        rating=float(statistics.median(stars)) if stars else None,
        semantic_tags=semantic,
        photographic_tags=photographic,
        caption=_newest_caption(voters),
        agreements=(decided, *semantic_agreement, *photographic_agreement) if voters else (),
        annotation_ids=tuple(a.annotation_id for a in voters),
    )


def _leader(counts: Counter[str], voters: int) -> tuple[str | None, float]:
    """The value that alone has most votes, none on a tie, and the share of the most voted value."""
    if not counts:
        return None, 0.0
    most = max(counts.values())
    leaders = [value for value, n in counts.items() if n == most]
    return (leaders[0] if len(leaders) == 1 else None), most / voters


def _tags(
    voters: Sequence[Annotation], form: Form, group: str
) -> tuple[tuple[str, ...], list[Agreement]]:
    given: dict[str, Counter[str]] = defaultdict(Counter)
    answered: Counter[str] = Counter()
    for voter in voters:
        tags = voter.semantic_tags if group == "semantic" else voter.photographic_tags
        pairs = [tag.split("/", 1) for tag in tags]
        answered.update({name for name, _ in pairs})
        for name, value in pairs:
            given[name][value] += 1
    settled: list[str] = []
    agreements: list[Agreement] = []
    for question in tag_questions(form, group):
        counts = given[question.name]
        if not counts:
            continue
        leader, share = _leader(counts, answered[question.name])
        if question.kind == "many":
            values = [v for v, n in sorted(counts.items()) if 2 * n >= len(voters)]
        else:
            values = [leader] if leader and 2 * counts[leader] >= len(voters) else []
        settled += [f"{question.name}/{v}" for v in values]
        agreements.append(
            Agreement(
                question=question.name,
                value=",".join(values),
                voters=answered[question.name],
                share=share,
            )
        )
    return tuple(settled), agreements


def _shared(lists: Iterable[Sequence[str]], voters: int) -> tuple[str, ...]:
    counts = Counter(value for values in lists for value in set(values))
    return tuple(v for v, n in sorted(counts.items()) if 2 * n >= voters)


def _newest_caption(voters: Sequence[Annotation]) -> str | None:
    never = datetime.min.replace(tzinfo=UTC)
    written = [a for a in voters if a.caption]
    return (
        max(written, key=lambda a: (a.updated_at or never, a.annotation_id)).caption
        if written
        else None
    )
