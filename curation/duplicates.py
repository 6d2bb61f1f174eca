"""Near duplicates: a 256-bit perceptual hash and the nearest kept photo by Hamming distance."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.colour import shrink

__all__ = ["KeptHashes", "perceptual_hash"]

_SIDE = 16  # 16 x 16 low frequencies of a 64 x 64 DCT
_WORK = 256  # px; the hash looks at 64 px, so a small picture gives the same bits sooner


def perceptual_hash(pixels_HWC: NDArray[np.uint8]) -> str:
    """pHash of an sRGB picture as 64 hexadecimal digits. Source: imagehash.phash, hash_size 16."""
    grey_HW = cv2.cvtColor(shrink(pixels_HWC, _WORK), cv2.COLOR_RGB2GRAY)
    return str(imagehash.phash(Image.fromarray(grey_HW), hash_size=_SIDE))


class KeptHashes:
    """Hashes of kept photos, searched whole: 100,000 of them take about a millisecond."""

    def __init__(self, known: Iterable[tuple[str, str]] = ()) -> None:
        pairs = list(known)
        self._ids = [photo_id for photo_id, _ in pairs]
        self._bits: NDArray[np.uint64] = np.array([_words(h) for _, h in pairs], np.uint64).reshape(
            -1, 4
        )

    def add(self, photo_id: str, perceptual_hash: str) -> None:
        """Take in one more kept photo."""
        self._ids.append(photo_id)
        self._bits = np.vstack([self._bits, np.array([_words(perceptual_hash)], np.uint64)])

    def nearest(self, perceptual_hash: str, *, other_than: str = "") -> tuple[str, int] | None:
        """(photo_id, differing bits) of the nearest kept photo, the earlier one on a tie."""
        if not self._ids:
            return None
        apart = np.bitwise_count(self._bits ^ np.array(_words(perceptual_hash), np.uint64)).sum(
            axis=1
        )
        for position in np.argsort(apart, kind="stable")[:2]:
            if self._ids[position] != other_than:
                return self._ids[position], int(apart[position])
        return None


def _words(perceptual_hash: str) -> list[int]:
    return [int(perceptual_hash[i : i + 16], 16) for i in range(0, 64, 16)]
