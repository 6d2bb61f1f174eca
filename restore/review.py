"""Doubtful restorations become questions: a picture of before, after and difference, and a Task."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_manifests.media import write_media
from data_manifests.records import Box, Photo, Task
from data_manifests.store import Store, file_sha256
from restore.consents import against_looking
from restore.evaluate import FaceScore, Score, read_srgb
from restore.reviewed import RESTORED_FACE

__all__ = ["Asked", "Doubtful", "ask_about", "ask_for_review", "stitch"]

Pixels = NDArray[np.uint8]

_SIDE, _STRIP, _GAP = 640, 40, 8  # px
_GAIN = 4  # differences are shown this much stronger
_MARGIN = 1.6  # of the face box


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """A restored face that somebody should look at; the files are those before and after."""

    source: Path
    target: Path
    photo_id: str  # SHA-256 of the source, whether or not it was ingested
    box: Box  # in pixels of the source
    doubt: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking did: new waiting tasks, photos asked about before, and those that may not be
    looked at, by what speaks against it."""

    tasks: tuple[Task, ...] = ()
    before: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """One line for people, empty if there was nothing to ask."""
        said = []
        if self.tasks:
            count = len(self.tasks)
            waits = "1 review task waits" if count == 1 else f"{count} review tasks wait"
            said.append(f"{waits}; `authface annotate push` sends what waits")
        if self.before:
            said.append(f"{_photos(self.before)} asked about before")
        said += [
            f"{_photos(n)} not asked about ({why}): see `authface consent list`"
            for why, n in sorted(self.refused.items())
        ]
        return "; ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One photo's worst face, to be shown."""

    photo_id: str
    before: Path
    after: Path
    box: Box | None
    has_input: bool
    note: str
    name: str  # of the file, which the question says where the photos' table does not know it


def ask_about(doubtful: Iterable[Doubtful], store: Store, media: Path) -> Asked:
    """One waiting task per photo, about its first doubtful face; give the worst one first.

    A photo that was not ingested goes by the hash of its file and has no consent here: who restores
    it decides with their own people. One whose consent speaks against being looked at, or that was
    erased, is counted and not asked about. Asking twice about one result adds nothing.
    """
    by_photo = groupby(sorted(doubtful, key=lambda d: d.photo_id), key=lambda d: d.photo_id)
    questions = []
    for photo_id, group in by_photo:
        first, *more = group
        questions.append(
            _Question(
                photo_id=photo_id,
                before=first.source,
                after=first.target,
                box=first.box,
                has_input=True,
                note=_note(first.doubt, len(more)),
                name=first.source.name,
            )
        )
    return _ask(questions, store, media)


def ask_for_review(scores: Iterable[Score], store: Store, media: Path) -> list[Task]:
    """The new waiting tasks, one per doubtful photo; asking twice about one result adds nothing.

    A photo is known by its input, else by its reference, and if the workspace holds neither, by the
    hash of the input: what is restored here need not have been ingested. Those that may not be
    looked at are left out, as `ask_about` does.
    """
    known = {photo.photo_id for photo in store.read(Photo)}
    questions = []
    for score in scores:
        if score.doubts:
            worst = max(score.doubts, key=_badness)
            questions.append(
                _Question(
                    photo_id=_photo_id(score, known),
                    before=score.source or score.pair.reference,
                    after=score.pair.restored,
                    box=worst.box,
                    has_input=bool(score.source),
                    note=_note(worst.doubt, len(score.doubts) - 1),
                    name=(score.source or score.pair.reference).name,
                )
            )
    return list(_ask(questions, store, media).tasks)


def _badness(region: FaceScore) -> tuple[float, float]:
    return region.landmark_shift or 0, -region.psnr_db


def _photo_id(score: Score, known: set[str]) -> str:
    hashes = [file_sha256(p) for p in (score.source, score.pair.reference) if p is not None]
    return next((h for h in hashes if h in known), hashes[0])


def _note(doubt: str, more: int) -> str:
    others = "" if not more else f" (and {more} more doubtful face{'s' if more > 1 else ''})"
    return f"{RESTORED_FACE}: {doubt}{others}"


def _ask(questions: Sequence[_Question], store: Store, media: Path) -> Asked:
    asked = [task for task in store.read(Task) if task.kind == "review"]
    against = against_looking({q.photo_id for q in questions}, store)
    known = {photo.photo_id for photo in store.read(Photo)}
    tasks: list[Task] = []
    before = 0
    for question in questions:
        if question.photo_id in against:
            continue
        earlier = [task for task in (*asked, *tasks) if task.photo_id == question.photo_id]
        named = "" if question.photo_id in known else f"{question.name}, "
        task = _task(replace(question, note=f"{named}{question.note}"), earlier, media)
        tasks += [task] if task is not None else []
        before += task is None
    if tasks:
        store.upsert(Task, tasks, why="doubtful restorations to review")
    return Asked(tuple(tasks), before, Counter(against.values()))


