"""How well and how fast faces are found, every finder side by side, on photographs with truth.

    python benchmarks/faces.py --shared ../shared

Labelled faces: boxes after dlib's own idea of one, so that dlib plays at home, and landmarks that
its predictor put there in whole pixels, of which five points are made. Their own error is about
0.05 of the eye distance: so much is common to how YuNet and MTCNN differ from them. Each finder
boxes faces in its own way, so IoU is reported twice: as it comes, and after one fixed change of
convention per finder (box centre moved and size scaled, the medians of training.xml), measured on
testing.xml. No file marks a face to be ignored, and no finder found a face that is not marked.
Portraits have no truth: their faces were marked by eye; a hit is a box around the marked middle.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import xml.etree.ElementTree as Tree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import shrink, to_srgb
from curation.config import FacesConfig
from curation.crops import align_matrix
from curation.decode import read_photo
from curation.faces import FoundFace, NamedFinder, open_finder
from data_manifests.errors import InputError

Srgb = NDArray[np.uint8]
Numbers = NDArray[np.float64]
FINDERS = ("yunet", "mtcnn", "dlib", "haar")
PROXY = 2048  # px, the picture that the ingest searches

# Marked by eye: the middle of each face, as shares of width and height.
PORTRAITS: dict[str, tuple[tuple[float, float], ...]] = {
    "2020-12-10 175750.jpg": ((0.37, 0.39),),
    "2020-12-17 185036.jpg": ((0.57, 0.46),),  # eyes under the brim of a hat
    "20200320.101220.jpg": ((0.46, 0.28),),
    "2021-03-10 160843(29).jpg": ((0.37, 0.34),),
    "Canon IXUS 750.jpg": ((0.61, 0.19), (0.50, 0.33)),
    "Canon PowerShot A560.jpg": ((0.18, 0.42), (0.38, 0.31), (0.64, 0.28), (0.81, 0.28)),
    "IMG20180716171517.jpg": ((0.48, 0.55),),
    "Issue 177.jpg": ((0.30, 0.56), (0.74, 0.48)),
    "Kodak Z1012 IS.jpg": ((0.25, 0.47),),
    "Sony Ericsson C905c.jpg": ((0.28, 0.44),),  # the face drawn on the wall is none
    "img23.jpg": ((0.49, 0.45),),
    "img4.jpg": ((0.37, 0.44),),
    "img40.jpg": ((0.45, 0.41),),
    "img49.jpg": ((0.57, 0.39),),
}
# Real faces that nobody has to find: in profile behind the table, blurred photographers.
NEITHER: dict[str, tuple[tuple[float, float], ...]] = {
    "Canon PowerShot A560.jpg": ((0.44, 0.13), (0.20, 0.17)),
    "img40.jpg": ((0.14, 0.20), (0.14, 0.29), (0.16, 0.77), (0.12, 0.60), (0.88, 0.47)),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture with its true boxes N x 4 (x, y, width, height) and points N x 5 x 2."""

    file: str
    pixels_HWC: Srgb
    boxes: Numbers
    points: Numbers


@dataclass(slots=True)
class Count:
    """Hits, misses and false hits."""

    hits: int = 0
    missed: int = 0
    false: int = 0

    def __str__(self) -> str:
        recall = self.hits / max(self.hits + self.missed, 1)
        precision = self.hits / max(self.hits + self.false, 1)
        return f"{recall:.3f} | {precision:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    shared = parser.parse_args().shared
    os.environ.setdefault("AUTHFACE_MODELS", str(shared / "models"))
    os.environ.setdefault("AUTHFACE_OFFLINE", "1")
    cv2.setNumThreads(1)
    labelled = {
        part: list(read_labelled(shared / "photos/labelled-faces", part))
        for part in ("training", "testing")
    }
    portraits = list(read_portraits(shared / "photos/portraits"))
    finders = [f for name in FINDERS if (f := finder_or_none(name)) is not None]
    for finder in finders:
        finder(portraits[0][1])  # loads the model: not part of the time
    report_labelled(finders, labelled)
    report_portraits(finders, portraits)
    report_landmarks(finders, [p for part in labelled.values() for p in part])
    report_landmark_conventions(finders, labelled)
    report_thresholds([p for part in labelled.values() for p in part], portraits)
    report_turns([p for part in labelled.values() for p in part], portraits)
    report_alignment(shared / "photos/ffhq-1024", finders)


def finder_or_none(name: str, **settings: object) -> NamedFinder | None:
    try:
        return open_finder(FacesConfig.model_validate({"finder": name, **settings}))
    except InputError as error:
        print(f"{name} is left out: {error}")
        return None


