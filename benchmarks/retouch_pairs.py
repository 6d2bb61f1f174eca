"""Made pairs of a portrait and what a retoucher might send back: honest, bad and faint work."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from data_manifests.records import Box

Pixels = np.ndarray


@dataclass(frozen=True)
class Portrait:
    name: str
    pixels: Pixels
    face: Box

    @property
    def width(self) -> float:
        return self.face.width


# ---- honest work


def healed(one: Portrait, spots: int = 25, seed: int = 0) -> Pixels:
    """Spots replaced by their surroundings, texture put back as a healing brush does."""
    rng, out = np.random.default_rng(seed), one.pixels.copy()
    radius = max(2, round(one.width * 0.012))
    for _ in range(spots):
        x = round(one.face.left + one.width * rng.uniform(0.2, 0.8))
        y = round(one.face.top + one.face.height * rng.uniform(0.15, 0.85))
        dx, dy = rng.integers(-3 * radius, 3 * radius + 1, 2)
        size = 2 * radius + 1
        here = out[y - radius : y + radius + 1, x - radius : x + radius + 1]
        there = one.pixels[
            y + dy - radius : y + dy + radius + 1, x + dx - radius : x + dx + radius + 1
        ]
        if here.shape != (size, size, 3) or there.shape != here.shape:
            continue
        yy, xx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        mask = np.clip(1.5 - 1.5 * np.hypot(xx, yy) / radius, 0, 1)[..., None]
        shaded = there + (
            cv2.blur(here, (size, size)).astype(float) - cv2.blur(there, (size, size))
        )
        here[:] = np.clip(here * (1 - mask) + shaded * mask, 0, 255).round().astype(np.uint8)
    return out


def lit(one: Portrait, times: float, x: float, y: float, reach: float) -> Pixels:
    """Dodge (times > 1) or burn with a soft brush."""
    height, width = one.pixels.shape[:2]
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = one.face.left + one.width * x, one.face.top + one.face.height * y
    soft = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * (reach * one.width) ** 2))[..., None]
    return np.clip(one.pixels * (1 + (times - 1) * soft), 0, 255).round().astype(np.uint8)


def dodged_and_burned(one: Portrait) -> Pixels:
    steps = (
        (1.08, 0.3, 0.4, 0.06),
        (1.08, 0.7, 0.4, 0.06),
        (0.92, 0.5, 0.8, 0.08),
        (1.05, 0.5, 0.2, 0.1),
    )
    out = one
    for step in steps:
        out = Portrait(one.name, lit(out, *step), one.face)
    return out.pixels


def dodged_after_healing(one: Portrait) -> Pixels:
    return dodged_and_burned(Portrait(one.name, healed(one, 40, 1), one.face))


def stray_hair(one: Portrait) -> Pixels:
    """Thin lines painted out beside the face."""
    out = one.pixels.copy()
    height, width = out.shape[:2]
    for i in range(6):
        x = int(np.clip(one.face.left - one.width * (0.05 + 0.05 * i), 12, width - 12))
        y = int(np.clip(one.face.top + one.face.height * 0.1 * i, 12, height - 12))
        out[y - 10 : y + 10, x - 2 : x + 2] = out[y - 10 : y + 10, x - 8 : x - 4]
    return out


def brighter_eyes(one: Portrait) -> Pixels:
    left = Portrait(one.name, lit(one, 1.1, 0.3, 0.4, 0.04), one.face)
    return lit(left, 1.1, 0.7, 0.4, 0.04)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(out))


def cropped(one: Portrait) -> Pixels:
    height, width = one.pixels.shape[:2]
    left, top = max(0, min(int(width * 0.05), int(one.face.left - one.width * 0.3))), 0
    out = healed(one)[top : int(max(height * 0.95, one.face.bottom + 4)), left:]
    return np.ascontiguousarray(out)


def graded(one: Portrait) -> Pixels:
    """A slight lift of the mid tones, as finishing touches are."""
    table = (255 * (np.arange(256) / 255) ** 0.97).round().astype(np.uint8)
    return table[one.pixels]


HONEST: dict[str, Callable[[Portrait], Pixels]] = {
    "unchanged": lambda p: p.pixels.copy(),
    "healed 25": healed,
    "healed 80": lambda p: healed(p, 80, 2),
    "dodge and burn": dodged_and_burned,
    "healed, dodge and burn": dodged_after_healing,
    "stray hair": stray_hair,
    "brighter eyes": brighter_eyes,
    "healed, jpeg 97": lambda p: jpeg(healed(p, 25, 3), 97),
    "healed, cropped": cropped,
    "slight lift": graded,
}

# ---- what must go back


def blurred(sigma: float) -> Callable[[Portrait], Pixels]:
    return lambda p: cv2.GaussianBlur(p.pixels, (0, 0), sigma)


def only_face(one: Portrait, changed: Pixels) -> Pixels:
    height, width = one.pixels.shape[:2]
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = (one.face.left + one.face.right) / 2, (one.face.top + one.face.bottom) / 2
    away = np.hypot((xx - cx) / one.width, (yy - cy) / one.face.height)
    mask = np.clip((0.55 - away) / 0.1, 0, 1)[..., None]
    return (one.pixels * (1 - mask) + changed * mask).round().astype(np.uint8)


def bilateral(strength: float) -> Callable[[Portrait], Pixels]:
    def smooth(one: Portrait) -> Pixels:
        return only_face(one, cv2.bilateralFilter(one.pixels, 9, strength, strength))

    return smooth


def skin_gauss(one: Portrait) -> Pixels:
    """Frequency separation gone wrong: the cheeks and forehead blurred, eyes and mouth kept."""
    soft = cv2.GaussianBlur(one.pixels, (0, 0), max(2.0, one.width * 0.01))
    out = only_face(one, (0.5 * one.pixels + 0.5 * soft).astype(np.uint8))
    for x, y, r in ((0.3, 0.4, 0.12), (0.7, 0.4, 0.12), (0.5, 0.78, 0.16)):
        cx, cy = round(one.face.left + one.width * x), round(one.face.top + one.face.height * y)
        size = round(one.width * r)
        rows, columns = (
            slice(max(0, cy - size // 2), cy + size // 2),
            slice(max(0, cx - size), cx + size),
        )
        out[rows, columns] = one.pixels[rows, columns]
    return out


def cast(gains: tuple[float, float, float]) -> Callable[[Portrait], Pixels]:
    return lambda p: np.clip(p.pixels * np.array(gains), 0, 255).round().astype(np.uint8)


def moved(dx: float, dy: float, turn: float = 0, scale: float = 1) -> Callable[[Portrait], Pixels]:
    def move(one: Portrait) -> Pixels:
        height, width = one.pixels.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
        matrix[:, 2] += (dx, dy)
        return cv2.warpAffine(
            one.pixels,
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )

    return move


def upscaled(one: Portrait) -> Pixels:
    height, width = one.pixels.shape[:2]
    small = cv2.resize(one.pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def enlarged(one: Portrait) -> Pixels:
    height, width = one.pixels.shape[:2]
    return cv2.resize(one.pixels, (width * 3 // 2, height * 3 // 2), interpolation=cv2.INTER_CUBIC)


def halved(one: Portrait) -> Pixels:
    height, width = one.pixels.shape[:2]
    return cv2.resize(one.pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def liquified(one: Portrait, push: float, x: float, y: float, reach: float) -> Pixels:
    """A part of the face pushed inwards by `push` of the face's width."""
    height, width = one.pixels.shape[:2]
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = one.face.left + one.width * x, one.face.top + one.face.height * y
    soft = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * (reach * one.width) ** 2))
    return cv2.remap(
        one.pixels,
        (xx - push * one.width * soft * np.sign(0.5 - x or 1)).astype(np.float32),
        yy,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )


