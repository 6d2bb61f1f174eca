"""The command `authface app`, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authface.app import read_users
from authface.cli import app
from data_manifests.errors import InputError

pytest.importorskip("gradio", reason="the extra `app` is not installed")


def test_users_are_read_from_a_file_that_nobody_else_may_read(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("anna:long:enough\n\nben:12345678\n")
    file.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_users(file)
    file.chmod(0o600)
    assert read_users(file) == {"anna": "long:enough", "ben": "12345678"}
    for text in ("", "anna:short\n", ":long enough\n"):
        file.write_text(text)
        with pytest.raises(InputError, match="at least one user"):
            read_users(file)
    with pytest.raises(InputError, match="can't be read"):
        read_users(tmp_path / "none")


def test_other_addresses_than_loopback_need_passwords(
    restorer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["app", "--model", str(restorer_folder), "--host", "0.0.0.0"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, InputError)
    assert "--password-file" in str(done.exception)


def test_it_serves_until_it_is_ended_and_leaves_nothing_behind(
    restorer_folder: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ("app", "--model", str(restorer_folder), "--port", str(free_port()))
    # What stands around must not open folders, share the page or count its visitors.
    odd = {"GRADIO_ALLOWED_PATHS": "/", "GRADIO_SHARE": "True", "GRADIO_SERVER_NAME": "0.0.0.0"}
    with subprocess.Popen(
        [sys.executable, "-m", "authface", *words],
        cwd=tmp_path,
        env={**os.environ, **odd, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "ready" in line)
        address = line.split()[-1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"AuthFace: restore faces" in answer.read()
        assert len(list(temporary.glob("authface-app-*"))) == 1
        process.send_signal(signal.SIGTERM)
        assert "deleted" in process.stdout.read()
        assert process.wait(60) == 0
    assert not list(temporary.glob("authface-app-*"))


def test_told_to_end_it_ends_while_a_photo_is_restored(
    restorer_folder: Path, tmp_path: Path, portrait, free_port: Callable[[], int]
) -> None:
    """Python may not end in the middle of a thread that computes: it would abort.

    By SIGTERM, which it takes as Ctrl-C; that is ignored where tests run in the background.
    """
    import httpx
    from PIL import Image

    temporary, photo = tmp_path / "temporary", tmp_path / "photo.png"
    temporary.mkdir()
    Image.fromarray(portrait).save(photo)
    words = ("app", "--model", str(restorer_folder), "--port", str(free_port()))
    with subprocess.Popen(
        [sys.executable, "-m", "authface", *words],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = next(line for line in process.stdout if "ready" in line).split()[-1]
            at = f"{address}gradio_api"
            with photo.open("rb") as file:
                (path,) = httpx.post(f"{at}/upload", files={"files": file}, timeout=60).json()
            given = {"path": path, "meta": {"_type": "gradio.FileData"}}
            for seed in range(6):  # one runs, the others wait
                asked = {"data": [given, "all", 0, seed, 100, 1, "none", "face"]}
                httpx.post(f"{at}/call/restore", json=asked, timeout=60).raise_for_status()
            deadline = time.monotonic() + 60
            while not list(temporary.glob("authface-app-*/work-*/out")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            printed, warned = process.communicate(timeout=120)
        finally:
            process.kill()  # a failure above may not wait for a server that goes on
    assert "deleted" in printed
    assert "terminate called" not in warned
    assert process.returncode == 0
    assert not list(temporary.glob("authface-app-*"))
