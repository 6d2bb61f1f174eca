"""Honest retouches of the astronaut pass; a small part of benchmarks/retouch.py, by the limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from annotation.mask_files import MaskFiles
from annotation.retouch_checks import Pair, check
from annotation.retouch_config import RetouchConfig
from annotation.retouch_match import (
    FileSays,
    Match,
    NoMatch,
    Seen,
    export_name,
    match,
    normal_stem,
    read_ids,
)
from annotation.retouch_register import match_points
from annotation.retouch_wishes import wishes
from data_manifests.records import Box, Photo, Point, Region, Verdict

FACE = Box(left=170, top=60, right=280, bottom=190)
Pixels = np.ndarray
SOURCE: Pixels = data.astronaut()


def spots(pixels: Pixels) -> Pixels:
    out = pixels.copy()
    for x, y in ((200, 100), (220, 160), (250, 150)):
        out[y : y + 4, x : x + 4] = out[y + 6 : y + 10, x : x + 4]
    return out


def moved(dx: float, scale: float = 1, turn: float = 0) -> Callable[[Pixels], Pixels]:
    matrix = cv2.getRotationMatrix2D((256, 256), turn, scale)
    matrix[0, 2] += dx
    return lambda p: cv2.warpAffine(p, matrix, (512, 512), flags=2, borderMode=4)


def upscaled(pixels: Pixels) -> Pixels:
    return cv2.resize(cv2.resize(pixels, (256, 256), interpolation=3), (512, 512), interpolation=2)


@pytest.mark.parametrize(
    "work",
    [lambda p: p.copy(), spots, lambda p: spots(p)[:500, 20:]],
    ids=["unchanged", "healed", "cropped"],
)
def test_honest_work_passes(work: Callable[[Pixels], Pixels]) -> None:
    found = check(Pair(SOURCE, work(SOURCE), FACE), RetouchConfig())
    assert not [v for v in found.verdicts if not v.keep]


@pytest.mark.parametrize(
    ("gate", "damage"),
    [
        ("texture_1", lambda p: cv2.GaussianBlur(p, (0, 0), 0.6)),
        ("texture_1", lambda p: cv2.bilateralFilter(p, 9, 30, 30)),
        ("resolution", upscaled),
        ("colour_face", lambda p: np.clip(p * (1.06, 1, 0.92), 0, 255).astype(np.uint8)),
        ("shift", moved(3)),
        ("scale", moved(0, scale=1.01)),
        ("rotation", moved(0, turn=1)),
        ("registration", lambda p: data.coffee()),
        ("sharpening_1", lambda p: cv2.addWeighted(p, 2, cv2.GaussianBlur(p, (0, 0), 1.5), -1, 0)),
        ("overlap", lambda p: p[:250, :300]),
    ],
)
def test_damage_is_refused_by_its_own_check(gate: str, damage: Callable[[Pixels], Pixels]) -> None:
    found = check(Pair(SOURCE, np.ascontiguousarray(damage(SOURCE)), FACE), RetouchConfig())
    failed = {v.gate: v for v in found.verdicts if not v.keep}
    assert gate in failed
    assert failed[gate].reason
    assert failed[gate].threshold is not None


def test_a_squeezed_and_greyed_copy_is_told_as_what_it_is() -> None:
    squeezed = cv2.resize(SOURCE, (450, 512), interpolation=cv2.INTER_AREA)
    grey = np.repeat(cv2.cvtColor(squeezed, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    failed = {v.gate: v for v in gates(grey).values() if not v.keep}
    assert set(failed) == {"proportions", "colours"}
    assert "narrower for its height" in failed["proportions"].reason
    assert failed["proportions"].value == pytest.approx(1 - 450 / 512, abs=0.01)
    assert "its colours are gone" in failed["colours"].reason
    whole = np.repeat(cv2.cvtColor(SOURCE, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert not gates(whole)["colours"].keep
    assert "colours" not in {
        v.gate for v in check(Pair(whole, whole, FACE), RetouchConfig()).verdicts
    }


def test_a_change_where_nobody_asked_is_told_from_one_that_was_asked_for() -> None:
    after = SOURCE.copy()
    after[100:150, 180:240] = np.clip(after[100:150, 180:240] * 0.8, 0, 255).astype(np.uint8)
    there, elsewhere = (
        Box(left=178, top=98, right=242, bottom=152),
        Box(left=0, top=0, right=9, bottom=9),
    )
    kept = {
        box: next(
            v.keep
            for v in check(Pair(SOURCE, after, FACE, (box,)), RetouchConfig()).verdicts
            if v.gate == "unasked"
        )
        for box in (there, elsewhere)
    }
    assert kept == {there: True, elsewhere: False}


def test_a_place_that_was_to_stay_is_looked_at() -> None:
    mole = Region(
        label="blemish", box=Box(left=180, top=100, right=240, bottom=150), priority="keep_as_is"
    )
    asked, keep_HW = wishes([mole], SOURCE.shape, Path())
    assert asked == ()
    assert keep_HW is not None
    healed = SOURCE.copy()
    healed[110:140, 190:230] = cv2.GaussianBlur(SOURCE, (0, 0), 8)[110:140, 190:230]
    healed[110:140, 190:230] = np.clip(healed[110:140, 190:230] * 0.8, 0, 255).astype(np.uint8)
    said = gates(healed, keep_HW=keep_HW)["to_stay"]
    assert not said.keep
    assert "was to stay as it is" in said.reason
    assert gates(spots(SOURCE), keep_HW=keep_HW)["to_stay"].keep
    assert "to_stay" not in gates(healed)


def test_painted_skin_that_was_to_stay_is_read_from_its_file(tmp_path: Path) -> None:
    painted = np.zeros((256, 256), np.bool_)
    painted[50:75, 90:120] = True
    path = MaskFiles(tmp_path).save(painted)
    area = Region(label="skin_texture_keep", mask_path=path)
    smoothed = Region(label="over_smoothed", mask_path=path)
    asked, keep_HW = wishes([area, smoothed], SOURCE.shape, tmp_path)
    assert (asked, keep_HW is not None) == ((), True)
    assert np.argwhere(keep_HW)[[0, -1]].tolist() == [[100, 180], [149, 239]]
    assert wishes([smoothed], SOURCE.shape, tmp_path) == ((), None)


def gates(work: Pixels, **more: object) -> dict[str, Verdict]:
    pair = Pair(SOURCE, np.ascontiguousarray(work), FACE, **more)  # type: ignore[arg-type]
    return {v.gate: v for v in check(pair, RetouchConfig()).verdicts}


def jittering(by: float) -> Callable[[Pixels], tuple[Point, ...]]:
    """A finder that sees the left eye elsewhere in any picture but the source."""
    seen: list[Pixels] = []

    def find(pixels: Pixels) -> tuple[Point, ...]:
        seen.append(pixels)
        return (Point(x=60 + by * (len(seen) > 1), y=60), Point(x=110, y=60))

    return find


def test_moved_landmarks_only_warn_where_the_pixels_did_not_move() -> None:
    brightened = SOURCE.copy()
    brightened[105:120, 190:210] = np.clip(brightened[105:120, 190:210] * 1.05, 0, 255)
    told = gates(brightened, find=jittering(3))
    assert told["landmarks"].keep
    assert "moved by 6.0%" in told["landmarks"].reason
    y, x = np.mgrid[:512, :512].astype(np.float32)
    soft = np.exp(-((x - 205) ** 2 + (y - 112) ** 2) / 200)
    pushed = cv2.remap(SOURCE, x - 3 * soft, y, cv2.INTER_CUBIC)
    assert not gates(pushed, find=jittering(3))["landmarks"].keep


def dots(count: int, seed: int) -> Pixels:
    """Dots that all look alike, on grey."""
    rng, out = np.random.default_rng(seed), np.full((512, 512, 3), 128, np.uint8)
    for x, y in rng.integers(30, 482, (count, 2)).tolist():
        cv2.circle(out, (x, y), 6, (30, 30, 30), -1)
        cv2.circle(out, (x + 9, y + 4), 3, (230, 230, 230), -1)
    return cv2.GaussianBlur(out, (0, 0), 1)


@pytest.mark.parametrize(
    ("source", "returned"),
    [(dots(150, 1), dots(1, 5)), (data.coins(), data.brick()), (data.coins(), data.text())],
    ids=["dots", "coins and bricks", "coins and text"],
)
def test_a_picture_shrunk_onto_one_point_is_no_match(source: Pixels, returned: Pixels) -> None:
    assert match_points(*(rgb(p) for p in (source, returned))) is None


def rgb(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.parametrize("by", [0.25, 0.5, 3.0])
def test_a_shift_between_pixels_is_measured_as_it_is(by: float) -> None:
    assert gates(moved(by)(SOURCE))["shift"].value == pytest.approx(by, abs=0.05)


def test_what_a_crop_leaves_out_is_no_drift_of_the_background_and_no_change() -> None:
    found = gates(SOURCE[:, 100:], regions=(Box(left=0, top=0, right=9, bottom=9),))
    assert found["colour_background"].value == 0
    assert found["unasked"].value == 0


def photo(photo_id: str, path: str) -> Photo:
    return Photo(
        photo_id=photo_id * 64,
        path=path,
        state="kept",
        size_bytes=1,
        perceptual_hash="0" * 64,
        proxy_path=photo_id,
    )


PHOTOS = (
    photo("a", "/o/IMG_0001.CR3"),
    photo("b", "/o/IMG_0002.CR3"),
    photo("c", "/p/IMG_0002.CR3"),
)


def found(name: str, shown: Pixels = SOURCE, **says: object) -> Match | NoMatch:
    proxies = {"a" * 64: SOURCE, "b" * 64: data.coffee(), "c" * 64: data.chelsea()}
    return match(
        FileSays(name, "f" * 64, **says),  # type: ignore[arg-type]
        PHOTOS,
        documents=lambda: {"b" * 64: {"xmp.did:1"}},
        seen=lambda: Seen(shown, "0" * 64, proxies.get),
        config=RetouchConfig(),
    )


@pytest.mark.parametrize(
    ("got", "method"),
    [
        (lambda: found("x.tif", photo_id="a" * 64), "id"),
        (lambda: found(export_name("a" * 64, 3)), "id"),
        (lambda: found("x.tif", documents=frozenset({"xmp.did:1"})), "document"),
        (lambda: found("IMG_0001-Edit-2.psd"), "name"),
        (lambda: found("IMG_0002_final.tif"), "pixels"),
        (lambda: found("unknown.tif"), "pixels"),
    ],
)
def test_a_file_is_matched_by_the_first_way_that_finds_one_photo(
    got: Callable[[], Match | NoMatch], method: str
) -> None:
    result = got()
    assert isinstance(result, Match)
    assert (result.method, result.photo.photo_id[0]) == (
        method,
        "b" if method == "document" else "a",
    )


def test_a_file_without_a_photo_says_why() -> None:
    nothing, foreign = found("x.tif", data.rocket()), found("AF-0123456789ab__v1.tif")
    assert isinstance(nothing, NoMatch)
    assert "no photo here shows" in nothing.reason
    assert isinstance(foreign, NoMatch)
    assert "0123456789ab" in foreign.reason


@pytest.mark.parametrize("name", ["IMG_1-Edit.tif", "img_1_retouched_v2.psd", "IMG_1 copy 2.jpg"])
def test_endings_of_edits_are_no_part_of_a_stem(name: str) -> None:
    assert normal_stem(name) == normal_stem("IMG_1.CR3")


def test_ids_are_read_from_xmp_and_a_packet_that_reaches_out_says_nothing() -> None:
    head = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:af="https://authface.org/ns/1.0/" '
    packet = head + b'xmlns:m="http://ns.adobe.com/xap/1.0/mm/" af:photoId="AB" m:DocumentID="d"/>'
    assert read_ids(packet) == ("ab", frozenset({"d"}), frozenset())
    assert read_ids(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')[0] is None
