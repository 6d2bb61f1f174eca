"""What XMP and annotation need of each other: packets read by curation, answers by annotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_manifests.errors import MissingExtra, UnreadablePhoto

if TYPE_CHECKING:
    from annotation.config import AnnotateConfig
    from annotation.form import Form
    from annotation.sidecars import Settled
    from annotation.xmp import Packet, Reading, XmpRules
    from curation.packets import XmpPacket
    from data_manifests.records import Annotation, Consensus, Photo

__all__ = ["Read", "original_of", "read_photo_xmp", "settled_photos", "xmp_rules"]


@dataclass(frozen=True, slots=True)
class Read:
    """A photo whose XMP was looked at; `wrong` says why that was not possible."""

    photo: Photo
    reading: Reading | None = None
    wrong: str = ""


def xmp_rules(config: AnnotateConfig, form: Form) -> XmpRules:
    """How labels, stars and keywords are read in this workspace."""
    from annotation.xmp import XmpRules

    return XmpRules(config.xmp_labels, config.xmp_accept_stars, form)


def original_of(photo: Photo) -> Path | None:
    """The original, or a copy of the same bytes; none if its folder can't be reached."""
    paths = [Path(p) for p in (photo.path, *photo.copies)]
    return next((p for p in paths if p.is_file()), None)


def read_photo_xmp(photo: Photo, rules: XmpRules) -> Read:
    """What the XMP in and beside an original says about the photo."""
    from annotation.xmp import Reading, read_answer

    path = original_of(photo)
    if path is None:
        return Read(photo, wrong="the original can't be reached")
    try:
        from curation.packets import is_same_picture, read_packets

        if not is_same_picture(path, photo):
            return Read(photo, wrong="the file shows another picture now: ingest it again")
    except ImportError as error:
        raise MissingExtra(error.name or "defusedxml", "curation", "Reading XMP") from error
    except UnreadablePhoto as error:
        return Read(photo, wrong=error.wrong)
    except OSError as error:
        return Read(photo, wrong=f"the original can't be read: {error.strerror}")
    packets, notes = read_packets(path)
    found = read_answer([_packet(p) for p in packets], suffix=path.suffix, rules=rules)
    return Read(photo, Reading(found.answer, found.ours, (*notes, *found.notes)))


def settled_photos(
    photos: Iterable[Photo],
    settled: Iterable[Consensus],
    answers: Iterable[Annotation],
    config: AnnotateConfig,
) -> Iterator[tuple[Photo, Settled | None]]:
    """Every photo that people have decided about, with what its sidecars shall say; none if its
    original can't be reached."""
    from annotation.sidecars import Settled
    from annotation.xmp_write import wanted_of
    from curation.formats import RAW_SUFFIXES

    by_photo: dict[str, list[Annotation]] = {}
    for one in answers:
        by_photo.setdefault(one.photo_id, []).append(one)
    decided = {c.photo_id: c for c in settled if c.decision is not None}
    for photo in photos:
        consensus = decided.get(photo.photo_id)
        if consensus is None:
            continue
        path = original_of(photo)
        if path is None:
            yield photo, None
            continue
        told = by_photo.get(photo.photo_id, [])
        wanted = wanted_of(consensus, told, labels=config.xmp_labels)
        yield photo, Settled(path, wanted, path.suffix.lower() in RAW_SUFFIXES)


def _packet(found: XmpPacket) -> Packet:
    from annotation.xmp import Packet

    said = found.said
    return Packet(
        where=found.where,
        rating=said.rating,
        label=said.label,
        pick=said.pick,
        subjects=said.keywords,
        values=found.properties.all,
        changed_at=found.changed_at,
    )
