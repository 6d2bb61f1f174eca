"""Latents and words on disk, found by what they were made from and how, never by a name or place.

A record's file name holds the SHA-256 of its source and a hash of how it was made, so an edited
picture, another encoder or another size finds nothing rather than something old. What a picture's
record holds goes by the picture's hash, which is how an erasure finds it too. Touches files below
one folder; several processes may write there at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from data_manifests.media import write_atomic

__all__ = ["VERSION", "Cache", "Key", "make_key", "tensors_sha256"]

log = logging.getLogger(__name__)

# Raise it when other numbers come out of the same picture, words and weights: all records go stale.
VERSION = 1
_SUFFIX = ".safetensors"
_PART = ".part-"  # what `write_atomic` calls a file until it is whole
_DEAD_AFTER_S = 3600.0  # no record takes an hour to write


@dataclass(frozen=True, slots=True)
class Key:
    """Which record: of what (SHA-256 of the source), and made how (SHA-256 of all that counts)."""

    shelf: Literal["latents", "words", "masks"]
    source: str
    way: str

    @property
    def path(self) -> Path:
        """The record's file, relative to the cache."""
        return Path(self.shelf, self.source[:2], f"{self.source}-{self.way[:16]}{_SUFFIX}")

    def __str__(self) -> str:
        return f"{self.shelf}/{self.source}/{self.way}"


def make_key(shelf: Literal["latents", "words", "masks"], source: str, **made: str | float) -> Key:
    """The key of what `source` (a SHA-256) becomes; `made` is everything else that decides it."""
    way = json.dumps({"version": VERSION, **made}, sort_keys=True)
    return Key(shelf, source, hashlib.sha256(way.encode()).hexdigest())


class Cache:
    """Records below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: Key) -> dict[str, Tensor] | None:
        """A record's tensors, on the CPU; none if there is none or, with a warning, a damaged one.

        Every byte of it is proved, and that it is this key's record and not one put in its place.
        """
        path = self.folder / key.path
        try:
            return _proved(path.read_bytes(), str(key))
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("The kept %s can't be used (%s): it is made again.", path, error)
            return None

    def write(self, key: Key, tensors: Mapping[str, Tensor]) -> None:
        """Put a record down, whole or not at all. StorageError if the disk is full."""
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        facts = {"id": str(key), "sha256": tensors_sha256(whole)}
        write_atomic(self.folder / key.path, save(whole, facts))

    def stale(self, needed: Iterable[Key]) -> list[Path]:
        """Files that none of the needed records is in, and what writers left that were killed."""
        wanted = {self.folder / key.path for key in needed}
        there = [p for p in sorted(self.folder.rglob("*")) if p.is_file() and p not in wanted]
        long_ago = time.time() - _DEAD_AFTER_S
        dead = (p for p in there if p.name.startswith(_PART) and _changed(p) < long_ago)
        return [*(p for p in there if p.suffix == _SUFFIX), *dead]

    def prune(self, needed: Iterable[Key]) -> tuple[int, int]:
        """Delete what `stale` finds: (files, bytes)."""
        count = size = 0
        for path in self.stale(needed):
            with contextlib.suppress(FileNotFoundError):  # another process prunes too
                size += path.stat().st_size
                path.unlink()
                count += 1
        return count, size


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)  # as bytes: NumPy has no bfloat16
    return digest.hexdigest()


def _proved(data: bytes, record_id: str) -> dict[str, Tensor]:
    """A record's tensors, in memory of their own; raises ValueError if it is not what it should be.

    A safetensors header is its length as 8 bytes, then as much JSON.
    """
    tensors = {name: value.clone() for name, value in load(data).items()}
    length = int.from_bytes(data[:8], "little")
    facts: dict[str, Any] = json.loads(data[8 : 8 + length])["__metadata__"]
    if facts["id"] != record_id:
        raise ValueError("it is another record")
    if facts["sha256"] != tensors_sha256(tensors):
        raise ValueError("its bytes were changed")
    return tensors


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # its writer has renamed it
        return time.time()
