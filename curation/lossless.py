"""How crops are written and read: PNG, or JPEG XL where imagecodecs is there; 8 or 16 bits, RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.decode import Pixels
from data_manifests.errors import MissingExtra, StorageError

__all__ = ["decode_lossless", "encode_jpeg", "encode_lossless", "read_lossless"]

Codec = Literal["png", "jxl"]

# The AVG filter with Huffman coding alone: on photographs half the time of zlib's level 1 and 15 %
# smaller, since grain gives LZ77 nothing to find (benchmarks/ingest.py, "encoders").
_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
]


def encode_lossless(pixels_HWC: Pixels, codec: Codec = "png") -> tuple[bytes, str]:
    """(file bytes, suffix) of sRGB pixels, uint8 or uint16."""
    if codec == "jxl":
        codecs = _imagecodecs()
        data = codecs.jpegxl_encode(
            np.ascontiguousarray(pixels_HWC), lossless=True, effort=1, numthreads=1
        )
        return bytes(data), ".jxl"
    return _encoded(".png", pixels_HWC, _PNG), ".png"


def encode_jpeg(pixels_HWC: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG of sRGB pixels, without metadata."""
    return _encoded(".jpg", pixels_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])


def read_lossless(path: Path) -> Pixels:
    """The sRGB pixels HWC of a crop or tile, uint8 or uint16; raises OSError or ValueError."""
    return decode_lossless(path.read_bytes(), path.suffix)


def decode_lossless(data: bytes, suffix: str) -> Pixels:
    """As `read_lossless`, from the file's bytes."""
    if suffix == ".jxl":
        pixels: Any = _imagecodecs().jpegxl_decode(data, numthreads=1)
        return pixels  # type: ignore[no-any-return]
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3:
        raise ValueError("it is no colour picture")
    return np.ascontiguousarray(found[..., 2::-1])


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingExtra("imagecodecs", "fast", "JPEG XL") from error
    return imagecodecs


def _encoded(suffix: str, pixels_HWC: Pixels, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise StorageError(f"A {suffix} picture could not be encoded.", "Check the free memory.")
    encoded: Any = data.tobytes()
    return bytes(encoded)
