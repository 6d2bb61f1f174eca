"""JPEG to RGB with libjpeg-turbo, strictly: what it warns about is damage, with one exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from data_manifests.errors import UnreadablePhoto

__all__ = ["PixelBuffer", "decode_jpeg"]

_HARMLESS = "extraneous bytes before marker"  # cameras write them; no pixel is lost


class PixelBuffer:
    """Memory that one photo after another is decoded into; a fresh block costs a tenth of the time.

    What lies in it is good until the next photo takes it.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes, the same ones as last time where they suffice."""
        if len(self._bytes) < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]


def decode_jpeg(
    data: bytes, header: Image.Image, buffer: PixelBuffer | None = None
) -> tuple[NDArray[np.uint8], str]:
    """(RGB pixels HWC, note) of a grey or YCbCr JPEG whose header Pillow has read.

    Raises UnreadablePhoto for anything that the decoder warns about: Pillow passes those over and
    gives grey areas.
    """
    width, height = header.size
    try:
        pixels_HWC = _decode(data, width * height * 3, buffer)
    except ValueError as error:
        said = " ".join(str(error).split())
        if _HARMLESS in said:
            header.load()
            picture = header if header.mode == "RGB" else header.convert("RGB")
            return np.asarray(picture), f"decoder: {said}"[:120]
        reason = "truncated" if "premature end" in said.lower() else "damaged"
        raise UnreadablePhoto(reason, f"The JPEG can't be decoded: {said}.") from error
    if pixels_HWC.shape != (height, width, 3):
        raise UnreadablePhoto("damaged", "Its header and its picture disagree about the size.")
    return pixels_HWC, ""


def _decode(data: bytes, size: int, buffer: PixelBuffer | None) -> NDArray[np.uint8]:
    into = None if buffer is None else buffer.take(size)
    pixels: Any = simplejpeg.decode_jpeg(data, "RGB", buffer=into)
    return pixels  # type: ignore[no-any-return]