def read_labelled(folder: Path, part: str) -> Iterator[Labelled]:
    """The pictures of one XML file; those that are not in the folder are said to be missing."""
    root = Tree.parse(folder / f"{part}_with_face_landmarks.xml").getroot()
    for image in root.iter("image"):
        file = image.get("file") or ""
        if not (folder / file).is_file():
            print(f"{part}: {file} is not in the folder and is left out")
            continue
        boxes = [b for b in image.iter("box") if b.get("ignore") != "1"]
        sizes = [[float(b.get(k) or 0) for k in ("left", "top", "width", "height")] for b in boxes]
        yield Labelled(
            file,
            to_srgb(read_photo(folder / file).pixels_HWC, None),
            np.array(sizes),
            np.array([five_points(b) for b in boxes]),
        )


def five_points(box: Tree.Element) -> Numbers:
    """Eye centres, nose tip and mouth corners of the 68 points of iBUG 300-W."""
    at = {
        int(p.get("name") or 0): (float(p.get("x") or 0), float(p.get("y") or 0))
        for p in box.iter("part")
    }
    eyes = [np.mean([at[i] for i in range(first, first + 6)], axis=0) for first in (36, 42)]
    return np.array([*eyes, at[30], at[48], at[54]])


def read_portraits(folder: Path) -> Iterator[tuple[str, Srgb]]:
    for file in PORTRAITS:
        photo = read_photo(folder / file)
        yield file, to_srgb(shrink(photo.pixels_HWC, PROXY), photo.facts.icc)


def report_labelled(finders: Sequence[NamedFinder], parts: dict[str, list[Labelled]]) -> None:
    faces = {part: sum(len(p.boxes) for p in pictures) for part, pictures in parts.items()}
    print(f"\n## Labelled faces, IoU 0.5: {faces['training']} in training, {faces['testing']}")
    print("   in testing\n")
    print("| finder | all, boxes as they come: recall | precision ", end="")
    print("| testing, convention changed: recall | precision | the change |")
    print("|---|---|---|---|---|---|")
    for finder in finders:
        found = {f: [(p, finder(p.pixels_HWC)) for p in pictures] for f, pictures in parts.items()}
        plain = count_boxes(found["training"] + found["testing"], np.array([0, 0, 1, 1]))
        change = fitted_change(found["training"])
        changed = count_boxes(found["testing"], change)
        moved = "moved {:+.2f} {:+.2f}, scaled {:.2f} {:.2f}".format(*change)
        print(f"| {finder.name} | {plain} | {changed} | {moved} |")


def sizes_of(faces: Sequence[FoundFace]) -> Numbers:
    rows = [[f.box.left, f.box.top, f.box.width, f.box.height] for f in faces]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def fitted_change(found: Sequence[tuple[Labelled, list[FoundFace]]]) -> Numbers:
    """Shift (in box sizes) and scale, x and y, that make the finder's boxes those of the truth."""
    changes = []
    for picture, faces in found:
        sizes = sizes_of(faces)
        for box in picture.boxes:
            away = np.linalg.norm(middles(sizes) - middles(box), axis=1) / box[2]
            if len(away) and away.min() < 0.5:
                mine = sizes[away.argmin()]
                changes.append([*(middles(box) - middles(mine)) / mine[2:], *box[2:] / mine[2:]])
    return np.median(np.array(changes), axis=0) if changes else np.array([0.0, 0, 1, 1])


def middles(boxes: Numbers) -> Numbers:
    return np.asarray(boxes[..., :2] + boxes[..., 2:] / 2)


def count_boxes(found: Sequence[tuple[Labelled, list[FoundFace]]], change: Numbers) -> Count:
    count = Count()
    for picture, faces in found:
        sizes = sizes_of(faces)
        middle = middles(sizes) + change[:2] * sizes[:, 2:]
        changed = np.hstack([middle - sizes[:, 2:] * change[2:] / 2, sizes[:, 2:] * change[2:]])
        hits = matched(iou_table(picture.boxes, changed) >= 0.5)
        count.hits += hits
        count.missed += len(picture.boxes) - hits
        count.false += len(faces) - hits
    return count


def iou_table(a: Numbers, b: Numbers) -> Numbers:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def matched(fits: NDArray[np.bool_]) -> int:
    """How many rows get a column of their own, first come first served."""
    taken: set[int] = set()
    for row in fits:
        free = [int(c) for c in np.flatnonzero(row) if int(c) not in taken]
        taken.update(free[:1])
    return len(taken)


