"""Answers that people have begun and not submitted: counted and told, never merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from annotation.studio import Studio

__all__ = ["begun_in", "left_lying", "of_whom"]

Draft = Mapping[str, Any]  # as the server has it

_LONG = timedelta(days=1)  # somebody answered and forgot to submit


def begun_in(studio: Studio, projects: Iterable[int]) -> list[Draft]:
    """Everybody's drafts in these projects; a list of tasks shows its reader's own alone."""
    return [draft for project in projects for draft in studio.drafts(project)]


def left_lying(drafts: Iterable[Draft], now: datetime) -> int:
    """Drafts that nobody has touched for a day: the person may think that they have answered."""
    times = [str(draft.get("updated_at") or "") for draft in drafts]
    return sum(now - datetime.fromisoformat(time) > _LONG for time in times if time)


def of_whom(
    drafts: Sequence[Draft], emails: Mapping[int, str], name: Callable[[int | None], str]
) -> dict[str, int]:
    """How many each person has, by pseudonym; the server names them by e-mail, which is not kept.

    `emails` are the users' by number, and `name` gives the pseudonym of a number.
    """
    numbers = {email: number for number, email in emails.items()}
    counts = Counter(name(numbers.get(str(draft.get("user")))) for draft in drafts)
    return dict(sorted(counts.items()))
