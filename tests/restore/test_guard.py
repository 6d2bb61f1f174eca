"""Raise the fidelity, blend, or leave: what becomes of a face that is no longer its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from restore.config import DoubtConfig, GuardConfig
from restore.doubts import disagreement, doubt_of, other_seed, spread
from restore.guard import Guard, guarded, open_guard, too_unlike
from restore.identity import Likeness
from restore.pipeline import Restoration


class Drifting:
    """Gives the input mixed with its mirror picture, the less of that the higher the fidelity."""

    def __init__(self, away: float = 1.0) -> None:
        self.away = away
        self.asked: list[tuple[int, float]] = []

    def restore_each(
        self, faces: Sequence[np.ndarray], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> Iterator[Restoration]:
        assert fidelity is not None
        for face, seed in zip(faces, seeds, strict=True):
            self.asked.append((seed, fidelity))
            share = self.away * (1 - fidelity)
            mixed = (1 - share) * face + share * face[:, ::-1]
            yield Restoration(np.rint(mixed).astype(np.uint8))


def one(restorer: object, face: np.ndarray, **settings: object):
    guard = Guard(GuardConfig.model_validate(settings))
    (kept,) = guarded(restorer, [face], [7], guard=guard, fidelity=0.0)
    return kept


def test_a_good_face_is_kept_at_once(aligned_face) -> None:
    restorer = Drifting(away=0.02)
    kept = one(restorer, aligned_face)
    assert (kept.status, kept.fidelity, kept.blend, kept.note) == ("restored", 0.0, 1.0, "")
    assert restorer.asked == [(7, 0.0)]


def test_fidelity_is_raised_with_the_same_seed_until_the_face_is_like_its_input(
    aligned_face,
) -> None:
    restorer = Drifting()
    kept = one(restorer, aligned_face, ladder=(0.4, 0.85))
    assert restorer.asked == [(7, 0.0), (7, 0.4), (7, 0.85)]
    assert (kept.status, kept.fidelity, kept.blend) == ("restored", 0.85, 1.0)
    assert kept.note.startswith("restored with fidelity 0.85, for at first drift from the input")
    assert [bool(a.trouble) for a in kept.attempts] == [True, True, False]


def test_then_it_is_mixed_with_the_input_by_as_little_as_will_do(aligned_face) -> None:
    kept = one(Drifting(away=0.4), aligned_face, ladder=(0.1,), most_drift=0.03)
    assert kept.status == "restored"
    assert 0.5 <= kept.blend < 1
    assert "mixed with" in kept.note
    assert kept.pixels_HWC is not None
    assert (kept.pixels_HWC != aligned_face).any()
    assert kept.attempts[-1].share == kept.blend


def test_how_the_restorer_made_it_is_told(aligned_face) -> None:
    class InTiles(Drifting):
        def restore_each(self, faces, *, seeds, fidelity=None):
            yield from (Restoration(face, note="in tiles") for face in faces)

    assert one(InTiles(), aligned_face).note == "in tiles"


def test_then_it_is_left_and_never_passed_for_restored(aligned_face) -> None:
    kept = one(Drifting(), aligned_face, ladder=(), least_share=1.0)
    assert (kept.status, kept.pixels_HWC) == ("left", None)
    assert kept.reason.startswith("left as it was: the restored face was too unlike the input")
    assert len(kept.attempts) == 1


def test_no_rung_reaches_the_input_itself(aligned_face) -> None:
    restorer = Drifting(away=9)
    guard = Guard(GuardConfig(ladder=(0.3, 0.6, 1.0)))
    guarded(restorer, [aligned_face], [7], guard=guard, fidelity=0.5)
    assert [fidelity for _, fidelity in restorer.asked] == [0.5, 0.8, 0.9]


def test_switched_off_nothing_is_judged(aligned_face) -> None:
    kept = one(Drifting(), aligned_face, enabled=False)
    assert (kept.status, kept.likeness, len(kept.attempts)) == ("restored", None, 1)


def test_a_face_that_the_model_could_not_make_is_failed(aligned_face) -> None:
    class Broken:
        def restore_each(self, faces, *, seeds, fidelity=None):
            yield from (Restoration(None, "out of memory") for _ in faces)

    kept = one(Broken(), aligned_face)
    assert (kept.status, kept.reason, kept.pixels_HWC) == ("failed", "out of memory", None)


def test_a_black_face_is_failed_and_not_blended(aligned_face) -> None:
    class Black:
        def restore_each(self, faces, *, seeds, fidelity=None):
            yield from (Restoration(np.zeros_like(face)) for face in faces)

    kept = one(Black(), aligned_face)
    assert kept.status == "failed"
    assert "it is black" in kept.reason
    assert {a.share for a in kept.attempts} == {1.0}


def test_neither_batch_nor_order_changes_what_comes_out(make_restorer, faces) -> None:
    """A real pipeline with random weights: every rung and the blends are tried."""
    restorer = make_restorer(steps=2)
    guard = Guard(GuardConfig())
    together = guarded(restorer, faces, [1, 2, 3], guard=guard, fidelity=0.0)
    alone = [
        guarded(restorer, [face], [seed], guard=guard, fidelity=0.0)[0]
        for face, seed in reversed(list(zip(faces, (1, 2, 3), strict=True)))
    ]
    assert [k.attempts for k in together] == [k.attempts for k in reversed(alone)]
    assert {k.status for k in together} <= {"left", "failed"}
    assert {k.pixels_HWC for k in together} == {None}


def test_a_test_models_face_is_kept_and_said_to_be_none(make_restorer, faces) -> None:
    guard = open_guard(GuardConfig(), None, withholds=False)
    (kept,) = guarded(make_restorer(steps=2), faces[:1], [1], guard=guard, fidelity=0.0)
    assert (kept.status, len(kept.attempts)) == ("restored", 1)
    assert kept.pixels_HWC is not None
    assert kept.reason.startswith("a real model's face would not be kept: ")
    assert doubt_of(kept, DoubtConfig()).count("drift from the input") == 1


def test_a_face_whose_vector_may_not_be_made_is_not_embedded(aligned_face) -> None:
    embedded = []

    def embed(cuts):
        embedded.append(len(cuts))
        return np.ones((2, 1), np.float32)

    guard = Guard(GuardConfig(), embed=embed)
    kept = guarded(
        Drifting(away=0),
        [aligned_face, aligned_face],
        [1, 2],
        guard=guard,
        fidelity=0.0,
        may_embed=[True, False],
    )
    assert [k.likeness.identity for k in kept if k.likeness] == [1.0, None]
    assert embedded == [2]


def test_what_is_not_measured_is_said(
    mtcnn, finder_of, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHFACE_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "identity is off" in open_guard(GuardConfig(), mtcnn).notes[0]
    missing = open_guard(GuardConfig(identity=True), None)
    assert "SFace's model file is not there" in missing.notes[0]
    assert "landmarks were not compared" in missing.notes[1]
    assert missing.embed is None


def test_every_limit_has_its_words() -> None:
    bad = Likeness(identity=0.2, landmark_shift=0.5, drift=0.5, lost=True)
    said = too_unlike(bad, GuardConfig(most_landmark_shift=0.4))
    assert said == (
        "the face finder sees no face in it any more; identity 0.20, below 0.363; "
        "its features moved by 0.50 eye distances, over 0.4; drift from the input 0.50, over 0.1"
    )
    assert too_unlike(Likeness(None, 0.5, 0.09), GuardConfig()) == ""


def test_seeds_that_agree_and_seeds_that_do_not(make_restorer, faces) -> None:
    assert disagreement([faces[0], faces[0]]) == 0
    restorer = make_restorer(steps=2)
    (apart,) = spread(restorer, faces[:1], [5], count=2, fidelity=0.0)
    (close,) = spread(restorer, faces[:1], [5], count=2, fidelity=0.95)
    assert apart is not None
    assert close is not None
    assert apart > close > 0
    both = spread(restorer, faces[:2], [5, 6], count=2, fidelity=0.0)
    assert both[0] == apart


def test_a_face_keeps_its_own_seed_and_gets_others() -> None:
    assert other_seed(5, 0) == 5
    assert len({other_seed(5, n) for n in range(4)} | {other_seed(6, 1)}) == 5


def test_doubts_are_put_into_words(aligned_face) -> None:
    kept = one(Drifting(away=0.02), aligned_face)
    config = DoubtConfig()
    assert doubt_of(kept, config) == ""
    assert doubt_of(kept, config, spread=9.0) == (
        "another try made another face (seeds disagree by 9.0, over 3)"
    )
    left = one(Drifting(), aligned_face, ladder=(), least_share=1.0)
    assert doubt_of(left, config, spread=9.0) == ""
    raised = one(Drifting(), aligned_face, ladder=(0.85,))
    assert doubt_of(raised, config).startswith("restored with fidelity 0.85")
