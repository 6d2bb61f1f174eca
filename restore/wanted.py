"""Which faces of a photo are to be restored: all, the largest, by number, or in a box."""

from __future__ import annotations

from dataclasses import dataclass

from data_manifests.records import Box

__all__ = ["EXAMPLES", "Wanted", "parse_wanted"]

EXAMPLES = "all, largest, 0,2 or box:left,top,right,bottom"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A choice among the faces of a photo, which are numbered from 0, the largest first.

    With neither numbers nor a box, every face is wanted.
    """

    numbers: frozenset[int] = frozenset()
    box: Box | None = None  # upright photo pixels

    def includes(self, number: int, box: Box) -> bool:
        """True if the face with this number, in this box of photo pixels, is wanted."""
        if self.box is not None:
            x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
            return self.box.left <= x <= self.box.right and self.box.top <= y <= self.box.bottom
        return not self.numbers or number in self.numbers


def parse_wanted(text: str) -> Wanted:
    """The choice that was written down; raises ValueError that says what can be written."""
    said = text.strip().lower()
    if said == "all":
        return Wanted()
    if said == "largest":
        return Wanted(numbers=frozenset({0}))
    try:
        if said.startswith("box:"):
            return Wanted(box=_box(said.removeprefix("box:")))
        numbers = frozenset(int(part) for part in said.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} names no faces; write {EXAMPLES}") from error
    if min(numbers) < 0:
        raise ValueError(f"{text!r}: faces are numbered from 0, the largest first")
    return Wanted(numbers=numbers)


def _box(text: str) -> Box:
    left, top, right, bottom = (float(part) for part in text.split(","))
    if not (left < right and top < bottom):
        raise ValueError("a box needs left < right and top < bottom")
    return Box(left=left, top=top, right=right, bottom=bottom)
