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

__all__ = ["near_pairs"]

Words = NDArray[np.uint64]  # N x words of 64 bits
Index = NDArray[np.int64]

_PIECE = 16  # bits
_VALUES = 1 << _PIECE
_BLOCK = 1 << 20  # pairs compared at once: about 40 MB
_MOST_TURNED = 3  # bits in a piece; with 4 there are 2,517 pieces to look up for each one


def near_pairs(words: Words, bits: int) -> tuple[Index, Index, Index]:
    """Every pair i < j with at most `bits` differing bits, as (i, j, differing bits), sorted.

    Fold equal hashes first: n of them make n * (n - 1) / 2 pairs. Where the hashes share so many
    pieces that looking them up would cost more than comparing all, all are compared, in blocks.
    """
    words = np.ascontiguousarray(words, np.uint64)
    pieces = words.view(np.uint16)
    turned = bits // pieces.shape[1]
    masks = _masks(turned) if turned <= _MOST_TURNED else None
    if masks is None or _cost(pieces, masks) > len(words) ** 2 / 4:
        found = list(_compare_all(words, bits))
    else:
        found = list(_look_up(words, pieces, masks, bits))
    none = np.empty((3, 0), np.int64)
    left, right, apart = np.concatenate([none, *found], axis=1)
    order = np.lexsort((right, left))
    return left[order], right[order], apart[order]


def _masks(turned: int) -> list[int]:
    """All pieces with at most `turned` bits set, zero first."""
    places = [c for n in range(turned + 1) for c in combinations(range(_PIECE), n)]
    return [sum(1 << place for place in chosen) for chosen in places]


def _cost(pieces: NDArray[np.uint16], masks: list[int]) -> float:
    """How many pairs a look-up would compare, and what it costs to look them up."""
    values = np.arange(_VALUES)
    total = float(len(masks) * pieces.shape[1] * (len(pieces) + 5_000))
    for column in pieces.T:
        count = np.bincount(column, minlength=_VALUES).astype(np.float64)
        there = np.flatnonzero(count)
        total += sum(float(count[there] @ count[values[there] ^ mask]) for mask in masks) / 2
    return total


def _look_up(
    words: Words, pieces: NDArray[np.uint16], masks: list[int], bits: int
) -> Iterator[Index]:
    turned = int(masks[-1]).bit_count()
    for place in range(pieces.shape[1]):
        order = np.argsort(pieces[:, place], kind="stable")
        keys = pieces[order, place].astype(np.int64)
        ends = np.cumsum(np.bincount(keys, minlength=_VALUES))
        starts = ends - np.diff(ends, prepend=0)
        sorted_words = words[order]
        for mask in masks:
            low, high = _partners(keys, starts, ends, mask)
            for block in _blocks(low, high):
                left, right, apart = _close(sorted_words, *block, bits)
                i, j = order[left], order[right]
                new = _is_first(pieces[i] ^ pieces[j], place, turned)
                i, j = i[new], j[new]
                yield np.stack([np.minimum(i, j), np.maximum(i, j), apart[new]])


def _partners(keys: Index, starts: Index, ends: Index, mask: int) -> tuple[Index, Index]:
    """For each sorted position the range of positions to compare it with; each pair once."""
    if mask == 0:
        return np.arange(1, len(keys) + 1), ends[keys]
    others = keys ^ mask
    low = starts[others]
    return low, np.where(keys < others, ends[others], low)


def _blocks(low: Index, high: Index) -> Iterator[tuple[Index, Index]]:
    """The pairs (position, partner) of all ranges, about _BLOCK at a time."""
    busy = np.flatnonzero(high > low)
    counts = (high - low)[busy]
    before = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(busy):
        last = int(np.searchsorted(before, before[first] + _BLOCK, "right")) - 1
        last = max(last, first + 1)
        several = counts[first:last]
        left = np.repeat(busy[first:last], several)
        steps = np.arange(len(left)) - np.repeat(before[first:last] - before[first], several)
        yield left, np.repeat(low[busy[first:last]], several) + steps
        first = last


def _close(words: Words, left: Index, right: Index, bits: int) -> tuple[Index, Index, Index]:
    """The pairs within `bits`; word by word, so that most are given up after the first."""
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


def _compare_all(words: Words, bits: int) -> Iterator[Index]:
    """The same by comparing all pairs, with bounded memory."""
    count = len(words)
    rows = max(_BLOCK // max(count, 1), 1)
    for top in range(0, count, rows):
        block, rest = words[top : top + rows], words[top:]
        near = np.bitwise_count(block[:, None, 0] ^ rest[None, :, 0]) <= bits
        left, right = np.nonzero(near)
        later = right > left
        left, right, apart = _close(words, left[later] + top, right[later] + top, bits)
        yield np.stack([left, right, apart])
