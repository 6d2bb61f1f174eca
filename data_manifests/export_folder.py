"""The folder of an export: seen whole or not at all, recognised again, and proved by its sums."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_manifests.errors import InputError, ManifestError, StorageError
from data_manifests.media import write_atomic

__all__ = ["FACTS", "data_files", "new_folder", "read_facts", "sweep", "write_json", "write_sums"]

FACTS = "export.json"  # its presence says that the folder is ours
SUMS = "SHA256SUMS"


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder to write to, which takes its final name when all went well.

    Raises InputError if the place is taken by anything but an export that may be overwritten.
    """
    _check_place(folder, overwrite=overwrite)
    with _storage_errors(folder), _locked(_part(folder)) as part:
        _heal(folder)
        _empty(part)
        try:
            yield part
            _put(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def sweep(folder: Path) -> None:
    """Remove what a killed export or a killed rewriting left beside the folder and in it.

    Raises ManifestError while an export is being written there.
    """
    part = _part(folder)
    with _storage_errors(folder):
        if part.is_dir():
            with _locked(part):
                shutil.rmtree(part)
        _heal(folder)
        for left in folder.rglob(".part-*"):
            left.unlink(missing_ok=True)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What the export says of itself; none if the folder holds no export of ours."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "format" in facts else None


def data_files(folder: Path) -> list[Path]:
    """The files that hold samples, in order."""
    found = (p for ending in ("*.parquet", "data/*.parquet", "*.tar") for p in folder.glob(ending))
    return sorted(found)


def write_json(target: Path, value: object) -> None:
    """Write JSON for people and programs, whole or not at all."""
    write_atomic(target, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every file, as `sha256sum --check` reads it."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS):
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
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


def _put(part: Path, folder: Path) -> None:
    """Two renames where there was an export: if we are killed between them, the old one is put
    back by whoever comes next."""
    if folder.exists() and any(folder.iterdir()):
        folder.rename(_old(folder))
    part.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(_old(folder), ignore_errors=True)


def _heal(folder: Path) -> None:
    old = _old(folder)
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    elif old.is_dir():
        shutil.rmtree(old)


def _empty(part: Path) -> None:
    for left in part.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


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
