"""Inline line charts."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from authface.charts import line_chart


def test_a_chart_is_well_formed_and_says_its_range() -> None:
    svg = line_chart([1, 2, 3], [3.0, 2.0, 1.0], label="loss")
    root = ET.fromstring(svg)
    assert "from 3 to 1 over 3 steps" in root.attrib["aria-label"]


def test_values_that_are_not_finite_are_left_out() -> None:
    assert "over 2 steps" in line_chart([1, 2, 3], [3.0, math.nan, 1.0], label="loss")


def test_fewer_than_two_points_make_no_chart() -> None:
    assert line_chart([1], [1.0], label="loss") == ""


def test_a_flat_line_does_not_divide_by_zero() -> None:
    assert "polyline" in line_chart([1, 2], [1.0, 1.0], label="loss")


def test_what_stands_beside_a_line_fits_the_margin() -> None:
    """A minus sign that is cut off would turn the curve's meaning round."""
    svg = line_chart([1, 2], [-0.0000123456, 123456.0], label="x")
    ticks = [t.text or "" for t in ET.fromstring(svg) if t.attrib.get("text-anchor") == "end"]
    assert ticks[0] == "-1.2e-05"
    assert max(len(tick) for tick in ticks[:3]) <= 8
