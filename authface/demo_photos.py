"""The demo's originals: one public-domain portrait, enlarged with grain to 8K, and faulty variants.

The portrait is NASA's photograph of Eileen Collins that ships inside scikit-image
(`skimage.data.astronaut`, 512 px, public domain). Enlarging adds pixels and no detail; the grain
only stands in for a sensor's.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAMINGS", "Framing", "enlarge", "make_originals"]

Pixels = NDArray[np.uint8]

LONG_SIDE = 8192
GRAIN_SIGMA = 4.0  # grey levels


@dataclass(frozen=True, slots=True)
class Framing:
    """A cut of the portrait (left, top, right, bottom of its 512 px), its light and its turn."""

    name: str
    cut: tuple[int, int, int, int]
    mirrored: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0


FRAMINGS = (
    Framing("01-half-length", (32, 0, 416, 512)),
    Framing("02-close-up", (118, 16, 328, 296)),
    Framing("03-landscape", (0, 0, 512, 342)),
    Framing("04-mirrored", (80, 8, 380, 408), mirrored=True),
    Framing("05-warm", (60, 30, 330, 390), gain=(1.08, 1.0, 0.88)),
    Framing("06-low-key", (20, 0, 470, 338), mirrored=True, gamma=1.35),
    Framing("07-cool", (140, 24, 380, 264), gain=(0.9, 1.0, 1.08)),
)
HELD_OUT = Framing("held-out", (96, 12, 352, 268), mirrored=True, gain=(1.02, 1.0, 0.97))


def make_originals(
    folder: Path, framings: Sequence[Framing] = FRAMINGS, *, faulty: bool = True
) -> Iterator[Path]:
    """Write the originals that are missing, and faulty ones; yields each path."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, framing in enumerate(framings):
        path = folder / f"{framing.name}.jpg"
        if not path.exists():
            _write(path, enlarge(framing, LONG_SIDE, seed=number), number)
        yield path
    if faulty:
        yield from _faulty(folder)


def _faulty(folder: Path) -> Iterator[Path]:
    import cv2

    first = FRAMINGS[0]
    again = folder / "10-same-again.jpg"
    if not again.exists():
        _write(again, enlarge(first, LONG_SIDE, seed=100), 100)
    yield again
    blurred = folder / "11-blurred.jpg"
    if not blurred.exists():
        sharp_HWC = enlarge(Framing("", (70, 0, 400, 440)), LONG_SIDE, seed=101)
        _write(blurred, cv2.GaussianBlur(sharp_HWC, (0, 0), 24).astype(np.uint8), 101)
    yield blurred
    small = folder / "12-too-small.jpg"
    if not small.exists():
        _write(small, enlarge(Framing("", (100, 20, 340, 340)), 2048, seed=102), 102)
    yield small
    truncated = folder / "13-truncated.jpg"
    if not truncated.exists():
        whole = (folder / f"{FRAMINGS[1].name}.jpg").read_bytes()
        truncated.write_bytes(whole[: len(whole) * 6 // 10])
    yield truncated


def enlarge(framing: Framing, long_side: int, *, seed: int) -> Pixels:
    """The framing at `long_side` px with grain; HWC uint8 sRGB."""
    import cv2
    from skimage.data import astronaut

    left, top, right, bottom = framing.cut
    cut_HWC = astronaut()[top:bottom, left:right]
    if framing.mirrored:
        cut_HWC = cut_HWC[:, ::-1]
    lit_HWC = (cut_HWC / 255.0) ** framing.gamma * np.array(framing.gain) * 255.0
    lit_HWC = np.clip(lit_HWC, 0, 255).astype(np.uint8)
    scale = long_side / max(lit_HWC.shape[:2])
    size = (round(lit_HWC.shape[1] * scale), round(lit_HWC.shape[0] * scale))
    large_HWC = cv2.resize(np.ascontiguousarray(lit_HWC), size, interpolation=cv2.INTER_CUBIC)
    return _with_grain(large_HWC.astype(np.uint8), seed)


def _with_grain(pixels_HWC: Pixels, seed: int) -> Pixels:
    import cv2

    rng = np.random.default_rng(seed)
    tile_HW = rng.normal(0, GRAIN_SIGMA, (1031, 1021)).astype(
        np.float32
    )  # primes: no visible repeat
    height, width = pixels_HWC.shape[:2]
    rows, columns = -(-height // tile_HW.shape[0]), -(-width // tile_HW.shape[1])
    grain_HW = np.tile(tile_HW, (rows, columns))[:height, :width]
    noisy_HWC = cv2.add(pixels_HWC, cv2.merge([grain_HW] * 3), dtype=cv2.CV_8U)
    return np.asarray(noisy_HWC, dtype=np.uint8)


def _write(path: Path, pixels_HWC: Pixels, number: int) -> None:
    from PIL import Image

    from data_manifests.media import write_atomic

    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "JPEG", quality=92, exif=demo_exif(number))
    write_atomic(path, buffer.getvalue())


def demo_exif(number: int) -> Any:
    """EXIF that says plainly that the picture is a synthetic enlargement."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = "AuthFace demo"
    exif[0x0110] = "synthetic enlargement"
    exif[0x013B] = "NASA"
    exif[0x8298] = "Public domain"
    details = exif.get_ifd(0x8769)
    details[0x829A] = 1 / 125
    details[0x829D] = 2.8
    details[0x8827] = 200
    details[0x920A] = 85.0
    details[0xA434] = "85 mm, as an example"
    details[0x9003] = f"2026:01:{1 + number % 28:02d} 10:00:00"
    return exif
