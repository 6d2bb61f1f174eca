"""Before | after | difference at 1:1, the question about it, and its outcome. Pure."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from annotation.retouch_pixels import Pixels
from data_manifests.records import Annotation, Box, Retouch, Task

__all__ = [
    "Reviewed",
    "compare",
    "outdated_reviews",
    "review_outcome",
    "review_outcomes",
    "review_task",
    "superseded",
    "warnings",
]

_WIDTH, _STRIP, _GAP = 2048, 36, 4  # px
_GAIN = 4  # differences are shown this much stronger, around grey
_MARGIN = 1.5  # of the face's box
_PLACES = 3  # shown at the most
_GRAIN = 9  # px over which the grain of a saved file evens out
_PLAIN = 8  # times the grain's strength that a change must have
_LEAST_CHANGE = 16.0  # grey levels, squared
_AS_PLAIN = 0.1  # of the change in the first window
_STATES = {"approve": "approved", "fix": "fix", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The row after its review, and the round that opens (none unless it goes back)."""

    retouch: Retouch
    next_round: int | None = None


def compare(before_HWC: Pixels, after_HWC: Pixels, face: Box) -> tuple[bytes, int, int]:
    """(JPEG, width, height) of three panels at 1:1, at most 2048 px wide; pictures are of one size.

    They show the face with a margin; of a face too large for that, or that nobody touched, the part
    that changed most. Up to two places more that changed as plainly stand below. The difference is
    centred on grey: lighter or darker there is lighter or darker in the retouch.
    """
    # Squared, so that one healed spot outweighs the rounding that any saved file has everywhere.
    change_HW = np.square(cv2.absdiff(before_HWC, after_HWC).max(axis=2), dtype=np.float32)
    first = _shown(change_HW, face)
    parts = [first, *_further(change_HW, first)]
    rows = [_panels(before_HWC[part], after_HWC[part]) for part in parts]
    sides = [(r.stop - r.start + _STRIP, c.stop - c.start) for r, c in parts]
    width = 3 * max(w for _, w in sides) + 2 * _GAP
    sheet = Image.new("RGB", (width, sum(h for h, _ in sides)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    top = 0
    for number, (panels, (height, wide)) in enumerate(zip(rows, sides, strict=True), 1):
        place = f", place {number} of {len(parts)}" if len(parts) > 1 else ""
        for i, (title, panel_HWC) in enumerate(panels):
            left = i * (wide + _GAP)
            draw.text((left + 6, top + 6), f"{title}{place}", fill="black", font=font)
            sheet.paste(Image.fromarray(panel_HWC), (left, top + _STRIP))
        top += height
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue(), *sheet.size


def _panels(before_HWC: Pixels, after_HWC: Pixels) -> tuple[tuple[str, Pixels], ...]:
    change = 128 + _GAIN * (after_HWC.astype(np.int16) - before_HWC.astype(np.int16))
    difference_HWC = np.clip(change, 0, 255).astype(np.uint8)
    named = ("before", before_HWC), ("after", after_HWC), (f"difference x{_GAIN}", difference_HWC)
    return tuple((title, np.ascontiguousarray(panel_HWC)) for title, panel_HWC in named)


def review_task(
    retouch: Retouch, picture: tuple[str, int, int], tasks: Iterable[Task]
) -> Task | None:
    """The waiting question about a retouch that passed its checks; none if it was asked already.

    `picture` is (path relative to media/, width, height). The round is the retouch's, or the next
    one free where another review of the photo has that number.
    """
    asked = [t for t in tasks if t.kind == "review" and t.photo_id == retouch.photo_id]
    if retouch.state != "waiting" or any(t.retouch_id == retouch.retouch_id for t in asked):
        return None
    number, taken = retouch.round, {t.round for t in asked}
    while number in taken:
        number += 1
    warned = "; ".join(warnings(retouch))
    return Task(
        task_key=f"{retouch.photo_id}:review:{number}",
        photo_id=retouch.photo_id,
        kind="review",
        round=number,
        state="waiting",
        image_path=picture[0],
        image_width=picture[1],
        image_height=picture[2],
        note=f"retouch, round {retouch.round}" + (f": {warned}" if warned else ""),
        retouch_id=retouch.retouch_id,
    )


def warnings(retouch: Retouch) -> list[str]:
    """What its checks tell the reviewer though they let it pass."""
    told = [v for v in retouch.verdicts if v.keep and v.reason and v.gate != "found"]
    return [v.reason for v in told if not (v.gate == "identity" and v.value is None)]


def superseded(
    retouch: Retouch, newer: Retouch, tasks: Iterable[Task]
) -> tuple[Retouch, list[Task]]:
    """A waiting retouch that a newer file took the place of, and its open questions.

    One that was not sent is withdrawn at once, one that a server has by the next push to it, unless
    somebody answered it.
    """
    why = f"round {newer.round} came back before it was reviewed"
    asked = [t for t in tasks if t.retouch_id == retouch.retouch_id]
    unsent = [replace(t, state="deleted", note=why) for t in asked if t.state == "waiting"]
    sent = [replace(t, note=why) for t in asked if t.state == "sent"]
    return replace(retouch, state="superseded", reasons=(why,)), unsent + sent


def outdated_reviews(retouches: Iterable[Retouch], tasks: Iterable[Task]) -> frozenset[str]:
    """Keys of the reviews of pictures that a newer one took the place of: a returned file, or a
    restoration of the same photo."""
    replaced = {r.retouch_id for r in retouches if r.state == "superseded"}
    asked = [t for t in tasks if t.kind == "review"]
    newest: dict[str, int] = {}
    for task in asked:
        if task.retouch_id is None and task.state != "deleted":
            newest[task.photo_id] = max(task.round, newest.get(task.photo_id, 0))
    return frozenset(
        t.task_key
        for t in asked
        if t.retouch_id in replaced
        or (t.retouch_id is None and t.round < newest.get(t.photo_id, 0))
    )


def review_outcome(
    retouch: Retouch, answers: Iterable[Annotation], *, wanted: int = 1, majority: float = 0.5
) -> Reviewed:
    """The retouch as its reviewers leave it: approved, fix or rejected by more than `majority`.

    It waits on until `wanted` have answered and agree, and waits again if answers are withdrawn.
    What its checks sent back, or a newer file superseded, stays so.
    """
    if retouch.state == "superseded":
        return Reviewed(retouch)
    if any(not v.keep for v in retouch.verdicts):
        return Reviewed(retouch, retouch.round + 1)
    voters = [
        a for a in answers if a.state == "counted" and not a.ground_truth and a.decision in _STATES
    ]
    counts = Counter(a.decision for a in voters)
    leader, votes = counts.most_common(1)[0] if counts else (None, 0)
    if leader is None or len(voters) < wanted or votes <= majority * len(voters):
        return Reviewed(replace(retouch, state="waiting", reasons=()))
    said = [a for a in voters if a.decision == leader]
    after = replace(
        retouch, state=_STATES[leader], reasons=_words(said) if leader != "approve" else ()
    )
    return Reviewed(after, retouch.round + 1 if leader == "fix" else None)


def review_outcomes(
    retouches: Iterable[Retouch],
    tasks: Iterable[Task],
    answers: Iterable[Annotation],
    *,
    wanted: int = 1,
    majority: float = 0.5,
) -> list[Retouch]:
    """Every retouch as its reviewers leave it; those that did not change are among them."""
    about = {t.task_key: t.retouch_id for t in tasks if t.kind == "review" and t.retouch_id}
    by_retouch: dict[str, list[Annotation]] = {}
    for one in answers:
        if (key := about.get(one.task_key)) is not None:
            by_retouch.setdefault(key, []).append(one)
    return [
        review_outcome(r, by_retouch[r.retouch_id], wanted=wanted, majority=majority).retouch
        if r.retouch_id in by_retouch
        else r
        for r in retouches
    ]


def _words(said: Sequence[Annotation]) -> tuple[str, ...]:
    """Reasons that at least half of them gave, then their notes."""
    counts = Counter(reason for a in said for reason in set(a.reasons))
    shared = tuple(r for r, n in sorted(counts.items()) if 2 * n >= len(said))
    return (*shared, *(a.note for a in said if a.note))


def _shown(change_HW: NDArray[np.float32], face: Box) -> tuple[slice, slice]:
    """The window that the panels show."""
    most = (_WIDTH - 2 * _GAP) // 3
    side = max(face.width, face.height) * _MARGIN
    middle = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    near = _window(middle, side, change_HW.shape)
    touched = bool(change_HW[near].any())
    if (touched and side <= most) or not change_HW.any():
        return _window(middle, min(side, most), change_HW.shape)
    if not touched:
        near = _window(middle, 2 * max(change_HW.shape), change_HW.shape)
    top, left = near[0].start, near[1].start
    x, y = _strongest(change_HW[near], most)
    return _window((left + x, top + y), most, change_HW.shape)


def _further(
    change_HW: NDArray[np.float32], first: tuple[slice, slice]
) -> Iterator[tuple[slice, slice]]:
    """Windows on what else changed, the strongest first; the grain of a saved file is no change."""
    local_HW = cv2.boxFilter(change_HW, -1, (_GRAIN, _GRAIN))
    grain = float(np.median(local_HW[::_GRAIN, ::_GRAIN]))
    local_HW[local_HW <= max(_PLAIN * grain, _LEAST_CHANGE)] = 0
    side = (_WIDTH - 2 * _GAP) // 3
    enough = _AS_PLAIN * float(local_HW[first].sum())
    local_HW[first] = 0
    for _ in range(_PLACES - 1):
        if not local_HW.any():
            return
        found = _window(_strongest(local_HW, side), side, local_HW.shape)
        if float(local_HW[found].sum()) < enough:
            return
        yield found
        local_HW[found] = 0


def _strongest(change_HW: NDArray[np.float32], side: int) -> tuple[float, float]:
    """Where the window with the most change has its centre of change, as (x, y) in px."""
    sums_HW = cv2.boxFilter(change_HW, -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(sums_HW.argmax()), sums_HW.shape)
    rows, columns = _window((float(x), float(y)), side, change_HW.shape)
    found_HW = change_HW[rows, columns].astype(np.float64)
    along_x, along_y = found_HW.sum(axis=0), found_HW.sum(axis=1)
    return (
        columns.start + float(np.average(np.arange(len(along_x)), weights=along_x)),
        rows.start + float(np.average(np.arange(len(along_y)), weights=along_y)),
    )


def _window(middle: tuple[float, float], side: float, shape: Sequence[int]) -> tuple[slice, slice]:
    left, top = (max(0, int(v - side / 2)) for v in middle)
    return slice(top, min(shape[0], top + int(side))), slice(left, min(shape[1], left + int(side)))
