"""YuNet on turned, tilted, tiny and frame-filling faces; and the arithmetic around it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation.config import FacesConfig
from curation.faces import FoundFace, NamedFinder, find_yunet, open_finder
from curation.yunet import fuse, tile_corners

Srgb = NDArray[np.uint8]
Points = NDArray[np.float64]


@pytest.fixture(autouse=True)
def yunet_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """YuNet's file from AUTHFACE_MODELS or the cache, else from the folder of shared inputs."""
    shared = Path(__file__).resolve().parents[3] / "shared/models"
    if find_yunet() is None and shared.is_dir():
        monkeypatch.setenv("AUTHFACE_MODELS", str(shared))


def yunet(**settings: object) -> NamedFinder:
    if find_yunet() is None:
        pytest.skip("YuNet's model file is not there; name its folder in AUTHFACE_MODELS")
    return open_finder(FacesConfig.model_validate({"finder": "yunet", **settings}))


def points_of(face: FoundFace) -> Points:
    return np.array([(p.x, p.y) for p in face.landmarks])


def error(points: Points, truth: Points) -> float:
    """Mean distance of the five points over the eye distance."""
    away = np.linalg.norm(points - truth, axis=1).mean()
    return float(away / np.linalg.norm(truth[1] - truth[0]))


def turned_about(pixels: Srgb, points: Points, degrees: float) -> tuple[Srgb, NDArray[np.float64]]:
    """The picture and its points turned about its middle, clockwise, with a grey border."""
    middle = pixels.shape[1] / 2, pixels.shape[0] / 2
    matrix_23 = cv2.getRotationMatrix2D(middle, -degrees, 1)
    size = (pixels.shape[1], pixels.shape[0])
    turned = cv2.warpAffine(pixels, matrix_23, size, borderValue=(128, 128, 128))
    return np.asarray(turned, np.uint8), points @ matrix_23[:, :2].T + matrix_23[:, 2]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_photos_give_the_same_landmarks(turn: int, portrait: Srgb) -> None:
    find = yunet()
    [upright] = find(portrait)
    [face] = find(np.ascontiguousarray(np.rot90(portrait, turn)))
    truth = points_of(upright)
    for _ in range(turn):  # a quarter turn to the left: x becomes y, y counts from the right
        truth = np.column_stack([truth[:, 1], portrait.shape[1] - truth[:, 0]])
    assert error(points_of(face), truth) < 0.12
    assert face.box.left <= points_of(face)[:, 0].min()
    assert face.box.bottom >= points_of(face)[:, 1].max()


def test_without_rotations_a_face_on_its_head_gets_wrong_landmarks(portrait: Srgb) -> None:
    """That is what the search in four turns is for: the score alone would have let it pass."""
    [upright] = yunet()(portrait)
    [face] = yunet(rotations="never")(np.ascontiguousarray(np.rot90(portrait, 2)))
    truth = portrait.shape[1] - points_of(upright)
    assert face.score > 0.8
    assert error(points_of(face), truth) > 0.5


def test_all_turns_can_be_asked_for(portrait: Srgb) -> None:
    [face] = yunet(rotations="always")(portrait)
    [usual] = yunet()(portrait)
    assert error(points_of(face), points_of(usual)) < 0.1


@pytest.mark.parametrize("degrees", [-45, -30, 20, 60])
def test_tilted_heads_keep_their_landmarks(degrees: float, portrait: Srgb) -> None:
    find = yunet()
    [upright] = find(portrait)
    tilted, truth = turned_about(portrait, points_of(upright), degrees)
    face = find(tilted)[0]
    assert error(points_of(face), truth) < 0.15


def wall_with_face(portrait: Srgb, face_px: int, size: tuple[int, int]) -> tuple[Srgb, Points]:
    """A plain wall of that size with a small portrait, and the middle of its face."""
    width, height = size
    side = round(face_px * 320 / 100)  # the face is about 100 px wide in the 320 px cut
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    wall = np.full((height, width, 3), 150, np.uint8)
    left, top = round(width * 0.61), round(height * 0.37)
    wall[top : top + side, left : left + side] = small
    return wall, np.array([left + side * 164 / 320, top + side * 115 / 320])


