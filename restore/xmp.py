"""XMP packets read and written whole: properties of any namespace, with the prefixes they had.

What is a property's meaning is none of this module's business; `restore.keeping` decides what
stays. Source: XMP specification part 1 (ISO 16684-1), chapter 7; part 3, 1.1.3.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from curation.xmp import XMP_LIMIT

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["NAMESPACES", "Packet", "name", "read_packet", "simple", "split", "write_packet"]

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "authface": "urn:authface:restoration:1.0/",
}
_XML = "http://www.w3.org/XML/1998/namespace"
_MOST_DEPTH, _MOST_NODES = 40, 20_000
_PREFIX = re.compile(r"(?!xml)(?!ns\d)[A-Za-z_][\w.-]{0,30}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Packet:
    """Top-level properties by their name ({namespace}local), and the prefix of each namespace."""

    properties: dict[str, Element] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)


def name(prefixed: str) -> str:
    """The full name of a property of NAMESPACES: `xmp:Rating` is {http://...}Rating."""
    prefix, local = prefixed.split(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def simple(prefixed: str, text: str) -> Element:
    """A property that is a text."""
    from xml.etree.ElementTree import Element

    made = Element(name(prefixed))
    made.text = text
    return made


def read_packet(data: bytes) -> Packet:
    """What a packet holds; raises ValueError if it is damaged, too large or deep, or has a DTD."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError

    if len(data) > XMP_LIMIT:
        raise ValueError("larger than 1 MB")
    try:
        return _read(data.strip(b"\x00 \n\r\t"))
    except (ParseError, DefusedXmlException, LookupError) as error:
        raise ValueError("damaged") from error


def _read(data: bytes) -> Packet:
    from defusedxml.ElementTree import iterparse

    packet, depth, nodes = Packet(), 0, 0
    root = name("rdf:RDF")
    kind = name("rdf:Description")
    path: list[str] = []
    wanted = ("start-ns", "start", "end")
    for event, node in iterparse(io.BytesIO(data), wanted, forbid_dtd=True):
        if event == "start-ns":
            packet.prefixes.setdefault(node[1], node[0])
        elif event == "start":
            depth, nodes = depth + 1, nodes + 1
            if depth > _MOST_DEPTH or nodes > _MOST_NODES:
                raise ValueError("too deep or too long")
            path.append(node.tag)
        else:
            depth -= 1
            path.pop()
            if node.tag == kind and path[-1:] == [root]:
                for found in _properties(node):
                    packet.properties.setdefault(found.tag, found)
    return packet


def _properties(description: Element) -> Iterator[Element]:
    """The properties of one description, those written as attributes too."""
    from xml.etree.ElementTree import Element

    for full, value in description.items():
        if _space(full) not in ("", NAMESPACES["rdf"], _XML):
            made = Element(full)
            made.text = value
            yield made
    yield from (child for child in description if _space(child.tag))


def _space(full: str) -> str:
    return full[1:].split("}", maxsplit=1)[0] if full.startswith("{") else ""


def write_packet(packet: Packet) -> bytes:
    """The packet's bytes, its properties in the order they have."""
    names = _prefixes(packet)
    spaces = "".join(
        f" xmlns:{prefix}={quoteattr(space)}" for space, prefix in names.items() if prefix != "rdf"
    )
    body = "".join(_written(node, names) for node in packet.properties.values())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">'
        f'<rdf:Description rdf:about=""{spaces}>{body}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _prefixes(packet: Packet) -> dict[str, str]:
    """A prefix of its own for every namespace in use: a known one, the file's own, or a number."""
    used = dict.fromkeys(_spaces(packet))
    known = {space: prefix for prefix, space in NAMESPACES.items()}
    names, taken = {NAMESPACES["rdf"]: "rdf"}, {"rdf", "x", *NAMESPACES}
    for space in used:
        if space in known:
            names[space] = known[space]
            continue
        wished = packet.prefixes.get(space, "")
        free = _PREFIX.fullmatch(wished) and wished not in taken
        names[space] = wished if free else f"ns{len(names)}"
        taken.add(names[space])
    return names


def _spaces(packet: Packet) -> Iterator[str]:
    for top in packet.properties.values():
        for node in top.iter():
            for full in (node.tag, *node.keys()):
                if _space(full) not in ("", _XML):
                    yield _space(full)


def _written(node: Element, names: Mapping[str, str]) -> str:
    tag = _short(node.tag, names)
    attributes = "".join(f" {_short(k, names)}={quoteattr(v)}" for k, v in node.items())
    inner = "".join(_written(child, names) for child in node)
    inner = inner or escape(node.text or "")
    return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"


def _short(full: str, names: Mapping[str, str]) -> str:
    space = _space(full)
    if not space:
        return full
    local = full[len(space) + 2 :]
    return f"xml:{local}" if space == _XML else f"{names[space]}:{local}"


def split(data: bytes, most: int) -> tuple[bytes, bytes, str]:
    """(main packet of at most `most` bytes, extended packet, its GUID) of a packet of ours.

    The longest properties move to the second. Its GUID is its MD5, which the main packet names.
    """
    packet = read_packet(data)
    longest = sorted(packet.properties.values(), key=_length, reverse=True)
    main, moved = dict(packet.properties), dict[str, Any]()
    note = name("xmpNote:HasExtendedXMP")
    main[note] = simple("xmpNote:HasExtendedXMP", "0" * 32)
    for node in longest:
        if len(write_packet(Packet(main, packet.prefixes))) <= most:
            break
        moved[node.tag] = main.pop(node.tag)
    extended = write_packet(Packet(moved, packet.prefixes))
    guid = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()
    main[note] = simple("xmpNote:HasExtendedXMP", guid)
    return write_packet(Packet(main, packet.prefixes)), extended, guid


def _length(node: Element) -> int:
    return sum(
        len(n.text or "") + len(n.tag) + sum(len(v) for _, v in n.items()) for n in node.iter()
    )
