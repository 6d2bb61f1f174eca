"""Files that a killed writer left half written, and those that somebody is writing."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from data_manifests.media import sweep_parts, write_atomic, write_pieces


def half_written(folder: Path, name: str, age_s: float) -> Path:
    path = folder / f".part-{name}"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_nobody_writes_any_more_is_taken_away(tmp_path: Path) -> None:
    dead, young = half_written(tmp_path, "dead", 60), half_written(tmp_path, "young", 0)
    locked = half_written(tmp_path, "locked", 60)
    (tmp_path / "a.png").write_bytes(b"whole")
    with locked.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep_parts(tmp_path) == 1
        assert not dead.exists()
        assert young.exists()
    assert sweep_parts(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".part-young", "a.png"]
    assert sweep_parts(tmp_path / "gone") == 0


def test_a_slow_writer_is_left_in_peace(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"

    def pieces():
        yield b"one"
        (part,) = tmp_path.glob(".part-*")
        os.utime(part, (0, 0))
        assert sweep_parts(tmp_path) == 0
        yield b"two"

    write_pieces(target, pieces())
    assert target.read_bytes() == b"onetwo"
    write_atomic(target, b"three")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