def report_portraits(finders: Sequence[NamedFinder], portraits: Sequence[tuple[str, Srgb]]) -> None:
    marked = sum(map(len, PORTRAITS.values()))
    print(
        f"\n## Portraits: {marked} faces marked by eye in {len(PORTRAITS)} photos at {PROXY} px\n"
    )
    print("| finder | recall | precision | false hits | ms a photo with one face, one core |")
    print("|---|---|---|---|---|")
    for finder in finders:
        count, times, wrong = Count(), [], []
        for file, pixels in portraits:
            finder(pixels)  # a folder has few shapes of photo: the first of each takes longer
            start = time.process_time()
            faces = finder(pixels)
            if len(PORTRAITS[file]) == 1:
                times.append(time.process_time() - start)
            false = add_marked(count, file, pixels, faces)
            wrong += [f"{file} {x}" for x in false]
        took = f"{np.median(times) * 1e3:.0f} (90 %: {np.quantile(times, 0.9) * 1e3:.0f})"
        print(f"| {finder.name} | {count} | {'; '.join(wrong) or 'none'} | {took} |")


def add_marked(count: Count, file: str, pixels: Srgb, faces: Sequence[FoundFace]) -> list[str]:
    """Count one photo's hits; the false ones come back as middle and score."""
    wanted = [any(holds(f, m, pixels) for f in faces) for m in PORTRAITS[file]]
    known = (*PORTRAITS[file], *NEITHER.get(file, ()))
    false = [f for f in faces if not any(holds(f, m, pixels) for m in known)]
    count.hits += sum(wanted)
    count.missed += len(wanted) - sum(wanted)
    count.false += len(false)
    return [f"at {f.box.left:.0f},{f.box.top:.0f} ({f.score:.2f})" for f in false]


def holds(face: FoundFace, mark: tuple[float, float], pixels: Srgb) -> bool:
    """Whether the marked middle lies in the middle half of the box."""
    x, y = mark[0] * pixels.shape[1], mark[1] * pixels.shape[0]
    box = face.box
    across, down = (x - box.left) / box.width, (y - box.top) / box.height
    return abs(across - 0.5) < 0.3 and abs(down - 0.5) < 0.3


def landmark_errors(
    finder: NamedFinder, pictures: Sequence[Labelled], change: Numbers | float = 0.0
) -> Numbers:
    """Per face that was found: eye distance in px, mean error of its five points over it.

    `change` (5 x 2, in eye distances of the upright face) is taken off first.
    """
    gaps = landmark_gaps(finder, pictures)
    errors = [(eyes, np.linalg.norm(gap - change, axis=1).mean()) for eyes, gap in gaps]
    return np.array(errors).reshape(-1, 2)


def landmark_gaps(finder: NamedFinder, pictures: Sequence[Labelled]) -> list[tuple[float, Numbers]]:
    """Per face that was found: eye distance, and found minus true points in the upright face."""
    gaps = []
    for picture in pictures:
        faces = [f for f in finder(picture.pixels_HWC) if f.landmarks]
        points = np.array([[(p.x, p.y) for p in f.landmarks] for f in faces]).reshape(-1, 5, 2)
        for truth in picture.points:
            eyes = float(np.linalg.norm(truth[1] - truth[0]))
            away = np.linalg.norm(points.mean(axis=1) - truth.mean(axis=0), axis=1) / eyes
            if len(away) and away.min() < 0.8:
                along = (truth[1] - truth[0]) / eyes
                upright = np.array([along, (-along[1], along[0])])
                gaps.append((eyes, (points[away.argmin()] - truth) @ upright.T / eyes))
    return gaps


def report_landmarks(finders: Sequence[NamedFinder], pictures: Sequence[Labelled]) -> None:
    print("\n## Landmarks: mean error of five points over the eye distance, labelled faces\n")
    print("| finder | faces | median | 90 % | eyes 25 px or more apart: faces | median | 90 % |")
    print("|---|---|---|---|---|---|---|")
    for finder in finders:
        if not finder.has_landmarks:
            continue
        errors = landmark_errors(finder, pictures)
        large = errors[errors[:, 0] >= 25]
        print(
            f"| {finder.name} | {len(errors)} | {spread(errors)} | {len(large)} | {spread(large)} |"
        )


def report_landmark_conventions(
    finders: Sequence[NamedFinder], parts: dict[str, list[Labelled]]
) -> None:
    """Where a finder puts a point and where the truth does differs by more than chance: one fixed
    shift per point, the median of training.xml, is taken off and the rest measured on testing.xml.
    """
    print("\n## Landmarks on testing.xml, as they come and after one fixed shift per point\n")
    print("| finder | as they come: median | 90 % | after the shift: median | 90 % |")
    print("|---|---|---|---|---|")
    for finder in (f for f in finders if f.has_landmarks):
        change = np.median([g for _, g in landmark_gaps(finder, parts["training"])], axis=0)
        raw = landmark_errors(finder, parts["testing"])
        shifted = landmark_errors(finder, parts["testing"], change)
        print(f"| {finder.name} | {spread(raw)} | {spread(shifted)} |")


