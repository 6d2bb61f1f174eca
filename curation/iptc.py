"""IPTC IIM, the metadata before XMP: by-line, copyright, keywords of older files and agencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, IptcImagePlugin

from curation.xmp import plain
from data_manifests.records import Rights

__all__ = ["read_iptc"]

_CHARACTER_SET = (1, 90)
_KEYWORDS, _BY_LINE, _COPYRIGHT = (2, 25), (2, 80), (2, 116)
_UTF8 = b"\x1b%G"  # ISO 2022 escape; other character sets are hardly ever declared
_MOST_KEYWORDS = 200


def read_iptc(image: Image.Image) -> tuple[tuple[str, ...], Rights | None]:
    """(keywords, rights) of an open JPEG or TIFF; whatever Pillow raises on damage is passed on.

    Source: IPTC-NAA Information Interchange Model 4.2, record 2.
    """
    opened: Any = image  # Pillow's hint asks for an ImageFile and takes any image
    records: Mapping[tuple[int, int], Any] = IptcImagePlugin.getiptcinfo(opened) or {}
    keywords = dict.fromkeys(_texts(records, _KEYWORDS))
    rights = Rights(
        creator=plain(", ".join(_texts(records, _BY_LINE))),
        copyright=next(iter(_texts(records, _COPYRIGHT)), None),
    )
    return tuple(keywords)[:_MOST_KEYWORDS], None if rights == Rights() else rights


def _texts(records: Mapping[tuple[int, int], Any], key: tuple[int, int]) -> list[str]:
    found = records.get(key)
    values = found if isinstance(found, list) else [found]
    return [text for v in values if isinstance(v, bytes) and (text := plain(_decoded(v, records)))]


def _decoded(value: bytes, records: Mapping[tuple[int, int], Any]) -> str:
    """UTF-8 where it is declared or holds, else Latin-1 as older programs wrote it."""
    if records.get(_CHARACTER_SET) == _UTF8:
        return value.decode("utf-8", "replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
