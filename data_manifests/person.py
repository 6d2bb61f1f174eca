"""What the tables hold about one subject, in every version: found by following the nouns."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_manifests.log import commits
from data_manifests.rewrite import parquet_files, row_groups
from data_manifests.scrub import EMPTIED, Doom, doomed_rows, longer_names, strings_in
from data_manifests.store import TABLES, Store

__all__ = ["Person", "doom_of", "find_person", "media_named", "samples_by_file"]

_MEDIA = re.compile(r"[a-z_]+/(?:[0-9a-f]{2}/)?[0-9a-f]{64}\.\w+")
_KEYS = {  # table -> (key column, kind of its values)
    "faces": ("face_id", "face"),
    "tasks": ("task_key", "task"),
    "annotations": ("annotation_id", "annotation"),
    "retouches": ("retouch_id", "retouch"),
    "samples": ("sample_id", "sample"),
}
_PHOTO = ("photo_id", "path", "copies", "subject_id", "consent_id", "pixel_hash")
_SENT = ("task_id", "project_id", "server")


@dataclass(frozen=True, slots=True)
class Person:
    """Everything held about a subject: ids by kind, rows by table, media, and who is beside them.

    `rows` counts the newest version, `copies` the rows of all versions' files.
    """

    subject: str
    values: Mapping[str, frozenset[str]]
    rows: Mapping[str, int] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    media: tuple[str, ...] = ()  # relative to media/; named by the person's rows alone
    shared_media: int = 0  # named by somebody else's row too: they stay
    names: frozenset[str] = frozenset()
    longer: frozenset[str] = frozenset()  # other people's file names that hold one of these
    sent: tuple[tuple[str, int, int], ...] = ()  # (server, project, task) on Label Studio
    beside: tuple[str, ...] = ()  # other subjects in the same photos or identity groups
    groups_left: int = 0  # identity groups that were not followed, since others are in them

    def of(self, kind: str) -> frozenset[str]:
        """The values of one kind, such as photo or sample."""
        return self.values.get(kind, frozenset())

    @property
    def originals(self) -> tuple[str, ...]:
        """Where the original files were found, copies among them."""
        return tuple(sorted(self.of("path")))

    @property
    def found(self) -> bool:
        """Whether anything at all is held."""
        return any(self.copies.values())


def doom_of(person: Person) -> Doom:
    """What to look for in tables, logs and files."""
    return Doom(person.values, person.names, person.longer)


def find_person(store: Store, subject: str, *, media: Path) -> Person:
    """Resolve a subject to photos, and those to everything made from them, over all versions.

    A photo is the subject's if its newest row says so, or stands under a consent that the subject
    gave. A photo without a subject is too, if the face in it is in an identity group with the face
    of a photo that shows the subject alone, and nobody else is in that group.
    """
    history = _History(store)
    consents = {
        c["consent_id"]
        for c in history.rows("consents", ("consent_id", "subject_id"))
        if c["subject_id"] == subject
    }
    photos = {p["photo_id"]: p for p in history.rows("photos", _PHOTO)}
    own = {
        i
        for i, p in photos.items()
        if p["subject_id"] == subject or (p["consent_id"] and p["consent_id"] in consents)
    }
    more, beside, left = _by_face(history, photos, own, subject)
    own |= more
    others = {p["subject_id"] for i, p in photos.items() if i in own} - {None, subject}
    mine = [p for i, p in photos.items() if i in own]
    base = {
        "path": frozenset(_paths(mine)),
        "subject": frozenset({subject}),
        "photo": frozenset(own),
        "consent": frozenset(consents),
        "pixels": frozenset(photos[i]["pixel_hash"] for i in own if photos[i]["pixel_hash"]),
    }
    theirs = [p for i, p in photos.items() if i not in own]
    names = _own_names(mine, theirs)
    person = Person(
        subject=subject,
        values=base,
        names=names,
        longer=longer_names(names, {PurePath(p).name for p in _paths(theirs)}),
        beside=tuple(sorted(others | beside)),
        groups_left=left,
    )
    return _with_everything(history, person, media)


def media_named(store: Store, doom: Doom) -> tuple[set[str], set[str]]:
    """(paths that the person's rows name, paths that anybody else's rows name), of all versions."""
    history = _History(store)
    mine: set[str] = set()
    theirs: set[str] = set()
    for name in history.tables:
        for rows in history.files(name):
            mask = doomed_rows(name, rows, doom)
            mine.update(_media_paths(rows.filter(mask)))
            theirs.update(_media_paths(rows.filter(pc.invert(mask))))
    return mine, theirs


def samples_by_file(store: Store, doom: Doom) -> dict[str, int]:
    """How many of the person's samples each file of the samples table holds."""
    found: Counter[str] = Counter()
    history = _History(store)
    if "samples" in history.tables:
        for file, rows in history.counted("samples", doom):
            found[file] += rows.num_rows
    return dict(found)


