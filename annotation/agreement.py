"""Settle what several people answered about one photo, and say how far they agree.

A choice goes to the majority, a tie stays open; tags stand from half of the voters on; stars are
the median; a caption is one person's text, never a mixture. An adjudicator, who answers a later
round, settles what the others left open and nothing else. Every question says how near people were,
from 0 to 1: by `share` of voters, by mean overlap (`iou`), or as 1 less the mean `distance` (of
stars in parts of the scale, of landmarks in parts of the distance between the eyes).
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from annotation.questions import TRIAGE, Form, tag_questions
from annotation.settle_regions import Masks, settle_regions
from data_manifests.records import Agreement, Annotation, Consensus, Region

__all__ = ["asked_in_round", "newest_of_each", "settle"]

NEVER = datetime.min.replace(tzinfo=UTC)
STARS = 5


def settle(
    photo_id: str,
    answers: Sequence[Annotation],
    *,
    majority: float = 0.5,
    form: Form = TRIAGE,
    truth_votes: bool = False,
    masks: Masks | None = None,
) -> Consensus:
    """What the voters agree on: a decision needs more than `majority` of them, a tag half.

    Answers that are marked as ground truth score people and vote only if `truth_votes` says so.
    `masks` reads and keeps painted areas.
    """
    counted = [
        a
        for a in answers
        if a.state == "counted" and a.decision and (truth_votes or not a.ground_truth)
    ]
    voters = newest_of_each([a for a in counted if asked_in_round(a.task_key) == 1])
    later = [a for a in counted if asked_in_round(a.task_key) > 1]
    if not voters:
        # Nobody was left to disagree with: the last round is the only one there is.
        last = max((asked_in_round(a.task_key) for a in later), default=1)
        voters = newest_of_each([a for a in later if asked_in_round(a.task_key) == last])
        later = []
    among = _among(photo_id, voters, majority, form, masks)
    return _adjudicated(among, later, majority, form, masks) if later else among


def asked_in_round(task_key: str) -> int:
    """The round of a task key, 1 if it has none."""
    parts = task_key.split(":")
    return int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 1


def newest_of_each(answers: Sequence[Annotation]) -> list[Annotation]:
    """A person who was asked in two projects has one vote, the newer; in the order of the ids."""
    newest: dict[str, Annotation] = {}
    for one in sorted(answers, key=_age):
        known = one.source == "label_studio" and one.annotator not in ("", "unknown")
        newest[one.annotator if known else one.annotation_id] = one
    return sorted(newest.values(), key=lambda a: a.annotation_id)


def _age(one: Annotation) -> tuple[datetime, str]:
    return one.updated_at or NEVER, one.annotation_id


def _among(
    photo_id: str,
    voters: Sequence[Annotation],
    majority: float,
    form: Form,
    masks: Masks | None,
) -> Consensus:
    decisions = Counter(a.decision or "" for a in voters)
    winner, share = _leader(decisions, len(voters))
    settled = winner is not None and share > majority
    semantic, semantic_agreement = _tags(voters, form, "semantic")
    photographic, photographic_agreement = _tags(voters, form, "photographic")
    regions, region_agreement = settle_regions(voters, form, masks)
    reasons, reason_agreement = _reasons(voters, form)
    decided = Agreement(
        question=_name(form, "decision"),
        value=winner if settled and winner else "",
        voters=len(voters),
        share=share,
    )
    rest = (reason_agreement, _stars(voters, form), _captions(voters, form), semantic_agreement)
    more = [*(a for found in rest for a in found), *photographic_agreement, *region_agreement]
    stars = [a.rating for a in voters if a.rating is not None]
    return Consensus(
        photo_id=photo_id,
        decision=winner if settled else None,
        voters=len(voters),
        agreement=share if voters else None,
        conflict=bool(voters) and not settled,
        reasons=reasons,
        rating=float(statistics.median(stars)) if stars else None,
        semantic_tags=semantic,
        photographic_tags=photographic,
        caption=_newest_caption(voters),
        agreements=(decided, *more) if voters else (),
        annotation_ids=tuple(a.annotation_id for a in voters),
        regions=regions,
    )


def _adjudicated(
    among: Consensus,
    later: Sequence[Annotation],
    majority: float,
    form: Form,
    masks: Masks | None,
) -> Consensus:
    """What the voters left open as the newest answer of the last round has it."""
    judge = max(later, key=lambda a: (asked_in_round(a.task_key), *_age(a)))
    said = _among(among.photo_id, [judge], majority, form, masks)
    values = {a.question: a.value for a in said.agreements}
    left_open = {a.question for a in among.agreements if not a.value}
    unasked = values.keys() - {a.question for a in among.agreements}
    filled = {q for q in left_open | unasked if values.get(q)}
    if not filled:
        return among
    added = tuple(a for a in said.agreements if a.question in filled & unasked)
    kept = tuple(
        replace(a, value=values[a.question]) if a.question in filled else a
        for a in among.agreements
    )
    on_decision = among.decision is None
    return replace(
        among,
        decision=among.decision or judge.decision,
        conflict=False,
        reasons=said.reasons if on_decision else among.reasons,
        rating=among.rating if among.rating is not None else said.rating,
        semantic_tags=_filled_tags(among.semantic_tags, said.semantic_tags, filled, form),
        photographic_tags=_filled_tags(
            among.photographic_tags, said.photographic_tags, filled, form
        ),
        caption=among.caption or said.caption,
        regions=_filled_regions(among, said, filled, form),
        agreements=(*kept, *added),
        annotation_ids=(*among.annotation_ids, judge.annotation_id),
        adjudicated=True,
    )


def _filled_tags(
    settled: Sequence[str], judged: Sequence[str], filled: set[str], form: Form
) -> tuple[str, ...]:
    place = {q.name: number for number, q in enumerate(form.questions)}
    both = [*settled, *(tag for tag in judged if tag.split("/", 1)[0] in filled)]
    return tuple(sorted(both, key=lambda tag: place.get(tag.split("/", 1)[0], len(place))))


def _filled_regions(
    among: Consensus, said: Consensus, filled: set[str], form: Form
) -> tuple[Region, ...]:
    asked = {c.value: q.name for q in form.questions if q.column == "regions" for c in q.choices}
    judged = (r for r in said.regions if asked.get(r.label, r.label) in filled)
    return (*among.regions, *judged)


def _name(form: Form, column: str) -> str:
    return next((q.name for q in form.questions if q.column == column), column)


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


def _reasons(voters: Sequence[Annotation], form: Form) -> tuple[tuple[str, ...], list[Agreement]]:
    """Reasons that at least half of those gave who rejected."""
    rejecting = [a for a in voters if a.decision == "reject"]
    counts = Counter(value for a in rejecting for value in set(a.reasons))
    if not counts:
        return (), []
    shared = tuple(v for v, n in sorted(counts.items()) if 2 * n >= len(rejecting))
    said = Agreement(
        question=_name(form, "reasons"),
        value=",".join(shared),
        voters=len(rejecting),
        share=max(counts.values()) / len(rejecting),
    )
    return shared, [said]


def _stars(voters: Sequence[Annotation], form: Form) -> list[Agreement]:
    stars = [a.rating for a in voters if a.rating is not None]
    if not stars:
        return []
    middle = statistics.median(stars)
    most = next((q.most for q in form.questions if q.kind == "stars"), STARS)
    away = statistics.fmean(abs(s - middle) for s in stars) / max(most - 1, 1)
    return [
        Agreement(
            question=_name(form, "rating"),
            value=f"{middle:g}",
            voters=len(stars),
            share=1 - min(away, 1.0),
            measure="distance",
        )
    ]


def _captions(voters: Sequence[Annotation], form: Form) -> list[Agreement]:
    """The text that stands, named by its answer's id; the share wrote the very same."""
    chosen = _captioned(voters)
    if chosen is None:
        return []
    texts = [a.caption for a in voters if a.caption]
    share = sum(t == chosen.caption for t in texts) / len(texts)
    name = _name(form, "caption")
    return [Agreement(question=name, value=chosen.annotation_id, voters=len(texts), share=share)]


def _newest_caption(voters: Iterable[Annotation]) -> str | None:
    chosen = _captioned(voters)
    return chosen.caption if chosen else None


def _captioned(voters: Iterable[Annotation]) -> Annotation | None:
    return max((a for a in voters if a.caption), key=_age, default=None)
