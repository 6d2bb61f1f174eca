"""The page on every table and column, made from the nouns, so that it can't say anything else."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from data_manifests import schema
from data_manifests.schema import arrow_schema, key_of
from data_manifests.store import TABLES

__all__ = ["COMMAND", "Column", "columns_of", "schema_page"]

COMMAND = "authface manifest schema --markdown > docs/schema.md"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `type` is the Arrow type, with a structure by its noun's name."""

    name: str
    type: str
    unit: str
    nullable: bool
    about: str


def schema_page() -> str:
    """Markdown: every table with its key and columns, then each nested structure once."""
    parts = [_head()]
    parts += [_table(noun, name) for noun, name in TABLES.items()]
    parts += ["## Structures\n\nThey stand inside the columns above.\n"]
    parts += [_structure(noun) for noun in _structures()]
    return "\n".join(parts)


def _head() -> str:
    version = getattr(schema, "SCHEMA_VERSION", None)
    stands = "" if version is None else f"Schema version {version}. "
    links = ", ".join(f"[{name}](#{name})" for name in TABLES.values())
    return (
        "# Tables\n\n"
        f"{stands}Made from the nouns by `{COMMAND}`; don't edit it.\n\n"
        f"{len(TABLES)} Delta Lake tables, one folder each under `tables/`: {links}.\n\n"
        "Times are UTC to the microsecond. Pixels count from the top left corner of the upright"
        " photo, x to the right, y down; a box covers [left, right) x [top, bottom). What an older"
        " row has no value for is NULL and counts as the default. Descriptions and units also stand"
        " in the schema of each Delta table, as `about` and `unit`; `docs/tables.md` shows how to"
        " read them.\n"
    )


def _table(noun: type, name: str) -> str:
    return (
        f"## {name}\n\n{_about(noun)}\n\nOne row is one {noun.__name__}; its key is"
        f" `{key_of(noun)}`.\n\n{_columns(noun)}"
    )


def _structure(noun: type) -> str:
    return f"### {noun.__name__}\n\n{_about(noun)}\n\n{_columns(noun)}"


def _about(noun: type) -> str:
    return " ".join((noun.__doc__ or "").split())


def columns_of(noun: type) -> list[Column]:
    """The columns of a noun, as the page tells them."""
    hints = typing.get_type_hints(noun)
    return [_column(field, hints[field.name]) for field in arrow_schema(noun)]


def _column(field: pa.Field, hint: object) -> Column:
    notes = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    kind = _type(hint, field.type)
    return Column(field.name, kind, notes.get("unit", ""), field.nullable, notes.get("about", ""))


def _columns(noun: type) -> str:
    rows = ["| column | type | unit | may be NULL | what it is |", "|---|---|---|---|---|"]
    inner = {structure.__name__ for structure in _structures()}
    for c in columns_of(noun):
        *before, last = c.type.split(" ")
        kind = f"[{last}](#{last.lower()})" if last in inner else f"`{last}`"
        told = (f"`{c.name}`", " ".join([*before, kind]), c.unit, "yes" if c.nullable else "no")
        rows.append("| " + " | ".join((*told, c.about.replace("|", "\\|"))) + " |")
    return "\n".join(rows) + "\n"


def _type(hint: object, kind: pa.DataType) -> str:
    """The Arrow type; a structure goes by its noun's name."""
    if pa.types.is_list(kind):
        return f"list of {_type(typing.get_args(_bare(hint))[0], kind.value_type)}"
    if pa.types.is_struct(kind):
        return str(getattr(_bare(hint), "__name__", "struct"))
    return str(kind).replace(", ", ",")


def _bare(hint: object) -> object:
    """The hint without None."""
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _structures() -> list[type]:
    """Every noun that stands inside another, in the order in which they first come."""
    found: dict[type, None] = {}
    for noun in TABLES:
        for inner in _inside(noun):
            found.setdefault(inner)
    return list(found)


def _inside(noun: type) -> Iterator[type]:
    for hint in typing.get_type_hints(noun).values():
        bare = _bare(hint)
        if typing.get_origin(bare) is tuple:
            bare = typing.get_args(bare)[0]
        if isinstance(bare, type) and dataclasses.is_dataclass(bare):
            yield bare
            yield from _inside(bare)
