from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from curation.config import GatesConfig
from curation.duplicates import pack
from curation.settle import SETTLED_GATES, Settled, settle, settle_tables
from data_manifests.records import Box, Capture, Face, Photo, Task, Verdict
from data_manifests.store import Store

CONFIG = GatesConfig()
NOON = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)
BLANK = pack([0.0] * 150)


def hashed(seed: int, turned: int = 0) -> str:
    """A made pHash; `turned` of its bits differ from the plain one of that seed."""
    bits = random.Random(seed).getrandbits(256)
    for place in random.Random(seed + 1).sample(range(256), turned):
        bits ^= 1 << place
    return f"{bits:064x}"


def coloured(seed: int, away: float = 0.0) -> tuple[float, ...]:
    """A made descriptor; its cosine to the plain one of that seed is 1 - away."""
    rng = np.random.default_rng(seed)
    plain, other = rng.normal(size=150), rng.normal(size=150)
    plain /= np.linalg.norm(plain)
    other -= plain * (plain @ other)
    other /= np.linalg.norm(other)
    cosine = 1 - away
    return tuple((plain * cosine + other * np.sqrt(1 - cosine**2)).tolist())


def photo(
    name: str,
    seed: int | None = None,
    turned: int = 0,
    away: float = 0.0,
    after_s: float | None = None,
    **changes: object,
) -> Photo:
    """A kept photo; photos of one seed look alike."""
    taken = None if after_s is None else NOON + timedelta(seconds=after_s)
    made = Photo(
        photo_id=f"id-{name}",
        path=f"/shoot/{name}",
        state="kept",
        format="JPEG",
        width=8192,
        height=5464,
        bit_depth=8,
        size_bytes=1000,
        perceptual_hash=None if seed is None else hashed(seed, turned),
        descriptor=None if seed is None else pack(coloured(seed, away)),
        capture=Capture(camera="Canon EOS R5", body_serial="ab", taken_at=taken) if taken else None,
        verdicts=(Verdict(gate="sharpness", value=20.0, keep=True),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def settled(
    photos: Sequence[Photo], busy: Sequence[str] = (), eyes: dict[str, float] | None = None
) -> dict[str, Photo]:
    """All photos by name as they are afterwards."""
    changed = settle(
        photos,
        eye_distance=eyes or {},
        busy=frozenset(f"id-{name}" for name in busy),
        config=CONFIG,
    )
    rows = {p.photo_id: p for p in photos} | {p.photo_id: p for p in changed}
    return {p.path.rsplit("/", 1)[1]: p for p in rows.values()}


def test_a_photo_alone_is_left_alone() -> None:
    assert settle([photo("a.jpg", 1)], eye_distance={}, busy=frozenset(), config=CONFIG) == []
    assert settle([], eye_distance={}, busy=frozenset(), config=CONFIG) == []


def test_one_file_stands_for_the_shot_and_the_others_say_so() -> None:
    raw = photo("IMG_1234.CR3", format="RAW")
    edit = photo("IMG_1234-Edit.tif", format="TIFF", bit_depth=16)
    rows = settled([raw, photo("IMG_1234.jpg"), edit])
    assert rows["IMG_1234-Edit.tif"].state == "kept"
    for name in ("IMG_1234.CR3", "IMG_1234.jpg"):
        row = rows[name]
        assert (row.state, row.reasons) == ("set_aside", ("shot",))
        assert row.near_duplicate_of == edit.photo_id
        assert row.verdicts[-1].reason == (
            "another file of the shot that IMG_1234-Edit.tif stands for"
        )
    assert len({row.shot_id for row in rows.values()}) == 1
    assert rows["IMG_1234.CR3"].shot_id


def test_a_shot_links_files_that_other_gates_set_aside_but_they_do_not_stand() -> None:
    raw = photo("IMG_1.CR3", format="RAW", state="set_aside", reasons=("sharpness",))
    rows = settled([raw, photo("IMG_1.jpg")])
    assert rows["IMG_1.jpg"].state == "kept"
    assert rows["IMG_1.CR3"].reasons == ("sharpness",)
    assert rows["IMG_1.CR3"].shot_id == rows["IMG_1.jpg"].shot_id


def test_equal_pixels_keep_one() -> None:
    rows = settled([photo("b.png", pixel_hash="x"), photo("a.png", pixel_hash="x")])
    assert rows["a.png"].state == "kept"
    assert rows["b.png"].reasons == ("exact_duplicate",)
    assert rows["b.png"].near_duplicate_of == "id-a.png"
    assert rows["a.png"].duplicate_group == rows["b.png"].duplicate_group


@pytest.mark.parametrize(
    ("turned", "away", "near"),
    [(0, 0.0, True), (10, 0.04, True), (10, 0.06, False), (40, 0.01, True), (90, 0.0, False)],
)
def test_near_duplicates_agree_in_hash_and_colours(turned: int, away: float, near: bool) -> None:
    rows = settled([photo("a.jpg", 7), photo("b.jpg", 7, turned, away)])
    assert (rows["b.jpg"].reasons == ("near_duplicate",)) is near
    if near:
        said = rows["b.jpg"].verdicts[-1]
        assert (said.value, said.threshold) == (turned, CONFIG.near_duplicate_bits)
        assert said.reason == f"a version of a.jpg: {turned} of 256 hash bits differ"


def test_the_further_the_hashes_the_more_alike_the_colours_must_be() -> None:
    for turned, near in ((0, True), (64, False)):
        rows = settled([photo("a.jpg", 7), photo("b.jpg", 7, turned, 0.04)])
        assert (rows["b.jpg"].state == "set_aside") is near


def test_a_grey_version_is_compared_by_its_brightness() -> None:
    colours = np.array(coloured(3))
    grey = colours.copy()
    grey[100:] = 0
    grey /= np.linalg.norm(grey)
    assert colours @ grey < CONFIG.least_likeness
    rows = settled([photo("a.jpg", 3), photo("b.jpg", 3, descriptor=pack(grey))])
    assert rows["b.jpg"].reasons == ("near_duplicate",)


def test_embeddings_of_one_model_speak_where_both_have_one() -> None:
    def with_embedding(name: str, embedding: tuple[float, ...], model: str, away: float) -> Photo:
        return photo(name, 5, 0, away, embedding=embedding, embedder=model)

    one = with_embedding("a.jpg", (1.0, 0.0), "m", 0.0)
    assert settled([one, with_embedding("b.jpg", (0.0, 1.0), "m", 0.0)])["b.jpg"].state == "kept"
    like = settled([one, with_embedding("b.jpg", (1.0, 0.0), "m", 0.9)])["b.jpg"]
    assert like.state == "set_aside"
    other = settled([one, with_embedding("b.jpg", (0.0, 1.0), "n", 0.0)])["b.jpg"]
    assert other.state == "set_aside"  # by colours: vectors of two models do not compare


def test_rows_without_colours_are_only_alike_if_their_hashes_nearly_are() -> None:
    for turned, state in ((8, "set_aside"), (20, "kept")):
        rows = settled([photo("a.jpg", 7), photo("b.jpg", 7, turned, descriptor=None)])
        assert rows["b.jpg"].state == state


def test_likeness_is_not_passed_on_along_a_drift() -> None:
    """Each is like the next, the ends are not like each other."""
    angles = np.linspace(0, 0.7, 8)
    plain, other = np.array(coloured(1)), np.array(coloured(1, 1.0))
    rows = settled(
        [
            photo(
                f"{n}.jpg",
                1,
                descriptor=pack(np.cos(a) * plain + np.sin(a) * other),
            )
            for n, a in enumerate(angles)
        ]
    )
    kept = [name for name, row in rows.items() if row.state == "kept"]
    assert kept == ["0.jpg", "4.jpg"]
    assert rows["3.jpg"].near_duplicate_of == "id-0.jpg"
    assert rows["5.jpg"].near_duplicate_of == "id-4.jpg"
    assert rows["3.jpg"].duplicate_group != rows["4.jpg"].duplicate_group


def test_blank_pictures_are_like_nothing_and_cost_nothing() -> None:
    start = time.perf_counter()
    blanks = [photo(f"{n}.jpg", 1, descriptor=BLANK) for n in range(5_000)]
    assert all(row.state == "kept" for row in settled(blanks).values())
    assert time.perf_counter() - start < 10


def test_thousands_of_versions_of_one_picture_end_in_one() -> None:
    rows = settled([photo(f"{n:04}.jpg", 1, n % 9, 0.001) for n in range(5_000)])
    assert [name for name, row in rows.items() if row.state == "kept"] == ["0000.jpg"]
    assert len({row.duplicate_group for row in rows.values()}) == 1


def burst(*changes: dict[str, object]) -> dict[str, Photo]:
    """Frames that move: each further from the next than near duplicates may be."""
    frames = []
    for n, change in enumerate(changes):
        turned = {0: (1 << 90) - 1, 1: 0, 2: ((1 << 90) - 1) << 100}[n]
        made = photo(f"f{n}.jpg", 2, after_s=n / 10)
        made = replace(made, perceptual_hash=f"{int(hashed(2), 16) ^ turned:064x}")
        frames.append(replace(made, **change))  # type: ignore[arg-type]
    return settled(frames)


def sharp(value: float) -> dict[str, object]:
    return {"verdicts": (Verdict(gate="sharpness", value=value, keep=True),)}


def test_the_best_frame_of_a_burst_is_kept_and_the_rest_say_which() -> None:
    rows = burst(sharp(10), sharp(30), sharp(12))
    assert rows["f1.jpg"].state == "kept"
    for name in ("f0.jpg", "f2.jpg"):
        assert rows[name].reasons == ("burst",)
        assert rows[name].verdicts[-1].reason == "burst frame; the best of 3 is f1.jpg"
        assert rows[name].near_duplicate_of == "id-f1.jpg"
    assert len({row.duplicate_group for row in rows.values()}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"photographer": "someone else"},
        {"capture": Capture(camera="Canon EOS R5", body_serial="cd", taken_at=NOON)},
        {"capture": Capture(camera="Canon EOS R5", body_serial="ab")},
        {"descriptor": pack(coloured(99))},
        {"perceptual_hash": hashed(99)},
    ],
)
def test_another_camera_owner_time_or_picture_is_no_burst(change: dict[str, object]) -> None:
    rows = burst(sharp(30), sharp(10) | change)
    assert rows["f1.jpg"].state == "kept"


