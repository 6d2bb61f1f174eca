"""What goes wrong on the wire, against real sockets: one clear line each, and never the token."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from annotation.config import AnnotateConfig
from annotation.connect import open_studio
from annotation.server import LocalServer
from annotation.studio import Studio
from data_manifests.errors import ConfigError, RemoteError
from data_manifests.media import Workspace

TOKEN = "f" * 40


@contextmanager
def answering(status: int, kind: str, body: str, **headers: str) -> Iterator[str]:
    """A web server that answers everything in the same way; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (401, "application/json", '{"detail": "Invalid token."}', "refused the token"),
        (500, "application/json", '{"detail": "boom"}', "failed inside (500)"),
        (502, "text/html", "<html>Bad gateway</html>", "failed inside (502)"),
        (200, "text/html", "<!doctype html><title>Hi</title>", "a web page instead of data"),
        (
            404,
            "text/html",
            "<html>Not found</html>",
            "refused (404) while taking tasks: a web page",
        ),
        (
            400,
            "application/json",
            f'{{"detail": "bad {TOKEN}"}}',
            "refused (400) while taking tasks",
        ),
        (201, "application/json", '{"surprise": 1}', "took 0 of 1 tasks"),
        (201, "application/json", "[broken", "taking tasks"),
    ],
)
def test_a_bad_reply_becomes_one_line(status: int, kind: str, body: str, said: str) -> None:
    with (
        answering(status, kind, body) as url,
        Studio(url, TOKEN) as studio,
        pytest.raises(RemoteError) as caught,
    ):
        studio.add_tasks(1, [{"data": {}}])
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert TOKEN not in message
    assert "<" not in message


def test_a_redirect_is_told_and_not_followed() -> None:
    away = "https://elsewhere.example/login?next=x"
    with (
        answering(302, "text/html", "", Location=away) as url,
        Studio(url, TOKEN) as studio,
        pytest.raises(RemoteError, match=r"redirects to https://elsewhere\.example/login\."),
    ):
        studio.projects()


def test_a_server_that_is_not_there_is_told_with_what_to_do(free_port: Callable[[], int]) -> None:
    with (
        Studio(f"http://127.0.0.1:{free_port()}", TOKEN) as studio,
        pytest.raises(RemoteError, match=r"can't be reached\. Start it with"),
    ):
        studio.projects()


def test_the_token_is_not_in_the_studio_s_repr() -> None:
    assert TOKEN not in repr(Studio("http://127.0.0.1:1", TOKEN))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    return monkeypatch


def test_without_a_server_it_says_how_to_get_one(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="authface annotate serve"):
        open_studio(Workspace(tmp_path), AnnotateConfig())


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("https://labels.example.org", "", "LABEL_STUDIO_API_KEY is not"),
        ("labels.example.org", TOKEN, "is no web address"),
        ("http://labels.example.org", TOKEN, "plain http"),
    ],
)
def test_a_bad_environment_is_refused(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path, url: str, token: str, said: str
) -> None:
    clean_environment.setenv("LABEL_STUDIO_URL", url)
    clean_environment.setenv("LABEL_STUDIO_API_KEY", token)
    with pytest.raises(ConfigError, match=said) as caught:
        open_studio(Workspace(tmp_path), AnnotateConfig())
    assert TOKEN not in str(caught.value)


@pytest.mark.studio
def test_a_wrong_token_is_told_by_the_real_server(label_studio: LocalServer) -> None:
    with Studio(label_studio.url, TOKEN) as studio, pytest.raises(RemoteError) as caught:
        studio.projects()
    assert str(caught.value).endswith("refused the token. Check LABEL_STUDIO_API_KEY.")


@pytest.mark.studio
def test_the_server_has_one_identity_for_everybody(label_studio: LocalServer) -> None:
    other = label_studio.add_person("identity@authface.local")
    with (
        Studio(label_studio.url, label_studio.token) as one,
        Studio(label_studio.url, other) as two,
    ):
        assert one.identity == two.identity
        assert one.version().startswith("1.")


# The SDK renews such a token through a method that pydantic has deprecated.
@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")
@pytest.mark.studio
def test_a_personal_access_token_works_too(label_studio: LocalServer) -> None:
    import httpx

    headers = {"Authorization": f"Token {label_studio.token}"}
    made = httpx.post(f"{label_studio.url}/api/token/", headers=headers, trust_env=False)
    with Studio(label_studio.url, made.json()["token"]) as studio:
        assert isinstance(studio.projects(), dict)
