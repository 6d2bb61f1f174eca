"""What people drew for the retoucher, as the checks of what comes back take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from annotation.mask_files import MaskFiles
from annotation.retouch_pixels import Mask
from data_manifests.records import LANDMARK_NAMES, Box, Region

__all__ = ["wishes"]

KEEP = "keep_as_is"  # priority of a box
KEEP_TEXTURE = "skin_texture_keep"  # label of a painted area


def wishes(
    regions: Iterable[Region], shape: Sequence[int], media: Path
) -> tuple[tuple[Box, ...], Mask | None]:
    """(boxes that are to be changed, where nothing may be, none if nobody said so).

    `shape` is the source's height and width in px, as is the mask's; painted areas are read from
    below `media`, raising ManifestError if one is gone.
    """
    import cv2

    asked: list[Box] = []
    keep_HW = np.zeros(shape[:2], np.uint8)
    for region in regions:
        if region.label.endswith("_face") or region.label in LANDMARK_NAMES:
            continue
        box = region.box
        if box is not None and region.priority == KEEP:
            rows = slice(max(0, round(box.top)), max(0, round(box.bottom)))
            keep_HW[rows, max(0, round(box.left)) : max(0, round(box.right))] = 1
        elif box is not None:
            asked.append(box)
        elif region.label == KEEP_TEXTURE and region.mask_path:
            small_HW = MaskFiles(media).load(region.mask_path).astype(np.uint8)
            size = (shape[1], shape[0])
            keep_HW |= cv2.resize(small_HW, size, interpolation=cv2.INTER_NEAREST)
    return tuple(asked), keep_HW.astype(np.bool_) if keep_HW.any() else None