def squeezed(portrait: Portrait, times: float) -> Pixels:
    """So many times as wide, as high as before."""
    height, width = portrait.pixels.shape[:2]
    return cv2.resize(portrait.pixels, (round(width * times), height), interpolation=cv2.INTER_AREA)


def smaller_face_too_far(one: Portrait) -> Pixels:
    """Cropped so tightly that most of the photo is gone."""
    pad = one.width * 0.1
    top, left = max(0, int(one.face.top - pad)), max(0, int(one.face.left - pad))
    return np.ascontiguousarray(
        one.pixels[top : int(one.face.bottom + pad), left : int(one.face.right + pad)]
    )


def sharpened(one: Portrait) -> Pixels:
    soft = cv2.GaussianBlur(one.pixels, (0, 0), 1.5)
    return cv2.addWeighted(one.pixels, 2.0, soft, -1.0, 0)


BAD: dict[str, Callable[[Portrait], Pixels]] = {
    "blur 0.6": blurred(0.6),
    "blur 1": blurred(1),
    "blur 2": blurred(2),
    "face blur 0.6": lambda p: only_face(p, cv2.GaussianBlur(p.pixels, (0, 0), 0.6)),
    "bilateral 20": bilateral(20),
    "bilateral 40": bilateral(40),
    "median": lambda p: only_face(p, cv2.medianBlur(p.pixels, 5)),
    "skin gauss": skin_gauss,
    "denoised": lambda p: only_face(p, cv2.GaussianBlur(p.pixels, (0, 0), 1.5)),
    "warm cast": cast((1.06, 1.0, 0.92)),
    "cool cast": cast((0.94, 1.0, 1.08)),
    "darker": cast((0.85, 0.85, 0.85)),
    "shift 3,1": moved(3, 1),
    "shift 0.5,0.5": moved(0.5, 0.5),
    "scale 1%": moved(0, 0, scale=1.01),
    "scale 0.4%": moved(0, 0, scale=1.004),
    "rotation 0.3": moved(0, 0, turn=0.3),
    "rotation 1": moved(0, 0, turn=1),
    "upscaled": upscaled,
    "halved": halved,
    "enlarged": enlarged,
    "liquify jaw": lambda p: liquified(p, 0.03, 0.12, 0.75, 0.12),
    "liquify eye": lambda p: liquified(p, 0.02, 0.3, 0.4, 0.08),
    "liquify nose": lambda p: liquified(p, 0.02, 0.42, 0.6, 0.06),
    "sharpened": sharpened,
    "cropped tightly": smaller_face_too_far,
    "squeezed 1%": lambda p: squeezed(p, 0.99),
    "squeezed 12%": lambda p: squeezed(p, 0.88),
    "black and white": lambda p: np.repeat(
        cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2
    ),
    "mirrored": lambda p: np.ascontiguousarray(p.pixels[:, ::-1]),
}


