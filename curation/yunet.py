"""YuNet on several scales, turns and tiles: faces that fill an 8K frame and faces of 20 px alike.

Its answers are not thinned out to the surest one per face. Many cells of its grid see the same
face, and the mean of what they say is steadier than what any one of them says.

Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 2023 (the model, as OpenCV's FaceDetectorYN runs it); Solovyev, Wang, Gabruseva,
"Weighted boxes fusion", Image and Vision Computing 2021, equations 1 to 3 (the mean).
Axes: N faces or answers, H rows, W columns, C sRGB channels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import pyramid
from curation.config import FacesConfig
from curation.crops import from_centres
from curation.found import SAME_FACE, FaceFinder, FoundFace, found_face

__all__ = ["fuse", "load_yunet", "tile_corners"]

Srgb = NDArray[np.uint8]
Rows = NDArray[np.float64]  # answers N x 17, in pixels of the picture
_BOX, _POINTS, _SCORE, _SCALE, _SIGHT = slice(0, 4), slice(4, 14), 14, 15, 16
_COLUMNS = 17  # x, y, width, height; 5 x (x, y); score; picture px per level px; last look's score

_COARSE, _MIDDLE, _FINE, _FINEST = 320, 640, 1280, 4096  # px long side of what is searched
_TILE, _TILE_OVERLAP = 640, 160  # px; wider faces than the overlap are found on coarser levels
_BEST_WIDTH, _MOST_WIDTH = 160, 320  # px on a level; wider faces are seen in parts
_SMALL_WIDTH = 40  # px at _MIDDLE; where one face is so small there may be more of them
_LEAST_ANSWER = 0.5  # score; weaker answers take no part in the mean
_HOPE = 0.1  # faces that miss the least score by less are seen closer all the same

# YuNet draws the points of tilted faces as if they stood upright, the more so the smaller they
# are: of 30 degrees it sees 3 on a face of 80 px and 20 on one of 160 px (measured on turned
# portraits). So small and tilted faces are looked at again, large and turned upright.
_LOOK_SIDE, _LOOK_COVER = 256, 1.6  # px of the crop; its side over face width
_SMALL_LOOK = 96  # px on the level that showed a face
_TILT = math.radians(8)
_MOST_LOOKS, _MOST_TURNS = 12, 4  # faces, largest first; looks at one of them

# A face on its side or head is often found too, with points that are quite wrong and scores of up
# to 0.91 (measured likewise); upright faces mostly reach 0.92, and more than they do turned.
_SURE = 0.92
_CHECK_SIDE, _CHECK_COVER = 128, 2.0  # px; enough to tell which way is up, and for a second look
_MOST_DOUBTS = 4  # faces whose turn is questioned, largest first
_DETECTORS = 8  # sizes kept ready: another input size costs a detector more than a small search


@dataclass(frozen=True, slots=True)
class _Level:
    """The picture reduced; `scale` is picture pixels per pixel of it."""

    pixels_HWC: Srgb
    scale: float


def load_yunet(path: Path, config: FacesConfig) -> FaceFinder:
    """The finder that runs the model file at `path`."""
    return _Yunet(path, config).find


class _Yunet:
    def __init__(self, path: Path, config: FacesConfig) -> None:
        self._path, self._config = path, config
        self._least = min(_LEAST_ANSWER, config.least_score)
        self._detectors: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def find(self, pixels_HWC: Srgb) -> list[FoundFace]:
        """All faces, also those below the least score and size that a NamedFinder sifts out."""
        halvings = _halvings(pixels_HWC)
        faces = fuse(self._search(halvings, 0))
        turns = self._doubtful_turns(halvings, faces)
        turned = [fuse(self._search(halvings, turn)) for turn in turns]
        faces = self._seen_closer(halvings, np.concatenate([faces, *turned]), doubt=bool(turns))
        return [found_face(f[_BOX], f[_POINTS].reshape(5, 2), f[_SCORE]) for f in _one_each(faces)]

    def _seen_closer(self, halvings: Sequence[_Level], faces: Rows, doubt: bool) -> Rows:
        """The faces, the largest of them seen closer where it helps, surest sight first."""
        faces = faces[np.argsort(-faces[:, 2] * faces[:, 3])]
        worth = faces[:, _SCORE] >= self._config.least_score - _HOPE
        for index in np.flatnonzero(worth)[:_MOST_LOOKS]:
            if doubt or _hard(faces[index]):
                faces[index] = self._look_closer(halvings, faces[index])
        return faces[np.argsort(-faces[:, _SIGHT], kind="stable")]

    def _search(self, halvings: Sequence[_Level], turn: int) -> Rows:
        """Every answer on the coarse levels, and on finer ones where they are worth their time."""
        middle = _at_side(halvings, _MIDDLE)
        coarse = _at_side([middle], _COARSE)
        finer = [self._answers(middle, turn)]
        if self._pays(finer[0], middle.scale):
            fine = _at_side(halvings, _FINE, enlarged=self._config.small_faces)
            if fine.scale < middle.scale:
                finer.append(self._answers(fine, turn))
        if self._config.small_faces:
            finer.extend(self._tile_answers(_at_side(halvings, _FINEST), turn))
        return np.concatenate([self._answers(coarse, turn), *map(_in_range, finer)])

    def _pays(self, rows: Rows, scale: float) -> bool:
        sure = rows[rows[:, _SCORE] >= self._config.least_score]
        return self._config.small_faces or not len(sure) or sure[:, 2].min() < _SMALL_WIDTH * scale

    def _tile_answers(self, level: _Level, turn: int) -> Iterator[Rows]:
        height, width = level.pixels_HWC.shape[:2]
        if max(height, width) <= _FINE:  # the levels have seen every pixel of it
            return
        for top in tile_corners(height):
            for left in tile_corners(width):
                tile = level.pixels_HWC[top : top + _TILE, left : left + _TILE]
                rows = self._answers(_Level(tile, level.scale), turn)
                yield _shifted(_whole(rows, level, (left, top)), left, top, level.scale)

    def _answers(self, level: _Level, turn: int) -> Rows:
        """What YuNet says to a level turned anticlockwise by `turn` quarters, in picture pixels."""
        found = self._detect(np.rot90(level.pixels_HWC, turn))
        rows = np.pad(found.astype(np.float64), ((0, 0), (0, _COLUMNS - 15)))
        for before in reversed(range(turn)):  # an even number of quarters keeps width and height
            rows = _quarter_back(rows, level.pixels_HWC.shape[1 - before % 2])
        rows[:, :14] *= level.scale
        rows[:, _SCALE], rows[:, _SIGHT] = level.scale, rows[:, _SCORE]
        return rows

    def _detect(self, pixels_HWC: Srgb) -> NDArray[np.float32]:
        """YuNet's answers N x 15 as they come: box, points and score in pixels of the picture."""
        flipped_HWC = _bordered(cv2.cvtColor(np.ascontiguousarray(pixels_HWC), cv2.COLOR_RGB2BGR))
        size = (flipped_HWC.shape[1], flipped_HWC.shape[0])
        if size not in self._detectors:
            # Overlap 1: nothing is thinned out. 5000 answers are more than any photo has.
            self._detectors[size] = cv2.FaceDetectorYN.create(
                str(self._path), "", size, self._least, 1.0, 5000
            )
        self._detectors.move_to_end(size)
        if len(self._detectors) > _DETECTORS:
            self._detectors.popitem(last=False)
        found: Any = self._detectors[size].detect(flipped_HWC)[1]
        return np.zeros((0, 15), np.float32) if found is None else found

    def _doubtful_turns(self, halvings: Sequence[_Level], faces: Rows) -> list[int]:
        """Quarter turns to search: where faces look surer turned, or all if none was found."""
        if self._config.rotations != "auto":
            return [1, 2, 3] if self._config.rotations == "always" else []
        faces = faces[faces[:, _SCORE] >= self._config.least_score]
        if not len(faces):
            return [1, 2, 3]
        largest = faces[np.argsort(-faces[:, 2])][:_MOST_DOUBTS]
        unsure = [f for f in largest if f[_SCORE] < _SURE]
        return sorted({self._surest_turn(halvings, face) for face in unsure} - {0})

    def _surest_turn(self, halvings: Sequence[_Level], face: Rows) -> int:
        crop = (_CHECK_SIDE, _CHECK_COVER)
        looks = [self._look(halvings, face, turn * math.pi / 2, crop) for turn in range(4)]
        return int(np.argmax([-1.0 if look is None else look[_SCORE] for look in looks]))

    def _look_closer(self, halvings: Sequence[_Level], face: Rows) -> Rows:
        """The face seen again large and upright, until its roll no longer changes."""
        best, roll = face, _roll(face)
        for _ in range(_MOST_TURNS):
            look = self._look(halvings, best, roll, (_LOOK_SIDE, _LOOK_COVER))
            if look is None:
                break
            best, before, roll = look, roll, _roll(look)
            if abs(math.remainder(roll - before, math.tau)) < _TILT / 2:
                break
        # A crop is easy to be sure of: a drawing scores 0.9 in one. Only tilt excuses a low score.
        tilted = abs(math.remainder(roll, math.pi / 2)) > _TILT
        mirrored = self._look(halvings, best, roll, (_CHECK_SIDE, _CHECK_COVER), mirrored=True)
        if mirrored is not None:  # what it gets wrong to one side is as wrong to the other
            best[_POINTS] = (best[_POINTS] + mirrored[_POINTS]) / 2
        best[_SIGHT] = best[_SCORE]
        best[_SCORE] = max(face[_SCORE], best[_SCORE] if tilted else 0)
        return best

    def _look(
        self,
        halvings: Sequence[_Level],
        face: Rows,
        roll: float,
        crop: tuple[int, float],
        *,
        mirrored: bool = False,
    ) -> Rows | None:
        """The face in a crop (side in px, side over face width) that turns this roll upright."""
        side, cover = crop
        level = _fitting(halvings, face[2], side / cover)
        zoom = side / cover / max(face[2], 1e-6)  # crop pixels per picture pixel
        cos, sin = zoom * math.cos(roll), zoom * math.sin(roll)
        to_crop_22 = np.array([[cos, sin], [-sin, cos]])
        shift = side / 2 - to_crop_22 @ (face[:2] + face[2:4] / 2)
        crop_HWC = _cut(level, to_crop_22, shift, side)
        found = self._detect(crop_HWC[:, ::-1] if mirrored else crop_HWC)
        rows = np.pad(found.astype(np.float64), ((0, 0), (0, _COLUMNS - 15)))
        rows[:, _SCALE] = 1
        seen = _unmirrored(fuse(rows), side) if mirrored else fuse(rows)
        away = np.hypot(*(seen[:, :2] + seen[:, 2:4] / 2 - side / 2).T)
        if not len(seen) or away.min() > side / cover / 2:
            return None
        return _from_crop(seen[int(away.argmin())], to_crop_22, shift)


