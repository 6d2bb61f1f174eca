"""`take-back --watch` on a folder that a retoucher saves into while it runs: a real process."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from authface.settings import init_workspace
from data_manifests.records import Box, Consensus, Face, Photo, Point, Retouch
from data_manifests.store import Store

POINTS = ((201, 112), (246, 109), (230, 138), (206, 160), (247, 157))
SETTINGS = '[ingest.faces]\nfinder = "haar"\n[retouch]\nsettle_s = 0.5\npoll_s = 0.2\n'

# Whoever runs the tests in the background of a shell has Ctrl-C ignored, and so have its children.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from authface.cli import app
app()
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """A workspace with one photo that waits for the retoucher, and an empty hot folder."""
    root, hot = tmp_path / "ws", tmp_path / "hot"
    hot.mkdir()
    init_workspace(root)
    (root / "authface.toml").write_text(SETTINGS)
    original = tmp_path / "IMG_0007.png"
    Image.fromarray(data.astronaut()).save(original)
    photo_id = hashlib.sha256(original.read_bytes()).hexdigest()
    photo = Photo(
        photo_id=photo_id, path=str(original), state="kept", size_bytes=1, width=512, height=512
    )
    face = Face(
        face_id=f"{photo_id}-000000000000",
        photo_id=photo_id,
        index=0,
        box=Box(left=170, top=60, right=280, bottom=190),
        landmarks=tuple(Point(x=x, y=y) for x, y in POINTS),
        finder="by-hand-1",
    )
    said = Consensus(photo_id=photo_id, decision="retouch", voters=1, conflict=False)
    store = Store(root / "tables")
    store.upsert(Photo, [photo], why="test")
    store.upsert(Face, [face], why="test")
    store.upsert(Consensus, [said], why="test")
    return root, hot


class Watch:
    """A running watch, and what it has said so far."""

    def __init__(self, root: Path, hot: Path, log: Path) -> None:
        self.log = log
        self.store = Store(root / "tables")
        command = [sys.executable, "-c", PROGRAM, "annotate", "take-back", str(hot)]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, "--watch", "-w", str(root)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "300"},
            )

    def wait_for(self, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + 90
        while not seen():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)

    def wait_until_said(self, words: str) -> None:
        self.wait_for(lambda: words in self.said())

    def said(self) -> str:
        return self.log.read_text()

    def taken(self) -> list[str]:
        rows = sorted(self.store.read(Retouch), key=lambda r: r.round)
        return [r.retouch_id for r in rows]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)  # a look is ended first


@pytest.fixture
def watch(place: tuple[Path, Path], tmp_path: Path) -> Iterator[Watch]:
    running = Watch(*place, tmp_path / "said.txt")
    yield running
    running.process.kill()
    running.process.wait()


def retouched(left: int = 0) -> bytes:
    """An honest file; another crop for another `left`."""
    pixels = data.astronaut().copy()
    pixels[120:126, 180:186] = pixels[128:134, 180:186]
    out = io.BytesIO()
    Image.fromarray(pixels[:, left:]).save(out, "TIFF")
    return out.getvalue()


def test_a_growing_file_and_one_that_appears_by_rename_are_taken_once_they_are_whole(
    place: tuple[Path, Path], watch: Watch
) -> None:
    _, hot = place
    whole, grown = retouched(), hot / "IMG_0007-Edit.tif"
    with grown.open("wb", buffering=0) as handle:
        sent = 0
        while "IMG_0007-Edit.tif: still being written" not in watch.said():
            assert sent < len(whole) // 2, "the watch did not see it grow"
            handle.write(whole[sent : sent + 256])
            sent += 256
            time.sleep(0.05)
        assert watch.taken() == []
        handle.write(whole[sent:])
    assert "kept apart" not in watch.said()
    watch.wait_for(lambda: watch.taken() == [hashlib.sha256(whole).hexdigest()])

    newer = retouched(left=10)
    (hot / "Photoshop Temp12345").write_bytes(newer)
    (hot / "broken.tif").write_bytes(b"II*\0")
    watch.wait_until_said("broken.tif: kept apart")  # so a look was made that saw both
    assert "Photoshop Temp" not in watch.said()
    assert len(watch.taken()) == 1
    (hot / "Photoshop Temp12345").replace(grown)
    watch.wait_for(lambda: len(watch.taken()) == 2)
    assert watch.taken()[1] == hashlib.sha256(newer).hexdigest()
    watch.wait_until_said("round 1: passed, but round 2 came back before it was reviewed")
    assert watch.end() == 0, watch.said()
    assert "Stopped watching." in watch.said()
    assert "Traceback" not in watch.said()
