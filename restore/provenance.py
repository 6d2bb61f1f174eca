"""What an output says about itself: how it was taken, and that a model made a face in it.

Kept: camera, lens, exposure, times, photographer and copyright, XMP of any namespace, IPTC records,
colour profile, resolution. Dropped unless asked for: position, serial numbers, owner. Always
dropped: thumbnails (they show the picture before the edit), maker notes, comments, anything that
looks like program code; `restore.keeping` has XMP's own list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image

from curation.blocks import EXIF_IFD, GPS_IFD, Blocks, read_blocks
from curation.facts import profile_space
from curation.formats import RAW_SUFFIXES
from curation.xmp import plain, read_sidecar, sidecars
from data_manifests.errors import UnreadablePhoto
from restore.iim import kept_records
from restore.keeping import CODE, add_history, keep, value_of
from restore.xmp import Packet, name, read_packet, simple, write_packet

__all__ = [
    "COMPOSITE",
    "EXIF_IFD",
    "GPS_IFD",
    "SOURCE_TYPES",
    "UNMARKED",
    "Carried",
    "Mark",
    "creator_tool",
    "describe_output",
    "read_carried",
    "xmp_packet",
]

COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
UNMARKED = (
    "not marked as edited by a model, as asked: neither its metadata nor its pixels say that a "
    "face in it was made"
)
_WHOLLY_MADE = "trainedAlgorithmicMedia"
_BY_MODELS = ("trainedAlgorithmicMedia", COMPOSITE, "compositeSynthetic", "algorithmicMedia")
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SOURCE_TYPE = "Iptc4xmpExt:DigitalSourceType"

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_ORIENTATION, _SOFTWARE, _WIDTH, _HEIGHT = 0x0112, 0x0131, 0xA002, 0xA003
_COMMENT = 0x9286
_MOST_EXIF = 60_000  # bytes; a JPEG's segment holds 64 KB

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
_LISTED = re.compile(r"[A-Za-z]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How the faces of a marked output were made; what is empty is not written.

    `settings_sha256` is of settings, model, finder and version: the sidecar's key.
    """

    model: str = ""
    model_sha256: str = ""
    seed: int | None = None
    settings_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What goes over from the input to the output. `icc` is the file's own profile, grey too."""

    main: dict[int, Any] = field(default_factory=dict)
    details: dict[int, Any] = field(default_factory=dict)
    gps: dict[int, Any] = field(default_factory=dict)
    xmp: Packet = field(default_factory=Packet)
    iptc: bytes = b""
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    source_type: str = ""
    notes: tuple[str, ...] = ()


def read_carried(
    path: Path, *, keep_private: bool, read: Callable[[Path], Blocks] = read_blocks
) -> Carried:
    """What the input's metadata brings along; damaged metadata costs a note, never the photo.

    `read` opens the file: `Sandbox.blocks` for one that is not trusted. Sidecars are read here.
    """
    try:
        blocks = read(path)
    except UnreadablePhoto:
        blocks = Blocks(notes=("the input's metadata could not be read and was left out",))
    notes = list(blocks.notes)
    exif, details, gps = _directories(blocks.exif, notes)
    wanted = _DETAILS_KEPT | (_DETAILS_PRIVATE if keep_private else frozenset())
    xmp, more = keep(
        _packets(path, blocks, notes),
        keep_private=keep_private,
        developed_anew=path.suffix.lower() in RAW_SUFFIXES,
        turned=exif.get(_ORIENTATION) in range(2, 9),
    )
    return Carried(
        main=_kept(exif, _MAIN_KEPT),
        details=_kept(details, wanted),
        gps=gps if keep_private else {},
        xmp=xmp,
        iptc=_iptc(blocks.iptc, notes, keep_private=keep_private),
        icc=blocks.icc if profile_space(blocks.icc) in ("RGB", "GRAY") else None,
        dpi=_dpi(blocks.dpi),
        source_type=_listed_type(value_of(xmp, _SOURCE_TYPE)),
        notes=(*notes, *more),
    )


