"""What stands between a browser and Gradio: only the ways in that the page needs, with limits.

Gradio would fetch a web address that is given in place of an upload, and it has more addresses than
the page uses. Here a request passes only if its address is on the list, it comes from the page
itself, it is not too large or too slow, and every file that it names lies in the page's own folder.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from restore.app_folder import AppFolder

__all__ = ["MOST_UPLOAD", "Guard"]

MOST_UPLOAD = 200 * 2**20  # bytes of one photo: a 16-bit TIFF of 35 megapixels
_MOST_HELD = 2_000_000_000  # bytes in the folder
_MOST_WORDS = 200_000  # bytes of any other request
_UPLOADS_AT_ONCE = 4
_UPLOAD_S = 300.0
_WORDS_S = 20.0

_READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout)/?"
    r"|/(assets|static|svelte)/.*"
    r"|/gradio_api/(info|openapi\.json|app_id|user|login_check|startup-events|theme\.css)/?"
    r"|/gradio_api/(queue/data|queue/status|upload_progress|heartbeat/\w+)"
    r"|/gradio_api/call/\w+/\w+|/gradio_api/file=.*"
)
_WRITE = re.compile(
    r"/login/?|/gradio_api/(upload|queue/join|cancel|reset)/?|/gradio_api/(call|run)/\w+/?"
)
_FILE = "/gradio_api/file="
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# Gradio's page has scripts and styles in it, and makes its HTML from templates by eval; none of
# them may ask any address but this server's.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _RefusedError(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Guard:
    """ASGI middleware around Gradio's application."""

    def __init__(self, app: App, folder: AppFolder, *, loopback: bool) -> None:
        self._app = app
        self._folder = folder
        self._loopback = loopback
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # Gradio needs no sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        reply = _Reply(send, scope["path"])
        try:
            self._check(scope)
            await self._pass(scope, receive, reply)
        except _RefusedError as no:
            await reply.refuse(no)
        except TimeoutError:
            await reply.refuse(_RefusedError(408, "The request took too long."))

    def _check(self, scope: Scope) -> None:
        path, method = scope["path"], scope["method"]
        allowed = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(method)
        if allowed is None or not allowed.fullmatch(path):
            raise _RefusedError(404, "There is nothing here.")
        host = _header(scope, b"host")
        # Another name for this machine means that a foreign page had its name point here.
        if self._loopback and _name_of(host) not in _LOOPBACK:
            raise _RefusedError(421, "This server answers to 127.0.0.1 and localhost only.")
        origin = _header(scope, b"origin")
        if method == "POST" and origin and urlsplit(origin).netloc != host:
            raise _RefusedError(403, "Requests from other pages are not taken.")
        if path.startswith(_FILE):
            self._check_inside(path.removeprefix(_FILE))

    async def _pass(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        if scope["method"] != "POST":
            await self._app(scope, receive, reply)
        elif scope["path"].startswith("/gradio_api/upload"):
            await self._upload(scope, receive, reply)
        else:
            async with asyncio.timeout(_WORDS_S):
                body = await _whole(receive)
            if not scope["path"].startswith("/login"):  # a form with a name and a password
                self._check_words(body, _header(scope, b"host"))
            await self._app(scope, _again(body, receive), reply)

    async def _upload(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        length = _header(scope, b"content-length")
        most = MOST_UPLOAD + 10_000  # the form around the photo
        if length.isdigit() and int(length) > most:
            raise _too_large()
        if self._uploads >= _UPLOADS_AT_ONCE:
            raise _RefusedError(429, "Too many uploads at once. Try again in a minute.")
        if await asyncio.to_thread(lambda: self._folder.held_bytes) > _MOST_HELD:
            raise _RefusedError(503, "The server holds too many photos. Try again in ten minutes.")
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise _too_large()
            return message

        self._uploads += 1
        try:
            async with asyncio.timeout(_UPLOAD_S):
                await self._app(scope, counted, reply)
        finally:
            self._uploads -= 1

    def _check_words(self, body: bytes, host: str) -> None:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(400, "This is no JSON.") from error
        for path, url in _files_in(said):
            if path is not None:
                self._check_inside(path)
            # A page sends back the address that it was given for its own upload.
            if url and not _is_own(url, host):
                raise _RefusedError(403, "Upload the photo: addresses are not fetched.")

    def _check_inside(self, path: str) -> None:
        try:
            inside = Path(path).resolve().is_relative_to(self._folder.path)
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside or not path.startswith("/"):
            raise _RefusedError(403, "Only files that were uploaded here can be used.")


class _Reply:
    """The answer on its way to the browser, with headers that keep it from doing harm."""

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._begun = False
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        policy = "sandbox; default-src 'none'" if path.startswith(_FILE) else _POLICY
        self._headers.append((b"content-security-policy", policy.encode()))
        if path.startswith("/gradio_api/"):
            self._headers.append((b"cache-control", b"no-store"))

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            ours = {name for name, _ in self._headers}
            theirs = [(n, v) for n, v in message.get("headers", []) if n.lower() not in ours]
            message = {**message, "headers": [*theirs, *self._headers]}
        await self._send(message)

    async def refuse(self, no: _RefusedError) -> None:
        """Say no, unless an answer has begun: that is broken off then."""
        if self._begun:
            raise no
        # Gradio's page shows the "detail" of an error.
        body = json.dumps({"detail": no.words, "error": no.words}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),  # what is still being sent is not wanted
        ]
        await self({"type": "http.response.start", "status": no.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _files_in(said: object) -> Iterator[tuple[str | None, str | None]]:
    """(path, url) of everything that looks like a file, however deep."""
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            path, url = one.get("path"), one.get("url")
            if isinstance(path, str) or isinstance(url, str):
                yield (path if isinstance(path, str) else None, url if url else None)
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _is_own(url: str, host: str) -> bool:
    parts = urlsplit(str(url))
    return parts.netloc in ("", host) and parts.path.startswith(_FILE)


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MOST_WORDS:
            raise _RefusedError(413, "The request is too long.")
        if not message.get("more_body"):  # the end, or the browser has gone
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def _header(scope: Scope, name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in scope["headers"] if n.lower() == name), "")


def _name_of(host: str) -> str:
    return host if host.endswith("]") else host.rsplit(":", 1)[0]


def _too_large() -> _RefusedError:
    most = MOST_UPLOAD // 2**20
    return _RefusedError(413, f"The photo is too large: at most {most} MB are taken.")
