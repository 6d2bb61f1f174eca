"""The XMP names that AuthFace reads and writes, its own among them, each said here only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = [
    "AF",
    "AF_URI",
    "DC",
    "DIGIKAM",
    "LR",
    "PHOTOSHOP",
    "PREFIXES",
    "RDF",
    "ROOT",
    "XML_LANG",
    "XMP",
    "XMP_DM",
    "keyword",
    "owned",
    "parse_wrote",
]

# Our own properties: af:photoId names the photo, af:wrote says what of a sidecar is AuthFace's.
AF_URI = "https://authface.dev/ns/1.0/"
PREFIXES = {
    "af": AF_URI,
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpDM": "http://ns.adobe.com/xmp/1.0/DynamicMedia/",
}
AF, DC, LR, PHOTOSHOP, RDF, XMP, XMP_DM = (f"{{{uri}}}" for uri in PREFIXES.values())
DIGIKAM = "{http://www.digikam.org/ns/1.0/}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

ROOT = "authface"  # the first word of our hierarchical keywords


def keyword(question: str, value: str) -> str:
    """The hierarchical keyword of an answer: authface|decision|accept."""
    return f"{ROOT}|{question}|{value}"


def owned(path: Sequence[str]) -> bool:
    """Whether a keyword's path is one of ours."""
    return bool(path) and path[0].strip().casefold() == ROOT


def parse_wrote(texts: Sequence[str]) -> dict[str, Any]:
    """What `af:wrote` says; empty if it is missing or damaged."""
    try:
        wrote = json.loads(next(iter(texts), "{}"))
    except ValueError:
        return {}
    if not isinstance(wrote, dict):
        return {}
    lists = {k: _strings(v) for k, v in wrote.items() if k in ("keywords", "subjects")}
    return wrote | lists


def _strings(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
