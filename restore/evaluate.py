"""Score restored pictures against sharp references of the same name: pairs in, one score each out.

Faces are looked for in the reference; the numbers are means over their boxes, or over the whole
picture where none is found. What can't be compared is kept apart with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.colour import to_srgb
from curation.decode import read_photo
from curation.faces import FoundFace, NamedFinder
from curation.scan import find_photos
from data_manifests.errors import AuthFaceError, InputError
from data_manifests.records import Box
from data_manifests.store import file_sha256
from restore.blend import mask_in_photo
from restore.config import DoubtConfig
from restore.metrics import (
    colour_error,
    landmark_shift,
    largest_change,
    psnr,
    sharpness,
    ssim,
)
from restore.outcome import read_sidecar

__all__ = ["Apart", "FaceScore", "Pair", "Score", "evaluate", "pair_up"]

Pixels = NDArray[np.uint8]
_LEAST_SIDE = 7  # px; SSIM's window


@dataclass(frozen=True, slots=True)
class Pair:
    """A restored picture and the reference it is compared with."""

    name: str
    restored: Path
    reference: Path


@dataclass(frozen=True, slots=True)
class Apart:
    """Something that could not be compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceScore:
    """One region: a face of the reference, or the whole picture if `box` is none."""

    box: Box | None
    psnr_db: float
    ssim: float
    colour_error: float
    sharpness_gain: float | None
    landmark_shift: float | None
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One pair's numbers; those that need the input are none where no sidecar leads to it."""

    pair: Pair
    source: Path | None
    photo_psnr_db: float
    background_change: int | None
    regions: tuple[FaceScore, ...]

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the regions that have it."""
        values = [v for r in self.regions if (v := getattr(r, metric)) is not None]
        return fmean(values) if values else None

    @property
    def doubts(self) -> tuple[FaceScore, ...]:
        """The regions that a person should look at."""
        return tuple(r for r in self.regions if r.doubt)


def pair_up(restored: Path, reference: Path) -> tuple[list[Pair], list[Apart]]:
    """Pairs by file name, and what has no partner; two files make a pair whatever their names."""
    for path in (restored, reference):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
    if restored.is_dir() != reference.is_dir():
        raise InputError(
            f"{restored} and {reference}: one is a file and the other a folder.",
            "Give two files or two folders.",
        )
    if not restored.is_dir():
        return [Pair(restored.name, restored, reference)], []
    ours, theirs = _listed(restored), _listed(reference)
    pairs: list[Pair] = []
    apart: list[Apart] = []
    for name, path in ours.items():
        partners = _partners(name, theirs)
        if len(partners) == 1:
            pairs.append(Pair(name, path, theirs[partners[0]]))
        else:
            why = f"more than one reference fits: {', '.join(partners)}" if partners else ""
            apart.append(Apart(name, why or "there is no reference of this name"))
    used = {pair.reference for pair in pairs}
    alone = [name for name, path in theirs.items() if path not in used]
    return pairs, apart + [
        Apart(name, "there is no restored picture of this name") for name in alone
    ]


def _listed(folder: Path) -> dict[str, Path]:
    root = folder.absolute()
    return {found.path.relative_to(root).as_posix(): found.path for found in find_photos([folder])}


def _partners(name: str, names: dict[str, Path]) -> list[str]:
    """Names that fit: the same, else without the ending we may have added, else by stem."""
    for wanted in (name, Path(name).with_suffix("").as_posix()):
        if wanted in names:
            return [wanted]
    return [n for n in names if Path(n).with_suffix("") == Path(name).with_suffix("")]


def evaluate(
    pairs: Sequence[Pair], *, finder: NamedFinder, doubt: DoubtConfig
) -> Iterator[Score | Apart]:
    """Yield each pair's score, or why it has none."""
    for pair in pairs:
        try:
            yield _score(pair, finder, doubt)
        except AuthFaceError as error:
            yield Apart(pair.name, str(error))


def _score(pair: Pair, finder: NamedFinder, doubt: DoubtConfig) -> Score:
    restored_HWC, reference_HWC = read_srgb(pair.restored), read_srgb(pair.reference)
    _check_sizes(restored_HWC, reference_HWC)
    said = _trusted_sidecar(pair.restored)
    source = _source_of(pair.restored, said)
    input_HWC = read_srgb(source) if source else None
    if input_HWC is not None and input_HWC.shape != restored_HWC.shape:
        input_HWC = None
    change = None
    if input_HWC is not None and said is not None:
        outside_HW = _outside_masks(said, restored_HWC.shape)
        change = largest_change(restored_HWC, input_HWC, outside_HW)
    faces, now = finder(reference_HWC), finder(restored_HWC)
    regions = [_score_face(f, now, restored_HWC, reference_HWC, input_HWC) for f in faces]
    if not faces:
        regions = [_score_region(None, None, restored_HWC, reference_HWC, input_HWC)]
    return Score(
        pair=pair,
        source=source,
        photo_psnr_db=psnr(restored_HWC, reference_HWC),
        background_change=change,
        regions=tuple(_with_doubt(region, doubt, finder) for region in regions),
    )


