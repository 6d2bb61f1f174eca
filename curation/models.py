"""The model files that others publish and we run: where they are, whether they are right, and how
to get them.

The only part of the house that opens a connection to fetch a model. A file is used if its SHA-256
is the one that is written here, whoever it came from.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import platformdirs

from data_manifests.errors import ConfigError, RemoteError, StorageError

__all__ = [
    "MODELS",
    "Model",
    "fetch_model",
    "find_model",
    "is_offline",
    "model_named",
    "models_folder",
    "verify_model",
]

PUBLISHER = "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models"
_PIECE = 1 << 16  # bytes read at once
_SLOWEST = 50_000  # bytes per second; below it a download is given up


@dataclass(frozen=True, slots=True)
class Model:
    """A published model file, pinned. `folder` is its place below the address of a publisher."""

    name: str
    file: str
    folder: str
    size_bytes: int
    sha256: str
    licence: str
    purpose: str
    source: str


MODELS = (
    Model(
        name="yunet",
        file="face_detection_yunet_2023mar.onnx",
        folder="face_detection_yunet",
        size_bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
        purpose="finds faces and five landmarks",
        source="github.com/opencv/opencv_zoo",
    ),
    Model(
        name="sface",
        file="face_recognition_sface_2021dec.onnx",
        folder="face_recognition_sface",
        size_bytes=38_696_353,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        licence="Apache-2.0",
        purpose="tells persons apart (only where consent allows)",
        source="github.com/opencv/opencv_zoo",
    ),
)


def model_named(name: str) -> Model:
    """The model of that name; raises ConfigError if there is none."""
    for model in MODELS:
        if model.name == name:
            return model
    known = ", ".join(m.name for m in MODELS)
    raise ConfigError(f"There is no model {name!r}.", f"Known are {known}.")


def models_folder() -> Path:
    """Where fetched models are kept: `models` in the user's cache."""
    return platformdirs.user_cache_path("authface") / "models"


def is_offline() -> bool:
    """Whether AUTHFACE_OFFLINE or HF_HUB_OFFLINE forbids to fetch anything."""
    values = (os.environ.get(name, "") for name in ("AUTHFACE_OFFLINE", "HF_HUB_OFFLINE"))
    return any(v.strip().lower() in {"1", "true", "yes", "on"} for v in values)


def find_model(name: str) -> Path | None:
    """The model's file: in AUTHFACE_MODELS (a folder, or the file itself), else in the cache.

    It is not opened: verify_model says whether it is the right one.
    """
    model = model_named(name)
    places = [models_folder() / model.file]
    if named := os.environ.get("AUTHFACE_MODELS"):
        places[:0] = [Path(named) / model.file, *_as_file(Path(named), model)]
    return next((p for p in places if p.is_file()), None)


def verify_model(path: Path, model: Model | str) -> None:
    """Raise ConfigError unless the file at `path` is the one that was published."""
    model = model_named(model) if isinstance(model, str) else model
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    if sha256 != model.sha256:
        raise ConfigError(
            f"{path} is not the {model.name} file that was published.",
            f"Move it away and run: authface models get {model.name}",
        )


def fetch_model(name: str, *, base_url: str | None = None, timeout_s: float = 20) -> Path:
    """The model's file, fetched from its publisher into the cache if it isn't there yet.

    `base_url` or AUTHFACE_MODELS_URL names a mirror that has `<folder>/<file>` as the publisher
    does. What arrives is checked before it takes its place, so that two processes may fetch at
    once and a file in the cache is whole. Raises ConfigError (offline, no safe address),
    RemoteError (the server) or StorageError (the disk).
    """
    model = model_named(name)
    place = models_folder() / model.file
    if place.is_file() and _is_right(place, model):
        return place
    if is_offline():
        raise ConfigError(
            f"{model.file} is not there, and AUTHFACE_OFFLINE or HF_HUB_OFFLINE forbids to get it.",
            f"Put it into {models_folder()} or name its folder in AUTHFACE_MODELS.",
        )
    base = base_url or os.environ.get("AUTHFACE_MODELS_URL") or PUBLISHER
    url = f"{base.rstrip('/')}/{model.folder}/{model.file}"
    _require_safe(url)
    with _temporary_beside(place) as (file, temporary):
        for piece in _download(url, model, timeout_s):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        if not _is_right(temporary, model):
            raise RemoteError(
                f"{url} gave another file than the one that was published.",
                "Nothing was kept. Try again later, or name a mirror in AUTHFACE_MODELS_URL.",
            )
        temporary.chmod(0o644)
        temporary.replace(place)
    return place


def _as_file(named: Path, model: Model) -> list[Path]:
    """AUTHFACE_MODELS as the model's file: by its name, or renamed but of its very size."""
    try:
        fits = named.is_file() and named.stat().st_size == model.size_bytes
    except OSError:
        fits = False
    return [named] if fits or named.name == model.file else []


def _is_right(path: Path, model: Model) -> bool:
    try:
        verify_model(path, model)
    except ConfigError:
        return False
    return True


@contextmanager
def _temporary_beside(place: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new private file in the folder of `place`; gone afterwards unless it was moved."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{place} can't be written: {error.strerror or error}.",
            "Make room, or name a folder that holds the models in AUTHFACE_MODELS.",
        ) from error


def _download(url: str, model: Model, timeout_s: float) -> Iterator[bytes]:
    """The bytes at `url`, of exactly the size that the model has; anything else is an error."""
    deadline = time.monotonic() + timeout_s + model.size_bytes / _SLOWEST
    opener = urllib.request.build_opener(_SafeRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": "authface"})
    got = 0
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            while piece := answer.read(min(_PIECE, model.size_bytes + 1 - got)):
                got += len(piece)
                if got > model.size_bytes:
                    raise RemoteError(f"{url} is larger than the file that was published.")
                if time.monotonic() > deadline:
                    raise RemoteError(f"{url} came too slowly and was given up.")
                yield piece
    except (OSError, http.client.HTTPException) as error:
        raise RemoteError(
            f"{url} could not be fetched: {_reason(error)}.",
            f"Get it another way and put it into {models_folder()}, or name its folder in "
            "AUTHFACE_MODELS.",
        ) from error
    if got < model.size_bytes:
        raise RemoteError(f"{url} broke off after {got} of {model.size_bytes} bytes. Try again.")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason: Any = getattr(error, "reason", None) or error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted ({reason.verify_message})"
    return str(reason) or type(error).__name__


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere only where the address would have been taken from a person."""

    def redirect_request(self, *args: Any, **named: Any) -> urllib.request.Request | None:
        """The next request, or ConfigError if its address is not safe."""
        request = super().redirect_request(*args, **named)
        if request is not None:
            _require_safe(request.full_url)
        return request


def _require_safe(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme == "https" or (parts.scheme == "http" and loopback):
        return
    raise ConfigError(
        f"{url} is no safe address for a model.", "Name an https address in AUTHFACE_MODELS_URL."
    )
