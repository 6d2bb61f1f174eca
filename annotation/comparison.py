"""Before | after | difference at 1:1, the question about it, and its outcome. Pure."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from annotation.retouch_pixels import Pixels
from data_manifests.records import Annotation, Box, Retouch, Task

__all__ = [
    "Reviewed",
    "compare",
    "review_outcome",
    "review_outcomes",
    "review_task",
    "superseded",
    "warnings",
]

_WIDTH, _STRIP, _GAP = 2048, 36, 4  # px
_GAIN = 4  # differences are shown this much stronger, around grey
_MARGIN = 1.5  # of the face's box
_STATES = {"approve": "approved", "fix": "fix", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The row after its review, and the round that opens (none unless it goes back)."""

    retouch: Retouch
    next_round: int | None = None


def compare(before_HWC: Pixels, after_HWC: Pixels, face: Box) -> tuple[bytes, int, int]:
    """(JPEG, width, height) of three panels at 1:1, at most 2048 px wide; pictures are of one size.

    The difference is centred on grey: lighter or darker there is lighter or darker in the retouch.
    """
    part = _around(face, before_HWC.shape)
    before, after = before_HWC[part], after_HWC[part]
    change = 128 + _GAIN * (after.astype(np.int16) - before.astype(np.int16))
    panels = (
        ("before", before),
        ("after", after),
        (f"difference x{_GAIN}, grey is none", np.clip(change, 0, 255).astype(np.uint8)),
    )
    height, width = before.shape[:2]
    sheet = Image.new("RGB", (3 * width + 2 * _GAP, height + _STRIP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for i, (title, panel_HWC) in enumerate(panels):
        draw.text((i * (width + _GAP) + 6, 6), title, fill="black", font=font)
        sheet.paste(Image.fromarray(np.ascontiguousarray(panel_HWC)), (i * (width + _GAP), _STRIP))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue(), *sheet.size


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


def _around(face: Box, shape: Sequence[int]) -> tuple[slice, slice]:
    most = (_WIDTH - 2 * _GAP) // 3
    half = min(max(face.width, face.height) * _MARGIN, most) / 2
    x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    side = int(2 * half)
    return slice(top, min(shape[0], top + side)), slice(left, min(shape[1], left + side))
