"""Do the retouch checks pass honest work and refuse the rest?

`python benchmarks/retouch.py [PHOTOS ...] [--part odd] [--most N]`

Made pairs on the main face of every picture in PHOTOS (files and folders; else scikit-image's
astronaut): honest clean-up that must pass, damage that must not, and faint damage that is only
told. A line is printed for each pair at once, then a table. AUTHFACE_MODELS names YuNet's folder.
The limits were tuned on the astronaut and the portraits with an even number in their folder's
order; the rest of them (`--part odd`) and every other picture was never looked at while tuning.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from retouch_pairs import FAINT, HONEST, Pixels, Portrait, pairs

from annotation.retouch_checks import Pair, check
from annotation.retouch_config import RetouchConfig
from curation.config import FacesConfig
from curation.faces import FoundFace, open_finder
from data_manifests.records import Box, Point, Verdict

MOST_FACE = 400  # px
FINDER = open_finder(FacesConfig(fetch=False))


def portraits(photos: Sequence[Path], part: str) -> Iterator[Portrait]:
    """The main face of every picture named; without any, scikit-image's astronaut."""
    if not photos:
        from skimage import data

        found = portrait("astronaut", data.astronaut())
        yield from [found] if found else []
    for folder in photos:
        inside = folder.iterdir() if folder.is_dir() else [folder]
        files = sorted(p for p in inside if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        for path in {"all": files, "even": files[::2], "odd": files[1::2]}[part]:
            opened = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            found = portrait(path.name, np.asarray(opened))
            if found:
                yield found
            else:
                print(f"left out: {path.name}: no face found", flush=True)


def portrait(name: str, pixels: Pixels) -> Portrait | None:
    """The head with some background; halved until the face is MOST_FACE px wide, to save time."""
    faces = FINDER(pixels)
    if not faces:
        return None
    box = faces[0].box
    wide, high = box.width * 0.6, box.height * 0.6
    top, left = max(0, int(box.top - high)), max(0, int(box.left - wide))
    part = pixels[top : int(box.bottom + high), left : int(box.right + wide)]
    scale = 1.0
    while box.width * scale > MOST_FACE:
        scale /= 2
    size = (int(part.shape[1] * scale), int(part.shape[0] * scale))
    small = part if scale == 1 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    edges = {
        "left": (box.left - left) * scale,
        "right": (box.right - left) * scale,
        "top": (box.top - top) * scale,
        "bottom": (box.bottom - top) * scale,
    }
    return Portrait(name, np.ascontiguousarray(small), Box(**edges))


def landmarks(pixels: Pixels) -> tuple[Point, ...]:
    faces: list[FoundFace] = FINDER(pixels)
    return faces[0].landmarks if faces else ()


# ---- judging

TOLD_ONLY = ("clipping", "landmarks", "identity", "bit_depth", "banding")
AT_LEAST = (
    "registration",
    "overlap",
    "fine_detail",
    "texture_1",
    "texture_2",
    "resolution",
    "colours",
)


@dataclass(frozen=True)
class Judged:
    """`strain` is 1 at the limit and more beyond it, of the check that is nearest or furthest."""

    good: bool
    strain: float
    by: Verdict
    spent: float
    verdicts: tuple[Verdict, ...]


def judge(one: Portrait, returned: Pixels) -> Judged:
    started = time.perf_counter()
    found = check(Pair(one.pixels, returned, one.face, find=landmarks), RetouchConfig())
    spent = time.perf_counter() - started
    counted = [v for v in found.verdicts if v.gate not in TOLD_ONLY]
    worst = max(counted, key=strain)
    return Judged(found.good, strain(worst), worst, spent, found.verdicts)


def strain(verdict: Verdict) -> float:
    value, limit = max(verdict.value or 0.0, 1e-6), verdict.threshold or 1e-6
    return limit / value if verdict.gate in AT_LEAST else value / limit


def table(found: dict[str, list[Judged]]) -> Iterator[str]:
    """Kind by kind: how many passed, and the pair that came closest to the other answer."""
    yield "| kind | pairs | accepted | refused | closest to the other answer |"
    yield "|---|---|---|---|---|"
    for kind, judged in found.items():
        passed = sum(j.good for j in judged)
        pick = max if kind in HONEST else min
        near = pick(judged, key=lambda j: j.strain)
        told = f"{near.by.gate} {near.by.value:.4g}, limit {near.by.threshold:.4g}"
        yield f"| {kind} | {len(judged)} | {passed} | {len(judged) - passed} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, help="pictures and folders of them")
    parser.add_argument("--part", choices=("all", "even", "odd"), default="all")
    parser.add_argument("--most", type=int, default=1000, help="pictures")
    parser.add_argument("--tune", action="store_true", help="print every measure")
    options = parser.parse_args()
    found: dict[str, list[Judged]] = {}
    wrong, before = Counter[bool](), None
    for one in islice(portraits(options.photos, options.part), options.most):
        for kind, returned in pairs(one, before):
            got = judge(one, returned)
            found.setdefault(kind, []).append(got)
            wrong[kind in HONEST] += kind not in FAINT and got.good != (kind in HONEST)
            head = f"{'pass' if got.good else 'FAIL'} {one.name[:20]:20} {kind:24}"
            told = " ".join(
                f"{'' if v.keep else '!'}{v.gate}={v.value}"
                for v in (got.verdicts if options.tune else (got.by,))
            )
            print(head, f"{got.spent:4.1f}s {got.strain:6.2f} of its limit: {told}", flush=True)
        before = one
    print("\n".join(table(found)))
    honest, faint = (sum(len(found.get(k, ())) for k in part) for part in (HONEST, FAINT))
    total = sum(map(len, found.values()))
    print(
        f"{wrong[True]} of {honest} honest refused, "
        f"{wrong[False]} of {total - honest - faint} bad accepted; {faint} faint"
    )


if __name__ == "__main__":
    main()