def _directories(
    data: bytes, notes: list[str]
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """(main, Exif, GPS) of an EXIF block."""
    if len(data) > _MOST_EXIF:
        notes.append("the input's EXIF is larger than a JPEG can hold and was left out")
        return {}, {}, {}
    exif = Image.Exif()
    try:
        exif.load(data)
        return dict(exif), dict(exif.get_ifd(EXIF_IFD)), dict(exif.get_ifd(GPS_IFD))
    except Exception:  # the child made it, and may have been taken over
        notes.append("the input's EXIF could not be read and was left out")
        return {}, {}, {}


def _kept(tags: dict[int, Any], wanted: frozenset[int]) -> dict[int, Any]:
    clean = {t: v.rstrip("\0 ") if isinstance(v, str) else v for t, v in tags.items()}
    return {t: v for t, v in clean.items() if t in wanted and not _is_code(v)}


def _is_code(value: Any) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(text, str) and bool(CODE.search(text))


def _packets(path: Path, blocks: Blocks, notes: list[str]) -> list[Packet]:
    """Sidecars, the newest first, then what is in the file."""
    found = [(f"sidecar {plain(p.name)}", read_sidecar(p, notes)) for p in sidecars(path)]
    found += [("the input", data) for data in blocks.xmp]
    packets = []
    for where, data in found:
        try:
            packets += [read_packet(data)] if data else []
        except ValueError as error:
            notes.append(f"XMP of {where} was left out: {error}")
    return packets


def _iptc(data: bytes, notes: list[str], *, keep_private: bool) -> bytes:
    try:
        return kept_records(data, keep_private=keep_private)
    except ValueError:
        notes.append("the input's IPTC records are damaged and were left out")
        return b""


def _dpi(value: tuple[float, ...]) -> tuple[float, float] | None:
    if len(value) != 2:
        return None
    across, down = value
    return (across, down) if 1 <= across < 1e5 and 1 <= down < 1e5 else None


def _listed_type(uri: str) -> str:
    """The last part of a digital source type's address."""
    last = uri.rstrip("/").rsplit("/", 1)[-1]
    return last if _LISTED.fullmatch(last) else ""


def creator_tool() -> str:
    """Name and version of this software."""
    try:
        return f"AuthFace {metadata.version('authface')}"
    except metadata.PackageNotFoundError:  # run from a bare copy of the sources
        return "AuthFace"


def describe_output(
    carried: Carried, width: int, height: int, mark: Mark | None = Mark()
) -> Image.Exif:
    """The output's EXIF: what was carried over, upright, with its size and, if marked, by what."""
    exif = Image.Exif()
    exif.update(carried.main)
    exif[_ORIENTATION] = 1  # the pixels are upright already
    if carried.dpi is not None:
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = carried.dpi
        exif[_RESOLUTION_UNIT] = 2  # inches
    details = {**carried.details, _WIDTH: width, _HEIGHT: height}
    if mark is not None:
        exif[_SOFTWARE] = creator_tool()
        details[_COMMENT] = b"ASCII\0\0\0" + _said(mark).encode("ascii", "replace")
    exif[EXIF_IFD] = details
    if carried.gps:
        exif[GPS_IFD] = carried.gps
    return exif


def _said(mark: Mark) -> str:
    """The mark in a line, for who reads EXIF only."""
    parts = [f"Faces in it were made by a model ({creator_tool()})"]
    if mark.model_sha256:
        parts.append(f"model SHA-256 {mark.model_sha256}")
    if mark.seed is not None:
        parts.append(f"seed {mark.seed}")
    return "; ".join(parts)


def xmp_packet(
    carried: Carried,
    mark: Mark | None = Mark(),
    *,
    rating: int | None = None,
    label: str | None = None,
) -> bytes:
    """The input's XMP with ours over it: the mark by IPTC's digital source types (of 2024-09-17).

    A picture that was wholly made by a model stays marked as such: a restored face in it does not
    make the rest a photograph. Without a mark nothing of ours is in it, and the input's own source
    type stays only where it names a model's work: "taken by a camera" is true no more.
    """
    packet = Packet(dict(carried.xmp.properties), carried.xmp.prefixes)
    said = {"xmp:Rating": None if rating is None else str(rating), "xmp:Label": label}
    kind = carried.source_type
    if mark is not None:
        said |= _marks(mark)
        said[_SOURCE_TYPE] = SOURCE_TYPES + (kind if kind == _WHOLLY_MADE else COMPOSITE)
        add_history(packet, creator_tool())
    elif kind not in _BY_MODELS:
        packet.properties.pop(name(_SOURCE_TYPE), None)
    for prefixed, text in {**said, "tiff:Orientation": "1"}.items():
        if text is not None:
            packet.properties[name(prefixed)] = simple(prefixed, text)
    return write_packet(packet)


def _marks(mark: Mark) -> dict[str, str | None]:
    return {
        "xmp:CreatorTool": creator_tool(),
        "authface:Software": creator_tool(),
        "authface:Model": plain(mark.model),
        "authface:ModelSHA256": mark.model_sha256 or None,
        "authface:Seed": None if mark.seed is None else str(mark.seed),
        "authface:SettingsSHA256": mark.settings_sha256 or None,
    }
