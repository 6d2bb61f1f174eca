"""The report's index: of each photo what sorting, searching and filtering need, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from curation.report_charts import Distribution, vocabulary
from curation.report_rows import CATEGORIES, STATES, View, figure_label, plain

__all__ = ["Index", "make_index"]


@dataclass(frozen=True, slots=True)
class Index:
    """Words by number, so that ten thousand rows carry numbers only."""

    figures: tuple[str, ...]
    reasons: dict[str, int]
    values: dict[str, dict[str, int]]
    shots: dict[str, int]
    likenesses: dict[str, int]
    photos: dict[str, int]

    def words(self) -> dict[str, Any]:
        """What the numbers stand for."""
        return {
            "figures": [(key, *figure_label(key)) for key in self.figures],
            "states": list(STATES.items()),
            "reasons": [(plain(code), figure_label(code)[0]) for code in self.reasons],
            "categories": [(key, list(values)) for key, values in self.values.items()],
        }

    def rows(self, views: Sequence[View]) -> Iterator[list[Any]]:
        """A row a photo, in order. `photos.js` names the places."""
        return (self._row(view) for view in views)

    def _row(self, view: View) -> list[Any]:
        photo = view.photo
        found = (view.figures.get(key) for key in self.figures)
        return [
            view.name,
            plain(str(PurePath(photo.path).parent)),
            list(STATES).index(view.state),
            [self.reasons[r] for r in photo.reasons],
            [self.values[k].get(view.categories.get(k, ""), -1) for k in CATEGORIES],
            [None if value is None else float(f"{value:.5g}") for value in found],
            self.shots.get(photo.shot_id or "", -1),
            self.likenesses.get(photo.duplicate_group or "", -1),
            self.photos.get(photo.near_duplicate_of or "", -1),
            photo.width,
            photo.height,
        ]


def make_index(views: Sequence[View], distributions: Sequence[Distribution]) -> Index:
    """Number everything that the rows refer to."""
    reasons = dict.fromkeys(r for v in views for r in v.photo.reasons)
    shots = dict.fromkeys(v.photo.shot_id for v in views if v.photo.shot_id)
    likenesses = dict.fromkeys(v.photo.duplicate_group for v in views if v.photo.duplicate_group)
    return Index(
        figures=tuple(d.key for d in distributions),
        reasons=_numbered(reasons),
        values={key: _numbered(found) for key, found in vocabulary(views).items()},
        shots=_numbered(shots),
        likenesses=_numbered(likenesses),
        photos=_numbered(v.photo.photo_id for v in views),
    )


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
