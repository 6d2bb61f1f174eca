"""Distributions of samples and kept photos, held against counts made by hand."""

from __future__ import annotations

import statistics
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_manifests.errors import ManifestError
from data_manifests.records import Box, Capture, Consent, Face, Photo, Pose, Sample
from data_manifests.stats import Category, Spread, Stats, describe
from data_manifests.store import Store

APERTURES = (1.4, 2.8, 8.0)
SHOTS = ("shot/close_up", "shot/group")


def photo(n: int) -> Photo:
    capture = Capture(camera=f"camera {n % 3}", aperture_f=APERTURES[n % 3], iso=100 * 2 ** (n % 4))
    return Photo(
        photo_id=f"{n:064x}",
        path=f"/{n}.jpg",
        state="set_aside" if n % 10 == 9 else "kept",
        size_bytes=1,
        width=4000 + 100 * n,
        height=3000,
        capture=capture if n % 5 else None,
        photographer=f"photographer {n % 2}",
    )


def face(n: int) -> Face:
    return Face(
        face_id=f"{n:064x}-1",
        photo_id=f"{n:064x}",
        index=0,
        box=Box(left=0, top=0, right=1, bottom=1),
        finder="test",
        eye_distance=100.0 + n,
        pose=Pose(roll=0, yaw=(n - 20) / 20, pitch=0),
    )


def sample(n: int) -> Sample:
    return Sample(
        sample_id=f"{n:032x}",
        photo_id=f"{n:064x}",
        face_id=f"{n:064x}-1",
        crop_path="x.png",
        crop_sha256="x",
        width=1024,
        height=1024,
        caption="c" * (n + 1),
        semantic_tags=(SHOTS[n % 2],) if n % 4 else (),
        photographic_tags=("facial_detail/mole", "facial_detail/beard") if n % 2 else (),
        native_width=1000.0,
        native_height=2000.0,
        split="train" if n % 5 else "test",
        consent_id="c1",
        person=f"person {n % 7}",
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Forty photos, 36 kept; 20 samples at version 2, 19 at version 4."""
    made = Store(tmp_path)
    granted = datetime(2026, 1, 1, tzinfo=UTC)
    consent = Consent(consent_id="c1", purposes=("training",), basis="release", valid_from=granted)
    made.upsert(Consent, [consent], why="test")
    made.upsert(Photo, [photo(n) for n in range(40)], why="test")
    made.upsert(Face, [face(n) for n in range(40)], why="test")
    made.upsert(Sample, [sample(n) for n in range(20)], why="test")
    made.remove(Sample, [sample(19).sample_id], why="test")
    return made


def spread(found: Stats, name: str) -> Spread:
    return next(s for s in found.spreads if s.name == name)


def category(found: Stats, name: str) -> Category:
    return next(c for c in found.categories if c.name == name)


def test_samples_photos_and_people_are_counted_at_a_version(store: Store) -> None:
    now, then = describe(store), describe(store, 2)
    assert (now.version, now.samples, now.photos, now.people) == (4, 19, 36, 7)
    assert (then.version, then.samples) == (2, 20)


def test_figures_have_the_quantiles_of_their_rows(store: Store) -> None:
    found = spread(describe(store), "long_side")
    sides = [4000 + 100 * n for n in range(19)]
    assert found.samples.count == 19
    assert found.samples.mean == pytest.approx(statistics.mean(sides))
    assert found.samples.quantiles[0] == 4000
    assert found.samples.quantiles[3] == statistics.median(sides)
    assert found.samples.quantiles[-1] == 5800
    assert found.photos is not None
    assert found.photos.count == 36


def test_every_row_stands_in_one_bin(store: Store) -> None:
    for found in describe(store).spreads:
        assert sum(b.samples for b in found.bins) == found.samples.count
        assert sum(b.photos for b in found.bins) == (found.photos.count if found.photos else 0)
        assert [b.low for b in found.bins[1:]] == [b.high for b in found.bins[:-1]]
        assert found.samples.count + found.samples.missing == 19


def test_a_photo_without_capture_facts_is_counted_as_saying_nothing(store: Store) -> None:
    found = describe(store)
    assert spread(found, "aperture").samples.missing == 4
    assert category(found, "camera").missing == 4


def test_sensitivity_goes_by_stops(store: Store) -> None:
    bins = spread(describe(store), "iso").bins
    assert [(b.low, b.high) for b in bins] == [(100, 200), (200, 400), (400, 800), (800, 1600)]


def test_tags_of_both_groups_are_counted_by_question(store: Store) -> None:
    found = describe(store)
    shot = category(found, "shot")
    tagged = [SHOTS[n % 2] for n in range(19) if n % 4]
    assert {v.value: v.samples for v in shot.values} == {
        "close_up": tagged.count("shot/close_up"),
        "group": tagged.count("shot/group"),
    }
    assert (shot.group, shot.missing) == ("semantic", 5)
    detail = category(found, "facial_detail")  # several answers: shares may add up to more than 1
    assert [(v.value, v.samples) for v in detail.values] == [("beard", 9), ("mole", 9)]
    assert (detail.group, detail.missing) == ("photographic", 10)


def test_categories_hold_samples_against_kept_photos(store: Store) -> None:
    values = category(describe(store), "photographer").values
    assert {v.value: (v.samples, v.photos) for v in values} == {
        "photographer 0": (10, 20),
        "photographer 1": (9, 16),
    }
    assert values[0].share == pytest.approx(10 / 19)
    assert [v.value for v in category(describe(store), "consent_basis").values] == ["release"]


def test_one_stray_figure_does_not_squash_the_others(store: Store) -> None:
    store.upsert(Photo, [replace(photo(50), width=10_000_000)], why="test")
    found = spread(describe(store), "long_side")
    assert found.clipped
    assert sum(b.photos > 0 for b in found.bins) > 5
    assert found.bins[-1].photos >= 1
    assert found.photos is not None
    assert found.photos.quantiles[-1] == 10_000_000


def test_an_empty_workspace_has_nothing_to_tell(tmp_path: Path) -> None:
    found = describe(Store(tmp_path))
    assert (found.version, found.samples, found.photos) == (None, 0, 0)
    assert (found.spreads, found.categories) == ((), ())


def test_a_version_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(ManifestError, match="samples has no version 9"):
        describe(store, 9)
