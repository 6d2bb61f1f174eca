"""Choosing and cutting faces: by number, by box, aligned pictures, and photos without colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.config import FacesConfig
from curation.faces import FoundFace, NamedFinder
from data_manifests.errors import InputError
from restore.config import RestoreConfig
from restore.cutting import Model, cut_aligned, cut_faces
from restore.outcome import NOT_ASKED
from restore.photo import restore_photo

MODEL = Model(size=64, steps=4)


def test_faces_are_chosen_by_number(finder_of, mark_face, portrait) -> None:
    double = np.concatenate([portrait, portrait], axis=1)
    finder = finder_of(mark_face(), mark_face(left=512))
    config = RestoreConfig(faces="1")
    cuts, skipped = cut_faces(double, finder, MODEL, config, "0" * 64)
    assert [c.report.index for c in cuts] == [1]
    assert [(s.index, s.reason) for s in skipped] == [(0, NOT_ASKED)]
    assert skipped[0].as_wished


def test_a_chosen_face_has_the_seed_it_has_among_all(finder_of, mark_face, portrait) -> None:
    double = np.concatenate([portrait, portrait], axis=1)
    finder = finder_of(mark_face(), mark_face(left=512))
    every, _ = cut_faces(double, finder, MODEL, RestoreConfig(), "0" * 64)
    second, _ = cut_faces(double, finder, MODEL, RestoreConfig(faces="1"), "0" * 64)
    assert second[0].report == every[1].report


def test_a_box_around_a_face_that_was_missed_is_looked_at_closer(mark_face, portrait) -> None:
    face = mark_face()

    def find(pixels_HWC: np.ndarray) -> list[FoundFace]:
        if pixels_HWC.shape[0] == portrait.shape[0]:
            return []  # the whole photo: missed
        return [mark_face(left=-93)]  # the part begins at 165 - 0.6 x 120 and at the photo's top

    finder = NamedFinder("by-hand", True, lambda: find, FacesConfig())
    config = RestoreConfig(faces="box:165,60,285,180")
    cuts, _ = cut_faces(portrait, finder, MODEL, config, "0" * 64)
    assert cuts[0].report.landmarks == face.landmarks
    assert cuts[0].report.box == face.box
    assert cut_faces(portrait, finder, MODEL, RestoreConfig(), "0" * 64) == ([], [])


def test_an_aligned_picture_is_taken_whole(make_restorer, finder_of, faces, tmp_path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    large = cv2.resize(faces[0], (128, 128), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(large).save(source)
    outcome = restore_photo(
        source, target, restorer=make_restorer(aligned=True), finder=finder_of()
    )
    assert outcome.status == "restored"
    assert outcome.faces[0].scale == pytest.approx(0.5)
    assert cv2.imread(str(target)).shape == (64, 64, 3)


def test_what_is_not_square_is_no_aligned_face(portrait) -> None:
    with pytest.raises(InputError, match="512 x 300"):
        cut_aligned(portrait[:300], MODEL, RestoreConfig(), "0" * 64)


def test_a_photo_without_colours_gets_a_face_without_colours(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "a.png")
    outcome = restore_photo(
        tmp_path / "a.png", tmp_path / "b.png", restorer=make_restorer(), finder=finder_of(marked)
    )
    assert outcome.status == "restored"
    after = cv2.imread(str(tmp_path / "b.png")).astype(int)
    assert (after.max(axis=2) - after.min(axis=2)).max() <= 1


@pytest.mark.parametrize("deep", [False, True])
def test_an_enlarged_photo_has_the_face_where_it_was(
    make_restorer, finder_of, marked, portrait, tmp_path: Path, deep: bool
) -> None:
    pixels = portrait.astype(np.uint16) * 257 if deep else portrait
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    for name, factor in (("one.png", 1.0), ("two.png", 2.0)):
        restore_photo(
            tmp_path / "a.png",
            tmp_path / name,
            restorer=make_restorer(upscale=factor),
            finder=finder_of(marked),
        )
    one, two = (cv2.imread(str(tmp_path / n), cv2.IMREAD_UNCHANGED) for n in ("one.png", "two.png"))
    assert two.shape == (1024, 1024, 3)
    assert two.dtype == pixels.dtype
    reduced = cv2.resize(two, (512, 512), interpolation=cv2.INTER_AREA).astype(float)
    gap = np.abs(reduced - one) / (257 if deep else 1)
    assert gap[70:165, 180:270].mean() < 4  # the face
    assert gap.mean() < 2
