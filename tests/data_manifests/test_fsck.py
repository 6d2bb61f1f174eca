"""fsck names every damaged byte of tables, log and media, and resumes where it was cut off."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_manifests import fsck
from data_manifests.fsck import Proof, prove
from data_manifests.log import log_file
from data_manifests.media import Workspace, write_media
from data_manifests.records import Consent, Crop, Photo, Retouch
from data_manifests.store import Store


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    store = Store(place.tables)
    for n in range(3):
        data = random.Random(n).randbytes(3000)
        proxy, _ = write_media(place.media, "proxies", data, ".jpg")
        row = Photo(photo_id=f"{n}", path="x", state="kept", size_bytes=n, proxy_path=proxy)
        store.upsert(Photo, [row], why="test")
    return place


def faults(place: Workspace) -> list[Proof]:
    return [p for p in prove(place) if p.fault]


def files_of(place: Workspace) -> Iterator[Path]:
    names = (".json", ".parquet", ".jpg")
    yield from (p for p in sorted(place.root.rglob("*")) if p.is_file() and p.suffix in names)


def test_an_unharmed_workspace_is_proved_whole(workspace: Workspace) -> None:
    proofs = list(prove(workspace))
    assert not [p for p in proofs if p.fault or p.leftover]
    assert {p.path for p in proofs} == {str(p) for p in files_of(workspace)}


def test_single_bit_flips_anywhere_are_found_and_named(workspace: Workspace) -> None:
    """Every file, at its first, its last and some other bits; a flip may hide nothing."""
    draw = random.Random(1)
    for path in list(files_of(workspace)):
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(3))}
        for place in places:
            broken = bytearray(whole)
            broken[place] ^= 1 << draw.randrange(8)
            path.write_bytes(bytes(broken))
            assert str(path) in {p.path for p in faults(workspace)}, (path, place)
        path.write_bytes(whole)
    assert not faults(workspace)


@pytest.mark.parametrize("kind", ["*.parquet", "_delta_log/*.json", "../../media/proxies/*/*.jpg"])
def test_a_missing_file_is_named(workspace: Workspace, kind: str) -> None:
    path = sorted((workspace.tables / "photos").glob(kind))[0]
    path.unlink()
    assert [p.path for p in faults(workspace) if Path(p.path).resolve() == path.resolve()]


def test_a_missing_crop_of_a_returned_file_is_named_and_one_without_a_crop_is_none(
    workspace: Workspace,
) -> None:
    """The crop stands in the row itself, neither a path nor a list."""
    returned, _ = write_media(workspace.media, "retouches", b"a returned file", ".tif")
    cut, sha256 = write_media(workspace.media, "crops", b"its crop", ".png")
    crop = Crop(
        path=cut, sha256=sha256, kind="aligned", width=8, height=8, matrix=(1, 0, 0, 0, 1, 0)
    )
    whole = Retouch(
        retouch_id="r1",
        photo_id="0",
        path=returned,
        match_method="id",
        match_score=1.0,
        state="waiting",
        crop=crop,
    )
    failed = replace(whole, retouch_id="r2", crop=None, state="fix")
    store = Store(workspace.tables)
    store.upsert(Retouch, [whole, failed], why="test")
    assert not faults(workspace)
    named = sorted(fsck.named_media(store, Retouch))
    assert named == sorted([("r1", returned), ("r1", cut), ("r2", returned)])
    (workspace.media / cut).unlink()
    (fault,) = faults(workspace)
    assert (Path(fault.path), fault.fault) == (workspace.media / cut, "is missing, and r1 names it")


def test_a_commit_without_a_seal_is_named_until_the_next_write(workspace: Workspace) -> None:
    table, store = workspace.tables / "photos", Store(workspace.tables)
    newest = store.version(Photo)
    assert newest is not None
    log_file(table, newest).unlink()  # as if the writer was killed before the seal
    assert any("vouched for by no seal" in str(p.fault) for p in faults(workspace))
    row = Photo(photo_id="9", path="x", state="kept", size_bytes=1)
    store.upsert(Photo, [row], why="next write")
    assert not faults(workspace)


def test_what_a_killed_writer_left_is_no_fault(workspace: Workspace) -> None:
    (workspace.tables / "photos" / "part-1-dead.parquet").write_bytes(b"half")
    (workspace.media / "proxies" / ".part-abc").write_bytes(b"half")
    found = [p for p in prove(workspace) if p.leftover]
    assert len(found) == 2
    assert not faults(workspace)


def test_a_run_that_was_cut_off_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck, "NOTE_EVERY_S", 0.0)
    run = prove(workspace)
    seen = [next(run) for _ in range(12)]
    run.close()
    state = workspace.tables / ".fsck.json"
    assert len(json.loads(state.read_bytes())) >= 10
    again = list(prove(workspace))
    proved = {p.path for p in again if p.known}
    assert proved
    assert proved <= {p.path for p in seen}
    assert len(again) == len(list(files_of(workspace)))
    assert not state.exists()
    assert not [p for p in prove(workspace) if p.known]


def test_a_table_of_the_first_release_is_proved_after_its_next_write(workspace: Workspace) -> None:
    """Its seals vouched for rows and not for the log; the next seal takes all of it in."""
    golden = Path(__file__).parent / "golden" / "v1" / "consents"
    shutil.copytree(golden, workspace.tables / "consents")
    assert all("no seal" in str(p.fault) for p in faults(workspace))
    store = Store(workspace.tables)
    (consent,) = store.read(Consent)
    store.upsert(Consent, [consent], why="migrates")
    assert not faults(workspace)


def test_checkpoints_are_made_and_vouched_for(workspace: Workspace) -> None:
    store = Store(workspace.tables)
    for n in range(50):
        row = Photo(photo_id="0", path=f"{n}", state="kept", size_bytes=n)
        store.upsert(Photo, [row], why="many versions")
    log = workspace.tables / "photos" / "_delta_log"
    checkpoint = max(log.glob("*.checkpoint.parquet"))
    assert not faults(workspace)
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 4
    checkpoint.write_bytes(bytes(data))
    (found,) = faults(workspace)
    assert found.path == str(checkpoint)
    assert "delete it" in str(found.fault)
    checkpoint.unlink()
    (log / "_last_checkpoint").unlink()
    assert len(Store(workspace.tables).read(Photo)) == 3
    store.upsert(Photo, [replace(row, path="other")], why="next write")
    assert not faults(workspace)


def test_a_damaged_checkpoint_stays_named_when_the_next_one_is_made(workspace: Workspace) -> None:
    store, log = Store(workspace.tables), workspace.tables / "photos" / "_delta_log"

    def checkpoints(least: int) -> list[Path]:
        for n in range(200):
            row = Photo(photo_id="0", path=f"{least} {n}", state="kept", size_bytes=n)
            store.upsert(Photo, [row], why="many versions")
            if len(found := sorted(log.glob("*.checkpoint.parquet"))) >= least:
                return found
        raise AssertionError("no checkpoint was made")

    first = checkpoints(2)[0]  # the newest is what the table is opened by
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 4
    first.write_bytes(bytes(data))
    assert first == checkpoints(3)[0]
    (found,) = faults(workspace)
    assert found.path == str(first)


def test_what_is_damaged_stays_named_after_the_next_write(workspace: Workspace) -> None:
    """A seal passes told hashes on; it never vouches for what lies on the disk by now."""
    store, table = Store(workspace.tables), workspace.tables / "photos"
    newest = store.version(Photo)
    assert newest is not None
    file = log_file(table, newest)
    text = file.read_text()
    file.write_text(text.replace("authface_sealed_version", "authface_sealed_versio_"))
    assert str(file) in {p.path for p in faults(workspace)}
    row = Photo(photo_id="9", path="x", state="kept", size_bytes=1)
    store.upsert(Photo, [row], why="next write")
    assert str(file) in {p.path for p in faults(workspace)}


def test_a_damaged_file_of_the_first_release_stays_named(workspace: Workspace) -> None:
    table = workspace.tables / "samples"
    shutil.copytree(Path(__file__).parent / "golden" / "v1" / "samples", table)
    file = next(table.glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # the last letter of PAR1
    whole = file.read_bytes()
    file.write_bytes(bytes(data))
    Store(workspace.tables).migrate()
    assert str(file) in {p.path for p in faults(workspace)}
    file.write_bytes(whole)
    assert str(file) not in {p.path for p in faults(workspace)}


def test_a_table_that_was_only_made_is_whole(workspace: Workspace) -> None:
    Store(workspace.tables).upsert(Consent, [], why="nothing")
    assert not faults(workspace)


def test_what_was_proved_and_changed_since_is_proved_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck, "NOTE_EVERY_S", 0.0)
    run = prove(workspace)
    seen = [next(run) for _ in range(len(list(files_of(workspace))) - 1)]
    run.close()
    path = next(Path(p.path) for p in seen if p.path.endswith(".jpg"))
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(bytes(data))
    assert str(path) in {p.path for p in faults(workspace)}
