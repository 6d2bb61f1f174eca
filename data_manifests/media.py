"""Pictures the toolkit makes: named by content hash, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_manifests.errors import StorageError

__all__ = [
    "PART",
    "Workspace",
    "media_name",
    "sweep_parts",
    "write_atomic",
    "write_media",
    "write_pieces",
]

PART = ".part-"  # files not yet under their final name begin with this
_YOUNG_S = 2.0  # between making such a file and locking it pass microseconds


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one workspace; originals live elsewhere and are never written."""

    root: Path

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.root / "authface.toml"

    @property
    def tables(self) -> Path:
        """Delta tables."""
        return self.root / "tables"

    @property
    def media(self) -> Path:
        """Crops, tiles and proxies, named by content hash; Label Studio serves from here."""
        return self.root / "media"

    @property
    def runs(self) -> Path:
        """Training runs."""
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """Latents and words that training would make again; may be deleted at any time."""
        return self.root / "cache"

    @property
    def label_studio(self) -> Path:
        """Data of a Label Studio started from this workspace."""
        return self.root / "label-studio"


def write_media(media: Path, kind: str, data: bytes, suffix: str) -> tuple[str, str]:
    """Write bytes to media/kind/ab/<sha256><suffix> unless they are there.

    (relative path, SHA-256).
    """
    relative, sha256 = media_name(kind, data, suffix)
    target = media / relative
    # The name is the content's hash and files appear whole, so one of the right size is the right
    # one.
    if not (target.exists() and target.stat().st_size == len(data)):
        write_atomic(target, data)
    return relative, sha256


def media_name(kind: str, data: bytes, suffix: str) -> tuple[str, str]:
    """(path relative to media/, SHA-256) that these bytes go by."""
    sha256 = hashlib.sha256(data).hexdigest()
    return f"{kind}/{sha256[:2]}/{sha256}{suffix}", sha256


def write_atomic(target: Path, data: bytes) -> None:
    """Write a file so that it is seen whole or not at all, even across a power cut."""
    write_pieces(target, (data,))


def write_pieces(target: Path, pieces: Iterable[bytes]) -> int:
    """As `write_atomic`, from pieces that need not fit in memory together; gives the size."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=PART)
        try:
            with os.fdopen(handle, "wb") as part:
                with contextlib.suppress(OSError):  # some network disks have no locks
                    fcntl.flock(part, fcntl.LOCK_EX)
                size = sum(part.write(piece) for piece in pieces)
                part.flush()
                os.fsync(part.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(target)
            _sync_folder(target.parent)
            return size
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        full = error.errno == errno.ENOSPC
        wrong = (
            f"The disk that holds {target.parent} is full."
            if full
            else f"{target} can't be written: {error.strerror}."
        )
        raise StorageError(
            wrong, "Nothing is half written: mend it and run the command again."
        ) from error


def sweep_parts(folder: Path) -> int:
    """Take away what killed writers left half written in a folder; gives how many files.

    Whoever writes holds a lock on such a file until it has its name: what is locked, or was made
    just now, is left.
    """
    swept = 0
    for path in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError), path.open("rb") as part:
            if time.time() - os.fstat(part.fileno()).st_mtime > _YOUNG_S:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                swept += 1
    return swept


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
