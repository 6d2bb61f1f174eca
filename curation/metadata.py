"""Capture facts from EXIF, a photographer's rating from XMP; their damage never costs the photo."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curation.formats import RAW_SUFFIXES
from data_manifests.records import Capture

__all__ = ["Judgement", "capture_facts", "parse_xmp", "sidecars"]

XMP_LIMIT = 1_000_000  # bytes; a packet is a few kilobytes, and nested ones have been used as bombs
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF_IFD = 0x8769


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the photographer said in XMP: -1 rejected, 0 unrated, 1 to 5, and a label as written."""

    rating: int | None = None
    label: str | None = None


def capture_facts(exif: Mapping[int, Any], details: Mapping[int, Any]) -> Capture:
    """How a photo was taken, from its main EXIF directory and its EXIF sub-directory."""
    maker, model = _text(exif.get(0x010F)), _text(exif.get(0x0110))
    if maker and model and model.lower().startswith(maker.split()[0].lower()):
        maker = None  # "Canon Canon EOS R5"
    return Capture(
        camera=" ".join(t for t in (maker, model) if t) or None,
        lens=_text(details.get(0xA434)),
        focal_length_mm=_number(details.get(0x920A)),
        focal_length_35mm=_number(details.get(0xA405)),
        aperture_f=_number(details.get(0x829D)),
        iso=_whole(details.get(0x8827)),
        shutter_s=_number(details.get(0x829A)),
        taken_at=_time(_text(details.get(0x9003)), _text(details.get(0x9011))),
    )


def parse_xmp(packet: bytes) -> Judgement:
    """Rating and label of an XMP packet; nothing where it is damaged, too large or reaches out.

    `xmp:Rating` is -1 to 5, and 0 means unrated, not one star. Source: XMP specification part 1.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if not packet or len(packet) > XMP_LIMIT:
        return Judgement()
    try:
        root = fromstring(packet.rstrip(b"\x00 \n\r\t"), forbid_dtd=True)
        rating = label = None
        for node in root.iter():
            rating = (
                rating
                or node.get(f"{_XMP}Rating")
                or (node.text if node.tag == f"{_XMP}Rating" else None)
            )
            label = (
                label
                or node.get(f"{_XMP}Label")
                or (node.text if node.tag == f"{_XMP}Label" else None)
            )
    except (ParseError, DefusedXmlException, ValueError, RecursionError, LookupError):
        return Judgement()
    return Judgement(_rating(rating), _text(label))


def sidecars(path: Path) -> tuple[Path, ...]:
    """The sidecar files of a photo, newest first: `IMG.xmp` (Adobe) and `IMG.NEF.xmp` (darktable).

    `IMG.xmp` beside a RAW+JPEG pair speaks about the RAW, so the JPEG of the pair does not take it.
    """
    names = [f"{path.name}.xmp", f"{path.name}.XMP", f"{path.stem}.xmp", f"{path.stem}.XMP"]
    found: dict[tuple[int, int], tuple[int, Path]] = {}
    for position, name in enumerate(names):
        candidate = path.with_name(name)
        if not candidate.is_file() or (position >= 2 and _belongs_to_raw(path)):
            continue
        facts = candidate.stat()
        found.setdefault((facts.st_dev, facts.st_ino), (facts.st_mtime_ns, candidate))
    return tuple(p for _, p in sorted(found.values(), key=lambda f: -f[0]))


def _belongs_to_raw(path: Path) -> bool:
    if path.suffix.lower() in RAW_SUFFIXES:
        return False
    ends = [e for suffix in sorted(RAW_SUFFIXES) for e in (suffix, suffix.upper())]
    return any(os.path.lexists(path.with_suffix(end)) for end in ends)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    clean = "".join(c for c in value if c.isprintable()).strip()
    return clean[:200] or None


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number < 1e7 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _time(when: str | None, offset: str | None) -> datetime | None:
    try:
        return datetime.strptime(f"{when}{offset or '+00:00'}", "%Y:%m:%d %H:%M:%S%z").astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


def _rating(text: str | None) -> int | None:
    try:
        rating = round(float(text or ""))
    except (ValueError, OverflowError):
        return None
    return rating if -1 <= rating <= 5 else None