def test_tiles_find_what_the_reduced_picture_hides(portrait: Srgb) -> None:
    wall, middle = wall_with_face(portrait, 16, (2600, 1900))
    assert yunet(least_share=0)(wall) == []
    [face] = yunet(least_share=0, small_faces=True)(wall)
    assert np.linalg.norm(points_of(face).mean(axis=0) - middle) < 6
    assert 10 < face.box.width < 28


def test_a_small_face_in_a_small_picture_is_found_enlarged(portrait: Srgb) -> None:
    wall, middle = wall_with_face(portrait, 16, (500, 400))
    [face] = yunet(least_share=0, small_faces=True)(wall)
    assert np.linalg.norm(points_of(face).mean(axis=0) - middle) < 6


def test_a_face_that_fills_the_frame_is_found_whole(portrait: Srgb) -> None:
    """The face of the portrait lies about x 113-215, y 65-165 of 320."""
    unit = portrait.shape[0] / 320
    top, bottom, left, right = (round(v * unit) for v in (55, 178, 104, 224))
    frame = cv2.resize(np.ascontiguousarray(portrait[top:bottom, left:right]), (2000, 2050))
    [face] = yunet()(np.asarray(frame, np.uint8))
    assert face.box.width > 1300
    assert face.box.height > 1300


def test_a_group_is_found_whole_beside_a_large_face(portrait: Srgb) -> None:
    """Eleven people of whom one is near the camera."""
    scene = np.full((1536, 2304, 3), 150, np.uint8)
    scene[300:1324, 600:1624] = cv2.resize(portrait, (1024, 1024))
    small = cv2.resize(portrait, (230, 230), interpolation=cv2.INTER_AREA)
    for i in range(10):
        scene[20:250, 230 * i : 230 * (i + 1)] = small
    found = yunet()(scene)
    assert len(found) == 11
    assert found[0].box.width > 4 * found[1].box.width


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (701, 5), (33, 31), (640, 16), (90, 1280)])
def test_odd_sizes_hold_no_face_and_do_no_harm(shape: tuple[int, int]) -> None:
    assert yunet()(np.full((*shape, 3), 90, np.uint8)) == []


def row(x: float, width: float, score: float, scale: float = 1) -> list[float]:
    points = [x + width / 2, 50] * 5
    return [x, 0, width, 100, *points, score, scale, score]


def test_answers_about_one_face_become_their_mean_by_score() -> None:
    rows = np.array([row(100, 100, 0.9), row(110, 100, 0.6), row(400, 80, 0.7)])
    first, second = fuse(rows)
    assert first[0] == pytest.approx((100 * 0.9 + 110 * 0.6) / 1.5)
    assert first[14] == 0.9
    assert second[0] == 400


def test_the_level_that_shows_a_face_best_has_the_say() -> None:
    """160 px on a level is best: at scale 1 this face has 150 px, at scale 8 it has 19 px."""
    [face] = fuse(np.array([row(0, 152, 0.95, scale=8), row(10, 150, 0.85, scale=1)]))
    assert face[0] == 10
    assert face[14] == 0.95


def test_no_answers_are_no_faces() -> None:
    assert fuse(np.zeros((0, 17))).shape == (0, 17)


@pytest.mark.parametrize("length", [1, 640, 641, 1281, 2048, 3000, 4096])
def test_tiles_cover_a_side_and_overlap(length: int) -> None:
    corners = tile_corners(length)
    assert corners[0] == 0
    assert corners[-1] == max(length - 640, 0)
    assert all(b - a <= 640 - 160 for a, b in pairwise(corners))
    assert math.ceil(length / 640) <= len(corners) <= length // 480 + 1
