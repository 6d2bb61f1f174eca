"""The ingest stream: files in, one judged row per file out, in the order they were found.

Each worker process does everything for one file; this process hands out files, writes what comes
back, and decides what the tables know already. Originals are opened for reading only; what changed
while it was read is not trusted.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from curation.config import IngestConfig
from curation.engines import Engine, Hashed, LocalEngine, name_of
from curation.faces import open_finder
from curation.scan import Found, find_photos
from curation.standing import OWNERS, Standing, found_stamp
from curation.worker import Taken
from data_manifests.errors import UnreadablePhoto
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo

__all__ = [
    "Ingested",
    "ingest",
    "ingest_found",
    "settle_finder",
]

MakeEngine = Callable[[IngestConfig, Path, Mapping[str, str]], Engine]  # keys by photo_id
_WRITTEN: Future[Hashed] = Future()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file: new, known, copy or unreadable; `photo` is its row as it is now.

    `changed` says that the row differs from the one in the tables.
    """

    path: str
    status: str
    photo: Photo | None = None
    faces: tuple[Face, ...] = ()
    problem: str = ""
    changed: bool = True


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file on its way: either settled at once, or with a worker."""

    found: Found
    settled: Ingested | None = None
    key: str = ""
    work: Future[Hashed] | None = None


def ingest(
    sources: Iterable[Path],
    *,
    workspace: Workspace,
    config: IngestConfig,
    known: Mapping[str, Photo],
    rehash: bool = False,
) -> Iterator[Ingested]:
    """Yield what became of every photo under the sources; `known` holds the rows by photo_id.

    A photo judged before with the same settings comes back as known and is not decoded; one of the
    same path, size and time of change is not even read, unless `rehash`. Raises InputError for a
    missing source, ConfigError for a missing finder, StorageError from the disk.
    """
    found = find_photos(sources)
    yield from ingest_found(found, workspace=workspace, config=config, known=known, rehash=rehash)


def ingest_found(
    found: Iterable[Found],
    *,
    workspace: Workspace,
    config: IngestConfig,
    known: Mapping[str, Photo],
    rehash: bool = False,
    make_engine: MakeEngine = LocalEngine,
) -> Iterator[Ingested]:
    """As `ingest`, for files found already, by the engine that `make_engine` makes."""
    config = settle_finder(config)
    engine = make_engine(config, workspace.media, {i: p.ingest_key for i, p in known.items()})
    ahead: deque[_Pending] = deque()
    try:
        run = _Run(config, known, engine, rehash=rehash)
        for item in found:
            ahead.append(run.begin(item))
            while len(ahead) > engine.ahead:
                yield run.finish(ahead.popleft())
        engine.flush()
        while ahead:
            yield run.finish(ahead.popleft())
    finally:
        engine.close()


def settle_finder(config: IngestConfig) -> IngestConfig:
    """The settings with the face finder that is to be used in place of "auto".

    Fetches its file if that is wanted and needed, here and not in every worker.
    """
    name = open_finder(config.faces).name.split("-")[0]
    faces = config.faces.model_copy(update={"finder": name, "fetch": False})
    return config.model_copy(update={"faces": faces})


class _Run:
    """The state of one ingest: the engine, and the rows so far."""

    def __init__(
        self, config: IngestConfig, known: Mapping[str, Photo], engine: Engine, *, rehash: bool
    ) -> None:
        self.config, self.known, self.engine = config, known, engine
        self.standing = Standing(config, {} if rehash else known)
        self.rows: dict[str, Photo] = {}  # judged or changed in this run

    def begin(self, found: Found) -> _Pending:
        """Give the file to the engine, unless its place and time say that nothing has changed."""
        if found.problem:
            return _Pending(found, _unreadable(found, found.problem))
        key = self.standing.key_of(found)
        photo = self.standing.unchanged(found, key)
        if photo is not None:
            return _Pending(found, self._seen(found, photo.photo_id))
        work: Future[Hashed] = Future()
        self.engine.submit(found, key, work)
        return _Pending(found, None, key, work)

    def finish(self, pending: _Pending) -> Ingested:
        """The row of a file that was begun."""
        found = pending.found
        if pending.settled is not None or pending.work is None:
            return pending.settled or _unreadable(found, "was lost")
        try:
            hashed = pending.work.result()
        except UnreadablePhoto as error:
            return _unreadable(found, error.wrong)
        if found_stamp(found) != hashed.stamp:
            return _unreadable(found, "it changed while it was read: run the command again")
        if hashed.photo_id in self.rows:
            return self._seen(found, hashed.photo_id)
        owner = self.engine.claimed.get(hashed.photo_id)
        taken = hashed.taken or (owner.result().taken if owner else None)
        if taken is None:
            return self._seen(found, hashed.photo_id)
        return self._new(pending, hashed, taken)

    def _new(self, pending: _Pending, hashed: Hashed, taken: Taken) -> Ingested:
        name = name_of(pending.found)
        standing = self.known.get(hashed.photo_id)
        photo = replace(
            taken.photo,
            path=name,
            size_bytes=hashed.stamp[0],
            modified_ns=hashed.stamp[1],
            ingest_key=pending.key,
        )
        photo = _owned(_after(photo, standing), self.config)[0]
        self.rows[photo.photo_id] = photo
        # The claim stays, so that an equal file is not judged again; what it held is written.
        self.engine.claimed[photo.photo_id] = _WRITTEN
        return Ingested(name, "new", photo, taken.faces, _problem(photo))

    def _seen(self, found: Found, photo_id: str) -> Ingested:
        """A file whose bytes have a row: known at this path, or one more copy."""
        name = name_of(found)
        standing = self.rows.get(photo_id) or self.known.get(photo_id)
        if standing is None:  # its twin turned out to be unreadable a moment ago
            return _unreadable(found, "it changed while it was read: run the command again")
        photo, problem = _owned(standing, self.config)
        if name == standing.path or name in standing.copies:
            status = "known"
        elif _is_gone(standing.path):  # the original was moved here
            status, photo = "known", replace(photo, path=name)
        else:
            status, photo = "copy", replace(photo, copies=tuple(sorted({*photo.copies, name})))
        if photo.path == name and photo.modified_ns == 0:
            stamp = found_stamp(found)
            photo = replace(photo, modified_ns=stamp[1] if stamp else 0)
        if photo is not standing:
            self.rows[photo.photo_id] = photo
        return Ingested(name, status, photo, (), problem, changed=photo is not standing)


def _unreadable(found: Found, problem: str) -> Ingested:
    return Ingested(name_of(found), "unreadable", problem=problem)


def _is_gone(path: str) -> bool:
    return "://" not in path and not os.path.lexists(path)


def _after(photo: Photo, standing: Photo | None) -> Photo:
    """The new row with what an earlier one holds and a worker can't know."""
    if standing is None:
        return photo
    marked = [v for v in standing.verdicts if v.gate == "watermark"]
    refused = tuple(v.gate for v in marked if not v.keep)
    photo = replace(
        photo,
        copies=standing.copies,
        verdicts=(*photo.verdicts, *marked),
        reasons=(*photo.reasons, *refused),
        state="set_aside" if refused and photo.state == "kept" else photo.state,
        embedding=standing.embedding,
        embedder=standing.embedder,
        suggestions=standing.suggestions,
        **{name: getattr(standing, name) for name in OWNERS},
    )
    if standing.path != photo.path and not _is_gone(standing.path):
        both = tuple(sorted({*photo.copies, photo.path} - {standing.path}))
        photo = replace(photo, path=standing.path, copies=both)
    return photo


def _owned(photo: Photo, config: IngestConfig) -> tuple[Photo, str]:
    """The photo with its empty owner fields filled, and what stands against the settings.

    A consent or a name that a row has is never replaced in passing.
    """
    wanted = {name: getattr(config, name) for name in OWNERS if getattr(config, name) is not None}
    filled = {n: v for n, v in wanted.items() if getattr(photo, n) is None}
    kept = [n for n, v in wanted.items() if getattr(photo, n) not in (None, v)]
    problem = f"keeps its own {', '.join(kept)}" if kept else ""
    return (replace(photo, **filled) if filled else photo), problem


def _problem(photo: Photo) -> str:
    return "; ".join(v.reason for v in photo.verdicts if not v.keep)
