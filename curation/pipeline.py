"""The ingest stream: files in, one judged row per file out, in the order they were found.

Each worker process does everything for one file; this process hands out files, writes what comes
back, and decides what the tables know already. Originals are opened for reading only; what changed
while it was read is not trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from curation.config import IngestConfig
from curation.engines import Engine, Hashed, LocalEngine, name_of
from curation.faces import open_finder
from curation.scan import Found, find_photos
from curation.standing import OWNERS, Standing, found_stamp, holds
from curation.worker import Taken
from data_manifests.errors import UnreadablePhoto
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo
from data_manifests.store import Store
from data_manifests.tombstones import REASON as ERASED
from data_manifests.tombstones import Erased, erased_in

__all__ = [
    "Ingested",
    "ingest",
    "ingest_found",
    "settle_finder",
]

MakeEngine = Callable[[IngestConfig, Path, Mapping[str, str], Erased], Engine]  # keys by photo_id
_CHANGED = "it changed while it was read: run the command again"
_WRITTEN: Future[Hashed] = Future()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file: new, known, copy or unreadable; `photo` is its row as it is now.

    A file is `erased` if its subject was: it is refused and leaves no row. `changed` says that the
    row differs from the one in the tables.
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
    standing = Standing(config, known, rehash=rehash)
    keys = {i: standing.judged_under(p) for i, p in known.items()}
    erased = erased_in(Store(workspace.tables))
    engine = make_engine(config, workspace.media, keys, erased)
    ahead: deque[_Pending] = deque()
    try:
        run = _Run(config, known, engine, standing)
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
        self, config: IngestConfig, known: Mapping[str, Photo], engine: Engine, standing: Standing
    ) -> None:
        self.config, self.known, self.engine, self.standing = config, known, engine, standing
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
        if pending.settled is not None:
            return self._newest(pending.settled)
        if pending.work is None:
            return _unreadable(pending.found, "was lost")
        try:
            hashed = pending.work.result()
            if found_stamp(pending.found) != hashed.stamp:
                return _unreadable(pending.found, _CHANGED)
            return self._hashed(pending, hashed)
        except UnreadablePhoto as error:
            if error.reason == ERASED:
                return Ingested(name_of(pending.found), "erased")
            return _unreadable(pending.found, error.wrong)

    def _hashed(self, pending: _Pending, hashed: Hashed) -> Ingested:
        photo_id = hashed.photo_id
        if photo_id in self.rows or self._stands(photo_id):
            return self._seen(pending.found, photo_id)
        owner = self.engine.claimed.get((photo_id, pending.key))
        taken = hashed.taken or (owner.result().taken if owner is not None else None)
        if taken is None:
            return self._seen(pending.found, photo_id)
        return self._new(pending, hashed, taken)

    def _newest(self, settled: Ingested) -> Ingested:
        """As it was settled, with what files that came earlier have added to its row since."""
        newest = self.rows.get(settled.photo.photo_id) if settled.photo else None
        return settled if newest is None else replace(settled, photo=newest, changed=True)

    def _stands(self, photo_id: str) -> bool:
        """Whether the file that the row names is still there and need not be judged again.

        A copy with other sidecars beside it is no reason to.
        """
        photo = self.known.get(photo_id)
        if photo is None or "://" in photo.path or not holds(photo):
            return False
        return self.standing.judged_under(photo) == self.standing.key_of(Found(Path(photo.path)))

    def _new(self, pending: _Pending, hashed: Hashed, taken: Taken) -> Ingested:
        name = name_of(pending.found)
        standing = self.known.get(hashed.photo_id)
        photo = replace(
            taken.photo,
            path=name,
            size_bytes=hashed.stamp[0],
            modified_ns=hashed.stamp[1],
            ingest_key=self.standing.key_for(taken.photo, pending.key),
        )
        photo = _owned(_after(photo, standing), self.config)[0]
        self.rows[photo.photo_id] = photo
        # The claim stays, so that an equal file is not judged again; what it held is written.
        self.engine.claimed[photo.photo_id, pending.key] = _WRITTEN
        return Ingested(name, "new", photo, taken.faces, _problem(photo))

    def _seen(self, found: Found, photo_id: str) -> Ingested:
        """A file whose bytes have a row: known at this path, or one more copy."""
        name = name_of(found)
        standing = self.rows.get(photo_id) or self.known.get(photo_id)
        if standing is None:  # its twin turned out to be unreadable a moment ago
            return _unreadable(found, _CHANGED)
        photo, problem = _owned(standing, self.config)
        status = "known"
        if name != standing.path and not holds(standing):  # the original was moved here
            photo = replace(photo, path=name, copies=_without(photo.copies, name))
        elif name not in (standing.path, *standing.copies):
            status, photo = "copy", replace(photo, copies=tuple(sorted({*photo.copies, name})))
        stamp = found_stamp(found)
        if photo.path == name and stamp is not None and stamp[1] != photo.modified_ns:
            photo = replace(photo, modified_ns=stamp[1])
        if photo is not standing:
            self.rows[photo.photo_id] = photo
        return Ingested(name, status, photo, (), problem, changed=photo is not standing)


def _unreadable(found: Found, problem: str) -> Ingested:
    return Ingested(name_of(found), "unreadable", problem=problem)


def _without(copies: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(copy for copy in copies if copy != name)


def _after(photo: Photo, standing: Photo | None) -> Photo:
    """The new row with what an earlier one holds and a worker can't know."""
    if standing is None:
        return photo
    marked = [v for v in standing.verdicts if v.gate == "watermark"]
    refused = tuple(v.gate for v in marked if not v.keep)
    photo = replace(
        photo,
        copies=_without(standing.copies, photo.path),
        verdicts=(*photo.verdicts, *marked),
        reasons=(*photo.reasons, *refused),
        state="set_aside" if refused and photo.state == "kept" else photo.state,
        embedding=standing.embedding,
        embedder=standing.embedder,
        suggestions=standing.suggestions,
        **{name: getattr(standing, name) for name in OWNERS},
    )
    if standing.path == photo.path or not holds(standing):
        return photo
    both = tuple(sorted({*photo.copies, photo.path} - {standing.path}))
    times = standing.modified_ns
    return replace(photo, path=standing.path, copies=both, modified_ns=times)


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
