"""How alike two pictures are, by named implementations that need no network weights.

Legend: H rows, W columns, C channels. Pictures are uint8 sRGB of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from data_manifests.records import Point

__all__ = [
    "METRICS",
    "colour_error",
    "landmark_shift",
    "largest_change",
    "psnr",
    "sharpness",
    "ssim",
]

Pixels = NDArray[np.uint8]


def psnr(a_HWC: Pixels, b_HWC: Pixels) -> float:
    """Peak signal-to-noise ratio over RGB, in dB; 100 for equal pictures, where it is infinite."""
    if np.array_equal(a_HWC, b_HWC):
        return 100.0
    return min(100.0, float(peak_signal_noise_ratio(a_HWC, b_HWC, data_range=255)))


def ssim(a_HWC: Pixels, b_HWC: Pixels) -> float:
    """Mean structural similarity over RGB with skimage's 7x7 uniform window.

    Numbers from other windows or from luma alone differ. Source: Wang et al., TIP 2004.
    """
    return float(structural_similarity(a_HWC, b_HWC, channel_axis=2, data_range=255, win_size=7))


def colour_error(a_HWC: Pixels, b_HWC: Pixels) -> float:
    """Mean CIEDE2000 of the two pictures after a blur: of colour and shading, not of detail."""
    sigma = max(a_HWC.shape[:2]) / 32
    soft = [cv2.GaussianBlur(p.astype(np.float32) / 255, (0, 0), sigma) for p in (a_HWC, b_HWC)]
    return float(deltaE_ciede2000(*(rgb2lab(p) for p in soft)).mean())


def sharpness(pixels_HWC: Pixels) -> float:
    """Variance of the Laplacian of luma. Source: Pech-Pacheco et al., ICPR 2000, LAPV."""
    luma_HW = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(luma_HW, cv2.CV_32F).var())


def largest_change(a_HWC: Pixels, b_HWC: Pixels, where_HW: NDArray[np.bool_]) -> int:
    """The largest difference of any channel among the pixels that `where_HW` selects, 0 to 255."""
    return int(cv2.absdiff(a_HWC, b_HWC).max(axis=2)[where_HW].max(initial=0))


def landmark_shift(a: Sequence[Point], b: Sequence[Point]) -> float | None:
    """Mean distance of the five landmarks in eye distances of `b`; none without landmarks."""
    if len(a) != len(b) or len(b) < 2:
        return None
    a_N2, b_N2 = (np.array([(p.x, p.y) for p in points]) for points in (a, b))
    eyes = float(np.linalg.norm(b_N2[1] - b_N2[0]))
    return float(np.linalg.norm(a_N2 - b_N2, axis=1).mean() / eyes) if eyes > 0 else None


def _by(package: str, text: str) -> str:
    return f"{text}, {package} {metadata.version(package)}"


# Every number in a report stands beside the name of what made it.
METRICS: dict[str, Callable[[], str]] = {
    "psnr_db": lambda: _by("scikit-image", "PSNR over RGB, data range 255"),
    "ssim": lambda: _by("scikit-image", "SSIM over RGB, 7x7 uniform window"),
    "colour_error": lambda: _by("scikit-image", "mean CIEDE2000 after a blur of 1/32 of the side"),
    "sharpness_gain": lambda: _by(
        "opencv-python-headless", "Laplacian variance, restored over input"
    ),
    "landmark_shift": lambda: "mean shift of five landmarks in eye distances, by the face finder",
    "background_change": lambda: "largest channel difference to the input outside the masks, 0-255",
}
