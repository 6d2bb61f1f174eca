"""What a photographer says in XMP, in the file and in its sidecars; damage never costs the photo.

A packet may hold a property as attribute or element, alone or in a list, in one language or many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curation.formats import RAW_SUFFIXES
from data_manifests.records import Rights

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = [
    "EDITED",
    "Properties",
    "Said",
    "fill_rights",
    "parse_xmp",
    "plain",
    "read_properties",
    "read_said",
    "read_sidecar",
    "said_in",
    "sidecars",
]

XMP_LIMIT = 1_000_000  # bytes; a packet is a few kilobytes, and nested ones have been used as bombs
EDITED = "edited in a RAW converter: an exported file is what the photographer approved"
_MOST_KEYWORDS = 200
_TEXT, _LONG_TEXT = 200, 2_000  # characters; usage terms are sentences

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
_MEDIA = "{http://ns.adobe.com/xmp/1.0/DynamicMedia/}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"
_CRS = "{http://ns.adobe.com/camera-raw-settings/1.0/}"
_DARKTABLE = "{http://darktable.sf.net/}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True, slots=True)
class Said:
    """What the photographer said: rating -1 (rejected), 0 (unrated) to 5, label as written, flag
    1 (picked), 0, -1 (rejected). `developed`: settings of a RAW converter that someone changed."""

    rating: int | None = None
    label: str | None = None
    pick: int | None = None
    keywords: tuple[str, ...] = ()
    rights: Rights | None = None
    developed: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)


def read_said(path: Path, embedded: bytes) -> Said:
    """What all packets of a photo say: each thing from the newest sidecar that says it, else from
    the file. Sidecars that contradict each other are noted."""
    notes: list[str] = []
    beside = [_parsed(read_sidecar(p, notes), notes, p.name) for p in sidecars(path)]
    notes += _conflicts(beside)
    inside = _parsed(embedded, notes, "the file")
    merged = Said()
    for said in (*beside, inside):
        merged = _filled(merged, said)
    # A DNG always carries its converter's settings inside, so only a sidecar tells of an edit.
    developed = path.suffix.lower() in RAW_SUFFIXES and any(s.developed for s in beside)
    if developed:
        notes.append(EDITED)
    return replace(merged, developed=developed, notes=tuple(notes))


def parse_xmp(packet: bytes) -> Said:
    """What one packet says; nothing where it is damaged, too large or reaches out.

    `xmp:Rating` is -1 to 5, and 0 means unrated, not one star. Source: XMP specification part 1
    (ISO 16684-1), IPTC Photo Metadata Standard 2023.2, PLUS LDF 2.0.
    """
    return _parsed(packet, [], "it")


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


def fill_rights(first: Rights | None, second: Rights | None) -> Rights | None:
    """The first with what it leaves empty taken from the second; none if nothing is said."""
    if first is None or second is None:
        return first or second
    names = [f.name for f in fields(Rights)]
    return Rights(**{n: getattr(first, n) or getattr(second, n) for n in names})


def plain(text: str | None, most: int = _TEXT) -> str | None:
    """The text in one printable line of at most `most` characters, none if nothing is left."""
    spaced = " ".join((text or "")[: 4 * most].split())
    return "".join(c for c in spaced if c.isprintable())[:most] or None


def _belongs_to_raw(path: Path) -> bool:
    if path.suffix.lower() in RAW_SUFFIXES:
        return False
    ends = [e for suffix in sorted(RAW_SUFFIXES) for e in (suffix, suffix.upper())]
    return any(os.path.lexists(path.with_suffix(end)) for end in ends)


def read_sidecar(path: Path, notes: list[str]) -> bytes:
    """The bytes of a sidecar, one more than the limit at the most; none if it can't be read."""
    try:
        with path.open("rb") as handle:
            return handle.read(XMP_LIMIT + 1)
    except OSError:  # it vanished, or may not be read: the photo stands without it
        notes.append(f"sidecar {plain(path.name)} can't be read")
        return b""


def _parsed(packet: bytes, notes: list[str], where: str) -> Said:
    of = read_properties(packet, notes, where)
    return Said() if of is None else said_in(of)


