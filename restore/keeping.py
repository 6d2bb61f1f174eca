"""Which XMP properties of an input its output keeps, and what ours say over them.

Kept: everything, of any namespace, but for what is listed here. Dropped always: pictures from
before the edit, parts of the file that are gone (gain maps, motion), how pixels lie in the file,
settings that a RAW converter would apply a second time, program code. Dropped unless asked for:
position, serial numbers, owner. The names of city, state and country stay: someone typed them as
a caption.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

from restore.xmp import NAMESPACES, Packet, name, simple

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["CODE", "add_history", "keep", "value_of"]

CODE = re.compile(r"<\?|<%|<script|javascript:", re.IGNORECASE)

_SPACES_APART = (
    "http://ns.adobe.com/xap/1.0/g/img/",  # thumbnails
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.apple.com/adjustment-settings/1.0/",
    "http://ns.google.com/photos/1.0/",  # camera, container, image, depthmap: further pictures
    "http://darktable.sf.net/",
    NAMESPACES["authface"],  # of an earlier restoration: ours is written anew
    "http://www.digikam.org/ns/1.0/ImageHistory",
)
_APART = frozenset(
    (
        *(name(f"xmp:{n}") for n in ("Thumbnails", "MetadataDate")),
        # Set for the picture that is written: its maker, its identity, its place on disk.
        *(name(f"xmpMM:{n}") for n in ("InstanceID", "Manifest", "Pantry")),
        name("xmpNote:HasExtendedXMP"),
        "{http://purl.org/dc/terms/}provenance",  # where the old file's C2PA manifest lies
        *(
            name(f"tiff:{n}")
            for n in (
                *("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "Compression"),
                *("PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration"),
                *("YCbCrSubSampling", "YCbCrPositioning", "NativeDigest", "XResolution"),
                *("YResolution", "ResolutionUnit", "Software"),
            )
        ),
        *(
            name(f"exif:{n}")
            for n in (
                *("PixelXDimension", "PixelYDimension", "ColorSpace", "NativeDigest"),
                *("MakerNote", "UserComment", "CompressedBitsPerPixel"),
            )
        ),
    )
)
_PRIVATE = frozenset(
    (
        *(name(f"exifEX:{n}") for n in ("BodySerialNumber", "LensSerialNumber", "CameraOwnerName")),
        *(name(f"exif:{n}") for n in ("BodySerialNumber", "LensSerialNumber", "CameraOwnerName")),
        *(name(f"aux:{n}") for n in ("SerialNumber", "LensSerialNumber", "OwnerName")),
        name("Iptc4xmpCore:Location"),
        *(name(f"Iptc4xmpExt:{n}") for n in ("LocationCreated", "LocationShown")),
        "{http://ns.microsoft.com/photo/1.0/}CameraSerialNumber",
    )
)
_GPS = f"{{{NAMESPACES['exif']}}}GPS"
_CRS = f"{{{NAMESPACES['crs']}}}"
_REGIONS = (
    "{http://www.metadataworkinggroup.com/schemas/regions/}",
    "{http://ns.microsoft.com/photo/1.2/}",
)
_TURNED = "the boxes about people in its XMP were left out: the picture was turned upright"
_DEVELOPED = "the develop settings in its XMP were left out, so that no program applies them again"


def keep(
    packets: Iterable[Packet], *, keep_private: bool, developed_anew: bool, turned: bool = False
) -> tuple[Packet, tuple[str, ...]]:
    """(what the output keeps of the packets, notes); the first that has a property is right.

    Settings of a RAW converter stay only where the packet says that they are in the pixels already,
    and the input is no RAW that was `developed_anew`. Boxes drawn about people lie where the pixels
    of a picture lie in the file, and are wrong in one that was `turned` upright.
    """
    whole, notes = Packet(), list[str]()
    for packet in packets:
        applied = value_of(packet, "crs:AlreadyApplied").lower() == "true" and not developed_anew
        for full, node in packet.properties.items():
            if full.startswith(_CRS) and not applied:
                notes.append(_DEVELOPED)
            elif turned and full.startswith(_REGIONS):
                notes.append(_TURNED)
            elif not _goes(full, keep_private) and not _is_code(node):
                _prune(node, keep_private)
                whole.properties.setdefault(full, node)
        for space, prefix in packet.prefixes.items():
            whole.prefixes.setdefault(space, prefix)
    return whole, tuple(dict.fromkeys(notes))


def _goes(full: str, keep_private: bool) -> bool:
    private = full in _PRIVATE or full.startswith(_GPS)
    apart = full in _APART or full.startswith(tuple(f"{{{space}" for space in _SPACES_APART))
    return apart or (private and not keep_private)


def _prune(node: Element, keep_private: bool) -> None:
    """Take out of a structure what may not stand in it either."""
    for full in [k for k in node.keys() if _goes(k, keep_private)]:  # noqa: SIM118 (no mapping)
        del node.attrib[full]
    for child in list(node):
        if _goes(child.tag, keep_private) or child.tag.startswith(_CRS):
            node.remove(child)
        else:
            _prune(child, keep_private)


def _is_code(node: Element) -> bool:
    return any(CODE.search(text) for text in _texts(node))


def _texts(node: Element) -> Iterator[str]:
    for part in node.iter():
        yield part.text or ""
        yield from (value for _, value in part.items())


def value_of(packet: Packet, prefixed: str) -> str:
    """The text of a simple property, empty if there is none."""
    node = packet.properties.get(name(prefixed))
    return "" if node is None else (node.get(name("rdf:resource")) or node.text or "").strip()


def add_history(packet: Packet, software: str) -> None:
    """Say at the end of the file's history that it was edited. No time: a rerun gives equal bytes.

    Source: XMP specification part 2, 1.2.4 (ResourceEvent).
    """
    from xml.etree.ElementTree import Element, SubElement

    full, kind = name("xmpMM:History"), name("rdf:Seq")
    history = deepcopy(packet.properties.get(full, Element(full)))
    events = history.find(kind)
    if events is None:
        events = SubElement(history, kind)
    packet.properties[full] = history
    event = SubElement(events, name("rdf:li"), {name("rdf:parseType"): "Resource"})
    said = {"action": "edited", "softwareAgent": software, "changed": "/", "parameters": "faces"}
    event.extend(simple(f"stEvt:{key}", text) for key, text in said.items())
