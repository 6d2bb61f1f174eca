from __future__ import annotations

import importlib.util
import logging
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation import faces
from curation.config import FacesConfig
from curation.faces import (
    FoundFace,
    NamedFinder,
    estimate_pose,
    find_yunet,
    open_finder,
)
from data_manifests.errors import ConfigError, MissingExtra
from data_manifests.records import Box, Point

Srgb = NDArray[np.uint8]


@pytest.fixture
def no_model(yunet_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the models and the cache, and no tries so far."""
    monkeypatch.setenv("AUTHFACE_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AUTHFACE_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    faces._fetch_problem.cache_clear()
    faces._warn.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def yunet_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """YuNet's file from AUTHFACE_MODELS or the cache, else from the folder of shared inputs."""
    shared = Path(__file__).resolve().parents[3] / "shared/models"
    if find_yunet() is None and shared.is_dir():
        monkeypatch.setenv("AUTHFACE_MODELS", str(shared))


def finder_or_skip(name: str) -> NamedFinder:
    if name == "yunet" and find_yunet() is None:
        pytest.skip("YuNet's model file is not there; name its folder in AUTHFACE_MODELS")
    for finder, package in (("mtcnn", "facenet_pytorch"), ("dlib", "dlib")):
        if name == finder and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return open_finder(FacesConfig.model_validate({"finder": name}))


@pytest.mark.parametrize("name", ["yunet", "mtcnn", "haar", "dlib"])
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


@pytest.mark.parametrize("name", ["yunet", "mtcnn", "haar", "dlib"])
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


def test_a_finder_that_is_asked_for_and_missing_is_a_clear_error(no_model: Path) -> None:
    with pytest.raises(ConfigError, match="AUTHFACE_MODELS"):
        open_finder(FacesConfig(finder="yunet"))
    (no_model / "face_detection_yunet_2023mar.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not the yunet file that was published"):
        open_finder(FacesConfig(finder="yunet"))


def test_a_wrong_model_file_stops_rather_than_falls_back(no_model: Path) -> None:
    (no_model / "face_detection_yunet_2023mar.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not the yunet file"):
        open_finder(FacesConfig())


@pytest.mark.parametrize("installed", [True, False])
def test_without_yunet_the_next_best_takes_over_and_says_what_is_lost(
    installed: bool,
    no_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if installed and importlib.util.find_spec("facenet_pytorch") is None:
        pytest.skip("facenet-pytorch is not installed")
    if not installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO):
        finder = open_finder(FacesConfig())
        open_finder(FacesConfig())
    assert finder.name.startswith("mtcnn" if installed else "haar")
    assert finder.has_landmarks is installed
    assert "authface models get yunet" in finder.lacks
    assert ("No landmarks" in finder.lacks) is not installed
    assert [r.message for r in caplog.records] == [finder.lacks]  # said once, not at every call


def test_a_fetch_that_failed_is_not_tried_again(
    no_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTHFACE_OFFLINE")
    monkeypatch.setenv("AUTHFACE_MODELS_URL", "http://127.0.0.1:9")  # nobody listens there
    first = open_finder(FacesConfig()).lacks
    assert "could not be fetched" in first
    monkeypatch.setenv("AUTHFACE_MODELS_URL", "ftp://example.org")  # would be refused as unsafe
    assert open_finder(FacesConfig()).lacks == first


def test_fetching_can_be_switched_off(no_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTHFACE_OFFLINE")
    monkeypatch.setenv("AUTHFACE_MODELS_URL", "http://127.0.0.1:9")
    assert "fetch is off" in open_finder(FacesConfig(fetch=False)).lacks


def test_nothing_is_lost_with_yunet() -> None:
    assert finder_or_skip("yunet").lacks == ""


def test_mediapipe_names_its_extra_or_its_model_file(no_model: Path) -> None:
    """Its wheel can't be installed beside our OpenCV, so mostly it is the extra that is missing."""
    absent = importlib.util.find_spec("mediapipe") is None
    with pytest.raises(MissingExtra if absent else ConfigError, match=r"(?i)mediapipe"):
        open_finder(FacesConfig(finder="mediapipe"))


def test_dlibs_score_is_a_confidence(portrait: Srgb) -> None:
    [face] = finder_or_skip("dlib")(portrait)
    assert 0.8 <= face.score < 1


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


def test_mtcnn_finds_nothing_in_a_picture_smaller_than_a_face() -> None:
    finder = open_finder(FacesConfig(finder="mtcnn"))
    assert finder(np.zeros((6, 40, 3), np.uint8)) == []
