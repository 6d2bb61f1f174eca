"""A whole photo: find its faces, restore them, paste them back, write it. Touches the disk.

Pixel states: file's colours (HWC, uint8 or uint16) -> sRGB uint8 for finder and model -> the
restored crop in sRGB float32 -> the file's colours again, inside the masks only. Everything else
keeps its bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curation.colour import pyramid, to_eight_bits, to_srgb
from curation.crops import align_matrix, warp
from curation.decode import DecodedPhoto, Pixels, read_photo
from curation.faces import NamedFinder, estimate_pose
from curation.facts import Facts
from data_manifests.errors import InputError
from data_manifests.media import write_atomic
from data_manifests.records import Point
from data_manifests.store import file_sha256
from restore.blend import paste, region_of, scale_of
from restore.colour import COLOUR_FIXES
from restore.compare import Preview, to_jpeg
from restore.config import RestoreConfig
from restore.containers import Labels, encode, format_of, holds_16_bits
from restore.outcome import NOT_ASKED, FaceReport, Outcome, read_sidecar, sidecar_of, status_of
from restore.pipeline import Restoration, Restorer
from restore.provenance import Carried, describe_output, read_carried, xmp_packet
from restore.sampling import face_seed

__all__ = ["restore_photo"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A face cut out for the model."""

    report: FaceReport
    matrix_23: Matrix
    crop_HWC: NDArray[np.uint8]


def restore_photo(
    source: Path,
    target: Path,
    *,
    restorer: Restorer,
    finder: NamedFinder,
    read: Callable[[Path], DecodedPhoto] = read_photo,
) -> Outcome:
    """What was done, after `target` and the JSON file beside it were written.

    The settings are the restorer's. If no face could be restored no picture is written: a copy of
    the input would pass for a result. Raises UnreadablePhoto, InputError and StorageError.
    """
    config, seconds = restorer.config, dict[str, float]()
    name = format_of(target)
    _check_target(source, target, overwrite=config.overwrite)
    with _timed(seconds, "read"):
        photo = read(source)
        outcome = Outcome(
            source=source,
            target=target,
            status="nothing",
            input_sha256=file_sha256(source),
            finder=finder.name,
            model=restorer.facts,
            notes=photo.facts.notes,
            seconds=seconds,
        )
    with _timed(seconds, "find"):
        srgb_HWC = to_srgb(photo.pixels_HWC, photo.facts.icc)
        cuts, skipped = _cut_faces(srgb_HWC, finder, restorer, outcome.input_sha256)
    with _timed(seconds, "restore"):
        results = _restore_cuts(cuts, restorer)
    with _timed(seconds, "paste"):
        after_HWC, done = _paste_all(photo, cuts, results, config)
    faces = tuple(sorted((*skipped, *done), key=lambda f: f.index))
    outcome = replace(outcome, faces=faces, status=status_of(faces))
    if outcome.status == "nothing":
        _write_refusal(outcome, config)
        return outcome
    with _timed(seconds, "write"):
        outcome = _write(outcome, after_HWC, photo.facts, name, config)
    return replace(outcome, preview=_preview(srgb_HWC, after_HWC, photo.facts.icc, cuts, faces))


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        raise InputError(
            f"{target} is the input itself, and originals are never written.",
            "Give another name for the output.",
        )
    if target.is_dir():
        raise InputError(f"{target} is a folder.", "Give the name of a picture file.")
    if not overwrite and read_sidecar(target) is None:
        raise InputError(
            f"{target} is there already and was not written by AuthFace.",
            "Give another name, or say --overwrite.",
        )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - start


def _cut_faces(
    srgb_HWC: NDArray[np.uint8], finder: NamedFinder, restorer: Restorer, photo_sha256: str
) -> tuple[list[_Cut], list[FaceReport]]:
    """The faces to restore, cut out, and the reports of those that are not."""
    config, size = restorer.config, restorer.facts.size
    levels = pyramid(srgb_HWC, size)
    cuts: list[_Cut] = []
    skipped: list[FaceReport] = []
    for index, found in enumerate(finder(srgb_HWC)):
        report = FaceReport(
            index=index,
            box=found.box,
            landmarks=tuple(found.landmarks),
            score=found.score,
            status="skipped",
            reason=_reason_to_skip(index, found.landmarks, finder.name, config),
        )
        if report.reason:
            skipped.append(report)
            continue
        try:
            matrix_23 = align_matrix(found.landmarks, size)
        except ValueError as error:
            skipped.append(replace(report, reason=str(error)))
            continue
        report = replace(
            report,
            scale=scale_of(matrix_23),
            seed=face_seed(config.seed, photo_sha256, index),
            steps=restorer.steps,
            matrix=tuple(float(v) for v in matrix_23.ravel()),
        )
        crop_HWC = to_eight_bits(warp(levels, matrix_23, size))
        cuts.append(_Cut(report, matrix_23, crop_HWC))
    return cuts, skipped


