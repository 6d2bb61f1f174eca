"""Do no harm: is a face good enough to be left alone? Pixels in, a reason or nothing out.

Legend: H rows, W columns, C channels. A face is an FFHQ-aligned square, uint8 sRGB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation.colour import luma, shrink
from curation.gates_face import SHARPNESS_SIDE, eye_sharpness
from curation.sharpness import roll_off
from curation.skin import noise_sigma
from restore.config import GoodConfig

__all__ = ["already_good"]

Pixels = NDArray[np.uint8]

_LEAST_SIDE = 256  # px; a smaller model's crop has no fine detail to judge
_ROWS, _COLUMNS = (0.38, 0.80), (0.27, 0.73)  # brows to mouth, as curation.gates_face has it


def already_good(
    crop_HWC: Pixels, scale: float, config: GoodConfig, *, jpeg_quality: int | None = None
) -> str:
    """Why the face had better be left as it is, empty if it may be restored.

    `scale` is model pixels per photo pixel, `jpeg_quality` what the file's tables say, none if it
    is no JPEG. A face is good if the photo has the model's pixels, they hold detail, and neither
    noise nor a strong codec lies over it. What was saved as a poor JPEG and then again as a good
    one passes: blocks of a turned or rescaled face follow no grid that could be found.
    """
    side = crop_HWC.shape[0]
    if scale > config.most_scale or side < _LEAST_SIDE:
        return ""
    if jpeg_quality is not None and jpeg_quality < config.least_jpeg_quality:
        return ""
    part_HW = luma(_face(crop_HWC))
    resolution, noise = roll_off(part_HW), noise_sigma(part_HW)
    eyes = eye_sharpness(np.asarray(shrink(crop_HWC, SHARPNESS_SIDE), dtype=np.uint8))
    if (
        resolution < config.least_resolution
        or (noise is not None and noise > config.most_noise)
        or eyes < config.least_eye_sharpness
    ):
        return ""
    return (
        f"good already: {side / scale:.0f} pixels of the photo across, sharp at its finest detail"
    )


def _face(crop_HWC: Pixels) -> Pixels:
    """The face at the crop's own size, of even sides: odd ones transform slowly."""
    side = crop_HWC.shape[0]
    rows, columns = (
        slice(start, start + round((high - low) * side) // 2 * 2)
        for low, high in (_ROWS, _COLUMNS)
        for start in [round(low * side)]
    )
    return crop_HWC[rows, columns]
