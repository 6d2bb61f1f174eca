"""The web page's folder: private, swept, and gone at the end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from restore.app_folder import AppFolder


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def test_only_its_owner_can_open_it_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with AppFolder(tmp_path) as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        (folder.path / "photo.jpg").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_for_ten_minutes_goes_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "mine.jpg"
    outside.write_bytes(b"x")
    with AppFolder(tmp_path) as folder:
        old, new = folder.path / "a" / "old.jpg", folder.path / "b" / "new.jpg"
        for path in (old, new):
            path.parent.mkdir()
            path.write_bytes(b"x")
        link = folder.path / "link"
        link.symlink_to(outside)
        for path in (old, old.parent, link):
            age(path, 580)
        folder.sweep()
        assert not old.exists()
        assert new.exists()
        assert not link.is_symlink()
        folder.sweep()
        assert folder.held_bytes > 0
    assert outside.exists()


def test_work_that_takes_long_keeps_its_files_until_it_ends(tmp_path: Path) -> None:
    with AppFolder(tmp_path) as folder:
        with folder.work() as place:
            (place / "photo.jpg").write_bytes(b"x")
            age(place / "photo.jpg", 3600)
            folder.sweep()
            assert (place / "photo.jpg").exists()
        folder.sweep()
        assert (place / "photo.jpg").exists()  # its ten minutes begin now
        age(place / "photo.jpg", 3600)
        folder.sweep()
        assert not (place / "photo.jpg").exists()
        with pytest.raises(ZeroDivisionError), folder.work() as place:
            _ = 1 / 0
        assert not place.exists()


def test_what_a_killed_process_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    orphan = tmp_path / "authface-app-gone"
    orphan.mkdir()
    (orphan / ".lock").touch()
    (orphan / "photo.jpg").write_bytes(b"x")
    foreign = tmp_path / "authface-app-notes"  # no lock in it: not ours
    foreign.mkdir()
    with AppFolder(tmp_path) as first, AppFolder(tmp_path) as second:
        assert not orphan.exists()
        assert first.path.exists()
        assert second.path.exists()
    assert foreign.exists()
