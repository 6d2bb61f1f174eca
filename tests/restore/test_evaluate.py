"""Pairs, scores, doubts, and the review tasks that come of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_manifests.errors import InputError
from data_manifests.records import Photo, Task
from data_manifests.store import Store, file_sha256
from restore.config import DoubtConfig
from restore.evaluate import Apart, Score, evaluate, pair_up
from restore.photo import restore_photo
from restore.report import about, report_json, report_place
from restore.review import ask_for_review


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def score_one(restored: Path, reference: Path, finder, **doubt: float) -> Score:
    pairs, _ = pair_up(restored, reference)
    (found,) = evaluate(pairs, finder=finder, doubt=DoubtConfig.model_validate(doubt))
    assert isinstance(found, Score), found
    return found


def test_pairs_are_made_by_name_and_the_rest_is_kept_apart(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "raw.NEF.tif", "two.png", "alone.png"):
        save(tmp_path / "restored" / name, np.zeros((9, 9, 3), np.uint8))
    for name in ("a.png", "b.png", "two.jpg", "two.tif", "unused.png"):
        save(tmp_path / "reference" / name, np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "reference" / "raw.NEF").write_bytes(b"x")
    pairs, apart = pair_up(tmp_path / "restored", tmp_path / "reference")
    found = {p.name: p.reference.name for p in pairs}
    assert found == {"a.png": "a.png", "b.jpg": "b.png", "raw.NEF.tif": "raw.NEF"}
    whys = {a.name: a.reason for a in apart}
    assert "more than one" in whys["two.png"]
    assert "no reference" in whys["alone.png"]
    assert "no restored picture" in whys["unused.png"]


def test_a_file_against_a_folder_or_nothing_is_an_error(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(InputError, match="two folders"):
        pair_up(photo, photo.parent)
    with pytest.raises(InputError, match="does not exist"):
        pair_up(photo, tmp_path / "missing.png")


def test_different_sizes_and_damaged_files_are_kept_apart(portrait, mtcnn, tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png", portrait)
    save(tmp_path / "y" / "a.png", portrait[:400])
    save(tmp_path / "x" / "b.png", portrait)
    (tmp_path / "y" / "b.png").write_bytes(b"broken")
    pairs, apart = pair_up(tmp_path / "x", tmp_path / "y")
    assert apart == []
    results = list(evaluate(pairs, finder=mtcnn, doubt=DoubtConfig()))
    assert all(isinstance(r, Apart) for r in results)
    assert "sizes differ: restored 512 x 512, reference 512 x 400" in results[0].reason


def test_the_same_picture_scores_best_and_a_blurred_one_less(
    portrait, mtcnn, tmp_path: Path
) -> None:
    reference = save(tmp_path / "reference.png", portrait)
    blurred = save(tmp_path / "blurred.png", cv2.GaussianBlur(portrait, (0, 0), 2))
    same, worse = (score_one(p, reference, mtcnn) for p in (reference, blurred))
    assert (same.mean("psnr_db"), same.mean("landmark_shift")) == (100, 0)
    assert same.mean("ssim") == pytest.approx(1)
    assert 20 < worse.mean("psnr_db") < 40
    assert worse.mean("ssim") < 0.97
    assert 0 < worse.mean("landmark_shift") < 0.1
    assert (same.doubts, worse.doubts) == ((), ())
    assert same.source is None
    assert same.background_change is None


def test_a_face_that_moved_or_went_is_doubtful(portrait, mtcnn, tmp_path: Path) -> None:
    reference = save(tmp_path / "reference.png", portrait)
    moved = save(tmp_path / "moved.png", np.roll(portrait, 9, axis=1))
    gone = portrait.copy()
    gone[50:190, 150:300] = 127
    (first,) = score_one(moved, reference, mtcnn, psnr_db=0).doubts
    assert "landmarks moved by 0.2" in first.doubt
    (second,) = score_one(save(tmp_path / "gone.png", gone), reference, mtcnn).doubts
    assert "no face there any more" in second.doubt


def test_without_a_face_the_whole_picture_is_compared(mtcnn, tmp_path: Path) -> None:
    plain = save(tmp_path / "a.png", np.full((64, 64, 3), 90, np.uint8))
    score = score_one(plain, plain, mtcnn)
    assert [r.box for r in score.regions] == [None]
    assert score.doubts == ()


@pytest.fixture
def restored(make_restorer, finder_of, marked, photo: Path, tmp_path: Path) -> Path:
    """The portrait, restored by random weights: a doubtful face for certain."""
    target = tmp_path / "out" / "portrait.png"
    restore_photo(photo, target, restorer=make_restorer(), finder=finder_of(marked))
    return target


def test_the_sidecar_leads_to_the_input_and_the_background(
    restored: Path, photo: Path, mtcnn
) -> None:
    score = score_one(restored, photo, mtcnn)
    assert score.source is not None
    assert score.source.samefile(photo)
    assert score.background_change == 0
    assert 0 < score.mean("sharpness_gain") < 1  # 64 model pixels over 170 of the photo
    with Image.open(restored) as image:
        touched = np.array(image)
    touched[0, 0] ^= 255
    Image.fromarray(touched).save(restored)
    assert score_one(restored, photo, mtcnn).source is None  # it speaks of another file


def test_the_report_names_metrics_and_keeps_what_is_apart(
    restored: Path, photo: Path, mtcnn
) -> None:
    score = score_one(restored, photo, mtcnn)
    said = json.loads(report_json([score], [Apart("x.png", "why")], mtcnn.name, about={}))
    assert "scikit-image" in said["metrics"]["psnr_db"]
    assert said["finder"].startswith("mtcnn")
    (row,) = said["scores"]
    assert row["where"] == "faces"
    assert row["background_change"] == 0
    assert row["regions"][0]["doubt"]
    assert said["apart"] == [{"name": "x.png", "reason": "why"}]


def test_no_report_is_written_over_another_or_over_somebody_s_file(tmp_path: Path) -> None:
    pixels = np.full((9, 9, 3), 90, np.uint8)
    one, other = (save(tmp_path / name / "a.png", pixels) for name in ("out", "reference"))
    (tmp_path / "reference-2").mkdir()

    def compare(restored: Path, reference: Path, out: Path | None = None) -> str:
        file = report_place(restored, reference, out)
        file.write_bytes(report_json([], [], "none", about=about(file, restored, reference)))
        return file.relative_to(tmp_path).as_posix()

    for _ in range(2):  # a rerun finds its own
        assert compare(one.parent, other.parent) == "out/evaluation.json"
        assert compare(one.parent, tmp_path / "reference-2") == "out/evaluation-2.json"
        assert compare(one, other) == "out/a.png.evaluation.json"
        assert compare(one, other, tmp_path / "named.json") == "named.json"
    assert compare(one.parent, other.parent, tmp_path / "named.json") == "named.json"  # as told
    mine = tmp_path / "out" / "evaluation.json"
    mine.write_text('{"diary": 1}')
    assert compare(one.parent, other.parent) == "out/evaluation-3.json"
    with pytest.raises(InputError, match="is no evaluation"):
        report_place(one, other, mine)
    with pytest.raises(InputError, match="is no evaluation"):
        report_place(one, other, tmp_path)
    assert mine.read_text() == '{"diary": 1}'


def test_doubtful_faces_of_known_photos_become_one_waiting_task(
    restored: Path, photo: Path, mtcnn, tmp_path: Path
) -> None:
    store, media = Store(tmp_path / "tables"), tmp_path / "media"
    score = score_one(restored, photo, mtcnn)
    sha256 = file_sha256(photo)
    row = Photo(photo_id=sha256, path=str(photo), state="kept", size_bytes=1)
    store.upsert(Photo, [row], why="test")
    (task,) = ask_for_review([score], store, media)
    assert (task.task_key, task.state) == (f"{sha256}:review:1", "waiting")
    assert "restored face" in task.note
    picture = (media / task.image_path).read_bytes()
    assert Image.open(io.BytesIO(picture)).size == (task.image_width, task.image_height)
    assert task.image_width > 2.5 * 600  # before and after, and half as wide what helps
    assert ask_for_review([score], store, media) == []
    assert store.read(Task) == [task]


def test_a_new_result_after_an_answer_is_asked_in_a_new_round(
    restored: Path, photo: Path, mtcnn, tmp_path: Path, make_restorer, finder_of, marked
) -> None:
    from dataclasses import replace

    store, media = Store(tmp_path / "tables"), tmp_path / "media"
    row = Photo(photo_id=file_sha256(photo), path=str(photo), state="kept", size_bytes=1)
    store.upsert(Photo, [row], why="test")
    (first,) = ask_for_review([score_one(restored, photo, mtcnn)], store, media)

    def again(seed: int) -> Score:
        restore_photo(photo, restored, restorer=make_restorer(seed=seed), finder=finder_of(marked))
        return score_one(restored, photo, mtcnn)

    (second,) = ask_for_review([again(1)], store, media)
    assert second.task_key == first.task_key  # still waiting: its picture is replaced
    store.upsert(Task, [replace(second, state="labelled")], why="test")
    (third,) = ask_for_review([again(2)], store, media)
    assert third.round == 2
    assert len(store.read(Task)) == 2


def test_a_picture_without_a_doubt_asks_nothing(photo: Path, mtcnn, tmp_path: Path) -> None:
    assert ask_for_review([score_one(photo, photo, mtcnn)], Store(tmp_path), tmp_path) == []


def test_a_photo_that_was_never_ingested_is_asked_about_by_its_hash(
    restored: Path, photo: Path, mtcnn, tmp_path: Path
) -> None:
    store = Store(tmp_path / "tables")
    (task,) = ask_for_review([score_one(restored, photo, mtcnn)], store, tmp_path / "media")
    assert task.photo_id == file_sha256(photo)
