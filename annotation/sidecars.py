"""Files: which sidecar a photo's decisions go to, and writing it whole, with the first state kept.

An original is never written. A sidecar that somebody else changes meanwhile is left alone.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from annotation.xmp_write import Rewritten, Wanted, rewrite, speaks_for
from data_manifests.errors import AuthFaceError, InputError, StorageError
from data_manifests.media import write_atomic

__all__ = ["BACKUP", "Planned", "Settled", "plan", "write"]

BACKUP = ".authface-backup"
_LARGEST = 1_000_001  # bytes read: one more than a sidecar may have


@dataclass(frozen=True, slots=True)
class Settled:
    """A photo with what its sidecars shall say; `is_raw` where `IMG.xmp` is its sidecar's name."""

    path: Path
    wanted: Wanted
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """One sidecar as it is and as it shall be; `wrong` says why it can't be written."""

    photo: Path
    sidecar: Path
    before: bytes | None = None
    after: Rewritten | None = None
    wrong: str = ""

    @property
    def changes(self) -> bool:
        """Whether there is something to write."""
        return self.after is not None and self.after.data != self.before


def plan(
    photo: Settled,
    *,
    existing: Callable[[Path], Sequence[Path]],
    labels: Collection[str],
    at: datetime,
) -> list[Planned]:
    """What every sidecar of a photo becomes; a new one where it has none. Nothing is written.

    `existing` lists the sidecars that a photo has. With two of them both are kept alike.
    """
    found = [p for p in existing(photo.path) if _is_for(p, photo.path)]
    return [_planned(photo, p, labels, at) for p in found or [_new_name(photo)]]


def write(planned: Planned) -> None:
    """Write one sidecar whole, its first state kept beside it as NAME.xmp.authface-backup.

    Raises StorageError from the disk, InputError if the sidecar is no longer as it was planned on.
    """
    if planned.after is None or not planned.changes:
        return
    sidecar = planned.sidecar
    if _bytes(sidecar) != planned.before:
        raise InputError(f"{sidecar} was changed meanwhile.", "Nothing was written: run it again.")
    if planned.before is None:
        write_atomic(sidecar, planned.after.data)
        return
    backup = sidecar.with_name(sidecar.name + BACKUP)
    if not backup.exists():
        write_atomic(backup, planned.before)
    mode = stat.S_IMODE(sidecar.stat().st_mode)
    write_atomic(sidecar, planned.after.data)
    sidecar.chmod(mode)


def _planned(photo: Settled, sidecar: Path, labels: Collection[str], at: datetime) -> Planned:
    try:
        if sidecar.is_symlink():
            raise InputError("The sidecar is a link.", "Write to the file that it leads to.")
        before = _bytes(sidecar)
        extension = photo.path.suffix.removeprefix(".").upper()
        after = rewrite(before, photo.wanted, at=at, labels=labels, extension=extension)
    except AuthFaceError as error:
        return Planned(photo.path, sidecar, wrong=str(error))
    return Planned(photo.path, sidecar, before, after)


def _is_for(sidecar: Path, photo: Path) -> bool:
    """`IMG.xmp` beside IMG.NEF and IMG.JPG says in SidecarForExtension which one it is about."""
    if sidecar.stem == photo.name:
        return True
    try:
        said = speaks_for(_bytes(sidecar) or b"")
    except StorageError:  # told when it is planned
        return True
    return not said or said.casefold() == photo.suffix.removeprefix(".").casefold()


def _new_name(photo: Settled) -> Path:
    """`IMG.xmp` where no other file is called IMG, or for the RAW of a pair; else `IMG.JPG.xmp`."""
    path = photo.path
    plain, full = path.with_suffix(".xmp"), path.with_name(f"{path.name}.xmp")
    same_name = [
        p for p in path.parent.glob(f"{_literal(path.stem)}.*") if p.suffix.lower() != ".xmp"
    ]
    alone = all(p == path for p in same_name)
    return plain if (alone or photo.is_raw) and not plain.exists() else full


def _literal(stem: str) -> str:
    return "".join(f"[{c}]" if c in "[*?" else c for c in stem)


def _bytes(sidecar: Path) -> bytes | None:
    try:
        with sidecar.open("rb") as handle:
            return handle.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{sidecar} can't be read: {error.strerror}.", "Check it.") from error
