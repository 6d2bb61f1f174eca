"""What the tables know already: which files need no second look, and what an ingest would do."""

from __future__ import annotations

import contextlib
import hashlib
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

__all__ = ["CODE_VERSION", "OWNERS", "Foretold", "Standing", "found_stamp"]

CODE_VERSION = 2  # raise it when the same file and settings would be judged otherwise
OWNERS = ("photographer", "licence", "consent_id", "subject_id")
_SETTLED_LATER = ("near_duplicate_bits", "least_likeness", "burst_s")  # from the tables
_ELSEWHERE = {"decoder", "embed", "identity"}  # sections that don't change what a file's row says


class Standing:
    """The rows of the tables by place and time, and the key that a file would be judged under."""

    def __init__(self, config: IngestConfig, known: Mapping[str, Photo]) -> None:
        """`config` with its finder settled; `known` are the rows whose times are trusted."""
        self._settings = _settings_digest(config, open_finder(config.faces).name)
        self._plain_key = hashlib.sha256(self._settings.encode()).hexdigest()[:32]
        self._by_place = {
            (p.path, p.size_bytes, p.modified_ns): p for p in known.values() if p.modified_ns
        }
        self._paths = {p.path for p in known.values()}
        self._folders: dict[Path, bool] = {}

    def unchanged(self, found: Found, key: str) -> Photo | None:
        """The row of a file of the same name, size, time of change and key; none otherwise."""
        stamp = found_stamp(found)
        photo = self._by_place.get((name_of(found), *stamp)) if stamp is not None else None
        return photo if photo is not None and photo.ingest_key == key else None

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
        """Settings and sidecars: a new rating in Lightroom makes the photo worth another look."""
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


def found_stamp(found: Found) -> Stamp | None:
    """Size and time of change of a file now, or as an object store's listing gave them."""
    return found.stamp if found.url else stamp_of(found.path)


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
