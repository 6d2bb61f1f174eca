"""Answers about regions: a box, its priority and its note are one region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from annotation.answers import Asked, Reading, ServerAnswer, to_annotation
from annotation.questions import RETOUCH
from annotation.rules import broken
from data_manifests.records import Annotation, Box, Task

TASK = Task(
    task_key="p:retouch:1",
    photo_id="p",
    kind="retouch",
    state="sent",
    image_path="a.jpg",
    image_width=40,
    image_height=60,
)


def box(region: str, label: str = "blemish", *, x: float = 10) -> dict[str, Any]:
    where = {"x": x, "y": 20, "width": 5, "height": 10, "rotation": 0}
    return {
        "id": region,
        "from_name": "retouch_area",
        "type": "rectanglelabels",
        "original_width": 40,
        "original_height": 60,
        "value": where | {"rectanglelabels": [label]},
    }


def priority(region: str, value: str = "must_fix") -> dict[str, Any]:
    said = {"choices": [value]}
    return {"id": region, "from_name": "priority", "type": "choices", "value": said}


def note(region: str, text: str) -> dict[str, Any]:
    said = {"text": [text]}
    return {"id": region, "from_name": "region_note", "type": "textarea", "value": said}


def painted(rle: Any, region: str = "m") -> dict[str, Any]:
    said = {"format": "rle", "rle": rle, "brushlabels": ["skin_texture_keep"]}
    return {
        "id": region,
        "from_name": "texture_mask",
        "type": "brushlabels",
        "original_width": 40,
        "original_height": 60,
        "value": said,
    }


def rle(width: int = 40, height: int = 60) -> list[int]:
    from label_studio_sdk.converter.brush import encode_rle

    alpha_HW = np.zeros((height, width), dtype=np.uint8)
    alpha_HW[10:20, 5:9] = 255
    return list(encode_rle(np.repeat(alpha_HW.ravel(), 4)))


def reading(*result: dict[str, Any]) -> Reading:
    return Reading(Asked(TASK, RETOUCH, 400, 600), ServerAnswer(id=1, result=list(result)))


def row(one: Reading, kept: list[bytes] | None = None) -> Annotation:
    def keep(png: bytes) -> str:
        assert kept is not None
        kept.append(png)
        return f"masks/{len(kept)}.png"

    return to_annotation(one, server="s", annotator="a", keep_mask=None if kept is None else keep)


def test_a_box_its_priority_and_its_note_are_one_region() -> None:
    said = reading(
        box("r1"),
        priority("r1"),
        note("r1", " soften,\u0007 keep the pores "),
        box("r2", "stray_hair", x=50),
        priority("r2", "keep_as_is"),
    )
    assert broken(said) == ()
    first, second = row(said).regions
    assert first.box == Box(left=40, top=120, right=60, bottom=180)
    assert (first.priority, first.note) == ("must_fix", "soften, keep the pores")
    assert (second.label, second.priority, second.note) == ("stray_hair", "keep_as_is", None)


def test_a_painted_area_is_kept_as_a_picture_of_its_own() -> None:
    kept: list[bytes] = []
    said = reading(painted(rle()))
    assert broken(said) == ()
    (region,) = row(said, kept).regions
    assert (region.label, region.mask_path) == ("skin_texture_keep", "masks/1.png")
    assert kept[0].startswith(b"\x89PNG")


def test_without_a_place_for_masks_the_label_stays_and_the_raw_answer_has_the_area() -> None:
    made = row(reading(painted(rle())))
    assert made.regions[0].mask_path is None
    assert '"rle": [' in made.raw


@pytest.mark.parametrize("bad", [[], None, "rle", [1, 2, 3], {"a": 1}, ["x"]], ids=repr)
def test_a_painted_area_that_cannot_be_read_is_set_aside(bad: Any) -> None:
    said = reading(painted(bad))
    assert broken(said) == ("unreadable_mask",)
    made = to_annotation(said, server="s", annotator="a", flags=broken(said))
    assert (made.state, made.regions) == ("set_aside", ())


def test_a_painted_area_of_another_picture_is_set_aside() -> None:
    assert broken(reading(painted(rle(41)))) == ("unreadable_mask",)


def test_every_box_needs_a_priority_even_if_the_answer_came_past_the_form() -> None:
    said = reading(box("r1"), priority("r1"), box("r2"))
    assert broken(said) == ("missing_required",)


def test_two_priorities_of_one_box_are_one_too_many() -> None:
    twice = reading(box("r1"), priority("r1"), priority("r1", "keep_as_is"))
    assert broken(twice) == ("several_answers",)


def test_a_note_on_the_whole_picture_is_nobodys_region_note() -> None:
    whole = note("w", "more contrast") | {"from_name": "retouch_note"}
    made = row(reading(box("r1"), priority("r1"), whole))
    assert (made.note, made.regions[0].note) == ("more contrast", None)


def test_an_answer_set_aside_keeps_its_raw_json_only() -> None:
    said = reading(box("r1"))
    made = to_annotation(said, server="s", annotator="a", flags=("missing_required",))
    assert (made.regions, "retouch_area" in made.raw) == ((), True)
