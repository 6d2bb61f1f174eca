"""The join in columns: lineage, retouches, weights, and one split for whatever belongs together."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data_manifests.assemble import BuildConfig, build
from data_manifests.records import (
    Annotation,
    Box,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Point,
    Retouch,
    Sample,
)
from data_manifests.splits import groups, split_of, splits
from data_manifests.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONSENT = Consent(
    consent_id="c1", purposes=("training",), basis="release", valid_from=NOW - timedelta(days=1)
)
CONFIG = BuildConfig(validation_share=0.2, test_share=0.2)


def photo(name: str, **facts: str | None) -> Photo:
    known = {"consent_id": "c1"} | facts
    return Photo(photo_id=name, path=name, state="kept", size_bytes=1, **known)  # type: ignore[arg-type]


def crop(name: str, kind: str = "aligned", shift: float = 0.0) -> Crop:
    matrix = (0.5, 0.1, -100.0 + shift, -0.1, 0.5, -200.0)
    path = f"crops/{name}.png"
    return Crop(path=path, sha256=name, kind=kind, width=1024, height=1000, matrix=matrix)


def face(name: str, group: str | None = None) -> Face:
    return Face(
        face_id=f"{name}-1",
        photo_id=name,
        index=0,
        box=Box(left=1.0, top=1.0, right=9.0, bottom=9.0),
        landmarks=tuple(Point(x=1000.0 + i, y=900.0) for i in range(5)),
        finder="test",
        crops=(crop("tile", "tile"), crop(f"{name}-crop"), crop("second")),
        identity_group=group,
        mouth_box=Box(left=5.0, top=6.0, right=7.0, bottom=8.0),
    )


def consensus(name: str, decision: str | None = "accept", rating: float | None = None) -> Consensus:
    return Consensus(
        photo_id=name,
        decision=decision,
        voters=2,
        conflict=False,
        rating=rating,
        semantic_tags=("shot/close_up",),
        photographic_tags=("light/soft_side",),
        annotation_ids=(f"s:{name}2", f"s:{name}1"),
    )


def annotation(key: str, photo_id: str, when: datetime | None) -> Annotation:
    return Annotation(
        annotation_id=key,
        task_key=photo_id,
        photo_id=photo_id,
        annotator="anna",
        state="counted",
        raw="{}",
        updated_at=when,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    place = Store(tmp_path)
    place.upsert(Consent, [CONSENT], why="test")
    return place


def made(store: Store, config: BuildConfig = CONFIG) -> dict[str, Sample]:
    return {s.photo_id: s for s in build(store, config, NOW).samples}


def test_a_sample_carries_its_whole_lineage(store: Store) -> None:
    store.upsert(Photo, [photo("a", subject_id="s1")], why="test")
    store.upsert(Face, [face("a")], why="test")
    store.upsert(Consensus, [consensus("a")], why="test")
    later = NOW + timedelta(hours=1)
    answers = [annotation("s:a1", "a", NOW), annotation("s:a2", "a", later)]
    store.upsert(Annotation, [*answers, annotation("s:x", "x", NOW)], why="test")
    sample = made(store)["a"]
    assert (sample.face_id, sample.person, sample.consent_id) == ("a-1", "s1", "c1")
    assert sample.annotation_ids == ("s:a2", "s:a1")
    assert sample.annotation_versions == (
        "2026-06-01T01:00:00.000000Z",
        "2026-06-01T00:00:00.000000Z",
    )
    assert sample.crop_sha256 == "a-crop"
    assert sample.caption == "close up, soft side"
    assert sample.landmarks[0] == Point(x=0.5 * 1000 + 90 - 100, y=-100 + 450 - 200)
    assert sample.mouth_box == Box(left=5.0, top=6.0, right=7.0, bottom=8.0)
    assert sample.left_eye_box is None
    assert sample.native_width == pytest.approx(1024 / (0.5**2 + 0.1**2) ** 0.5)


def test_an_approved_retouch_gives_the_crop_and_others_do_not(store: Store) -> None:
    names = ("a", "b", "c", "d")
    store.upsert(Photo, [photo(n) for n in names], why="test")
    store.upsert(Face, [face(n) for n in names], why="test")
    store.upsert(Consensus, [consensus(n, "retouch") for n in names], why="test")

    def retouch(name: str, state: str, turn: int, cut: Crop | None) -> Retouch:
        return Retouch(
            retouch_id=f"r{name}{turn}",
            photo_id=name,
            path="r.tif",
            match_method="id",
            match_score=1.0,
            round=turn,
            state=state,
            crop=cut,
        )

    returned = [
        retouch("a", "approved", 1, crop("first-round")),
        retouch("a", "approved", 2, crop("second-round", shift=7.0)),
        retouch("b", "fix", 1, crop("not-approved")),
        retouch("d", "approved", 1, None),
    ]
    store.upsert(Retouch, returned, why="test")
    built = build(store, CONFIG, NOW)
    (sample,) = built.samples
    assert (sample.retouch_id, sample.crop_sha256) == ("ra2", "second-round")
    assert sample.landmarks[0].x == pytest.approx(0.5 * 1000 + 90 - 93)
    assert built.left_out == {"waits_for_retouch": 3}
    assert built.photos == 4


def test_stars_weigh_as_the_settings_say(store: Store) -> None:
    stars = {"a": 1.0, "b": 4.5, "c": None}
    store.upsert(Photo, [photo(n) for n in stars], why="test")
    store.upsert(Face, [face(n) for n in stars], why="test")
    store.upsert(Consensus, [consensus(n, rating=r) for n, r in stars.items()], why="test")
    assert {s.weight for s in made(store).values()} == {1.0}
    config = CONFIG.model_copy(update={"star_weights": (0.1, 0.25, 0.5, 1.0, 2.0)})
    assert {n: s.weight for n, s in made(store, config).items()} == {"a": 0.1, "b": 1.5, "c": 1.0}


def test_a_second_build_of_the_same_tables_commits_nothing(store: Store) -> None:
    store.upsert(Photo, [photo("a"), photo("b")], why="test")
    store.upsert(Face, [face("a"), face("b")], why="test")
    store.upsert(Consensus, [consensus("a"), consensus("b")], why="test")
    first = build(store, CONFIG, NOW)
    assert build(store, CONFIG, NOW).version == first.version
    store.upsert(Consensus, [consensus("b", "reject")], why="test")
    again = build(store, CONFIG, NOW)
    assert again.left_out == {"rejected": 1}
    assert [s.photo_id for s in store.read(Sample)] == ["a"]
    assert again.reasons == {"b": "rejected"}
    assert len(store.read(Sample, first.version)) == 2


def test_what_belongs_together_is_one_group() -> None:
    """a and b share a subject, b and c an identity group, c and d a shot; e stands alone."""
    links = {
        "subject": ["s2", "s2", None, None, None],
        "identity": [None, "g1", "g1", None, None],
        "shot": [None, None, "x", "x", None],
        "duplicates": [None] * 5,
    }
    named = groups(links, list("abcde"))
    assert named == ["subject:s2"] * 4 + ["photo:e"]


def test_new_rows_move_nobody(store: Store) -> None:
    draw = random.Random(3)
    links: dict[str, list[str | None]] = {
        kind: [draw.choice([None, f"{kind}{n // 3}"]) for n in range(300)]
        for kind in ("subject", "identity", "shot", "duplicates")
    }
    ids = [f"p{n}" for n in range(300)]
    before = groups({k: v[:200] for k, v in links.items()}, ids[:200])
    # Rows come in whole threes, which no link crosses.
    assert groups(links, ids)[:198] == before[:198]
    splits = {split_of(g, CONFIG) for g in before}
    assert splits == {"train", "validation", "test"}


def test_no_person_is_ever_in_two_splits(store: Store) -> None:
    draw = random.Random(4)
    ids = [f"p{n:03d}" for n in range(120)]
    rows = [photo(i, subject_id=draw.choice([None, f"s{draw.randrange(30)}"])) for i in ids]
    store.upsert(Photo, rows, why="test")
    identity = {i: draw.choice([None, f"g{draw.randrange(40)}"]) for i in ids}
    store.upsert(Face, [face(i, identity[i]) for i in ids], why="test")
    store.upsert(Consensus, [consensus(i) for i in ids], why="test")
    found: dict[str, set[str]] = {}
    samples = made(store)
    for row in rows:
        for name in (row.subject_id, identity[row.photo_id]):
            if name:
                found.setdefault(name, set()).add(samples[row.photo_id].split)
    assert len(samples) == 120
    assert {len(s) for s in found.values()} == {1}


def test_a_split_once_drawn_is_kept_when_the_photo_gets_a_name(store: Store) -> None:
    """Photos of nobody are drawn one by one; later they turn out to be duplicates of others."""
    ids = [f"p{n:03d}" for n in range(60)]
    store.upsert(Photo, [photo(i) for i in ids], why="test")
    store.upsert(Face, [face(i) for i in ids], why="test")
    store.upsert(Consensus, [consensus(i) for i in ids], why="test")
    before = {i: s.split for i, s in made(store).items()}
    assert set(before.values()) == {"train", "validation", "test"}
    grouped = [photo(i, duplicate_group=f"d{i}") for i in ids]
    new = [photo(f"n{n:03d}", duplicate_group=f"dp{n:03d}") for n in range(60)]
    store.upsert(Photo, grouped + new, why="test")
    store.upsert(Face, [face(p.photo_id) for p in new], why="test")
    store.upsert(Consensus, [consensus(p.photo_id) for p in new], why="test")
    after = {i: s.split for i, s in made(store).items()}
    assert {i: after[i] for i in ids} == before
    assert [after[f"n{n:03d}"] for n in range(60)] == [before[i] for i in ids]


def test_photos_of_two_splits_that_are_one_person_all_go_where_one_was_learned_from() -> None:
    names, standing = ["a", "a", "b", "b", "c"], ["test", "train", "test", "validation", None]
    assert splits(names, standing, CONFIG) == {
        "a": "train",
        "b": "validation",
        "c": split_of("c", CONFIG),
    }


def test_another_salt_draws_everything_anew(store: Store) -> None:
    ids = [f"p{n:03d}" for n in range(60)]
    store.upsert(Photo, [photo(i) for i in ids], why="test")
    store.upsert(Face, [face(i) for i in ids], why="test")
    store.upsert(Consensus, [consensus(i) for i in ids], why="test")
    first = {i: s.split for i, s in made(store).items()}
    salted = CONFIG.model_copy(update={"salt": "other"})
    drawn = {i: s.split for i, s in made(store, salted).items()}
    assert drawn == {i: split_of(f"photo:{i}", salted) for i in ids} != first