class _History:
    """Every row that a table's files hold, oldest file first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tables = [n for n in TABLES.values() if (store.folder / n / "_delta_log").is_dir()]

    def files(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows, a row group at a time; columns that an older file lacks are null."""
        if name not in self.tables:
            return
        for file in parquet_files(self.store.folder / name):
            yield from self._groups(file, columns)

    def rows(self, name: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """As `files`, row by row."""
        for rows in self.files(name, columns):
            yield from rows.to_pylist()

    def live(self, name: str) -> set[str]:
        """Files that the newest version is made of."""
        there: set[str] = set()
        for commit in commits(self.store.folder / name):
            there = (there | set(commit.added)) - (set(commit.removed) - set(commit.added))
        return there

    def counted(self, name: str, doom: Doom) -> Iterator[tuple[str, pa.Table]]:
        """(file, the person's rows in it)."""
        for file in parquet_files(self.store.folder / name):
            for rows in self._groups(file, None):
                yield file.name, rows.filter(_held(name, rows, doom))

    def _groups(self, file: Path, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        for found in row_groups(file, columns):
            rows = found
            for missing in (c for c in columns or () if c not in found.schema.names):
                rows = rows.append_column(missing, pa.nulls(rows.num_rows, pa.string()))
            yield rows


def _held(name: str, rows: pa.Table, doom: Doom) -> pa.Array:
    if name in EMPTIED:
        wanted = pa.array(sorted(doom.of("consent")), pa.string())
        return pc.is_in(rows.column(EMPTIED[name][0]).combine_chunks(), value_set=wanted)
    return doomed_rows(name, rows, doom)


def _by_face(
    history: _History, photos: Mapping[str, dict[str, Any]], own: set[str], subject: str
) -> tuple[set[str], set[str], int]:
    """(photos found by their faces, other subjects in the same groups, groups not followed)."""
    groups: dict[str, set[str]] = defaultdict(set)
    shown: dict[str, set[str]] = defaultdict(set)
    faces = {
        f["face_id"]: f for f in history.rows("faces", ("face_id", "photo_id", "identity_group"))
    }
    for face in faces.values():
        shown[face["photo_id"]].add(face["face_id"])
        if face["identity_group"]:
            groups[face["identity_group"]].add(face["photo_id"])
    alone = {i for i in own if len(shown[i]) == 1}
    more: set[str] = set()
    beside: set[str] = set()
    left = 0
    for members in groups.values():
        if members.isdisjoint(own) or members <= own:
            continue
        others = {photos[i]["subject_id"] for i in members if i in photos} - {None, subject}
        if others or members.isdisjoint(alone):
            beside |= others
            left += 1
        else:
            more |= members & photos.keys()
    return more, beside, left


def _with_everything(history: _History, person: Person, media: Path) -> Person:
    values = dict(person.values)
    counts, copies = Counter[str](), Counter[str]()
    sent: set[tuple[str, int, int]] = set()
    returned: set[str] = set()
    doom = doom_of(person)
    for name in history.tables:
        live = history.live(name)
        key, kind = _KEYS.get(name, ("", ""))
        found: set[str] = set()
        for file, rows in history.counted(name, doom):
            copies[name] += rows.num_rows
            counts[name] += rows.num_rows if file in live else 0
            if kind:
                # A photo that was the subject's by mistake loses those rows, and keeps its own.
                pairs = zip(*(rows.column(c).to_pylist() for c in (key, "photo_id")), strict=True)
                found.update(k for k, photo_id in pairs if photo_id in person.of("photo"))
            if name == "tasks":
                sent.update(_sent(rows))
            if name == "retouches":
                returned.update(rows.column("path").to_pylist())
        if kind:
            values[kind] = values.get(kind, frozenset()) | frozenset(found)
    values["returned"] = frozenset(returned)
    mine, theirs = media_named(history.store, doom)
    there = {m for m in mine if (media / m).is_file()}
    return replace(
        person,
        values=values,
        rows={n: c for n, c in counts.items() if c},
        copies={n: c for n, c in copies.items() if c},
        media=tuple(sorted(there - theirs)),
        shared_media=len(there & theirs),
        sent=tuple(sorted(sent)),
    )


def _sent(rows: pa.Table) -> Iterator[tuple[str, int, int]]:
    for row in rows.select(list(_SENT)).to_pylist():
        if row["task_id"] is not None and row["server"]:
            yield row["server"], row["project_id"] or 0, row["task_id"]


def _paths(photos: Iterable[dict[str, Any]]) -> Iterator[str]:
    for photo in photos:
        yield from (photo["path"], *(photo["copies"] or ()))


def _own_names(mine: Iterable[dict[str, Any]], theirs: Iterable[dict[str, Any]]) -> frozenset[str]:
    """File names that only the person's photos have; without a suffix it may be any word."""
    own = {PurePath(p).name for p in _paths(mine)} - {PurePath(p).name for p in _paths(theirs)}
    return frozenset(n for n in own if PurePath(n).suffix)


def _media_paths(rows: pa.Table) -> Iterator[str]:
    for column in rows.columns:
        yield from (s for s in strings_in(column) if _MEDIA.fullmatch(s))
