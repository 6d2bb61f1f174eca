"""The ingest stream: files in, one judged row per file out, in the order they were found.

Decoding runs ahead in child processes while this process judges, so two cores are used. Originals
are opened for reading only; what changed while it was read is not trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from curation import gates
from curation.config import IngestConfig
from curation.decode import DecodedPhoto
from curation.duplicates import KeptHashes
from curation.faces import NamedFinder, open_finder
from curation.facts import Facts
from curation.judge import Judged, judge
from curation.metadata import sidecars
from curation.sandbox import Sandbox
from curation.scan import Found, find_photos
from data_manifests.errors import UnreadablePhoto
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo, Verdict

__all__ = ["Ingested", "ingest", "ingest_found", "readable_name"]

CODE_VERSION = 1  # raise it when the same file and settings would be judged otherwise
_OWNERS = ("photographer", "licence", "consent_id", "subject_id")


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one file: new, known, copy or unreadable; `photo` is its row as it is now."""

    path: str
    status: str
    photo: Photo | None = None
    faces: tuple[Face, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file on its way: either settled at once, or being decoded."""

    found: Found
    settled: Ingested | None = None
    photo_id: str = ""
    key: str = ""
    stamp: tuple[int, int] = (0, 0)
    decoding: Future[tuple[Facts, DecodedPhoto | None]] | None = None


def ingest(
    sources: Iterable[Path],
    *,
    workspace: Workspace,
    config: IngestConfig,
    known: Mapping[str, Photo],
) -> Iterator[Ingested]:
    """Yield what became of every photo under the sources; `known` holds the rows by photo_id.

    A photo judged before with the same settings comes back as known and is not decoded. Raises
    InputError for a missing source, ConfigError for a missing finder, StorageError from the disk.
    """
    yield from ingest_found(find_photos(sources), workspace=workspace, config=config, known=known)


def ingest_found(
    found: Iterable[Found],
    *,
    workspace: Workspace,
    config: IngestConfig,
    known: Mapping[str, Photo],
) -> Iterator[Ingested]:
    """As `ingest`, for files found already."""
    run = _Run(workspace, config, known)
    ahead: deque[_Pending] = deque()
    try:
        for item in found:
            ahead.append(run.begin(item))
            while len(ahead) > config.decoder.processes:
                yield run.finish(ahead.popleft())
        while ahead:
            yield run.finish(ahead.popleft())
    finally:
        run.close()


class _Run:
    """The state of one ingest: decoders, the face finder, and the rows so far."""

    def __init__(
        self, workspace: Workspace, config: IngestConfig, known: Mapping[str, Photo]
    ) -> None:
        self.workspace, self.config = workspace, config
        self.finder: NamedFinder = open_finder(config.faces)
        self.settings = _settings_digest(config, self.finder.name)
        self.known = dict(known)
        self.rows: dict[str, Photo] = {}  # judged or seen in this run
        self.claimed: set[str] = set()
        kept = [p for p in known.values() if p.state == "kept" and p.perceptual_hash]
        self.hashes = KeptHashes((p.photo_id, str(p.perceptual_hash)) for p in kept)
        self.sandboxes = [Sandbox(config.decoder) for _ in range(config.decoder.processes)]
        self.free: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self.sandboxes:
            self.free.put(sandbox)
        self.pool = ThreadPoolExecutor(len(self.sandboxes), "decode")

    def close(self) -> None:
        """Stop the decoders."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        for sandbox in self.sandboxes:
            sandbox.close()
        self.pool.shutdown(wait=True)

    def begin(self, found: Found) -> _Pending:
        """Hash the file and start decoding it, unless the hash says there is no need."""
        if found.problem:
            return _Pending(found, _unreadable(found.path, found.problem))
        try:
            photo_id, stamp = _hash_file(found.path)
        except OSError as error:
            why = error.strerror or "it can't be opened"
            return _Pending(found, _unreadable(found.path, f"can't be read: {why}"))
        if photo_id in self.claimed:
            return _Pending(found, photo_id=photo_id)
        self.claimed.add(photo_id)
        key, standing = self._key(found.path), self.known.get(photo_id)
        if standing is not None and standing.ingest_key == key:
            return _Pending(found, photo_id=photo_id)
        decoding = self.pool.submit(self._decode, found.path)
        return _Pending(found, None, photo_id, key, stamp, decoding)

    def finish(self, pending: _Pending) -> Ingested:
        """The row of a file that was begun."""
        if pending.settled is not None:
            return pending.settled
        if pending.decoding is None:
            return self._seen(pending)
        path = pending.found.path
        try:
            facts, decoded = pending.decoding.result()
            photo, faces = self._judge(pending, facts, decoded)
        except UnreadablePhoto as error:
            if error.reason == "unreadable":
                return _unreadable(path, error.wrong)
            photo, faces = _quarantined(self._blank(pending), error), ()
        if _stamp(path) != pending.stamp:
            return _unreadable(path, "it changed while it was read: run the command again")
        self.rows[photo.photo_id] = photo
        if photo.state == "kept" and photo.perceptual_hash:
            self.hashes.add(photo.photo_id, photo.perceptual_hash)
        return Ingested(readable_name(path), "new", photo, faces, _problem(photo))

    def _decode(self, path: Path) -> tuple[Facts, DecodedPhoto | None]:
        """Facts, and pixels if the header passes the first gate; runs in a thread."""
        sandbox = self.free.get()
        try:
            facts = sandbox.look(path)
            keep = gates.judge_long_side(facts.long_side, self.config.gates).keep
            photo = sandbox.read(path) if keep else None
        finally:
            self.free.put(sandbox)
        return (photo.facts if photo else facts), photo

    def _judge(
        self, pending: _Pending, facts: Facts, decoded: DecodedPhoto | None
    ) -> tuple[Photo, tuple[Face, ...]]:
        photo = _with_facts(self._blank(pending), facts)
        verdicts = [gates.judge_long_side(facts.long_side, self.config.gates)]
        if decoded is None:
            return _decided(photo, verdicts), ()
        judged = judge(
            pending.photo_id,
            decoded,
            finder=self.finder,
            config=self.config,
            media=self.workspace.media,
        )
        nearest = self.hashes.nearest(judged.perceptual_hash, other_than=pending.photo_id)
        verdicts += [*judged.verdicts, gates.judge_near_duplicate(nearest, self.config.gates)]
        photo = _decided(_with_judged(photo, judged), verdicts)
        if nearest and "near_duplicate" in photo.reasons:
            photo = replace(photo, near_duplicate_of=nearest[0])
        return photo, judged.faces

    def _seen(self, pending: _Pending) -> Ingested:
        """A file whose bytes have a row: known at this path, or one more copy."""
        name = readable_name(pending.found.path)
        standing = self.rows.get(pending.photo_id) or self.known.get(pending.photo_id)
        if standing is None:  # its twin turned out to be unreadable a moment ago
            return _unreadable(
                pending.found.path, "it changed while it was read: run the command again"
            )
        photo, problem = _owned(standing, self.config)
        if name == standing.path or name in standing.copies:
            status = "known"
        elif not os.path.lexists(standing.path):  # the original was moved here
            status, photo = "known", replace(photo, path=name)
        else:
            status, photo = "copy", replace(photo, copies=tuple(sorted({*photo.copies, name})))
        self.rows[photo.photo_id] = photo
        return Ingested(name, status, photo, (), problem)

    def _blank(self, pending: _Pending) -> Photo:
        standing = self.known.get(pending.photo_id)
        photo = Photo(
            photo_id=pending.photo_id,
            path=readable_name(pending.found.path),
            copies=standing.copies if standing else (),
            state="kept",
            size_bytes=pending.stamp[0],
            ingest_key=pending.key,
            photographer=standing.photographer if standing else None,
            licence=standing.licence if standing else None,
            consent_id=standing.consent_id if standing else None,
            subject_id=standing.subject_id if standing else None,
        )
        if standing and standing.path != photo.path and os.path.lexists(standing.path):
            photo = replace(
                photo, path=standing.path, copies=tuple(sorted({*photo.copies, photo.path}))
            )
        return _owned(photo, self.config)[0]

    def _key(self, path: Path) -> str:
        """Settings and sidecars: a new rating in Lightroom makes the photo worth another look."""
        digest = hashlib.sha256(self.settings.encode())
        for sidecar in sidecars(path):
            with contextlib.suppress(OSError):
                digest.update(sidecar.read_bytes())
        return digest.hexdigest()[:32]


def readable_name(path: Path) -> str:
    """The path as text that a table can hold; bytes that are no UTF-8 become \\x escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _settings_digest(config: IngestConfig, finder: str) -> str:
    told = config.model_dump(mode="json", exclude={*_OWNERS, "decoder"})
    told |= {"finder": finder, "code": CODE_VERSION, "most_pixels": config.decoder.most_pixels}
    return json.dumps(told, sort_keys=True)


def _hash_file(path: Path) -> tuple[str, tuple[int, int]]:
    """(SHA-256, stamp) of an ordinary file; never blocks on a pipe that took its place."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        facts = os.fstat(opened.fileno())
        return hashlib.file_digest(opened, "sha256").hexdigest(), (facts.st_size, facts.st_mtime_ns)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (-1, -1)
    return facts.st_size, facts.st_mtime_ns


def _unreadable(path: Path, problem: str) -> Ingested:
    return Ingested(readable_name(path), "unreadable", problem=problem)


def _quarantined(photo: Photo, error: UnreadablePhoto) -> Photo:
    verdict = Verdict(gate="decode", keep=False, reason=str(error))
    return replace(photo, state="quarantined", reasons=(error.reason,), verdicts=(verdict,))


def _with_facts(photo: Photo, facts: Facts) -> Photo:
    return replace(
        photo,
        format=facts.format,
        width=facts.width,
        height=facts.height,
        bit_depth=facts.bit_depth,
        orientation=facts.orientation,
        colour_profile=facts.colour_profile,
        capture=facts.capture,
        xmp_rating=facts.xmp_rating,
        xmp_label=facts.xmp_label,
    )


def _with_judged(photo: Photo, judged: Judged) -> Photo:
    return replace(
        photo,
        perceptual_hash=judged.perceptual_hash,
        proxy_path=judged.proxy_path,
        proxy_width=judged.proxy_width,
        proxy_height=judged.proxy_height,
    )


def _decided(photo: Photo, verdicts: list[Verdict]) -> Photo:
    failed = tuple(v.gate for v in verdicts if not v.keep)
    state = "set_aside" if failed else "kept"
    return replace(photo, state=state, reasons=failed, verdicts=tuple(verdicts))


def _owned(photo: Photo, config: IngestConfig) -> tuple[Photo, str]:
    """The photo with its empty owner fields filled, and what stands against the settings.

    A consent or a name that a row has is never replaced in passing.
    """
    wanted = {name: getattr(config, name) for name in _OWNERS if getattr(config, name) is not None}
    filled = {n: v for n, v in wanted.items() if getattr(photo, n) is None}
    kept = [n for n, v in wanted.items() if getattr(photo, n) not in (None, v)]
    problem = f"keeps its own {', '.join(kept)}" if kept else ""
    return (replace(photo, **filled) if filled else photo), problem


def _problem(photo: Photo) -> str:
    return "; ".join(v.reason for v in photo.verdicts if not v.keep)
