"""What the whole set looks like: the funnel, and distributions with the gates' thresholds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from curation.report_rows import CATEGORIES, FIGURES, View, figure_label, plain

__all__ = [
    "CHART_HEIGHT",
    "CHART_WIDTH",
    "Bar",
    "Distribution",
    "Ranking",
    "Step",
    "distributions",
    "funnel",
    "number",
    "rankings",
    "reason_counts",
    "vocabulary",
]

CHART_WIDTH, CHART_HEIGHT = 240.0, 64.0  # units of the SVG's viewBox
_BINS, _MOST_VALUES, _MOST_MARKS = 24, 8, 3
_MOST_REACH = 2.0  # spans of the figures; a threshold farther off is drawn at the edge
_LOG_FROM = 20.0  # 95th over 5th percentile from which on the bins are logarithmic
_ALWAYS = ("long_side", "no_face")  # shown in the funnel even if they refused none
_STEP_WORDS = {
    "long_side": "large enough",
    "megapixels": "enough megapixels",
    "no_face": "face found",
    "shot": "the one file of its shot",
    "exact_duplicate": "not the same pixels twice",
    "near_duplicate": "not a near duplicate",
    "burst": "the best of its burst",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the funnel: how many photos are still in, and how many fell out at it."""

    label: str
    count: int
    lost: int = 0
    reason: str = ""  # the reason code that its loss can be filtered by
    share: float = 1.0  # of all photos
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: figures in [low, high), the last one with its upper edge; lengths in SVG units."""

    x: float
    width: float
    height: float
    kept_height: float
    low: float
    high: float
    count: int
    kept: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """How one figure is spread; `marks` are thresholds as (x, text)."""

    key: str
    label: str
    unit: str
    bars: tuple[Bar, ...]
    marks: tuple[tuple[float, str], ...]
    low: str
    high: str
    count: int
    logarithmic: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """The commonest values of one category as (value, photos, of them kept), and the rest."""

    key: str
    label: str
    values: tuple[tuple[str, int, int], ...]
    others: int
    missing: int


def funnel(views: Sequence[View]) -> list[Step]:
    """Found, readable, then gate after gate in the order in which they judged, then kept.

    A photo that several gates refuse counts at the first of them. Gates that refused none are put
    together in one step before the last.
    """
    left = [v for v in views if v.state != "quarantined"]
    steps = [Step("found", len(views)), Step("readable", len(left), len(views) - len(left))]
    idle = []
    for reason in _gate_order(left):
        passed = [v for v in left if reason not in v.photo.reasons]
        label = _STEP_WORDS.get(reason, f"{figure_label(reason)[0]} passed")
        if len(passed) < len(left) or reason in _ALWAYS:
            steps.append(Step(label, len(passed), len(left) - len(passed), plain(reason)))
        else:
            idle.append(figure_label(reason)[0])
        left = passed
    if idle:
        label = f"{len(idle)} more gate{'' if len(idle) == 1 else 's'} refused none"
        steps.append(Step(label, len(left), note=", ".join(idle)))
    kept = sum(v.state == "kept" for v in views)
    steps.append(Step("kept", kept, len(left) - kept))
    total = max(len(views), 1)
    return [replace(step, share=step.count / total) for step in steps]


def reason_counts(views: Sequence[View]) -> list[tuple[str, str, int]]:
    """(code, words, photos), the commonest first. A photo may have several."""
    count = Counter(reason for v in views for reason in v.photo.reasons)
    return [(plain(code), figure_label(code)[0], n) for code, n in count.most_common()]


def distributions(views: Sequence[View]) -> list[Distribution]:
    """One for each figure that any photo has, in the order of FIGURES, other gates after them."""
    found = {key for v in views for key in v.figures}
    order = [k for k in FIGURES if k in found] + sorted(found - set(FIGURES))
    made = (_distribution(key, views, _thresholds(key, views)) for key in order)
    return [d for d in made if d is not None]


def rankings(views: Sequence[View]) -> list[Ranking]:
    """One for each category that any photo has a value of."""
    return [r for r in (_ranking(key, views) for key in CATEGORIES) if r.values]


def _gate_order(views: Sequence[View]) -> list[str]:
    """Gates by where they first stand among the verdicts, then reasons that no verdict names."""
    place: dict[str, int] = {}
    for view in views:
        for number, verdict in enumerate(view.photo.verdicts):
            place[verdict.gate] = max(place.get(verdict.gate, 0), number)
    refused = Counter(reason for v in views for reason in v.photo.reasons)
    judged = sorted(place, key=lambda gate: (place[gate], gate))
    return judged + [r for r, _ in refused.most_common() if r not in place]


def _thresholds(key: str, views: Sequence[View]) -> list[float]:
    """The thresholds that this figure was compared with, the commonest first."""
    seen: Counter[float] = Counter()
    for view in views:
        for verdict in view.photo.verdicts:
            if verdict.gate == key and verdict.threshold:  # a limit of 0 asks nothing
                seen[verdict.threshold] += 1
    return [value for value, _ in seen.most_common(_MOST_MARKS)]


def _distribution(
    key: str, views: Sequence[View], thresholds: Sequence[float]
) -> Distribution | None:
    pairs = [(v.figures[key], v.state == "kept") for v in views if key in v.figures]
    if not pairs:
        return None
    ordered = sorted(v for v, _ in pairs)
    low, high, cut = ordered[0], ordered[-1], len(ordered) // 20
    logarithmic = low > 0 and ordered[-1 - cut] / ordered[cut] >= _LOG_FROM
    edges = _edges(low, high, thresholds, logarithmic=logarithmic)
    label, unit = figure_label(key)
    return Distribution(
        key=key,
        label=label,
        unit=unit,
        bars=tuple(_bars(pairs, edges)),
        marks=tuple(_marks(thresholds, edges, logarithmic=logarithmic)),
        low=number(edges[0]),
        high=number(edges[-1]),
        count=len(pairs),
        logarithmic=logarithmic,
    )


def _edges(
    low: float, high: float, thresholds: Sequence[float], *, logarithmic: bool
) -> list[float]:
    """Edges of the bins, over all figures and those thresholds that do not squash them."""
    scale, back = (math.log, math.exp) if logarithmic else (float, float)
    start, end = scale(low), scale(high)
    if start == end:
        spare = abs(start) / 10 or 0.5
        start, end = (start - spare, end + spare) if start else (0.0, 1.0)
    reach = _MOST_REACH * (end - start)
    near = [scale(t) for t in thresholds if t > 0 or not logarithmic]
    near = [t for t in near if start - reach <= t <= end + reach]
    start, end = min(start, *near, end), max(end, *near, start)
    edges = [back(start + (end - start) * i / _BINS) for i in range(_BINS + 1)]
    # Rounding in exp(log(x)) must not leave the extremes outside.
    return [min(edges[0], low), *edges[1:-1], max(edges[-1], high)]


def _bars(pairs: Sequence[tuple[float, bool]], edges: Sequence[float]) -> Iterator[Bar]:
    count, kept = [0] * (len(edges) - 1), [0] * (len(edges) - 1)
    for value, good in pairs:
        place = min(bisect_right(edges, value) - 1, len(count) - 1)
        count[place] += 1
        kept[place] += good
    tallest, width = max(count), CHART_WIDTH / len(count)
    for i, n in enumerate(count):
        if n:
            # At least a unit high: one photo among ten thousand is still to be seen.
            height = max(n / tallest * CHART_HEIGHT, 1.0)
            yield Bar(
                round(i * width, 2),
                round(width, 2),
                round(height, 2),
                round(height * kept[i] / n, 2),
                edges[i],
                edges[i + 1],
                n,
                kept[i],
            )


def _marks(
    thresholds: Sequence[float], edges: Sequence[float], *, logarithmic: bool
) -> Iterator[tuple[float, str]]:
    """Where the thresholds stand; one far beyond the figures is drawn at the edge."""
    low, high = edges[0], edges[-1]
    for value in thresholds:
        if logarithmic and value > 0:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        x = min(max(share * CHART_WIDTH, 1.0), CHART_WIDTH - 1.0)  # whole line inside the chart
        # At the edge it would read as the edge's own figure.
        off = " \N{RIGHTWARDS ARROW}" if share > 1 else " \N{LEFTWARDS ARROW}" if share < 0 else ""
        yield round(x, 2), number(value) + off


def _ranking(key: str, views: Sequence[View]) -> Ranking:
    count, kept = Counter[str](), Counter[str]()
    for view in views:
        if value := view.categories.get(key):
            count[value] += 1
            kept[value] += view.state == "kept"
    top = count.most_common(_MOST_VALUES)
    shown = sum(n for _, n in top)
    return Ranking(
        key,
        CATEGORIES[key],
        tuple((value, n, kept[value]) for value, n in top),
        count.total() - shown,
        len(views) - count.total(),
    )


def number(value: float) -> str:
    """A figure for people: four digits at most, thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def vocabulary(views: Sequence[View]) -> Mapping[str, list[str]]:
    """Every value of every category, sorted: what the page's lists offer."""
    return {k: sorted({v.categories[k] for v in views if k in v.categories}) for k in CATEGORIES}
