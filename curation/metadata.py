"""What EXIF says: how a photo was taken, by whom and where; its damage never costs the photo.

Serial numbers are stored as hashes only: enough to tell two bodies apart, nothing to look up. The
place is read here and dropped by the pipeline unless it is asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from curation.xmp import plain
from data_manifests.records import Capture, Rights

__all__ = ["ExifSaid", "capture_facts", "exif_rights", "place", "read_exif"]

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_DNG_SERIAL = 0xC62F  # CameraSerialNumber, in the main directory of a DNG


@dataclass(frozen=True, slots=True)
class ExifSaid:
    """What a file's EXIF says; latitude and longitude in degrees, north and east positive."""

    capture: Capture | None = None
    rights: Rights | None = None
    latitude: float | None = None
    longitude: float | None = None
    notes: tuple[str, ...] = ()


def read_exif(exif: Any) -> ExifSaid:
    """What a PIL.Image.Exif says; a directory that can't be read is noted and left out."""
    if not len(exif):
        return ExifSaid()
    details, gps = _directory(exif, _EXIF_IFD), _directory(exif, _GPS_IFD)
    notes = () if details is not None and gps is not None else ("EXIF unreadable",)
    capture = capture_facts(exif, details or {})
    latitude, longitude = place(gps or {})
    return ExifSaid(
        capture=None if capture == Capture() else capture,
        rights=exif_rights(exif),
        latitude=latitude,
        longitude=longitude,
        notes=notes,
    )


def capture_facts(exif: Mapping[int, Any], details: Mapping[int, Any]) -> Capture:
    """How a photo was taken, from its main EXIF directory and its EXIF sub-directory."""
    maker, model = _text(exif.get(0x010F)), _text(exif.get(0x0110))
    lens = _text(details.get(0xA434))
    body = _text(details.get(0xA431)) or _text(exif.get(_DNG_SERIAL))
    repeated = maker and model and model.lower().startswith(maker.split()[0].lower())
    return Capture(
        # "Canon Canon EOS R5"
        camera=" ".join(t for t in (None if repeated else maker, model) if t) or None,
        lens=lens,
        focal_length_mm=_number(details.get(0x920A)),
        focal_length_35mm=_number(details.get(0xA405)),
        aperture_f=_number(details.get(0x829D)),
        iso=_whole(details.get(0x8827)),
        shutter_s=_number(details.get(0x829A)),
        taken_at=_time(
            _text(details.get(0x9003)), _text(details.get(0x9011)), _text(details.get(0x9291))
        ),
        body_serial=_hashed(maker, model, body),
        lens_serial=_hashed(_text(details.get(0xA433)), lens, _text(details.get(0xA435))),
    )


def exif_rights(exif: Mapping[int, Any]) -> Rights | None:
    """Artist and Copyright of the main directory."""
    rights = Rights(creator=_text(exif.get(0x013B)), copyright=_text(exif.get(0x8298)))
    return None if rights == Rights() else rights


def place(gps: Mapping[int, Any]) -> tuple[float | None, float | None]:
    """(latitude, longitude) in decimal degrees of a GPS directory, both or neither."""
    north = _degrees(gps.get(2), _text(gps.get(1)), "S", 90)
    east = _degrees(gps.get(4), _text(gps.get(3)), "W", 180)
    return (None, None) if north is None or east is None else (north, east)


def _directory(exif: Any, tag: int) -> Mapping[int, Any] | None:
    try:
        found: Mapping[int, Any] = exif.get_ifd(tag)
        return dict(found)
    except Exception:  # damaged metadata never costs the photo
        return None


def _hashed(maker: str | None, model: str | None, serial: str | None) -> str | None:
    """First 16 digits of the SHA-256 of "maker model serial", none without a real serial."""
    if serial is None or not serial.strip("0 "):
        return None
    return hashlib.sha256(f"{maker or ''} {model or ''} {serial}".encode()).hexdigest()[:16]


def _degrees(parts: Any, side: str | None, negative: str, most: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(p) for p in parts)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value) or not 0 <= value <= most:
        return None
    return round(-value if (side or "").upper().startswith(negative) else value, 7)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return plain(value) if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number < 1e7 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _time(when: str | None, offset: str | None, fraction: str | None) -> datetime | None:
    """The moment in UTC; an offset that can't be read counts as none, so the clock stands as UTC.

    The fraction is what tells the frames of a burst apart.
    """
    digits = (fraction or "").strip()
    digits = digits[:6] if digits.isascii() and digits.isdigit() else "0"
    for zone in (offset, "+00:00"):
        try:
            told = datetime.strptime(f"{when}.{digits}{zone}", "%Y:%m:%d %H:%M:%S.%f%z")
            return told.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None
