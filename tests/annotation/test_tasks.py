from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotation.labeling import DATA_KEYS
from annotation.questions import TRIAGE, named
from annotation.tasks import suggest, task_json, task_key, triage_tasks
from data_manifests.records import Capture, Face, Photo, Pose, Task
from data_manifests.store import Store


@pytest.fixture
def photo(add_photos: Callable[..., list[Photo]], tmp_path: Path) -> Photo:
    return add_photos(Store(tmp_path / "tables"), tmp_path / "media")[0]


@pytest.fixture
def faces(photo: Photo, tmp_path: Path) -> list[Face]:
    return Store(tmp_path / "tables").read(Face)


def test_only_kept_photos_that_were_never_asked_about_become_tasks(photo: Photo) -> None:
    other = replace(photo, photo_id="b" * 64, state="set_aside")
    (task,) = triage_tasks([photo, other], {})
    assert (task.photo_id, task.state, task.image_width) == (photo.photo_id, "waiting", 680)
    assert list(triage_tasks([photo], {task.task_key: task})) == []


def test_boxes_and_points_stand_in_percent_of_the_photo(photo: Photo, faces: list[Face]) -> None:
    made = _json(photo, faces)
    regions = {
        r["value"].get("keypointlabels", ["box"])[0]: r
        for r in _result(made)
        if "original_width" in r
    }
    box = regions["box"]["value"]
    assert (box["x"], box["width"]) == pytest.approx((100 * 1180 / 3400, 100 * 940 / 3400))
    assert (box["y"], box["height"]) == pytest.approx((100 * 600 / 5120, 100 * 1300 / 5120))
    assert regions["nose"]["value"]["x"] == pytest.approx(100 * 1660 / 3400)
    assert regions["nose"]["original_height"] == 1024


def test_a_box_over_the_edge_is_cut_at_the_edge(photo: Photo, faces: list[Face]) -> None:
    wide = replace(faces[0], box=replace(faces[0].box, left=-50, right=3500))
    box = _result(_json(photo, [wide]))[0]["value"]
    assert (box["x"], box["width"]) == (0, 100)


def test_every_region_has_an_id_of_its_own(photo: Photo, faces: list[Face]) -> None:
    second = replace(faces[0], index=1, face_id="second")
    ids = [r["id"] for r in _result(_json(photo, [faces[0], second]))]
    assert len(ids) == len(set(ids)) == 10


def test_suggestions_are_values_of_the_schema(photo: Photo, faces: list[Face]) -> None:
    questions = named(TRIAGE)
    found = suggest(photo, faces)
    assert {s.question for s in found} == {"shot", "view", "focal_length"}
    assert all(s.value in {c.value for c in questions[s.question].choices} for s in found)


@pytest.mark.parametrize(
    ("mm", "value"),
    [(24, "wide_angle"), (50, "normal_lens"), (85, "short_telephoto"), (200, "telephoto")],
)
def test_the_focal_length_comes_from_the_capture_facts(photo: Photo, mm: float, value: str) -> None:
    taken = replace(photo, capture=Capture(focal_length_35mm=mm))
    assert [s.value for s in suggest(taken, [])] == [value]


@pytest.mark.parametrize(
    ("yaw", "value"),
    [(0.1, "frontal_view"), (-0.5, "three_quarter_view"), (0.9, "profile_view")],
)
def test_the_view_comes_from_the_pose(
    photo: Photo, faces: list[Face], yaw: float, value: str
) -> None:
    turned = replace(faces[0], pose=Pose(roll=0, yaw=yaw, pitch=0))
    assert value in [s.value for s in suggest(photo, [turned])]


def test_nothing_is_suggested_where_nothing_was_measured(photo: Photo) -> None:
    made = _json(replace(photo, capture=None), [])
    assert made["predictions"] == []
    assert made["data"]["caption_draft"] == ""


def test_the_data_holds_exactly_the_keys_that_the_lint_knows(
    photo: Photo, faces: list[Face]
) -> None:
    assert set(_json(photo, faces)["data"]) == set(DATA_KEYS)


def test_a_photo_keeps_its_folder_to_itself(photo: Photo, faces: list[Face]) -> None:
    assert _json(photo, faces)["data"]["title"] == "portrait-0.jpg"


def _json(photo: Photo, faces: list[Face]) -> dict[str, Any]:
    (task,) = triage_tasks([photo], {})
    assert task.task_key == task_key(photo.photo_id, "triage")
    assert isinstance(task, Task)
    return task_json(task, TRIAGE, image="/picture", photo=photo, faces=faces)


def _result(made: dict[str, Any]) -> list[dict[str, Any]]:
    (prediction,) = made["predictions"]
    return list(prediction["result"])
