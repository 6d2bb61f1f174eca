"""Where one sample comes from and where it went: file, verdicts, face, answers, consent, runs.

Reads the tables, the files and the runs' records; writes nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from data_manifests.assemble import BuildConfig, assemble_tables
from data_manifests.consent import refusal
from data_manifests.errors import InputError, ManifestError
from data_manifests.join import Sources
from data_manifests.media import Workspace
from data_manifests.query import Pin, opened, sql_text
from data_manifests.records import (
    Annotation,
    Consensus,
    Consent,
    Crop,
    Face,
    Photo,
    Retouch,
    Sample,
)
from data_manifests.schema import key_of, records_from_table, table_from_records
from data_manifests.store import TABLES, Store, file_sha256

__all__ = ["Answer", "Chain", "File", "Use", "explain"]

Record = TypeVar("Record")

SHORTEST = 6  # digits of an id that are enough, if they are the only such
_READ = (Photo, Face, Annotation, Consensus, Retouch, Consent)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the chain: present, missing, damaged (its SHA-256 differs), or elsewhere."""

    what: str
    path: str
    sha256: str
    state: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer; `version` is its server time of change that the sample was built from.

    It is empty where the sample does not say it.
    """

    annotation: Annotation
    used: bool
    version: str
    changed_since: bool


@dataclass(frozen=True, slots=True)
class Use:
    """A training run that is pinned to a version of the samples which holds one of the photo."""

    run: str
    kind: str
    samples_version: int
    sample_id: str
    split: str
    trained: bool  # false if the row only stood in the version: held out, or of no weight
    exported: bool  # whether the run's model folder is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Everything that is known about one photo and the sample made of it, none if there is none.

    `left_out` says why there is no sample, none if the next build makes one; `refused` why the
    consent does not hold now.
    """

    photo_id: str
    photo: Photo | None
    face: Face | None
    sample: Sample | None
    crop: Crop | None
    retouches: tuple[Retouch, ...]
    answers: tuple[Answer, ...]
    consensus: Consensus | None
    consent: Consent | None
    person_samples: int  # of the same person, this one among them
    samples_version: int | None = None
    left_out: str | None = None
    refused: str | None = None
    files: tuple[File, ...] = ()
    uses: tuple[Use, ...] = ()


def explain(
    workspace: Workspace, name: str, *, config: BuildConfig, now: datetime, at: int | None = None
) -> Chain:
    """The chain of a sample, named by its id, a photo's id, a crop's path or the photo's own path.

    Of an id the first digits are enough. `at` is the version of the samples that is looked into.
    Raises InputError if nothing or more than one thing is meant.
    """
    store = Store(workspace.tables)
    pins = {TABLES[noun]: Pin(noun) for noun in _READ} | {"samples": Pin(Sample, at)}
    with opened(store, pins) as connection:
        tables = _Tables(connection)
        photo_id, sample_id = _meant(tables, name, workspace.media)
        chain = _chain(tables, photo_id, tables.row(Sample, sample_id))
    return replace(
        chain,
        samples_version=store.version(Sample) if at is None else at,
        left_out=None if chain.sample else _left_out(chain, config, now),
        refused=refusal(chain.consent, config.purpose, now),
        files=tuple(_files(chain, workspace.media)),
        uses=tuple(_uses(store, workspace.runs, photo_id)),
    )


