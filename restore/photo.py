"""A whole photo: find its faces, restore them, paste them back, write it. Touches the disk.

Pixel states: file's colours (HWC, uint8 or uint16) -> sRGB uint8 for finder and model -> the
restored crop in sRGB float32 -> the file's colours again, inside the masks only. Everything else
keeps its bits. `prepare` and `finish` are the halves before and after the model, so that a batch
can run them while the model works on other photos.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curation.colour import to_srgb
from curation.decode import DecodedPhoto, Pixels, read_photo
from curation.faces import NamedFinder
from curation.facts import Facts
from data_manifests.errors import InputError
from data_manifests.media import write_atomic
from data_manifests.store import file_sha256
from restore.blend import paste
from restore.colour import COLOUR_FIXES, keep_grey
from restore.config import RestoreConfig
from restore.containers import Labels, encode, format_of, holds_16_bits
from restore.cutting import Cut, Model, cut_aligned, cut_faces
from restore.enlarge import Upscaler, enlarge
from restore.outcome import FaceReport, Outcome, read_sidecar, sidecar_of, status_of
from restore.pipeline import Restoration, Restorer
from restore.provenance import Carried, describe_output, read_carried, xmp_packet

__all__ = ["Prepared", "check_target", "finish", "prepare", "restore_photo", "timed"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photo whose faces wait for the model; without cuts it holds no pixels either."""

    outcome: Outcome
    photo: DecodedPhoto | None
    cuts: tuple[Cut, ...]
    skipped: tuple[FaceReport, ...]


def restore_photo(
    source: Path,
    target: Path,
    *,
    restorer: Restorer,
    finder: NamedFinder,
    read: Callable[[Path], DecodedPhoto] = read_photo,
    upscaler: Upscaler | None = None,
) -> Outcome:
    """What was done, after `target` and the JSON file beside it were written.

    The settings are the restorer's. If no face could be restored no picture is written: a copy of
    the input would pass for a result. Raises UnreadablePhoto, InputError and StorageError.
    """
    config = restorer.config
    check_target(source, target, overwrite=config.overwrite)
    outcome = Outcome(
        source=source,
        target=target,
        status="nothing",
        input_sha256=file_sha256(source),
        finder=finder.name,
        model=restorer.facts,
        seconds={},
    )
    with timed(outcome.seconds, "read"):
        photo = read(source)
    model = Model(restorer.facts.size, restorer.steps)
    prepared = prepare(outcome, photo, finder=finder, model=model, config=config)
    with timed(outcome.seconds, "restore"):
        seeds = [cut.report.seed or 0 for cut in prepared.cuts]
        results = list(restorer.restore_each([c.crop_HWC for c in prepared.cuts], seeds=seeds))
    return finish(prepared, results, config, upscaler)


def prepare(
    outcome: Outcome,
    photo: DecodedPhoto,
    *,
    finder: NamedFinder,
    model: Model,
    config: RestoreConfig,
) -> Prepared:
    """The photo with the faces that the model is to restore, found and cut out."""
    outcome = replace(outcome, notes=photo.facts.notes)
    with timed(outcome.seconds, "find"):
        srgb_HWC, sha256 = to_srgb(photo.pixels_HWC, photo.facts.icc), outcome.input_sha256
        if config.aligned:
            cuts, skipped = [cut_aligned(srgb_HWC, model, config, sha256)], list[FaceReport]()
        else:
            cuts, skipped = cut_faces(srgb_HWC, finder, model, config, sha256)
    return Prepared(outcome, photo if cuts else None, tuple(cuts), tuple(skipped))


def finish(
    prepared: Prepared,
    results: Sequence[Restoration],
    config: RestoreConfig,
    upscaler: Upscaler | None = None,
) -> Outcome:
    """What was done, after the output and its sidecar were written."""
    outcome, photo = prepared.outcome, prepared.photo
    done: list[FaceReport] = []
    after_HWC: Pixels | None = None
    with timed(outcome.seconds, "paste"):
        if photo is not None:
            after_HWC, done = _put_back(photo, prepared.cuts, results, config, upscaler)
    faces = tuple(sorted((*prepared.skipped, *done), key=lambda f: f.index))
    outcome = replace(outcome, faces=faces, status=status_of(faces))
    if photo is None or after_HWC is None or outcome.status == "nothing":
        _write_refusal(outcome, config)
        return outcome
    if upscaler is not None and not config.aligned:
        said = f"enlarged by {upscaler.name} (SHA-256 {upscaler.sha256[:12]})"
        outcome = replace(outcome, notes=(*outcome.notes, said))
    with timed(outcome.seconds, "write"):
        return _write(outcome, after_HWC, photo.facts, config)


def check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raise InputError where writing the target would cost somebody a file."""
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
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage took."""
    start = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - start


def _put_back(
    photo: DecodedPhoto,
    cuts: Sequence[Cut],
    results: Sequence[Restoration],
    config: RestoreConfig,
    upscaler: Upscaler | None,
) -> tuple[Pixels | None, list[FaceReport]]:
    """The photo with the restored faces in it, and the report of each face that was tried."""
    done = [_report(cut, result) for cut, result in zip(cuts, results, strict=True)]
    faces = [
        (c, _in_photo_colours(c, r, photo, config)) for c, r in zip(cuts, results, strict=True)
    ]
    good = [(cut, face_HWC) for cut, face_HWC in faces if face_HWC is not None]
    if not good:
        return None, done
    if config.aligned:
        return _rounded(good[0][1], deep=photo.pixels_HWC.dtype == np.uint16), done
    after_HWC = _own(enlarge(photo.pixels_HWC, config.upscale, upscaler))
    grown_2 = np.divide(after_HWC.shape[1::-1], photo.pixels_HWC.shape[1::-1])
    for cut, face_HWC in good:
        matrix_23 = cut.matrix_23.copy()
        matrix_23[:, :2] /= grown_2
        paste(after_HWC, face_HWC, matrix_23)
    return after_HWC, done


def _rounded(face_HWC: Floats, *, deep: bool) -> Pixels:
    whole_HWC = np.clip(np.rint(face_HWC), 0, 65535 if deep else 255)
    return whole_HWC.astype(np.uint16) if deep else whole_HWC.astype(np.uint8)


def _own(pixels_HWC: Pixels) -> Pixels:
    """Pixels that may be written: the decoder's may be a view that is shared."""
    return pixels_HWC if pixels_HWC.flags.writeable else pixels_HWC.copy()


def _report(cut: Cut, result: Restoration) -> FaceReport:
    if result.pixels_HWC is None:
        return replace(cut.report, status="failed", reason=result.trouble)
    return replace(cut.report, status="restored")


def _in_photo_colours(
    cut: Cut, result: Restoration, photo: DecodedPhoto, config: RestoreConfig
) -> Floats | None:
    """The restored face in the photo's colours and value range; none if there is none."""
    if result.pixels_HWC is None:
        return None
    crop_HWC = cut.crop_HWC.astype(np.float32)
    fixed_HWC = COLOUR_FIXES[config.colour](result.pixels_HWC.astype(np.float32), crop_HWC)
    face_HWC = _to_photo_colours(keep_grey(fixed_HWC, crop_HWC), photo.facts.icc)
    return face_HWC * np.float32(257 if photo.pixels_HWC.dtype == np.uint16 else 1)


def _to_photo_colours(face_HWC: Floats, icc: bytes | None) -> Floats:
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


def _write(outcome: Outcome, after_HWC: Pixels, facts: Facts, config: RestoreConfig) -> Outcome:
    name = format_of(outcome.target)
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
