"""A whole photo: find its faces, restore them, paste them back, write it. Touches the disk.

Pixel states: file's colours (HWC, uint8 or uint16) -> sRGB uint8 for finder and model -> the
restored crop in sRGB uint16 -> the file's colours, float32, where they are matched -> its bits
again, inside the masks only. Everything else keeps its bits. `prepare` and `finish` are the halves
before and after the model, so that a batch can run them while the model works on other photos.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.colour import to_srgb
from curation.decode import DecodedPhoto, Pixels, read_photo
from curation.faces import NamedFinder
from curation.sandbox import Sandbox
from data_manifests.errors import InputError
from data_manifests.media import write_atomic
from data_manifests.store import file_sha256
from restore.blend import paste
from restore.colour import COLOUR_FIXES, keep_grey
from restore.config import RestoreConfig
from restore.containers import format_of
from restore.cutting import Cut, cut_aligned, cut_faces, cut_own, others_of
from restore.enlarge import Upscaler, enlarge
from restore.gamut import to_photo_colours
from restore.harm import already_good
from restore.kit import Kit, Tried, open_kit
from restore.outcome import FaceReport, Outcome, read_sidecar, sidecar_of, status_of
from restore.pipeline import Restorer
from restore.provenance import Carried, read_carried
from restore.wanted import parse_wanted

__all__ = [
    "Prepared",
    "Source",
    "begin",
    "check_target",
    "finish",
    "open_source",
    "prepare",
    "restore_photo",
    "timed",
]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A decoded photo, and what its metadata brings along."""

    photo: DecodedPhoto
    carried: Carried


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photo whose faces wait for the model; without cuts it holds no pixels either."""

    outcome: Outcome
    source: Source | None
    cuts: tuple[Cut, ...]
    skipped: tuple[FaceReport, ...]


def restore_photo(
    source: Path,
    target: Path,
    *,
    restorer: Restorer,
    finder: NamedFinder,
    sandbox: Sandbox | None = None,
    upscaler: Upscaler | None = None,
) -> Outcome:
    """What was done, after `target` and the JSON file beside it were written.

    The settings are the restorer's. If no face could be restored no picture is written: a copy of
    the input would pass for a result. A stranger's file is opened in a `sandbox`, else in this
    process. Raises UnreadablePhoto, InputError and StorageError.
    """
    kit = open_kit(restorer, finder, upscaler=upscaler)
    format_of(target)
    check_target(source, target, overwrite=kit.config.overwrite)
    outcome = begin(source, target, kit, file_sha256(source))
    with timed(outcome.seconds, "read"):
        decoded = open_source(source, sandbox, kit)
    prepared = prepare(outcome, decoded, kit)
    tried = kit.run(prepared.cuts) if prepared.cuts else []
    outcome.seconds["restore"] = sum(one.model_s for one in tried)
    outcome.seconds["judge"] = sum(one.judge_s for one in tried)
    return finish(prepared, tried, kit)


def open_source(path: Path, sandbox: Sandbox | None, kit: Kit) -> Source:
    """The decoded photo, its pixels the caller's if a sandbox read it, and its metadata."""
    private = kit.config.keep_private
    if sandbox is None:
        return Source(read_photo(path), read_carried(path, keep_private=private))
    photo = sandbox.read(path, writable=True)
    return Source(photo, read_carried(path, keep_private=private, read=sandbox.blocks))


def begin(source: Path, target: Path, kit: Kit, input_sha256: str = "") -> Outcome:
    """The outcome of a photo that nothing was done to yet."""
    return Outcome(
        source=source,
        target=target,
        status="nothing",
        input_sha256=input_sha256,
        finder=kit.finder.name,
        model=kit.restorer.facts,
        key=kit.key,
        not_measured=kit.guard.notes,
        seconds={},
    )


def prepare(outcome: Outcome, source: Source, kit: Kit) -> Prepared:
    """The photo with the faces that the model is to restore, found and cut out."""
    photo, config = source.photo, kit.config
    outcome = replace(outcome, notes=photo.facts.notes)
    with timed(outcome.seconds, "find"):
        srgb_HWC, sha256 = to_srgb(photo.pixels_HWC, photo.facts.icc), outcome.input_sha256
        if config.aligned:
            cuts, skipped = [cut_aligned(srgb_HWC, kit.model, config, sha256)], list[FaceReport]()
        else:
            cuts, skipped = cut_faces(srgb_HWC, kit.finder, kit.model, config, sha256)
            boxes = [face.box for face in (*(cut.report for cut in cuts), *skipped)]
            if unmet := parse_wanted(config.faces).unmet(boxes):
                outcome = replace(outcome, notes=(*outcome.notes, unmet))
        cuts, good = _without_good(cuts, photo.facts.jpeg_quality, config)
    return Prepared(outcome, source if cuts else None, tuple(cuts), (*skipped, *good))


def _without_good(
    cuts: Sequence[Cut], jpeg_quality: int | None, config: RestoreConfig
) -> tuple[list[Cut], list[FaceReport]]:
    """The faces that need restoring, and the reports of those that are good already."""
    if config.improve_good:
        return list(cuts), []
    whys = [
        already_good(cut.crop_HWC, cut.report.scale or 0, config.good, jpeg_quality=jpeg_quality)
        for cut in cuts
    ]
    poor = [cut for cut, why in zip(cuts, whys, strict=True) if not why]
    good = [replace(c.report, reason=why) for c, why in zip(cuts, whys, strict=True) if why]
    return poor, good


