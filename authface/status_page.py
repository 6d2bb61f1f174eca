"""How the annotation work stands, as people look at it: one HTML page with plots."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from authface.cells import moment
from authface.pages import page_environment

if TYPE_CHECKING:
    from annotation.progress import Overview, Pace, Queue

__all__ = ["asked", "day", "figure", "parts", "percent", "project", "render_status", "seconds"]

LEAST = 0.7  # of agreement; lower figures stand out on the page
DAYS = 30  # bars of the days
WIDTH, HEIGHT, FOOT, HEAD = 420.0, 110.0, 18.0, 14.0  # units of a chart's viewBox


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure at the head of the page."""

    figure: str
    words: str
    bad: bool = False


def render_status(found: Overview, *, title: str, now: datetime) -> str:
    """The page as text: no script, no outside file, its style allowed by hash alone."""
    environment = page_environment()
    environment.globals |= {"asked": asked, "bar": _bar, "day": day, "days": _days}
    environment.globals |= {"figure": figure, "low": _low, "parts": parts, "percent": percent}
    environment.globals |= {"project": project, "seconds": seconds, "some": _some}
    environment.globals |= {"stacked": _stacked, "times": _times}
    style = environment.get_template("status.css.j2").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("status.html.j2").render(
        title=title,
        found=found,
        now=moment(now.replace(microsecond=0)),
        tiles=_tiles(found),
        style=style,
        style_hash=f"sha256-{digest}",
        least=LEAST,
        shown_days=min(DAYS, len(found.days)),
    )


def project(queue: Queue) -> str:
    """What a project is called for people."""
    name = queue.kind + (f" at {queue.desk}" if queue.desk else "")
    return name + (f" (project {queue.project_id})" if queue.project_id else "")


def asked(question: str) -> str:
    """The question in the form's words, else its name."""
    from annotation.questions import FORMS, named

    known = {name: q.title for form in FORMS.values() for name, q in named(form).items()}
    return known.get(question, question.replace("_", " "))


def percent(share: float | None) -> str:
    """A share of 1 as whole percents, nothing for none."""
    return "" if share is None else f"{share:.0%}"


def parts(share: float | None) -> str:
    """A small part of a length in percents with a decimal."""
    return "" if share is None else f"{share:.1%}"


def figure(value: float | None) -> str:
    """A figure with two decimals, nothing for none."""
    return "" if value is None else f"{value:.2f}"


def seconds(value: float | None) -> str:
    """A time in the unit that people would say."""
    if value is None:
        return ""
    if value < 99.95:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    return f"{value / 60:.1f} min"


def day(when: datetime | None) -> str:
    """Date and time to the minute in UTC, nothing for none."""
    return "" if when is None else moment(when.replace(microsecond=0))[:16]


def _tiles(found: Overview) -> list[Tile]:
    tasks = sum(q.asked for q in found.queues)
    answered = sum(q.labelled for q in found.queues)
    aside = sum(q.set_aside for q in found.queues)
    split = sum(o.photos for o in found.outcomes if o.decision is None)
    tiles = [
        Tile(f"{tasks:,}", "tasks asked"),
        Tile(percent(answered / tasks) if tasks else "0%", "answered"),
        Tile(f"{sum(o.photos for o in found.outcomes) - split:,}", "photos settled"),
        Tile(f"{split:,}", "in conflict", bad=split > 0),
        Tile(f"{aside:,}", "tasks set aside", bad=aside > 0),
        Tile(f"{len(found.people):,}", "people"),
    ]
    if found.drafts is not None:
        tiles.append(Tile(f"{found.drafts:,}", "drafts not submitted"))
    return tiles


def _some(number: int) -> str:
    return f"{number:,}" if number else ""


def _low(share: float | None) -> bool:
    return share is not None and share < LEAST


def _stacked(queue: Queue) -> str:
    """The states of a project's tasks beside each other; what is open stays empty."""
    told: list[str] = []
    start = 0.0
    for name in ("labelled", "skipped", "set_aside"):
        length = 100 * getattr(queue, name) / max(queue.asked, 1)
        told.append(
            f'<rect class="{name}" x="{start:.2f}" width="{length:.2f}" height="12"/>'
            if length
            else ""
        )
        start += length
    done = f"{queue.labelled} of {queue.asked} answered"
    return _rail("".join(told), done)


def _bar(share: float) -> str:
    length = 100 * min(max(share, 0.0), 1.0)
    return _rail(f'<rect class="near" width="{length:.2f}" height="12"/>', percent(share))


def _rail(inside: str, said: str) -> str:
    return (
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" role="img"'
        f' aria-label="{html.escape(said)}"><title>{html.escape(said)}</title>'
        f'<rect class="rail" width="100" height="12"/>{inside}</svg>'
    )


def _times(pace: Pace) -> str:
    from annotation.progress import TIME_EDGES

    ends = [*TIME_EDGES[1:], None]
    names = [
        f"{start}-{end}" if end else f"{start} on"
        for start, end in zip(TIME_EDGES, ends, strict=True)
    ]
    return _columns(names, pace.bars, f"median {seconds(pace.median_s)}", every=1)


def _days(found: Overview) -> str:
    shown = found.days[-DAYS:]
    names = [f"{when:%d %b}" for when, _ in shown]
    said = f"{sum(n for _, n in shown)} answers on {len(shown)} days"
    return _columns(names, [n for _, n in shown], said, every=-(-len(shown) // 8))


def _columns(names: Sequence[str], counts: Sequence[int], said: str, *, every: int) -> str:
    """An SVG of upright bars with their numbers on top; every so many has its name below."""
    tallest, width = max(*counts, 1), WIDTH / len(counts)
    inner = min(0.8 * width, 48.0)
    drawn = []
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        height = max(count / tallest * (HEIGHT - HEAD), 1.5) if count else 0.0
        middle, top = (place + 0.5) * width, HEAD + HEIGHT - HEAD - height
        drawn.append(
            f"<g><title>{html.escape(name)}: {count}</title>"
            f'<rect x="{middle - inner / 2:.1f}" y="{top:.1f}" width="{inner:.1f}"'
            f' height="{height:.1f}"/>'
            + (f'<text x="{middle:.1f}" y="{top - 3:.1f}">{count}</text>' if count else "")
            + (
                f'<text x="{middle:.1f}" y="{HEIGHT + 13:g}">{html.escape(name)}</text>'
                if place % every == 0
                else ""
            )
            + "</g>"
        )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT + FOOT:g}" role="img"'
        f' aria-label="{html.escape(said)}">'
        f'<line x1="0" x2="{WIDTH:g}" y1="{HEIGHT:g}" y2="{HEIGHT:g}"/>{"".join(drawn)}</svg>'
    )