def _reason_to_skip(
    index: int, landmarks: Sequence[Point], finder: str, config: RestoreConfig
) -> str:
    if config.faces == "largest" and index > 0:
        return NOT_ASKED
    if len(landmarks) != 5:
        return f"the face finder {finder} gives no landmarks, without which no face can be aligned"
    left, right = landmarks[:2]
    eyes, least = math.hypot(right.x - left.x, right.y - left.y), config.least_eye_distance
    if eyes < least:
        return f"too small: its eyes are {eyes:.1f} px apart, and {least:g} are needed"
    if abs(estimate_pose(landmarks).yaw) > config.most_yaw:
        return "turned too far to the side: about a profile"
    return ""


def _restore_cuts(cuts: Sequence[_Cut], restorer: Restorer) -> list[Restoration]:
    faces = [cut.crop_HWC for cut in cuts]
    return list(restorer.restore_each(faces, seeds=[cut.report.seed or 0 for cut in cuts]))


def _paste_all(
    photo: DecodedPhoto, cuts: Sequence[_Cut], results: Sequence[Restoration], config: RestoreConfig
) -> tuple[Pixels, list[FaceReport]]:
    """The photo with the restored faces in it, and the report of each face that was tried."""
    after_HWC = photo.pixels_HWC.copy()
    fix, reports = COLOUR_FIXES[config.colour], []
    for cut, result in zip(cuts, results, strict=True):
        if result.pixels_HWC is None:
            reports.append(replace(cut.report, status="failed", reason=result.trouble))
            continue
        face_HWC = fix(result.pixels_HWC.astype(np.float32), cut.crop_HWC.astype(np.float32))
        face_HWC = _to_photo_colours(face_HWC, photo.facts.icc)
        deep = after_HWC.dtype == np.uint16
        paste(after_HWC, face_HWC * np.float32(257 if deep else 1), cut.matrix_23)
        reports.append(replace(cut.report, status="restored"))
    return after_HWC, reports


def _to_photo_colours(face_HWC: NDArray[np.float32], icc: bytes | None) -> NDArray[np.float32]:
    """A face in sRGB as the photo's own RGB, 0 to 255; the way back of curation.colour.to_srgb."""
    if icc is None:
        return face_HWC
    bytes_HWC = np.clip(np.rint(face_HWC), 0, 255).astype(np.uint8)
    try:
        changed = ImageCms.profileToProfile(
            Image.fromarray(bytes_HWC),
            ImageCms.createProfile("sRGB"),
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return face_HWC  # to_srgb could not use the profile either
    return np.asarray(changed, dtype=np.float32)


def _write(
    outcome: Outcome, after_HWC: Pixels, facts: Facts, name: str, config: RestoreConfig
) -> Outcome:
    carried = read_carried(outcome.source, keep_private=config.keep_private)
    labels = _label(carried, after_HWC, facts)
    data = encode(after_HWC, labels, name, quality=config.jpeg_quality)
    notes = (*outcome.notes, *carried.notes)
    if after_HWC.dtype == np.uint16 and not holds_16_bits(name):
        notes += (f"{name} holds 8 bits: the input's 16 were rounded",)
    outcome = replace(outcome, notes=notes, output_sha256=hashlib.sha256(data).hexdigest())
    # The sidecar first: a picture that is there was always accounted for.
    write_atomic(sidecar_of(outcome.target), outcome.to_json(config))
    write_atomic(outcome.target, data)
    return outcome


def _label(carried: Carried, after_HWC: Pixels, facts: Facts) -> Labels:
    height, width = after_HWC.shape[:2]
    return Labels(
        exif=describe_output(carried, width, height),
        xmp=xmp_packet(carried, rating=facts.xmp_rating, label=facts.xmp_label),
        icc=facts.icc,
        dpi=carried.dpi,
    )


def _write_refusal(outcome: Outcome, config: RestoreConfig) -> None:
    """The sidecar alone; an earlier run's output is taken away: it is no longer the result."""
    if read_sidecar(outcome.target) is not None:
        outcome.target.unlink(missing_ok=True)
    write_atomic(sidecar_of(outcome.target), outcome.to_json(config))


def _preview(
    before_HWC: NDArray[np.uint8],
    after_HWC: Pixels,
    icc: bytes | None,
    cuts: Sequence[_Cut],
    faces: Sequence[FaceReport],
) -> Preview:
    after_HWC = to_srgb(after_HWC, icc)
    restored = {f.index for f in faces if f.status == "restored"}
    zooms = []
    for cut in cuts:
        if cut.report.index in restored:
            size = cut.crop_HWC.shape[0]
            region = region_of(cut.matrix_23, size, before_HWC.shape)
            spans = size / scale_of(cut.matrix_23)
            label = (
                f"Face {cut.report.index + 1}: {size} model pixels over {spans:.0f} of the photo"
            )
            zooms.append((to_jpeg(before_HWC[region], 512), to_jpeg(after_HWC[region], 512), label))
    return Preview(
        before_jpeg=to_jpeg(before_HWC, 1600),
        after_jpeg=to_jpeg(after_HWC, 1600),
        faces=tuple(zooms),
    )
