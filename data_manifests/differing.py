"""Which rows of two Arrow tables differ, column by column, without making records of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Differing", "differing", "unlike"]

Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Differing:
    """What to do to `old` so that it says what `new` says."""

    fresh: pa.Table  # rows whose key only `new` has
    changed: pa.Table  # rows that both have and that differ, as `new` has them
    gone: list[str]  # keys that only `old` has


def differing(old: pa.Table, new: pa.Table, key: str) -> Differing:
    """Rows told apart by key, which is unique in each; columns are those of `new`."""
    old, new = old.select(new.column_names).sort_by(key), new.sort_by(key)
    known, wanted = old.column(key), new.column(key)
    shared = pc.is_in(wanted, value_set=known)
    stays = pc.is_in(known, value_set=wanted)
    before, after = old.filter(stays), new.filter(shared)
    rows = np.zeros(after.num_rows, np.bool_)
    for name in after.column_names:
        rows |= unlike(before.column(name).combine_chunks(), after.column(name).combine_chunks())
    gone = old.filter(pc.invert(stays)).column(key).to_pylist()
    return Differing(new.filter(pc.invert(shared)), after.filter(pa.array(rows)), gone)


def unlike(one: Any, other: Any) -> Rows:
    """Per row, whether two arrays of one kind and length differ; nested values are looked into."""
    rows: Rows = _flags(pc.is_null(one)) != _flags(pc.is_null(other))
    if pa.types.is_struct(one.type):
        for inner in zip(one.flatten(), other.flatten(), strict=True):
            rows |= unlike(*inner)
    elif pa.types.is_list(one.type) or pa.types.is_large_list(one.type):
        rows |= _unlike_lists(one, other)
    else:
        rows |= _flags(pc.fill_null(pc.not_equal(one, other.cast(one.type)), False))
        if pa.types.is_floating(one.type):
            both = pc.and_(pc.is_nan(one), pc.is_nan(other))
            rows &= ~_flags(pc.fill_null(both, False))
    return rows


def _unlike_lists(one: Any, other: Any) -> Rows:
    lengths, others = (pc.fill_null(pc.list_value_length(a), -1) for a in (one, other))
    rows = _flags(pc.not_equal(lengths, others))
    alike = pa.array(~rows)
    one, other = one.filter(alike), other.filter(alike)
    values = unlike(one.flatten(), other.flatten())
    owners = np.asarray(pc.list_parent_indices(one))
    rows[np.flatnonzero(~rows)] |= np.bincount(owners[values], minlength=len(one)) > 0
    return rows


def _flags(array: Any) -> Rows:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)
