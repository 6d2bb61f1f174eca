"""Imports: annotated folders of others become photos, faces and answers, as if asked here.

Every entry ends imported, answered (its photo was known), known, or set aside for a reason. A
second import of the same folder changes no row; a killed one is finished by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from data_manifests.consent import refusal
from data_manifests.errors import ConsentError, InputError, UnreadablePhoto
from data_manifests.import_captions import read_authface_hq, read_captions
from data_manifests.import_coco import read_coco
from data_manifests.import_files import Folder, PixelHash, list_folder, read_picture
from data_manifests.import_rows import Origin, Rows, rows_of
from data_manifests.import_shapes import Aside, Found
from data_manifests.import_studio import read_label_studio
from data_manifests.ledger import read_view
from data_manifests.media import write_media
from data_manifests.outgoing import in_groups
from data_manifests.records import Annotation, Consensus, Face, Photo
from data_manifests.store import Store
from data_manifests.tombstones import REASON, Erased, Watch
from data_manifests.traces import delete_unnamed

__all__ = ["FORMATS", "Outcome", "Rules", "Source", "entries", "import_entries", "open_source"]

FORMATS = ("authface-hq", "captions", "coco", "label-studio")
BATCH = 100  # entries in one commit
LONGEST_NAME = 80

Settle = Callable[[str, Sequence[Annotation]], Consensus]


@dataclass(frozen=True, slots=True)
class Source:
    """What is imported: a folder, and for COCO and Label Studio the JSON file in it."""

    format: str
    folder: Folder
    file: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an import needs from the parts above: how people's answers are settled and compared."""

    settle: Settle
    columns: Mapping[str, str] = field(default_factory=dict)  # question -> column of Annotation
    pixel_hash: PixelHash | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry: imported, answered, known or set_aside."""

    name: str
    state: str
    reason: str = ""
    obstacle: str = ""  # why the picture makes no crop by itself
    other_consent: bool = False  # the photo was known, under another consent


@dataclass(frozen=True, slots=True)
class _Held:
    """What the tables hold about the photos of a batch."""

    photos: Mapping[str, Photo]
    faces: frozenset[str]  # photo ids that have one
    answers: Mapping[str, Annotation]


def open_source(format: str, path: Path) -> Source:
    """The folder of a path, and the JSON file; raises InputError for what can't be one."""
    if format not in FORMATS:
        raise InputError(f"There is no format {format!r}.", f"Known are: {', '.join(FORMATS)}.")
    if format in ("authface-hq", "captions"):
        return Source(format, list_folder(path))
    if path.is_file():
        return Source(format, list_folder(path.parent), path.name)
    folder = list_folder(path)
    files = [name for name in folder.names if "/" not in name and name.endswith(".json")]
    if len(files) != 1:
        raise InputError(f"{path} holds {len(files)} JSON files, not one.", "Name the file itself.")
    return Source(format, folder, files[0])


def entries(source: Source, rules: Rules) -> Iterator[Found | Aside]:
    """What the source says, entry by entry; every file of the folder stands in one of them."""
    if source.format == "authface-hq":
        return read_authface_hq(source.folder)
    if source.format == "captions":
        return read_captions(source.folder)
    if source.format == "coco":
        return read_coco(source.folder, source.file)
    return read_label_studio(source.folder, source.file, rules.columns)


def import_entries(
    store: Store,
    media: Path | None,
    source: Source,
    origin: Origin,
    rules: Rules,
    now: datetime,
) -> Iterator[Outcome]:
    """Write the rows of a source batch by batch, and yield what became of each entry.

    Without `media` nothing is written. Raises ConsentError before anything is read if the consent
    is not there or does not hold.
    """
    _check_name(origin.name)
    _require_consent(store, origin, now)
    watch = Watch(store)
    known = _known(store)
    seen: dict[str, str] = {}  # photo id -> the entry that brought it in
    for batch in in_groups(entries(source, rules), BATCH, lambda _: 1):
        read: list[tuple[str, Rows]] = []
        for entry in batch:
            one = _read(entry, source.folder, origin, rules, watch.now())
            if isinstance(one, Rows) and one.photo.photo_id in seen:
                one = Aside(entry.name, f"same_picture_as: {seen[one.photo.photo_id]}")
            if isinstance(one, Aside):
                yield Outcome(one.name, "set_aside", one.reason)
                continue
            seen[one.photo.photo_id] = entry.name
            if media is not None and one.photo.photo_id not in known:
                _keep_crop(media, one)
            read.append((entry.name, replace(one, crop=b"")))  # a batch holds no pixels
        gone = [(name, r) for name, r in read if _is_erased(r.photo, watch.now())]
        yield from (Outcome(name, "set_aside", REASON) for name, _ in gone)
        read = [one for one in read if one not in gone]
        yield from _commit(store, read, origin, rules.settle, write=media is not None)
        if media is not None:
            delete_unnamed(store, media, (c.path for _, r in gone for c in r.face.crops))


