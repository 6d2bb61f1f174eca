"""Where a before/after page may be written. Touches the disk."""

from __future__ import annotations

from pathlib import Path

from data_manifests.errors import InputError

__all__ = ["check_page"]

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


def _is_page(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _HEAD in stream.read(_READ)
    except OSError:
        return False
