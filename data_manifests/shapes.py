"""What the nouns are made of: described columns, boxes, points, poses, crops and verdicts.

Origin at the top left corner of the upright photo, x to the right, y down; a box covers [left,
right) x [top, bottom).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any

__all__ = ["LANDMARK_NAMES", "Box", "Cover", "Crop", "Point", "Pose", "Verdict", "column"]

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def column(about: str, *, unit: str = "", key: bool = False, default: Any = MISSING) -> Any:
    """A dataclass field that carries its description and unit into the Arrow schema."""
    metadata = {"about": about, "unit": unit, "key": key}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An upright rectangle in pixels."""

    left: float = column("left edge", unit="px")
    top: float = column("top edge", unit="px")
    right: float = column("right edge, outside the box", unit="px")
    bottom: float = column("bottom edge, outside the box", unit="px")

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point in pixels."""

    x: float = column("distance from the left edge", unit="px")
    y: float = column("distance from the top edge", unit="px")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where a head points, estimated from five landmarks: for sorting, not for measuring."""

    roll: float = column("in-plane rotation, clockwise positive", unit="degree")
    yaw: float = column(
        "turn to the picture's right positive, -1 to 1 at about a profile", unit="1"
    )
    pitch: float = column("chin down positive, -1 to 1", unit="1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one gate said about one photo or face."""

    gate: str = column("name of the gate")
    value: float | None = column("what was measured", default=None)
    threshold: float | None = column("what it was compared with", default=None)
    keep: bool = column("true if the gate lets it pass")
    reason: str = column("one sentence for people", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """How much of a part of the face a tile shows."""

    part: str = column("skin, hair, left_eye, right_eye or mouth")
    share: float = column("share of the part's area inside the tile, 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A picture cut from a photo: an aligned face or a native-resolution tile."""

    path: str = column("relative to media/, named by content hash")
    sha256: str = column("SHA-256 of the file")
    kind: str = column("aligned (the one training reads), aligned_512, aligned_native or tile")
    width: int = column("width", unit="px")
    height: int = column("height", unit="px")
    matrix: tuple[float, ...] = column("2x3 matrix, row by row, from photo pixels to crop pixels")
    bit_depth: int = column("bits per channel", unit="bit", default=8)
    covers: tuple[Cover, ...] = column("parts of the face that a tile shows", default=())
