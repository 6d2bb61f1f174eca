from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.config import CropsConfig, FacesConfig, GatesConfig, IngestConfig
from curation.faces import find_yunet
from curation.ledger import commit, known_photos
from curation.lossless import read_lossless
from curation.pipeline import Ingested, ingest, settle_finder
from curation.scan import find_photos
from curation.standing import Standing
from data_manifests.errors import ConfigError, StorageError
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo
from data_manifests.store import Store, file_sha256

Srgb = NDArray[np.uint8]
WritePhoto = Callable[..., Path]
HAAR = IngestConfig(
    faces=FacesConfig(finder="haar"), gates=GatesConfig(least_long_side=1000, least_eye_distance=40)
)
has_landmarks = find_yunet() is not None or importlib.util.find_spec("facenet_pytorch") is not None
needs_landmarks = pytest.mark.skipif(
    not has_landmarks, reason="neither YuNet's file nor MTCNN is there"
)
ALIGNED = HAAR.model_copy(
    update={"faces": FacesConfig(), "crops": CropsConfig(size=256, tile_size=256, small=False)}
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def run(
    workspace: Workspace,
    *sources: Path,
    config: IngestConfig = HAAR,
    known: Mapping[str, Photo] | None = None,
) -> list[Ingested]:
    return list(ingest(sources, workspace=workspace, config=config, known=known or {}))


def rows(items: list[Ingested]) -> dict[str, Photo]:
    return {i.photo.photo_id: i.photo for i in items if i.photo is not None}


def row(item: Ingested) -> Photo:
    assert item.photo is not None
    return item.photo


@needs_landmarks
def test_a_portrait_is_kept_with_its_face_cut_and_told(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    [item] = run(workspace, path, config=ALIGNED)
    photo, [face] = row(item), item.faces
    assert (item.status, photo.state, photo.reasons) == ("new", "kept", ())
    assert photo.photo_id == hashlib.sha256(path.read_bytes()).hexdigest()
    gates = [v.gate for v in photo.verdicts]
    assert gates[0] == "long_side"  # the header's gates come before any pixel
    assert {"no_face", "eye_distance", "sharpness", "clipping", "brightness"} <= set(gates)
    assert len(set(gates)) == len(gates)
    assert face.landmark_source == "finder"
    assert face.eye_distance == pytest.approx(206, rel=0.08)  # 43 px in the 512 px portrait
    aligned, *tiles = face.crops
    assert (aligned.kind, aligned.width, aligned.height) == ("aligned", 256, 256)
    assert tiles
    assert all(t.kind == "tile" for t in tiles)
    for crop in face.crops:
        assert file_sha256(workspace.media / crop.path) == crop.sha256


@needs_landmarks
def test_a_tile_is_the_original_pixel_for_pixel_and_the_matrix_maps_it(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    [item] = run(workspace, write_photo(portrait, "p.png"), config=ALIGNED)
    tile = item.faces[0].crops[1]
    left, top = -round(tile.matrix[2]), -round(tile.matrix[5])
    cut = np.asarray(Image.open(workspace.media / tile.path))
    assert np.array_equal(cut, portrait[top : top + tile.height, left : left + tile.width])


@needs_landmarks
def test_the_crops_matrix_puts_the_eyes_in_their_boxes(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    [item] = run(workspace, write_photo(portrait), config=ALIGNED)
    face = item.faces[0]
    matrix_23 = np.array(face.crops[0].matrix).reshape(2, 3)
    x, y = matrix_23 @ (face.landmarks[0].x, face.landmarks[0].y, 1.0)
    box = face.left_eye_box
    assert box is not None
    assert box.left < x < box.right
    assert box.top < y < box.bottom


@needs_landmarks
def test_a_crop_is_never_larger_than_the_face(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    config = ALIGNED.model_copy(update={"crops": CropsConfig(size=4096, small=False)})
    [item] = run(workspace, write_photo(portrait), config=config)
    [crop] = item.faces[0].crops
    assert crop.kind == "aligned"
    assert crop.width < 900  # the aligned square spans about 800 px of this photo


def test_the_proxy_is_reduced_and_carries_no_metadata(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[274] = "Camera", 6
    large = np.asarray(cv2.resize(portrait, (3000, 2000)), dtype=np.uint8)
    [item] = run(workspace, write_photo(large, exif=exif))
    photo = row(item)
    with Image.open(workspace.media / str(photo.proxy_path)) as proxy:
        assert proxy.size == (1365, 2048) == (photo.proxy_width, photo.proxy_height)
        assert not len(proxy.getexif())
        assert "icc_profile" not in proxy.info


def test_a_small_photo_is_set_aside_from_its_header(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait[:600, :600])
    path.write_bytes(path.read_bytes()[:-2000])  # the pixels are damaged: nobody looks at them
    [item] = run(workspace, path)
    photo = row(item)
    assert (photo.state, photo.reasons) == ("set_aside", ("long_side",))
    assert (photo.width, photo.height) == (600, 600)
    assert photo.proxy_path is None


def test_damaged_and_foreign_files_are_quarantined_with_their_reason(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    path = write_photo(portrait, "shoot/cut.jpg")
    path.write_bytes(path.read_bytes()[:-9000])
    (tmp_path / "shoot/old.psd").write_bytes(b"8BPS\x00\x01")
    (tmp_path / "shoot/z.gif").write_bytes(b"GIF89a\x01\x00")
    items = run(workspace, tmp_path / "shoot")
    assert [(row(i).state, row(i).reasons) for i in items] == [
        ("quarantined", ("truncated",)),
        ("quarantined", ("truncated",)),
        ("quarantined", ("unsupported_format",)),
    ]
    assert all(row(i).verdicts[0].reason for i in items)


def test_a_second_run_knows_every_file_and_decodes_none(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_photo(portrait)
    first = run(workspace, path)
    monkeypatch.setattr("sys.executable", "/bin/false")  # no decoder could start now
    [second] = run(workspace, path, known=rows(first))
    assert second.status == "known"
    assert second.photo == first[0].photo


def test_other_gates_judge_a_known_photo_again(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    known = rows(run(workspace, path))
    stricter = HAAR.model_copy(update={"gates": GatesConfig()})
    [again] = run(workspace, path, config=stricter, known=known)
    assert (again.status, row(again).reasons) == ("new", ("long_side",))


def test_a_new_rating_in_a_sidecar_is_taken_in(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    known = rows(run(workspace, path))
    path.with_suffix(".xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>',
        encoding="utf-8",
    )
    [again] = run(workspace, path, known=known)
    assert row(again).xmp_rating == 4


def test_the_same_bytes_elsewhere_are_a_copy_and_then_known(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    first = write_photo(portrait, "shoot/a.jpg")
    second = tmp_path / "shoot/b.jpg"
    second.write_bytes(first.read_bytes())
    items = run(workspace, tmp_path / "shoot")
    assert [i.status for i in items] == ["new", "copy"]
    assert row(items[1]).copies == (str(second),)
    again = run(workspace, tmp_path / "shoot", known=rows(items))
    assert [i.status for i in again] == ["known", "known"]
    assert row(again[0]) == row(items[1])


def test_a_moved_photo_keeps_its_row_and_gets_its_new_path(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    path = write_photo(portrait, "a.jpg")
    known = rows(run(workspace, path))
    moved = path.rename(tmp_path / "b.jpg")
    [item] = run(workspace, moved, known=known)
    assert (item.status, row(item).path, row(item).copies) == ("known", str(moved), ())


@needs_landmarks
def test_all_crops_and_tiles_that_are_asked_for_are_cut_and_told(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    large = np.asarray(cv2.resize(portrait, (3000, 3000), interpolation=cv2.INTER_CUBIC), np.uint8)
    crops = CropsConfig(size=1024, native=True, tile_size=512)
    config = ALIGNED.model_copy(update={"crops": crops})
    [item] = run(workspace, write_photo(large), config=config)
    face = item.faces[0]
    sizes = {c.kind: c.width for c in face.crops if c.kind != "tile"}
    assert sizes == {"aligned": 1024, "aligned_512": 512, "aligned_native": sizes["aligned_native"]}
    assert 1500 < sizes["aligned_native"] < 1700  # the aligned square spans 800 of 1536 px
    tiles = [c for c in face.crops if c.kind == "tile"]
    shown = {c.part for t in tiles for c in t.covers}
    assert shown == {"skin", "hair", "left_eye", "right_eye", "mouth"}
    for part in ("left_eye", "mouth"):
        assert max(c.share for t in tiles for c in t.covers if c.part == part) > 0.4


@needs_landmarks
@pytest.mark.parametrize("codec", ["png", "jxl"])
def test_a_sixteen_bit_original_gives_sixteen_bit_crops(
    codec: str, workspace: Workspace, portrait: Srgb, tmp_path: Path
) -> None:
    if codec == "jxl":
        pytest.importorskip("imagecodecs")
    deep = portrait.astype(np.uint16) * 256 + 77
    assert cv2.imwrite(str(tmp_path / "deep.tif"), deep[..., ::-1])
    crops = CropsConfig(size=256, small=False, codec=codec)
    config = ALIGNED.model_copy(update={"crops": crops})
    [item] = run(workspace, tmp_path / "deep.tif", config=config)
    assert row(item).bit_depth == 16
    tile = next(c for c in item.faces[0].crops if c.kind == "tile")
    assert tile.bit_depth == 16
    assert tile.path.endswith(codec)
    pixels = read_lossless(workspace.media / tile.path)
    left, top = -round(tile.matrix[2]), -round(tile.matrix[5])
    assert np.array_equal(pixels, deep[top : top + tile.height, left : left + tile.width])


def test_a_photo_that_is_set_aside_shows_its_proxy_and_has_no_crop(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    gates = GatesConfig(least_long_side=1000, least_eye_distance=40, least_sharpness=1e6)
    [item] = run(
        workspace, write_photo(portrait), config=ALIGNED.model_copy(update={"gates": gates})
    )
    assert "sharpness" in row(item).reasons
    assert (workspace.media / str(row(item).proxy_path)).is_file()
    assert (workspace.media / str(row(item).thumb_path)).is_file()
    assert not [c for f in item.faces for c in f.crops]


def test_a_file_that_looks_unchanged_is_not_read_again(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    known = rows(run(workspace, path))
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1  # same size, other bytes, and the time set back: only a rehash can see it
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    [quick] = run(workspace, path, known=known)
    assert quick.status == "known"
    [again] = list(ingest([path], workspace=workspace, config=HAAR, known=known, rehash=True))
    assert again.status == "new"


def test_two_files_with_the_same_bytes_are_judged_once(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    for name in "abcdef":
        write_photo(portrait, f"shoot/{name}.jpg")
    items = run(workspace, tmp_path / "shoot")
    assert [i.status for i in items] == ["new"] + ["copy"] * 5
    assert row(items[-1]).path.endswith("a.jpg")
    assert len(row(items[-1]).copies) == 5


def test_a_dry_run_tells_and_writes_nothing(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    path = write_photo(portrait, "shoot/a.jpg")
    known = rows(run(workspace, path))
    write_photo(portrait[::2], "shoot/b.jpg")
    (tmp_path / "shoot/c.jpg").symlink_to(tmp_path / "gone.jpg")
    found = list(find_photos([tmp_path / "shoot"]))
    before = sorted(workspace.root.rglob("*"))
    told = Standing(settle_finder(HAAR), known).foretell(found)
    assert (told.known, told.new, told.unreadable) == (1, 1, 1)
    assert told.bytes == (tmp_path / "shoot/b.jpg").stat().st_size
    assert sorted(workspace.root.rglob("*")) == before


def test_a_photo_without_a_face_is_set_aside(workspace: Workspace, write_photo: WritePhoto) -> None:
    wall = np.random.default_rng(0).integers(90, 110, (1200, 1200, 3), dtype=np.uint8)
    [item] = run(workspace, write_photo(wall))
    assert row(item).reasons == ("no_face",)
    assert row(item).proxy_path is not None


def test_a_file_that_can_not_be_read_is_told_and_the_rest_goes_on(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    write_photo(portrait, "shoot/b.jpg")
    (tmp_path / "shoot/a.jpg").symlink_to(tmp_path / "gone.jpg")
    first, second = run(workspace, tmp_path / "shoot")
    assert (first.status, first.photo) == ("unreadable", None)
    assert first.problem
    assert second.status == "new"


def test_names_that_are_no_utf8_are_held_as_text(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)  # noqa: PTH102 - a name in bytes
    odd = os.path.join(folder, b"caf\xe9\n.jpg")  # noqa: PTH118 - a name in bytes
    os.rename(write_photo(portrait), odd)  # noqa: PTH104 - a name in bytes
    [item] = run(workspace, tmp_path / "odd")
    assert item.path.endswith("caf\\xe9\n.jpg")
    assert row(item).state == "kept"


def test_originals_are_left_as_they_were(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    run(workspace, path)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


def test_a_standing_consent_is_never_replaced_in_passing(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    first = run(workspace, path, config=HAAR.model_copy(update={"consent_id": "a"}))
    told = HAAR.model_copy(update={"consent_id": "b", "subject_id": "p1"})
    [again] = run(workspace, path, config=told, known=rows(first))
    assert (row(again).consent_id, row(again).subject_id) == ("a", "p1")
    assert "consent_id" in again.problem


def test_a_missing_finder_is_told_before_any_file(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHFACE_MODELS", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    config = HAAR.model_copy(update={"faces": FacesConfig(finder="yunet")})
    with pytest.raises(ConfigError, match="YuNet"):
        run(workspace, write_photo(portrait), config=config)


def test_rows_reach_the_tables_and_a_second_run_changes_none(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path, store = write_photo(portrait), Store(workspace.tables)
    items = list(commit(store, run(workspace, path)))
    assert store.read(Photo) == [items[0].photo]
    assert store.read(Face) == list(items[0].faces)
    versions = store.versions()
    list(commit(store, run(workspace, path, known=known_photos(store))))
    assert store.versions() == versions


def test_faces_found_otherwise_by_a_newer_ingest_replace_the_old_ones(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path, store = write_photo(portrait), Store(workspace.tables)
    list(commit(store, run(workspace, path)))
    none_left = HAAR.model_copy(update={"faces": FacesConfig(finder="haar", least_share=1.0)})
    list(commit(store, run(workspace, path, config=none_left, known=known_photos(store))))
    assert store.read(Face) == []
    assert store.read(Photo)[0].reasons == ("no_face",)


def test_what_was_judged_before_a_stop_is_committed(
    workspace: Workspace, write_photo: WritePhoto, portrait: Srgb
) -> None:
    store = Store(workspace.tables)
    [item] = run(workspace, write_photo(portrait))

    def breaks_off() -> Iterator[Ingested]:
        yield item
        raise StorageError("The disk is full.")

    with pytest.raises(StorageError):
        list(commit(store, breaks_off()))
    assert [p.photo_id for p in store.read(Photo)] == [row(item).photo_id]


def test_every_hostile_file_gets_the_verdict_it_should(shared: Path, workspace: Workspace) -> None:
    import csv
    import importlib.util

    config = HAAR.model_copy(update={"gates": GatesConfig(least_long_side=1)})
    with (shared / "hostile/manifest.csv").open() as listed:
        wanted = {r["file"]: r["tool_should"] for r in csv.DictReader(listed)}
    files = [shared / "hostile" / f for f in wanted if f.startswith("images/")]
    # HEIC needs an extra; without it each such file must say so, and is not judged further here.
    lacking = () if importlib.util.find_spec("pillow_heif") else (("heif_support_missing",),)
    wrong = {}
    for file, item in zip(files, run(workspace, *files, config=config), strict=True):
        if row(item).reasons in lacking:
            continue
        verdict = "reject" if row(item).state == "quarantined" else "accept"
        asked = wanted[str(file.relative_to(shared / "hostile"))]
        if not asked.startswith((verdict, "either")):
            wrong[file.name] = row(item).reasons
    assert len(files) >= 100
    assert wrong == {}
