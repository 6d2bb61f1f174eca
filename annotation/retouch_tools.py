"""What a take-back gets from other parts, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.retouch_checks import Find, Likeness
from annotation.retouch_pixels import Pixels
from data_manifests.records import Capture, Photo, Retouch

__all__ = ["Apart", "Picture", "Taken", "Tools"]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file: upright 8-bit sRGB pixels, what it says, and `whole` for whoever cuts it."""

    pixels_HWC: Pixels
    bit_depth: int
    capture: Capture | None
    whole: Any = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What other parts do for us.

    `cut` gives (file's bytes, suffix, bits) of an aligned square from a decoded file, a 2x3 matrix
    from its pixels and the square's side in px; `likeness` what may compare faces of a photo.
    """

    read: Callable[[Path], Picture]
    cut: Callable[[Picture, NDArray[np.float64], int], tuple[bytes, str, int]]
    hash_pixels: Callable[[Pixels], str]
    find: Find | None = None
    likeness: Callable[[Photo], Likeness] | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """A file that was not taken, and why; it stays where it is."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look into the folder gave; `already` files were taken at an earlier one.

    `retired` were, too, and waited for a review that the files of this look make needless.
    """

    retouches: tuple[Retouch, ...] = ()
    apart: tuple[Apart, ...] = ()
    already: int = 0
    unsettled: tuple[Path, ...] = ()
    retired: tuple[Retouch, ...] = ()
