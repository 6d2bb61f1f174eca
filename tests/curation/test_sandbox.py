from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curation.config import DecoderConfig
from curation.sandbox import Sandbox
from data_manifests.errors import ConfigError, UnreadablePhoto

Srgb = NDArray[np.uint8]
WritePhoto = Callable[..., Path]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def slow_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 144 megapixels in a small file: a second of work and half a gigabyte."""
    path = tmp_path_factory.mktemp("slow") / "slow.png"
    Image.new("RGB", (12_000, 12_000), (90, 80, 70)).save(path, compress_level=1)
    return path


def child_of(sandbox: Sandbox) -> int:
    assert sandbox._child is not None
    return sandbox._child.pid


def test_pixels_and_facts_come_through_unchanged(
    sandbox: Sandbox, write_photo: WritePhoto, portrait: Srgb
) -> None:
    exif = Image.Exif()
    exif[0x0110] = "Camera"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(70_000)
    photo = sandbox.read(write_photo(portrait, "a.png", exif=exif.tobytes(), icc_profile=icc))
    assert np.array_equal(photo.pixels_HWC, portrait)
    assert photo.facts.icc == icc
    assert photo.facts.capture is not None
    assert photo.facts.capture.camera == "Camera"
    assert not photo.pixels_HWC.flags.writeable


def test_one_child_serves_many_files(sandbox: Sandbox, write_photo: WritePhoto) -> None:
    path = write_photo(np.zeros((8, 8, 3), np.uint8))
    sandbox.look(path)
    first = child_of(sandbox)
    sandbox.read(path)
    assert child_of(sandbox) == first


def test_an_old_child_is_replaced(write_photo: WritePhoto) -> None:
    path = write_photo(np.zeros((8, 8, 3), np.uint8))
    with Sandbox(DecoderConfig(files_per_process=1)) as sandbox:
        sandbox.look(path)
        first = child_of(sandbox)
        sandbox.look(path)
        assert child_of(sandbox) != first


def test_a_refused_file_leaves_the_child_alive(
    sandbox: Sandbox, write_photo: WritePhoto, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnreadablePhoto, match="damaged"):
        sandbox.read(tmp_path / "bad.jpg")
    first = child_of(sandbox)
    sandbox.read(write_photo(np.zeros((8, 8, 3), np.uint8)))
    assert child_of(sandbox) == first


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(signal.SIGSEGV, "decoder_crash"), (signal.SIGKILL, "memory"), (signal.SIGXCPU, "timeout")],
)
def test_a_child_that_dies_costs_its_file_only(
    sandbox: Sandbox, slow_photo: Path, write_photo: WritePhoto, sent: int, reason: str
) -> None:
    small = write_photo(np.zeros((8, 8, 3), np.uint8))
    sandbox.look(small)
    killer = threading.Timer(0.2, os.kill, (child_of(sandbox), sent))
    killer.start()
    with pytest.raises(UnreadablePhoto) as caught:
        sandbox.read(slow_photo)
    killer.join()
    assert caught.value.reason == reason
    assert sandbox.read(small).pixels_HWC.shape == (8, 8, 3)


def test_a_child_that_hangs_is_killed_in_time(slow_photo: Path, write_photo: WritePhoto) -> None:
    small = write_photo(np.zeros((8, 8, 3), np.uint8))
    with Sandbox(DecoderConfig(timeout_s=0.25)) as sandbox:
        sandbox.look(small)
        hung = child_of(sandbox)
        os.kill(hung, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(UnreadablePhoto) as caught:
            sandbox.read(small)
        assert caught.value.reason == "timeout"
        assert time.monotonic() - started < 5
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)
        assert sandbox.look(small).width == 8


def test_a_file_that_needs_too_much_memory_is_refused(slow_photo: Path) -> None:
    with Sandbox(DecoderConfig(memory_mb=700)) as sandbox:
        with pytest.raises(UnreadablePhoto) as caught:
            sandbox.read(slow_photo)
        assert caught.value.reason == "memory"


def test_the_child_sees_no_secrets(
    sandbox: Sandbox, write_photo: WritePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "canary")
    sandbox.look(write_photo(np.zeros((8, 8, 3), np.uint8)))
    environment = Path(f"/proc/{child_of(sandbox)}/environ")
    if not environment.exists():
        pytest.skip("this system does not show the environment of a process")
    assert b"canary" not in environment.read_bytes()


def test_a_child_that_can_not_start_is_a_clear_error(
    write_photo: WritePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with Sandbox() as sandbox, pytest.raises(ConfigError, match="does not start"):
        sandbox.look(write_photo(np.zeros((8, 8, 3), np.uint8)))
