from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.config import GatesConfig
from curation.duplicates import KeptHashes, perceptual_hash

Srgb = NDArray[np.uint8]
BITS = GatesConfig().near_duplicate_bits


def apart(one: Srgb, other: Srgb) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(other), 16)).bit_count()


def test_smaller_brighter_and_recompressed_versions_are_near(portrait: Srgb) -> None:
    small = cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 50])
    lossy = cv2.imdecode(data, cv2.IMREAD_COLOR)
    brighter = np.clip(portrait * 1.1, 0, 255).astype(np.uint8)
    assert apart(portrait, np.asarray(lossy, dtype=np.uint8)) <= BITS
    assert apart(portrait, brighter) <= BITS


def test_another_framing_is_far(portrait: Srgb) -> None:
    assert apart(portrait, np.ascontiguousarray(portrait[200:1300, 300:1400])) > 2 * BITS
    assert apart(portrait, np.ascontiguousarray(portrait[:, ::-1])) > 2 * BITS


def test_the_nearest_kept_photo_is_found() -> None:
    kept = KeptHashes([("a", "0" * 64), ("b", "f" * 64)])
    assert kept.nearest("0" * 63 + "3") == ("a", 2)
    kept.add("c", "0" * 63 + "3")
    assert kept.nearest("0" * 63 + "3") == ("c", 0)
    assert kept.nearest("0" * 63 + "3", other_than="c") == ("a", 2)


def test_nothing_is_near_when_nothing_is_kept() -> None:
    assert KeptHashes().nearest("0" * 64) is None
    assert KeptHashes([("a", "0" * 64)]).nearest("0" * 64, other_than="a") is None