def finish(prepared: Prepared, tried: Sequence[Tried], kit: Kit) -> Outcome:
    """What was done, after the output and its sidecar were written."""
    outcome, source = prepared.outcome, prepared.source
    done = [kit.report(cut, one) for cut, one in zip(prepared.cuts, tried, strict=True)]
    reports = tuple(sorted((*prepared.skipped, *done), key=lambda f: f.index))
    after_HWC: Pixels | None = None
    with timed(outcome.seconds, "paste"):
        if source is not None:
            made = [(c, _shares(t)) for c, t in zip(prepared.cuts, tried, strict=True)]
            faces = [(cut, face_HWC) for cut, face_HWC in made if face_HWC is not None]
            after_HWC = _put_back(source.photo, faces, reports, kit) if faces else None
    outcome = replace(outcome, faces=reports, status=status_of(reports))
    if source is None or after_HWC is None:
        _write_refusal(outcome, kit.config)
        return outcome
    with timed(outcome.seconds, "write"):
        return _write(outcome, after_HWC, source, kit)


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


def _shares(tried: Tried) -> Floats | None:
    """The kept face in sRGB, 0 to 255, with all the steps that the model made; none of one left."""
    deep_HWC, pixels_HWC = tried.kept.deep_HWC, tried.kept.pixels_HWC
    if deep_HWC is not None:
        return deep_HWC.astype(np.float32) / np.float32(257)
    return None if pixels_HWC is None else pixels_HWC.astype(np.float32)


def _put_back(
    photo: DecodedPhoto,
    faces: Sequence[tuple[Cut, Floats]],
    reports: Sequence[FaceReport],
    kit: Kit,
) -> Pixels:
    """The photo with the restored faces in it."""
    config, size = kit.config, kit.model.size
    # All before the first is pasted: a face may lie in another's crop.
    theirs = [_in_photo_colours(cut, face_HWC, photo, config) for cut, face_HWC in faces]
    if config.aligned:
        return _rounded(theirs[0], deep=photo.pixels_HWC.dtype == np.uint16)
    after_HWC = _own(enlarge(photo.pixels_HWC, config.upscale, kit.upscaler))
    grown_2 = np.divide(after_HWC.shape[1::-1], photo.pixels_HWC.shape[1::-1])
    for (cut, _), face_HWC in zip(faces, theirs, strict=True):
        # A head reaches over its neighbours, a face does not.
        others = others_of(cut.report, reports, size) if config.region == "head" else []
        spared = [_grown(matrix_23, grown_2) for matrix_23 in others]
        matrix_23 = _grown(cut.matrix_23, grown_2)
        paste(after_HWC, face_HWC, matrix_23, region=config.region, spared=spared)
    return after_HWC


def _grown(matrix_23: NDArray[np.float64], grown_2: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix from pixels of the enlarged photo."""
    return np.column_stack([matrix_23[:, :2] / grown_2, matrix_23[:, 2]])


def _rounded(face_HWC: Floats, *, deep: bool) -> Pixels:
    whole_HWC = np.clip(np.rint(face_HWC), 0, 65535 if deep else 255)
    return whole_HWC.astype(np.uint16) if deep else whole_HWC.astype(np.uint8)


def _own(pixels_HWC: Pixels) -> Pixels:
    """Pixels that may be written: the decoder's may be a view that is shared."""
    return pixels_HWC if pixels_HWC.flags.writeable else pixels_HWC.copy()


def _in_photo_colours(
    cut: Cut, face_HWC: Floats, photo: DecodedPhoto, config: RestoreConfig
) -> Floats:
    """The restored face in the photo's colours and value range.

    The colours are matched there, to the photo's own: beyond sRGB and between its 8-bit steps.
    """
    scale = np.float32(257 if photo.pixels_HWC.dtype == np.uint16 else 1)
    own: Pixels = cut.crop_HWC
    if scale > 1 or photo.facts.icc is not None:
        own = cut_own(photo.pixels_HWC, cut.matrix_23, cut.crop_HWC.shape[0])
    own_HWC = own.astype(np.float32) / (scale if own.dtype == np.uint16 else 1)
    theirs_HWC = to_photo_colours(face_HWC, photo.facts.icc)
    fixed_HWC = COLOUR_FIXES[config.colour](theirs_HWC, own_HWC)
    return keep_grey(fixed_HWC, own_HWC) * scale


def _write(outcome: Outcome, after_HWC: Pixels, source: Source, kit: Kit) -> Outcome:
    data, notes = kit.writer.to_bytes(
        after_HWC, source.photo, source.carried, source=outcome.source, target=outcome.target
    )
    if kit.upscaler is not None and not kit.config.aligned:
        said = f"enlarged by {kit.upscaler.name} (SHA-256 {kit.upscaler.sha256[:12]})"
        notes = (*notes, said)
    sha256 = hashlib.sha256(data).hexdigest()
    outcome = replace(outcome, notes=(*outcome.notes, *notes), output_sha256=sha256)
    # The sidecar first: a picture that is there was always accounted for.
    write_atomic(sidecar_of(outcome.target), outcome.to_json(kit.config))
    write_atomic(outcome.target, data)
    return outcome


def _write_refusal(outcome: Outcome, config: RestoreConfig) -> None:
    """The sidecar alone; an earlier run's output is taken away: it is no longer the result."""
    if read_sidecar(outcome.target) is not None:
        outcome.target.unlink(missing_ok=True)
    write_atomic(sidecar_of(outcome.target), outcome.to_json(config))