def test_frames_seconds_apart_are_no_burst() -> None:
    later = Capture(camera="Canon EOS R5", body_serial="ab", taken_at=NOON + timedelta(seconds=2))
    assert burst({}, {"capture": later})["f1.jpg"].state == "kept"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"xmp_pick": 1}, {"xmp_rating": 5}),
        ({"xmp_rating": 4}, sharp(90)),
        (sharp(30), {"width": 9000}),
        ({"width": 9000}, {"bit_depth": 16}),
        ({"bit_depth": 16}, {"size_bytes": 2000}),
        ({"size_bytes": 2000}, {}),
        (sharp(18) | {"width": 9000}, sharp(19.5)),  # a twelfth sharper is noise
    ],
)
def test_the_photographer_decides_then_sharpness_then_pixels(
    better: dict[str, object], worse: dict[str, object]
) -> None:
    rows = settled([photo("a.jpg", 1, **worse), photo("b.jpg", 1, **better)])  # type: ignore[arg-type]
    assert (rows["a.jpg"].state, rows["b.jpg"].state) == ("set_aside", "kept")


def test_larger_eyes_decide_among_equally_sharp() -> None:
    rows = settled(
        [photo("a.jpg", 1, width=9000), photo("b.jpg", 1)], eyes={"id-a.jpg": 90, "id-b.jpg": 200}
    )
    assert rows["b.jpg"].state == "kept"