def read_srgb(path: Path) -> Pixels:
    """A picture as upright 8-bit sRGB, HWC."""
    photo = read_photo(path)
    return to_srgb(photo.pixels_HWC, photo.facts.icc)


def _check_sizes(restored_HWC: Pixels, reference_HWC: Pixels) -> None:
    if restored_HWC.shape != reference_HWC.shape:
        sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (restored_HWC, reference_HWC)]
        raise InputError(f"The sizes differ: restored {sizes[0]}, reference {sizes[1]}.")
    if min(restored_HWC.shape[:2]) < _LEAST_SIDE:
        raise InputError(f"The pictures are smaller than {_LEAST_SIDE} pixels.")


def _trusted_sidecar(restored: Path) -> dict[str, Any] | None:
    """The sidecar, if it speaks of this very file."""
    said = read_sidecar(restored)
    if said is None or not said.get("output") or said["output"]["sha256"] != file_sha256(restored):
        return None
    return said


def _source_of(restored: Path, said: dict[str, Any] | None) -> Path | None:
    if said is None:
        return None
    path: Path = restored.parent / said["input"]["path"]
    known = path.is_file() and file_sha256(path) == said["input"]["sha256"]
    return path if known else None


def _outside_masks(said: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    outside_HW = np.ones(shape[:2], bool)
    for face in said["faces"]:
        if face["status"] == "restored":
            matrix_23 = np.array(face["matrix"]).reshape(2, 3)
            size, kind = said["model"]["size"], said["settings"].get("region", "face")
            place, mask_HW = mask_in_photo(matrix_23, size, shape, kind)
            outside_HW[place] &= mask_HW == 0
    return outside_HW


def _score_face(
    face: FoundFace,
    now: Sequence[FoundFace],
    restored_HWC: Pixels,
    reference_HWC: Pixels,
    input_HWC: Pixels | None,
) -> FaceScore:
    same = max(now, key=lambda other: _overlap(face.box, other.box), default=None)
    shift = None
    if same is not None and _overlap(face.box, same.box) > 0.3:
        shift = landmark_shift(same.landmarks, face.landmarks)
    return _score_region(face.box, shift, restored_HWC, reference_HWC, input_HWC)


def _score_region(
    box: Box | None,
    shift: float | None,
    restored_HWC: Pixels,
    reference_HWC: Pixels,
    input_HWC: Pixels | None,
) -> FaceScore:
    part = _slices(box, restored_HWC.shape)
    restored_HWC, reference_HWC = restored_HWC[part], reference_HWC[part]
    gain = None
    if input_HWC is not None:
        gain = sharpness(restored_HWC) / max(sharpness(input_HWC[part]), 1e-6)
    return FaceScore(
        box=box,
        psnr_db=psnr(restored_HWC, reference_HWC),
        ssim=ssim(restored_HWC, reference_HWC),
        colour_error=colour_error(restored_HWC, reference_HWC),
        sharpness_gain=gain,
        landmark_shift=shift,
    )


def _slices(box: Box | None, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a box, inside the picture and large enough for SSIM's window."""
    if box is None:
        return slice(None), slice(None)
    rows = _span(box.top, box.bottom, shape[0])
    return rows, _span(box.left, box.right, shape[1])


def _span(low: float, high: float, limit: int) -> slice:
    start = min(max(int(low), 0), limit - _LEAST_SIDE)
    return slice(start, max(min(round(high), limit), start + _LEAST_SIDE))


def _overlap(a: Box, b: Box) -> float:
    wide = max(0.0, min(a.right, b.right) - max(a.left, b.left))
    high = max(0.0, min(a.bottom, b.bottom) - max(a.top, b.top))
    return wide * high / max(a.width * a.height + b.width * b.height - wide * high, 1e-9)


def _with_doubt(region: FaceScore, doubt: DoubtConfig, finder: NamedFinder) -> FaceScore:
    whys = []
    if region.psnr_db < doubt.psnr_db:
        whys.append(f"PSNR {region.psnr_db:.1f} dB, less than {doubt.psnr_db:g}")
    shift = region.landmark_shift
    if shift is not None and shift > doubt.landmark_shift:
        whys.append(f"landmarks moved by {shift:.2f} eye distances, over {doubt.landmark_shift:g}")
    if region.box is not None and finder.has_landmarks and shift is None:
        whys.append(f"{finder.name} finds no face there any more")
    return replace(region, doubt="; ".join(whys))
