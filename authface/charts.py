"""Small line charts as inline SVG: no script, no outside file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart", "series_chart"]

WIDTH, HEIGHT = 560, 200
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 28


def line_chart(steps: Sequence[int], values: Sequence[float], *, label: str) -> str:
    """An SVG of the values over the steps, with their running median drawn on top.

    Finite values only.
    """
    pairs = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if len(pairs) < 2:
        return ""
    low, high = min(v for _, v in pairs), max(v for _, v in pairs)
    if high == low:
        high = low + 1.0
    first, last = pairs[0][0], pairs[-1][0]

    def place(step: float, value: float) -> str:
        x = LEFT + (step - first) / max(last - first, 1) * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    raw = " ".join(place(s, v) for s, v in pairs)
    smooth = " ".join(place(s, v) for s, v in _running_median(pairs))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}: '
        f'from {pairs[0][1]:.3g} to {pairs[-1][1]:.3g} over {len(pairs)} steps">'
        f"{_grid(low, high)}"
        f'<polyline class="raw" points="{raw}"/><polyline class="smooth" points="{smooth}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step {first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">step {last}</text></svg>'
    )


def series_chart(series: Mapping[str, Sequence[tuple[int, float]]], *, label: str) -> str:
    """An SVG of several curves over the same steps, told apart by the classes c0, c1 and so on.

    Each curve's name is its tooltip; whoever draws the chart writes the legend. Empty without two
    points in any.
    """
    every = [pair for pairs in series.values() for pair in pairs]
    if max((len(pairs) for pairs in series.values()), default=0) < 2:
        return ""
    low, high = min(v for _, v in every), max(v for _, v in every)
    high = high if high > low else low + 1.0
    first, last = min(s for s, _ in every), max(s for s, _ in every)

    def place(step: int, value: float) -> str:
        x = LEFT + (step - first) / max(last - first, 1) * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    curves = "".join(
        f'<polyline class="series c{number}" points="{" ".join(place(*p) for p in pairs)}">'
        f"<title>{escape(name)}</title></polyline>"
        for number, (name, pairs) in enumerate(series.items())
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{_grid(low, high)}{curves}'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step {first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">step {last}</text></svg>'
    )


def _grid(low: float, high: float) -> str:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
        value = low + share * (high - low)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>'
        )
    return "".join(lines)


def _tick(value: float) -> str:
    """A value beside its line, short enough for the margin."""
    text = f"{value:.3g}"
    return text if len(text) <= 7 else f"{value:.1e}"


def _running_median(pairs: Sequence[tuple[int, float]], reach: int = 3) -> list[tuple[int, float]]:
    smooth = []
    for i, (step, _) in enumerate(pairs):
        near = sorted(v for _, v in pairs[max(0, i - reach) : i + reach + 1])
        smooth.append((step, near[len(near) // 2]))
    return smooth
