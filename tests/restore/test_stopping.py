"""Told to stop by Ctrl-C or a scheduler: what the command finishes, says, and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from authface.cli import app
from authface.stopping import ToldToStop, hearing
from restore.outcome import read_sidecar

PHOTOS = 8
# Of a shell's background job Ctrl-C is ignored, and so it would be here.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from authface.cli import main
main()
"""


@pytest.fixture
def command(tmp_path: Path, aligned_face, restorer_folder: Path) -> list[str]:
    """The command over aligned faces, each of which takes long enough to be stopped in."""
    (tmp_path / "in").mkdir()
    for i in range(PHOTOS):
        cv2.imwrite(str(tmp_path / "in" / f"{i:02}.png"), np.roll(aligned_face, i, axis=1))
    words = ["restore", str(tmp_path / "in"), str(tmp_path / "out"), "--aligned", "--improve-good"]
    more = ["--set", "guard.enabled=false", "--steps", "20", "--page", str(tmp_path / "page.html")]
    return [sys.executable, "-c", PROGRAM, *words, *more, "--model", str(restorer_folder)]


def stopped(command: list[str], out: Path, *numbers: int) -> tuple[int, str]:
    """(exit code, all that was said) of a command that is told to stop after its first photo."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "AUTHFACE_OFFLINE": "1"},
    ) as going:
        deadline = time.monotonic() + 200
        while not list(out.glob("*.png")):
            assert going.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for number in numbers:
            going.send_signal(number)
            time.sleep(0.05)  # two that wait to be heard would be one
        said, _ = going.communicate(timeout=120)
    return going.returncode, said


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_signal_ends_it_in_order_and_the_same_command_goes_on(
    command: list[str], tmp_path: Path, number: int, name: str
) -> None:
    out = tmp_path / "out"
    code, said = stopped(command, out, number)
    pictures = sorted(out.glob("*.png"))
    count = len(pictures)
    assert code == 128 + number, said
    assert 1 <= count < PHOTOS
    assert f"Stopped by {name}: {count} of {PHOTOS} photos are done." in said
    assert f"The same command goes on with the other {PHOTOS - count} photo" in said
    assert said.count("topped") == 1
    assert all(read_sidecar(picture) for picture in pictures)
    assert len(list(out.iterdir())) == 2 * count  # nothing half-written
    assert not (tmp_path / "page.html").exists()
    done = CliRunner().invoke(app, command[3:])
    assert done.exit_code == 0, done.output
    assert done.output.count("done before") == count
    assert (tmp_path / "page.html").exists()


def test_a_second_signal_ends_it_at_once(command: list[str], tmp_path: Path) -> None:
    code, said = stopped(command, tmp_path / "out", signal.SIGTERM, signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert "stopping when what is in hand is done; a second time ends it at once" in said
    assert "Stopped by" not in said


def test_before_the_work_and_after_it_a_signal_breaks_off() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with hearing("nothing yet.", "Again."):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)  # broken off

    with pytest.raises(ToldToStop, match=r"Stopped by SIGTERM: nothing yet\. Again\.") as told:
        work()
    assert told.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_the_parent_has_silenced_stays_silent() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hearing("nothing yet.") as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
