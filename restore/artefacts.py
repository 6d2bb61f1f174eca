"""Faults that no restoration may have: lost detail, black, blown or garish areas, a grid.

Legend: H rows, W columns, C channels. Faces are aligned squares, uint8 sRGB, both of one size.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import luma
from restore.blend import face_mask

__all__ = ["artefacts", "grid_strength"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Limits by benchmarks/guard.py: sharp, retouched and degraded faces stay well within them.
_LEAST_CONTRAST = 0.35  # of the input's
_DARK, _DARKER = 8.0, 0.35  # of 255; of the input's mean
_MOST_CLIPPED = 0.5  # of the face, more than in the input
_MOST_COLOUR, _SHADING = 45.0, 16  # mean CIELAB chroma distance; px it is taken at
_MOST_GRID = 120.0  # power at a period of 2 to 8 pixels over what lies around it
_GRID_SIDE = 256  # px of the middle that is looked at
_PERIOD = 8  # px: what autoencoders and JPEG leave repeats within it
_LEAST_GRID_SIDE = 128  # px; a smaller face has too few frequencies between the harmonics


def artefacts(after_HWC: Pixels, before_HWC: Pixels) -> str:
    """What is plainly wrong with a restored face, or nothing."""
    mask_HW = face_mask(after_HWC.shape[0]) > 0.5
    before_N, after_N = (luma(p)[mask_HW] for p in (before_HWC, after_HWC))
    grid, grid_before = grid_strength(after_HWC), grid_strength(before_HWC)
    clipped = _clipped(after_HWC, mask_HW) - _clipped(before_HWC, mask_HW)
    colour = _colour_shift(after_HWC, before_HWC)
    faults = {
        "it is black": after_N.mean() < min(_DARK, _DARKER * before_N.mean()),
        "it is nearly flat": after_N.std() < _LEAST_CONTRAST * before_N.std(),
        f"{clipped:.0%} more of it is clipped than in the input": clipped > _MOST_CLIPPED,
        f"its colours are off by {colour:.0f} of CIELAB": colour > _MOST_COLOUR,
        "a grid lies over it": grid > max(_MOST_GRID, 4 * grid_before),
    }
    return next((fault for fault, there in faults.items() if there), "")


def grid_strength(pixels_HWC: Pixels) -> float:
    """The strongest spectral line at a multiple of 1/8 cycles per pixel over what lies around it.

    About 1 to 10 for photographs, hundreds for a chequerboard that can just be seen. 0 for a face
    below 128 px.
    """
    side = min(pixels_HWC.shape[0], _GRID_SIDE) // _PERIOD * _PERIOD
    if side < _LEAST_GRID_SIDE:
        return 0.0
    start = (pixels_HWC.shape[0] - side) // 2
    part_HW = luma(pixels_HWC[start : start + side, start : start + side])
    window_W = np.hanning(side).astype(np.float32)
    fine_HW = part_HW - cv2.GaussianBlur(part_HW, (0, 0), 3)
    spectrum = np.fft.fft2(fine_HW * window_W[:, None] * window_W[None])
    power_HW = np.abs(spectrum) ** 2 + side**2 * 0.01
    rows, columns, around_rows, around_columns = _harmonics(side)
    near = np.median(power_HW[around_rows, around_columns], axis=1)
    return float((power_HW[rows, columns] / near).max())


@lru_cache(maxsize=4)
def _harmonics(side: int) -> tuple[NDArray[np.int64], ...]:
    """Bins of the harmonics of a period of 8 px, and the bins of the ring around each."""
    step = side // _PERIOD
    multiples = [(i, j) for i in range(_PERIOD // 2 + 1) for j in range(_PERIOD) if i or j]
    at = np.array(multiples) * step
    reach = np.arange(-7, 8)
    ring = np.array([(i, j) for i in reach for j in reach if max(abs(i), abs(j)) >= 3])
    around = (at[:, None] + ring[None]) % side
    return at[:, 0], at[:, 1], around[..., 0], around[..., 1]


def _clipped(pixels_HWC: Pixels, mask_HW: NDArray[np.bool_]) -> float:
    """Share of the face at either end of the scale, in the channel where it is largest."""
    inside_NC = pixels_HWC[mask_HW]
    return float(((inside_NC >= 254) | (inside_NC <= 1)).mean(axis=0).max())


def _colour_shift(after_HWC: Pixels, before_HWC: Pixels) -> float:
    """Mean distance in a and b of CIELAB between the two, both reduced to _SHADING px."""
    inside_HW = face_mask(_SHADING) > 0.5
    both: list[Floats] = []
    for pixels_HWC in (after_HWC, before_HWC):
        small = cv2.resize(pixels_HWC, (_SHADING, _SHADING), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(np.asarray(small, dtype=np.float32) / 255, cv2.COLOR_RGB2LAB)
        both.append(np.asarray(lab[inside_HW][:, 1:], dtype=np.float32))
    return float(np.linalg.norm(both[0] - both[1], axis=1).mean())
