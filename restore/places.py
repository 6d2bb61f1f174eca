"""Whether outputs and the before/after page can be written where they are to go.

Asked before the work, not after hours of it. Touches the disk.
"""

from __future__ import annotations

import os
from pathlib import Path

from data_manifests.errors import InputError, StorageError

__all__ = ["check_page", "check_writable"]

_HEAD = b"<title>Restored photos</title>"  # of every page that was ever written
_READ = 1000  # bytes; the title lies in the first 200


def check_page(file: Path) -> None:
    """Raise InputError where the page can't be written without costing somebody a file."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{file.name} is no name for a page.", "Call the page compare.html.")
    if file.exists() and not _is_page(file):
        raise InputError(
            f"{file} is there already and is no before/after page of AuthFace.",
            "Give the page another name.",
        )


def check_writable(path: Path) -> None:
    """Raise StorageError if no file can be made at a path, with the folders above it.

    The nearest one above that is there is looked at; nothing is written to find out.
    """
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise StorageError(f"{folder} is no folder.", "Name another place to write to.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"Nothing can be written into {folder}: it is read-only, or another user's.",
            "Name another place to write to, or change its permissions.",
        )


def _is_page(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _HEAD in stream.read(_READ)
    except OSError:
        return False
