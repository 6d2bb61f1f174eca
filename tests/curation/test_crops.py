from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation import crops
from curation.colour import pyramid
from data_manifests.records import Box, Point

Srgb = NDArray[np.uint8]


def landmarks(
    scale: float, shift: tuple[float, float] = (0.0, 0.0), turn: float = 0.0
) -> list[Point]:
    """The template, turned about its middle by `turn` degrees, scaled and shifted."""
    angle = np.radians(turn)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed = ((crops.TEMPLATE_512 - 256) @ spin.T + 256) * scale + shift
    return [Point(x=float(x), y=float(y)) for x, y in placed]


@pytest.mark.parametrize("turn", [0, 30, -90, 180])
def test_alignment_undoes_scale_shift_and_turn(turn: float) -> None:
    points = landmarks(3.0, (700, 400), turn)
    matrix_23 = crops.align_matrix(points, 1024)
    placed = np.array([(p.x, p.y, 1) for p in points]) @ matrix_23.T
    assert np.allclose(placed, crops.TEMPLATE_512 * 2, atol=1e-3)
    assert crops.native_side(matrix_23, 1024) == pytest.approx(512 * 3)


def test_one_misplaced_landmark_does_not_tilt_the_face() -> None:
    points = landmarks(2.0)
    points[2] = Point(x=points[2].x + 120, y=points[2].y)
    placed = np.array([(p.x, p.y, 1) for p in points]) @ crops.align_matrix(points, 512).T
    assert np.allclose(np.delete(placed, 2, 0), np.delete(crops.TEMPLATE_512, 2, 0), atol=3)


def test_landmarks_on_one_spot_are_refused() -> None:
    with pytest.raises(ValueError, match="no similarity"):
        crops.align_matrix([Point(x=5, y=5)] * 5, 512)


def test_a_warp_by_nothing_is_the_picture_itself(portrait: Srgb) -> None:
    square = np.ascontiguousarray(portrait[:512, :512])
    identity_23 = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    assert np.array_equal(crops.warp([square], identity_23, 512), square)


def test_a_halving_warp_equals_the_area_average(portrait: Srgb) -> None:
    """Photo corner to crop corner: no half-pixel shift between pyramid levels."""
    levels = pyramid(portrait, 256)
    half_23 = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    expected = cv2.resize(portrait, (768, 768), interpolation=cv2.INTER_AREA)
    assert np.array_equal(crops.warp(levels, half_23, 768), expected)


def test_sixteen_bits_and_the_border_survive_a_warp() -> None:
    deep = np.full((64, 64, 3), 40_000, np.uint16)
    moved_23 = np.array([[1.0, 0, 32], [0, 1.0, 0]])
    cut = crops.warp([deep], moved_23, 64)
    assert cut.dtype == np.uint16
    assert cut[5, 60].tolist() == [40_000] * 3
    assert cut[5, 5].tolist() == [c * 257 for c in crops.BORDER_RGB]


@pytest.mark.parametrize("left", [0, 20_000, 39_700])
def test_a_face_in_a_very_long_panorama_is_cut_as_elsewhere(left: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 40_000, 3), dtype=np.uint8)
    panorama = np.asarray(cv2.blur(noise, (9, 9)))  # OpenCV rounds where it reads to 1/32 px
    matrix = np.array([[0.9, 0.1, -0.9 * left], [-0.1, 0.9, 5.0 + 0.1 * left]])
    part = panorama[:, left : left + 1000]
    shifted = matrix.copy()
    shifted[:, 2] += shifted[:, :2] @ (left, 0)
    inside = (slice(20, 180), slice(20, 180))
    cut = crops.warp([panorama], matrix, 200)[inside].astype(int)
    assert np.abs(cut - crops.warp([part], shifted, 200)[inside]).max() <= 2
    assert cut.std() > 5


def test_part_boxes_sit_on_their_landmarks() -> None:
    points = landmarks(2.0, (100, 50))
    parts = crops.part_boxes(points, crops.align_matrix(points, 512), 512)
    for box, (x, y) in (
        (parts.left_eye, crops.TEMPLATE_512[0]),
        (parts.right_eye, crops.TEMPLATE_512[1]),
        (parts.nose, crops.TEMPLATE_512[2]),
        (parts.mouth, crops.TEMPLATE_512[3:].mean(axis=0)),
    ):
        assert ((box.left + box.right) / 2, (box.top + box.bottom) / 2) == pytest.approx(
            (x, y), abs=0.1
        )
    assert parts.left_eye.width == pytest.approx(85, abs=1)
    assert parts.mouth.width == pytest.approx(115, abs=1)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (Box(left=1000, top=500, right=3500, bottom=3600), (8192, 6144)),
        (Box(left=-50, top=-20, right=900, bottom=900), (3000, 2000)),
        (Box(left=7000, top=5500, right=8300, bottom=6300), (8192, 6144)),
        (Box(left=10, top=10, right=400, bottom=400), (500, 450)),
    ],
)
def test_tiles_lie_inside_the_photo_and_cover_the_face(box: Box, size: tuple[int, int]) -> None:
    covered = np.zeros(size[::-1], bool)
    for tile in crops.tile_boxes(box, *size, 1024):
        assert 0 <= tile.left < tile.right <= size[0]
        assert 0 <= tile.top < tile.bottom <= size[1]
        assert tile.width == min(1024, size[0])
        assert tile.height == min(1024, size[1])
        covered[int(tile.top) : int(tile.bottom), int(tile.left) : int(tile.right)] = True
    inside = covered[max(int(box.top), 0) : int(box.bottom), max(int(box.left), 0) : int(box.right)]
    assert inside.all()