def _task(question: _Question, earlier: Sequence[Task], media: Path) -> Task | None:
    """The waiting task; none if the last one about this photo shows the very same picture."""
    picture = stitch(
        read_srgb(question.before),
        read_srgb(question.after),
        question.box,
        has_input=question.has_input,
    )
    path, _ = write_media(media, "review", picture, ".jpg")
    last = max(earlier, key=lambda task: task.round, default=None)
    if last is not None and last.image_path == path:
        return None
    # A waiting question about a retouch is another question: its row is left alone.
    free = last is None or (last.state == "waiting" and last.retouch_id is None)
    number = (last.round if last else 1) + (not free)
    width, height = Image.open(io.BytesIO(picture)).size
    return Task(
        task_key=f"{question.photo_id}:review:{number}",
        photo_id=question.photo_id,
        kind="review",
        round=number,
        state="waiting",
        image_path=path,
        image_width=width,
        image_height=height,
        note=question.note,
    )


def stitch(before_HWC: Pixels, after_HWC: Pixels, box: Box | None, *, has_input: bool) -> bytes:
    """A JPEG of before and after side by side, cut around the box; beside them, smaller, their
    difference and the whole photo with the box.

    The box is in pixels of `before_HWC`; the after may be an enlargement of it.
    """
    shares = (after_HWC.shape[0] / before_HWC.shape[0], after_HWC.shape[1] / before_HWC.shape[1])
    whole_HWC = before_HWC
    before_HWC = _fit(before_HWC[_around(box, before_HWC.shape, (1.0, 1.0))])
    after_HWC = _fit(after_HWC[_around(box, after_HWC.shape, shares)])
    if before_HWC.shape != after_HWC.shape:
        size = (after_HWC.shape[1], after_HWC.shape[0])
        before_HWC = np.asarray(cv2.resize(before_HWC, size), dtype=np.uint8)
    change_HWC = np.minimum(cv2.absdiff(before_HWC, after_HWC).astype(np.uint16) * _GAIN, 255)
    height, width = after_HWC.shape[:2]
    half = (width // 2, height // 2)
    change = Image.fromarray(change_HWC.astype(np.uint8)).resize(half)
    panels = (
        ("before" if has_input else "reference", Image.fromarray(before_HWC), (0, 0)),
        ("after", Image.fromarray(after_HWC), (width + _GAP, 0)),
        (f"difference x{_GAIN}", change, (2 * (width + _GAP), 0)),
        ("the whole photo", _whole(whole_HWC, box, half), (2 * (width + _GAP), half[1] + _STRIP)),
    )
    sheet = Image.new("RGB", (2 * (width + _GAP) + half[0], height + _STRIP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(26)
    for title, panel, (left, top) in panels:
        draw.text((left + 6, top + 4), title, fill="black", font=font)
        sheet.paste(panel, (left, top + _STRIP))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=90)
    return out.getvalue()


def _whole(photo_HWC: Pixels, box: Box | None, half: tuple[int, int]) -> Image.Image:
    """The photo, so small that it fits below the difference, with the face's place."""
    height, width = photo_HWC.shape[:2]
    share = min(half[0] / width, max(1, half[1] - _STRIP) / height)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = Image.fromarray(cv2.resize(photo_HWC, size, interpolation=cv2.INTER_AREA))
    if box is not None:
        place = [v * share for v in (box.left, box.top, box.right, box.bottom)]
        ImageDraw.Draw(small).rectangle(place, outline=(255, 214, 0), width=3)
    return small


def _around(
    box: Box | None, shape: tuple[int, ...], shares: tuple[float, float]
) -> tuple[slice, slice]:
    """The place about the box; `shares` are the picture's height and width over the box's own."""
    if box is None:
        return slice(None), slice(None)
    half = max(box.width, box.height) * _MARGIN / 2
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    down, across = shares
    rows = slice(max(0, int((y - half) * down)), min(shape[0], round((y + half) * down)))
    return rows, slice(max(0, int((x - half) * across)), min(shape[1], round((x + half) * across)))


def _fit(pixels_HWC: Pixels) -> Pixels:
    """The picture with its longer side at _SIDE, so that a small face can be judged too."""
    height, width = pixels_HWC.shape[:2]
    share = _SIDE / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    fitted: Pixels = cv2.resize(np.ascontiguousarray(pixels_HWC), size, interpolation=way)
    return fitted


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
