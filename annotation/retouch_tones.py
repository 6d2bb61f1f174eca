"""What a returned file lost of the photo's tones: bits a channel, and levels that lie empty.

Both only warn: an 8-bit file can be an honest retouch, and faint banding may not show. Pure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotation.retouch_config import RetouchConfig
from annotation.retouch_laid import Laid
from annotation.retouch_pixels import Mask, Pixels, oval
from annotation.retouch_verdicts import verdict
from data_manifests.records import Verdict

__all__ = ["emptied", "tones"]

_TAILS = (1, 99)  # percentiles: levels beyond are too rare to be missed
_NEAR = 8  # levels on each side that tell how many pixels a level should have
_EXPECTED = 8.0  # pixels; with so many expected, an empty level is no chance


def tones(laid: Laid, bits: tuple[int, int], config: RetouchConfig) -> tuple[Verdict, ...]:
    """Verdicts on the bit depth of both files and on banding of the face."""
    before, after = bits
    lost = before > 8 >= after
    why = f"it has {after} bits a channel, and the photo {before}" if lost else ""
    part = laid.cut(laid.face)
    inside = oval(*laid.shown_HW[part].shape) & laid.shown_HW[part]
    was, now = (emptied(p[part], inside) for p in (laid.before_HWC, laid.after_HWC))
    more = max(0.0, now - was)
    most = config.warn_banding
    told = f"its tones may show bands: {more:.0%} of the levels in the face lie empty"
    return (
        verdict("bit_depth", after, before, True, why),
        verdict("banding", more, most, True, told if more > most else ""),
    )


def emptied(pixels_HWC: Pixels, where_HW: Mask) -> float:
    """Share of 8-bit levels without a pixel between the 1st and the 99th percentile, where their
    neighbours have many: what a curve pulls apart. Of the worst channel, 0 to 1."""
    inside = pixels_HWC[where_HW]
    return max((_gaps(inside[:, c]) for c in range(inside.shape[1])), default=0.0)


def _gaps(values: NDArray[np.uint8]) -> float:
    if not len(values):
        return 0.0
    count = np.bincount(values, minlength=256).astype(float)
    low, high = (int(v) for v in np.percentile(values, _TAILS))
    width = 2 * _NEAR + 1
    expected = np.convolve(count, np.ones(width) / width, "same")
    empty = (count == 0) & (expected >= _EXPECTED)
    return float(empty[low : high + 1].mean())
