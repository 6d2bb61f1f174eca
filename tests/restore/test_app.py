"""The web page over HTTP, as a stranger and as a program use it."""

from __future__ import annotations

import gc
import http.client
import io
import json
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from curation.config import FacesConfig
from curation.faces import NamedFinder
from data_manifests.errors import InputError
from restore.outcome import read_sidecar

pytest.importorskip("gradio", reason="the extra `app` is not installed")

from restore import app_guard
from restore.app import serving
from restore.app_desk import Asked, Desk
from restore.app_folder import AppFolder
from restore.app_watch import Progress

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Gradio leaves event loops open,
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),  # and knows pandas 3
]

API = "/gradio_api"
ASKED = Asked(faces="all", fidelity=0.0, seed=0, steps=2, upscale=1, colour="wavelet")


@dataclass(frozen=True)
class Site:
    address: str
    port: int
    desk: Desk
    gate: threading.Event  # closed, no photo is searched

    @property
    def folder(self) -> Path:
        return self.desk.folder.path

    def upload(self, name: str, data: bytes) -> httpx.Response:
        return httpx.post(f"{self.address}{API}/upload", files={"files": (name, data)}, timeout=60)

    def uploaded(self, name: str, data: bytes) -> dict[str, Any]:
        (path,) = self.upload(name, data).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def call(self, what: str, *data: object) -> httpx.Response:
        return httpx.post(f"{self.address}{API}/call/{what}", json={"data": data}, timeout=60)

    def result(self, what: str, *data: object) -> tuple[str, Any]:
        """(how it ended, what was given) of a call, as docs/app.md shows it for curl."""
        event = self.call(what, *data).json()["event_id"]
        found = httpx.get(f"{self.address}{API}/call/{what}/{event}", timeout=60).text
        lines = found.strip().split("\n")
        return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