def _check_name(name: str) -> None:
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(
            f"{name!r} can't be the name of an import.",
            f"Give it one of 1 to {LONGEST_NAME} printable characters with --name.",
        )


def _require_consent(store: Store, origin: Origin, now: datetime) -> None:
    consent = read_view(store).get(origin.consent_id)
    purposes = consent.purposes if consent else ()
    reason = refusal(consent, purposes[0] if purposes else "training", now)
    if reason:
        raise ConsentError(
            f"The consent {origin.consent_id!r} does not cover an import: {reason}.",
            "Record it with `authface consent add`.",
        )


def _read(
    entry: Found | Aside, folder: Folder, origin: Origin, rules: Rules, erased: Erased
) -> Rows | Aside:
    if isinstance(entry, Aside):
        return entry
    path = folder.root / entry.name
    try:
        picture = read_picture(path, rules.pixel_hash)
        if erased.has(picture.photo_id) or erased.has_pixels(picture.pixel_hash):
            return Aside(entry.name, REASON)
        return rows_of(entry, picture, path, origin)
    except UnreadablePhoto as error:
        return Aside(entry.name, f"{error.reason}: it {error.wrong}")


def _is_erased(photo: Photo, erased: Erased) -> bool:
    return erased.has(photo.photo_id) or erased.has_pixels(photo.pixel_hash)


def _keep_crop(media: Path, rows: Rows) -> None:
    for crop in rows.face.crops:
        write_media(media, "crops", rows.crop, Path(crop.path).suffix)


def _known(store: Store) -> frozenset[str]:
    if store.version(Photo) is None:
        return frozenset()
    return frozenset(store.table(Photo)["photo_id"].to_pylist())


def _commit(
    store: Store, read: Sequence[tuple[str, Rows]], origin: Origin, settle: Settle, *, write: bool
) -> Iterator[Outcome]:
    held = _held(store, [rows for _, rows in read])
    told = [_outcome(name, rows, held, origin) for name, rows in read]
    if write and read:
        why = "import"  # the set may be called after a person, and logs outlive their rows
        rows = [r for _, r in read]
        new = [r for r in rows if r.photo.photo_id not in held.photos]
        # A photo without a face whose row we wrote: an import was killed between the two.
        faceless = [r for r in rows if _ours_without_face(r, held)]
        store.upsert(Photo, [r.photo for r in new], why=why)
        store.upsert(Face, [r.face for r in (*new, *faceless)], why=why)
        store.upsert(Annotation, [a for r in rows for a in r.annotations], why=why)
        store.upsert(Consensus, _settled(store, [r.photo.photo_id for r in rows], settle), why=why)
    yield from told


def _held(store: Store, rows: Iterable[Rows]) -> _Held:
    rows = list(rows)
    photo_ids = [r.photo.photo_id for r in rows]
    answer_ids = [a.annotation_id for r in rows for a in r.annotations]
    return _Held(
        {p.photo_id: p for p in store.rows_with(Photo, "photo_id", photo_ids)},
        frozenset(f.photo_id for f in store.rows_with(Face, "photo_id", photo_ids)),
        {a.annotation_id: a for a in store.rows_with(Annotation, "annotation_id", answer_ids)},
    )


def _outcome(name: str, rows: Rows, held: _Held, origin: Origin) -> Outcome:
    standing = held.photos.get(rows.photo.photo_id)
    if standing is None:
        return Outcome(name, "imported", obstacle=rows.obstacle or "")
    same = all(held.answers.get(a.annotation_id) == a for a in rows.annotations)
    state = "known" if same and not _ours_without_face(rows, held) else "answered"
    return Outcome(name, state, other_consent=standing.consent_id != origin.consent_id)


def _ours_without_face(rows: Rows, held: _Held) -> bool:
    photo_id = rows.photo.photo_id
    standing = held.photos.get(photo_id)
    return standing is not None and not standing.ingest_key and photo_id not in held.faces


def _settled(store: Store, photo_ids: Sequence[str], settle: Settle) -> list[Consensus]:
    answers: dict[str, list[Annotation]] = {photo_id: [] for photo_id in photo_ids}
    for answer in store.rows_with(Annotation, "photo_id", photo_ids):
        answers[answer.photo_id].append(answer)
    return [settle(photo_id, given) for photo_id, given in answers.items()]
