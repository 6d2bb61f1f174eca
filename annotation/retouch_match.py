"""Which photo a returned file was made from: by our id, document ids, name, capture facts, pixels.

The first way that finds exactly one photo decides. Pure: what a file says and what pixels show
comes in as values and callables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from annotation.retouch_config import RetouchConfig
from annotation.retouch_pixels import Pixels
from annotation.retouch_register import match_points
from data_manifests.records import Capture, Photo

__all__ = [
    "GUESSES",
    "FileSays",
    "Match",
    "NoMatch",
    "Seen",
    "contradicted",
    "export_name",
    "match",
    "normal_stem",
    "read_ids",
]

_AF = "{https://authface.org/ns/1.0/}"
_MM = "{http://ns.adobe.com/xap/1.0/mm/}"
_REF = "{http://ns.adobe.com/xap/1.0/sType/ResourceRef#}"
_XMP_LIMIT = 4_000_000  # bytes; Photoshop's history can be long
_OUR_NAME = re.compile(r"AF-([0-9a-f]{12,64})(?:__v(\d+))?", re.IGNORECASE)
# What hands and programs put at the end of an edited file's name.
_ENDINGS = re.compile(r"[-_ ]*\(?(?:edit(?:ed)?|retouch(?:ed)?|ret|final|copy|v\d+|\d+)\)?$")
GUESSES = ("name", "capture")  # cameras count from 1 again, and two may shoot at one moment
_SURE_DIGITS = 12
_LISTED = 4
_SAY = "say which one: authface annotate take-back FILE --photo ID"
_RIVAL = 0.6  # a second photo with so many of the best one's points makes the match doubtful


@dataclass(frozen=True, slots=True)
class FileSays:
    """What a returned file says about its origin; ids of documents are XMP's."""

    name: str
    sha256: str
    photo_id: str | None = None
    documents: frozenset[str] = frozenset()
    capture: Capture | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What pixels can tell: the returned picture, its perceptual hash (hexadecimal), and a photo's
    proxy by photo_id (none if it is missing)."""

    pixels_HWC: Pixels
    perceptual_hash: str
    proxy: Callable[[str], Pixels | None]


@dataclass(frozen=True, slots=True)
class Match:
    """The photo, how it was found (id, document, name, capture, pixels, or a person said so), and
    how sure, 0 to 1."""

    photo: Photo
    method: str
    score: float


@dataclass(frozen=True, slots=True)
class NoMatch:
    """Why no photo was settled on, in one sentence."""

    reason: str


def export_name(photo_id: str, round_: int = 1, suffix: str = ".tif") -> str:
    """The name to save a retouched file under, by which it finds its way home."""
    return f"AF-{photo_id[:_SURE_DIGITS]}__v{round_}{suffix}"


def named_round(name: str) -> int | None:
    """The version in a name of ours, none in others."""
    found = _OUR_NAME.search(PurePath(name).stem)
    return int(found[2]) if found and found[2] else None


def normal_stem(name: str) -> str:
    """The stem in lower case without the endings of edits and copies; never empty."""
    stem = PurePath(name).stem.lower()
    while (shorter := _ENDINGS.sub("", stem)) != stem and shorter.strip(" -_"):
        stem = shorter
    return stem.strip()


def read_ids(packet: bytes) -> tuple[str | None, frozenset[str], frozenset[str]]:
    """(our photo id, ids of the document itself, ids of what it was derived from) in an XMP packet.

    Nothing where the packet is damaged, too large or reaches out.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    nothing: tuple[None, frozenset[str], frozenset[str]] = (None, frozenset(), frozenset())
    if not packet or len(packet) > _XMP_LIMIT:
        return nothing
    try:
        root = fromstring(packet.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return nothing
    found: dict[str, set[str]] = {}
    for element in root.iter():
        found.setdefault(element.tag, set()).add((element.text or "").strip())
        for name, value in element.attrib.items():
            found.setdefault(name, set()).add(value.strip())
    ours = sorted(v.lower() for v in found.get(f"{_AF}photoId", ()) if v)
    own = _values(found, f"{_MM}DocumentID", f"{_MM}OriginalDocumentID")
    origin = _values(
        found, f"{_MM}OriginalDocumentID", f"{_REF}documentID", f"{_REF}originalDocumentID"
    )
    return (ours[0] if len(ours) == 1 else None), own, origin


def match(
    says: FileSays,
    photos: Sequence[Photo],
    *,
    documents: Callable[[], Mapping[str, Collection[str]]],
    seen: Callable[[], Seen],
    config: RetouchConfig,
) -> Match | NoMatch:
    """The photo that a returned file was made from, or why there is none.

    `documents` gives the XMP document ids by photo_id and `seen` the pixels: both cost time and are
    asked only when all before them said nothing.
    """
    known = {p.photo_id: p for p in photos}
    if says.sha256 in known:
        return NoMatch("it is the original itself, byte for byte, and not a retouch of it")
    ways: tuple[tuple[str, Callable[[], Iterable[Photo]]], ...] = (
        ("id", lambda: _by_id(says, photos)),
        ("document", lambda: _by_document(says, known, documents)),
        ("name", lambda: _by_name(says, photos)),
        ("capture", lambda: _by_capture(says, photos)),
    )
    clash = ""
    for method, way in ways:
        found = list(way())
        if len(found) == 1:
            return Match(found[0], method, 1.0 if method in ("id", "document") else 0.9)
        clash = clash or (f"{_listed(found)} fit its {method}" if found else "")
        if method == "id" and not found and _claims(says):
            return NoMatch(f"it carries the id {_claims(says)[:12]}, which no photo here has")
    by_pixels = _by_pixels(seen(), photos, config)
    if isinstance(by_pixels, NoMatch) and clash:
        why = by_pixels.reason.removesuffix(f"; {_SAY}")
        return NoMatch(f"{clash}, and the pixels do not decide: {why}; {_SAY}")
    return by_pixels


def contradicted(found: Match, why: str) -> str:
    """The reason to keep a file apart whose pixels speak against a guess."""
    return f"its {found.method} fits {_listed([found.photo])}, but {why}; {_SAY}"


def _listed(photos: Sequence[Photo]) -> str:
    """How many, and the names and ids of the first."""
    named = [f"{PurePath(p.path).name} ({p.photo_id[:_SURE_DIGITS]})" for p in photos[:_LISTED]]
    if len(photos) == 1:
        return f"the photo {named[0]}"
    more = ", ..." if len(photos) > _LISTED else ""
    return f"{len(photos)} photos ({', '.join(named)}{more})"


def _values(found: Mapping[str, set[str]], *names: str) -> frozenset[str]:
    return frozenset(v for name in names for v in found.get(name, ()) if v)


def _claims(says: FileSays) -> str:
    named = _OUR_NAME.search(PurePath(says.name).stem)
    return says.photo_id or (named[1].lower() if named else "")


def _by_id(says: FileSays, photos: Iterable[Photo]) -> list[Photo]:
    claimed = _claims(says)
    if len(claimed) < _SURE_DIGITS:
        return []
    return [p for p in photos if p.photo_id.startswith(claimed)]


def _by_document(
    says: FileSays,
    known: Mapping[str, Photo],
    documents: Callable[[], Mapping[str, Collection[str]]],
) -> list[Photo]:
    if not says.documents:
        return []
    held = documents()
    return [known[i] for i in known if not says.documents.isdisjoint(held.get(i, ()))]


def _by_name(says: FileSays, photos: Iterable[Photo]) -> list[Photo]:
    """Photos of the same name but for the endings; a whole name that fits beats a shortened one."""
    exact = PurePath(says.name).stem.lower()
    stem = normal_stem(says.name)
    named = [(p, PurePath(p.path).stem.lower()) for p in photos]
    whole = [p for p, name in named if exact == name or exact.startswith((f"{name}-", f"{name}_"))]
    longest = max((len(PurePath(p.path).stem) for p in whole), default=0)
    whole = [
        p
        for p in whole
        if len(PurePath(p.path).stem) == longest and normal_stem(exact) == normal_stem(p.path)
    ]
    return whole or [p for p, _ in named if stem == normal_stem(p.path)]


def _by_capture(says: FileSays, photos: Iterable[Photo]) -> list[Photo]:
    """Photos of the same body at the same moment; a whole second without a serial is too little."""
    one = says.capture
    if one is None or one.taken_at is None:
        return []
    if one.body_serial is None and not one.taken_at.microsecond:
        return []
    return [
        p
        for p in photos
        if p.capture is not None
        and p.capture.taken_at == one.taken_at
        and p.capture.body_serial == one.body_serial
        and p.capture.camera == one.camera
    ]


def _by_pixels(seen: Seen, photos: Sequence[Photo], config: RetouchConfig) -> Match | NoMatch:
    """The photo of the short list whose points lie where the file's do."""
    hashed = [p for p in photos if p.perceptual_hash and p.proxy_path]
    near = sorted(hashed, key=lambda p: _distance(seen.perceptual_hash, p.perceptual_hash or ""))
    found: list[tuple[int, float, Photo]] = []
    for photo in near[: config.shortlist]:
        proxy_HWC = seen.proxy(photo.photo_id)
        laid = None if proxy_HWC is None else match_points(proxy_HWC, seen.pixels_HWC)
        if laid is not None and laid.inliers >= config.least_inliers and laid.overlap >= 0.5:
            found.append((laid.inliers, laid.overlap, photo))
    if not found:
        return NoMatch("no photo here shows the same picture")
    found.sort(key=lambda f: (-f[0], f[2].photo_id))
    best = found[0]
    rivals = [photo for inliers, _, photo in found if inliers > _RIVAL * best[0]]
    if len(rivals) > 1:
        return NoMatch(f"{_listed(rivals)} show the same picture; {_SAY}")
    return Match(best[2], "pixels", round(min(1.0, best[0] / (best[0] + config.least_inliers)), 3))


def _distance(one: str, other: str) -> int:
    """Bits that differ between two perceptual hashes; all of them where their lengths do."""
    if len(one) != len(other):
        return 4 * max(len(one), len(other))
    return (int(one, 16) ^ int(other, 16)).bit_count()
