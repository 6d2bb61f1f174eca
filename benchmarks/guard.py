"""Does the guard know a restored face from another one, and a good face from a poor one?

    OMP_NUM_THREADS=1 python benchmarks/guard.py [PHOTOS ...] [--draws N] [--seed N]

Sharp faces are cut out of PHOTOS (files and folders; else scikit-image's astronaut), degraded as in
training, and "restored" to pairs whose truth is known: the original and honest versions of it,
against another person's face, parts of one, and features that moved. The guard's limits were
chosen on seeds 0 and 1. Then the same faces and poor versions of them go through the do-no-harm
gate, and through the gate of plain faults. AUTHFACE_MODELS names YuNet's folder; without it MTCNN
is used.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from guard_pairs import BAD, HONEST, POOR, SIDE, bad, honest, poor
from PIL import Image, ImageOps

from curation.colour import pyramid
from curation.config import FacesConfig
from curation.crops import align_matrix, warp
from curation.faces import NamedFinder, open_finder
from restore.artefacts import artefacts
from restore.blend import scale_of
from restore.config import GoodConfig, GuardConfig
from restore.doubts import disagreement
from restore.guard import too_unlike
from restore.harm import already_good
from restore.identity import FaceComparer, Likeness
from training.degrade import degrade, preset

PRESETS = ("authface", "codeformer3", "faceme", "realesrgan", "codeformer2")
LEAST_SCORE = 0.9  # of faces that are cut out: blurred ones of the background score less

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Sharp:
    """A face to degrade, and how many crop pixels a photo pixel became."""

    name: str
    face: Pixels
    scale: float


@dataclass(frozen=True)
class Judged:
    """One pair and what was said of it."""

    preset: str
    kind: str
    likeness: Likeness
    fault: str


def sharp_faces(photos: Sequence[Path], finder: NamedFinder) -> Iterator[Sharp]:
    for name, pixels in _pictures(photos):
        levels = pyramid(pixels, SIDE)
        for found in finder(pixels):
            if found.score < LEAST_SCORE or len(found.landmarks) != 5:
                continue
            matrix = align_matrix(found.landmarks, SIDE)
            if scale_of(matrix) <= 1:
                face = np.asarray(warp(levels, matrix, SIDE), np.uint8)
                yield Sharp(name, face, scale_of(matrix))


def _pictures(photos: Sequence[Path]) -> Iterator[tuple[str, Pixels]]:
    if not photos:
        from skimage import data, transform

        whole = transform.resize(data.astronaut(), (1700, 1700), order=3)
        yield "astronaut", (whole * 255).round().astype(np.uint8)
    for folder in photos:
        files = sorted(folder.iterdir()) if folder.is_dir() else [folder]
        for path in files:
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                opened = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
                yield path.name, np.asarray(opened)


def judged_pairs(
    faces: Sequence[Sharp], finder: NamedFinder, options: argparse.Namespace
) -> Iterator[Judged]:
    for number, sharp in enumerate(faces):
        other = faces[(number + 1 + options.seed) % len(faces)].face
        for name in PRESETS:
            for draw in range(options.draws):
                rng = np.random.default_rng([options.seed, number, draw, len(name), ord(name[-1])])
                before, _ = degrade(sharp.face, rng, preset(name))
                comparer = FaceComparer(before, finder)
                made = [("input itself", before), *honest(sharp.face, rng)]
                if len(faces) > 1:
                    made += bad(sharp.face, other, rng)
                for kind, after in made:
                    yield Judged(name, kind, comparer.likeness(after), artefacts(after, before))


def likeness_table(found: Sequence[Judged]) -> Iterator[str]:
    config = GuardConfig()
    by_kind: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for one in found:
        by_kind[one.kind, one.preset].append(one)
    yield f"| what it was restored to | {' | '.join(PRESETS)} |"
    yield "|---" * (1 + len(PRESETS)) + "|"
    for kind in ("input itself", *HONEST, *BAD):
        cells = []
        for name in PRESETS:
            some = by_kind[kind, name]
            against = sum(bool(too_unlike(one.likeness, config)) for one in some)
            cells.append(f"{against} of {len(some)}")
        yield f"| {kind} | {' | '.join(cells)} |"


def rates(found: Sequence[Judged]) -> Iterator[str]:
    """False alarms and misses, by all measures and by each alone."""
    whole = GuardConfig()
    blind = whole.model_copy(update={"most_drift": 9.0})
    alone = {
        "as the guard does": (whole, True),
        "drift": (whole, False),
        "a lost face": (blind, True),
        "landmarks beyond 0.4": (blind.model_copy(update={"most_landmark_shift": 0.4}), False),
    }
    for name in (*PRESETS, "all but codeformer2"):
        some = [j for j in found if name in (j.preset, "all but codeformer2")]
        some = [j for j in some if name == j.preset or j.preset != "codeformer2"]
        good = [j for j in some if j.kind in HONEST]
        wrong = [j for j in some if j.kind in BAD]
        said = []
        for measure, (config, lost) in alone.items():
            alarms, hits = (
                sum(
                    bool(too_unlike(replace(j.likeness, lost=lost and j.likeness.lost), config))
                    for j in part
                )
                for part in (good, wrong)
            )
            said.append(
                f"{measure}: {_share(alarms, len(good))} alarms, "
                f"{_share(len(wrong) - hits, len(wrong))} missed"
            )
        yield f"{name}: " + "; ".join(said)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def spreads(found: Sequence[Judged]) -> Iterator[str]:
    """Where the figures lie, for choosing limits."""
    for kinds, name in ((HONEST, "honest"), (BAD, "bad")):
        for recipe in PRESETS:
            some = [j.likeness for j in found if j.kind in kinds and j.preset == recipe]
            if not some:
                continue
            shifts = [v.landmark_shift for v in some if v.landmark_shift is not None]
            drifts = np.percentile([v.drift for v in some], (1, 5, 50, 95, 99)).round(3)
            at = np.percentile(shifts, (1, 5, 50, 95, 99)).round(3) if shifts else []
            lost = sum(v.lost for v in some)
            unseen = len(some) - len(shifts) - lost
            yield (
                f"{name} {recipe}: drift {drifts.tolist()}, shift {list(map(float, at))},"
                f" lost {lost}, not seen in the input {unseen} of {len(some)}"
            )


def harm_table(faces: Sequence[Sharp], seed: int) -> Iterator[str]:
    config = GoodConfig()
    left: dict[str, list[bool]] = defaultdict(list)
    for number, sharp in enumerate(faces):
        rng = np.random.default_rng([seed, number])
        made = [("as it is", sharp.face), *poor(sharp.face, rng)]
        made += [(name, degrade(sharp.face, rng, preset(name))[0]) for name in PRESETS]
        for kind, face in made:
            left[kind].append(bool(already_good(face, sharp.scale, config)))
    yield "| face | left alone |"
    yield "|---|---|"
    for kind in ("as it is", *POOR, *PRESETS):
        yield f"| {kind} | {sum(left[kind])} of {len(left[kind])} |"
    ours = [sharp.name for sharp, good in zip(faces, left["as it is"], strict=True) if not good]
    yield f"sharp and not left alone: {', '.join(ours) or 'none'}"


def fault_lines(faces: Sequence[Sharp], found: Sequence[Judged]) -> Iterator[str]:
    real = [j for j in found if j.kind in (*HONEST, "input itself")]
    faulted = [j for j in real if j.fault]
    yield f"faults seen in honest faces: {len(faulted)} of {len(real)}"
    rows, columns = np.indices((SIDE, SIDE))
    chequers = ((rows + columns) % 2 * 2 - 1)[..., None]
    lines = ((rows % 8 == 0) | (columns % 8 == 0)).astype(float)[..., None]
    made = {
        "black": lambda f: f * 0,
        "one colour": lambda f: f * 0 + f.mean(axis=(0, 1)),
        "contrast a quarter": lambda f: f.mean() + (f - f.mean()) / 4,
        "clipped": lambda f: (f - 128) * 8 + 128,
        "purple": lambda f: f * (0.9, 0.2, 1.4),
        "chequers of 1 in 255": lambda f: f + chequers,
        "8 px grid of 3 in 255": lambda f: f + 3 * lines,
    }
    for name, spoil in made.items():
        spoilt = [np.clip(np.rint(spoil(s.face.astype(float))), 0, 255) for s in faces]
        seen = [artefacts(b.astype(np.uint8), s.face) for b, s in zip(spoilt, faces, strict=True)]
        yield f"{name}: {sum(map(bool, seen))} of {len(seen)} seen"


def seed_lines(faces: Sequence[Sharp], seed: int) -> Iterator[str]:
    """Stand-ins for seeds: honest versions of one face, against pairs that differ in a part."""
    near, far = [], defaultdict(list)
    for number, sharp in enumerate(faces):
        rng = np.random.default_rng([seed, number])
        versions = dict(honest(sharp.face, rng))
        near.append(disagreement([versions["warped 4"], versions["with pores"]]))
        other = faces[(number + 1) % len(faces)].face
        for kind, face in bad(sharp.face, other, rng):
            far[kind].append(disagreement([sharp.face, face]))
    yield f"honest versions: {np.percentile(near, (5, 50, 95)).round(2).tolist()}"
    for kind, values in far.items():
        yield f"{kind}: {np.percentile(values, (5, 50, 95)).round(2).tolist()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, help="pictures and folders of them")
    parser.add_argument("--draws", type=int, default=1, help="degradations of each face a recipe")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    finder = open_finder(FacesConfig(fetch=False, least_score=0.6))
    faces = list(sharp_faces(options.photos, finder))
    started = time.perf_counter()
    found = list(judged_pairs(faces, finder, options))
    spent = (time.perf_counter() - started) / max(len(found), 1)
    print(f"{len(faces)} faces, {len(found)} pairs, {finder.name}, {1000 * spent:.0f} ms a pair")
    for lines in (
        likeness_table(found),
        rates(found),
        spreads(found),
        harm_table(faces, options.seed),
        fault_lines(faces, found),
        seed_lines(faces, options.seed) if len(faces) > 1 else (),
    ):
        print("\n".join(lines), end="\n\n")


if __name__ == "__main__":
    main()
