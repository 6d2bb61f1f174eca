"""What the web page does with a photo, without the page: find its faces, restore those picked.

One look and one restoration run at a time, each with a decoding process of its own, so that
somebody may look at a photo while another's is restored.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from curation.colour import to_srgb
from curation.config import DecoderConfig
from curation.faces import NamedFinder
from curation.sandbox import Sandbox
from data_manifests.config import parse_section
from data_manifests.errors import AuthFaceError, InputError
from data_manifests.media import write_atomic
from data_manifests.store import file_sha256
from restore.app_folder import AppFolder
from restore.app_watch import Progress, StoppedError, Tell, WatchedRestorer
from restore.batch import plan_jobs
from restore.compare import to_jpeg
from restore.config import RestoreConfig
from restore.kit import open_kit
from restore.looking import Looked, look_at
from restore.outcome import FaceReport, Outcome, sidecar_of
from restore.photo import Source, begin, prepare, restore_photo
from restore.pipeline import Restorer
from restore.provenance import Carried

__all__ = ["MOST_PIXELS", "Asked", "Desk", "Made", "Seen", "plain_words"]

MOST_PIXELS = 120_000_000  # of the input, and of the output after it was enlarged
_DECODE_S = 60.0
_LAST_STEP_S = 60.0  # of a large model on a slow processor
_SMOOTH = cv2.INTER_CUBIC
_SHOWN = 1600  # px, long side of what the page shows


@dataclass(frozen=True, slots=True)
class Asked:
    """What a visitor may decide; the rest is the server's."""

    faces: str  # as in the settings: all, largest, 0,2 or a box
    fidelity: float
    seed: int
    steps: int
    upscale: float
    colour: str
    region: str = "face"
    improve_good: bool = False  # restore also what is good as it is


