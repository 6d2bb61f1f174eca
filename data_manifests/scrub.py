"""Take a person out of a table's cells: rows that go, cells that are emptied, names in others'."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "EMPTIED",
    "GONE",
    "ROWS",
    "Doom",
    "Rules",
    "concerns",
    "doomed_rows",
    "longer_names",
    "scrubbed",
    "strings_in",
]

Rules = tuple[tuple[str, str], ...]  # (column, whose values it is compared with)

# Which rows are the person's: a row goes if one of its columns holds one of the person's values.
ROWS: Mapping[str, Rules] = {
    "photos": (("photo_id", "photo"), ("subject_id", "subject"), ("consent_id", "consent")),
    "faces": (("photo_id", "photo"),),
    "tasks": (("photo_id", "photo"),),
    "annotations": (("photo_id", "photo"),),
    "consensus": (("photo_id", "photo"),),
    "retouches": (("photo_id", "photo"),),
    "standings": (("photo_id", "photo"),),
    "samples": (("photo_id", "photo"), ("consent_id", "consent"), ("person", "subject")),
    "consents": (("consent_id", "consent"), ("subject_id", "subject")),
}
# The ledger is a chain: its rows stay, and say nothing any more.
EMPTIED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "consent_ledger": ("consent_id", ("consent_id", "terms"))
}
# Where files lie: another person's file keeps its name, whatever is in it.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "photos": ("path", "copies"),
    "retouches": ("path",),
    "exports": ("path",),
}
# A chain that must not change, and marks that name nobody.
_UNTOUCHED = ("consent_ledger", "tombstones")
GONE = "erased"  # stands for a name inside a longer text
_ID_LENGTH = 64
_ID = re.compile("[0-9a-f]{64}")
_SIGNS = re.compile(r"\W+")
_TOKEN = re.compile(r"\w(?:[\w:.@-]*\w)?")  # one id, without the stop or comma after it


@dataclass(frozen=True, slots=True)
class Doom:
    """The person's values by kind: what to look for in tables, logs and files."""

    values: Mapping[str, frozenset[str]]
    names: frozenset[str] = frozenset()  # file names that are the person's alone
    longer: frozenset[str] = frozenset()  # other people's file names with one of these inside
    _texts: list[tuple[frozenset[str], tuple[str, ...]]] = field(default_factory=list, repr=False)
    _named: list[re.Pattern[str]] = field(default_factory=list, repr=False)

    def of(self, kind: str) -> frozenset[str]:
        """The values of one kind."""
        return self.values.get(kind, frozenset())

    def in_text(self, text: str, *, short: bool) -> str:
        """The text with the person's ids and file names replaced; short ones only if asked for."""
        if short:
            plain, odd = self._short()
            for name in odd:  # a path before the name inside it
                text = text.replace(name, GONE)
            text = self.without_names(text)
            text = _TOKEN.sub(lambda m: GONE if m.group() in plain else m.group(), text)
        photos = self.of("photo")
        return _ID.sub(lambda m: GONE if m.group() in photos else m.group(), text)

    def without_names(self, text: str) -> str:
        """The text with the person's file names replaced where they stand whole.

        "Copy of a.png" and "a.png.bak" are other files than "a.png".
        """
        if not self.names or "." not in text:  # every name has a suffix
            return text
        if not self._named:
            self._named.append(_whole((*self.names, *self.longer)))
        return self._named[0].sub(lambda m: GONE if m.group() in self.names else m.group(), text)

    def hits(self, text: str, *, path: bool = False) -> bool:
        """Whether a cell of somebody else's row names one of the person's photos.

        In the path of another file the person's file names mean nothing.
        """
        photos = self.of("photo")
        if len(text) <= _ID_LENGTH:
            if text in photos:
                return True
        elif any(m in photos for m in _ID.findall(text)):
            return True
        if path or "." not in text or not any(True for _ in self._names_in(text)):
            return False
        return self.without_names(text) != text

    def cell(self, text: str, *, path: bool = False) -> str | None:
        """The cell with the person's photos taken out; none if it held nothing else."""
        if text in self.of("photo"):
            return None
        text = self.in_text(text, short=False)
        return text if path else self.without_names(text)

    def _names_in(self, text: str) -> Iterator[str]:
        """Names that may be in the text: a quick look, before the text is read as a whole."""
        if self.names:
            yield from self.names.intersection(_words(text))
            if " " in text:
                yield from (n for n in self.names if " " in n and n in text)

    def _short(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Ids of any length: those that are one word, and the odd ones, the longest first."""
        if not self._texts:
            kinds = (
                "consent",
                "subject",
                "face",
                "sample",
                "task",
                "annotation",
                "retouch",
                "path",
            )
            found = frozenset(v for k in kinds for v in self.of(k) if v)
            plain = frozenset(v for v in found if _TOKEN.fullmatch(v))
            odd = sorted(found - plain, key=lambda v: (-len(v), v))
            self._texts.append((plain, tuple(odd)))
        return self._texts[0]


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with string views as strings: delta-rs writes them, and Arrow can't filter them.

    The bytes of a Parquet file are the same for both.
    """
    return pa.schema([f.with_type(_plain(f.type)) for f in schema], schema.metadata)


def doomed_rows(name: str, rows: Any, doom: Doom) -> pa.Array:
    """Which rows of a table or batch are the person's, one boolean each; `name` is the table's."""
    mask = pa.array([False] * rows.num_rows, pa.bool_())
    for column, kind in ROWS.get(name, ()):
        if column in rows.schema.names and doom.of(kind):
            wanted = pa.array(sorted(doom.of(kind)), pa.string())
            held = pc.is_in(_flat(rows.column(column)), value_set=wanted)
            mask = pc.or_(mask, held)
    return mask


def scrubbed(name: str, rows: pa.Table, doom: Doom) -> tuple[pa.Table, int]:
    """The rows without the person's, other people's cells free of them; and how many rows went.

    The very same table where there was nothing to do.
    """
    mask = doomed_rows(name, rows, doom)
    gone = pc.sum(mask).as_py() or 0
    kept = rows.filter(pc.invert(mask)) if gone else rows
    if name in EMPTIED:
        kept = _emptied(kept, *EMPTIED[name], doom)
    return (kept if name in _UNTOUCHED else _cleaned(name, kept, doom)), gone


def concerns(name: str, rows: pa.Table, doom: Doom) -> bool:
    """Whether `scrubbed` would change anything."""
    if name in EMPTIED:
        held = set(rows.column(EMPTIED[name][0]).to_pylist())
        return not held.isdisjoint(doom.of("consent"))
    if name in _UNTOUCHED:
        return False
    if pc.any(doomed_rows(name, rows, doom)).as_py():
        return True
    paths = _PATHS.get(name, ())
    return any(
        doom.hits(s, path=column in paths)
        for column in rows.schema.names
        for s in strings_in(rows.column(column))
    )


def strings_in(column: Any) -> Iterator[str]:
    """Every different string inside a column, however deep; dates and numbers are passed over."""
    for leaf in _leaves(column.combine_chunks() if hasattr(column, "combine_chunks") else column):
        yield from (s for s in pc.unique(leaf).to_pylist() if s)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_plain(f.type)) for f in kind])
    return kind


