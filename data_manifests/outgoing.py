"""What leaves the tables in an export: samples with their proven pictures, shard by shard.

A sample goes out if its split was asked for, a consent covers the purpose now, and its crop is
there with the bytes that the table names. Everything else is left out for one reason each.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import Field

from data_manifests.config import Section
from data_manifests.consent import refusal
from data_manifests.ledger import read_view
from data_manifests.records import Photo, Sample
from data_manifests.shapes import Box, Point, column
from data_manifests.store import Store

__all__ = [
    "SPLITS",
    "ExportConfig",
    "Outgoing",
    "Selection",
    "SharedSample",
    "in_groups",
    "in_shards",
    "select",
    "with_pictures",
]

SPLITS = ("train", "validation", "test")

Item = TypeVar("Item")


class ExportConfig(Section):
    """What an export holds, and how it is cut into files."""

    splits: tuple[str, ...] = Field(default=SPLITS, description="the splits that go out")
    purpose: str = Field(default="training", description="the purpose a consent must cover")
    shard_samples: int = Field(default=10_000, ge=1, description="samples in a file at the most")
    shard_bytes: int = Field(
        default=500_000_000, ge=1, description="a file is closed once its pictures reach this, byte"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSample:
    """One sample as it is given away: no ids of photos, people, consents or answers."""

    sample_id: str = column("identity of the sample", key=True)
    caption: str = column("sentence or tags that describe the picture")
    semantic_tags: tuple[str, ...] = column("what is in the picture, as question/value", default=())
    photographic_tags: tuple[str, ...] = column(
        "how it was photographed, as question/value", default=()
    )
    width: int = column("width of the picture", unit="px")
    height: int = column("height of the picture", unit="px")
    landmarks: tuple[Point, ...] = column(
        "left eye, right eye, nose, left and right mouth corner, as seen in the picture", default=()
    )
    left_eye_box: Box | None = column("in picture pixels", default=None)
    right_eye_box: Box | None = column("in picture pixels", default=None)
    nose_box: Box | None = column("in picture pixels", default=None)
    mouth_box: Box | None = column("in picture pixels", default=None)
    native_width: float = column("width of the same area in the original", unit="px")
    native_height: float = column("height of the same area in the original", unit="px")
    crop_left: int = column("SDXL's crop offset", unit="px", default=0)
    crop_top: int = column("SDXL's crop offset", unit="px", default=0)
    weight: float = column("how much it counts in training", default=1.0)
    split: str = column("train, validation or test; one person is never in two")
    crop_sha256: str = column("SHA-256 of the crop in the workspace that it came from")
    licence: str | None = column("licence of the photo", default=None)
    credit: str | None = column("who made the photo, as its metadata says", default=None)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A sample on its way out; `data` is the crop file, whose SHA-256 was compared."""

    sample: Sample
    shared: SharedSample
    data: bytes = field(repr=False)

    @property
    def suffix(self) -> str:
        """The crop's file name ending, such as .png."""
        return PurePosixPath(self.sample.crop_path).suffix


@dataclass(slots=True)
class Selection:
    """The samples that may go out, in key order, and what was left out; pictures may add to it."""

    samples: tuple[Sample, ...]
    shared: Mapping[str, SharedSample]
    left_out: Counter[str]
    total: int


def select(store: Store, config: ExportConfig, *, at: int, now: datetime) -> Selection:
    """The samples of a version that may go out now, by split and consent."""
    consents = read_view(store)
    chosen: list[Sample] = []
    left_out: Counter[str] = Counter()
    samples = store.read(Sample, at)
    for sample in samples:
        reason = (
            "split_not_asked_for"
            if sample.split not in config.splits
            else refusal(consents.get(sample.consent_id), config.purpose, now)
        )
        if reason:
            left_out[reason] += 1
        else:
            chosen.append(sample)
    photos = _rights(store, {s.photo_id for s in chosen})
    shared = {s.sample_id: _shared(s, photos.get(s.photo_id, {})) for s in chosen}
    return Selection(tuple(chosen), shared, left_out, len(samples))


def with_pictures(selection: Selection, media: Path, split: str) -> Iterator[Outgoing]:
    """The samples of a split with the bytes of their crops.

    One whose crop is missing or changed is counted in `selection.left_out` instead.
    """
    for sample in selection.samples:
        if sample.split != split:
            continue
        found = _read_crop(media, sample)
        if isinstance(found, str):
            selection.left_out[found] += 1
        else:
            yield Outgoing(sample, selection.shared[sample.sample_id], found)


def in_shards(
    outgoing: Iterable[Outgoing], config: ExportConfig
) -> Iterator[tuple[int, Iterator[Outgoing]]]:
    """(number, samples) of each file; a shard must be used up before the next is asked for."""
    rest = iter(outgoing)
    for number, first in enumerate(rest):
        yield number, _shard(first, rest, config)


def in_groups(
    items: Iterable[Item], most: int, size_of: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Lists of items, each closed once its sizes add up to `most`."""
    group: list[Item] = []
    size = 0
    for item in items:
        group.append(item)
        size += size_of(item)
        if size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _shard(first: Outgoing, rest: Iterator[Outgoing], config: ExportConfig) -> Iterator[Outgoing]:
    yield first
    count, size = 1, len(first.data)
    while count < config.shard_samples and size < config.shard_bytes:
        following = next(rest, None)
        if following is None:
            return
        yield following
        count, size = count + 1, size + len(following.data)


def _read_crop(media: Path, sample: Sample) -> bytes | str:
    path = media / sample.crop_path
    try:
        # The table could have been tampered with: nothing outside of media/ is ever given away.
        if not path.resolve().is_relative_to(media.resolve()):
            return "crop_outside_media"
        data = path.read_bytes()
    except OSError:
        return "crop_missing"
    if hashlib.sha256(data).hexdigest() != sample.crop_sha256:
        return "crop_damaged"
    return data


def _rights(store: Store, photo_ids: set[str]) -> dict[str, dict[str, Any]]:
    if store.version(Photo) is None:
        return {}
    rows = store.table(Photo).select(["photo_id", "licence", "photographer", "rights"])
    return {r["photo_id"]: r for r in rows.to_pylist() if r["photo_id"] in photo_ids}


def _shared(sample: Sample, photo: Mapping[str, Any]) -> SharedSample:
    creator = (photo.get("rights") or {}).get("creator")
    same = {
        name: getattr(sample, name)
        for name in SharedSample.__dataclass_fields__
        if name not in ("licence", "credit")
    }
    return SharedSample(
        **same, licence=photo.get("licence"), credit=creator or photo.get("photographer")
    )
