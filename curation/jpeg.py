"""JPEG to RGB with libjpeg-turbo, strictly: what it warns about is damage, with few exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from data_manifests.errors import UnreadablePhoto

__all__ = ["PixelBuffer", "decode_jpeg"]

# Said of junk that costs no pixel, and of damage after which the data no longer fit together.
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_MOST_PLACES = 8  # tables looked at: a thumbnail's, a preview's, the picture's
_INTERVALS = 2
_START, _TABLES, _SCAN, _END = b"\xff\xd8", b"\xff\xdb", b"\xff\xda", b"\xff\xd9"


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
        if _EXTRANEOUS.search(said):
            header.load()
            picture = np.asarray(header if header.mode == "RGB" else header.convert("RGB"))
            if _costs_no_pixel(data, said, picture):
                return picture, f"decoder: {said}"[:120]
        reason = "truncated" if "premature end" in said.lower() else "damaged"
        raise UnreadablePhoto(reason, f"The JPEG can't be decoded: {said}.") from error
    if pixels_HWC.shape != (height, width, 3):
        raise UnreadablePhoto("damaged", "Its header and its picture disagree about the size.")
    return pixels_HWC, ""


def _costs_no_pixel(data: bytes, said: str, picture_HWC: NDArray[np.uint8]) -> bool:
    """True if what the decoder complained of is no damage of the picture that Pillow made.

    Junk in the header and filler before the end are: without them, the file decodes strictly to the
    same picture. So, too, a writer whose restart intervals do not end where the data do, from the
    first on: damage seldom strikes the first two of them.
    """
    found = _EXTRANEOUS.search(said)
    if found is None:
        return False
    count, marker = int(found[1]), found[2]
    if marker == "d0":
        return _leaves_rests(data)
    without = _without_filler(data, count) if marker == "d9" else _without_junk(data)
    return any(_is_picture_of(d, picture_HWC) for d in without)


def _without_junk(data: bytes) -> Iterator[bytes]:
    """The file from its tables on; the first ones found may be those of a thumbnail."""
    for start in islice(_places(data, _TABLES), _MOST_PLACES):
        yield _START + data[start:]


def _without_filler(data: bytes, count: int) -> Iterator[bytes]:
    """The file without that many empty bytes before an end marker."""
    for end in _places(data, _END):
        if end >= count and not data[end - count : end].strip(b"\x00\xff"):
            yield data[: end - count] + data[end:]
            return


def _leaves_rests(data: bytes) -> bool:
    """True if the first restart intervals, one after the other, end in bytes that nothing reads."""
    scan = data.find(_SCAN)
    for index in range(_INTERVALS):
        try:
            _decode(data, 0, None)
        except ValueError as error:
            found = _EXTRANEOUS.search(str(error))
            marker = bytes([0xFF, 0xD0 + index])
            end = data.find(marker, scan)
            if found is None or found[2] != marker[1:].hex() or end < 0:
                return False
            data = data[: end - int(found[1])] + data[end:]
        else:
            return False
    return True


def _places(data: bytes, marker: bytes) -> Iterator[int]:
    at = data.find(marker)
    while at >= 0:
        yield at
        at = data.find(marker, at + 1)


def _is_picture_of(data: bytes, pixels_HWC: NDArray[np.uint8]) -> bool:
    """True if the data decode strictly to these pixels."""
    try:
        return np.array_equal(_decode(data, 0, None), pixels_HWC)
    except ValueError:
        return False


def _decode(data: bytes, size: int, buffer: PixelBuffer | None) -> NDArray[np.uint8]:
    into = None if buffer is None else buffer.take(size)
    pixels: Any = simplejpeg.decode_jpeg(data, "RGB", buffer=into)
    return pixels  # type: ignore[no-any-return]