@dataclass(frozen=True, slots=True)
class Seen:
    """The faces of a photo, drawn into a picture of it; a reason says why one would be left."""

    preview: Path
    faces: tuple[FaceReport, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What was done; `pairs` are (what is shown, before, after)."""

    outcome: Outcome
    pairs: tuple[tuple[str, Path, Path], ...]

    @property
    def files(self) -> tuple[Path, Path] | None:
        """The output and its JSON file; none if no picture was written."""
        target = self.outcome.target
        return (target, sidecar_of(target)) if self.outcome.output_sha256 else None


class Desk:
    """A restorer, a face finder and decoding processes, for a page with many visitors."""

    def __init__(self, restorer: Restorer, finder: NamedFinder, folder: AppFolder) -> None:
        self.restorer = restorer
        self.folder = folder
        decoder = DecoderConfig(most_pixels=MOST_PIXELS, timeout_s=_DECODE_S)
        # A finder's model keeps state while it runs: each of the two gets its own.
        self._looking = _Seat(finder, Sandbox(decoder), threading.Lock())
        self._restoring = _Seat(replace(finder, _find=None), Sandbox(decoder), threading.Lock())
        self._closing = threading.Event()
        config = replace_settings(restorer.config, faces="all", aligned=False, improve_good=False)
        self._all = open_kit(WatchedRestorer(restorer, config, _quiet), finder)

    @property
    def may_repeat(self) -> bool:
        """True if a face that came out unlike its input is restored again."""
        return self.restorer.config.guard.enabled and not self.restorer.facts.tiny

    @property
    def is_closing(self) -> bool:
        """True once the server was told to end."""
        return self._closing.is_set()

    def stop(self) -> None:
        """Have what runs now end at its next step, and nothing more begin."""
        self._closing.set()

    def close(self) -> None:
        """Stop all work, wait for its end, and end the decoding processes."""
        self.stop()
        for seat in (self._looking, self._restoring):
            # Python would end in the middle of a thread that still computes, and abort.
            ended = seat.lock.acquire(timeout=_LAST_STEP_S)
            seat.sandbox.close()
            if ended:
                seat.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def look(self, upload: Path) -> Seen:
        """The photo's faces, numbered as `restore` numbers them; raises InputError."""
        _check_upload(upload)
        seat = self._looking
        with seat.lock, self.folder.work() as place:
            self._check_open()
            photo = seat.sandbox.read(upload)
            outcome = begin(upload, upload, self._all, file_sha256(upload))
            prepared = prepare(outcome, Source(photo, Carried()), self._all)
            reports = [*(cut.report for cut in prepared.cuts), *prepared.skipped]
            faces = tuple(sorted(reports, key=lambda face: face.index))
            srgb_HWC = to_srgb(photo.pixels_HWC, photo.facts.icc)
            preview = place / "faces.jpg"
            write_atomic(preview, _numbered(srgb_HWC, faces))
        return Seen(preview, faces)

    def restore(self, upload: Path, asked: Asked, tell: Tell | None = None) -> Made:
        """The photo with the faces that were asked for restored; raises InputError.

        The output has the upload's name, and its format where that can be written. What `tell`
        raises ends it, and then nothing is left of it.
        """
        _check_upload(upload)
        if not asked.faces.strip():
            raise InputError("No face is picked.", "Pick at least one face to restore.")
        config = self._config(asked)
        seat = self._restoring
        told = self._telling(tell or _quiet)
        with seat.lock, self.folder.work() as place:
            told(Progress("reading"))
            facts = seat.sandbox.look(upload)
            _check_output(facts.width, facts.height, config.upscale)
            source = place / "in" / upload.name
            source.parent.mkdir()
            shutil.copyfile(upload, source)  # the upload may be ten minutes old before we end
            out = place / "out"
            out.mkdir()
            outcome = restore_photo(
                source,
                plan_jobs(source, out)[0].target,
                restorer=WatchedRestorer(self.restorer, config, told),
                finder=seat.finder,
                sandbox=seat.sandbox,
            )
            told(Progress("writing"))
            looked = look_at(outcome, seat.sandbox.read)
            pairs = tuple(_pairs(looked, place)) if looked is not None else ()
        return Made(outcome, pairs)

    def _telling(self, tell: Tell) -> Tell:
        def told(progress: Progress) -> None:
            self._check_open()
            tell(progress)

        return told

    def _check_open(self) -> None:
        if self.is_closing:
            raise StoppedError("The server is being stopped.")

    def _config(self, asked: Asked) -> RestoreConfig:
        standing = self.restorer.config
        return replace_settings(
            standing,
            improve_good=asked.improve_good or standing.improve_good,
            # Vectors of a face need a consent, and nobody on the page gives one.
            guard=standing.guard.model_copy(update={"identity": False}).model_dump(),
            faces=asked.faces,
            fidelity=asked.fidelity,
            seed=asked.seed,
            steps=asked.steps,
            upscale=asked.upscale,
            colour=asked.colour,
            region=asked.region,
            upscaler=None,
            aligned=False,
            keep_private=False,
            overwrite=False,
        )


@dataclass(frozen=True, slots=True)
class _Seat:
    finder: NamedFinder
    sandbox: Sandbox
    lock: threading.Lock


def replace_settings(config: RestoreConfig, **values: object) -> RestoreConfig:
    """The settings with some changed, and checked; raises ConfigError."""
    return parse_section(RestoreConfig, {**config.model_dump(), **values}, "the page")


def plain_words(error: AuthFaceError) -> str:
    """What a visitor is told: not how the server is set up, nor where its files lie."""
    advice = "" if "[" in error.todo or "authface.toml" in error.todo else error.todo
    return f"{error.wrong} {advice}".strip()


def _quiet(_progress: Progress) -> None:
    """Tell nobody."""


def _check_upload(upload: Path) -> None:
    if not upload.is_file():
        raise InputError("This photo was deleted after ten minutes.", "Upload it again.")


def _check_output(width: int, height: int, upscale: float) -> None:
    if width * height * upscale**2 > MOST_PIXELS:
        size = f"{width * upscale / 1000:.1f} x {height * upscale / 1000:.1f} thousand pixels"
        raise InputError(
            f"Enlarged {upscale:g} times, this photo would have {size}.",
            f"At most {MOST_PIXELS / 1e6:g} million pixels are made: enlarge it less.",
        )


def _numbered(srgb_HWC: NDArray[np.uint8], faces: Sequence[FaceReport]) -> bytes:
    """The photo as JPEG with a numbered box around each face, grey where it would be left."""
    height, width = srgb_HWC.shape[:2]
    share = min(1.0, _SHOWN / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small_HWC = cv2.resize(srgb_HWC, size, interpolation=cv2.INTER_AREA)
    picture = Image.fromarray(small_HWC)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(size) / 400))
    font = ImageFont.load_default(max(18, round(max(size) / 28)))
    for face in faces:
        ink = (150, 150, 150) if face.reason else (255, 214, 0)
        left, top, right, bottom = (
            v * share for v in (face.box.left, face.box.top, face.box.right, face.box.bottom)
        )
        draw.rectangle((left, top, right, bottom), outline=ink, width=line)
        text = f" {face.index} "
        _, _, wide, high = draw.textbbox((0, 0), text, font)
        at = (left, max(0.0, top - high - 2 * line))  # above the face, inside the picture
        draw.rectangle((*at, at[0] + wide, at[1] + high + 2 * line), fill=ink)
        draw.text(at, text, (0, 0, 0), font)
    return to_jpeg(np.asarray(picture), _SHOWN)


def _pairs(looked: Looked, place: Path) -> Iterator[tuple[str, Path, Path]]:
    """Pictures to compare: the whole photo, and each restored face."""
    if looked.after_HWC is None:
        return
    shown = [("Whole photo", looked.before_HWC, looked.after_HWC)]
    shown += [(f"Face {z.face.index}", z.before_HWC, z.after_HWC) for z in looked.zooms]
    for number, (label, before_HWC, after_HWC) in enumerate(shown):
        before, after = place / f"before-{number}.jpg", place / f"after-{number}.jpg"
        write_atomic(after, to_jpeg(after_HWC, _SHOWN, made=True))
        size = after_HWC.shape[1::-1]  # larger where the photo was enlarged
        same = before_HWC.shape == after_HWC.shape
        shown_HWC = before_HWC if same else cv2.resize(before_HWC, size, interpolation=_SMOOTH)
        write_atomic(before, to_jpeg(shown_HWC, _SHOWN))
        yield label, before, after