def spread(errors: Numbers) -> str:
    return f"{np.median(errors[:, 1]):.3f} | {np.quantile(errors[:, 1], 0.9):.3f}"


def report_thresholds(pictures: Sequence[Labelled], portraits: Sequence[tuple[str, Srgb]]) -> None:
    print("\n## YuNet by least score; a hit is a box around the true middle\n")
    print("| least score | labelled: recall | precision | portraits: recall | precision |")
    print("|---|---|---|---|---|")
    for least in (0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        finder = finder_or_none("yunet", least_score=least)
        if finder is None:
            return
        drawn, marked = Count(), Count()
        for picture in pictures:
            faces = finder(picture.pixels_HWC)
            away = np.linalg.norm(
                middles(picture.boxes)[:, None] - middles(sizes_of(faces))[None], axis=2
            )
            hits = matched(away < picture.boxes[:, 2:3] / 2)
            drawn.hits += hits
            drawn.missed += len(picture.boxes) - hits
            drawn.false += len(faces) - hits
        for file, pixels in portraits:
            add_marked(marked, file, pixels, finder(pixels))
        print(f"| {least} | {drawn} | {marked} |")


def report_turns(pictures: Sequence[Labelled], portraits: Sequence[tuple[str, Srgb]]) -> None:
    """Large faces against themselves upright, labelled ones against their truth."""
    print("\n## YuNet on turned photos: faces found, error over the eye distance (median | 90 %)\n")
    print(
        "| turned by | labelled | against truth | portraits' main face | against itself upright |"
    )
    print("|---|---|---|---|---|")
    finder = finder_or_none("yunet")
    if finder is None:
        return
    upright = [
        Labelled(file, pixels, sizes_of(faces[:1]), np.array([points_of(faces[0])]))
        for file, pixels in portraits
        if (faces := finder(pixels))
    ]
    for degrees in (0, 15, 30, 45, 90, 180, 270):
        cells = []
        for group in (pictures, upright):
            errors = landmark_errors(finder, [turned(p, degrees) for p in group])
            cells.append(f"{len(errors)} of {sum(len(p.boxes) for p in group)} | {spread(errors)}")
        print(f"| {degrees} | {' | '.join(c.replace(' | ', ', ', 2) for c in cells)} |")


def points_of(face: FoundFace) -> Numbers:
    return np.array([(p.x, p.y) for p in face.landmarks])


def turned(picture: Labelled, degrees: float) -> Labelled:
    """The picture turned clockwise about its middle, on a canvas that holds all of it."""
    height, width = picture.pixels_HWC.shape[:2]
    side = math.ceil(math.hypot(height, width)) if degrees % 90 else max(height, width)
    matrix_23 = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    matrix_23[:, 2] += (side - width) / 2, (side - height) / 2
    pixels = cv2.warpAffine(
        picture.pixels_HWC, matrix_23, (side, side), borderMode=cv2.BORDER_REPLICATE
    )
    points = picture.points @ matrix_23[:, :2].T + matrix_23[:, 2]
    return Labelled(picture.file, np.asarray(pixels, np.uint8), picture.boxes, points)


def report_alignment(folder: Path, finders: Sequence[NamedFinder]) -> None:
    """FFHQ's pictures are aligned crops, so aligning them again should change nothing."""
    files = sorted(folder.glob("*.png"))
    print(f"\n## {len(files)} FFHQ faces aligned again: median | worst\n")
    print("| finder | middle off, of the crop's side | size off | turned, degrees |")
    print("|---|---|---|---|")
    for finder in finders:
        if not finder.has_landmarks:
            continue
        offs = []
        for file in files:
            faces = finder(np.asarray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)))
            matrix_23 = align_matrix(faces[0].landmarks, 1024)
            off = matrix_23 @ np.array([512, 512, 1]) - 512
            zoom = math.hypot(matrix_23[0, 0], matrix_23[1, 0])
            roll = math.degrees(math.atan2(matrix_23[1, 0], matrix_23[0, 0]))
            offs.append((float(np.linalg.norm(off)) / 1024, abs(zoom - 1), abs(roll)))
        middle, size, roll_off = np.array(offs).T
        cells = [f"{np.median(v):.3f} | {v.max():.3f}" for v in (middle, size, roll_off)]
        print(f"| {finder.name} | {' | '.join(c.replace(' | ', ', ') for c in cells)} |")


if __name__ == "__main__":
    main()
