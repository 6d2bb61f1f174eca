"""Pasting faces back: how fast, whether it is the same picture, and what the seam looks like.

    python benchmarks/paste.py --shared ../shared [--facexlib FOLDER] [--turns 5]

Speed: one face into a 24-megapixel photo, beside facexlib's own full-frame warp and blend (its
square mask: no network), if it is installed in FOLDER: pip install --no-deps --target FOLDER
facexlib filterpy numba llvmlite. The same picture: our matrix and mask in a full-frame float64
blend. Seam: real portraits, softened; the face that comes back is the sharp crop with a colour
cast, which stands for a restoration. The gradient across the mask's edge is compared with that 8
pixels to both sides, in both ways of pasting.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import pyramid, shrink, to_srgb
from curation.config import FacesConfig
from curation.crops import align_matrix, from_centres, warp
from curation.decode import read_photo
from curation.faces import NamedFinder, open_finder
from restore.blend import face_mask, mask_in_photo, paste
from restore.colour import match_ring

SIZE, SIDE = 512, 2048
CAST = (7.0, -4.0, 5.0)  # of 255: what a restorer does to colours
AWAY = 8  # px to both sides of the edge
FACES = 30

Srgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A soft photo, and the sharp face that is to go into it."""

    photo_HWC: Srgb
    face_HWC: Floats
    matrix_23: Matrix


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--facexlib", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    helper = open_facexlib(args.facexlib)
    cases = list(find_cases(args.shared / "photos"))
    show_speed(cases[0], helper, args.turns)
    show_seams(cases[:FACES], helper)


def open_facexlib(folder: Path | None) -> Any:
    """Facexlib's helper without its detector, which would fetch weights; none if it is absent."""
    if folder is None:
        return None
    sys.path.insert(0, str(folder))
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

    helper = object.__new__(FaceRestoreHelper)
    helper.upscale_factor, helper.use_parse, helper.face_size = 1, False, (SIZE, SIZE)
    return helper


def find_cases(photos: Path) -> Iterator[Case]:
    """Faces of real photos, portraits first, no larger than SIDE."""
    finder = open_finder(FacesConfig(least_score=0.8))
    for folder in ("portraits", "labelled-faces", "ffhq-1024"):
        for path in sorted((photos / folder).rglob("*.[jp][pn]g")):
            yield from _cases(path, finder)


def _cases(path: Path, finder: NamedFinder) -> Iterator[Case]:
    photo = read_photo(path)
    sharp_HWC: Any = shrink(to_srgb(photo.pixels_HWC, photo.facts.icc), SIDE)
    soft_HWC: Any = cv2.GaussianBlur(sharp_HWC, (0, 0), 3)
    levels = pyramid(sharp_HWC, SIZE)
    for found in finder(sharp_HWC):
        if len(found.landmarks) == 5 and found.box.width > 60:
            matrix_23 = align_matrix(found.landmarks, SIZE)
            face_HWC = warp(levels, matrix_23, SIZE).astype(np.float32) + np.float32(CAST)
            yield Case(soft_HWC, np.clip(face_HWC, 0, 255), matrix_23)


def show_speed(case: Case, helper: Any, turns: int) -> None:
    """One face of 1,200 px into a frame of 24 megapixels."""
    frame_HWC: Any = cv2.resize(case.photo_HWC, (6000, 4000), interpolation=cv2.INTER_CUBIC)
    matrix_23 = np.array([(0.42, 0.02, -900.0), (-0.02, 0.42, -400.0)])
    ours, theirs, twin = [], [], []
    for _ in range(turns):
        copy_HWC = frame_HWC.copy()
        start = time.perf_counter()
        paste(copy_HWC, case.face_HWC, matrix_23)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        whole_HWC = full_frame(frame_HWC, case.face_HWC, matrix_23)
        twin.append(time.perf_counter() - start)
        if helper is not None:
            start = time.perf_counter()
            by_facexlib(helper, frame_HWC, case.face_HWC, matrix_23)
            theirs.append(time.perf_counter() - start)
    apart = np.abs(copy_HWC.astype(int) - whole_HWC.astype(int))[
        mask_of(matrix_23, frame_HWC.shape)
    ]
    outside = ~mask_of(matrix_23, frame_HWC.shape)
    changed = int((copy_HWC != frame_HWC).any(axis=2)[outside].sum())
    print(f"one face into 24 MP, median of {turns}:")
    print(f"  ours {statistics.median(ours) * 1e3:.0f} ms")
    for name, times in (("full-frame float64, our mask", twin), ("facexlib", theirs)):
        if times:
            ratio = statistics.median(t / o for t, o in zip(times, ours, strict=True))
            print(f"  {name} {statistics.median(times):.2f} s: {ratio:.0f} x")
    print(
        f"  ours against the full-frame blend inside the mask: {(apart <= 1).mean():.3%} of values"
        f" within 1 of 255, the worst {apart.max()} (OpenCV places in steps of 1/32 px)"
    )
    print(f"  pixels changed outside the mask: {changed}")


