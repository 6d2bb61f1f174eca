"""Drift, landmark shift and identity of a restored face against its input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation.crops import TEMPLATE_512
from curation.faces import FoundFace
from data_manifests.records import Box, Point
from restore.config import GuardConfig
from restore.identity import FaceComparer, drift, likeness

LIMIT = GuardConfig().most_drift


def moved_eye(face: np.ndarray, by: float) -> np.ndarray:
    """One eye of an aligned 512 px face, shifted up."""
    rows, columns = np.mgrid[:512, :512].astype(np.float32)
    near = np.exp(-((columns - 193) ** 2 + (rows - 240) ** 2) / (2 * 45**2)).astype(np.float32)
    return cv2.remap(face, columns, rows + near * by, cv2.INTER_CUBIC)


def test_the_input_itself_does_not_drift(aligned_face) -> None:
    assert drift(aligned_face, aligned_face) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("sigma", [2, 6, 12])
def test_a_sharp_face_agrees_with_its_blurred_input(aligned_face, sigma: float) -> None:
    poor = cv2.GaussianBlur(aligned_face, (0, 0), sigma)
    assert drift(poor, aligned_face) < 0.02


def test_grain_and_tone_are_no_drift(aligned_face) -> None:
    rng = np.random.default_rng(0)
    small = cv2.resize(aligned_face, (128, 128), interpolation=cv2.INTER_AREA)
    noisy = np.clip(small + rng.normal(0, 15, small.shape), 0, 255).astype(np.uint8)
    poor = cv2.resize(noisy, (512, 512), interpolation=cv2.INTER_CUBIC)
    darker = (aligned_face * 0.7).astype(np.uint8)
    assert drift(poor, aligned_face) < LIMIT / 2
    assert drift(poor, darker) < LIMIT / 2


def test_a_moved_eye_and_a_mirrored_face_drift(aligned_face) -> None:
    poor = cv2.GaussianBlur(aligned_face, (0, 0), 4)
    assert drift(poor, moved_eye(aligned_face, 16)) > LIMIT
    assert drift(poor, np.ascontiguousarray(aligned_face[:, ::-1])) > LIMIT


def test_noise_and_one_colour_agree_with_no_face(aligned_face) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, aligned_face.shape, dtype=np.uint8)
    assert drift(aligned_face, noise) > LIMIT
    assert drift(aligned_face, np.full_like(aligned_face, 128)) > LIMIT


def test_the_size_of_the_crop_hardly_matters(aligned_face) -> None:
    poor = cv2.GaussianBlur(aligned_face, (0, 0), 3)
    at_512 = drift(poor, moved_eye(aligned_face, 16))
    twice = [cv2.resize(p, (1024, 1024)) for p in (poor, moved_eye(aligned_face, 16))]
    assert drift(*twice) == pytest.approx(at_512, abs=0.03)


def test_landmarks_are_compared_and_a_lost_face_is_told(aligned_face, mtcnn) -> None:
    same = likeness(aligned_face, aligned_face, finder=mtcnn)
    assert (same.landmark_shift, same.lost, same.identity) == (0, False, None)
    up = np.roll(aligned_face, -25, axis=0)
    assert likeness(aligned_face, up, finder=mtcnn).landmark_shift == pytest.approx(0.2, abs=0.05)
    gone = likeness(aligned_face, np.full_like(aligned_face, 90), finder=mtcnn)
    assert (gone.landmark_shift, gone.lost) == (None, True)


def test_a_finder_that_is_blind_to_the_input_says_nothing(aligned_face, mtcnn) -> None:
    found = likeness(np.full_like(aligned_face, 90), aligned_face, finder=mtcnn)
    assert (found.landmark_shift, found.lost) == (None, False)


def test_a_neighbour_in_the_crop_is_not_taken_for_the_face(finder_of) -> None:
    def face(dx: float) -> FoundFace:
        points = tuple(Point(x=float(x) + dx, y=float(y)) for x, y in TEMPLATE_512)
        box = Box(left=dx, top=0, right=dx + 90, bottom=90)
        return FoundFace(box=box, landmarks=points, score=1.0)

    blank = np.zeros((512, 512, 3), np.uint8)
    shown = [[face(300), face(3)], [face(300)]]
    finder = finder_of()
    finder._find = lambda pixels: shown.pop(0)
    comparer = FaceComparer(blank, finder)
    assert comparer.likeness(blank).lost


def test_vectors_are_compared_where_there_is_an_embedder(aligned_face) -> None:
    def embed(faces: list[np.ndarray]) -> np.ndarray:
        assert {f.shape for f in faces} == {(112, 112, 3)}
        rows = np.array([f[::16, ::16].ravel() for f in faces], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    same = likeness(aligned_face, aligned_face, embed=embed)
    assert same.identity == pytest.approx(1)
    other = likeness(aligned_face, np.ascontiguousarray(aligned_face[::-1]), embed=embed)
    assert other.identity is not None
    assert other.identity < 0.99
