"""The operations that recipes are made of: each a frozen record of its numbers, and what it does.

An operation takes an RGB picture HWC of 8-bit or float values, 0 to 255 sRGB, and the (height,
width) that the recipe began with; it returns 8-bit or float32 values on the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from training.degrade_kernels import Kernel, filtered, weights

__all__ = [
    "Blur",
    "Grey",
    "Haze",
    "Jitter",
    "Jpeg",
    "Move",
    "Noise",
    "Operation",
    "Resize",
    "Sharpen",
    "Shift",
    "Uneven",
    "run",
    "to_bytes",
]

Picture: TypeAlias = NDArray[Any]
Size: TypeAlias = tuple[int, int]
Mode: TypeAlias = Literal["linear", "cubic", "area"]

_MODES = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


@dataclass(frozen=True, slots=True)
class Blur:
    """Filtered with a kernel."""

    kernel: Kernel

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32, not clipped: a sinc kernel overshoots."""
        return filtered(pixels_HWC, weights(self.kernel))


@dataclass(frozen=True, slots=True)
class Resize:
    """Brought to the size of the beginning divided by `down`; 1 brings it back."""

    down: float
    mode: Mode = "linear"

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Float32."""
        pixels_HWC = pixels_HWC.astype(np.float32, copy=False)
        width, height = self.reduced(size)
        if pixels_HWC.shape[:2] == (height, width):
            return pixels_HWC
        resized_HWC = cv2.resize(pixels_HWC, (width, height), interpolation=_MODES[self.mode])
        return np.asarray(resized_HWC)

    def reduced(self, size: Size) -> Size:
        """The (width, height) it brings a picture to, at least one pixel each."""
        height, width = (max(1, int(side // self.down)) for side in size)
        return width, height


@dataclass(frozen=True, slots=True)
class Noise:
    """Gaussian noise of a standard deviation, or Poisson noise of a strength; clipped."""

    family: Literal["gaussian", "poisson"]
    strength: float  # standard deviation on the 0 to 255 scale; times the shot noise
    grey: bool  # the same for the three channels
    seed: int

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32. Source of the Poisson noise: BasicSR, degradations.py."""
        rng = np.random.default_rng(self.seed)
        pixels_HWC = pixels_HWC.astype(np.float32, copy=False)
        if self.family == "poisson":
            noise_HWC = self._shot(pixels_HWC, rng)
        else:
            shape = (*pixels_HWC.shape[:2], 1) if self.grey else pixels_HWC.shape
            noise_HWC = rng.standard_normal(shape, dtype=np.float32)
        return np.clip(pixels_HWC + noise_HWC * np.float32(self.strength), 0, 255)

    def _shot(self, pixels_HWC: Picture, rng: np.random.Generator) -> Picture:
        """The noise of a sensor that counts as many photons as the picture has levels."""
        seen = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY) if self.grey else pixels_HWC
        bytes_HWC = np.atleast_3d(to_bytes(seen))
        levels = np.count_nonzero(np.bincount(bytes_HWC.ravel(), minlength=256))
        photons = 2.0 ** np.ceil(np.log2(levels))
        counted_HWC = rng.poisson(bytes_HWC * (photons / 255)) * (255 / photons)
        return np.asarray(counted_HWC - bytes_HWC, np.float32)


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Through OpenCV's JPEG codec, rounded to 8 bits before it."""

    quality: int

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, 8 bits."""
        # The codec takes BGR; with RGB the luma weights of red and blue would be swapped.
        bgr_HWC = cv2.cvtColor(to_bytes(pixels_HWC), cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


@dataclass(frozen=True, slots=True)
class Haze:
    """A white veil: `alpha` of the picture stays."""

    alpha: float

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32."""
        veil = np.float32(255 * (1 - self.alpha))
        return pixels_HWC.astype(np.float32, copy=False) * np.float32(self.alpha) + veil


@dataclass(frozen=True, slots=True)
class Uneven:
    """One chain inside a square, another one around it."""

    left: int
    top: int
    side: int
    inside: tuple[Operation, ...]
    outside: tuple[Operation, ...]

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32; both chains end at the size they began with."""
        around_HWC = run(self.outside, pixels_HWC, size).astype(np.float32)
        rows = slice(self.top, self.top + self.side)
        columns = slice(self.left, self.left + self.side)
        around_HWC[rows, columns] = run(self.inside, pixels_HWC, size)[rows, columns]
        return around_HWC


@dataclass(frozen=True, slots=True)
class Shift:
    """Each channel moved by so much, on the 0 to 255 scale; clipped."""

    red: float
    green: float
    blue: float

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32."""
        by_C = np.array([self.red, self.green, self.blue], np.float32)
        return np.clip(pixels_HWC.astype(np.float32, copy=False) + by_C, 0, 255)


