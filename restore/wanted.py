"""Which faces of a photo are to be restored: all, the largest, by number, or in a box."""

from __future__ import annotations

from collections.abc import Sequence
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

    def unmet(self, boxes: Sequence[Box]) -> str:
        """What was asked for and is not among the faces in these boxes, in words; empty if nothing.

        Of a photo without a face nothing is said: that says enough.
        """
        if not boxes:
            return ""
        if self.box is not None:
            inside = any(self.includes(number, box) for number, box in enumerate(boxes))
            return "" if inside else "no face was found in the box that was asked for"
        missing = sorted(number for number in self.numbers if number >= len(boxes))
        if not missing:
            return ""
        there = "one, 0" if len(boxes) == 1 else f"{len(boxes)}, 0 to {len(boxes) - 1}"
        asked = ", ".join(map(str, missing))
        return f"there is no face {asked}: the photo has {there}"


def parse_wanted(text: str) -> Wanted:
    """The choice that was written down; raises ValueError that says what can be written."""
    said = text.strip().lower()
    if said == "all":
        return Wanted()
    if said == "largest":
        return Wanted(numbers=frozenset({0}))
    try:
        box = _box(said.removeprefix("box:")) if said.startswith("box:") else None
        numbers = frozenset[int]() if box else frozenset(int(part) for part in said.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} names no faces; write {EXAMPLES}") from error
    if box is not None:
        if not (box.left < box.right and box.top < box.bottom):
            raise ValueError(f"{text!r} holds no faces: it needs left < right and top < bottom")
        return Wanted(box=box)
    if min(numbers) < 0:
        raise ValueError(f"{text!r}: faces are numbered from 0, the largest first")
    return Wanted(numbers=numbers)


def _box(text: str) -> Box:
    left, top, right, bottom = (float(part) for part in text.split(","))
    return Box(left=left, top=top, right=right, bottom=bottom)
