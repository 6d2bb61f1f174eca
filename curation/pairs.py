"""All pairs of hashes that differ in few bits, without comparing all pairs.

Multi-index hashing: cut each hash into m pieces of 16 bits. Two hashes that differ in at most b
bits differ in at most b // m bits in one of the pieces, so only hashes that share such a piece, or
have it with so few bits turned, are compared whole. Source: Norouzi, Punjani, Fleet, CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_pairs", "near_pairs"]

Words = NDArray[np.uint64]  # N x words of 64 bits
Index = NDArray[np.int64]

_PIECE = 16  # bits
_VALUES = 1 << _PIECE
_BLOCK = 1 << 20  # pairs compared at once: about 40 MB
_BUDGET = 1 << 25  # comparisons of one call: bounds time and memory where thousands are alike
_FEW = 2_000  # so many are compared with each other sooner than looked up
_MOST_TURNED = 3  # bits in a piece; with 4 there are 2,517 pieces to look up for each one


def near_pairs(words: Words, bits: int) -> tuple[Index, Index, Index]:
    """Every pair i < j with at most `bits` differing bits, as (i, j, differing bits), sorted.

    Fold equal hashes first: n of them make n * (n - 1) / 2 pairs.
    """
    found: list[Index] = [np.empty((3, 0), np.int64)]
    start = 0
    while start < len(words) - 1:
        rows, left, right, apart = first_pairs(words[start:], bits)
        found.append(np.stack([left + start, right + start, apart]))
        start += rows
    left, right, apart = np.concatenate(found, axis=1)
    return left, right, apart


def first_pairs(
    words: Words, bits: int, *, budget: int = _BUDGET
) -> tuple[int, Index, Index, Index]:
    """(rows, i, j, differing bits): every near pair i < j of the first `rows` hashes with all.

    As many rows as about `budget` comparisons allow, one at least. Whoever drops what is like the
    first rows before going on never pays for all pairs of a thousand copies.
    """
    words = np.ascontiguousarray(words, np.uint64)
    rows = min(max(budget // max(len(words), 1), 1), len(words))
    pieces = words.view(np.uint16)
    turned = bits // pieces.shape[1] if len(words) else 0
    found = _compare(words, rows, bits)
    if turned <= _MOST_TURNED and len(words) > _FEW:
        masks = _masks(turned)
        spent = np.cumsum(_costs(pieces, masks))
        affordable = max(int(np.searchsorted(spent, budget, "right")), 1)
        if affordable > rows:  # less work for each row than comparing it with all
            rows, found = affordable, _look_up(words, affordable, masks, bits)
    none = np.empty((3, 0), np.int64)
    left, right, apart = np.concatenate([none, *found], axis=1)
    order = np.lexsort((right, left))
    return rows, left[order], right[order], apart[order]


def _masks(turned: int) -> list[int]:
    """All pieces with at most `turned` bits set, zero first."""
    places = [c for n in range(turned + 1) for c in combinations(range(_PIECE), n)]
    return [sum(1 << place for place in chosen) for chosen in places]


def _costs(pieces: NDArray[np.uint16], masks: list[int]) -> NDArray[np.float64]:
    """How many hashes each one would be compared with by looking up."""
    values = np.arange(_VALUES)
    costs = np.zeros(len(pieces))
    for column in pieces.T:
        count = np.bincount(column, minlength=_VALUES)
        around = np.zeros(_VALUES, np.int64)
        for mask in masks:
            around += count[values ^ mask]
        costs += around[column]
    return costs


def _look_up(words: Words, rows: int, masks: list[int], bits: int) -> Iterator[Index]:
    pieces, turned = words.view(np.uint16), masks[-1].bit_count()
    for place in range(pieces.shape[1]):
        order = np.argsort(pieces[:, place], kind="stable")
        count = np.bincount(pieces[:, place], minlength=_VALUES)
        starts = np.cumsum(count) - count
        asked = pieces[:rows, place].astype(np.int64)
        for mask in masks:
            others = asked ^ mask
            for left, position in _blocks(starts[others], count[others]):
                i, j, apart = _close(words, left, order[position], bits)
                new = _is_first(pieces[i] ^ pieces[j], place, turned)
                yield np.stack([i[new], j[new], apart[new]])


def _blocks(starts: Index, counts: Index) -> Iterator[tuple[Index, Index]]:
    """The pairs (row, position) of all ranges, about _BLOCK at a time."""
    busy = np.flatnonzero(counts)
    starts, counts = starts[busy], counts[busy]
    before = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(busy):
        last = int(np.searchsorted(before, before[first] + _BLOCK, "right")) - 1
        last = max(last, first + 1)
        several = counts[first:last]
        rows = np.repeat(busy[first:last], several)
        steps = np.arange(len(rows)) - np.repeat(before[first:last] - before[first], several)
        yield rows, np.repeat(starts[first:last], several) + steps
        first = last


def _close(words: Words, left: Index, right: Index, bits: int) -> tuple[Index, Index, Index]:
    """The pairs left < right within `bits`; word by word, as most are given up after the first."""
    near = left < right
    left, right = left[near], right[near]
    apart = np.zeros(len(left), np.int64)
    for word in range(words.shape[1]):
        column = words[:, word]
        apart = apart + np.bitwise_count(column[left] ^ column[right])
        near = apart <= bits
        left, right, apart = left[near], right[near], apart[near]
    return left, right, apart


def _is_first(differ: NDArray[np.uint16], place: int, turned: int) -> NDArray[np.bool_]:
    """True if no earlier piece is as near: that one has found the pair already."""
    earlier = np.bitwise_count(differ[:, :place]) <= turned
    return np.logical_not(earlier.any(axis=1))


def _compare(words: Words, rows: int, bits: int) -> Iterator[Index]:
    """The same by comparing the first rows with all."""
    step = max(_BLOCK // max(len(words), 1), 1)
    for top in range(0, rows, step):
        block, rest = words[top : min(top + step, rows)], words[top:]
        near = np.bitwise_count(block[:, None, 0] ^ rest[None, :, 0]) <= bits
        left, right = np.nonzero(near)
        yield np.stack(_close(words, left + top, right + top, bits))
