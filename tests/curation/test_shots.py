from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from curation.shots import Shot, find_shots, standing_order
from curation.xmp import EDITED
from data_manifests.records import Capture, Photo

NOON = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)
KINDS = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "psd": "PSD", "png": "PNG", "heic": "HEIF"}


def photo(
    path: str,
    after_s: float | None = 0,
    camera: str | None = "Canon EOS R5",
    *,
    depth: int = 8,
    size: tuple[int, int] = (8192, 5464),
    notes: tuple[str, ...] = (),
) -> Photo:
    taken = None if after_s is None else NOON + timedelta(seconds=after_s)
    suffix = path.rsplit(".", 1)[1].lower()
    return Photo(
        photo_id=path,
        path=path,
        state="kept",
        size_bytes=1000,
        format=KINDS.get(suffix, "RAW"),
        width=size[0],
        height=size[1],
        bit_depth=depth,
        capture=Capture(camera=camera, taken_at=taken) if taken or camera else None,
        notes=notes,
    )


def members(shots: list[Shot]) -> set[tuple[str, ...]]:
    return {tuple(p.path for p in shot.members) for shot in shots}


@pytest.mark.parametrize(
    "name",
    [
        "IMG_1234.jpg",
        "img_1234.JPG",
        "IMG_1234.CR3.jpg",
        "IMG_1234-Edit.tif",
        "IMG_1234-Edit-2.tif",
        "IMG_1234_edit.jpg",
        "IMG_1234-edited.jpg",
        "IMG_1234-2.jpg",
        "IMG_1234 (1).jpg",
        "IMG_1234(1).jpg",
        "IMG_1234 2.tif",
        "IMG_1234_DxO.jpg",
        "IMG_1234_DxO_DeepPRIME XD2.tif",
        "IMG_1234 copy.psd",
        "IMG_1234 - Copy (2).jpg",
        "IMG_1234-Enhanced-NR.dng",
        "IMG_1234-topaz-denoise.tif",
        "IMG_1234-Edit_web.jpg",
    ],
)
def test_what_programs_append_does_not_hide_the_shot(name: str) -> None:
    files = [photo("/shoot/IMG_1234.CR3"), photo(f"/shoot/{name}")]
    (shot,) = find_shots(files)
    assert {p.path for p in shot.members} == {p.path for p in files}


@pytest.mark.parametrize(
    "name",
    [
        "IMG_1234-HDR.dng",
        "IMG_1234-Pano.dng",
        "IMG_1235.jpg",
        "IMG_12345.jpg",
        "XIMG_1234.jpg",
        "IMG_1234-group.jpg",
    ],
)
def test_other_names_are_other_shots(name: str) -> None:
    assert find_shots([photo("/shoot/IMG_1234.CR3"), photo(f"/shoot/{name}")]) == []


def test_another_folder_time_or_camera_is_another_shot() -> None:
    first = photo("/shoot/IMG_1234.CR3")
    assert find_shots([first, photo("/shoot/jpeg/IMG_1234.jpg")]) == []
    assert find_shots([first, photo("/shoot/IMG_1234.jpg", after_s=3)]) == []
    assert find_shots([first, photo("/shoot/IMG_1234.jpg", camera="NIKON Z 8")]) == []
    assert find_shots([first, photo("/shoot/IMG_1234.jpg", after_s=2)])
    assert find_shots([first, photo("/shoot/IMG_1234.jpg", None, None)])


def test_numbered_downloads_and_series_are_not_copies() -> None:
    downloads = [photo(f"/d/photo{n}.jpg", None, None) for n in ("", " (1)", " (2)")]
    assert find_shots(downloads) == []
    series = [photo(f"/d/Wedding-{n}.jpg", after_s=n) for n in range(1, 5)]
    assert find_shots(series) == []


def test_each_number_of_a_series_has_its_own_raw_and_jpeg() -> None:
    files = [photo(f"/d/Wedding-{n}.{end}", after_s=n) for n in (1, 2) for end in ("CR3", "jpg")]
    assert members(find_shots(files)) == {
        ("/d/Wedding-1.CR3", "/d/Wedding-1.jpg"),
        ("/d/Wedding-2.CR3", "/d/Wedding-2.jpg"),
    }


def test_a_file_that_says_nothing_joins_the_only_shot_or_none() -> None:
    edit = photo("/d/IMG_1-Edit.tif", None, None)
    earlier, later = photo("/d/IMG_1.CR3"), photo("/d/IMG_1.jpg", after_s=9000)
    assert members(find_shots([edit, earlier])) == {("/d/IMG_1-Edit.tif", "/d/IMG_1.CR3")}
    assert find_shots([edit, earlier, later]) == []


def test_the_identity_stays_when_another_file_of_the_shot_comes() -> None:
    files = [photo("/d/IMG_1.CR3"), photo("/d/IMG_1.jpg")]
    (before,) = find_shots(files)
    (after,) = find_shots([photo("/d/IMG_1-Edit.tif", depth=16), *files])
    assert before.shot_id == after.shot_id


def test_the_order_of_the_files_does_not_matter() -> None:
    rng = random.Random(3)
    names = ("IMG_1.CR3", "IMG_1.jpg", "IMG_1-2.jpg", "IMG_1-Edit.tif", "IMG_1 (1).jpg", "a.jpg")
    for _ in range(100):
        files = [
            photo(f"/d/{n}", rng.choice([0, 1, 60, None]), rng.choice(["A", "B", None]))
            for n in names
        ]
        shots = find_shots(files)
        assert len({p.path for s in shots for p in s.members}) == sum(len(s.members) for s in shots)
        shuffled = rng.sample(files, len(files))
        assert find_shots(shuffled) == shots


RAW = photo("/d/IMG_1.CR3", depth=14)
EDITED_RAW = photo("/d/IMG_1.CR3", depth=14, notes=(EDITED,))
JPEG = photo("/d/IMG_1.jpg")
DEEP = photo("/d/IMG_1.tif", depth=16)
EDIT = photo("/d/IMG_1-Edit.tif", depth=16)
SMALL_EDIT = photo("/d/IMG_1-Edit-2.tif", depth=16, size=(4000, 3000))
SHALLOW = photo("/d/IMG_1-Edit.jpg")
LAYERED = photo("/d/IMG_1.psd")
UPSCALED = photo("/d/IMG_1-Enhanced-SR.dng", depth=16, size=(16384, 10928))
WEB = photo("/d/IMG_1_web.jpg", size=(2048, 1366))


@pytest.mark.parametrize(
    ("files", "best"),
    [
        ([RAW, JPEG], RAW),
        ([EDITED_RAW, JPEG], JPEG),
        ([RAW, JPEG, DEEP], DEEP),
        ([RAW, JPEG, EDIT, SMALL_EDIT], EDIT),
        ([RAW, JPEG, LAYERED], LAYERED),
        ([RAW, JPEG, SHALLOW], SHALLOW),
        ([RAW, UPSCALED], RAW),
        ([RAW, WEB], RAW),
        ([JPEG, WEB], JPEG),
    ],
)
def test_the_rendition_that_was_made_last_in_its_best_form_stands(
    files: list[Photo], best: Photo
) -> None:
    (shot,) = find_shots(files)
    assert min(shot.members, key=lambda p: standing_order(p, shot)) == best