class _Tables:
    """The rows that a chain needs, each asked for by name."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, noun: type[Record], where: str) -> list[Record]:
        """Rows of a noun, in key order."""
        asked = f"SELECT * FROM {TABLES[noun]} WHERE {where} ORDER BY {key_of(noun)}"
        return records_from_table(noun, self.connection.sql(asked).to_arrow_table())

    def row(self, noun: type[Record], key: str | None) -> Record | None:
        """The row with this key, none if there is none."""
        found = self.rows(noun, f"{key_of(noun)} = {sql_text(key)}") if key else []
        return found[0] if found else None

    def pairs(self, asked: str) -> list[tuple[Any, ...]]:
        """Rows of an answer in plain SQL."""
        found: list[tuple[Any, ...]] = self.connection.sql(asked).fetchall()
        return found


def _meant(tables: _Tables, name: str, media: Path) -> tuple[str, str | None]:
    """(photo_id, sample_id or none) that a name stands for."""
    crop = sql_text(_relative(name, media))
    start, file = sql_text(name), sql_text(str(Path(name).absolute()))
    asked = (
        f"SELECT photo_id, sample_id FROM samples WHERE crop_path = {crop}"
        f" UNION SELECT photo_id, NULL FROM photos WHERE path IN ({start}, {file})"
        f" OR ends_with(path, {sql_text('/' + name)})"
        f" OR list_has_any(copies, [{start}, {file}]) OR proxy_path = {crop} OR thumb_path = {crop}"
        " UNION SELECT photo_id, NULL FROM retouches"
        f" WHERE path IN ({file}, {crop}) OR crop.path = {crop}"
        " UNION SELECT photo_id, NULL FROM faces"
        f" WHERE list_contains(list_transform(crops, lambda c: c.path), {crop})"
    )
    if len(name) >= SHORTEST:
        asked += (
            f" UNION SELECT photo_id, sample_id FROM samples WHERE starts_with(sample_id, {start})"
            f" UNION SELECT photo_id, NULL FROM photos WHERE starts_with(photo_id, {start})"
            f" UNION SELECT photo_id, NULL FROM faces WHERE starts_with(face_id, {start})"
        )
    found = tables.pairs(f"SELECT photo_id, max(sample_id) FROM ({asked}) GROUP BY 1 ORDER BY 1")
    if not found:
        raise InputError(
            f"No sample, photo or crop is called {name!r}.",
            f"Give an id (its first {SHORTEST} digits or more) or a path; a sample of an earlier"
            " version is found with --at.",
        )
    if len(found) > 1:
        named = ", ".join((sample or photo)[:16] for photo, sample in found[:5])
        raise InputError(f"{name!r} may be any of {len(found)}: {named}.", "Give more digits.")
    photo_id, sample_id = found[0]
    return photo_id, sample_id or _only_sample(tables, photo_id)


def _only_sample(tables: _Tables, photo_id: str) -> str | None:
    """The sample of a photo that was named; none if it has none."""
    asked = f"SELECT min(sample_id) FROM samples WHERE photo_id = {sql_text(photo_id)}"
    found: str | None = tables.pairs(asked)[0][0]
    return found


def _relative(name: str, media: Path) -> str:
    path = Path(name)
    return str(path.relative_to(media)) if path.is_relative_to(media) else name


def _chain(tables: _Tables, photo_id: str, sample: Sample | None) -> Chain:
    of_photo = f"photo_id = {sql_text(photo_id)}"
    photo = tables.row(Photo, photo_id)
    face = _face(tables.rows(Face, of_photo), sample)
    retouches = tables.rows(Retouch, of_photo)
    owner = sample.consent_id if sample else photo.consent_id if photo else None
    person = sample.person if sample else None
    alike = f"SELECT count(*) FROM samples WHERE person = {sql_text(person or '')}"
    return Chain(
        photo_id=photo_id,
        photo=photo,
        face=face,
        sample=sample,
        crop=_crop(face, retouches, sample),
        retouches=tuple(retouches),
        answers=tuple(_answers(tables.rows(Annotation, of_photo), sample)),
        consensus=tables.row(Consensus, photo_id),
        consent=tables.row(Consent, owner),
        person_samples=tables.pairs(alike)[0][0] if person else 0,
    )


def _face(faces: Iterable[Face], sample: Sample | None) -> Face | None:
    """The sample's face, else the photo's largest."""
    chosen = (f for f in faces if (f.face_id == sample.face_id if sample else f.index == 0))
    return next(chosen, None)


def _crop(face: Face | None, retouches: Iterable[Retouch], sample: Sample | None) -> Crop | None:
    """The crop that the sample is, of the face or of a retouched file; none if it was cut anew."""
    crops = [*(face.crops if face else ()), *(r.crop for r in retouches if r.crop)]
    if sample is None:
        return next((c for c in crops if c.kind == "aligned"), None)
    return next((c for c in crops if c.sha256 == sample.crop_sha256), None)


def _answers(found: Iterable[Annotation], sample: Sample | None) -> Iterator[Answer]:
    """Every answer about the photo, with the version of it that the sample was built from."""
    ids = sample.annotation_ids if sample else ()
    used = dict(zip(ids, sample.annotation_versions if sample else (), strict=False))
    for annotation in found:
        version = used.get(annotation.annotation_id, "")
        now = annotation.updated_at
        stands = now is None or not version or _moment(version) == now
        yield Answer(annotation, annotation.annotation_id in ids, version, not stands)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _left_out(chain: Chain, config: BuildConfig, now: datetime) -> str | None:
    """Why a build makes no sample of the photo; none if the next one would."""
    if chain.photo is None:
        return "the photo is in no table any more"
    sources = Sources(
        photos=_rows(Photo, chain.photo),
        faces=_rows(Face, chain.face),
        consensus=_rows(Consensus, chain.consensus),
        annotations=_rows(Annotation, *(a.annotation for a in chain.answers)),
        retouches=_rows(Retouch, *chain.retouches),
        consents=[chain.consent] if chain.consent else [],
    )
    return assemble_tables(sources, config, now).reasons.get(chain.photo_id)


def _rows(noun: type[Record], *rows: Record | None) -> pa.Table:
    return table_from_records(noun, [row for row in rows if row is not None])


def _files(chain: Chain, media: Path) -> Iterator[File]:
    if chain.photo is not None:
        yield _file("original", Path(chain.photo.path), chain.photo_id)
    retouched = chain.sample.retouch_id if chain.sample else None
    for retouch in chain.retouches:
        if retouch.retouch_id == retouched:
            yield _file("retouch", media / retouch.path, retouch.retouch_id)
    crop = chain.sample or chain.crop
    if isinstance(crop, Sample):
        yield _file("crop", media / crop.crop_path, crop.crop_sha256)
    elif crop is not None:
        yield _file("crop", media / crop.path, crop.sha256)


def _file(what: str, path: Path, sha256: str) -> File:
    if not path.is_absolute():  # such as s3://bucket/key
        return File(what, str(path), sha256, "elsewhere")
    try:
        state = "present" if file_sha256(path) == sha256 else "damaged"
    except OSError:
        state = "missing"
    return File(what, str(path), sha256, state)


def _uses(store: Store, runs: Path, photo_id: str) -> Iterator[Use]:
    """Runs in the order of their names; a run that pins a version which is gone tells nothing."""
    records = dict(_run_records(runs))
    of_photo = f"photo_id = {sql_text(photo_id)}"
    held: dict[int, list[Sample]] = {}
    for version in {_pinned(r) for r in records.values()} - {-1}:
        pins = {"samples": Pin(Sample, version)}
        gone = contextlib.suppress(ManifestError)
        with gone, opened(store, pins) as connection:
            held[version] = _Tables(connection).rows(Sample, of_photo)
    for run, record in records.items():
        for s in held.get(_pinned(record), []):
            trained = s.split == "train" and s.weight > 0
            where = (run.name, str(record.get("kind", "")), _pinned(record))
            yield Use(*where, s.sample_id, s.split, trained, (run / "model").is_dir())


def _run_records(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(runs.glob("*/config.json")):
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(record, dict):
                yield file.parent, record


def _pinned(record: dict[str, Any]) -> int:
    """The version of the samples that a run is pinned to, -1 if its record does not say."""
    tables = record.get("tables")
    version = tables.get("samples") if isinstance(tables, dict) else None
    return version if isinstance(version, int) else -1
