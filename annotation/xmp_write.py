"""Pure: decisions into the bytes of an XMP sidecar; everything else in it stays as it was.

The tree is edited in place: comments, processing instructions, unknown namespaces and the order of
attributes stay; what stands before and after the root element stays byte for byte. An existing list
keeps its kind. A document type is refused, and with it every entity of its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from annotation.xmp_names import AF, DC, LR, PHOTOSHOP, XMP, XMP_DM, keyword, owned, parse_wrote
from annotation.xmp_tree import XmpTree, empty_tree, parse_tree
from data_manifests.errors import InputError
from data_manifests.records import Annotation, Consensus

__all__ = ["Change", "Rewritten", "Wanted", "rewrite", "speaks_for", "wanted_of"]

XMP_LIMIT = 1_000_000  # bytes; as at ingest


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sidecar shall say; none leaves what a person wrote and takes back what we wrote.

    `keywords` are hierarchical ones, authface|question|value; their last word is the flat keyword.
    """

    photo_id: str
    rating: int | None = None
    label: str | None = None
    pick: int | None = None
    keywords: tuple[str, ...] = ()
    caption: str | None = None
    instructions: str | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """The flat keywords that belong to the hierarchical ones, each once."""
        return tuple(dict.fromkeys(k.rsplit("|", 1)[1] for k in self.keywords))


@dataclass(frozen=True, slots=True)
class Change:
    """One property before and after, as people read it; empty where there is none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The sidecar's bytes, what changes, and what was left alone."""

    data: bytes
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Edit:
    """A sidecar while it is edited: what AuthFace wrote before, and what it has written now."""

    tree: XmpTree
    before: Mapping[str, Any]
    wrote: dict[str, Any] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rewrite(
    data: bytes | None,
    wanted: Wanted,
    *,
    at: datetime,
    labels: Collection[str] = (),
    extension: str = "",
) -> Rewritten:
    """The sidecar with the decisions in it; `data` is none where there is no sidecar yet.

    `labels` are the colour labels that stand for decisions, so that they may be replaced; others
    are a person's own. `extension` goes into a new sidecar as photoshop:SidecarForExtension. Raises
    InputError if the sidecar is no XMP, too large, or holds a document type.
    """
    tree = empty_tree() if data is None else parse_tree(_checked(data))
    edit = _Edit(tree, parse_wrote([tree.text(f"{AF}wrote") or ""]))
    if data is None and extension:
        tree.set_text(f"{PHOTOSHOP}SidecarForExtension", extension)
    _identity(edit, wanted)
    _number(edit, f"{XMP}Rating", "rating", wanted.rating)
    _number(edit, f"{XMP_DM}pick", "pick", wanted.pick)
    own = {name.casefold() for name in labels}
    _words(edit, f"{XMP}Label", "label", wanted.label, replaceable=own)
    _words(edit, f"{PHOTOSHOP}Instructions", "instructions", wanted.instructions)
    _caption(edit, wanted.caption)
    _keywords(edit, wanted)
    if not edit.changes and data is not None:
        return Rewritten(data, notes=tuple(edit.notes))
    stamp = at.astimezone(UTC).isoformat(timespec="seconds")
    tree.set_text(f"{XMP}MetadataDate", stamp)
    told = {k: v for k, v in edit.wrote.items() if v not in (None, [], ())}
    tree.set_text(f"{AF}wrote", json.dumps(told, ensure_ascii=False, sort_keys=True))
    return Rewritten(tree.to_bytes(), tuple(edit.changes), tuple(edit.notes))


def wanted_of(
    settled: Consensus, answers: Sequence[Annotation], *, labels: Mapping[str, str]
) -> Wanted:
    """What the people's decision about a photo says in XMP; `labels` maps colours to decisions.

    The notes are those of the answers that the decision was made from, for a retouch only.
    """
    flags = {"accept": 1, "retouch": 1, "reject": -1}
    stars = None if settled.rating is None else min(max(int(settled.rating + 0.5), 1), 5)
    colour = next((c for c, d in labels.items() if d == settled.decision), None)
    tags = (*settled.semantic_tags, *settled.photographic_tags)
    reasons = tuple(keyword("reject_reason", r) for r in settled.reasons)
    told = [a for a in answers if a.annotation_id in settled.annotation_ids]
    notes = dict.fromkeys(text for a in told for text in _notes(a))
    return Wanted(
        settled.photo_id,
        rating=-1 if settled.decision == "reject" else stars,
        label=colour,
        pick=flags.get(settled.decision or ""),
        keywords=(
            keyword("decision", settled.decision or ""),
            *reasons,
            *(keyword(*tag.split("/", 1)) for tag in tags),
        ),
        caption=settled.caption,
        instructions="\n".join(notes) or None if settled.decision == "retouch" else None,
    )


