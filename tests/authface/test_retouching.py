"""A retoucher's folder taken back by the command, on real files and tables."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from annotation.ledger import one_at_a_time
from annotation.retouch import Picture, Tools, take_back
from annotation.retouch_config import RetouchConfig
from annotation.retouch_files import HotFolder, Stamp
from authface.cli import app
from authface.settings import init_workspace
from curation.crops import align_matrix
from data_manifests.consent import grant
from data_manifests.errors import InputError, UnreadablePhoto
from data_manifests.media import write_media
from data_manifests.records import (
    Box,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Point,
    Retouch,
    Standing,
    Task,
)
from data_manifests.store import Store

pytestmark = pytest.mark.usefixtures("fresh_console")
POINTS = ((201, 112), (246, 109), (230, 138), (206, 160), (247, 157))


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path, Photo]:
    """A workspace with one photo that waits for the retoucher, and an empty hot folder."""
    root, hot = tmp_path / "ws", tmp_path / "hot"
    hot.mkdir()
    init_workspace(root)
    (root / "authface.toml").write_text('[ingest.faces]\nfinder = "haar"\n')
    original = tmp_path / "IMG_0007.png"
    Image.fromarray(data.astronaut()).save(original)
    photo_id = hashlib.sha256(original.read_bytes()).hexdigest()
    photo = Photo(
        photo_id=photo_id,
        path=str(original),
        state="kept",
        size_bytes=original.stat().st_size,
        width=512,
        height=512,
    )
    points = tuple(Point(x=x, y=y) for x, y in POINTS)
    matrix = align_matrix(points, 128)
    cut, sha256 = write_media(root / "media", "crops", original.read_bytes(), ".png")
    crop = Crop(
        path=cut, sha256=sha256, kind="aligned", width=128, height=128, matrix=tuple(matrix.ravel())
    )
    face = Face(
        face_id=f"{photo_id}-000000000000",
        photo_id=photo_id,
        index=0,
        box=Box(left=170, top=60, right=280, bottom=190),
        landmarks=points,
        crops=(crop,),
        finder="by-hand-1",
    )
    said = Consensus(photo_id=photo_id, decision="retouch", voters=1, conflict=False)
    store = Store(root / "tables")
    store.upsert(Photo, [photo], why="test")
    store.upsert(Face, [face], why="test")
    store.upsert(Consensus, [said], why="test")
    return root, hot, photo


def healed() -> np.ndarray:
    pixels = data.astronaut().copy()
    pixels[120:126, 180:186] = pixels[128:134, 180:186]
    return pixels


def take(root: Path, hot: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["annotate", "take-back", str(hot), "-w", str(root), *more])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.retouch.time.sleep", lambda _: None)


def test_honest_work_becomes_a_review_and_taking_it_again_changes_nothing(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, _ = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    code, said = take(root, hot)
    store = Store(root / "tables")
    (row,), (task,), (stands,) = store.read(Retouch), store.read(Task), store.read(Standing)
    assert code == 0, said
    assert (row.state, row.match_method, row.round) == ("waiting", "name", 1)
    assert row.crop is not None
    assert (root / "media" / row.crop.path).is_file()
    assert hashlib.sha256((root / "media" / row.path).read_bytes()).hexdigest() == row.retouch_id
    assert (task.kind, task.state, task.retouch_id) == ("review", "waiting", row.retouch_id)
    with Image.open(root / "media" / task.image_path) as shown:
        assert shown.size == (task.image_width, task.image_height)
    assert (stands.state, stands.round) == ("review", 1)
    versions = [store.version(noun) for noun in (Retouch, Task, Standing)]
    assert "1 were taken before" in take(root, hot)[1]
    assert [store.version(noun) for noun in (Retouch, Task, Standing)] == versions


def test_smoothed_work_goes_back_with_the_reason_and_the_list_shows_the_next_round(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    soft = cv2.GaussianBlur(data.astronaut(), (0, 0), 1.0)
    Image.fromarray(soft).save(hot / f"AF-{photo.photo_id[:12]}__v1.tif")
    assert "skin was smoothed" in take(root, hot)[1]
    (row,) = Store(root / "tables").read(Retouch)
    assert (row.state, row.match_method) == ("fix", "id")
    assert not Store(root / "tables").read(Task)
    listed = CliRunner().invoke(app, ["annotate", "retouch-list", "-w", str(root)]).output
    assert f"AF-{photo.photo_id[:12]}__v2.tif" in listed
    Image.fromarray(healed()).save(hot / f"AF-{photo.photo_id[:12]}__v2.tif")
    take(root, hot)
    rounds = {r.round: r.state for r in Store(root / "tables").read(Retouch)}
    assert rounds == {1: "fix", 2: "waiting"}


def test_what_is_not_taken_stays_with_its_reason_and_temporary_files_are_passed_over(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    (hot / "IMG_0007.png").write_bytes(Path(photo.path).read_bytes())
    (hot / "broken.tif").write_bytes(b"II*\0")
    Image.fromarray(data.coffee()).save(hot / "coffee.png")
    for name in ("._IMG.tif", "x.tmp", "x.psd~", "IMG_0007.xmp"):
        (hot / name).write_bytes(b"x")
    code, said = take(root, hot)
    assert code == 3
    assert "byte for byte" in said
    assert "broken.tif: kept apart: a picture can't be read" in said
    assert "coffee.png: kept apart: no photo here shows the same picture" in said
    assert "3 kept apart" in said
    assert not Store(root / "tables").read(Retouch)
    assert len(list(hot.iterdir())) == 7


def test_a_dry_run_writes_nothing(place: tuple[Path, Path, Photo]) -> None:
    root, hot, _ = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    assert "Would take 1: 1 to review" in take(root, hot, "--dry-run")[1]
    assert not Store(root / "tables").read(Retouch)
    assert not (root / "media" / "retouches").exists()


def test_a_file_for_a_photo_nobody_wants_retouched_is_kept_apart(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    said = Consensus(photo_id=photo.photo_id, decision="reject", voters=1, conflict=False)
    Store(root / "tables").upsert(Consensus, [said], why="test")
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    assert "stands at rejected" in take(root, hot)[1]


def test_a_newer_file_takes_the_place_of_one_that_waits_for_its_review(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    store, name = Store(root / "tables"), f"AF-{photo.photo_id[:12]}__v"
    Image.fromarray(healed()).save(hot / f"{name}1.tif")
    take(root, hot)
    Image.fromarray(np.ascontiguousarray(healed()[:, 10:])).save(hot / f"{name}2.tif")
    assert "round 2: passes, waits for a review" in take(root, hot)[1]
    states = {r.round: r.state for r in store.read(Retouch)}
    assert states == {1: "superseded", 2: "waiting"}
    asked = {t.round: t.state for t in store.read(Task)}
    assert asked == {1: "deleted", 2: "waiting"}
    (stands,) = store.read(Standing)
    assert (stands.state, stands.round) == ("review", 2)


def test_versions_are_taken_in_their_order_and_an_old_one_that_comes_late_is_kept_apart(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    name = f"AF-{photo.photo_id[:12]}__v"
    for age, version in enumerate((10, 9, 2)):
        pixels = healed()
        pixels[0, version] = 0
        Image.fromarray(pixels).save(hot / f"{name}{version}.tif")
        os.utime(hot / f"{name}{version}.tif", (1000 + age, 1000 + age))
    take(root, hot)
    rows = sorted(Store(root / "tables").read(Retouch), key=lambda r: r.round)
    assert [r.verdicts[0].reason.split("__v")[1] for r in rows] == ["2.tif", "9.tif", "10.tif"]
    assert [r.state for r in rows] == ["superseded", "superseded", "waiting"]
    Image.fromarray(healed()).save(hot / f"{name}3.tif")
    code, said = take(root, hot)
    assert code == 3
    assert "it is version 3, and version 10 came back before" in said


def test_what_was_kept_apart_is_not_decoded_again_until_it_or_the_tables_change(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    (hot / "broken.tif").write_bytes(b"II*\0")
    decoded: list[Path] = []

    def read(path: Path) -> Picture:
        decoded.append(path)
        raise UnreadablePhoto(f"{path.name} is damaged.", "Save it again.")

    store, folder = Store(root / "tables"), HotFolder(hot)
    config = RetouchConfig(settle_s=0)
    tools = Tools(read, lambda *_: (b"", "", 8), lambda _: "")
    looks = [take_back(store, root / "media", folder, tools, config=config) for _ in range(3)]
    assert [len(look.apart) for look in looks] == [1, 1, 1]
    assert len(decoded) == 1
    (hot / "broken.tif").write_bytes(b"II*\0\0")
    take_back(store, root / "media", folder, tools, config=config)
    assert len(decoded) == 2
    said = Consensus(photo_id=photo.photo_id, decision="accept", voters=1, conflict=False)
    store.upsert(Consensus, [said], why="test")
    take_back(store, root / "media", folder, tools, config=config)
    assert len(decoded) == 3


def test_a_take_back_waits_for_another_to_end(place: tuple[Path, Path, Photo]) -> None:
    root, hot, _ = place
    store = Store(root / "tables")
    tools = Tools(lambda _: pytest.fail("nothing to read"), lambda *_: (b"", "", 8), lambda _: "")
    other = threading.Thread(
        target=take_back,
        args=(store, root / "media", HotFolder(hot), tools),
        kwargs={"config": RetouchConfig(settle_s=0)},
        daemon=True,
    )
    with one_at_a_time(store):
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(30)
    assert not other.is_alive()


def save_deep_tiff(file: Path) -> None:
    cv2.imwrite(str(file), cv2.cvtColor(healed().astype(np.uint16) * 257, cv2.COLOR_RGB2BGR))


def save_psd(file: Path) -> None:
    psd_tools = pytest.importorskip("psd_tools", reason="the psd extra is not installed")
    psd_tools.PSDImage.frompil(Image.fromarray(healed())).save(file)


@pytest.mark.parametrize(
    ("ending", "save", "bits"), [("tif", save_deep_tiff, 16), ("psd", save_psd, 8)]
)
def test_what_photoshop_saves_is_taken_as_deep_as_it_is(
    place: tuple[Path, Path, Photo], ending: str, save: Callable[[Path], None], bits: int
) -> None:
    root, hot, _ = place
    save(hot / f"IMG_0007-Edit.{ending}")
    code, told = take(root, hot)
    assert code == 0, told
    (row,) = Store(root / "tables").read(Retouch)
    assert (row.state, row.bit_depth, row.width) == ("waiting", bits, 512)
    assert row.path.endswith(f".{ending}")
    assert row.crop is not None
    assert row.crop.bit_depth == bits


def test_limits_of_the_checks_stand_in_the_settings_file(place: tuple[Path, Path, Photo]) -> None:
    root, hot, _ = place
    with (root / "authface.toml").open("a") as file:
        file.write("\n[retouch]\nleast_overlap = 0.95\n")
    Image.fromarray(np.ascontiguousarray(healed()[:, 50:])).save(hot / "IMG_0007-Edit.tif")
    assert "it shows only 90% of the photo" in take(root, hot)[1]


def test_a_returned_file_that_is_gone_from_media_is_found(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, _ = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    take(root, hot)
    (row,) = Store(root / "tables").read(Retouch)
    (root / "media" / row.path).unlink()
    done = CliRunner().invoke(app, ["manifest", "fsck", "-w", str(root)])
    assert done.exit_code == 3
    assert row.path in done.output.replace("\n", "")


def flat(faces: Sequence[np.ndarray]) -> np.ndarray:
    """A stand-in for SFace: the first face it is shown is one person, the second another."""
    return np.eye(len(faces), 4, dtype=np.float32)


def test_identity_is_measured_where_settings_and_consent_allow_it_and_else_it_is_said(
    place: tuple[Path, Path, Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, hot, photo = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    assert "In 1 of them identity was not measured: [ingest.identity] is off" in said(root, hot)
    with (root / "authface.toml").open("a") as file:
        file.write("\n[ingest.identity]\nenabled = true\n")
    assert "does not cover identity_embedding (no_consent)" in said(root, hot)
    store = Store(root / "tables")
    start = datetime.now(UTC) - timedelta(days=1)
    consent = Consent(
        consent_id="c", purposes=("identity_embedding",), basis="release", valid_from=start
    )
    grant(store, consent)
    store.upsert(Photo, [replace(photo, consent_id="c")], why="test")
    monkeypatch.setattr("authface.likeness._sface", lambda: flat)
    told = said(root, hot)
    assert "it looks like somebody else: identity 1.00 off" in told
    assert "not measured" not in told
    take(root, hot)
    (row,) = store.read(Retouch)
    shift = next(v for v in row.verdicts if v.gate == "identity")
    assert (row.state, shift.value, shift.threshold, shift.keep) == ("fix", 1.0, 0.2, False)


def said(root: Path, hot: Path) -> str:
    """What a dry run says, its lines joined."""
    return " ".join(take(root, hot, "--dry-run")[1].split())


def test_a_file_that_fits_two_photos_is_taken_for_the_one_that_a_person_names(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    store = Store(root / "tables")
    twin = replace(photo, photo_id="b" * 64, path=str(hot.parent / "b" / "IMG_0007.png"))
    store.upsert(Photo, [twin], why="test")
    file = hot / "IMG_0007-Edit.tif"
    Image.fromarray(healed()).save(file)
    code, told = take(root, hot)
    told = "".join(told.split())
    assert code == 3
    for photo_id in (photo.photo_id, twin.photo_id):
        assert f"IMG_0007.png({photo_id[:12]})" in told
    assert "authfaceannotatetake-backFILE--photoID" in told
    code, told = take(root, file, "--photo", photo.photo_id[:12])
    assert code == 0, told
    (row,) = store.read(Retouch)
    assert (row.photo_id, row.match_method, row.match_score) == (photo.photo_id, "person", 1.0)
    assert row.state == "waiting"
    code, told = take(root, file, "--photo", "bbbb")
    assert code == 3
    assert f"it was taken for the photo {photo.photo_id[:12]} before" in " ".join(told.split())
    assert len(store.read(Retouch)) == 1


def test_what_a_person_names_is_checked_like_any_other_file(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    Image.fromarray(data.coffee()).save(hot / "coffee.png")
    assert take(root, hot / "coffee.png", "--photo", photo.photo_id)[0] == 0
    (row,) = Store(root / "tables").read(Retouch)
    assert (row.state, row.match_method) == ("fix", "person")
    assert "it shows another picture" in row.reasons[0]
    original = take(root, Path(photo.path), "--photo", photo.photo_id)
    assert original[0] == 3
    assert "byte for byte" in original[1]


def test_another_picture_of_the_same_name_retires_no_good_work(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit.tif")
    take(root, hot)
    Image.fromarray(data.coffee()).save(hot / "IMG_0007-Edit-2.tif")
    code, told = take(root, hot)
    told = " ".join(told.split())
    assert code == 3
    assert f"its name fits the photo IMG_0007.png ({photo.photo_id[:12]}), but it shows" in told
    (row,) = Store(root / "tables").read(Retouch)
    assert row.state == "waiting"


def test_a_photo_is_named_for_one_file_and_by_an_id_that_is_there(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, photo = place
    Image.fromarray(healed()).save(hot / "x.tif")
    for asked, why in (
        ((hot, "--photo", photo.photo_id), "hot is a folder"),
        ((hot / "x.tif", "--photo", "zzz"), "No photos have an id that begins with 'zzz'"),
        ((hot / "gone.tif",), "is neither a folder nor a file"),
    ):
        with pytest.raises(InputError, match=why):
            take(root, *asked)
    assert not Store(root / "tables").read(Retouch)


def test_of_several_files_for_a_photo_the_newest_counts_and_the_others_say_why(
    place: tuple[Path, Path, Photo],
) -> None:
    root, hot, _ = place
    Image.fromarray(healed()).save(hot / "IMG_0007-Edit-1.tif")
    take(root, hot)
    for age, left in ((100, 10), (200, 20)):
        file = hot / f"IMG_0007-Edit-{age}.tif"
        Image.fromarray(np.ascontiguousarray(healed()[:, left:])).save(file)
        os.utime(file, (4e9 + age, 4e9 + age))
    told = " ".join(take(root, hot)[1].split())
    for loser, number, by in (("IMG_0007-Edit-1.tif", 1, 2), ("IMG_0007-Edit-100.tif", 2, 3)):
        head = told[told.index(f"{loser} ->") :]
        assert f"round {number}: passed, but round {by} came back before it was reviewed" in head
    assert "Took 2: 1 to review, 0 go back; 1 were taken before, 0 kept apart." in told
    states = {r.round: r.state for r in Store(root / "tables").read(Retouch)}
    assert states == {1: "superseded", 2: "superseded", 3: "waiting"}


class AsNobody(HotFolder):
    """A folder whose files are opened without root's rights, which know no locks."""

    def hash_of(self, path: Path, stamp: Stamp) -> str | None:
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            return super().hash_of(path, stamp)
        finally:
            if root:
                os.seteuid(0)


def test_a_locked_file_is_kept_apart_for_now_and_looked_at_when_it_can_be_opened(
    place: tuple[Path, Path, Photo],
) -> None:
    root, _, _ = place
    tools = Tools(unreadable, lambda *_: (b"", "", 8), lambda _: "")
    store, config = Store(root / "tables"), RetouchConfig(settle_s=0)
    with tempfile.TemporaryDirectory() as name:  # tmp_path is for its owner only
        Path(name).chmod(0o755)
        file, hot = Path(name) / "IMG_0007-Edit.tif", AsNobody(Path(name))
        file.write_bytes(b"II*\0")
        file.chmod(0)
        locked = take_back(store, root / "media", hot, tools, config=config)
        file.chmod(0o644)
        opened = take_back(store, root / "media", hot, tools, config=config)
    (one,), (other,) = locked.apart, opened.apart
    assert one.reason == "for now, it can't be opened: Permission denied"
    assert locked.unsettled == ()
    assert other.reason.startswith("a picture can't be read")


def unreadable(path: Path) -> Picture:
    raise UnreadablePhoto(f"{path.name} is damaged.", "Save it again.")
