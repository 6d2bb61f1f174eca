"""Files for their owner's eyes only: keys, logins, and what an erasure still has to do."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["make_key", "write_private"]


def write_private(file: Path, text: str) -> None:
    """Write a file of mode 0600: private before anything is in it, and replaced whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(text.encode())
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(file)


def make_key(file: Path) -> bytes:
    """The key that the file holds; made once. 64 hexadecimal digits, as bytes."""
    if not file.exists():
        write_private(file, secrets.token_hex(32))
    return file.read_bytes().strip()
