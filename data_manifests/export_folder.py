"""The folder of an export: seen whole or not at all, recognised again, and proved by its sums."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data_manifests.errors import InputError, ManifestError, StorageError
from data_manifests.media import write_atomic

__all__ = [
    "FACTS",
    "NAMES",
    "changed_folder",
    "data_files",
    "new_folder",
    "read_facts",
    "sweep",
    "write_json",
    "write_sums",
]

FACTS = "export.json"  # its presence says that the folder is ours
SUMS = "SHA256SUMS"
NAMES = ("parquet", "datasets", "webdataset")  # the formats that there are
_TOLD: Mapping[str, type] = MappingProxyType(
    {
        "format": str,
        "name": str,
        "samples_version": int,
        "made_at": str,
        "samples": int,
        "left_out": dict,
    }
)


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder to write to, which takes its final name when all went well.

    Raises InputError if the place is taken by anything but an export that may be overwritten.
    """
    _check_place(folder, overwrite=overwrite)
    with _storage_errors(folder), _locked(_part(folder)) as part:
        _heal(folder)
        with _filled(part, folder):
            yield part


@contextmanager
def changed_folder(folder: Path) -> Iterator[Path]:
    """A hidden copy of an export to change, which takes its place when all went well.

    Files are links to those of the export: replace them, never write into them. Raises
    ManifestError if the data isn't what its sums say, or while an export is being written there.
    """
    folder = folder.resolve()  # it may have been moved, and a link left in its place
    sweep(folder)
    with _storage_errors(folder), _locked(_part(folder)) as part, _filled(part, folder):
        _check_sums(folder)
        shutil.copytree(
            folder,
            part,
            symlinks=True,
            ignore=shutil.ignore_patterns(FACTS),
            copy_function=_link,
            dirs_exist_ok=True,
        )
        yield part


def sweep(folder: Path) -> None:
    """Remove what a killed export or a killed rewriting left beside the folder and in it.

    Raises ManifestError while an export is being written there.
    """
    part = _part(folder)
    with _storage_errors(folder):
        if part.is_dir():
            with _locked(part):
                _remove(part)
        _heal(folder)
        for left in folder.rglob(".part-*"):
            left.unlink(missing_ok=True)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What the export says of itself; none if the folder holds no export of ours."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("format") not in NAMES:
        return None
    return facts if all(isinstance(facts.get(k), kind) for k, kind in _TOLD.items()) else None


def data_files(folder: Path) -> list[Path]:
    """The files that hold samples, in order."""
    found = (p for ending in ("*.parquet", "data/*.parquet", "*.tar") for p in folder.glob(ending))
    return sorted(found)


def write_json(target: Path, value: object) -> None:
    """Write JSON for people and programs, whole or not at all."""
    write_atomic(target, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every file, as `sha256sum --check` reads it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    write_atomic(folder / SUMS, "".join(lines).encode())


def _check_place(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if read_facts(folder) is None:
        raise InputError(
            f"{folder} is there already, and it is no export.", "Choose another folder."
        )
    if not overwrite:
        raise InputError(
            f"{folder} holds an export already.", "Add --overwrite, or choose another folder."
        )
    ours = {SUMS, *_read_sums(folder)}
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    other = next((n for n in found if n not in ours and "/.part-" not in f"/{n}"), None)
    if other is not None:
        raise InputError(
            f"{folder} holds {other}, which is not of the export.",
            "Move it elsewhere, or choose another folder.",
        )


def _check_sums(folder: Path) -> None:
    """Raises ManifestError if a file of samples isn't what SHA256SUMS says.

    A card may be edited; but what can't be read as it was written could hide a sample.
    """
    sums = _read_sums(folder)
    listed = {name for name in sums if name.endswith((".parquet", ".tar"))}
    standing = {path.relative_to(folder).as_posix() for path in data_files(folder)}
    for name in sorted(listed | standing):
        path = folder / name
        if not path.is_file() or _sha256(path) != sums.get(name):
            raise ManifestError(
                f"{path} is not the file that {SUMS} tells of.",
                "Delete the export, or make it again with --overwrite.",
            )


def _read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, as the folder says; empty if it says nothing that can be read."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _locked(part: Path) -> Iterator[Path]:
    """The folder made and locked; the kernel lets go of the lock when its holder dies."""
    part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ManifestError(
                f"Another export is being written to {part}.",
                "Wait until it is finished, then run the command again.",
            ) from error
        yield part
    finally:
        os.close(handle)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The export {folder} can't be written: {error.strerror}.",
            "Nothing stands half written under its name: mend it and run the command again.",
        ) from error


@contextmanager
def _filled(part: Path, folder: Path) -> Iterator[None]:
    """The hidden folder emptied, and put under its final name once it is filled."""
    _check_ours(part)
    write_json(part / FACTS, {"unfinished": True})
    _empty(part)
    try:
        yield
        _put(part, folder)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(part)
        raise


def _put(part: Path, folder: Path) -> None:
    """Two renames where there was an export: if we are killed between them, the old one is put
    back by whoever comes next."""
    if folder.exists() and any(folder.iterdir()):
        folder.rename(_old(folder))
    part.rename(folder)
    _sync(folder.parent)
    if _old(folder).is_dir():
        with contextlib.suppress(OSError):
            _remove(_old(folder))


def _heal(folder: Path) -> None:
    old = _old(folder)
    if not old.is_dir():
        return
    _check_ours(old)
    if folder.exists():
        _remove(old)
    else:
        old.rename(folder)


def _check_ours(hidden: Path) -> None:
    """Raises ManifestError for a folder beside the export that no export of ours has left there."""
    if not (hidden / FACTS).is_file() and any(hidden.iterdir()):
        raise ManifestError(
            f"{hidden} is in the way, and no export has left it there.",
            "Look what lies there, move it elsewhere and run the command again.",
        )


def _remove(hidden: Path) -> None:
    """Remove a folder that is ours; what says so goes last, so that a kill leaves it ours."""
    _check_ours(hidden)
    _empty(hidden)
    (hidden / FACTS).unlink(missing_ok=True)
    hidden.rmdir()


def _empty(hidden: Path) -> None:
    for left in hidden.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != FACTS:
            left.unlink()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # not every disk has links
        shutil.copy2(source, target, follow_symlinks=False)


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
