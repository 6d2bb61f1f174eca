"""Who works through the files: worker processes on this machine, or a Ray cluster (scale.py).

An engine is given files and fills in a Future for each; the stream in pipeline.py does not know
which engine it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from curation.config import IngestConfig
from curation.remote import local_copy, upload
from curation.sandbox import Sandbox
from curation.scan import Found
from curation.source import Stamp
from curation.worker import Blob, Taken
from data_manifests.errors import UnreadablePhoto
from data_manifests.media import write_media
from data_manifests.tombstones import REASON as ERASED
from data_manifests.tombstones import Erased

__all__ = [
    "Claims",
    "Engine",
    "Hashed",
    "LocalEngine",
    "Wanted",
    "name_of",
    "take_file",
    "write_blobs",
]

Wanted = Callable[[str], bool]  # photo_id -> is it to be judged?


@dataclass(frozen=True, slots=True)
class Hashed:
    """What was found out about a file."""

    photo_id: str
    stamp: Stamp
    taken: Taken | None = None  # none: the bytes are known, or another path has claimed them


# By photo_id and ingest key: equal files are judged once, unless the sidecars beside them differ.
Claims = dict[tuple[str, str], Future[Hashed]]


class Engine(Protocol):
    """Works through files; `ahead` is how many may wait at once."""

    ahead: int
    claimed: Claims

    def submit(self, found: Found, key: str, result: Future[Hashed]) -> None:
        """Take a file on; `key` is the ingest key it would get."""

    def flush(self) -> None:
        """All files are submitted."""

    def close(self) -> None:
        """Stop, also in the middle."""


class LocalEngine:
    """Worker processes on this machine, each behind a thread that waits for it."""

    def __init__(
        self, config: IngestConfig, media: Path, known_keys: Mapping[str, str], erased: Erased
    ) -> None:
        self.config, self.media, self.known_keys, self.erased = config, media, known_keys, erased
        processes = config.decoder.processes
        self.ahead = 4 * processes  # so that one slow file does not let the other workers wait
        self.claimed: Claims = {}
        self._claiming = threading.Lock()
        self._sandboxes = [Sandbox(ingest=config) for _ in range(processes)]
        self._free: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self._sandboxes:
            self._free.put(sandbox)
        self._threads = ThreadPoolExecutor(processes, "worker")
        # Writing waits for the disk, so it gets threads of its own while the workers go on.
        self._writers = ThreadPoolExecutor(2 * processes, "media")

    def submit(self, found: Found, key: str, result: Future[Hashed]) -> None:
        """Queue a file."""
        self._threads.submit(self._work, found, key, result)

    def flush(self) -> None:
        """Nothing to do: work began with the first file."""

    def close(self) -> None:
        """Stop the workers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()
        self._threads.shutdown(wait=True)
        self._writers.shutdown(wait=True)

    def _work(self, found: Found, key: str, result: Future[Hashed]) -> None:
        def wanted(photo_id: str) -> bool:
            if self.known_keys.get(photo_id) == key:
                return False
            with self._claiming:
                return self.claimed.setdefault((photo_id, key), result) is result

        sandbox = self._free.get()
        try:
            hashed = take_file(sandbox, found, wanted, self.erased)
        except BaseException as error:
            result.set_exception(error)
            return
        finally:
            self._free.put(sandbox)
        self._writers.submit(self._write, hashed, result)

    def _write(self, hashed: Hashed, result: Future[Hashed]) -> None:
        try:
            result.set_result(write_blobs(hashed, self.media, self.config.media_url))
        except BaseException as error:
            result.set_exception(error)


def take_file(sandbox: Sandbox, found: Found, wanted: Wanted, erased: Erased) -> Hashed:
    """Hash one file and judge it if it is wanted; raises UnreadablePhoto as Sandbox.take does.

    A file that was erased is refused in that way too, before anything of it is kept.
    """
    seen: list[tuple[str, Stamp]] = []

    def ask(photo_id: str, stamp: Stamp) -> bool:
        seen.append((photo_id, stamp))
        return not erased.has(photo_id) and wanted(photo_id)

    with local_copy(found) as path:
        taken = sandbox.take(path, ask)
    photo_id, stamp = seen[0]
    pixels = taken.photo.pixel_hash if taken else None
    if erased.has(photo_id) or erased.has_pixels(pixels):
        raise UnreadablePhoto(ERASED, "is refused: its subject was erased")
    return Hashed(photo_id, found.stamp or stamp, taken)


def write_blobs(hashed: Hashed, media: Path, media_url: str | None) -> Hashed:
    """Write the pictures of a judged file; the same without them."""
    if hashed.taken is None:
        return hashed
    for blob in hashed.taken.blobs:
        _write(blob, media, media_url)
    return replace(hashed, taken=replace(hashed.taken, blobs=()))


def _write(blob: Blob, media: Path, media_url: str | None) -> None:
    path, _ = write_media(media, blob.kind, blob.data, blob.suffix)
    if media_url:
        upload(f"{media_url.rstrip('/')}/{path}", blob.data)


def name_of(found: Found) -> str:
    """The address or path as text that a table can hold; bytes that are no UTF-8 become escapes."""
    return found.url or os.fsencode(found.path).decode("utf-8", "backslashreplace")