def test_what_people_work_on_is_not_set_aside_by_a_later_arrival() -> None:
    early, late = photo("b.jpg", 1), photo("a.jpg", 1)
    assert settled([early, late])["b.jpg"].state == "set_aside"
    rows = settled([early, late], busy=["b.jpg"])
    assert (rows["b.jpg"].state, rows["a.jpg"].state) == ("kept", "set_aside")
    picked = settled([early, replace(late, xmp_pick=1)], busy=["b.jpg"])
    assert (picked["b.jpg"].state, picked["a.jpg"].state) == ("kept", "kept")
    said = picked["b.jpg"].verdicts[-1]
    assert (said.keep, said.reason) == (True, "kept beside a.jpg: people work on it already")
    both = settled([early, late], busy=["a.jpg", "b.jpg"])
    assert {row.state for row in both.values()} == {"kept"}
    assert both["a.jpg"].duplicate_group
    assert both["a.jpg"].duplicate_group == both["b.jpg"].duplicate_group


def test_of_a_shot_the_file_that_people_work_on_stands() -> None:
    files = [photo("IMG_1.jpg"), photo("IMG_1-Edit.tif", format="TIFF", bit_depth=16)]
    rows = settled(files, busy=["IMG_1.jpg"])
    assert (rows["IMG_1.jpg"].state, rows["IMG_1-Edit.tif"].state) == ("kept", "set_aside")


