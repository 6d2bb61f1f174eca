"""Model files are fetched from a real server, and kept only if they are the published ones."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from curation import models
from curation.models import fetch_model, find_model, model_named, models_folder, verify_model
from data_manifests.errors import ConfigError, RemoteError, StorageError

RIGHT = bytes(range(256)) * 1200  # 300 kB: more than one piece


@dataclass
class Server:
    """A server on loopback whose answer the test decides."""

    url: str = ""
    body: bytes = RIGHT
    says: int | None = None  # Content-Length, if it isn't the truth
    status: int = 200
    location: str = ""
    wait_s: float = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            time.sleep(state.wait_s)
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            length = len(state.body) if state.says is None else state.says
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = False
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file belongs: a cache of its own, and a pinned model of 300 kB."""
    for name in ("AUTHFACE_MODELS", "AUTHFACE_MODELS_URL", "AUTHFACE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pinned = replace(
        model_named("yunet"), size_bytes=len(RIGHT), sha256=hashlib.sha256(RIGHT).hexdigest()
    )
    monkeypatch.setattr(models, "MODELS", (pinned, model_named("sface")))
    return models_folder() / pinned.file


def test_the_right_file_is_kept_and_asked_for_once(server: Server, place: Path) -> None:
    assert find_model("yunet") is None
    assert fetch_model("yunet", base_url=server.url) == place
    assert place.read_bytes() == RIGHT
    assert place.stat().st_mode & 0o777 == 0o644
    assert find_model("yunet") == place
    assert fetch_model("yunet", base_url=server.url) == place
    assert server.asked == ["/face_detection_yunet/face_detection_yunet_2023mar.onnx"]


def test_a_mirror_can_be_named_in_the_environment(
    server: Server, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHFACE_MODELS_URL", f"{server.url}/mirror/")
    fetch_model("yunet")
    assert server.asked[0].startswith("/mirror/face_detection_yunet/")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": RIGHT[:-1] + b"x"}, "another file"),
        ({"body": RIGHT[:100_000], "says": len(RIGHT)}, "broke off after 100000"),
        ({"body": RIGHT[:100_000]}, "broke off"),
        ({"body": RIGHT + b"more"}, "larger"),
        ({"body": b"gone", "status": 404}, "answered 404"),
        ({"body": b"", "status": 500}, "answered 500"),
    ],
    ids=["other bytes", "cut off", "short", "too large", "gone", "failing"],
)
def test_anything_else_leaves_nothing_behind(
    changes: dict[str, object], said: str, server: Server, place: Path
) -> None:
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(RemoteError, match=said):
        fetch_model("yunet", base_url=server.url)
    assert list(place.parent.iterdir()) == []


def test_a_file_without_end_is_left_after_its_size(server: Server, place: Path) -> None:
    server.body = RIGHT * 40
    with pytest.raises(RemoteError, match="larger"):
        fetch_model("yunet", base_url=server.url)
    assert list(place.parent.iterdir()) == []


def test_a_server_that_does_not_answer_is_given_up(server: Server) -> None:
    server.wait_s = 0.6
    with pytest.raises(RemoteError, match="timed out"):
        fetch_model("yunet", base_url=server.url, timeout_s=0.2)


def test_a_server_that_is_down_says_where_to_put_the_file(place: Path) -> None:
    with pytest.raises(RemoteError, match="AUTHFACE_MODELS"):
        fetch_model("yunet", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["AUTHFACE_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(
    name: str, server: Server, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="forbids"):
        fetch_model("yunet", base_url=server.url)
    assert server.asked == []
    place.parent.mkdir(parents=True)
    place.write_bytes(RIGHT)
    assert fetch_model("yunet", base_url=server.url) == place


@pytest.mark.parametrize("url", ["http://example.org/models", "ftp://127.0.0.1/", "file:///etc"])
def test_only_https_is_trusted_beyond_this_machine(url: str, place: Path) -> None:
    with pytest.raises(ConfigError, match="no safe address"):
        fetch_model("yunet", base_url=url)
    assert not place.exists()


def test_a_server_can_not_send_us_to_an_unsafe_address(server: Server) -> None:
    server.status, server.location = 302, "http://example.org/model.onnx"
    with pytest.raises(ConfigError, match="no safe address"):
        fetch_model("yunet", base_url=server.url)


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(b"damaged")
    fetch_model("yunet", base_url=server.url)
    assert place.read_bytes() == RIGHT


def test_two_may_fetch_at_once(server: Server, place: Path) -> None:
    server.wait_s = 0.1
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda _: fetch_model("yunet", base_url=server.url), range(4)))
    assert set(places) == {place}
    assert [p.name for p in place.parent.iterdir()] == [place.name]
    verify_model(place, "yunet")


def test_a_cache_that_can_not_be_written_is_a_storage_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="can't be written"):
        fetch_model("yunet", base_url=server.url)


def test_the_named_folder_or_file_comes_before_the_cache(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(RIGHT)
    renamed = tmp_path / "mine.onnx"
    renamed.write_bytes(RIGHT)
    monkeypatch.setenv("AUTHFACE_MODELS", str(renamed))
    assert find_model("yunet") == renamed
    assert find_model("sface") is None  # one file is not every model
    monkeypatch.setenv("AUTHFACE_MODELS", str(tmp_path))
    assert find_model("yunet") == place
    (tmp_path / place.name).write_bytes(RIGHT)
    assert find_model("yunet") == tmp_path / place.name


def test_a_wrong_or_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.onnx").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"wrong\.onnx is not the yunet file"):
        verify_model(tmp_path / "wrong.onnx", "yunet")
    with pytest.raises(ConfigError, match="can't be read"):
        verify_model(tmp_path / "absent.onnx", "yunet")
    with pytest.raises(ConfigError, match="Known are"):
        verify_model(tmp_path / "wrong.onnx", "resnet")


def test_the_pinned_file_is_the_published_one(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    verify_model(shared / "models/face_detection_yunet_2023mar.onnx", "yunet")
