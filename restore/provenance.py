"""What an output says about itself: how it was taken, and that a model made a face in it.

Kept: camera, lens, exposure, times, photographer and copyright, colour profile, resolution, rating.
Dropped unless asked for: position, serial numbers, owner. Always dropped: thumbnails (they show the
picture before the edit), maker notes, comments, anything that looks like program code.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import Image, TiffImagePlugin

__all__ = ["COMPOSITE", "Carried", "creator_tool", "describe_output", "read_carried", "xmp_packet"]

COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
_WHOLLY_MADE = "trainedAlgorithmicMedia"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_ORIENTATION, _SOFTWARE, _WIDTH, _HEIGHT = 0x0112, 0x0131, 0xA002, 0xA003

# EXIF 2.32. Main directory: description, make, model, time, artist, copyright.
_MAIN_KEPT = frozenset((0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298))
_DETAILS_KEPT = frozenset(
    (
        *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012),
        *range(0x9201, 0x920B),  # shutter, aperture, metering, flash, focal length
        *(0x9290, 0x9291, 0x9292, 0xA001),
        *range(0xA402, 0xA40B),  # exposure mode, white balance, 35 mm equivalent, scene
        *(0xA432, 0xA433, 0xA434),  # lens
    )
)
_DETAILS_PRIVATE = frozenset((0xA430, 0xA431, 0xA435))  # owner, serial numbers of body and lens
_CODE = re.compile(r"<\?|<%|<script|javascript:", re.IGNORECASE)
_READABLE = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What goes over from the input to the output."""

    main: dict[int, Any] = field(default_factory=dict)
    details: dict[int, Any] = field(default_factory=dict)
    gps: dict[int, Any] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    source_type: str = ""
    notes: tuple[str, ...] = ()


def read_carried(path: Path, *, keep_private: bool) -> Carried:
    """What the input's metadata brings along; damaged metadata costs a note, never the photo."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow warns of odd tags; the pixels were judged before
            with Image.open(path, formats=_READABLE) as image:
                carried = _carry(image, keep_private=keep_private)
    except Exception:
        return Carried(notes=("the input's metadata could not be read and was left out",))
    return carried


def _carry(image: Image.Image, *, keep_private: bool) -> Carried:
    exif = image.getexif()
    details = exif.get_ifd(EXIF_IFD)
    wanted = _DETAILS_KEPT | (_DETAILS_PRIVATE if keep_private else frozenset())
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return Carried(
        main=_kept(exif, _MAIN_KEPT),
        details=_kept(details, wanted),
        gps=dict(exif.get_ifd(GPS_IFD)) if keep_private else {},
        dpi=_dpi(image.info.get("dpi")),
        source_type=_source_type(xmp),
        notes=_losses(image, xmp),
    )


def _kept(tags: Any, wanted: frozenset[int]) -> dict[int, Any]:
    clean = {t: v.rstrip("\0 ") if isinstance(v, str) else v for t, v in tags.items()}
    return {t: v for t, v in clean.items() if t in wanted and not _is_code(v) and _writable(t, v)}


def _writable(tag: int, value: Any) -> bool:
    """True if the value, as odd as the input may have it, can be written again."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    try:
        directory[tag] = value
        directory.tobytes()
    except Exception:
        return False
    return True


def _is_code(value: Any) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(text, str) and bool(_CODE.search(text))


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across < 1e5 and 1 <= down < 1e5 else None


def _source_type(xmp: bytes) -> str:
    found = re.search(rb"digitalsourcetype/(\w{1,60})", xmp[:1_000_000])
    return found.group(1).decode() if found else ""


def _losses(image: Image.Image, xmp: bytes) -> tuple[str, ...]:
    notes = []
    if "A" in image.getbands() or "transparency" in image.info:
        notes.append("the input's transparency was left out")
    if xmp:
        notes.append("the input's XMP was left out, but for its rating and label")
    return tuple(notes)


def creator_tool() -> str:
    """Name and version of this software."""
    try:
        return f"AuthFace {metadata.version('authface')}"
    except metadata.PackageNotFoundError:  # run from a bare copy of the sources
        return "AuthFace"


def describe_output(carried: Carried, width: int, height: int) -> Image.Exif:
    """The output's EXIF: what was carried over, upright, with its size and this software."""
    exif = Image.Exif()
    exif.update(carried.main)
    exif[_ORIENTATION] = 1  # the pixels are upright already
    exif[_SOFTWARE] = creator_tool()
    if carried.dpi is not None:
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = carried.dpi
        exif[_RESOLUTION_UNIT] = 2  # inches
    exif[EXIF_IFD] = {**carried.details, _WIDTH: width, _HEIGHT: height}
    if carried.gps:
        exif[GPS_IFD] = carried.gps
    return exif


def xmp_packet(carried: Carried, *, rating: int | None = None, label: str | None = None) -> bytes:
    """An XMP packet with the mark of IPTC's digital source types (list of 2024-09-17).

    A picture that was wholly made by a model stays marked as such: a restored face in it does not
    make the rest a photograph.
    """
    kind = _WHOLLY_MADE if carried.source_type == _WHOLLY_MADE else COMPOSITE
    said = {
        "xmp:CreatorTool": creator_tool(),
        "Iptc4xmpExt:DigitalSourceType": _SOURCE_TYPES + kind,
        "xmp:Rating": None if rating is None else str(rating),
        "xmp:Label": label,
    }
    attributes = " ".join(f"{k}={quoteattr(v)}" for k, v in said.items() if v is not None)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' {attributes}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