def test_the_one_kept_instead_is_one_that_is_kept_in_the_end() -> None:
    """c is a version of b, and b loses a burst to a."""
    rows = burst(sharp(90), sharp(30))
    assert rows["f1.jpg"].near_duplicate_of == "id-f0.jpg"
    version = replace(
        photo("c.jpg", 2, 0, 0.02),
        perceptual_hash=rows["f1.jpg"].perceptual_hash,
        descriptor=rows["f1.jpg"].descriptor,
    )
    three = settled([*rows.values(), version])
    assert three["c.jpg"].reasons == ("near_duplicate",)
    assert three["c.jpg"].near_duplicate_of == "id-f0.jpg"


def test_earlier_verdicts_are_taken_back_when_the_reason_is_gone() -> None:
    rows = settled([photo("a.jpg", 1), photo("b.jpg", 1)])
    assert rows["b.jpg"].state == "set_aside"
    alone = settled([rows["b.jpg"]])["b.jpg"]
    assert alone == photo("b.jpg", 1)


def test_quarantined_photos_are_left_as_they_are() -> None:
    broken = photo("a.jpg", 1, state="quarantined", reasons=("truncated",), shot_id="old")
    assert settled([broken, photo("b.jpg", 1)])["a.jpg"] == broken


def world(rng: random.Random) -> list[Photo]:
    """Shots, versions, bursts, rejects and quarantined ones, all mixed."""
    photos = []
    for n in range(rng.randint(2, 40)):
        seed = rng.choice([None, 1, 2, 3, 4, 100 + n])
        name = (
            f"IMG_{rng.randint(1, 15)}{rng.choice(['', '-Edit', ' (1)'])}-{n}.x/" if n % 3 else ""
        )
        ending = rng.choice(["jpg", "CR3", "tif"])
        base = photo(
            f"{name}IMG_{rng.randint(1, 8)}{rng.choice(['', '', '-Edit', '-2'])}.{ending}",
            seed,
            rng.choice([0, 0, 5, 20, 50, 90]),
            rng.choice([0.0, 0.01, 0.03, 0.1]),
            rng.choice([None, 0, 0.5, 1.2, 30]),
        )
        state = rng.choice(["kept"] * 6 + ["set_aside", "quarantined"])
        photos.append(
            replace(
                base,
                photo_id=f"{n:03}",
                format={"jpg": "JPEG", "CR3": "RAW", "tif": "TIFF"}[ending],
                state=state,
                reasons=() if state == "kept" else ("sharpness",),
                pixel_hash=rng.choice([None, None, "p", "q"]),
                xmp_rating=rng.choice([None, None, 3, 5]),
                bit_depth=rng.choice([8, 16]),
            )
        )
    return photos


