"""Guard, do-no-harm and writer at work on whole photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_manifests.errors import ConfigError
from restore.batch import plan_jobs, restore_jobs
from restore.outcome import read_sidecar
from restore.photo import restore_photo


def real(restorer):
    """The restorer as if its model were no test model: the guard withholds what is too unlike."""
    restorer.facts = replace(restorer.facts, tiny=False)
    return restorer


def test_a_face_too_unlike_its_input_is_left_and_nothing_is_written(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.png"
    restorer = real(make_restorer())
    outcome = restore_photo(photo, target, restorer=restorer, finder=finder_of(marked))
    (face,) = outcome.faces
    assert (outcome.status, face.status) == ("nothing", "skipped")
    assert "left as it was" in face.reason
    assert not target.exists()
    said = read_sidecar(target)
    assert said is not None
    assert any("identity was not measured" in why for why in said["not_measured"])
    assert said["faces"][0]["drift"] > said["settings"]["guard"]["most_drift"]


def test_the_guard_can_be_turned_off_and_a_test_model_is_only_judged(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    off = real(make_restorer(guard={"enabled": False}))
    outcome = restore_photo(photo, tmp_path / "a.png", restorer=off, finder=finder_of(marked))
    assert outcome.status == "restored"
    assert outcome.faces[0].drift is None
    tiny = make_restorer()
    outcome = restore_photo(photo, tmp_path / "b.png", restorer=tiny, finder=finder_of(marked))
    assert outcome.status == "restored"
    assert "would not be kept" in outcome.faces[0].doubt


def test_a_face_that_is_good_already_is_left_alone(
    make_restorer, finder_of, mark_face, portrait, tmp_path: Path
) -> None:
    sharp = cv2.resize(portrait, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, 2, sharp.shape)
    cv2.imwrite(str(tmp_path / "a.png"), np.clip(sharp + grain, 0, 255).astype(np.uint8)[..., ::-1])
    finder = finder_of(mark_face(4.0))
    lenient = {"least_resolution": -99, "least_eye_sharpness": 0, "most_noise": 99}
    for wanted, settings in (("good", {}), ("restored", {"improve_good": True})):
        restorer = make_restorer(good=lenient, **settings)
        restorer.facts = replace(restorer.facts, size=512)
        target = tmp_path / f"{wanted}.png"
        outcome = restore_photo(tmp_path / "a.png", target, restorer=restorer, finder=finder)
        assert outcome.status == wanted
        assert target.exists() == (wanted == "restored")
    assert all(face.as_wished for face in outcome.faces)


def test_seeds_that_disagree_make_a_doubt(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    restorer = make_restorer(doubt={"seeds": 2, "most_spread": 0.001})
    outcome = restore_photo(photo, tmp_path / "b.png", restorer=restorer, finder=finder_of(marked))
    (face,) = outcome.faces
    assert face.spread is not None
    assert face.spread > 0.001
    assert "seeds disagree" in face.doubt
    said = read_sidecar(tmp_path / "b.png")
    assert said is not None
    assert said["faces"][0]["doubt"] == face.doubt


def test_alpha_and_grey_go_through_a_batch(
    make_restorer, finder_of, marked, portrait, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    alpha = np.random.default_rng(1).integers(0, 256, (512, 512, 1), dtype=np.uint8)
    cv2.imwrite(str(source / "alpha.png"), np.concatenate([portrait[..., ::-1], alpha], axis=2))
    cv2.imwrite(str(source / "grey.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY))
    jobs = plan_jobs(source, tmp_path / "out")
    done = list(restore_jobs(jobs, restorer=make_restorer(), finder=finder_of(marked)))
    assert [o.status for o in done] == ["restored"] * 2
    kept = cv2.imread(str(tmp_path / "out" / "alpha.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(kept[..., 3:], alpha)
    assert cv2.imread(str(tmp_path / "out" / "grey.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_an_unmarked_output_is_told_of(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.png"
    restorer = make_restorer(mark=False)
    outcome = restore_photo(photo, target, restorer=restorer, finder=finder_of(marked))
    assert b"compositeWithTrainedAlgorithmicMedia" not in target.read_bytes()
    assert any("not marked" in note for note in outcome.notes)


def test_a_certificate_that_is_not_there_stops_before_the_first_photo(
    make_restorer, finder_of, marked, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("c2pa")
    signs = {"certificate": str(tmp_path / "gone.pem"), "key": str(tmp_path / "key.pem")}
    jobs = plan_jobs(photo.parent, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        list(restore_jobs(jobs, restorer=make_restorer(c2pa=signs), finder=finder_of(marked)))
    assert not (tmp_path / "out").exists()