# ---- so faint that either answer is right: told, not counted

FAINT: dict[str, Callable[[Portrait], Pixels]] = {
    "faint cast 3 %": cast((1.03, 1.0, 0.97)),
    "faint smoothing 30 %": lambda p: mixed(p, bilateral(40)(p), 0.3),
    "faint smoothing 15 %": lambda p: mixed(p, bilateral(40)(p), 0.15),
    "faint shift 0.2": moved(0.2, 0),
    "faint banding": lambda p: posterised(p, 128),
    "faint liquify": lambda p: liquified(p, 0.008, 0.12, 0.75, 0.12),
}


def posterised(one: Portrait, levels: int) -> Pixels:
    """Fewer levels in each channel, as 8 bits have after curves that undo each other."""
    step = 255 / (levels - 1)
    table = (np.round(np.arange(256) / step) * step).round().astype(np.uint8)
    return table[one.pixels]


def mixed(one: Portrait, other: Pixels, share: float) -> Pixels:
    return (one.pixels * (1 - share) + other * share).round().astype(np.uint8)


def pairs(one: Portrait, before: Portrait | None) -> Iterator[tuple[str, Pixels]]:
    """(kind, returned pixels) of one portrait."""
    for kind, make in (HONEST | BAD | FAINT).items():
        yield kind, make(one)
    if before is not None:
        yield "wrong file", before.pixels