@pytest.mark.parametrize("seed", range(120))
def test_settling_is_ordered_repeatable_and_loses_nothing(seed: int) -> None:
    rng = random.Random(seed)
    photos = world(rng)
    busy = frozenset(p.photo_id for p in photos if rng.random() < 0.2)
    eyes = {p.photo_id: rng.choice([50.0, 200.0]) for p in photos if rng.random() < 0.5}

    def again(rows: Sequence[Photo]) -> list[Photo]:
        return settle(rows, eye_distance=eyes, busy=busy, config=CONFIG)

    changed = again(photos)
    assert again(rng.sample(photos, len(photos))) == changed
    now = {p.photo_id: p for p in photos} | {p.photo_id: p for p in changed}
    assert len(now) == len(photos)
    assert again(list(now.values())) == []
    for before in photos:
        after = now[before.photo_id]
        ours = set(after.reasons) & set(SETTLED_GATES)
        if before.state != "kept" or before.photo_id in busy:
            assert (after.state, after.reasons) == (before.state, before.reasons)
        else:
            assert (after.state == "set_aside") == bool(ours) == bool(after.near_duplicate_of)
        if after.near_duplicate_of:
            assert now[after.near_duplicate_of].state == "kept"
        assert after.verdicts[: len(before.verdicts)] == before.verdicts


def test_later_arrivals_give_the_same_as_all_at_once() -> None:
    rng = random.Random(11)
    photos = world(rng) + [replace(p, photo_id=f"more-{p.photo_id}") for p in world(rng)]
    at_once = {p.photo_id: p for p in photos}
    at_once |= {
        p.photo_id: p for p in settle(photos, eye_distance={}, busy=frozenset(), config=CONFIG)
    }
    step_by_step: dict[str, Photo] = {}
    for count in range(0, len(photos) + 1, 7):
        part = photos[count : count + 7]
        step_by_step |= {p.photo_id: p for p in part}
        rows = list(step_by_step.values())
        changed = settle(rows, eye_distance={}, busy=frozenset(), config=CONFIG)
        step_by_step |= {p.photo_id: p for p in changed}
    assert step_by_step == at_once


def test_the_tables_are_settled_in_one_commit_and_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    photos = [photo("a.jpg", 1), photo("b.jpg", 1), photo("c.jpg", 2)]
    box = Box(left=0, top=0, right=9, bottom=9)
    faces = [
        Face(face_id=f"f{n}", photo_id=p, index=n, box=box, finder="made", eye_distance=eyes)
        for n, (p, eyes) in enumerate([("id-b.jpg", 200.0), ("id-a.jpg", 900.0)])
    ]
    store.upsert(Photo, photos, why="test")
    store.upsert(Face, faces, why="test")
    first = settle_tables(store, CONFIG)
    assert first == Settled(
        photos=3, changed=2, kept=2, shots=0, exact_duplicates=0, near_duplicates=1, bursts=0
    )
    rows = {p.photo_id: p for p in store.read(Photo)}
    assert rows["id-b.jpg"].state == "kept"  # only the main face counts
    assert rows["id-a.jpg"].near_duplicate_of == "id-b.jpg"
    version = store.version(Photo)
    assert settle_tables(store, CONFIG).changed == 0
    assert store.version(Photo) == version


def test_a_task_protects_its_photo_in_the_tables(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.upsert(Photo, [photo("a.jpg", 1), photo("b.jpg", 1)], why="test")
    task = Task(
        task_key="id-b.jpg:triage:1",
        photo_id="id-b.jpg",
        kind="triage",
        state="sent",
        image_path="x",
        image_width=1,
        image_height=1,
    )
    store.upsert(Task, [task], why="test")
    settle_tables(store, CONFIG)
    states = {p.photo_id: p.state for p in store.read(Photo)}
    assert states == {"id-a.jpg": "set_aside", "id-b.jpg": "kept"}
    store.upsert(Task, [replace(task, state="deleted")], why="test")
    settle_tables(store, CONFIG)
    assert {p.photo_id: p.state for p in store.read(Photo)}["id-b.jpg"] == "set_aside"
