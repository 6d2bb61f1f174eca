from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.config import FacesConfig
from curation.faces import (
    FoundFace,
    NamedFinder,
    estimate_pose,
    find_yunet,
    open_finder,
)
from data_manifests.errors import ConfigError
from data_manifests.records import Box, Point

Srgb = NDArray[np.uint8]


def finder_or_skip(name: str) -> NamedFinder:
    if name == "yunet" and find_yunet() is None:
        pytest.skip("YuNet's model file is not there; name its folder in AUTHFACE_MODELS")
    if name == "mtcnn" and importlib.util.find_spec("facenet_pytorch") is None:
        pytest.skip("facenet-pytorch is not installed")
    return open_finder(FacesConfig.model_validate({"finder": name}))


@pytest.mark.parametrize("name", ["yunet", "mtcnn", "haar"])
def test_the_portraits_face_is_found_at_any_size(name: str, portrait: Srgb) -> None:
    """The face lies about x 113-215, y 65-165 of the 320 px cut that the portrait was made from."""
    find = finder_or_skip(name)
    for side in (320, 1536, 3000):
        scale = side / 320
        [face] = find(np.asarray(cv2.resize(portrait, (side, side)), dtype=np.uint8))
        middle = ((face.box.left + face.box.right) / 2, (face.box.top + face.box.bottom) / 2)
        assert math.dist(middle, (164 * scale, 115 * scale)) < 22 * scale
        assert len(face.landmarks) == (5 if find.has_landmarks else 0)


@pytest.mark.parametrize("name", ["yunet", "mtcnn"])
def test_landmarks_come_in_the_houses_order(name: str, portrait: Srgb) -> None:
    [face] = finder_or_skip(name)(portrait)
    left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
    assert left_eye.x < nose.x < right_eye.x
    assert mouth_left.x < nose.x < mouth_right.x
    assert max(left_eye.y, right_eye.y) < nose.y < min(mouth_left.y, mouth_right.y)


@pytest.mark.parametrize("name", ["yunet", "mtcnn", "haar"])
def test_an_empty_wall_holds_no_face(name: str) -> None:
    assert finder_or_skip(name)(np.full((400, 600, 3), 180, np.uint8)) == []


def test_the_largest_face_comes_first_and_doubles_are_one() -> None:
    def three(_: Srgb) -> list[FoundFace]:
        boxes = [(10, 10, 60, 60, 0.9), (100, 0, 200, 100, 0.85), (102, 2, 204, 104, 0.95)]
        return [FoundFace(Box(left=a, top=b, right=c, bottom=d), (), s) for a, b, c, d, s in boxes]

    found = NamedFinder("three", False, lambda: three, FacesConfig())(
        np.zeros((300, 300, 3), np.uint8)
    )
    assert [f.score for f in found] == [0.95, 0.9]


def test_a_finder_that_is_asked_for_and_missing_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHFACE_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="AUTHFACE_MODELS"):
        open_finder(FacesConfig(finder="yunet"))
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not the YuNet file"):
        open_finder(FacesConfig(finder="yunet"))


def pose_points(turn: float = 0.0, nose: tuple[float, float] = (0, 0)) -> list[Point]:
    points = np.array([(-63, -66), (63, -66), (0, 8), (-56, 65), (56, 65)], float)
    points[2] += nose
    angle = math.radians(turn)
    spin = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return [Point(x=float(x), y=float(y)) for x, y in points @ spin.T]


def test_a_frontal_face_has_no_turn() -> None:
    pose = estimate_pose(pose_points())
    assert (pose.roll, pose.yaw, pose.pitch) == pytest.approx((0, 0, 0), abs=0.05)


def test_pose_has_the_signs_that_the_record_promises() -> None:
    assert estimate_pose(pose_points(turn=20)).roll == pytest.approx(20)
    assert estimate_pose(pose_points(nose=(30, 0))).yaw > 0.3
    assert estimate_pose(pose_points(nose=(0, 20))).pitch > 0.3
    assert estimate_pose(pose_points(turn=90, nose=(30, 0))).yaw > 0.3


@pytest.mark.parametrize("name", ["yunet", "mtcnn"])
def test_every_portrait_photo_gives_a_face(name: str, shared: Path) -> None:
    from curation.colour import shrink, to_srgb
    from curation.decode import read_photo

    find = finder_or_skip(name)
    files = sorted((shared / "photos/portraits").glob("*.jpg"))
    photos = ((f, read_photo(f)) for f in files)
    without = [
        f.name for f, p in photos if not find(to_srgb(shrink(p.pixels_HWC, 2048), p.facts.icc))
    ]
    assert len(files) >= 14
    assert without == []
