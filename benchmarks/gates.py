"""How well the face gates part good faces from damaged ones: `python benchmarks/gates.py PHOTOS`.

PHOTOS holds the folders portraits, ffhq-1024, labelled-faces, parliament-120x160 and the like.
Good are the faces of the first two whose eyes are at least 96 px apart. Damage is made from them
where they are no larger than MOST_EYES; lengths are shares of the eye distance. "any" is the share
that some face gate sets aside. AUTHFACE_MODELS names YuNet's folder. Takes about five minutes.
"""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from damage import SERIES, UPSCALE
from PIL import Image, ImageOps

from curation.colour import pyramid
from curation.config import FacesConfig, GatesConfig
from curation.crops import align_matrix, native_side, warp
from curation.faces import FoundFace, estimate_pose, open_finder
from curation.gates import FaceLook, judge_face, judge_jpeg_quality
from curation.jpeg_tables import jpeg_quality
from curation.skin import skin_mask
from data_manifests.records import Box, Point

CONFIG = GatesConfig()
MOST_EYES = 189  # px between the eyes of the faces that are damaged; larger ones are reduced first
TONES = ((41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"), (-math.inf, "dark"))


@dataclass
class Seen:
    name: str
    pixels: np.ndarray
    face: FoundFace

    @property
    def eyes(self) -> float:
        left, right = self.face.landmarks[:2]
        return math.dist((left.x, left.y), (right.x, right.y))


def faces(folder: Path) -> Iterator[Seen]:
    """Every face with landmarks, in a cut of twice its box."""
    find = open_finder(FacesConfig(finder="yunet", least_score=0.85, least_share=0, fetch=False))
    for path in sorted(folder.glob("*.*g")):
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        for face in find(pixels):
            yield cut(path.name, pixels, face)


def cut(name: str, pixels: np.ndarray, face: FoundFace) -> Seen:
    wide, high = face.box.width * 0.4, face.box.height * 0.4
    left, top = max(int(face.box.left - wide), 0), max(int(face.box.top - high), 0)
    part = pixels[top : int(face.box.bottom + high), left : int(face.box.right + wide)]
    return Seen(name, np.ascontiguousarray(part), moved(face, left, top, 1))


def moved(face: FoundFace, left: float, top: float, scale: float) -> FoundFace:
    b = face.box
    edges = [
        (v - o) * scale for v, o in ((b.left, left), (b.top, top), (b.right, left), (b.bottom, top))
    ]
    box = Box(left=edges[0], top=edges[1], right=edges[2], bottom=edges[3])
    points = tuple(Point(x=(p.x - left) * scale, y=(p.y - top) * scale) for p in face.landmarks)
    return replace(face, box=box, landmarks=points)


def reduced(seen: Seen) -> Seen:
    scale = min(1.0, MOST_EYES / seen.eyes)
    size = (round(seen.pixels.shape[1] * scale), round(seen.pixels.shape[0] * scale))
    small = cv2.resize(seen.pixels, size, interpolation=cv2.INTER_AREA)
    return Seen(seen.name, small, moved(seen.face, 0, 0, scale))


def look(seen: Seen) -> FaceLook:
    marks, box = seen.face.landmarks, seen.face.box
    side = min(512, round(native_side(align_matrix(marks, 512), 512)))
    aligned = warp(pyramid(seen.pixels, 256), align_matrix(marks, side), side)
    x, y = int(box.left + box.right) // 2, int(box.top + box.bottom) // 2
    wide, high = (min(int(v) // 2, 1024) for v in (box.width, box.height))
    native = seen.pixels[max(y - high, 0) : y + high, max(x - wide, 0) : x + wide]
    return FaceLook(aligned, True, native, (), seen.eyes, estimate_pose(marks), seen.face.score)


def judged(seen: Seen, damage: Callable | None = None) -> dict:
    """Gate to verdict. Damage gets the pixels, and the face's landmarks for scale and place."""
    if damage is not None:
        points = np.array([(p.x, p.y) for p in seen.face.landmarks])
        seen = replace(seen, pixels=damage(seen.pixels, points))
    return {v.gate: v for v in judge_face(look(seen), CONFIG)}


def tone(seen: Seen) -> str:
    """Group by the individual typology angle of the skin. Source: Chardon et al., 1991."""
    aligned = look(seen).aligned_HWC
    lab = cv2.cvtColor(aligned.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lightness, _, yellow = np.median(lab[skin_mask(aligned.shape[0])], axis=0)
    angle = math.degrees(math.atan2(lightness - 50, yellow))
    return next(name for least, name in TONES if angle > least)


def worst(gate: str, values: list[float]) -> float:
    low = gate in (
        "eye_distance",
        "sharpness",
        "eye_sharpness",
        "effective_resolution",
        "brightness",
    )
    return min(values) if low else max(values)


def print_good(rows: list[dict]) -> None:
    print(
        f"\n{len(rows)} good faces\n{'gate':<22}{'median':>9}{'worst':>9}{'limit':>9}{'false':>8}"
    )
    for gate in rows[0]:
        found = [r[gate] for r in rows if gate in r]
        values = [v.value for v in found]
        limit = "-" if found[0].threshold is None else f"{found[0].threshold:.2f}"
        false = np.mean([not v.keep for v in found])
        print(f"{gate:<22}{np.median(values):9.2f}{worst(gate, values):9.2f}{limit:>9}{false:8.1%}")


def print_damage(good: list[Seen]) -> None:
    print(f"\n{'gate':<22}{'damage':<24}{'low':>9}{'median':>9}{'high':>9}{'caught':>8}{'any':>7}")
    for gate, name, damages in SERIES:
        rows = [judged(s, d) for s in good for d in damages]
        values = [r[gate].value for r in rows if gate in r]
        low, middle, high = np.percentile(values, (0, 50, 100))
        caught = np.mean([gate in r and not r[gate].keep for r in rows])
        some = np.mean([any(not v.keep for g, v in r.items() if g != "eye_distance") for r in rows])
        print(f"{gate:<22}{name:<24}{low:9.2f}{middle:9.2f}{high:9.2f}{caught:8.0%}{some:7.0%}")


def print_upscale(good: list[Seen]) -> None:
    """The whole of the native face enlarged; the pixels that are judged are its middle."""
    floor = min(judged(s)["effective_resolution"].value for s in good)
    for times in UPSCALE:
        values = []
        for seen in good:
            grown = cv2.resize(
                look(seen).native_HWC, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC
            )
            values.append(
                {v.gate: v for v in judge_face(replace(look(seen), native_HWC=grown), CONFIG)}[
                    "effective_resolution"
                ].value
            )
        share = np.mean(np.array(values) < floor)
        print(
            f"{'effective_resolution':<22}{f'enlarged {times}x':<24}{min(values):9.2f}"
            f"{np.median(values):9.2f}{max(values):9.2f}  {share:.0%} below the worst good face"
        )


def print_tones(groups: dict[str, list[dict]]) -> None:
    gates = (
        "sharpness",
        "motion_blur",
        "noise",
        "clipping",
        "brightness",
        "washed_out",
        "occlusion",
    )
    print(f"\n{'set aside by tone':<20}{'faces':>6}" + "".join(f"{g:>13}" for g in gates))
    for _, name in TONES:
        rows = groups.get(name, [])
        shares = [sum(g in r and not r[g].keep for r in rows) for g in gates]
        print(f"{name:<20}{len(rows):>6}" + "".join(f"{s:>13}" for s in shares))


def print_files(photos: Path) -> None:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "JPEG", quality=40)
    tables = {"quality 40": Image.open(buffer).quantization}
    for path in sorted((photos / "portraits").glob("*.jpg")):
        tables[path.name] = Image.open(path).quantization
    found = {n: jpeg_quality(t) for n, t in tables.items()}
    print(
        "\njpeg_quality",
        *(f"{q}{'' if judge_jpeg_quality(q, CONFIG).keep else '!'}" for q in found.values()),
    )


def main() -> None:
    cv2.setNumThreads(1)
    photos = Path(sys.argv[1])
    good = [s for d in ("portraits", "ffhq-1024") for s in faces(photos / d) if s.eyes >= 96]
    print_good([judged(s) for s in good])
    print_damage([reduced(s) for s in good])
    print_upscale(good)
    groups: dict[str, list[dict]] = {}
    rest = [s for d in ("labelled-faces", "parliament-120x160") for s in faces(photos / d)]
    for seen in good + [s for s in rest if s.eyes >= 16]:
        groups.setdefault(tone(seen), []).append(judged(seen))
    print_tones(groups)
    print_files(photos)
    seen = max(good, key=lambda s: s.eyes)
    times = []
    for _ in range(15):
        view = look(seen)
        start = time.perf_counter()
        judge_face(view, CONFIG)
        times.append(time.perf_counter() - start)
    print(f"\nall face gates, native {view.native_HWC.shape}: {min(times) * 1e3:.1f} ms, one core")


if __name__ == "__main__":
    main()
