"""What says that two pictures are one: pixel hash, 256-bit pHash, and a small colour descriptor.

The pixel hash finds the same pixels in another file. The pHash finds candidates for versions of one
picture, the descriptor verifies them: a hash of a two-tone picture says little, its colours say it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import cv2
import imagehash
import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image

from curation.colour import shrink

__all__ = [
    "LUMA_CELLS",
    "descriptor",
    "hash_words",
    "low_words",
    "pack",
    "perceptual_hash",
    "pixel_hash",
    "unpack",
]

_SIDE = 16  # 16 x 16 low frequencies of a 64 x 64 DCT
_WORK = 256  # px; the hash looks at 64 px, so a small picture gives the same bits sooner
_LUMA_SIDE, _CHROMA_SIDE = 10, 5  # cells: people see brightness finer than colour
LUMA_CELLS = _LUMA_SIDE**2  # the descriptor's first values; the rest is colour
_FLAT = 0.5  # of 100, standard deviation of L*: less is a blank sheet with noise


def perceptual_hash(pixels_HWC: NDArray[np.uint8]) -> str:
    """pHash of an sRGB picture as 64 hexadecimal digits. Source: imagehash.phash, hash_size 16."""
    grey_HW = cv2.cvtColor(shrink(pixels_HWC, _WORK), cv2.COLOR_RGB2GRAY)
    return str(imagehash.phash(Image.fromarray(grey_HW), hash_size=_SIDE))


def pixel_hash(pixels_HWC: NDArray[Any]) -> str:
    """XXH3-128 over shape, dtype and values, 32 digits; the pixels are not copied.

    It finds equal pixels and proves nothing; SHA-256 would take half as long as the decoding.
    """
    digest = xxhash.xxh3_128(f"{pixels_HWC.shape} {pixels_HWC.dtype.name}".encode())
    whole = pixels_HWC.flags.c_contiguous
    for part in (pixels_HWC,) if whole else pixels_HWC:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def descriptor(pixels_HWC: NDArray[np.uint8]) -> tuple[float, ...]:
    """A tiny picture of an sRGB picture as a unit vector: 10 x 10 of L*, then 5 x 5 of a* and b*.

    Each plane is taken less its mean and weighted by a Hann window, so that a change of brightness,
    contrast or white balance matters little, and so does a crop or a border at the edges. All zeros
    for a blank picture, which is like nothing.
    """
    small_HWC = shrink(pixels_HWC, _WORK).astype(np.float32) / 255
    side = 4 * _LUMA_SIDE
    lab_HWC = cv2.cvtColor(
        cv2.resize(small_HWC, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB
    )
    luma = _windowed(lab_HWC[..., :1], _LUMA_SIDE)
    chroma = _windowed(lab_HWC[..., 1:], _CHROMA_SIDE)
    values = np.concatenate([luma, chroma])
    length = float(np.linalg.norm(values))
    if length < _FLAT:
        return (0.0,) * len(values)
    return tuple(round(float(v), 5) for v in values / length)


def pack(vector: Sequence[float]) -> str:
    """A vector of values from -1 to 1 as text, a hundredth of its size as Python numbers."""
    whole = np.rint(np.asarray(vector, np.float64) * 32767).astype("<i2")
    return base64.b64encode(whole.tobytes()).decode()


def unpack(text: str | None) -> NDArray[np.float32]:
    """The vector of `pack`, empty where there is none."""
    whole = np.frombuffer(base64.b64decode(text or ""), "<i2")
    return (whole / 32767).astype(np.float32)


def _windowed(plane_HWC: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The plane in `side` x `side` cells, less its weighted mean, times the weights' root."""
    cells_HWC = cv2.resize(plane_HWC, (side, side), interpolation=cv2.INTER_AREA)
    cells_HWC = cells_HWC.reshape(side, side, -1)
    rise = np.sin(math.pi * (np.arange(side) + 0.5) / side) ** 2
    weights_HW1 = (np.outer(rise, rise) / rise.sum() ** 2)[..., None]
    mean = (cells_HWC * weights_HW1).sum(axis=(0, 1))
    return np.asarray((cells_HWC - mean) * np.sqrt(weights_HW1), np.float32).ravel()


def hash_words(perceptual_hashes: list[str]) -> NDArray[np.uint64]:
    """Hashes as N x 4 words of 64 bits, the first digit highest."""
    data = bytes.fromhex("".join(perceptual_hashes))
    return np.frombuffer(data, ">u8").reshape(-1, 4).astype(np.uint64)


def low_words(words_N4: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """N x 1 words of the lower 8 x 8 of the 16 x 16 frequencies: what a crop changes least."""
    rows_N16 = words_N4.astype(">u8").view(">u2").reshape(-1, _SIDE)
    return (rows_N16[:, :8] >> 8).astype(np.uint8).view(">u8").astype(np.uint64)
