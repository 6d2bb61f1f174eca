"""Painted areas: Label Studio's own run lengths to a mask, and the mask to a small PNG. Pure.

The code is a stream of bits, big end first: 32 for the number of values, 5 for the bits of a value
less one, four times 4 for the bits of a length less one; then runs: 1 bit whether one value is
repeated, 2 bits which length, the length less one, and the value or values. The values are those of
an RGBA picture, row by row. Source: thi.ng/rle-pack, which the editor uses.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PIXELS", "Mask", "decode_mask", "mask_png"]

Mask = NDArray[np.uint8]  # HW, 0 or 255

MOST_PIXELS = 1 << 26  # 8192 x 8192; a larger picture is never shown
_CHANNELS = 4


def decode_mask(rle: Sequence[int], width: int, height: int) -> Mask:
    """The painted pixels of a picture of this size: HW uint8, 255 where painted and 0 elsewhere.

    Raises ValueError if the code is damaged, of another size than h * w * 4, or paints nothing.
    """
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"no picture has {width} x {height} pixels")
    bits = _Bits(rle)
    expected = width * height * _CHANNELS
    found = bits.read(32)
    if found != expected:
        raise ValueError(f"it holds {found} values, the picture {expected}")
    values = _values(bits, expected)
    mask_HW = (values.reshape(height, width, _CHANNELS)[..., 3] > 0).astype(np.uint8) * 255
    if not mask_HW.any():
        raise ValueError("it paints nothing")
    return np.asarray(mask_HW, dtype=np.uint8)


def mask_png(mask_HW: Mask) -> bytes:
    """The mask as a PNG of one bit a pixel."""
    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(mask_HW).convert("1", dither=Image.Dither.NONE).save(made, "PNG")
    return made.getvalue()


class _Bits:
    """Reads numbers of so many bits from bytes."""

    def __init__(self, rle: Sequence[int]) -> None:
        self._data = bytes(rle)  # ValueError beyond 0..255
        self._at = 0

    def read(self, bits: int) -> int:
        """The next number."""
        end = self._at + bits
        last = (end + 7) // 8
        if last > len(self._data):
            raise ValueError("it breaks off")
        word = int.from_bytes(self._data[self._at // 8 : last], "big") >> (8 * last - end)
        self._at = end
        return word & ((1 << bits) - 1)

    def read_bytes(self, count: int) -> NDArray[np.uint8]:
        """The next numbers of eight bits each."""
        word = self.read(8 * count)
        return np.frombuffer(word.to_bytes(count, "big"), dtype=np.uint8)


def _values(bits: _Bits, count: int) -> NDArray[np.uint8]:
    if bits.read(5) + 1 != 8:
        raise ValueError("its values are not of eight bits")
    lengths = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, dtype=np.uint8)
    at = 0
    while at < count:
        repeated = bits.read(1)
        run = bits.read(lengths[bits.read(2)]) + 1
        if at + run > count:
            raise ValueError("it runs over its end")
        values[at : at + run] = bits.read(8) if repeated else bits.read_bytes(run)
        at += run
    return values
