"""Originals and media on object stores, through fsspec: s3://, gs://, az:// and what else it knows.

An original is copied to a temporary file, judged there, and the copy is removed. Credentials and
the endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...), never from the
settings file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from curation.formats import RAW_SUFFIXES, looks_like_photo
from curation.scan import Found
from data_manifests.errors import InputError, MissingExtra, RemoteError, UnreadablePhoto
from data_manifests.media import write_atomic

__all__ = ["fetch_media", "find_remote", "forget_media", "is_url", "local_copy", "upload"]

_OBSTORE = {"s3", "s3a", "gs", "az", "abfs"}


def is_url(source: str) -> bool:
    """True for an address such as s3://bucket/folder."""
    return "://" in source


def find_remote(url: str) -> Iterator[Found]:
    """Every photo under an address, in order of its name; raises InputError if there is nothing."""
    files, root = _file_system(url)
    scheme = url.split("://", 1)[0]
    try:
        listed = files.find(root, detail=True)
    except Exception as error:  # each store raises its own
        raise RemoteError(f"{url} can't be listed: {_said(error)}.", _CHECK) from error
    if not listed:
        raise InputError(f"{url} holds nothing.", "Check the address.")
    names = sorted(listed)
    beside = {n for n in names if n.lower().endswith(".xmp")}
    raws = {_stem(n) for n in names if _is_raw(n)}
    for name in names:
        if looks_like_photo(b"", PurePosixPath(name).name):
            yield _found(name, scheme, listed, list(_sidecars(name, beside, raws)))


def _found(name: str, scheme: str, listed: dict[str, Any], sidecars: list[str]) -> Found:
    return Found(
        Path(name),
        url=f"{scheme}://{name}",
        stamp=(int(listed[name].get("size") or 0), _changed_ns(listed[name])),
        sidecars=tuple(f"{scheme}://{s}" for s in sidecars),
        sidecars_state=" ".join(f"{s} {_changed_ns(listed[s])}" for s in sidecars),
    )


@contextmanager
def local_copy(found: Found) -> Iterator[Path]:
    """The photo as a local file: itself, or a temporary copy with its sidecars beside it.

    Raises UnreadablePhoto with the reason "unreadable" if it can't be fetched.
    """
    if not found.url:
        yield found.path
        return
    with tempfile.TemporaryDirectory(prefix="authface-") as folder:
        try:
            for url in (found.url, *found.sidecars):
                files, name = _file_system(url)
                files.get_file(name, str(Path(folder) / PurePosixPath(name).name))
        except Exception as error:  # each store raises its own
            raise UnreadablePhoto("unreadable", f"can't be fetched: {_said(error)}") from error
        yield Path(folder) / found.path.name


def upload(url: str, data: bytes) -> None:
    """Write one object, unless one of that size is there: names are hashes of the content."""
    files, name = _file_system(url)
    try:
        if not (files.exists(name) and files.size(name) == len(data)):
            files.pipe_file(name, data)
    except Exception as error:  # each store raises its own
        raise RemoteError(f"{url} can't be written: {_said(error)}.", _CHECK) from error


def fetch_media(media_url: str, media: Path, names: Iterable[str]) -> Iterator[str]:
    """Bring pictures that are missing under media/; yields the names that were fetched."""
    for name in names:
        if (media / name).is_file():
            continue
        files, path = _file_system(f"{media_url.rstrip('/')}/{name}")
        try:
            data = files.cat_file(path)
        except Exception as error:  # each store raises its own
            raise RemoteError(f"{name} can't be fetched: {_said(error)}.", _CHECK) from error
        write_atomic(media / name, data)
        yield name


def forget_media(media_url: str, names: Iterable[str]) -> None:
    """Delete pictures from where they were uploaded to; what is gone already is fine."""
    for name in names:
        files, path = _file_system(f"{media_url.rstrip('/')}/{name}")
        try:
            if files.exists(path):
                files.rm(path)
        except Exception as error:  # each store raises its own
            raise RemoteError(f"{name} can't be deleted: {_said(error)}.", _CHECK) from error


_CHECK = "Check the address, the network and the credentials in the environment."


def _file_system(url: str) -> tuple[Any, str]:
    """(fsspec file system, path in it)."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", "cloud", "An address in place of a folder") from error
    scheme = url.split("://", 1)[0]
    if scheme in _OBSTORE:
        return _object_store(scheme), url.split("://", 1)[1]
    files, path = fsspec.core.url_to_fs(url)
    return files, path


@cache
def _object_store(scheme: str) -> Any:
    try:
        from obstore import fsspec as stores
    except ImportError as error:
        raise MissingExtra("obstore", "cloud", f"{scheme}://") from error
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    open_store: Any = stores.FsspecStore
    return open_store(scheme, client_options={"allow_http": plain})


def _sidecars(name: str, beside: set[str], raws: set[str]) -> Iterator[str]:
    """As `xmp.sidecars`: `IMG.xmp` of a RAW+JPEG pair speaks about the RAW."""
    stem = _stem(name)
    speaks_for_both = _is_raw(name) or stem not in raws
    ends = (".xmp", ".XMP")
    names = [name + end for end in ends] + [stem + end for end in ends if speaks_for_both]
    yield from (n for n in names if n in beside)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _is_raw(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in RAW_SUFFIXES


def _changed_ns(about: dict[str, Any]) -> int:
    """The time of change; where the store gives only a tag of the content, a number made of it."""
    tag = about.get("e_tag") or about.get("ETag")
    if tag:
        digest = hashlib.blake2b(str(tag).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big")
    for name in ("LastModified", "last_modified", "mtime", "created"):
        value: Any = about.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1_000_000_000)
        if isinstance(value, int | float):
            return int(value * 1_000_000_000)
    return 0


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
