"""Damage for benchmarks/gates.py: functions of pixels (sRGB HWC) and five landmarks (5 x 2, px)."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from PIL import Image

Damage = Callable[[np.ndarray, np.ndarray], np.ndarray]
UPSCALE = (1.25, 1.5, 2, 3, 4)


def eyes(points: np.ndarray) -> float:
    return float(np.hypot(*(points[1] - points[0])))


def blur(pixels: np.ndarray, points: np.ndarray, *, share: float) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), share * eyes(points))


def smear(pixels: np.ndarray, points: np.ndarray, *, share: float, degrees: float) -> np.ndarray:
    """Straight motion of a camera; then a third of a step of grain and JPEG at quality 92."""
    length, fine = share * eyes(points), 8
    size = max(int(np.ceil(length)) | 1, 3)
    middle, half = (size * fine - 1) / 2, length * fine / 2
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]) * half
    ends = [tuple(int(v) for v in np.round(middle + sign * along)) for sign in (-1, 1)]
    line = cv2.line(np.zeros((size * fine, size * fine), np.float32), *ends, 1, fine)
    kernel = cv2.resize(line, (size, size), interpolation=cv2.INTER_AREA)
    return saved(cv2.filter2D(pixels, -1, kernel / kernel.sum()), quality=92)


def saved(pixels: np.ndarray, points: np.ndarray | None = None, *, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def grain(pixels: np.ndarray, points: np.ndarray, *, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def expose(pixels: np.ndarray, points: np.ndarray, *, stops: float) -> np.ndarray:
    linear = (pixels / 255.0) ** 2.2 * 2.0**stops
    return np.clip(255 * linear ** (1 / 2.2), 0, 255).astype(np.uint8)


def veil(pixels: np.ndarray, points: np.ndarray, *, haze: float) -> np.ndarray:
    return np.clip(255 * haze + pixels * (1 - haze), 0, 255).astype(np.uint8)


def placed(pixels: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """Picture of places in the 512 px face, and the scale."""
    across = (points[1] - points[0]) / 126
    matrix = np.array([[across[0], -across[1]], [across[1], across[0]]])
    return np.hstack([matrix, (points[0] - matrix @ (193, 240))[:, None]]), eyes(points) / 126


def at(matrix: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    return np.round(np.array([(*p, 1) for p in places]) @ matrix.T).astype(np.int32)


MASK = [(150, 285), (256, 262), (362, 285), (350, 400), (300, 450), (212, 450), (162, 400)]


def mask(pixels: np.ndarray, points: np.ndarray, *, colour: tuple[int, int, int]) -> np.ndarray:
    matrix, scale = placed(pixels, points)
    over = cv2.fillPoly(np.zeros(pixels.shape[:2], np.float32), [at(matrix, MASK)], 1)
    over = cv2.GaussianBlur(over, (0, 0), 2 * scale)[..., None]
    light = cv2.GaussianBlur(pixels.mean(axis=2), (0, 0), 30 * scale)[..., None]
    shade = 0.4 + 0.6 * light / light.max()
    return (pixels * (1 - over) + over * np.array(colour) * shade).astype(np.uint8)


def sunglasses(
    pixels: np.ndarray, points: np.ndarray, *, colour: tuple[int, int, int]
) -> np.ndarray:
    matrix, scale = placed(pixels, points)
    over = np.zeros(pixels.shape[:2], np.uint8)
    tilt = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    for place in at(matrix, [(193, 245), (319, 245)]):
        size = (round(58 * scale), round(40 * scale))
        cv2.ellipse(over, tuple(int(v) for v in place), size, tilt, 0, 360, 1, -1)
    seen_through = 0.06 * pixels + np.array(colour)
    return np.where(over[..., None] > 0, seen_through, pixels).astype(np.uint8)


def hand(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    matrix, scale = placed(pixels, points)
    skin = np.median(
        pixels[cv2.fillPoly(np.zeros(pixels.shape[:2], np.uint8), [at(matrix, MASK)], 1) > 0],
        axis=0,
    )
    out = pixels.copy()
    for n in range(4):
        low, high = at(matrix, [(150 + 38 * n, 470), (190 + 38 * n, 290)])
        ends = tuple(int(v) for v in low), tuple(int(v) for v in high)
        cv2.line(out, *ends, tuple(float(v * 0.9) for v in skin), round(32 * scale))
    return out


def microphone(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    matrix, scale = placed(pixels, points)
    place = tuple(int(v) for v in at(matrix, [(256, 385)])[0])
    return cv2.circle(pixels.copy(), place, round(62 * scale), (45, 45, 48), -1)


def strands(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    matrix, scale = placed(pixels, points)
    rng, out = np.random.default_rng(1), pixels.copy()
    for x in rng.integers(150, 260, 25):
        top, low = at(matrix, [(int(x), 100), (int(x + rng.integers(-30, 60)), 430)])
        ends = tuple(int(v) for v in top), tuple(int(v) for v in low)
        cv2.line(out, *ends, (40, 28, 20), max(1, round(3 * scale)))
    return out


def sidelight(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    fall = np.linspace(1, 0.12, pixels.shape[1])[None, :, None]
    return np.clip(255 * ((pixels / 255.0) ** 2.2 * fall) ** (1 / 2.2), 0, 255).astype(np.uint8)


def two_lights(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Warm from the left, cool from the right."""
    mix = np.linspace(0, 1, pixels.shape[1])[None, :, None]
    tint = (1 - mix) * np.array([1.15, 0.95, 0.75]) + mix * np.array([0.8, 1.0, 1.2])
    return np.clip(255 * ((pixels / 255.0) ** 2.2 * tint) ** (1 / 2.2), 0, 255).astype(np.uint8)


