"""A whole photo, with real decoding, a real face finder and a real (random) diffusers model."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from curation.config import FacesConfig
from curation.crops import align_matrix
from curation.decode import read_photo
from curation.faces import open_finder
from data_manifests.errors import InputError, StorageError, UnreadablePhoto
from restore.blend import mask_in_photo
from restore.outcome import FaceReport, read_sidecar, sidecar_of
from restore.photo import restore_photo

SIZE = 64


def opened(path: Path) -> Image.Image:
    """The picture, with no file left open."""
    return Image.open(io.BytesIO(path.read_bytes()))


def masks(faces: tuple[FaceReport, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Where any face was pasted."""
    inside = np.zeros(shape[:2], bool)
    for face in faces:
        if face.status == "restored":
            region, mask = mask_in_photo(np.array(face.matrix).reshape(2, 3), SIZE, shape)
            inside[region] |= mask > 0
    return inside


def test_a_portrait_is_found_restored_marked_and_accounted_for(
    make_restorer, photo, mtcnn, tmp_path
) -> None:
    target = tmp_path / "out" / "portrait.png"
    before = photo.read_bytes()
    outcome = restore_photo(photo, target, restorer=make_restorer(), finder=mtcnn)
    assert outcome.status == "restored"
    assert photo.read_bytes() == before
    (face,) = outcome.faces
    assert face.status == "restored"
    assert 165 < face.box.left < 195
    assert 45 < face.box.top < 80
    assert set(outcome.seconds) == {"read", "find", "restore", "judge", "paste", "write"}
    said = read_sidecar(target)
    assert said is not None
    assert said["input"]["sha256"] == hashlib.sha256(before).hexdigest()
    assert (target.parent / said["input"]["path"]).samefile(photo)
    assert said["output"]["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert said["model"]["tiny"]
    assert "random weights" in said["warning"]
    (row,) = said["faces"]
    assert (row["status"], row["steps"], len(row["landmarks"])) == ("restored", 4, 5)
    assert row["seed"] == face.seed
    assert row["scale"] == pytest.approx(face.scale)
    assert b"compositeWithTrainedAlgorithmicMedia" in target.read_bytes()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_outside_the_masks_every_bit_stays(
    make_restorer, finder_of, marked, portrait, tmp_path, deep, ending
) -> None:
    rng = np.random.default_rng(2)
    pixels = portrait.astype(np.uint16) * 257 if deep else portrait
    if deep:  # bits that 8 could not hold
        pixels = np.clip(pixels.astype(int) + rng.integers(-90, 90, pixels.shape), 0, 65535)
        pixels = pixels.astype(np.uint16)
    source, target = tmp_path / "a.png", tmp_path / f"b{ending}"
    cv2.imwrite(str(source), pixels[..., ::-1])
    outcome = restore_photo(source, target, restorer=make_restorer(), finder=finder_of(marked))
    after = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert after.dtype == pixels.dtype
    inside = masks(outcome.faces, pixels.shape)
    assert 0.01 < inside.mean() < 0.2
    assert np.array_equal(after[~inside], pixels[~inside])
    assert not np.array_equal(after[inside], pixels[inside])
    if deep:
        assert len(np.unique(after[inside])) > 256


def test_a_head_is_restored_with_its_hair_and_without_its_neighbour(
    make_restorer, finder_of, mark_face, portrait, tmp_path
) -> None:
    """The neighbour's face was not asked for: the other's hair may not cover it."""
    photo = np.ascontiguousarray(portrait[:, 60:])
    mine, other = mark_face(left=-60), mark_face(left=15)
    source = tmp_path / "a.png"
    Image.fromarray(photo).save(source)
    changed = {}
    for region in ("face", "head"):
        restorer = make_restorer(faces="0", region=region, improve_good=True)
        target = tmp_path / f"{region}.png"
        outcome = restore_photo(source, target, restorer=restorer, finder=finder_of(mine, other))
        assert [f.status for f in outcome.faces] == ["restored", "skipped"]
        changed[region] = (np.asarray(opened(target)) != photo).any(axis=2)
    assert changed["head"].sum() > 1.5 * changed["face"].sum()
    matrix = align_matrix(other.landmarks, SIZE)
    place, mask = mask_in_photo(matrix, SIZE, photo.shape)
    assert not changed["head"][place][mask > 0.999].any()
    whole, mask = mask_in_photo(align_matrix(mine.landmarks, SIZE), SIZE, photo.shape, "head")
    outside = np.ones(photo.shape[:2], bool)
    outside[whole] = mask == 0
    assert not changed["head"][outside].any()


def test_sixteen_bits_into_a_jpeg_are_said_to_be_rounded(
    make_restorer, finder_of, marked, portrait, tmp_path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), portrait[..., ::-1].astype(np.uint16) * 257)
    outcome = restore_photo(
        tmp_path / "a.png",
        tmp_path / "b.jpg",
        restorer=make_restorer(),
        finder=finder_of(marked),
    )
    assert any("8 bits" in note for note in outcome.notes)


