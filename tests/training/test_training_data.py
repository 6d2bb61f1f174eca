from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from data_manifests.errors import InputError
from data_manifests.media import Workspace, write_media
from data_manifests.records import Sample
from data_manifests.store import Store
from training.data import load_example, part_boxes, words

Filled = tuple[Workspace, Store]


@pytest.fixture
def sample(filled: Filled) -> Sample:
    return filled[1].read(Sample)[0]


def test_words_join_sentences_and_tags_and_drop_empty_ones() -> None:
    assert words("a woman", (" smile ", ""), "", ("studio",)) == "a woman, smile, studio"
    assert words("", ()) == ""


def test_the_crop_comes_at_the_asked_size_with_true_size_ids(
    filled: Filled, sample: Sample
) -> None:
    example = load_example(sample, filled[0].media, 64, mirror=False)
    assert example.pixels_HWC.shape == (64, 64, 3)
    assert example.mask_HW.shape == (8, 8)
    native = [sample.native_height, sample.native_width]
    np.testing.assert_allclose(example.time_ids_6, [*native, 0, 0, 64, 64], rtol=1e-6)


def test_a_crop_at_its_own_size_is_not_resampled(filled: Filled, sample: Sample) -> None:
    stored = np.asarray(Image.open(filled[0].media / sample.crop_path))
    example = load_example(sample, filled[0].media, sample.width, mirror=False)
    np.testing.assert_array_equal(example.pixels_HWC, stored)


def test_boxes_lie_on_the_face_s_parts_in_latent_cells(filled: Filled, sample: Sample) -> None:
    boxes_P4 = load_example(sample, filled[0].media, 128, mirror=False).boxes_P4.numpy()
    points = np.array([(p.x, p.y) for p in sample.landmarks]) * 128 / 160 / 8
    centres = (boxes_P4[:, :2] + boxes_P4[:, 2:]) / 2
    np.testing.assert_allclose(centres[:2], points[:2], atol=1e-4)
    np.testing.assert_allclose(centres[2], points[3:].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(centres[3], points[2], atol=1e-4)


def test_mirroring_moves_pixels_mask_and_boxes_together(filled: Filled, sample: Sample) -> None:
    plain, mirrored = (
        load_example(sample, filled[0].media, 128, mirror=mirror) for mirror in (False, True)
    )
    np.testing.assert_array_equal(mirrored.pixels_HWC, plain.pixels_HWC[:, ::-1])
    np.testing.assert_array_equal(mirrored.mask_HW, plain.mask_HW.numpy()[:, ::-1])
    # The part that the first row shows is the mirror image of what the second showed.
    left, top, right, bottom = plain.boxes_P4[1].tolist()
    np.testing.assert_allclose(
        mirrored.boxes_P4[0], [16 - right, top, 16 - left, bottom], rtol=1e-5
    )
    left_eye, right_eye = mirrored.boxes_P4[0], mirrored.boxes_P4[1]
    assert left_eye[0] < right_eye[0]


def test_mirroring_twice_changes_nothing(sample: Sample) -> None:
    boxes = part_boxes(sample, 160, mirror=True)
    assert (boxes[:, 2] > boxes[:, 0]).all()
    np.testing.assert_allclose(part_boxes(sample, 160, mirror=False)[2, [1, 3]], boxes[2, [1, 3]])


def test_unknown_parts_stay_zero_even_mirrored(sample: Sample) -> None:
    bare = dataclasses.replace(sample, left_eye_box=None, mouth_box=None)
    boxes = part_boxes(bare, 128, mirror=True)
    assert not boxes[1].any()  # the left eye is the right one now
    assert not boxes[2].any()
    assert boxes[0].any()


def test_a_face_without_landmarks_is_face_all_over(filled: Filled, sample: Sample) -> None:
    bare = dataclasses.replace(sample, landmarks=())
    assert (load_example(bare, filled[0].media, 64, mirror=False).mask_HW == 1).all()


def test_a_crop_that_was_changed_is_refused(filled: Filled, sample: Sample) -> None:
    path = filled[0].media / sample.crop_path
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="changed after the table was made"):
        load_example(sample, filled[0].media, 64, mirror=False)


def test_a_missing_crop_is_named(filled: Filled, sample: Sample) -> None:
    (filled[0].media / sample.crop_path).unlink()
    with pytest.raises(InputError, match=sample.crop_path):
        load_example(sample, filled[0].media, 64, mirror=False)


def test_a_crop_that_is_not_square_is_refused(filled: Filled, sample: Sample) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, "PNG")
    path, sha256 = write_media(filled[0].media, "crops", data.getvalue(), ".png")
    flat = dataclasses.replace(sample, crop_path=path, crop_sha256=sha256, width=40, height=30)
    with pytest.raises(InputError, match="40 x 30"):
        load_example(flat, filled[0].media, 64, mirror=False)


def test_a_brow_lies_above_its_eye_and_is_mirrored_with_it(sample: Sample) -> None:
    plain, turned = (part_boxes(sample, 160, mirror=mirror) for mirror in (False, True))
    centres = (plain[:, :2] + plain[:, 2:]) / 2
    apart = np.linalg.norm(centres[1] - centres[0])
    for eye, brow in ((0, 4), (1, 5)):
        assert 0.15 * apart < centres[eye, 1] - centres[brow, 1] < 0.4 * apart
        assert abs(centres[eye, 0] - centres[brow, 0]) < 0.15 * apart
    np.testing.assert_allclose(turned[4, [0, 2]], 160 - plain[5, [2, 0]])
    bare = part_boxes(dataclasses.replace(sample, landmarks=()), 160, mirror=False)
    assert not bare[4:].any()
