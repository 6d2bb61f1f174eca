"""JPEG quantisation tables to a quality from 1 to 100, from the header alone.

libjpeg's quality names one pair of tables. Cameras and Photoshop have tables of their own: for them
the answer is the quality whose tables are nearest, a figure to compare by and not what was set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["jpeg_quality"]

# Luminance and chrominance at quality 50, row by row. Source: ITU-T T.81, tables K.1 and K.2.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int:
    """The libjpeg quality, 1 to 100, whose tables are nearest; exact where they are libjpeg's own.

    `tables` is what Pillow gives as `image.quantization`: the table's number to 64 steps row by row
    (Pillow has undone the zigzag since 8.3). The lowest number is taken as luminance and the next
    as chrominance; one table alone is judged as luminance. Nearest is the least mean difference of
    logarithms, because what a step costs goes by its ratio. Between two as near, the lower quality.
    Raises ValueError where no table has 64 positive steps.
    """
    found = [np.asarray(tables[key], np.float64) for key in sorted(tables)[:2]]
    if not found or any(t.shape != (64,) or t.min() < 1 for t in found):
        raise ValueError("a JPEG has one or two tables of 64 positive steps")
    known_QCN = _ijg_tables()[:, : len(found)]
    apart_Q = np.abs(np.log(known_QCN) - np.log(np.stack(found))).mean(axis=(1, 2))
    return int(apart_Q.argmin()) + 1


@lru_cache(maxsize=1)
def _ijg_tables() -> NDArray[np.float64]:
    """Both tables of the qualities 1 to 100: 100 x 2 x 64. Source: libjpeg, jcparam.c's scaling."""
    quality_Q = np.arange(1, 101)
    percent_Q = np.where(quality_Q < 50, 5000 // quality_Q, 200 - 2 * quality_Q)
    base_CN = np.array([_LUMINANCE, _CHROMINANCE]).reshape(2, 64)
    scaled_QCN = (base_CN * percent_Q[:, None, None] + 50) // 100
    return np.asarray(scaled_QCN.clip(1, 255), dtype=np.float64)
