from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from annotation.agreement import settle
from annotation.questions import TRIAGE
from annotation.settle_regions import Masks, overlap, settle_regions, vote_masks
from data_manifests.records import Annotation, Box, Point, Region


def box(left: float, top: float = 0, size: float = 100) -> Box:
    return Box(left=left, top=top, right=left + size, bottom=top + size)


def face(left: float, top: float = 0, label: str = "subject_face", **more: Any) -> Region:
    return Region(label=label, box=box(left, top), **more)


def point(label: str, x: float, y: float) -> Region:
    return Region(label=label, point=Point(x=x, y=y))


def drew(number: int, *regions: Region, **values: Any) -> Annotation:
    defaults: dict[str, Any] = {
        "annotation_id": f"s:{number}",
        "task_key": "p:triage:1",
        "photo_id": "p",
        "annotator": f"person-{number}",
        "state": "counted",
        "decision": "accept",
        "raw": "[]",
        "regions": regions,
    }
    return Annotation(**(defaults | values))


def test_overlap_is_the_area_in_both_by_the_area_in_either() -> None:
    assert overlap(box(0), box(0)) == 1.0
    assert overlap(box(0), box(50)) == pytest.approx(1 / 3)
    assert overlap(box(0), box(100)) == 0.0
    assert overlap(box(0), box(0, top=300)) == 0.0


def test_boxes_of_one_face_become_their_median_and_say_how_near_they_were() -> None:
    made = settle("p", [drew(1, face(0)), drew(2, face(4)), drew(3, face(10))])
    assert [r.box for r in made.regions] == [box(4)]
    (said,) = [a for a in made.agreements if a.question == "face_box"]
    assert (said.value, said.voters, said.measure) == ("subject_face", 3, "iou")
    near = [overlap(box(4), box(left)) for left in (0, 4, 10)]
    assert said.share == pytest.approx(sum(near) / 3)


def test_a_box_needs_half_of_the_voters() -> None:
    made = settle("p", [drew(1, face(0), face(500)), drew(2, face(0)), drew(3, face(0))])
    assert [r.box for r in made.regions] == [box(0)]
    made = settle("p", [drew(1, face(0), face(500)), drew(2, face(0))])
    assert [r.box for r in made.regions] == [box(0), box(500)]


def test_two_boxes_of_one_person_are_never_one_face() -> None:
    made = settle("p", [drew(1, face(0), face(20)), drew(2, face(4), face(24))])
    assert [r.box for r in made.regions] == [box(2), box(22)]


def test_a_face_has_the_label_that_most_gave_it() -> None:
    other = face(2, label="other_face")
    made = settle("p", [drew(1, face(0)), drew(2, other), drew(3, face(2))])
    assert [(r.label, r.box) for r in made.regions] == [("subject_face", box(2))]


def test_who_answered_from_a_sidecar_could_not_draw_and_has_no_vote_on_boxes() -> None:
    elsewhere = [drew(n, source="xmp") for n in (2, 3)]
    made = settle("p", [drew(1, face(0)), *elsewhere])
    assert [r.box for r in made.regions] == [box(0)]
    assert made.voters == 3


def test_a_box_that_all_left_as_suggested_still_says_so() -> None:
    suggested = [drew(n, face(0, origin="prediction")) for n in (1, 2)]
    assert settle("p", suggested).regions[0].origin == "prediction"
    mixed = [suggested[0], drew(3, face(2, origin="manual"))]
    assert settle("p", mixed).regions[0].origin == "prediction-changed"


def test_landmarks_are_medians_compared_by_the_distance_of_the_eyes() -> None:
    def eyes(shift: float) -> tuple[Region, Region]:
        return point("left_eye", 100 + shift, 50), point("right_eye", 200 + shift, 50)

    made = settle("p", [drew(1, *eyes(0)), drew(2, *eyes(10)), drew(3, *eyes(0))])
    assert made.regions == eyes(0)[:1] + eyes(0)[1:]
    (said,) = [a for a in made.agreements if a.question == "landmark"]
    assert (said.value, said.measure) == ("left_eye,right_eye", "distance")
    assert said.share == pytest.approx(1 - (0.1 + 0.1) / 6)


def test_points_without_both_eyes_are_compared_by_who_placed_them() -> None:
    nose = point("nose", 5, 5)
    made = settle("p", [drew(1, nose), drew(2, nose), drew(3)])
    (said,) = [a for a in made.agreements if a.question == "landmark"]
    assert (said.measure, said.value) == ("share", "nose")
    assert said.share == pytest.approx(2 / 3)


def test_pixels_stand_that_half_of_the_voters_painted() -> None:
    masks = [np.zeros((4, 4), bool) for _ in range(3)]
    masks[0][:2], masks[1][1:3], masks[2][1] = True, True, True
    settled, share = vote_masks(masks, 3)
    assert settled.any(axis=1).tolist() == [False, True, False, False]
    assert share == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert vote_masks(masks[:1], 2)[1] == pytest.approx(0.5)
    assert not vote_masks(masks[:1], 3)[0].any()


def test_painted_areas_are_voted_on_and_those_of_another_picture_left_out() -> None:
    kept: dict[str, Any] = {}

    def save(mask: Any) -> str:
        name = f"masks/{hashlib.sha256(mask.tobytes()).hexdigest()[:8]}.png"
        kept[name] = mask
        return name

    for name, rows, size in (("a", 3, 6), ("b", 4, 6), ("c", 1, 9)):
        kept[name] = np.arange(size)[:, None].repeat(size, 1) < rows
    answers = [
        drew(n, Region(label="skin", mask_path=name, priority="must_fix"))
        for n, name in enumerate("abc")
    ]
    (region,), (said,) = settle_regions(answers, TRIAGE, Masks(kept.__getitem__, save))
    assert region.mask_path is not None
    assert (region.label, region.priority) == ("skin", "must_fix")
    assert kept[region.mask_path].sum() == 18
    assert said.measure == "iou"
    assert said.share == pytest.approx((1 + 18 / 24) / 3)
    assert settle_regions(answers, TRIAGE)[0] == ()
    assert settle_regions(answers[:1], TRIAGE)[0] == answers[0].regions


def test_the_order_of_answers_does_not_matter_for_regions() -> None:
    answers = [
        drew(1, face(0), face(60), point("nose", 1, 1)),
        drew(2, face(30), face(62, label="other_face"), point("nose", 3, 9)),
        drew(3, face(10), point("nose", 2, 5)),
    ]
    assert settle("p", answers) == settle("p", answers[::-1])