def smears(share: float) -> list[Damage]:
    return [partial(smear, share=share, degrees=d) for d in (0, 60, 90)]


SERIES: list[tuple[str, str, list[Damage]]] = [
    *(
        ("sharpness", f"blur {s:.0%} of eyes", [partial(blur, share=s)])
        for s in (0.01, 0.02, 0.04, 0.06, 0.08)
    ),
    *(
        ("eye_sharpness", f"blur {s:.0%} of eyes", [partial(blur, share=s)])
        for s in (0.02, 0.04, 0.06, 0.08)
    ),
    *(("motion_blur", f"motion {s:.0%} of eyes", smears(s)) for s in (0.03, 0.05, 0.08, 0.12, 0.2)),
    *(("motion_blur", f"blur {s:.0%} of eyes", [partial(blur, share=s)]) for s in (0.02, 0.06)),
    ("motion_blur", "noise 20", [partial(grain, sigma=20)]),
    *(("noise", f"noise {s}", [partial(grain, sigma=s)]) for s in (5, 10, 15, 20, 30)),
    *(("noise", f"JPEG {q}", [partial(saved, quality=q)]) for q in (95, 50, 20)),
    *(("sharpness", f"JPEG {q}", [partial(saved, quality=q)]) for q in (50, 20)),
    *(("clipping", f"{s:+} stops", [partial(expose, stops=s)]) for s in (1, 2, 3, 4)),
    *(("channel_clipping", f"{s:+} stops", [partial(expose, stops=s)]) for s in (0.5, 1, 2)),
    *(("brightness", f"{s:+} stops", [partial(expose, stops=s)]) for s in (-2, -4, -6, -7)),
    *(("washed_out", f"veil {h:.0%}", [partial(veil, haze=h)]) for h in (0.2, 0.4, 0.6, 0.7)),
    ("washed_out", "+3 stops", [partial(expose, stops=3)]),
    ("occlusion", "blue mask", [partial(mask, colour=(110, 165, 205))]),
    ("occlusion", "white mask", [partial(mask, colour=(235, 235, 235))]),
    ("occlusion", "black mask", [partial(mask, colour=(35, 35, 38))]),
    ("occlusion", "black sunglasses", [partial(sunglasses, colour=(15, 15, 18))]),
    ("occlusion", "brown sunglasses", [partial(sunglasses, colour=(45, 28, 15))]),
    ("occlusion", "hand", [hand]),
    ("occlusion", "microphone", [microphone]),
    ("motion_blur", "strands of hair", [strands]),
    ("occlusion", "strands of hair", [strands]),
    ("occlusion", "side light (no damage)", [sidelight]),
    ("occlusion", "two lights (no damage)", [two_lights]),
]
