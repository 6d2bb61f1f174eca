"""Marks of what was erased: enough to know it again, and nothing that tells of a person.

A mark is an HMAC under a key that lies beside the tables and never in them. Who has the tables
alone can't find out whose marks they hold; who loses the key loses the tombstones.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from data_manifests.errors import ConfigError
from data_manifests.private import make_key
from data_manifests.records import Tombstone
from data_manifests.store import Store

__all__ = [
    "REASON",
    "Erased",
    "Watch",
    "erased_in",
    "key_file",
    "mark_of",
    "marks_held",
    "marks_of",
    "open_key",
]

REASON = "erased_subject"  # why a file that was erased is refused
_KEY = "key"  # kind of the one mark that stands for the key itself


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased from a workspace; knows it again by its mark, and is empty without a key."""

    marks: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)

    def has(self, photo_id: str) -> bool:
        """Whether the photo with this SHA-256 was erased."""
        return self._has("photo", photo_id)

    def has_pixels(self, pixel_hash: str | None) -> bool:
        """Whether a photo with these upright pixels was erased, whatever file holds them now."""
        return pixel_hash is not None and self._has("pixels", pixel_hash)

    def has_consent(self, consent_id: str) -> bool:
        """Whether a consent of this name was erased."""
        return self._has("consent", consent_id)

    def has_subject(self, subject_id: str) -> bool:
        """Whether a subject of this name was erased."""
        return self._has("subject", subject_id)

    def _has(self, kind: str, value: str) -> bool:
        return bool(self.marks) and mark_of(self.key, kind, value) in self.marks


class Watch:
    """The marks as they stand: an erasure may end while a long run still reads files."""

    def __init__(self, store: Store) -> None:
        self._store, self._version, self._erased = store, -1, Erased()

    def now(self) -> Erased:
        """What is erased by now; read again only if the table changed. Raises as `erased_in`."""
        version = self._store.version(Tombstone)
        if version is not None and version != self._version:
            self._erased = erased_in(self._store)
            self._version = version
        return self._erased


@contextlib.contextmanager
def marks_held(store: Store) -> Iterator[None]:
    """No mark is added by another process meanwhile.

    What is checked against the marks and written within this is either refused, or there in time
    for the erasure that waits, which looks for rows after it has set its marks.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / ".marks.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def erased_in(store: Store) -> Erased:
    """What was erased from these tables; raises ConfigError where marks have lost their key."""
    rows = store.read(Tombstone)
    if not rows:
        return Erased()
    return Erased(frozenset(t.mark for t in rows), _proven_key(store, rows))


def mark_of(key: bytes, kind: str, value: str) -> str:
    """HMAC-SHA256 of a value under the workspace's key; the kind keeps equal names apart."""
    return hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()


def marks_of(key: bytes, values: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Kind by mark, for (kind, value) pairs."""
    return {mark_of(key, kind, value): kind for kind, value in values}


def open_key(store: Store) -> bytes:
    """The key of the workspace's marks and receipts; made once, for its owner's eyes only.

    Its own mark goes into the tables, so that no other key is taken for it later. Raises
    ConfigError for a key that is empty, can't be read, or is not the one of the marks.
    """
    rows = store.read(Tombstone)
    if not rows:
        make_key(key_file(store))
    key = _proven_key(store, rows)
    if not any(t.kind == _KEY for t in rows):
        own = Tombstone(
            mark=mark_of(key, _KEY, ""),
            kind=_KEY,
            reason="first_use",
            erased_at=datetime.now(UTC),
            receipt_id="",
        )
        store.append(Tombstone, [own], why="the mark of the key")
    return key


def key_file(store: Store) -> Path:
    """Where the key lies: beside the tables, never in them."""
    return store.folder.parent / ".erase-key"


def _proven_key(store: Store, rows: Iterable[Tombstone]) -> bytes:
    """The key in its file, if it is the one that the marks were made with."""
    file = key_file(store)
    try:
        key = file.read_bytes().strip()
    except FileNotFoundError:
        raise _no_key(file, "is missing") from None
    except OSError as error:
        raise _no_key(file, f"can't be read ({error.strerror})") from error
    if not key:
        raise _no_key(file, "is empty")
    own = {t.mark for t in rows if t.kind == _KEY}
    if own and mark_of(key, _KEY, "") not in own:
        raise _no_key(file, "is another one than they were made with")
    return key


def _no_key(file: Path, wrong: str) -> ConfigError:
    return ConfigError(
        f"The key {file} of the marks of erased photos {wrong}.",
        "Restore it from a backup: without it, what was erased would come back unseen.",
    )