def _emptied(rows: pa.Table, by: str, columns: tuple[str, ...], doom: Doom) -> pa.Table:
    wanted = pa.array(sorted(doom.of("consent")), pa.string())
    hit = pc.is_in(_flat(rows.column(by)), value_set=wanted)
    if not pc.any(hit).as_py():
        return rows
    for column in columns:
        place = rows.schema.get_field_index(column)
        old = _flat(rows.column(column))
        rows = rows.set_column(place, rows.schema.field(place), pc.if_else(hit, "", old))
    return rows


def _cleaned(name: str, rows: pa.Table, doom: Doom) -> pa.Table:
    for place, own in enumerate(rows.schema):
        column, path = rows.column(place), own.name in _PATHS.get(name, ())
        if not any(doom.hits(s, path=path) for s in strings_in(column)):
            continue
        clean = partial(_said, doom, path)
        empty = None if own.nullable else ""
        values = [_clean(v, clean, empty) for v in column.to_pylist()]
        rows = rows.set_column(place, own, pa.array(values, own.type))
    return rows


def _said(doom: Doom, path: bool, text: str) -> str | None:
    return doom.cell(text, path=path) if doom.hits(text, path=path) else text


def _clean(value: Any, clean: Callable[[str], str | None], empty: str | None = None) -> Any:
    if isinstance(value, str):
        said = clean(value)
        return empty if said is None else said
    if isinstance(value, list):
        return [v for v in (_clean(v, clean) for v in value) if v is not None]
    if isinstance(value, dict):
        return {k: _clean(v, clean) for k, v in value.items()}
    return value


def _leaves(array: Any) -> Iterator[Any]:
    kind = array.type
    if pa.types.is_string(kind):
        yield array
    elif pa.types.is_list(kind):
        yield from _leaves(array.flatten())
    elif pa.types.is_struct(kind):
        for inner in array.flatten():
            yield from _leaves(inner)


def _flat(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def _words(text: str) -> Iterator[str]:
    """What may be a file name inside a sentence: the text between blanks, without punctuation."""
    yield from (w.strip(",;:()'\"") for w in text.split())


def _whole(names: Iterable[str]) -> re.Pattern[str]:
    """Any of the file names where it is no part of a longer one; the longest first."""
    listed = "|".join(re.escape(n) for n in sorted(names, key=lambda n: (-len(n), n)))
    return re.compile(rf"(?<![\w.-])(?:{listed})(?![\w-]|\.\w)")


def longer_names(names: frozenset[str], others: Iterable[str]) -> frozenset[str]:
    """Those of other people's file names that hold one of the names between blanks or signs."""
    return frozenset(o for o in others if not names.isdisjoint(_pieces(o)))


def _pieces(name: str) -> Iterator[str]:
    """Every stretch of a name from one blank or sign, or its ends, to another."""
    cuts = sorted({0, len(name), *(at for m in _SIGNS.finditer(name) for at in m.span())})
    yield from (name[a:b] for a, b in combinations(cuts, 2))
