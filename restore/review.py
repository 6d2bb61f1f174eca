"""Doubtful restorations become questions: a before | after | difference picture and a Task."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_manifests.media import write_media
from data_manifests.records import Box, Photo, Task
from data_manifests.store import Store, file_sha256
from restore.evaluate import FaceScore, Score, read_srgb

__all__ = ["ask_for_review", "stitch"]

Pixels = NDArray[np.uint8]

_SIDE, _STRIP, _GAP = 640, 36, 8  # px
_GAIN = 4  # differences are shown this much stronger
_MARGIN = 1.6  # of the face box


def ask_for_review(scores: Iterable[Score], store: Store, media: Path) -> list[Task]:
    """The new waiting tasks, one per doubtful photo; asking twice about one result adds nothing.

    A photo is known by its input, else by its reference, and if the workspace holds neither, by the
    hash of the input: what is restored here need not have been ingested.
    """
    known = {photo.photo_id for photo in store.read(Photo)}
    asked = [task for task in store.read(Task) if task.kind == "review"]
    tasks: list[Task] = []
    for score in scores:
        if score.doubts:
            photo_id = _photo_id(score, known)
            earlier = [task for task in (*asked, *tasks) if task.photo_id == photo_id]
            task = _task(photo_id, score, earlier, media)
            tasks += [task] if task is not None else []
    if tasks:
        store.upsert(Task, tasks, why="doubtful restorations to review")
    return tasks


def _photo_id(score: Score, known: set[str]) -> str:
    hashes = [file_sha256(p) for p in (score.source, score.pair.reference) if p is not None]
    return next((h for h in hashes if h in known), hashes[0])


def _task(photo_id: str, score: Score, earlier: Sequence[Task], media: Path) -> Task | None:
    worst = max(score.doubts, key=lambda r: (r.landmark_shift or 0, -r.psnr_db))
    before = read_srgb(score.source or score.pair.reference)
    picture = stitch(
        before, read_srgb(score.pair.restored), worst.box, has_input=bool(score.source)
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
        task_key=f"{photo_id}:review:{number}",
        photo_id=photo_id,
        kind="review",
        round=number,
        state="waiting",
        image_path=path,
        image_width=width,
        image_height=height,
        note=_note(worst, score),
    )


def _note(worst: FaceScore, score: Score) -> str:
    more = len(score.doubts) - 1
    return f"restored face: {worst.doubt}" + (f" (and {more} more doubtful faces)" if more else "")


def stitch(before_HWC: Pixels, after_HWC: Pixels, box: Box | None, *, has_input: bool) -> bytes:
    """A JPEG of before, after and their difference side by side, cut around the box."""
    part = _around(box, after_HWC.shape)
    before_HWC, after_HWC = _fit(before_HWC[part]), _fit(after_HWC[part])
    change_HWC = np.minimum(cv2.absdiff(before_HWC, after_HWC).astype(np.uint16) * _GAIN, 255)
    panels = (
        ("before" if has_input else "reference", before_HWC),
        ("after", after_HWC),
        (f"difference x{_GAIN}", change_HWC.astype(np.uint8)),
    )
    height, width = after_HWC.shape[:2]
    sheet = Image.new("RGB", (3 * width + 2 * _GAP, height + _STRIP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for i, (title, panel_HWC) in enumerate(panels):
        left = i * (width + _GAP)
        draw.text((left + 6, 6), title, fill="black", font=font)
        sheet.paste(Image.fromarray(panel_HWC), (left, _STRIP))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=90)
    return out.getvalue()


def _around(box: Box | None, shape: tuple[int, ...]) -> tuple[slice, slice]:
    if box is None:
        return slice(None), slice(None)
    half = max(box.width, box.height) * _MARGIN / 2
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    rows = slice(max(0, int(y - half)), min(shape[0], round(y + half)))
    return rows, slice(max(0, int(x - half)), min(shape[1], round(x + half)))


def _fit(pixels_HWC: Pixels) -> Pixels:
    """The picture with its longer side at _SIDE, so that a small face can be judged too."""
    height, width = pixels_HWC.shape[:2]
    share = _SIDE / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    fitted: Pixels = cv2.resize(np.ascontiguousarray(pixels_HWC), size, interpolation=way)
    return fitted