def read_properties(packet: bytes, notes: list[str], where: str) -> Properties | None:
    """The properties of one packet; none, and a note, where it is damaged or too large."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    if len(packet) > XMP_LIMIT:
        notes.append(f"XMP of {plain(where)} is larger than 1 MB and was not read")
        return None
    if not packet:
        return None
    try:
        return Properties(fromstring(packet.strip(b"\x00 \n\r\t"), forbid_dtd=True))
    except (ParseError, DefusedXmlException, ValueError, RecursionError, LookupError):
        notes.append(f"XMP of {plain(where)} unreadable")
        return None


class Properties:
    """The top-level properties of a packet, by their qualified name."""

    def __init__(self, root: Element) -> None:
        self._values: dict[str, list[str]] = {}
        rdf = root if root.tag == f"{_RDF}RDF" else root.find(f".//{_RDF}RDF")
        for node in () if rdf is None else rdf.findall(f"{_RDF}Description"):
            for name, value in node.items():
                self._values.setdefault(name, [value])
            for child in node:
                self._values.setdefault(child.tag, list(_texts(child)))

    def all(self, name: str) -> list[str]:
        """Every value of a property."""
        return self._values.get(name, [])

    def one(self, name: str, most: int = _TEXT) -> str | None:
        """The first value: the default language comes first. Source: XMP part 1, 8.2.2.4."""
        return next((text for v in self.all(name) if (text := plain(v, most))), None)

    def names(self, space: str) -> set[str]:
        """The local names of the properties in one namespace."""
        return {name[len(space) :] for name in self._values if name.startswith(space)}


def _texts(node: Element) -> Iterator[str]:
    """The values of a property element: of its list, or its own; the default language first."""
    items = [i for kind in ("Alt", "Bag", "Seq") for i in node.findall(f"{_RDF}{kind}/{_RDF}li")]
    items.sort(key=lambda item: item.get(_LANGUAGE) != "x-default")
    for item in items or [node]:
        text = item.get(f"{_RDF}resource") or item.findtext(f"{_RDF}value") or item.text
        if text and text.strip():
            yield text.strip()


def said_in(of: Properties) -> Said:
    """What the properties of one packet say."""
    rights = Rights(
        creator=plain(", ".join(of.all(f"{_DC}creator"))),
        copyright=of.one(f"{_DC}rights", _LONG_TEXT),
        usage_terms=of.one(f"{_RIGHTS}UsageTerms", _LONG_TEXT),
        model_release=_term(of.one(f"{_PLUS}ModelReleaseStatus")),
        model_release_ids=_listed(of.all(f"{_PLUS}ModelReleaseID")),
        data_mining=_term(of.one(f"{_PLUS}DataMining")),
    )
    return Said(
        rating=_rating(of.one(f"{_XMP}Rating")),
        label=of.one(f"{_XMP}Label"),
        pick=_pick(of),
        keywords=_listed(of.all(f"{_DC}subject")),
        rights=None if rights == Rights() else rights,
        developed=_developed(of),
    )


def _listed(values: Sequence[str]) -> tuple[str, ...]:
    """The values once each, in their order."""
    clean = dict.fromkeys(text for v in values if (text := plain(v)))
    return tuple(clean)[:_MOST_KEYWORDS]


def _term(uri: str | None) -> str | None:
    """The last part of a term's address: http://ns.useplus.org/ldf/vocab/MR-UMR is MR-UMR."""
    return None if uri is None else uri.rstrip("/#").replace("#", "/").rsplit("/", 1)[-1] or None


def _rating(text: str | None) -> int | None:
    try:
        rating = round(float(text or ""))
    except (ValueError, OverflowError):
        return None
    return rating if -1 <= rating <= 5 else None


def _pick(of: Properties) -> int | None:
    """The flag: `xmpDM:pick` as a number, or the older `xmpDM:good`, a boolean."""
    try:
        pick = round(float(of.one(f"{_MEDIA}pick") or ""))
    except (ValueError, OverflowError):
        words = {"true": 1, "false": -1}
        return words.get((of.one(f"{_MEDIA}good") or of.one(f"{_MEDIA}pick") or "").lower())
    return pick if -1 <= pick <= 1 else None


def _developed(of: Properties) -> bool:
    """Do the settings of a RAW converter stand in it that someone, not the software, changed?

    Adobe writes `crs:` settings with the first edit. darktable writes its defaults always, and says
    with a hash whether the history is still one that it applied by itself.
    """
    current = of.one(f"{_DARKTABLE}history_current_hash")
    automatic = {of.one(f"{_DARKTABLE}history_{kind}_hash") for kind in ("auto", "basic")}
    if current and current not in automatic:
        return True
    settings = of.names(_CRS) - {"RawFileName", "Version", "AlreadyApplied", "HasSettings"}
    applied = (of.one(f"{_CRS}AlreadyApplied") or "").lower() == "true"
    unset = (of.one(f"{_CRS}HasSettings") or "").lower() == "false"
    return bool(settings) and not applied and not unset


def _filled(said: Said, more: Said) -> Said:
    return Said(
        rating=said.rating if said.rating is not None else more.rating,
        label=said.label or more.label,
        pick=said.pick if said.pick is not None else more.pick,
        keywords=said.keywords or more.keywords,
        rights=fill_rights(said.rights, more.rights),
    )


def _conflicts(beside: Sequence[Said]) -> list[str]:
    """What the sidecars of one photo disagree about."""
    notes = []
    for name in ("rating", "label", "pick"):
        told = [value for said in beside if (value := getattr(said, name)) is not None]
        if len(set(told)) > 1:
            notes.append(f"its sidecars disagree about the {name}: the newest says {told[0]}")
    return notes
