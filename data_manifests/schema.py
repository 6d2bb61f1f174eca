"""From a noun (frozen dataclass) to its Arrow schema, and from rows to records and back.

Delta has no unsigned, float16 or map types, so only strings, 64-bit integers and floats, booleans,
UTC timestamps, lists and structs are used.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "SCHEMA_PROPERTY",
    "SCHEMA_VERSION",
    "arrow_schema",
    "as_schema",
    "key_of",
    "records_from_table",
    "table_from_records",
]

# Raised with every release that changes a noun, with a step in migrations.py and golden tables.
SCHEMA_VERSION = 3
SCHEMA_PROPERTY = "authface.schemaVersion"  # a property of each Delta table

Record = TypeVar("Record")

Make = Callable[[Any], Any]

_HINTS: dict[type, dict[str, Any]] = {}  # resolving annotations costs more than building a row

_PLAIN: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def arrow_schema(noun: type) -> pa.Schema:
    """The Arrow schema of a noun; every field carries its description and unit as metadata."""
    return pa.schema(_arrow_fields(noun))


def key_of(noun: type) -> str:
    """The name of the noun's key column."""
    return next(f.name for f in fields(noun) if f.metadata.get("key"))


def table_from_records(noun: type[Record], records: Iterable[Record]) -> pa.Table:
    """An Arrow table with one row per record, in the noun's schema."""
    return pa.Table.from_pylist([asdict(r) for r in records], schema=arrow_schema(noun))  # type: ignore[call-overload]


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with these columns and types: what it lacks is null, also inside structs."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(_as_type(table.column(field.name).combine_chunks(), field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _as_type(values: Any, kind: pa.DataType) -> Any:
    if values.type.equals(kind):
        return values
    if pa.types.is_struct(kind):
        names = [f.name for f in values.type]
        inner = [
            _as_type(pc.struct_field(values, f.name), f.type)
            if f.name in names
            else pa.nulls(len(values), f.type)
            for f in kind
        ]
        return pa.StructArray.from_arrays(inner, fields=list(kind), mask=values.is_null())
    if pa.types.is_list(kind):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        flat = _as_type(values.flatten(), kind.value_type)
        return pa.ListArray.from_arrays(offsets, flat, type=kind, mask=values.is_null())
    return values.cast(kind)


def records_from_table(noun: type[Record], table: pa.Table) -> list[Record]:
    """The rows as records; columns the noun does not know are ignored."""
    # A batch at a time: rows as dicts take several times the room that they take as records.
    batches = table.to_batches(max_chunksize=1024)
    return [_build(noun, row) for batch in batches for row in batch.to_pylist()]


def _arrow_fields(noun: type) -> list[pa.Field]:
    hints = _hints(noun)
    return [_arrow_field(f, hints[f.name]) for f in fields(noun)]


def _arrow_field(of: Field[Any], hint: Any) -> pa.Field:
    # A field with a default may be missing in rows written before it existed.
    inner, optional = _strip_none(hint)
    nullable = optional or of.default is not MISSING
    notes = {k: str(of.metadata[k]) for k in ("about", "unit") if of.metadata.get(k)}
    return pa.field(of.name, _arrow_type(inner), nullable=nullable, metadata=notes or None)


def _arrow_type(hint: Any) -> pa.DataType:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if typing.get_origin(hint) is tuple:
        # Item fields stay nullable: Delta engines disagree on non-null list items.
        return pa.list_(_arrow_type(typing.get_args(hint)[0]))
    if is_dataclass(hint):
        # Struct members stay nullable, since the struct itself may be missing.
        return pa.struct([f.with_nullable(True) for f in _arrow_fields(typing.cast(type, hint))])
    raise TypeError(f"no Arrow type for {hint!r}")


def _strip_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType):
        (inner,) = [a for a in typing.get_args(hint) if a is not type(None)]
        return inner, True
    return hint, False


def _hints(noun: type) -> dict[str, Any]:
    if noun not in _HINTS:
        _HINTS[noun] = typing.get_type_hints(noun)
    return _HINTS[noun]


def _build(noun: type[Record], row: dict[str, Any]) -> Record:
    values = {}
    for name, make in _plan(noun):
        value = row.get(name)
        if value is not None:
            values[name] = value if make is None else make(value)
    return noun(**values)


@cache
def _plan_of(noun: Any) -> tuple[tuple[str, Make | None], ...]:
    """Each field's name and what makes its value from Arrow's; none where that is the value."""
    return tuple((name, _maker(hint)) for name, hint in _hints(noun).items())


def _plan(noun: type) -> tuple[tuple[str, Make | None], ...]:
    return _plan_of(typing.cast(Any, noun))


def _maker(hint: Any) -> Make | None:
    inner, _ = _strip_none(hint)
    if typing.get_origin(inner) is tuple:
        make = _maker(typing.get_args(inner)[0])
        return tuple if make is None else lambda values: tuple(map(make, values))
    if is_dataclass(inner):
        return partial(_build, typing.cast(type, inner))
    return None
