"""How well versions of one picture are found, and how long 100,000 photos take to settle.

`python benchmarks/duplicates.py SHARED` on a folder with photos/portraits, photos/ffhq-1024,
photos/labelled-faces, photos/old-photos and photos/parliament-120x160. Versions are made of every
picture of the first four and of every twelfth of the last; the false pairs are counted among all
pairs of different pictures, most of them head and shoulders before one studio background.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import shrink
from curation.config import GatesConfig
from curation.duplicates import descriptor, hash_words, low_words, pack, perceptual_hash
from curation.looks import Looks, Reach
from curation.pairs import near_pairs
from curation.settle import settle
from data_manifests.records import Photo

Srgb = NDArray[np.uint8]
LARGE = ("portraits", "ffhq-1024", "labelled-faces", "old-photos")
SMALL = "parliament-120x160"
CONFIG = GatesConfig()
REACH = Reach(CONFIG.near_duplicate_bits, CONFIG.least_likeness)
NARROW = 24  # bits: what a pHash is commonly trusted with alone


def clipped(values: NDArray[np.float64]) -> Srgb:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def recompressed(pixels: Srgb, quality: int) -> Srgb:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def cropped(pixels: Srgb, share: float, *, left: float = 0.5, top: float = 0.5) -> Srgb:
    """Without `share` of width and height, of which `left` and `top` parts at those sides."""
    height, width = pixels.shape[:2]
    over_y, over_x = round(height * share), round(width * share)
    y, x = round(over_y * top), round(over_x * left)
    return pixels[y : y + height - over_y, x : x + width - over_x]


def turned(pixels: Srgb, degrees: float) -> Srgb:
    """Rotated and cut, so that no corner is empty."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    whole = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return cropped(np.asarray(whole, np.uint8), 0.03)


def framed(pixels: Srgb, value: int) -> Srgb:
    edge = max(round(pixels.shape[0] * 0.02), 1)
    return np.asarray(
        cv2.copyMakeBorder(pixels, *[edge] * 4, cv2.BORDER_CONSTANT, value=[value] * 3), np.uint8
    )


def grey(pixels: Srgb) -> Srgb:
    return np.asarray(
        cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8
    )


VERSIONS: dict[str, Callable[[Srgb], Srgb]] = {
    "JPEG quality 40": lambda p: recompressed(p, 40),
    "half the size": lambda p: np.asarray(
        cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8
    ),
    "brighter by 20 %": lambda p: clipped(p * 1.2),
    "darker by 20 %": lambda p: clipped(p * 0.8),
    "contrast + 25 %": lambda p: clipped((p - 128.0) * 1.25 + 128),
    "contrast - 25 %": lambda p: clipped((p - 128.0) * 0.75 + 128),
    "warmer": lambda p: clipped(p * np.array([1.12, 1, 0.86])),
    "cooler": lambda p: clipped(p * np.array([0.9, 1, 1.12])),
    "greyscale": grey,
    "cropped by 2 %, all sides": lambda p: cropped(p, 0.02),
    "cropped by 2 %, one corner": lambda p: cropped(p, 0.02, left=1, top=1),
    "cropped by 5 %, all sides": lambda p: cropped(p, 0.05),
    "cropped by 5 %, one corner": lambda p: cropped(p, 0.05, left=1, top=1),
    "cropped by 10 %, all sides": lambda p: cropped(p, 0.10),
    "white border of 2 %": lambda p: framed(p, 255),
    "black border of 2 %": lambda p: framed(p, 0),
    "turned by 1 degree": lambda p: turned(p, 1),
    "mirrored (another picture)": lambda p: p[:, ::-1],
}


def read(path: Path) -> Srgb | None:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if pixels is None else np.asarray(shrink(pixels[..., ::-1], 2048), np.uint8)


def seen(pixels: Srgb, name: str) -> Photo:
    pixels = np.ascontiguousarray(pixels)
    return Photo(
        photo_id=name,
        path=name,
        state="kept",
        size_bytes=1,
        perceptual_hash=perceptual_hash(pixels),
        descriptor=pack(descriptor(pixels)),
    )


def found(looks: Looks, one: int, others: NDArray[np.int64]) -> tuple[NDArray[np.bool_], ...]:
    """(by 24 bits of the hash alone, by the wide reach alone, by hash and colours)."""
    alike, apart = looks.alike(one, others, REACH)
    low = low_words(looks.words)
    candidates = np.bitwise_count(low[one] ^ low[others])[:, 0] <= REACH.low_bits
    return apart <= NARROW, apart <= REACH.bits, candidates & alike


def versions(pictures: list[Srgb]) -> None:
    counts = {name: np.zeros(3) for name in VERSIONS}
    for pixels in pictures:
        rows = [seen(pixels, "0")] + [seen(made(pixels), name) for name, made in VERSIONS.items()]
        by = found(Looks(rows), 0, np.arange(1, len(rows)))
        for place, name in enumerate(VERSIONS):
            counts[name] += [float(column[place]) for column in by]
    print(f"{len(pictures)} pictures: share of the versions found")
    heads = (f"pHash <= {NARROW}", f"pHash <= {REACH.bits}", "hash and colours")
    print(f"{'version':<30}" + "".join(f"{h:>18}" for h in heads))
    for name, count in counts.items():
        print(f"{name:<30}" + "".join(f"{c / len(pictures):>18.2f}" for c in count))


def false_pairs(photos: list[Photo]) -> None:
    looks, counts = Looks(photos), np.zeros(3, np.int64)
    for one in range(len(photos)):
        later = np.arange(one + 1, len(photos))
        counts += [int(column.sum()) for column in found(looks, one, later)]
    pairs = len(photos) * (len(photos) - 1) // 2
    print(f"{pairs} pairs of {len(photos)} different pictures: taken for one")
    print(f"{'':<30}" + "".join(f"{c:>18}" for c in counts))


def speed(count: int = 100_000) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 150))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hashes = [rng.bytes(32).hex() for _ in range(count)]
    bare = [
        Photo(photo_id=f"{n:064x}", path=f"/shoot/IMG_{n}.jpg", state="kept", size_bytes=n)
        for n in range(count)
    ]
    start = time.process_time()
    near_pairs(hash_words(hashes), NARROW)
    print(f"near pairs of {count} hashes within {NARROW} bits: {time.process_time() - start:.1f} s")
    settled("settle them without hashes", bare)
    rows = [
        replace(photo, perceptual_hash=known, descriptor=pack(vector))
        for photo, known, vector in zip(bare, hashes, vectors.tolist(), strict=True)
    ]
    settled("settle them, all distinct", rows)


def settled(label: str, photos: list[Photo]) -> None:
    start = time.process_time()
    settle(photos, eye_distance={}, busy=frozenset(), config=CONFIG)
    print(f"{label}: {time.process_time() - start:.1f} s of one core")


def main() -> None:
    cv2.setNumThreads(1)
    folder = Path(sys.argv[1]) / "photos"
    large = [p for name in LARGE for p in sorted((folder / name).iterdir())]
    small = sorted((folder / SMALL).iterdir())
    pictures = [pixels for p in large if (pixels := read(p)) is not None]
    portraits = [pixels for p in small if (pixels := read(p)) is not None]
    versions(pictures + list(islice(portraits, 0, None, 12)))
    false_pairs([seen(pixels, str(n)) for n, pixels in enumerate(pictures + portraits)])
    speed()


if __name__ == "__main__":
    main()
