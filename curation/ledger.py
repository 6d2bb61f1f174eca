"""Commit what an ingest yields, in batches: a kill costs a few seconds of work and no row."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from curation.pipeline import Ingested
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo
from data_manifests.store import Store
from data_manifests.tombstones import Watch, marks_held
from data_manifests.traces import delete_unnamed

__all__ = ["BATCH", "commit", "known_photos"]

log = logging.getLogger(__name__)

_Standing = dict[str, dict[str, str | None]]  # photo_id -> face_id -> identity group

BATCH = 32  # photos
_SHARE = 0.1  # of the time that may go into commits: each one reads the table it adds to


def known_photos(store: Store) -> dict[str, Photo]:
    """The photos in the tables, by photo_id: what an ingest takes as known."""
    return {p.photo_id: p for p in store.read(Photo)}


def commit(store: Store, stream: Iterable[Ingested], *, batch: int = BATCH) -> Iterator[Ingested]:
    """Yield the stream as it comes and write its rows, also when it breaks off.

    A commit waits for `batch` photos, and longer where commits have become slow, so that a table
    of 100,000 photos takes no more of the time than a small one. What was erased since the stream
    began is not written, though it was yielded.
    """
    before, watch = _faces_by_photo(store), Watch(store)
    waiting: list[Ingested] = []
    started, spent = time.monotonic(), 0.0
    try:
        for item in stream:
            if item.photo is not None and item.changed:
                waiting.append(item)
            if len(waiting) >= batch and spent <= _SHARE * (time.monotonic() - started):
                begun = time.monotonic()
                _write_unless_erased(store, waiting, watch, before)
                waiting = []
                spent += time.monotonic() - begun
            yield item
    finally:
        _write_unless_erased(store, waiting, watch, before)


def _write_unless_erased(
    store: Store, items: list[Ingested], watch: Watch, before: _Standing
) -> None:
    if items:
        with marks_held(store):
            _write(store, _without_erased(store, items, watch), before)


def _without_erased(store: Store, items: list[Ingested], watch: Watch) -> list[Ingested]:
    """The items but for those erased by now; the pictures just made of these are deleted."""
    erased = watch.now()
    gone = [
        i
        for i in items
        if i.photo and (erased.has(i.photo.photo_id) or erased.has_pixels(i.photo.pixel_hash))
    ]
    if not gone:
        return items
    log.warning("%d photos were erased while they were read: they are refused", len(gone))
    kept = [i for i in items if i not in gone]
    beside = {m for i in kept for m in _media(i)}
    made = {m for i in gone for m in _media(i)} - beside
    delete_unnamed(store, Workspace(store.folder.parent).media, made)
    return kept


def _media(item: Ingested) -> Iterator[str]:
    if item.photo is not None:
        yield from (m for m in (item.photo.proxy_path, item.photo.thumb_path) if m)
    yield from (crop.path for face in item.faces for crop in face.crops)


def _write(store: Store, items: list[Ingested], before: _Standing) -> None:
    """Faces first: a photo that is in the table is done, so its faces must be there by then."""
    judged = [i for i in items if i.status == "new" and i.photo is not None]
    standing: dict[str, str | None] = {}
    for item in judged:
        standing |= before.get(item.photo.photo_id, {}) if item.photo else {}
    # Who a face belongs to was found from all faces: judging its photo again changes nothing there.
    faces = [replace(f, identity_group=standing.get(f.face_id)) for i in judged for f in i.faces]
    if faces:
        store.upsert(Face, faces, why=f"ingest {len(judged)} photos")
    gone = set(standing) - {f.face_id for f in faces}
    if gone:
        store.remove(Face, gone, why="found otherwise by a newer ingest")
    photos = [i.photo for i in items if i.photo is not None]
    if photos:
        store.upsert(Photo, photos, why=f"ingest {len(photos)} photos")


def _faces_by_photo(store: Store) -> _Standing:
    if store.version(Face) is None:
        return {}
    columns = store.table(Face).select(["photo_id", "face_id", "identity_group"]).to_pydict()
    found: _Standing = {}
    for photo_id, face_id, group in zip(*columns.values(), strict=True):
        found.setdefault(photo_id, {})[face_id] = group
    return found