def fuse(rows_N17: Rows) -> Rows:
    """One row per face: the mean of its answers by score, on the level that shows it best."""
    rows = rows_N17[np.argsort(-rows_N17[:, _SCORE], kind="stable")]
    fused = []
    while len(rows):
        same = _overlaps(rows[0], rows) >= SAME_FACE
        fused.append(_mean(rows[same]))
        rows = rows[~same]
    return np.array(fused).reshape(-1, _COLUMNS)


def _one_each(faces: Rows) -> Rows:
    """The surest sight of each face, with the best score that any sight of it had."""
    kept = []
    while len(faces):
        same = _overlaps(faces[0], faces) >= SAME_FACE
        faces[0, _SCORE] = faces[same, _SCORE].max()
        kept.append(faces[0])
        faces = faces[~same]
    return np.array(kept).reshape(-1, _COLUMNS)


def _hard(face: Rows) -> bool:
    return bool(abs(_roll(face)) > _TILT or face[2] / face[_SCALE] < _SMALL_LOOK)


def tile_corners(length: int) -> list[int]:
    """Where tiles begin along one side of `length` px: evenly, with at least _TILE_OVERLAP."""
    if length <= _TILE:
        return [0]
    count = math.ceil((length - _TILE_OVERLAP) / (_TILE - _TILE_OVERLAP))
    return [round(i * (length - _TILE) / (count - 1)) for i in range(count)]