def full_frame(frame_HWC: Srgb, face_HWC: Floats, matrix_23: Matrix) -> Srgb:
    """The same paste as a blend of whole float64 frames."""
    mask_HW = face_mask(SIZE)
    seen: Any = cv2.warpAffine(
        frame_HWC, from_centres(matrix_23), (SIZE, SIZE), flags=cv2.INTER_NEAREST
    )
    face_HWC = match_ring(face_HWC, seen.astype(np.float32), mask_HW)
    size = frame_HWC.shape[1], frame_HWC.shape[0]
    way = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = from_centres(matrix_23)
    warped: Any = cv2.warpAffine(
        face_HWC, moved, size, flags=way, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    linear = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    soft: Any = cv2.warpAffine(mask_HW, moved, size, flags=linear)
    soft_HW1 = np.clip(soft, 0, 1).astype(np.float64)[..., None]
    blended: Srgb = np.clip(np.rint(soft_HW1 * warped + (1 - soft_HW1) * frame_HWC), 0, 255).astype(
        np.uint8
    )
    return blended


def by_facexlib(helper: Any, frame_HWC: Srgb, face_HWC: Floats, matrix_23: Matrix) -> Any:
    """facexlib's paste; it counts from pixel centres and sums its offsets into the matrix."""
    helper.input_img = frame_HWC
    helper.restored_faces = [face_HWC.astype(np.uint8)]
    helper.inverse_affine_matrices = [cv2.invertAffineTransform(from_centres(matrix_23))]
    return helper.paste_faces_to_input_image()


def show_seams(cases: list[Case], helper: Any) -> None:
    """The gradient across the edge over the gradient beside it, for both ways."""
    ways = {
        f"ours, the {region}": [
            seam(c, _ours(c, region), mask_of(c.matrix_23, c.photo_HWC.shape, region))
            for c in cases
        ]
        for region in ("face", "head")
    }
    if helper is not None:
        theirs = [by_facexlib(helper, c.photo_HWC, c.face_HWC, c.matrix_23) for c in cases]
        squares = [_square(c) for c in cases]
        ways["facexlib"] = [seam(c, t, m) for c, t, m in zip(cases, theirs, squares, strict=True)]
    print(f"seam of {len(cases)} faces: gradient along the mask's edge over that {AWAY} px away")
    for name, values in ways.items():
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        over = sum(v > 1.1 for v in values)
        print(f"  {name}: median {middle:.3f} (10 % {low:.3f}, 90 % {high:.3f}), {over} above 1.1")


def _ours(case: Case, region: str = "face") -> Srgb:
    after_HWC = case.photo_HWC.copy()
    paste(after_HWC, case.face_HWC, case.matrix_23, region=region)
    return after_HWC


def mask_of(matrix_23: Matrix, shape: tuple[int, ...], region: str = "face") -> NDArray[np.bool_]:
    """Where our mask is not 0."""
    place, mask_HW = mask_in_photo(matrix_23, SIZE, shape, region)
    inside = np.zeros(shape[:2], bool)
    inside[place] = mask_HW > 0
    return inside


def _square(case: Case) -> NDArray[np.bool_]:
    """Where facexlib blends: the crop's square."""
    ones = np.ones((SIZE, SIZE), np.uint8)
    back = cv2.invertAffineTransform(from_centres(case.matrix_23))
    size = case.photo_HWC.shape[1], case.photo_HWC.shape[0]
    inside: NDArray[np.bool_] = cv2.warpAffine(ones, back, size) > 0
    return inside


def seam(case: Case, after_HWC: Srgb, inside: NDArray[np.bool_]) -> float:
    """How much more the picture jumps along the edge than 8 px in and out, against before.

    Divided by the same figure of the photo before: a collar that happens to lie along the edge is
    no seam.
    """
    mask = inside.astype(np.uint8)
    out, into = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (1 - mask, mask))
    edge = ((out > 0) & (out <= 1.5)) | ((into > 0) & (into <= 1.5))
    beside = (np.abs(out - AWAY) <= 1.5) | (np.abs(into - AWAY) <= 1.5)

    def jump(pixels_HWC: Srgb) -> float:
        luma = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
        slope = np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
        return float(slope[edge].mean() / max(slope[beside].mean(), 1e-6))

    return jump(after_HWC) / jump(case.photo_HWC)


if __name__ == "__main__":
    main()