@pytest.fixture(scope="module")
def site(make_restorer, marked, free_port, tmp_path_factory: Any) -> Iterator[Site]:
    gate = threading.Event()
    gate.set()

    def find(pixels_HWC: np.ndarray) -> list[Any]:
        gate.wait(60)
        return [marked] if pixels_HWC.shape[0] == 512 else []

    finder = NamedFinder("by-hand", True, lambda: find, FacesConfig())
    port = free_port()
    parent = tmp_path_factory.mktemp("app")
    with (
        AppFolder(parent) as folder,
        Desk(make_restorer(), finder, folder) as desk,
        serving(desk, port=port) as address,
    ):
        yield Site(address.rstrip("/"), port, desk, gate)
    assert list(parent.iterdir()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what Gradio leaves open is closed here, and not in somebody else's test


@pytest.fixture(scope="module")
def jpeg(portrait: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(portrait).save(out, "JPEG", quality=95)
    return out.getvalue()


def test_it_listens_on_loopback_only(site: Site) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    ours = [place for place in listening if place.endswith(f":{site.port:04X}")]
    assert ours == [f"0100007F:{site.port:04X}"]


def test_the_page_carries_its_limits_and_names_no_other_server(site: Site) -> None:
    page = httpx.get(site.address)
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    config = httpx.get(f"{site.address}/config").json()
    assert config["analytics_enabled"] is False
    assert config["share_token"] if config.get("is_share") else True
    for word in ("fonts.googleapis", "cdn.jsdelivr", "cdnjs"):
        assert word not in page.text
        assert word not in httpx.get(f"{site.address}/theme.css").text


def test_a_program_restores_a_photo_and_gets_its_name_and_marks(site: Site, jpeg: bytes) -> None:
    photo = site.uploaded("Ärmel (1).jpg", jpeg)
    how, (faces,) = site.result("faces", photo)
    assert how == "complete"
    assert [(f["face"], f["reason"]) for f in faces] == [(0, "")]
    how, (output, record) = site.result("restore", photo, "all", 0.5, 7, 2, 2, "adain", "face")
    assert how == "complete"
    assert output["orig_name"] == "Ärmel (1).jpg"
    said = httpx.get(record["url"]).json()
    assert said["settings"]["seed"] == 7
    assert said["faces"][0]["status"] == "restored"
    answer = httpx.get(output["url"])
    assert answer.headers["content-security-policy"].startswith("sandbox")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (1024, 1024)
        assert b"compositeWithTrainedAlgorithmicMedia" in picture.info["xmp"]


def test_gradios_own_client_serves_as_an_api(site: Site, photo: Path, tmp_path: Path) -> None:
    import gradio_client

    client = gradio_client.Client(site.address, verbose=False, download_files=str(tmp_path / "got"))
    file = gradio_client.handle_file(str(photo))
    asked = ("largest", 0, 0, 2, 1, "wavelet", "head")
    output, record = client.predict(file, *asked, api_name="/restore")
    assert Path(output).name == "portrait.png"
    assert Path(output).read_bytes()[:4] == b"\x89PNG"
    said = json.loads(Path(record).read_text())
    assert said["output"]["path"] == "portrait.png"
    assert said["settings"]["region"] == "head"
    names = set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
    assert names == {"/faces", "/restore"}
    client.close()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("notes.jpg", b"not a picture at all", "no format that is taken in"),
        ("empty.png", b"", "empty"),
        ("page.html", b"<html><script>alert(1)</script>", "no format that is taken in"),
        ("cut.jpg", b"half", "can't be decoded"),
        ("bomb.png", b"large", "120 million pixels"),
        ("sea.png", b"faceless", ""),
    ],
)
def test_wrong_uploads_get_plain_words(
    site: Site, jpeg: bytes, name: str, data: bytes, said: str
) -> None:
    made = {"half": jpeg[: len(jpeg) // 2]}
    made |= {b: png(s) for b, s in {"large": (12_000, 11_000), "faceless": (300, 200)}.items()}
    photo = site.uploaded(name, made.get(data.decode(), data))
    how, told = site.result("faces", photo)
    if said:
        assert how == "error"
        assert said in told["error"]
        assert "Traceback" not in str(told)
        assert str(site.folder) not in str(told)
        assert "toml" not in str(told)
    else:
        assert (how, told) == ("complete", [[]])
        _, (output, record) = site.result("restore", photo, "all", 0, 0, 2, 1, "none", "face")
        assert output is None
        assert httpx.get(record["url"]).json()["status"] == "nothing"


def png(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("1", size).save(out, "PNG")
    return out.getvalue()


def test_settings_are_checked_on_the_server(site: Site, jpeg: bytes) -> None:
    photo = site.uploaded("a.jpg", jpeg)
    good = ("all", 0, 0, 2, 1, "wavelet", "face")
    wrong = ((0, ""), (0, "nobody"), (1, 7), (2, -1), (3, 10**6), (4, 99), (5, "red"), (6, "hat"))
    for place, value in wrong:
        values = [value if place == n else v for n, v in enumerate(good)]
        how, told = site.result("restore", photo, *values)
        assert how == "error", (place, value)
        assert told["error"], (place, value)
        assert "Something went wrong" not in told["error"], (place, value)


@pytest.fixture(scope="module")
def private() -> Iterator[tuple[int, list[Any]]]:
    """A port that nobody but this machine can reach, and who connected to it."""
    seen: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        end = threading.Event()

        def listen() -> None:
            while not end.is_set():
                try:
                    seen.append(listener.accept()[1])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1], seen
        end.set()
        thread.join()


def test_an_address_in_place_of_a_photo_is_not_fetched(
    site: Site, jpeg: bytes, private: tuple[int, list[Any]]
) -> None:
    port, seen = private
    inside = site.uploaded("a.jpg", jpeg)["path"]
    hosts = ("127.0.0.1", "localhost", "127.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]")
    urls = [f"{scheme}://{host}:{port}/a.jpg" for host in hosts for scheme in ("http", "HTTP")]
    urls += ["http://169.254.169.254/latest/", "file:///etc/passwd", f"gopher://127.1:{port}/"]
    urls += [f"//127.0.0.1:{port}/a.jpg", f"http://127.0.0.1:{port}/gradio_api/file=x"]
    meta = {"_type": "gradio.FileData"}
    for url in urls:
        for file in (
            {"path": url, "meta": meta},
            {"path": url, "url": url, "meta": meta},
            {"path": inside, "url": url, "meta": meta},
        ):
            for body in ([file], [[{"deep": file}]]):
                assert site.call("faces", *body).status_code == 403, file
        for address in (f"file={url}", f"proxy={url}", f"stream/{url}"):
            status = httpx.get(f"{site.address}{API}/{address}").status_code
            assert status in (403, 404), address
    odd = {"content-type": "application/vnd.x+json"}  # not the type, but what is in it, counts
    body = json.dumps({"data": [{"path": urls[0], "meta": meta}]})
    answer = httpx.post(f"{site.address}{API}/call/faces", content=body, headers=odd)
    assert answer.status_code == 403
    assert seen == []


def test_files_outside_its_folder_are_neither_read_nor_given(
    site: Site, tmp_path: Path, photo: Path
) -> None:
    link = site.folder / "link.png"
    link.symlink_to(photo)
    up = f"{site.folder}/../../etc/passwd"
    paths = ["/etc/passwd", up, str(photo), str(link), "restore/app.py", "~/.netrc", "\0", ""]
    for path in paths:
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        assert site.call("faces", file).status_code == 403, path
    for path in [*paths[:6], "/etc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd"]:
        answer = raw(site, "GET", f"{API}/file={path}")
        assert answer.status in (403, 404), path
    link.unlink()


def test_other_pages_and_other_ways_in_are_refused(site: Site, jpeg: bytes) -> None:
    rebound = httpx.get(site.address, headers={"host": f"evil.example:{site.port}"})
    assert rebound.status_code == 421
    foreign = httpx.post(
        f"{site.address}{API}/upload",
        files={"files": ("a.jpg", jpeg)},
        headers={"origin": "http://evil.example"},
    )
    assert foreign.status_code == 403
    for path in ("monitoring", "gradio_api/component_server", "gradio_api/vibe-edit", "docs"):
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            assert httpx.request(method, f"{site.address}/{path}").status_code == 404, path


def test_a_photo_that_is_too_large_is_refused_before_or_while_it_comes(
    site: Site, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    huge = raw(site, "POST", f"{API}/upload", {**form, "content-length": str(10**9)})
    assert huge.status == 413
    assert b"at most 200 MB" in huge.read()
    monkeypatch.setattr(app_guard, "MOST_UPLOAD", 300_000)

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        yield from (b"\0" * 100_000 for _ in range(20))

    try:
        answer = httpx.post(f"{site.address}{API}/upload", content=pieces(), headers=form)
        assert answer.status_code == 413
    except httpx.WriteError:
        pass  # it hung up on us in the middle
    monkeypatch.undo()
    assert site.upload("a.jpg", jpeg).status_code == 200


def test_too_many_and_too_slow_requests_leave_the_server_alive(
    site: Site, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n' for _ in range(10**4)
    )
    many = httpx.post(f"{site.address}{API}/upload", content=parts + b"--x--", headers=form)
    assert many.status_code in (400, 413)
    long = httpx.post(f"{site.address}{API}/call/faces", content=b"[" * 300_000)
    assert long.status_code == 413
    assert httpx.post(f"{site.address}{API}/call/faces", content=b"[" * 90_000).status_code == 400
    monkeypatch.setattr(app_guard, "_MOST_HELD", 0)
    assert site.upload("a.jpg", jpeg).status_code == 503
    monkeypatch.undo()
    monkeypatch.setattr(app_guard, "_UPLOADS_AT_ONCE", 0)
    assert site.upload("a.jpg", jpeg).status_code == 429
    monkeypatch.undo()
    monkeypatch.setattr(app_guard, "_WORDS_S", 0.2)
    slow = raw(site, "POST", f"{API}/call/faces", {"content-length": "100"})
    assert slow.status == 408
    names = site.upload("../../../evil.jpg", jpeg).json()
    assert all(Path(name).resolve().is_relative_to(site.folder) for name in names)
    assert site.upload("a.jpg", jpeg).status_code == 200


def raw(site: Site, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    """A request as it stands: httpx would tidy the path and count the bytes."""
    line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    line._validate_path = lambda url: None  # type: ignore[attr-defined]
    line.putrequest(method, path, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        line.putheader(name, value)
    line.endheaders()
    return line.getresponse()


def test_visitors_wait_in_a_short_queue_and_the_rest_are_told(site: Site, jpeg: bytes) -> None:
    photo = site.uploaded("a.jpg", jpeg)
    site.gate.clear()
    try:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: site.call("faces", photo), range(20)))
    finally:
        site.gate.set()
    taken = [a for a in answers if a.status_code == 200]
    refused = [a for a in answers if a.status_code == 503]
    assert 8 <= len(taken) <= 10
    assert len(taken) + len(refused) == 20
    assert "full" in refused[0].text
    ends = [f"{site.address}{API}/call/faces/{a.json()['event_id']}" for a in taken]
    assert all("complete" in httpx.get(end, timeout=60).text for end in ends)


def test_a_photo_that_was_deleted_meanwhile_is_asked_for_again(site: Site, jpeg: bytes) -> None:
    photo = site.uploaded("a.jpg", jpeg)
    Path(photo["path"]).unlink()
    with pytest.raises(InputError, match="Upload it again"):
        site.desk.restore(Path(photo["path"]), ASKED)


def test_what_can_not_be_written_becomes_a_tiff(
    site: Site, portrait: np.ndarray, tmp_path: Path
) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    file = tmp_path / "IMG_1.HEIC"
    heif.from_pillow(Image.fromarray(portrait)).save(file)
    told: list[Progress] = []
    made = site.desk.restore(file, ASKED, told.append)
    assert made.files is not None
    assert [path.name for path in made.files] == ["IMG_1.HEIC.tif", "IMG_1.HEIC.tif.authface.json"]
    assert read_sidecar(made.files[0]) is not None
    assert [(now.stage, now.done, now.share) for now in told] == [
        ("reading", 0, 0),
        ("restoring", 0, 0),
        ("restoring", 0, 0.5),
        ("restoring", 0, 1),
        ("restoring", 1, 1),
        ("writing", 0, 0),
    ]
    assert [label for label, _, _ in made.pairs] == ["Whole photo", "Face 0"]


def test_a_face_that_is_good_is_restored_only_if_it_is_picked(
    make_restorer, finder_of, mark_face, portrait: np.ndarray, tmp_path: Path
) -> None:
    good = {"most_scale": 9, "least_resolution": -99, "least_eye_sharpness": 0, "most_noise": 99}
    restorer = make_restorer(good=good)
    restorer.facts = replace(restorer.facts, size=256)  # a smaller model's faces are not judged
    file = tmp_path / "a.png"
    Image.fromarray(portrait).save(file)
    finder = finder_of(mark_face())
    with AppFolder(tmp_path) as folder, Desk(restorer, finder, folder) as desk:
        (face,) = desk.look(file).faces
        assert face.good
        assert desk.restore(file, ASKED).files is None
        made = desk.restore(file, replace(ASKED, improve_good=True))
        assert made.files is not None
        assert made.outcome.faces[0].status == "restored"


def test_enlarging_beyond_the_limit_is_refused(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    file.write_bytes(png((6000, 4000)))
    wide = Asked(faces="all", fidelity=0.0, seed=0, steps=2, upscale=4, colour="wavelet")
    with pytest.raises(InputError, match="120 million pixels"):
        site.desk.restore(file, wide)


def test_others_get_in_with_a_password_only(
    make_restorer, finder_of, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with AppFolder(tmp_path) as folder, Desk(make_restorer(), finder_of(), folder) as desk:
        with pytest.raises(InputError, match="password"), serving(desk, host="0.0.0.0"):
            pass
        port = free_port()
        with serving(desk, port=port, users={"anna": "long enough"}) as address:
            assert httpx.get(f"{address}config").status_code == 401
            assert httpx.post(f"{address}gradio_api/upload").status_code == 401
            form = {"username": "anna", "password": "long enough"}
            with httpx.Client(base_url=address) as anna:
                assert anna.post("/login", data={**form, "password": "no"}).status_code == 400
                assert anna.post("/login", data=form).status_code == 200
                assert anna.get("/config").status_code == 200
            with pytest.raises(InputError, match="--port"), serving(desk, port=port):
                pass
