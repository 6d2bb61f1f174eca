"""8K test pictures for the benchmarks: a portrait enlarged, with fine grain, as a camera saves it.

`PORTRAIT` may name a photo of your own; without it NASA's portrait inside scikit-image is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZES = {"50 MP": (8192, 6144), "102 MP": (11648, 8736)}


def portrait(width: int, height: int, *, seed: int = 0, grain: float = 3.0) -> np.ndarray:
    """RGB pixels HWC, uint8: one face of about a third of the height, with sensor-like grain."""
    named = os.environ.get("PORTRAIT")
    if named:
        source = np.asarray(Image.open(named).convert("RGB"))
    else:
        from skimage.data import astronaut

        source = astronaut()[0:384]
    large = cv2.resize(source, (width, height), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(seed)
    # One slab of noise, laid down shifted: drawing 150 million numbers would take a minute.
    slab = rng.normal(0, grain, (1024 + height // 8, width + 64, 3)).astype(np.float32)
    for top in range(0, height, 512):
        rows = large[top : top + 512].astype(np.float32)
        down, right = (int(v) for v in rng.integers(0, (slab.shape[0] - 512, 64)))
        rows += slab[down : down + len(rows), right : right + width]
        large[top : top + 512] = np.clip(rows, 0, 255).astype(np.uint8)
    return large


def write_jpeg(path: Path, pixels: np.ndarray, *, progressive: bool = False) -> Path:
    """Save as a camera does: quality 95, 4:2:0, with some EXIF."""
    exif = Image.Exif()
    exif[271], exif[272], exif[306] = "AuthFace", "Benchmark", "2026:01:02 03:04:05"
    Image.fromarray(pixels).save(
        path, quality=95, subsampling=2, exif=exif, progressive=progressive
    )
    return path
