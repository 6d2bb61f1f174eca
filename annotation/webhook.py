"""A listener for Label Studio's webhooks: a call is a wake-up and nothing more.

Calls are unsigned, not repeated, and anybody on the machine could make one, so nothing in them is
trusted or even read: whoever is woken reads the server. Network: one port on loopback.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar

__all__ = ["ACTIONS", "HEADER", "Listener"]

HEADER = "X-AuthFace-Wake"
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
LARGEST = 64 << 20  # bytes; a call carries the answer and the whole form with it
SLOWEST_S = 5.0  # the server waits for our reply while a person waits for Submit
_PIECE = 1 << 16


class Listener:
    """Context manager: listens on loopback and remembers that somebody called.

    The path and the header's value are drawn anew each time, so that an old caller, or another
    program of the machine, wakes nobody.
    """

    def __init__(self, port: int = 0) -> None:
        self._secret = secrets.token_urlsafe(24)
        self._path = f"/{secrets.token_urlsafe(12)}"
        self._woken = threading.Event()
        handler = type("Handler", (_Handler,), {"told": (self._path, self._secret, self._woken)})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What to register on the server."""
        return f"http://127.0.0.1:{self._server.server_port}{self._path}"

    @property
    def headers(self) -> dict[str, str]:
        """What the server must send along; every user of the server can read it there."""
        return {HEADER: self._secret}

    def wait(self, seconds: float) -> bool:
        """Wait for a call, at most so long; whether one came since the last wait."""
        woken = self._woken.wait(seconds)
        self._woken.clear()
        return woken

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    told: ClassVar[tuple[str, str, threading.Event]]
    timeout = SLOWEST_S
    server_version = "AuthFace"
    sys_version = ""

    def do_POST(self) -> None:
        path, secret, woken = self.told
        given = self.headers.get(HEADER, "")
        known = hmac.compare_digest(self.path.encode(), path.encode())
        # Both are compared in any case, and in the same time whatever is wrong.
        known &= hmac.compare_digest(given.encode(), secret.encode())
        status = self._swallow() if known else 404
        if status == 200:
            woken.set()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _swallow(self) -> int:
        """Read the body away: a server whose call is cut short notes a failure."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            return 411
        left = int(length)
        if left > LARGEST:
            self.close_connection = True
            return 413
        while left > 0:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                return 400
            left -= len(piece)
        return 200

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the path is a secret."""
