"""`authface models` on restorers, against a hub of one's own: a real server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
from safetensors.torch import save_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/restorer"
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Hub(ThreadingHTTPServer):
    """As much of the hub's protocol as fetching a model takes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.asked: list[str] = []
        self.breaks_at = ""  # the file whose bytes stop half way

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        if path.startswith(f"/api/models/{REPO}"):
            self._tell(path)
        else:
            self._send_file(path, with_body=True)

    def do_HEAD(self) -> None:
        self._send_file(unquote(urlsplit(self.path).path), with_body=False)

    def log_message(self, *args: Any) -> None:
        pass

    def _tell(self, path: str) -> None:
        files = [p for p in sorted(self.server.folder.rglob("*")) if p.is_file()]
        names = [p.relative_to(self.server.folder).as_posix() for p in files]
        told: Any = {"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
        if "/tree/" in path:
            told = [
                {"type": "file", "path": n, "size": f.stat().st_size, "oid": _etag(f)}
                for n, f in zip(names, files, strict=True)
            ]
        self._send(json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _send_file(self, path: str, *, with_body: bool) -> None:
        name = path.partition("/resolve/")[2].partition("/")[2]
        file = self.server.folder / name
        if not path.startswith(f"/{REPO}/resolve/") or not file.is_file():
            self.send_error(404)
            return
        headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT}
        broken = with_body and name == self.server.breaks_at
        self._send(file.read_bytes(), headers, with_body=with_body, broken=broken)

    def _send(
        self, data: bytes, headers: dict[str, str], *, with_body: bool = True, broken: bool = False
    ) -> None:
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data[: len(data) // 2] if broken else data)
        self.close_connection = broken


def _etag(file: Path) -> str:
    data = file.read_bytes()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def make_model(folder: Path) -> Path:
    """A restorer's folder in diffusers' layout, its weights a few numbers."""
    index = {"_class_name": "StableDiffusionXLControlNetPipeline"}
    for number, part in enumerate(("unet", "controlnet")):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text("{}")
        save_file({"weight": torch.arange(64.0) + number}, folder / part / WEIGHTS)
        index[part] = ["diffusers", part]  # type: ignore[assignment]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A restorer\n")
    # Not to be fetched: a second copy in half precision, a pickle beside, a checkpoint in one file.
    save_file({"weight": torch.arange(64.0).half()}, folder / "unet/x.fp16.safetensors")
    shutil.move(
        folder / "unet/x.fp16.safetensors", folder / "unet" / WEIGHTS.replace(".s", ".fp16.s")
    )
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    save_file({"weight": torch.zeros(1)}, folder / "all_in_one.safetensors")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    server = Hub(make_model(tmp_path / "published"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def authface(tmp_path: Path, hub: Hub) -> Any:
    """Run `authface models` with the hub at hand and caches of its own."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTHFACE_", "HF_"))}
        own = {"XDG_CACHE_HOME": tmp_path / "cache", "HF_HOME": tmp_path / "hf"}
        settings = {k: str(v) for k, v in own.items()} | {"HF_ENDPOINT": hub.url, "COLUMNS": "300"}
        command = [sys.executable, "-W", "ignore", "-m", "authface.cli", "models", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=kept | settings | env
        )

    return run


def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "hf/hub/models--someone--restorer/snapshots" / COMMIT


def test_a_restorer_is_fetched_pinned_listed_and_verified(
    authface: Any, hub: Hub, tmp_path: Path
) -> None:
    got = authface("get", REPO)
    assert got.returncode == 0, got.stderr
    assert f"{REPO}@{COMMIT} (apache-2.0)" in got.stdout
    assert "To use this very version" in got.stderr
    there = {p.relative_to(snapshot(tmp_path)).as_posix() for p in snapshot(tmp_path).rglob("*.*")}
    assert f"unet/{WEIGHTS}" in there
    assert not [n for n in there if n.endswith(".bin") or ".fp16." in n or "all_in_one" in n]

    listed = authface("list").stdout
    [row] = [line for line in listed.splitlines() if line.startswith(f"{REPO}@{COMMIT[:12]}")]
    assert "apache-2.0" in row
    assert "not taken down" not in row

    for name in (REPO, f"{REPO}@{COMMIT}", str(snapshot(tmp_path))):
        right = authface("verify", name)
        assert right.returncode == 0, right.stderr
        assert "every file is as the record of its fetching says" in right.stdout


def test_what_was_fetched_needs_no_network_and_offline_opens_none(authface: Any, hub: Hub) -> None:
    refused = authface("get", REPO, "--offline")
    assert refused.returncode == 2
    assert "--offline, AUTHFACE_OFFLINE or HF_HUB_OFFLINE forbids the network" in " ".join(
        refused.stderr.split()
    )
    assert f"online, with `authface models get {REPO}`" in " ".join(refused.stderr.split())
    assert hub.asked == []
    assert authface("get", REPO).returncode == 0
    hub.asked.clear()
    for name in (REPO, f"{REPO}@{COMMIT}"):
        again = authface("get", name, "--offline")
        assert again.returncode == 0, again.stderr
        assert "is in the cache" in again.stdout
    assert authface("get", REPO, AUTHFACE_OFFLINE="1").returncode == 0
    assert hub.asked == []


def test_a_changed_byte_and_a_pickle_are_named(authface: Any, tmp_path: Path) -> None:
    assert authface("get", REPO).returncode == 0
    weights = snapshot(tmp_path) / "unet" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.resolve().write_bytes(data)
    torch.save({}, snapshot(tmp_path) / "unet" / "other.ckpt")
    wrong = authface("verify", REPO)
    assert wrong.returncode == 2
    assert f"unet/{WEIGHTS} is another file" in wrong.stderr
    assert "unet/other.ckpt is pickled" in wrong.stderr


def test_a_half_fetched_model_is_not_used(authface: Any, hub: Hub, tmp_path: Path) -> None:
    hub.breaks_at = f"unet/{WEIGHTS}"
    broken = authface("get", REPO)
    assert broken.returncode != 0
    assert "Traceback" not in broken.stderr
    offline = authface("get", REPO, "--offline")
    assert offline.returncode != 0
    hub.breaks_at = ""
    assert authface("get", REPO).returncode == 0
    # Fetched whole by another program, and cut off on the disk since.
    weights = snapshot(tmp_path) / "controlnet" / WEIGHTS
    weights.resolve().write_bytes(weights.read_bytes()[:-8])
    cut = authface("get", REPO, "--offline")
    assert cut.returncode != 0
    assert "is not whole" in cut.stderr


def test_a_model_of_pickles_alone_is_refused_before_anything_is_fetched(
    authface: Any, hub: Hub, tmp_path: Path
) -> None:
    (hub.folder / "controlnet" / WEIGHTS).unlink()
    torch.save({}, hub.folder / "controlnet" / "diffusion_pytorch_model.bin")
    refused = authface("get", REPO)
    assert refused.returncode != 0
    assert "pickled" in refused.stderr
    assert not [a for a in hub.asked if "/resolve/" in a]


def test_an_unknown_model_is_one_plain_line(authface: Any) -> None:
    for answer in (authface("get", "someone/unknown"), authface("verify", "someone/unknown")):
        assert answer.returncode != 0
        assert "someone/unknown" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_a_folder_that_nobody_took_down_shows_its_hash(authface: Any, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    with_pickle = authface("verify", str(folder))
    assert with_pickle.returncode == 2
    (folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    plain = authface("verify", str(folder))
    assert plain.returncode == 0
    assert "Nothing was taken down" in plain.stderr
    from restore.model import weights_sha256

    assert weights_sha256(folder) in plain.stdout
    (folder / "authface.json").write_text(json.dumps({"model_sha256": weights_sha256(folder)}))
    assert "as authface.json says" in authface("verify", str(folder)).stdout
    (folder / "authface.json").write_text(json.dumps({"model_sha256": "0" * 64}))
    assert "not the ones that authface.json names" in authface("verify", str(folder)).stderr


def test_a_folder_of_something_else_is_no_model(tmp_path: Path) -> None:
    from data_manifests.errors import ConfigError
    from restore.checking import check_restorer

    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="holds no model's weights"):
        check_restorer(str(tmp_path))
