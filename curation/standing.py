"""What the tables know already: which files need no second look, and what an ingest would do."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.config import IngestConfig
from curation.engines import name_of
from curation.faces import open_finder
from curation.scan import Found
from curation.source import Stamp, stamp_of
from curation.xmp import sidecars
from data_manifests.records import Photo

__all__ = ["CODE_VERSION", "OWNERS", "Foretold", "Standing", "found_stamp", "holds"]

CODE_VERSION = 2  # raise it when the same file and settings would be judged otherwise
OWNERS = ("photographer", "licence", "consent_id", "subject_id")
_MENDABLE = frozenset(
    {
        *("timeout", "memory", "decoder_crash"),
        *("heif_support_missing", "psd_support_missing", "avif_support_missing"),
    }
)
_PACKAGES = ("pillow_heif", "psd_tools", "imagecodecs")  # whose lack quarantines a file
_SETTLED_LATER = ("near_duplicate_bits", "least_likeness", "burst_s")  # from the tables
_ELSEWHERE = {"decoder", "embed", "identity"}  # sections that don't change what a file's row says


class Standing:
    """The rows of the tables by place and time, and the key that a file would be judged under."""

    def __init__(
        self, config: IngestConfig, known: Mapping[str, Photo], *, rehash: bool = False
    ) -> None:
        """`config` with its finder settled. With `rehash` no time is trusted, and what broke a
        worker is tried again."""
        self._means, self._rehash = _means_digest(config), rehash
        self._settings = _settings_digest(config, open_finder(config.faces).name)
        self._plain_key = hashlib.sha256(self._settings.encode()).hexdigest()[:32]
        self._by_place = {
            (p.path, p.size_bytes, p.modified_ns): p
            for p in known.values()
            if p.modified_ns and not rehash
        }
        self._first_of = {copy: p for p in known.values() for copy in p.copies}
        self._paths = {p.path for p in known.values()} | set(self._first_of)
        self._folders: dict[Path, bool] = {}

    def unchanged(self, found: Found, key: str) -> Photo | None:
        """The row of a file of the same name, size, time of change and key; none otherwise."""
        stamp = found_stamp(found)
        photo = self._by_place.get((name_of(found), *stamp)) if stamp is not None else None
        return photo if photo is not None and self.judged_under(photo) == key else None

    def judged_under(self, photo: Photo) -> str:
        """The key under which this row need not be made again, empty if it must.

        A row that more time, more memory or another package could mend holds for those means only.
        """
        if not _MENDABLE.intersection(photo.reasons):
            return photo.ingest_key
        key, _, means = photo.ingest_key.partition(":")
        return key if means == self._means and not self._rehash else ""

    def key_for(self, photo: Photo, key: str) -> str:
        """What to keep as the ingest key of a row that was judged under `key`."""
        return f"{key}:{self._means}" if _MENDABLE.intersection(photo.reasons) else key

    def foretell(self, found: Iterable[Found]) -> Foretold:
        """What an ingest of these files would do; reads none of them."""
        count: Counter[str] = Counter()
        size = 0
        for item in found:
            stamp = found_stamp(item)
            if item.problem or stamp is None:
                count["unreadable"] += 1
            elif self.unchanged(item, self.key_of(item)) is not None:
                count["known"] += 1
            else:
                count["again" if name_of(item) in self._paths else "new"] += 1
                size += stamp[0]
        return Foretold(count["known"], count["new"], count["again"], count["unreadable"], size)

    def key_of(self, found: Found) -> str:
        """Settings and sidecars: a new rating in Lightroom makes the photo worth another look.

        A copy is judged as the file that its row names, whatever lies beside the copy.
        """
        first = self._first_of.get(name_of(found))
        if first is not None and "://" not in first.path and holds(first):
            found = Found(Path(first.path))
        if not found.url and not self._holds_sidecars(found.path.parent):
            return self._plain_key
        digest = hashlib.sha256(self._settings.encode())
        if found.url:
            digest.update(found.sidecars_state.encode())
            return digest.hexdigest()[:32]
        for sidecar in sidecars(found.path):
            with contextlib.suppress(OSError):
                digest.update(sidecar.read_bytes())
        return digest.hexdigest()[:32]

    def _holds_sidecars(self, folder: Path) -> bool:
        """Whether a folder holds any sidecar: looking for four names per photo takes far longer."""
        if folder not in self._folders:
            try:
                names = os.listdir(folder)  # noqa: PTH208 - names are enough, and far cheaper
            except OSError:
                return True  # it can be entered and not listed
            self._folders[folder] = any(n.lower().endswith(".xmp") for n in names)
        return self._folders[folder]


@dataclass(frozen=True, slots=True)
class Foretold:
    """What an ingest would do, as far as names, sizes and times tell."""

    known: int
    new: int
    again: int
    unreadable: int
    bytes: int

    def lines(self) -> list[tuple[int, str]]:
        """(count, what) for people, without what does not occur."""
        said = [
            (self.new, "new, to be judged"),
            (self.again, "changed, or judged with other settings: to be judged again"),
            (self.known, "known already"),
            (self.unreadable, "can't be read"),
        ]
        return [(count, what) for count, what in said if count]


def holds(photo: Photo) -> bool:
    """Whether the file at the row's path still looks like the one that was read."""
    if "://" in photo.path or "\\x" in photo.path:  # a name that is no UTF-8 is kept as escapes
        return True
    if not photo.modified_ns:  # a row of an older release
        return os.path.lexists(photo.path)
    return stamp_of(Path(photo.path)) == (photo.size_bytes, photo.modified_ns)


def found_stamp(found: Found) -> Stamp | None:
    """Size and time of change of a file now, or as an object store's listing gave them."""
    return found.stamp if found.url else stamp_of(found.path)


def _means_digest(config: IngestConfig) -> str:
    decoder = config.decoder
    there = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
    told = json.dumps([decoder.timeout_s, decoder.memory_mb, *there])
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _settings_digest(config: IngestConfig, finder: str) -> str:
    told = config.model_dump(mode="json", exclude={*OWNERS, *_ELSEWHERE})
    told["faces"].pop("fetch")
    for name in _SETTLED_LATER:
        told["gates"].pop(name)
    told |= {
        "finder": finder,
        "code": CODE_VERSION,
        "most_pixels": config.decoder.most_pixels,
        "raw_preview": config.decoder.raw_preview,
    }
    return json.dumps(told, sort_keys=True)
