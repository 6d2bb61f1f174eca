"""Faults that a restored face must not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from restore.artefacts import artefacts, grid_strength

ROWS, COLUMNS = np.indices((512, 512))
CHEQUERS = ((ROWS + COLUMNS) % 2 * 2 - 1)[..., None]
LINES = ((ROWS % 8 == 0) | (COLUMNS % 8 == 0))[..., None]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda f: f * 0, "black"),
        (lambda f: f * 0 + 120, "flat"),
        (lambda f: (f - 128) * 9 + 128, "clipped"),
        (lambda f: f * (0.8, 0.2, 1.5), "colours"),
        (lambda f: f + 2 * CHEQUERS, "grid"),
        (lambda f: f + 4 * LINES, "grid"),
    ],
    ids=["black", "flat", "clipped", "purple", "chequers", "lines"],
)
def test_a_fault_is_named(aligned_face, spoil: Callable, fault: str) -> None:
    spoilt = np.clip(spoil(aligned_face.astype(float)), 0, 255).astype(np.uint8)
    assert fault in artefacts(spoilt, aligned_face)


def test_an_honest_face_has_none(aligned_face) -> None:
    darker = (aligned_face * 0.8).astype(np.uint8)
    assert artefacts(aligned_face, darker) == ""
    assert artefacts(darker, aligned_face) == ""


def test_a_grid_that_the_input_has_is_not_the_models(aligned_face) -> None:
    gridded = np.clip(aligned_face + 2.0 * CHEQUERS, 0, 255).astype(np.uint8)
    assert artefacts(gridded, gridded) == ""


def test_a_small_face_has_no_grid_to_measure(faces) -> None:
    assert grid_strength(faces[0]) == 0
