"""How far the work is, from the tables alone."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable

from data_manifests.records import Annotation, Consensus, Task

__all__ = ["broken_rules", "decisions", "people", "tasks_by_state"]


def tasks_by_state(tasks: Iterable[Task]) -> list[tuple[str, str, int]]:
    """Kind, state and number of tasks."""
    counts = Counter((t.kind, t.state.replace("_", " ")) for t in tasks)
    return [(kind, state, n) for (kind, state), n in sorted(counts.items())]


def decisions(settled: Iterable[Consensus]) -> list[tuple[str, int, str]]:
    """Decision, photos, and the mean share of voters behind it."""
    shares: dict[str, list[float]] = defaultdict(list)
    for one in settled:
        if one.voters:
            shares[one.decision or "no agreement"].append(one.agreement or 0.0)
    return [
        (name, len(found), f"{statistics.mean(found):.2f}")
        for name, found in sorted(shares.items())
    ]


def people(annotations: Iterable[Annotation]) -> list[tuple[str, int, int, int, str]]:
    """Pseudonym, answers counted, skipped and set aside, and the median time of one in seconds."""
    by_person: dict[str, list[Annotation]] = defaultdict(list)
    for one in annotations:
        by_person[one.annotator].append(one)
    return [_person(name, given) for name, given in sorted(by_person.items())]


def broken_rules(annotations: Iterable[Annotation]) -> list[tuple[str, int]]:
    """Name of each merge rule that fired, and on how many answers."""
    counts = Counter(flag for one in annotations if one.state == "set_aside" for flag in one.flags)
    return sorted(counts.items())


def _person(name: str, given: list[Annotation]) -> tuple[str, int, int, int, str]:
    states = Counter(a.state for a in given)
    times = [a.lead_time_s for a in given if a.lead_time_s is not None]
    median = f"{statistics.median(times):.1f}" if times else "-"
    return name, states["counted"], states["skipped"], states["set_aside"], median
