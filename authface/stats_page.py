"""Distributions of a table version as people look at them: one HTML page, or terminal tables."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from authface import console
from authface.pages import page_environment
from data_manifests.stats import Category, Spread, Stats, Tally

__all__ = ["print_stats", "render_stats"]

WIDTH, HEIGHT = 240.0, 72.0  # units of a chart's viewBox
TOLD = 10  # values of a category that stand on the page; on a terminal fewer
TOLD_SHORT = 4
GROUPS = (
    ("", "Who and under what"),
    ("semantic", "What is in the picture"),
    ("photographic", "How it was photographed"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a category as the page shows it; lengths as shares of the longest bar."""

    words: str
    samples: int
    photos: int
    length: float
    behind: float
    share: str


def render_stats(stats: Stats, *, title: str) -> str:
    """The page as text: no script, no outside file."""
    environment = page_environment()
    environment.globals |= {"number": number, "rows": _rows, "label": _label}
    environment.globals |= {"chart": _chart, "middle": _middle, "alike": _alike}
    return environment.get_template("stats.html.j2").render(
        title=title, stats=stats, groups=list(_groups(stats)), told=TOLD
    )


def print_stats(stats: Stats) -> None:
    """The same as tables for a terminal."""
    said = f"samples@{stats.version}" if stats.version is not None else "no samples yet"
    console.say(
        f"{said}: {stats.samples} samples of {stats.people} known people,"
        f" {stats.photos} photos kept"
    )
    columns = ("figure", "rows", "median", "5 % to 95 %", "least to most", "without")
    for name, photos in (("Samples", False), ("Photos that were kept", True)):
        if rows := list(_figures(stats, photos=photos)):
            console.table(name, columns, rows)
    for name, categories in _groups(stats):
        told = [(_label(c), _in_words(c), c.missing) for c in categories]
        console.table(name, ("asked", "samples", "without"), told)


def number(value: float | None) -> str:
    """A figure for people: three digits, two places at the most; thousands set apart."""
    if value is None:
        return ""
    small = f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.3g}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else small
    return "0" if text == "-0" else text


def _figures(stats: Stats, *, photos: bool) -> Iterator[tuple[object, ...]]:
    for spread in stats.spreads:
        tally = spread.photos if photos else spread.samples
        if tally is not None and tally.count:
            least, low, _, middle, _, high, most = map(number, tally.quantiles)
            told = (middle, f"{low} to {high}", f"{least} to {most}", tally.missing)
            yield (f"{spread.label}, {spread.unit}", tally.count, *told)


def _groups(stats: Stats) -> Iterator[tuple[str, list[Category]]]:
    """The categories by group; questions in the order in which the form asks them."""
    from annotation.questions import TRIAGE, tag_questions

    for group, name in GROUPS:
        asked = [q.name for q in tag_questions(TRIAGE, group)]
        place = {question: number for number, question in enumerate(asked)}
        found = [c for c in stats.categories if c.group == group]
        if found:
            yield name, sorted(found, key=lambda c: place.get(c.name, -1))


def _label(category: Category) -> str:
    from annotation.questions import TRIAGE, named

    question = named(TRIAGE).get(category.name)
    return question.title if question and category.group else category.label


def _in_words(category: Category) -> str:
    told = [f"{_words(category, v.value)} {v.share:.0%}" for v in category.values[:TOLD_SHORT]]
    more = len(category.values) - len(told)
    return ", ".join(told) + (f", {more} more" if more else "")


def _words(category: Category, value: str) -> str:
    return console.one_line(value.replace("_", " ") if category.group else value)


def _rows(category: Category) -> list[Row]:
    shown = category.values[:TOLD]
    longest = max((max(v.samples, v.photos) for v in shown), default=0) or 1
    return [
        Row(
            words=_words(category, v.value),
            samples=v.samples,
            photos=v.photos,
            length=round(100 * v.samples / longest, 2),
            behind=round(100 * v.photos / longest, 2),
            share=f"{v.share:.0%}" if v.share >= 0.095 or not v.share else f"{v.share:.1%}",
        )
        for v in shown
    ]


def _middle(tally: Tally) -> str:
    """The median, and what nine in ten lie between."""
    if not tally.count:
        return "none"
    low, middle, high = (number(tally.quantiles[place]) for place in (1, 3, 5))
    return f"{middle} ({low} to {high})"


def _alike(spread: Spread) -> bool:
    tally = spread.samples
    return spread.photos is None and tally.quantiles[:1] == tally.quantiles[-1:]


def _chart(spread: Spread) -> str:
    """An SVG of the bins: kept photos behind, samples before them; nothing a person typed."""
    tallest = max(max(b.samples, b.photos) for b in spread.bins) or 1
    width = WIDTH / len(spread.bins)
    bars = "".join(
        f"<g><title>{html.escape(_told(spread, place))}</title>"
        f'<rect class="hit" x="{place * width:.2f}" y="0" width="{width:.2f}" height="{HEIGHT:g}"/>'
        + _bar("photos", place * width, width, b.photos / tallest)
        + _bar("samples", place * width, width, b.samples / tallest)
        + "</g>"
        for place, b in enumerate(spread.bins)
    )
    said = f"{spread.label}: median {number(_median(spread))} {spread.unit}"
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none"'
        f' role="img" aria-label="{html.escape(said)}">{bars}</svg>'
    )


def _bar(kind: str, x: float, width: float, share: float) -> str:
    if not share:
        return ""
    height = max(share * HEIGHT, 1.5)  # one row among ten thousand is still to be seen
    return (
        f'<rect class="{kind}" x="{x + 0.06 * width:.2f}" y="{HEIGHT - height:.2f}"'
        f' width="{0.88 * width:.2f}" height="{height:.2f}"/>'
    )


def _told(spread: Spread, place: int) -> str:
    found = spread.bins[place]
    said = f"{number(found.low)} to {number(found.high)} {spread.unit}: {found.samples} samples"
    if spread.clipped and place == 0:
        said = "up to " + said.split(" to ", 1)[1]
    elif spread.clipped and place == len(spread.bins) - 1:
        said = "from " + said.replace(f" to {number(found.high)}", "", 1)
    return said + ("" if spread.photos is None else f", {found.photos} kept photos")


def _median(spread: Spread) -> float | None:
    told: Sequence[float] = spread.samples.quantiles or (
        spread.photos.quantiles if spread.photos else ()
    )
    return told[len(told) // 2] if told else None