def test_orientation_is_applied_once_and_the_facts_are_kept(
    make_restorer, mtcnn, portrait, tmp_path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Model X"
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    exif[0x8769] = {0xA431: "SERIAL-123", 0x8827: 400}
    lying = np.rot90(portrait)  # upright again when turned clockwise
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(lying).save(source, quality=95, exif=exif.tobytes(), dpi=(300, 300))
    outcome = restore_photo(source, target, restorer=make_restorer(), finder=mtcnn)
    assert outcome.status == "restored"
    image = opened(target)
    after = np.asarray(image.convert("RGB"))
    corner = slice(0, 120), slice(0, 120)
    assert np.abs(after[corner].astype(int) - portrait[corner]).mean() < 4
    written = image.getexif()
    assert (written[0x0112], written[0x0110], image.info["dpi"]) == (1, "Model X", (300, 300))
    assert written.get_ifd(0x8769)[0x8827] == 400
    assert not written.get_ifd(0x8825)
    assert b"SERIAL-123" not in target.read_bytes()
    again = read_photo(target)
    assert again.facts.orientation == 1


def test_a_wide_gamut_photo_keeps_its_profile_and_its_colours(
    make_restorer, finder_of, marked, portrait, tmp_path
) -> None:
    # A profile whose numbers mean something else than sRGB's: the same primaries, a linear curve.
    icc = linear_profile()
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    linear = np.rint((portrait / 255.0) ** 2.2 * 255).astype(np.uint8)
    Image.fromarray(linear).save(source, icc_profile=icc)
    restorer = make_restorer(fidelity=1.0)
    outcome = restore_photo(source, target, restorer=restorer, finder=finder_of(marked))
    assert opened(target).info["icc_profile"] == icc
    inside = masks(outcome.faces, portrait.shape)
    after = np.asarray(opened(target).convert("RGB"))
    # The wavelet fix keeps the face's mean colour, which a forgotten conversion would not.
    gap = after[inside].mean(axis=0) - linear[inside].mean(axis=0)
    assert np.abs(gap).max() < 25
    assert np.array_equal(after[~inside], linear[~inside])


def linear_profile() -> bytes:
    """sRGB's profile with its three tone curves replaced by a plain gamma of 2.2's inverse."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for i in range(count):
        entry = 132 + 12 * i
        if data[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(data[entry + 4 : entry + 8], "big")
            # curveType with no entries is the identity: linear light.
            data[offset : offset + 12] = b"curv" + bytes(8)
            data[entry + 8 : entry + 12] = (12).to_bytes(4, "big")
    return bytes(data)


def test_where_no_face_is_found_no_picture_is_written(make_restorer, mtcnn, tmp_path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("RGB", (300, 200), "teal").save(source)
    outcome = restore_photo(source, target, restorer=make_restorer(), finder=mtcnn)
    assert outcome.status == "nothing"
    assert "no face found by mtcnn" in outcome.summary
    assert not target.exists()
    said = read_sidecar(target)
    assert said is not None
    assert said["output"] is None


def test_an_earlier_result_is_taken_away_when_nothing_can_be_restored_now(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    target = tmp_path / "b.png"
    restore_photo(photo, target, restorer=make_restorer(), finder=finder_of(marked))
    assert target.exists()
    restore_photo(photo, target, restorer=make_restorer(), finder=finder_of())
    assert not target.exists()


def test_a_finder_without_landmarks_skips_and_says_why(make_restorer, photo, tmp_path) -> None:
    haar = open_finder(FacesConfig(finder="haar"))
    outcome = restore_photo(photo, tmp_path / "b.png", restorer=make_restorer(), finder=haar)
    assert outcome.status == "nothing"
    assert outcome.faces
    assert all(f.status == "skipped" and "no landmarks" in f.reason for f in outcome.faces)


def test_profiles_and_tiny_faces_are_skipped_with_a_reason_and_others_are_not(
    make_restorer, finder_of, mark_face, portrait, tmp_path
) -> None:
    from dataclasses import replace

    from data_manifests.records import Point

    good, tiny = mark_face(), mark_face(0.15, 400, 400)
    # Another head, seen from the side: its nose and mouth lie outside its eyes.
    points = ((758, 102), (768, 102), (730, 129), (745, 140), (752, 140))
    side = replace(mark_face(left=512), landmarks=tuple(Point(x=x, y=y) for x, y in points))
    Image.fromarray(np.concatenate([portrait, portrait], axis=1)).save(tmp_path / "a.png")
    outcome = restore_photo(
        tmp_path / "a.png",
        tmp_path / "b.png",
        restorer=make_restorer(),
        finder=finder_of(good, side, tiny),
    )
    assert outcome.status == "partly"
    whys = [(f.status, f.reason.split(":")[0]) for f in outcome.faces]
    assert whys[0] == ("restored", "")
    assert ("skipped", "turned too far to the side") in whys
    assert ("skipped", "too small") in whys


def test_only_the_largest_face_on_request(
    make_restorer, finder_of, mark_face, portrait, tmp_path
) -> None:
    double = np.concatenate([portrait, portrait], axis=1)
    Image.fromarray(double).save(tmp_path / "a.png")
    finder = finder_of(mark_face(), mark_face(left=512))
    target = tmp_path / "b.png"
    outcome = restore_photo(
        tmp_path / "a.png", target, restorer=make_restorer(faces="largest"), finder=finder
    )
    assert outcome.status == "restored"
    assert [f.status for f in outcome.faces] == ["restored", "skipped"]
    both = restore_photo(tmp_path / "a.png", target, restorer=make_restorer(), finder=finder)
    assert [f.status for f in both.faces] == ["restored", "restored"]
    assert both.faces[0].seed == outcome.faces[0].seed != both.faces[1].seed


def test_the_same_photo_gives_the_same_bytes_again(
    make_restorer, finder_of, mark_face, portrait, tmp_path
) -> None:
    double = np.concatenate([portrait, portrait], axis=1)
    Image.fromarray(double).save(tmp_path / "a.png")
    finder = finder_of(mark_face(), mark_face(left=512))
    for name, batch in (("b.png", 1), ("c.png", 4)):
        restore_photo(
            tmp_path / "a.png",
            tmp_path / name,
            restorer=make_restorer(batch=batch),
            finder=finder,
        )
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_a_failed_face_is_reported_and_not_pasted(
    make_restorer, finder_of, marked, photo, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = make_restorer()

    def no_memory(image: torch.Tensor) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(restorer._pipe.vae, "encode", no_memory)
    target = tmp_path / "b.png"
    outcome = restore_photo(photo, target, restorer=restorer, finder=finder_of(marked))
    assert (outcome.status, outcome.faces[0].status) == ("nothing", "failed")
    assert "out of memory" in outcome.summary
    assert not target.exists()


@pytest.mark.parametrize("way", ["same", "symlink", "hardlink"])
def test_the_input_is_never_written(make_restorer, finder_of, marked, photo, way) -> None:
    target = photo if way == "same" else photo.with_name("other.png")
    if way == "symlink":
        target.symlink_to(photo)
    elif way == "hardlink":
        os.link(photo, target)
    before = photo.read_bytes()
    with pytest.raises(InputError, match="originals are never written"):
        restore_photo(photo, target, restorer=make_restorer(), finder=finder_of(marked))
    assert photo.read_bytes() == before


def test_a_file_that_is_not_ours_is_replaced_only_on_request(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    target = tmp_path / "mine.png"
    target.write_bytes(b"precious")
    finder = finder_of(marked)
    with pytest.raises(InputError, match="not written by AuthFace"):
        restore_photo(photo, target, restorer=make_restorer(), finder=finder)
    assert target.read_bytes() == b"precious"
    restore_photo(photo, target, restorer=make_restorer(overwrite=True), finder=finder)
    restore_photo(photo, target, restorer=make_restorer(), finder=finder)
    assert opened(target).size == (512, 512)


def test_bad_inputs_and_targets_are_errors_for_people(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    restorer, finder = make_restorer(), finder_of(marked)
    (tmp_path / "a.jpg").write_bytes(b"no picture at all")
    with pytest.raises(UnreadablePhoto):
        restore_photo(tmp_path / "a.jpg", tmp_path / "b.jpg", restorer=restorer, finder=finder)
    with pytest.raises(InputError, match="ending"):
        restore_photo(photo, tmp_path / "b.gif", restorer=restorer, finder=finder)
    (tmp_path / "c.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        restore_photo(photo, tmp_path / "c.png", restorer=restorer, finder=finder)


def test_a_full_disk_leaves_nothing_half_written(
    make_restorer, finder_of, marked, photo, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data_manifests.media.os.fsync", full)
    target = tmp_path / "out" / "b.png"
    with pytest.raises(StorageError, match="full"):
        restore_photo(photo, target, restorer=make_restorer(), finder=finder_of(marked))
    assert list(target.parent.iterdir()) == []


def test_the_sidecar_is_there_before_the_picture(
    make_restorer, finder_of, marked, photo, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import restore.photo as module

    written: list[str] = []
    real = module.write_atomic
    monkeypatch.setattr(
        module, "write_atomic", lambda path, data: (written.append(path.name), real(path, data))
    )
    target = tmp_path / "b.png"
    restore_photo(photo, target, restorer=make_restorer(), finder=finder_of(marked))
    assert written == [sidecar_of(target).name, "b.png"]


def test_real_degraded_photos_are_restored(
    make_restorer, mtcnn, shared_photos: Path, tmp_path
) -> None:
    for path in sorted((shared_photos / "degraded").glob("*.*g"))[:3]:
        target = tmp_path / path.name
        outcome = restore_photo(path, target, restorer=make_restorer(), finder=mtcnn)
        assert outcome.status == "restored", outcome.summary
        assert json.loads(sidecar_of(target).read_text())["status"] == "restored"


def test_real_camera_files_keep_their_facts_and_lose_their_thumbnails(
    make_restorer, mtcnn, shared_photos: Path, tmp_path
) -> None:
    path = next((shared_photos / "portraits").glob("Kodak*"))
    target = tmp_path / "out.jpg"
    outcome = restore_photo(path, target, restorer=make_restorer(), finder=mtcnn)
    assert outcome.status in ("restored", "partly")
    exif = opened(target).getexif()
    assert "KODAK" in exif[0x010F]
    assert len(exif.get_ifd(0x8769)) > 15
    assert exif.get_ifd(ExifTags.IFD.IFD1) == {}
