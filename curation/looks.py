"""How like photos are: one compared with many by hash, colours or embedding, and grouped by it.

A group is what is like its best member. Likeness is not passed on from member to member, so a long
series that drifts ends in several groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import LUMA_CELLS, hash_words, low_words, unpack
from curation.pairs import first_pairs
from data_manifests.records import Photo

__all__ = ["Grouping", "Looks", "Reach", "Run"]

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_GREY = 0.02  # length of the colour part of a descriptor: below it, the picture has no colour


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a like picture may be: differing bits of 256, and the cosine of its colours.

    `likeness` is asked of equal hashes; towards `bits` it rises half the way to 1, because two
    studio portraits of different people can agree in either, hardly in both. What can't be compared
    but by hash is like within an eighth of the bits.
    """

    bits: int
    likeness: float

    @property
    def low_bits(self) -> int:
        """The same for the 64 lowest frequencies, by which candidates are found.

        Versions of one picture measured at most 10 there, except those cropped at one side.
        """
        return max(min(self.bits, 10), self.bits // 8)


class Looks:
    """Hashes, descriptors and embeddings of photos side by side; every photo has a hash."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self.words = hash_words([str(p.perceptual_hash) for p in photos])
        self._colours = _Vectors.of([unpack(p.descriptor) for p in photos])
        names = sorted({p.embedder for p in photos if p.embedder and p.embedding})
        self._embedded = [
            _Vectors.of([p.embedding if p.embedder == name else () for p in photos])
            for name in names
        ]
        self._luma = self._colours.part(slice(0, LUMA_CELLS))
        self._grey = self._colours.part(slice(LUMA_CELLS, None)).lengths < _GREY

    def alike(self, one: int, others: Index, reach: Reach) -> tuple[Mask, Index]:
        """(which of the others are like the one, their differing bits)."""
        apart = np.bitwise_count(self.words[one] ^ self.words[others]).sum(axis=1, dtype=np.int64)
        likeness = self._likeness(one, others)
        asked = reach.likeness + (1 - reach.likeness) * apart / max(2 * reach.bits, 1)
        alike = np.where(np.isnan(likeness), apart <= reach.bits // 8, likeness >= asked)
        return alike & (apart <= reach.bits), apart

    def _likeness(self, one: int, others: Index) -> NDArray[np.float32]:
        """Cosines: of embeddings where one embedder made both, else of descriptors, else NaN."""
        cosines = self._colours.cosines(one, others)
        one_is_grey = self._grey[others] != self._grey[one]  # a black-and-white version of it
        if one_is_grey.any():
            grey = self._luma.cosines(one, others)
            cosines = np.where(one_is_grey, grey, cosines)
        for vectors in self._embedded:
            same = vectors.cosines(one, others)
            cosines = np.where(np.isnan(same), cosines, same)
        return cosines


class _Vectors:
    """Rows of one length, zeros where a photo has none (or one of another length)."""

    def __init__(self, rows: NDArray[np.float32], there: Mask) -> None:
        self._rows, self._there = rows, there
        self.lengths = np.linalg.norm(rows, axis=1)

    @classmethod
    def of(cls, tuples: Sequence[tuple[float, ...] | NDArray[np.float32]]) -> _Vectors:
        """From one vector a photo, empty where there is none."""
        width = max((len(row) for row in tuples), default=0)
        rows = np.zeros((len(tuples), width), np.float32)
        there = np.array([width > 0 and len(row) == width for row in tuples], np.bool_)
        for place in np.flatnonzero(there):
            rows[place] = tuples[place]
        return cls(rows, there)

    def part(self, columns: slice) -> _Vectors:
        """The same of some columns."""
        return _Vectors(self._rows[:, columns], self._there)

    def cosines(self, one: int, others: Index) -> NDArray[np.float32]:
        """NaN where one of the two has no vector, 0 where one is all zeros."""
        products: Any = self._rows[others] @ self._rows[one]
        lengths = np.maximum(self.lengths[others] * self.lengths[one], 1e-9)
        known = self._there[others] & self._there[one]
        return np.where(known, products / lengths, np.nan).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Run:
    """Photos by the time they were taken: their positions, and the moments in seconds."""

    places: Index
    moments: NDArray[np.float64]


class Grouping:
    """Photos, best first, that leaders gather around them.

    A member belongs to the best leader that it is like and leads none itself. A `fixed` photo is
    named in a group and leads its own all the same. Groups come as (leader, members, their
    differing bits).
    """

    def __init__(self, looks: Looks, fixed: Mask) -> None:
        self._looks = looks
        self._fixed = fixed
        self._gone = np.zeros(len(fixed), np.bool_)

    def near(self, reach: Reach) -> Iterator[tuple[int, Index, Index]]:
        """The groups among all photos that belong to none yet."""
        low = low_words(self._looks.words)
        rest: Index = np.flatnonzero(~self._gone)
        while len(rest) > 1:
            rows, left, right, _ = first_pairs(low[rest], reach.low_bits)
            leaders, starts = np.unique(rest[left], return_index=True)
            for leader, others in zip(leaders, np.split(rest[right], starts[1:]), strict=False):
                yield from self._gather(int(leader), others, reach)
            rest = rest[rows:]
            rest = rest[~self._gone[rest]]

    def within(self, run: Run, span_s: float, reach: Reach) -> Iterator[tuple[int, Index, Index]]:
        """The groups among the photos of a run, each at most `span_s` seconds from its leader."""
        for place in np.argsort(run.places):
            leader, moment = int(run.places[place]), run.moments[place]
            first, last = np.searchsorted(run.moments, (moment - span_s, moment + span_s))
            others = np.sort(run.places[first:last])
            yield from self._gather(leader, others[others > leader], reach)

    def _gather(
        self, leader: int, others: Index, reach: Reach
    ) -> Iterator[tuple[int, Index, Index]]:
        others = others[~self._gone[others]]
        if self._gone[leader] or not len(others):
            return
        alike, apart = self._looks.alike(leader, others, reach)
        members = others[alike]
        self._gone[members[~self._fixed[members]]] = True
        if len(members):
            yield leader, members, apart[alike]
