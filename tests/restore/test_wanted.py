"""Which faces are meant by what people write."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from data_manifests.records import Box
from restore.config import RestoreConfig
from restore.wanted import parse_wanted

HERE = Box(left=100, top=100, right=200, bottom=220)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", [0, 1, 2]),
        ("largest", [0]),
        ("0,2", [0, 2]),
        (" 1 ", [1]),
        ("box:140,150,170,180", [0, 1, 2]),
        ("box:0,0,50,50", []),
    ],
)
def test_a_choice_includes_what_it_names(text: str, numbers: list[int]) -> None:
    wanted = parse_wanted(text)
    assert [n for n in range(3) if wanted.includes(n, HERE)] == numbers


@pytest.mark.parametrize(
    "text", ["", "some", "1;2", "-1", "box:1,2,3", "box:5,5,1,1", "box:a,b,c,d"]
)
def test_anything_else_is_refused_with_what_can_be_written(text: str) -> None:
    with pytest.raises(ValueError, match="faces"):
        parse_wanted(text)
    with pytest.raises(ValidationError):
        RestoreConfig(faces=text)


def test_a_box_the_wrong_way_round_is_told_so() -> None:
    with pytest.raises(ValueError, match="left < right and top < bottom"):
        parse_wanted("box:90,80,60,50")


@pytest.mark.parametrize(
    ("text", "count", "said"),
    [
        ("all", 1, ""),
        ("largest", 0, ""),
        ("0,1", 2, ""),
        ("1", 1, "there is no face 1: the photo has one, 0"),
        ("0,5,3", 2, "there is no face 3, 5: the photo has 2, 0 to 1"),
        ("box:140,150,170,180", 2, ""),
        ("box:0,0,50,50", 2, "no face was found in the box that was asked for"),
        ("box:0,0,50,50", 0, ""),
    ],
)
def test_what_is_not_there_is_said(text: str, count: int, said: str) -> None:
    assert parse_wanted(text).unmet([HERE] * count) == said
