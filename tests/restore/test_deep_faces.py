"""Restored faces in photos of 16 bits: in steps of 16 bits, and matched to the photo's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from curation.colour import pyramid
from curation.crops import warp
from restore.config import GuardConfig
from restore.cutting import cut_own
from restore.guard import Guard, Kept, guarded
from restore.photo import restore_photo
from restore.restorer import Restoration, as_face


def deep_png(path: Path, pixels_HWC: np.ndarray) -> Path:
    cv2.imwrite(str(path), pixels_HWC[..., ::-1])
    return path


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_a_decoded_face_keeps_the_steps_between_those_of_8_bits() -> None:
    ramp = torch.linspace(-0.1, 1.1, 64 * 64).reshape(1, 64, 64).expand(3, -1, -1)
    made = as_face(ramp)
    expected = ramp.clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(made.deep_HWC / 65535 - expected).max() <= 0.5 / 65535 + 1e-6
    assert np.abs(made.pixels_HWC / 255 - expected).max() <= 0.5 / 255 + 1e-6
    assert len(np.unique(made.deep_HWC)) > 3000
    assert np.array_equal(np.rint(made.deep_HWC / 257), made.pixels_HWC)


def test_an_aligned_face_of_16_bits_is_what_the_model_made(
    make_restorer, mtcnn, aligned_face, tmp_path
) -> None:
    restorer = make_restorer(aligned=True, colour="none", improve_good=True)
    size = restorer.facts.size
    small_HWC = cv2.resize(aligned_face, (size, size), interpolation=cv2.INTER_AREA)
    source = deep_png(tmp_path / "a.png", small_HWC.astype(np.uint16) * 257)
    outcome = restore_photo(source, tmp_path / "b.png", restorer=restorer, finder=mtcnn)
    (made,) = restorer.restore_each([small_HWC], seeds=[outcome.faces[0].seed])
    after = read(tmp_path / "b.png")
    assert np.array_equal(after, made.deep_HWC)
    assert (after % 257 != 0).mean() > 0.9  # not 8 bits, stretched


@pytest.mark.parametrize("eyes", [24.0, 90.0, 400.0])
def test_the_photos_own_face_lies_where_the_models_does(eyes: float) -> None:
    """Cut again in the photo's bits: small and large faces, and those that leave the frame."""
    rng = np.random.default_rng(3)
    photo = cv2.GaussianBlur(rng.integers(0, 65536, (700, 900, 3)).astype(np.float32), (0, 0), 9)
    photo = np.rint(np.clip(4 * (photo - 32768) + 32768, 0, 65535)).astype(np.uint16)
    for x, y in ((450, 350), (60, 80)):
        matrix_23 = np.array([(110 / eyes, 0.2, 256 - 110 / eyes * x), (-0.2, 110 / eyes, 256.0)])
        matrix_23[1, 2] -= 110 / eyes * y
        own = cut_own(photo, matrix_23, 512)
        whole = warp(pyramid(photo, 512), matrix_23, 512)
        assert own.dtype == np.uint16
        assert np.percentile(np.abs(own.astype(int) - whole), 99) < 257
        assert np.unique(own).size > 10_000


def test_a_face_mixed_with_its_input_is_mixed_in_16_bits(aligned_face) -> None:
    """The guard's blends, too."""
    other_HWC = np.rint(0.75 * aligned_face + 0.25 * aligned_face[:, ::-1]).astype(np.uint8)

    class Elsewhere:
        def restore_each(self, faces, *, seeds, fidelity=None):
            deep_HWC = other_HWC * np.uint16(256) + 90
            yield from (Restoration(other_HWC, deep_HWC=deep_HWC) for _ in faces)

    drift = guarded_once(Elsewhere(), aligned_face, most_drift=10).likeness.drift
    kept = guarded_once(Elsewhere(), aligned_face, most_drift=0.6 * drift)
    assert (kept.status, kept.blend) == ("restored", 0.75)
    mixed_HWC = 0.75 * (other_HWC * 256.0 + 90) + 0.25 * aligned_face * 257.0
    assert np.abs(kept.deep_HWC - mixed_HWC).max() <= 0.51
    assert np.abs(kept.pixels_HWC - (0.75 * other_HWC + 0.25 * aligned_face)).max() <= 0.51


def guarded_once(restorer: object, face_HWC: np.ndarray, **settings: object) -> Kept:
    guard = Guard(GuardConfig.model_validate(settings | {"ladder": ()}))
    (kept,) = guarded(restorer, [face_HWC], [1], guard=guard, fidelity=0.0)
    return kept
