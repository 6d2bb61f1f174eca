"""Pure measures of two pictures that lie on each other: texture, colour, change, displacement.

Pictures are sRGB, HWC, uint8; masks are HW and boolean. Nothing here knows a threshold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SOME_COLOUR",
    "Mask",
    "Pixels",
    "changed",
    "clipped",
    "colour_difference",
    "colourfulness",
    "correlation",
    "detail",
    "displacement",
    "finest_kept",
    "grey",
    "lab",
    "oval",
    "texture_ratios",
]

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

SOME_COLOUR = 5.0  # CIE chroma; a picture below it can lose no colours
_CELLS = 7  # cells a side of the area whose texture is compared
_FLOOR = 0.1  # grey levels of detail added on both sides, so that flat cells say nothing
_LEAST_DETAIL = 0.35  # grey levels: rounding to 8 bits alone makes 0.25
_KEPT_POWER = 0.2  # of the power at a frequency
_RINGS = 64
_FLOW_SIDE = 384  # px of the longer side that displacements are looked for at


def grey(pixels_HWC: Pixels) -> Plane:
    """Luma HW in [0, 255], ITU-R BT.601."""
    import cv2

    weights = np.array([[0.299, 0.587, 0.114]], np.float32)
    return np.asarray(cv2.transform(pixels_HWC.astype(np.float32), weights), np.float32)


def lab(pixels_HWC: Pixels) -> Plane:
    """CIE L*a*b* (D65), HWC; L* in [0, 100]."""
    import cv2

    scaled = np.ascontiguousarray(pixels_HWC, np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB), np.float32)


def colourfulness(pixels_HWC: Pixels) -> float:
    """Mean CIE chroma of a picture, from a grid of about 256 x 256 of its pixels."""
    step = max(1, max(pixels_HWC.shape[:2]) // 256)
    few = lab(pixels_HWC[::step, ::step])
    return float(np.hypot(few[..., 1], few[..., 2]).mean())


def detail(grey_HW: Plane, sigma: float) -> Plane:
    """What is finer than a Gaussian of `sigma` px, in grey levels."""
    import cv2

    return np.asarray(grey_HW - cv2.GaussianBlur(grey_HW, (0, 0), sigma), np.float32)


def oval(height: int, width: int) -> Mask:
    """The ellipse that fills a box: a face without the corners of its box."""
    y, x = np.ogrid[:height, :width]
    away = ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2
    return np.asarray(away <= 1, np.bool_)


def correlation(before_HW: Plane, after_HW: Plane, where_HW: Mask) -> float:
    """Correlation of the fine detail of two grey pictures, -1 to 1; 0 where one has none."""
    one, other = (detail(p, 1.5)[where_HW] for p in (before_HW, after_HW))
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / spread if spread else 0.0


def texture_ratios(
    before_HW: Plane, after_HW: Plane, where_HW: Mask, sigma: float
) -> NDArray[np.float64]:
    """Detail after over detail before, one number a cell; cells without detail are left out.

    The median of the magnitude and not its root mean square: filters that smooth skin keep edges,
    and a few edges would outweigh all pores of a cell.
    """
    one, other = (np.abs(detail(p, sigma)) for p in (before_HW, after_HW))
    rows, columns = (np.array_split(np.arange(n), _CELLS) for n in where_HW.shape)
    ratios = []
    for r in rows:
        for c in columns:
            part = (slice(r[0], r[-1] + 1), slice(c[0], c[-1] + 1)) if len(r) and len(c) else None
            if part is None or where_HW[part].mean() < 0.5:
                continue
            inside = where_HW[part]
            was, now = (float(np.median(p[part][inside])) for p in (one, other))
            if was >= _LEAST_DETAIL:
                ratios.append((now + _FLOOR) / (was + _FLOOR))
    return np.array(ratios)


def colour_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """CIEDE2000 of two Lab colours. Source: Sharma, Wu and Dalal, Color Res. Appl. 30(1), 2005."""
    from skimage.color import deltaE_ciede2000

    return float(deltaE_ciede2000(np.asarray(one, float), np.asarray(other, float)))


def changed(before_HWC: Pixels, after_HWC: Pixels, least: float) -> Mask:
    """Where the colour moved by `least` in Lab, seen at 2 px: noise and grain do not count."""
    import cv2

    moved_HWC = cv2.GaussianBlur(lab(after_HWC) - lab(before_HWC), (0, 0), 2.0)
    return np.asarray(np.linalg.norm(moved_HWC, axis=2) >= least, np.bool_)


def clipped(pixels_HWC: Pixels, where_HW: Mask) -> float:
    """Share of pixels that are black or white in some channel."""
    inside = pixels_HWC[where_HW]
    return float(((inside <= 0) | (inside >= 255)).any(axis=1).mean()) if len(inside) else 0.0


def finest_kept(before_HW: Plane, after_HW: Plane) -> float:
    """The finest frequency up to which the detail of before is there after, as a share of the
    finest that before has: 1 for nothing lost, about 0.5 for a picture enlarged twice.

    From radial spectra; before's own finest is where its spectrum meets the rounding to 8 bits.
    """
    was, now = (_spectrum(p) for p in (before_HW, after_HW))
    meant = was > 3 * _rounding(before_HW)
    own = int(np.flatnonzero(meant)[-1]) if meant.any() else 0
    if own < _RINGS // 8:
        return 1.0  # no detail to lose
    lost = np.flatnonzero(_smooth(now / was)[: own + 1] < _KEPT_POWER)
    lost = lost[lost >= 2]  # the lowest rings are light and shade
    return float(lost[0] / own) if len(lost) else 1.0


def displacement(before_HW: Plane, after_HW: Plane, where_HW: Mask) -> float:
    """How far the most moved parts lie from where they were, in px: a liquified jaw or eye.

    Dense inverse search (Kroeger et al., ECCV 2016), smoothed over a twentieth of the picture,
    where there is something to see; the 99th percentile.
    """
    import cv2

    share = min(1.0, _FLOW_SIDE / max(before_HW.shape))
    size = (round(before_HW.shape[1] * share), round(before_HW.shape[0] * share))
    one, other = (
        _flattened(cv2.resize(p, size, interpolation=cv2.INTER_AREA)) for p in (before_HW, after_HW)
    )
    seeker = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow_HW2 = seeker.calc(one, other, None)
    edges = cv2.GaussianBlur(np.abs(detail(one.astype(np.float32), 2.0)), (0, 0), 4.0)
    weight = np.minimum(edges / 6.0, 1.0)[..., None]
    spread = max(size) / 40
    top, bottom = (cv2.GaussianBlur(p, (0, 0), spread) for p in (flow_HW2 * weight, weight))
    inside = cv2.resize(where_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    seen = inside & (bottom > 0.25)
    if not seen.any():
        return 0.0
    length = np.linalg.norm(top / np.maximum(bottom[..., None], 1e-6), axis=2)
    return float(np.percentile(length[seen], 99)) / share


def _flattened(grey_HW: Plane) -> Pixels:
    """Structure without light and shade, so that dodging and burning is not seen as movement.

    A brush over an eye is about 8 px wide at this size: what is coarser than 3 px has to go.
    """
    import cv2

    fine_HW = detail(grey_HW, 3.0)
    spread_HW = np.sqrt(cv2.GaussianBlur(fine_HW**2, (0, 0), 6.0)) + 2.0
    return np.asarray(np.clip(128 + 40 * fine_HW / spread_HW, 0, 255), np.uint8)


def _spectrum(grey_HW: Plane) -> NDArray[np.float64]:
    """Mean power in rings of equal width from 0 to the Nyquist frequency."""
    height, width = grey_HW.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((grey_HW - grey_HW.mean()) * window)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height))) / 0.5
    rings = np.minimum((radius * _RINGS).astype(int), _RINGS)
    total = np.bincount(rings.ravel(), power.ravel(), _RINGS + 1)[:_RINGS]
    return np.asarray(total / np.bincount(rings.ravel(), minlength=_RINGS + 1)[:_RINGS] + 1e-9)


def _rounding(grey_HW: Plane) -> float:
    """Power that rounding three channels to whole numbers adds at each frequency."""
    height, width = grey_HW.shape
    kept = float((np.hanning(height) ** 2).sum() * (np.hanning(width) ** 2).sum())
    return kept / 12 * math.fsum(w * w for w in (0.299, 0.587, 0.114))


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 2, mode="edge")
    return np.asarray(np.convolve(padded, np.ones(5) / 5, "valid"), np.float64)