@dataclass(frozen=True, slots=True)
class Grey:
    """Luma in all three channels."""

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size and type."""
        return np.asarray(
            cv2.cvtColor(cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        )


@dataclass(frozen=True, slots=True)
class Jitter:
    """One of torchvision's colour adjustments; hue in turns of the colour circle."""

    what: Literal["brightness", "contrast", "saturation", "hue"]
    factor: float

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32, clipped. Source: torchvision.transforms.functional."""
        pixels_HWC = np.clip(pixels_HWC.astype(np.float32, copy=False), 0, 255)
        if self.what == "hue":
            return self._turned(pixels_HWC)
        grey_HW1 = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY)[..., None]
        other: Any = {
            "brightness": np.float32(0),
            "contrast": grey_HW1.mean(dtype=np.float64).astype(np.float32),
            "saturation": grey_HW1,
        }[self.what]
        blend_HWC = pixels_HWC * np.float32(self.factor) + other * np.float32(1 - self.factor)
        return np.asarray(np.clip(blend_HWC, 0, 255))

    def _turned(self, pixels_HWC: Picture) -> Picture:
        hsv_HWC = cv2.cvtColor(pixels_HWC / 255, cv2.COLOR_RGB2HSV)
        hsv_HWC[..., 0] = (hsv_HWC[..., 0] + np.float32(360 * self.factor)) % 360
        return np.asarray(cv2.cvtColor(hsv_HWC, cv2.COLOR_HSV2RGB) * np.float32(255))


@dataclass(frozen=True, slots=True)
class Move:
    """Shifted to the right and down by whole pixels, the gap filled with the mirrored border."""

    right: int
    down: int

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size and type."""
        x, y = abs(self.right), abs(self.down)
        wide_HWC = cv2.copyMakeBorder(pixels_HWC, y, y, x, x, cv2.BORDER_REFLECT)
        top, left = y - self.down, x - self.right
        height, width = pixels_HWC.shape[:2]
        return np.ascontiguousarray(wide_HWC[top : top + height, left : left + width])


@dataclass(frozen=True, slots=True)
class Sharpen:
    """Unsharp masking where detail is stronger than `threshold`, on the 0 to 255 scale."""

    side: int = 51  # of the Gaussian kernel, odd
    weight: float = 0.5
    threshold: float = 10.0

    def __call__(self, pixels_HWC: Picture, size: Size) -> Picture:
        """Same size, float32. Source: Real-ESRGAN's sharpened ground truth, after BasicSR."""
        pixels_HWC = pixels_HWC.astype(np.float32, copy=False)
        square = (self.side, self.side)
        detail_HWC = pixels_HWC - cv2.GaussianBlur(pixels_HWC, square, 0)
        strong_HWC = (np.abs(detail_HWC) > self.threshold).astype(np.float32)
        share_HWC = cv2.GaussianBlur(strong_HWC, square, 0)
        sharp_HWC = np.clip(pixels_HWC + np.float32(self.weight) * detail_HWC, 0, 255)
        return np.asarray(share_HWC * sharp_HWC + (1 - share_HWC) * pixels_HWC)


Operation: TypeAlias = (
    Blur | Resize | Noise | Jpeg | Haze | Uneven | Shift | Grey | Jitter | Move | Sharpen
)


def run(operations: tuple[Operation, ...], pixels_HWC: Picture, size: Size) -> Picture:
    """The picture after one operation and another; `size` is its (height, width)."""
    left = list(operations)
    while left:
        operation = left.pop(0)
        if isinstance(operation, Blur) and left and _halves(left[0], pixels_HWC, size):
            reduced = left.pop(0).reduced(size)  # type: ignore[union-attr]
            pixels_HWC = filtered(pixels_HWC, weights(operation.kernel), reduced=reduced)
        else:
            pixels_HWC = operation(pixels_HWC, size)
    return pixels_HWC


def _halves(operation: Operation, pixels_HWC: Picture, size: Size) -> bool:
    """Whether a blur before it is made faster by doing both at once."""
    if not isinstance(operation, Resize) or operation.mode != "linear":
        return False
    return 2 * operation.reduced(size)[0] <= pixels_HWC.shape[1]


def to_bytes(pixels_HWC: Picture) -> NDArray[np.uint8]:
    """Rounded to the nearest of 0 to 255, halves to even."""
    if pixels_HWC.dtype == np.uint8:
        return pixels_HWC
    return np.asarray(cv2.convertScaleAbs(np.clip(pixels_HWC, 0, 255)), np.uint8)
