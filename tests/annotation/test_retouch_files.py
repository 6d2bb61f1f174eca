"""Files of a hot folder as they come to be there: growing, renamed into place, locked."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annotation.retouch_files import HotFolder, copied, returned_files, settled_hash, stamp_of

NOBODY = 65534


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(folder: Path) -> list[str]:
    return [p.name for p in returned_files(folder)]


def test_a_file_that_grows_has_no_hash_until_it_stays_the_same(tmp_path: Path) -> None:
    file, hot = tmp_path / "portrait.tif", HotFolder(tmp_path)
    written = b""
    for piece in (b"II*\0", b"pixels" * 1000, b"more pixels" * 1000):
        with file.open("ab") as handle:
            handle.write(piece)
        written += piece
        (before,) = hot.look().values()
        with file.open("ab") as handle:
            handle.write(b"!")
        written += b"!"
        assert hot.hash_of(file, before) is None
    (settled,) = hot.look().values()
    assert hot.hash_of(file, settled) == sha256_of(written)


def test_a_file_that_grows_while_it_is_read_has_no_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real writer appends while the file is read in small blocks."""
    file = tmp_path / "portrait.tif"
    file.write_bytes(b"x" * 8_000_000)
    monkeypatch.setattr("annotation.retouch_files._BLOCK", 64)
    stop, begun = threading.Event(), threading.Event()

    def grow() -> None:
        with file.open("ab", buffering=0) as handle:
            while not stop.is_set():
                handle.write(b"y")
                begun.set()
                stop.wait(0.001)

    before = stamp_of(file)
    writer = threading.Thread(target=grow, daemon=True)
    writer.start()
    try:
        assert begun.wait(10)
        assert settled_hash(file, before) is None
        assert settled_hash(file, stamp_of(file)) is None
    finally:
        stop.set()
        writer.join()
    assert settled_hash(file, stamp_of(file)) == sha256_of(file.read_bytes())


def test_a_copy_of_bytes_that_changed_since_they_were_hashed_leaves_nothing(tmp_path: Path) -> None:
    file, media = tmp_path / "portrait.tif", tmp_path / "media"
    file.write_bytes(b"first")
    hashed = sha256_of(b"first")
    file.write_bytes(b"second")
    assert not copied(file, media, hashed)
    file.unlink()
    assert not copied(file, media, hashed)
    assert not [p for p in media.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    "temporary",
    [
        "Photoshop Temp8734521",
        "psA1B2.tmp",
        "._portrait.tif",
        "~portrait.tif",
        "portrait.tif~",
        "portrait.part",
    ],
)
def test_a_file_under_a_temporary_name_appears_when_it_is_renamed(
    tmp_path: Path, temporary: str
) -> None:
    """As Photoshop saves: whole under another name, then renamed over the old file."""
    (tmp_path / temporary).write_bytes(b"new pixels")
    hot = HotFolder(tmp_path)
    assert hot.look() == {}
    saved = tmp_path / "portrait.tif"
    (tmp_path / temporary).rename(saved)
    ((path, stamp),) = hot.look().items()
    assert path == saved
    assert hot.hash_of(path, stamp) == sha256_of(b"new pixels")


def test_a_file_renamed_over_a_known_one_is_read_anew(tmp_path: Path) -> None:
    saved, hot = tmp_path / "portrait.tif", HotFolder(tmp_path)
    saved.write_bytes(b"old pixels")
    assert hot.hash_of(saved, hot.look()[saved]) == sha256_of(b"old pixels")
    beside = tmp_path / "ps.tmp"
    beside.write_bytes(b"new pixels")
    os.utime(beside, ns=(1, stamp_of(saved)[1] + 1))  # type: ignore[index]
    beside.replace(saved)
    assert not hot.knows(saved, hot.look()[saved])
    assert hot.hash_of(saved, hot.look()[saved]) == sha256_of(b"new pixels")


@contextmanager
def without_rights() -> Iterator[None]:
    """Root opens every file; as nobody it meets the rights that others meet."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_can_not_be_opened_is_locked_and_read_when_it_can() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is for its owner only
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "portrait.tif"
        file.write_bytes(b"pixels")
        file.chmod(0)
        hot = HotFolder(folder)
        with without_rights():
            stamp = hot.look()[file]
            assert hot.hash_of(file, stamp) is None
            assert hot.locked == {file: "Permission denied"}
        file.chmod(0o644)
        with without_rights():
            stamp = hot.look()[file]
            assert hot.locked == {}
            assert hot.hash_of(file, stamp) == sha256_of(b"pixels")


def test_a_file_that_is_named_itself_is_a_folder_of_one(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path / "a.tif") == ["a.tif"]
    assert sorted(names(tmp_path)) == ["a.tif", "b.tif"]
