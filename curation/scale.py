"""The same ingest on many machines: shards for job arrays, Ray Data for clusters."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from curation.config import IngestConfig
from curation.engines import Claims, Hashed, take_file, write_blobs
from curation.remote import find_remote, is_url
from curation.sandbox import Sandbox
from curation.scan import Found, find_photos
from curation.wire import from_json, to_json
from data_manifests.errors import ConfigError, MissingExtra, RemoteError, UnreadablePhoto
from data_manifests.tombstones import Erased

__all__ = ["RayEngine", "found_in", "in_shard"]


def found_in(sources: Iterable[str], *, shard: str | None = None) -> Iterator[Found]:
    """The photos under the sources, or those of one shard "i/n" (1 to n) of them.

    A file's shard follows from its path alone, so adding files moves no other.
    """
    part = _parse_shard(shard) if shard else None
    for source in sources:
        stream = find_remote(source) if is_url(source) else find_photos([Path(source)])
        for found in stream:
            if part is None or in_shard(found, *part):
                yield found


def in_shard(found: Found, index: int, count: int) -> bool:
    """True if the file belongs to shard `index` (1 to `count`)."""
    digest = hashlib.blake2b(os.fsencode(found.url or found.path), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count == index - 1


class RayEngine:
    """Ray Data, on the cluster of RAY_ADDRESS or one started on this machine: an actor per worker,
    each with a killable child of its own.

    Paths go in and rows come out; pixels never pass through Ray's object store. The workspace and
    the originals must be reachable under the same paths, or addresses, on every node.
    """

    ahead = sys.maxsize  # a dataset is made of all files at once

    def __init__(
        self, config: IngestConfig, media: Path, known_keys: Mapping[str, str], erased: Erased
    ) -> None:
        self.config, self.media, self.known_keys = config, media, dict(known_keys)
        self.erased = erased
        self.claimed: Claims = {}
        self._waiting: list[tuple[Found, str, Future[Hashed]]] = []
        self._thread: threading.Thread | None = None
        self._ray: Any = None
        self._started = False

    def submit(self, found: Found, key: str, result: Future[Hashed]) -> None:
        """Put a file on the list."""
        self._waiting.append((found, key, result))

    def flush(self) -> None:
        """Start on the list."""
        if self._waiting:
            self._ray, self._started = _open_ray(self.config.decoder.processes)
        self._thread = threading.Thread(target=self._run, name="ray", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the cluster's answer to what was started, and stop a cluster of our own."""
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._started:
            self._ray.shutdown()

    def _run(self) -> None:
        try:
            for row in self._rows() if self._waiting else ():
                _fill(self._waiting[int(row["index"])][2], json.loads(row["answer"]))
        except Exception as error:  # a cluster's failure is every waiting file's
            wrong = RemoteError(
                f"The Ray cluster failed: {type(error).__name__}.", f"It said: {error}"
            )
            for _, _, result in self._waiting:
                if not result.done():
                    result.set_exception(wrong)

    def _rows(self) -> Iterator[dict[str, Any]]:
        ray = self._ray
        items = [
            {"index": i, "found": json.dumps(_found_told(f)), "key": key}
            for i, (f, key, _) in enumerate(self._waiting)
        ]
        count = self.config.decoder.processes
        ray.data.DataContext.get_current().enable_progress_bars = False
        arguments = (self.config.model_dump_json(), str(self.media), self.known_keys, self.erased)
        done = ray.data.from_items(items, override_num_blocks=max(count, len(items) // 16)).map(
            _RayWorker, concurrency=count, fn_constructor_args=arguments
        )
        yield from done.iter_rows()


class _RayWorker:
    """The actor: judges the files of its rows and writes their pictures."""

    def __init__(self, config: str, media: str, known_keys: dict[str, str], erased: Erased) -> None:
        one = IngestConfig.model_validate_json(config)
        self.config, self.media, self.known_keys, self.erased = one, Path(media), known_keys, erased
        self.sandbox = Sandbox(ingest=one)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One file's row, with the verdict in place of an exception."""
        found = _found_from(json.loads(row["found"]))
        key = row["key"]
        try:
            known = self.known_keys
            hashed = take_file(self.sandbox, found, lambda i: known.get(i) != key, self.erased)
            answer = to_json(write_blobs(hashed, self.media, self.config.media_url))
        except UnreadablePhoto as error:
            answer = {"reason": error.reason, "wrong": error.wrong}
        return {"index": row["index"], "answer": json.dumps(answer)}


def _fill(result: Future[Hashed], answer: dict[str, Any]) -> None:
    if "reason" in answer:
        result.set_exception(UnreadablePhoto(answer["reason"], answer["wrong"]))
    else:
        result.set_result(from_json(Hashed, answer))


def _found_told(found: Found) -> dict[str, Any]:
    return {**to_json(found), "path": str(found.path)}


def _found_from(told: dict[str, Any]) -> Found:
    stamp = tuple(told["stamp"]) if told["stamp"] else None
    return Found(
        Path(told["path"]),
        url=told["url"],
        stamp=stamp,
        sidecars=tuple(told["sidecars"]),
        sidecars_state=told["sidecars_state"],
    )


def _open_ray(workers: int) -> tuple[Any, bool]:
    """(ray, whether a cluster was started for this run)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "scale", "--engine ray") from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if ray.is_initialized():
        return ray, False
    here = None if os.environ.get("RAY_ADDRESS") else workers
    quiet = {"log_to_driver": False, "configure_logging": False}
    ray.init(num_cpus=here, include_dashboard=False, logging_level=logging.ERROR, **quiet)
    return ray, here is not None


def _parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"{text!r} is no shard.", "Give it as i/n, such as 3/8, from 1/8 to 8/8.")
    return int(match[1]), int(match[2])
