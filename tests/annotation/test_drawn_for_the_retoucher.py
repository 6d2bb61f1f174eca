"""What people draw and paint for the retoucher stands in what a photo's answers settle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotation.imported import settle_all
from annotation.mask_files import MaskFiles
from data_manifests.errors import ManifestError
from data_manifests.records import Annotation, Box, Region

PHOTO = "ab" * 32
BOX = Box(left=100, top=100, right=200, bottom=200)
DECIDED = Annotation(
    annotation_id="s:1",
    task_key=f"{PHOTO}:triage:1",
    photo_id=PHOTO,
    state="counted",
    source="label_studio",
    annotator="anna",
    raw="{}",
    decision="retouch",
)


def drawn(person: str, *regions: Region, round_: int = 1) -> Annotation:
    return replace(
        DECIDED,
        annotation_id=f"s:{person}:{round_}",
        task_key=f"{PHOTO}:retouch:{round_}",
        annotator=person,
        decision=None,
        regions=regions,
    )


def blemish(shift: float = 0.0, note: str | None = None) -> Region:
    box = replace(BOX, left=BOX.left + shift, right=BOX.right + shift)
    return Region(label="blemish", box=box, priority="must_fix", note=note)


def test_a_box_drawn_for_the_retoucher_stands_beside_the_decision() -> None:
    settled = settle_all(PHOTO, [DECIDED, drawn("anna", blemish(note="keep the pores"))])
    assert (settled.decision, settled.voters) == ("retouch", 1)
    assert settled.regions == (blemish(note="keep the pores"),)
    (said,) = [a for a in settled.agreements if a.question == "retouch_area"]
    assert (said.value, said.voters) == ("blemish", 1)


def test_of_three_people_two_must_want_a_thing_and_its_box_is_their_median() -> None:
    rows = [
        drawn("anna", blemish(0, "soften")),
        drawn("ben", blemish(10, "pores")),
        drawn("cleo", Region(label="stray_hair", box=replace(BOX, left=900, right=950))),
    ]
    (kept,) = settle_all(PHOTO, [DECIDED, *rows]).regions
    assert kept.box == replace(BOX, left=105, right=205)
    assert (kept.label, kept.priority, kept.note) == ("blemish", "must_fix", "soften; pores")


def test_a_new_round_takes_the_place_of_the_one_before() -> None:
    before, after = drawn("anna", blemish()), drawn("anna", blemish(500), round_=2)
    assert settle_all(PHOTO, [DECIDED, before, after]).regions == (blemish(500),)


def test_what_was_taken_back_or_set_aside_is_not_asked_for() -> None:
    gone = replace(drawn("anna", blemish()), state="set_aside")
    assert settle_all(PHOTO, [DECIDED, gone]).regions == ()


def test_painted_areas_of_several_people_are_voted_on_pixel_by_pixel(tmp_path: Path) -> None:
    files = MaskFiles(tmp_path)
    masks = np.zeros((3, 40, 60), np.bool_)
    masks[0, 10:30, 10:30] = masks[1, 10:30, 20:40] = masks[2, 10:30, 15:35] = True
    rows = [
        drawn(str(n), Region(label="skin_texture_keep", mask_path=files.save(mask)))
        for n, mask in enumerate(masks)
    ]
    settled = settle_all(PHOTO, [DECIDED, *rows], masks=files.voted)
    (area,) = settled.regions
    kept = files.load(str(area.mask_path))
    np.testing.assert_array_equal(kept, masks.sum(axis=0) >= 2)
    (said,) = [a for a in settled.agreements if a.question == "texture_mask"]
    overlaps = [(m & kept).sum() / (m | kept).sum() for m in masks]
    assert said.share == pytest.approx(np.mean(overlaps))
    assert said.measure == "iou"


def test_a_painted_area_whose_file_is_gone_says_how_to_get_it_back(tmp_path: Path) -> None:
    rows = [drawn(n, Region(label="skin_texture_keep", mask_path="masks/x.png")) for n in "ab"]
    with pytest.raises(ManifestError, match=r"masks/x\.png can't be read.*pull --full"):
        settle_all(PHOTO, [DECIDED, *rows], masks=MaskFiles(tmp_path).voted)