def _mean(rows: Rows) -> Rows:
    """The mean of one face's answers, surest first, on the level where it is of the best size."""
    fits = np.abs(np.log(np.maximum(rows[:, 2] / rows[:, _SCALE], 1) / _BEST_WIDTH))
    scales = {s: fits[rows[:, _SCALE] == s].mean() for s in set(rows[:, _SCALE])}
    best = rows[rows[:, _SCALE] == min(scales, key=lambda s: scales[s])]
    mean = np.average(best, axis=0, weights=best[:, _SCORE])
    mean[[_SCORE, _SIGHT]] = rows[0, _SCORE]
    return np.asarray(mean)


def _overlaps(row: Rows, rows: Rows) -> NDArray[np.float64]:
    low = np.maximum(row[:2], rows[:, :2])
    high = np.minimum(row[:2] + row[2:4], rows[:, :2] + rows[:, 2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = row[2] * row[3] + rows[:, 2] * rows[:, 3]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def _halvings(pixels_HWC: Srgb) -> list[_Level]:
    """The picture and its halvings, down to about _COARSE px."""
    halvings: Any = pyramid(pixels_HWC, _COARSE)
    return [_Level(level_HWC, 2.0**i) for i, level_HWC in enumerate(halvings)]


def _at_side(levels: Sequence[_Level], side: int, enlarged: bool = False) -> _Level:
    """A level of that long side, from the smallest that is no smaller; enlarged at most twofold."""
    large = [v for v in levels if max(v.pixels_HWC.shape[:2]) >= side]
    base = large[-1] if large else levels[0]
    height, width = base.pixels_HWC.shape[:2]
    zoom = min(side / max(height, width), 2.0 if enlarged else 1.0)
    if zoom == 1:
        return base
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    # Bilinear is enough below twofold reduction, and seven times as fast as area averaging.
    way = cv2.INTER_AREA if zoom <= 0.5 else cv2.INTER_LINEAR
    small: Any = cv2.resize(base.pixels_HWC, size, interpolation=way)
    return _Level(small, base.scale / zoom)


def _fitting(levels: Sequence[_Level], width: float, wanted: float) -> _Level:
    """The smallest level on which a face of that width in picture pixels has the wanted one."""
    return next((v for v in reversed(levels) if width / v.scale >= wanted), levels[0])


def _in_range(rows: Rows) -> Rows:
    """Without faces too wide for their level: a coarser one sees them whole, this one in parts."""
    return rows[rows[:, 2] / rows[:, _SCALE] <= _MOST_WIDTH]


def _bordered(pixels_HWC: Any) -> Any:
    """The picture with a black border to whole multiples of 32 px, of which it needs two or more.

    YuNet's grids are that coarse, and OpenCV 4.12 makes up faces in pictures of one multiple. It
    would add this border itself, but then every shape of photo would need a detector of its own.
    """
    height, width = pixels_HWC.shape[:2]
    low, wide = (max(-(-s // 32) * 32, 64) - s for s in (height, width))
    return cv2.copyMakeBorder(pixels_HWC, 0, low, 0, wide, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def _whole(rows: Rows, level: _Level, corner: tuple[int, int]) -> Rows:
    """Without faces that the tile's edge cuts, unless it is the picture's edge too."""
    start = np.array(corner)
    size = np.array(level.pixels_HWC.shape[1::-1])
    low = rows[:, :2] / level.scale
    high = low + rows[:, 2:4] / level.scale
    end = np.minimum(start + _TILE, size)
    cut: Any = ((low <= 2) & (start > 0)) | ((high >= end - start - 2) & (end < size))
    return np.asarray(rows[~cut.any(axis=1)])


def _shifted(rows: Rows, left: int, top: int, scale: float) -> Rows:
    moved = rows.copy()
    moved[:, [0, *range(4, 14, 2)]] += left * scale
    moved[:, [1, *range(5, 14, 2)]] += top * scale
    return moved


def _quarter_back(rows: Rows, width: int) -> Rows:
    """The rows of a picture that was turned anticlockwise, as they lay in it when `width` wide."""
    back = rows.copy()
    back[:, 0], back[:, 1] = width - rows[:, 1] - rows[:, 3], rows[:, 0]
    back[:, 2], back[:, 3] = rows[:, 3], rows[:, 2]
    back[:, 4:14:2], back[:, 5:14:2] = width - rows[:, 5:14:2], rows[:, 4:14:2]
    return back


def _unmirrored(rows: Rows, width: int) -> Rows:
    """The rows of a mirrored picture as they lie in it; what is left in it is named left again."""
    back = rows.copy()
    back[:, 0] = width - rows[:, 0] - rows[:, 2]
    points = rows[:, _POINTS].reshape(-1, 5, 2)[:, [1, 0, 2, 4, 3]]
    back[:, _POINTS] = (points * (-1, 1) + (width, 0)).reshape(-1, 10)
    return back


def _roll(face: Rows) -> float:
    """The turn of the line between the eyes, in radians, clockwise in the picture."""
    return math.atan2(face[7] - face[5], face[6] - face[4])


def _cut(
    level: _Level, to_crop_22: NDArray[np.float64], shift: NDArray[np.float64], side: int
) -> Srgb:
    from_level_22 = to_crop_22 * level.scale
    crop: Any = cv2.warpAffine(
        level.pixels_HWC,
        from_centres(np.column_stack([from_level_22, shift])),
        (side, side),
        flags=cv2.INTER_LINEAR if abs(np.linalg.det(from_level_22)) <= 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crop  # type: ignore[no-any-return]


def _from_crop(row: Rows, to_crop_22: NDArray[np.float64], shift: NDArray[np.float64]) -> Rows:
    """A row of the crop in picture pixels; its box holds the ellipse that the crop's box held."""
    back_22 = np.linalg.inv(to_crop_22)
    face = row.copy()
    face[_POINTS] = ((row[_POINTS].reshape(5, 2) - shift) @ back_22.T).ravel()
    middle = back_22 @ (row[:2] + row[2:4] / 2 - shift)
    half = np.hypot(*(back_22 * row[2:4] / 2).T)
    face[:2], face[2:4] = middle - half, 2 * half
    face[_SCALE] = 1 / math.sqrt(abs(np.linalg.det(to_crop_22)))
    return face