def _notes(answer: Annotation) -> list[str]:
    regions = [f"{r.label.replace('_', ' ')}: {r.note}" for r in answer.regions if r.note]
    return [*([answer.note] if answer.note else []), *regions]


def speaks_for(data: bytes) -> str:
    """The extension that a sidecar says it belongs to, empty if it says nothing or is damaged."""
    try:
        return parse_tree(_checked(data)).text(f"{PHOTOSHOP}SidecarForExtension") or ""
    except InputError:
        return ""


def _identity(edit: _Edit, wanted: Wanted) -> None:
    standing = edit.tree.text(f"{AF}photoId")
    if standing != wanted.photo_id:
        edit.tree.set_text(f"{AF}photoId", wanted.photo_id)
        edit.changes.append(Change("photo id", standing or "", wanted.photo_id))


def _number(edit: _Edit, name: str, key: str, wanted: int | None) -> None:
    standing = edit.tree.text(name)
    same = wanted is not None and _as_number(standing) == wanted
    _settle(edit, name, key, None if wanted is None else str(wanted), same=same)
    edit.wrote[key] = None if edit.wrote[key] is None else wanted


def _words(
    edit: _Edit, name: str, key: str, wanted: str | None, *, replaceable: Collection[str] = ()
) -> None:
    """A person's own words are never replaced, only noted; only those that are free to take."""
    standing = edit.tree.text(name) or None
    free = standing is None or standing in (edit.before.get(key), wanted)
    if wanted and standing and not free and standing.casefold() not in replaceable:
        edit.notes.append(f'its {key} "{standing}" was written by a person and stays')
        return
    _settle(edit, name, key, wanted, same=standing == wanted)


def _settle(edit: _Edit, name: str, key: str, wanted: str | None, *, same: bool) -> None:
    """Write, take back or leave one simple property, and remember whether it is ours."""
    standing = edit.tree.text(name) or None
    was_ours = standing is not None and standing == _text(edit.before.get(key))
    edit.wrote[key] = wanted if was_ours or not same else None
    if wanted is not None and not same:
        edit.tree.set_text(name, wanted)
        edit.changes.append(Change(key, standing or "", wanted))
    elif wanted is None and was_ours:
        edit.tree.remove(name)
        edit.changes.append(Change(key, standing or "", ""))


def _caption(edit: _Edit, wanted: str | None) -> None:
    name, standing = f"{DC}description", edit.tree.default_text(f"{DC}description")
    was_ours = standing is not None and standing == edit.before.get("caption")
    edit.wrote["caption"] = wanted if was_ours or standing != wanted else None
    if wanted is not None and standing != wanted:
        edit.tree.set_default_text(name, wanted)
        edit.changes.append(Change("caption", standing or "", wanted))
    elif wanted is None and was_ours:
        edit.tree.remove_default_text(name)
        edit.changes.append(Change("caption", standing or "", ""))


def _keywords(edit: _Edit, wanted: Wanted) -> None:
    for name, key, ours, new in (
        (f"{LR}hierarchicalSubject", "keywords", None, wanted.keywords),
        (f"{DC}subject", "subjects", set(edit.before.get("subjects", ())), wanted.subjects),
    ):
        standing = edit.tree.items(name)
        mine = [s for s in standing if (owned(s.split("|")) if ours is None else s in ours)]
        gone = [s for s in mine if s not in new]
        added = [n for n in new if n not in standing]
        was_ours = edit.before.get(key, ())
        edit.wrote[key] = [n for n in new if n in added or n in was_ours]
        if gone or added:
            edit.tree.edit_items(name, gone, added)
            edit.changes.append(Change(key, _listed(gone), _listed(added)))


def _checked(data: bytes) -> bytes:
    if len(data) > XMP_LIMIT:
        raise InputError("The sidecar is larger than 1 MB.", "It can't be XMP: look at the file.")

    def refuse(*_: object) -> None:
        raise InputError("The sidecar holds a document type, which XMP never has.", "Look at it.")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data.strip(b"\x00 \n\r\t"), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputError(f"The sidecar is no valid XML: {error}.", "Write it anew.") from error
    return data.strip(b"\x00")


def _as_number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)
