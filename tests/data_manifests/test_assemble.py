"""Samples: joined, gated by consent, split by person, and every photo accounted for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data_manifests.assemble import BuildConfig, assemble, build
from data_manifests.consent import grant, require, withdraw
from data_manifests.errors import ConsentError, InputError
from data_manifests.records import Box, Consensus, Consent, Crop, Face, Photo, Point, Sample
from data_manifests.splits import split_of
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONSENT = Consent(
    consent_id="c1", purposes=("training",), basis="release", valid_from=NOW - timedelta(days=1)
)
CONFIG = BuildConfig(validation_share=0.2, test_share=0.2)


def photo(name: str, **changes: object) -> Photo:
    made = Photo(
        photo_id=name,
        path=f"/{name}.jpg",
        state="kept",
        size_bytes=1,
        width=8192,
        height=6144,
        consent_id="c1",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def face(name: str) -> Face:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    crop = Crop(
        path=f"crops/{sha256}.png",
        sha256=sha256,
        kind="aligned",
        width=1024,
        height=1024,
        matrix=(0.5, 0.0, -100.0, 0.0, 0.5, -200.0),
    )
    return Face(
        face_id=f"{name}-1",
        photo_id=name,
        index=0,
        box=Box(left=1, top=1, right=9, bottom=9),
        landmarks=(Point(x=1000, y=1000),),
        finder="test",
        crops=(crop,),
    )


def answer(name: str, decision: str | None = "accept", **changes: object) -> Consensus:
    made = Consensus(
        photo_id=name,
        decision=decision,
        voters=2,
        agreement=1.0,
        conflict=False,
        semantic_tags=("shot/close_up",),
        photographic_tags=("focus/sharp_eyes",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def one(photos: list[Photo], answers: list[Consensus], consents: list[Consent] | None = None):  # type: ignore[no-untyped-def]
    faces = [face(p.photo_id) for p in photos]
    return assemble(
        photos, faces, answers, [CONSENT] if consents is None else consents, config=CONFIG, now=NOW
    )


def test_an_accepted_photo_becomes_a_sample_with_its_true_size() -> None:
    (sample,) = one([photo("a")], [answer("a")]).samples
    assert sample.caption == "close up, sharp eyes"
    assert (sample.native_width, sample.native_height) == (2048, 2048)
    assert sample.landmarks == (Point(x=400, y=300),)


@pytest.mark.parametrize(
    ("given", "said", "reason"),
    [
        (photo("a"), answer("a", "reject"), "rejected"),
        (photo("a"), answer("a", "retouch"), "waits_for_retouch"),
        (photo("a"), answer("a", None, conflict=True), "reviewers_disagree"),
        (photo("a"), answer("a", None, voters=0), "not_reviewed"),
        (photo("a", state="set_aside", reasons=("blurred",)), answer("a"), "set_aside: blurred"),
        (photo("a", consent_id=None), answer("a"), "no_consent"),
        (photo("a", consent_id="unknown"), answer("a"), "no_consent"),
    ],
)
def test_a_photo_is_left_out_for_one_stated_reason(
    given: Photo, said: Consensus, reason: str
) -> None:
    built = one([given], [said])
    assert built.samples == ()
    assert built.left_out == {reason: 1}


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        (replace(CONSENT, withdrawn_at=NOW), "consent_withdrawn"),
        (replace(CONSENT, valid_until=NOW), "consent_expired"),
        (replace(CONSENT, valid_from=NOW + timedelta(days=1)), "consent_not_yet_valid"),
        (replace(CONSENT, purposes=("curation",)), "consent_other_purpose"),
    ],
)
def test_the_consent_gate_fails_closed(consent: Consent, reason: str) -> None:
    assert one([photo("a")], [answer("a")], [consent]).left_out == {reason: 1}


def test_photos_are_conserved() -> None:
    photos = [photo(str(n), consent_id="c1" if n % 3 else None) for n in range(30)]
    built = one(photos, [answer(str(n), "accept" if n % 2 else "reject") for n in range(30)])
    assert len(built.samples) + sum(built.left_out.values()) == 30


def test_one_person_is_never_in_two_splits_and_rows_added_move_nobody() -> None:
    photos = [photo(str(n), subject_id=f"person-{n % 40}") for n in range(400)]
    answers = [answer(str(n)) for n in range(400)]
    whole = {s.photo_id: s.split for s in one(photos, answers).samples}
    half = {s.photo_id: s.split for s in one(photos[:200], answers[:200]).samples}
    assert all(len({whole[str(n)] for n in range(p, 400, 40)}) == 1 for p in range(40))
    assert all(whole[name] == split for name, split in half.items())
    assert set(whole.values()) == {"train", "validation", "test"}


def test_split_shares_are_about_what_was_asked() -> None:
    splits = [split_of(f"person-{n}", CONFIG) for n in range(5000)]
    assert splits.count("test") / 5000 == pytest.approx(0.2, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.2, abs=0.02)


def test_a_build_removes_samples_that_fell_out_and_repeats_without_a_commit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    grant(store, CONSENT)
    store.upsert(Photo, [photo("a"), photo("b")], why="test")
    store.upsert(Face, [face("a"), face("b")], why="test")
    store.upsert(Consensus, [answer("a"), answer("b")], why="test")
    first = build(store, CONFIG, NOW)
    assert len(first.samples) == 2
    assert build(store, CONFIG, NOW).version == first.version
    store.upsert(Consensus, [answer("b", "reject")], why="test")
    assert len(build(store, CONFIG, NOW).samples) == 1
    assert [s.photo_id for s in store.read(Sample)] == ["a"]
    assert len(store.read(Sample, first.version)) == 2


def test_training_is_refused_once_the_consent_is_withdrawn(tmp_path: Path) -> None:
    store = Store(tmp_path)
    grant(store, CONSENT)
    samples = one([photo("a")], [answer("a")]).samples
    require(store, samples, "training", NOW)
    withdraw(store, "c1", NOW)
    with pytest.raises(ConsentError, match="consent_withdrawn"):
        require(store, samples, "training", NOW)


def test_a_consent_with_other_terms_does_not_replace_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    grant(store, CONSENT)
    with pytest.raises(InputError, match="other terms"):
        grant(store, replace(CONSENT, purposes=("publish",)))
