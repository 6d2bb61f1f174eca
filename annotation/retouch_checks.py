"""Is a returned picture an honest retouch of its source? Registered first, then measured; pure.

Each check is a Verdict: what was measured, what it was compared with, and a sentence for people. A
verdict that keeps and still has a reason is a warning: the reviewer is told, the file is not sent
back for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from annotation import retouch_pixels as measure
from annotation.retouch_config import RetouchConfig
from annotation.retouch_pixels import Pixels
from annotation.retouch_register import Registration, register
from data_manifests.records import Box, Point, Verdict

__all__ = ["Checked", "Pair", "check"]

Find = Callable[[Pixels], Sequence[Point]]
Likeness = Callable[[Pixels, Pixels], float | None]

_HEAD = 1.7  # head with hair over the face's box
_SPECTRUM_SIDE = 1024  # px


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A source and what came back, 8-bit sRGB HWC; box, landmarks and regions in source pixels.

    `find` gives the five landmarks of the main face of a picture, empty if it sees none;
    `likeness` the cosine of two face cut-outs, none if it can't tell.
    """

    source_HWC: Pixels
    returned_HWC: Pixels
    face: Box
    regions: tuple[Box, ...] = ()
    find: Find | None = None
    likeness: Likeness | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """The verdicts, and how the returned picture lies on its source (none: it does not)."""

    verdicts: tuple[Verdict, ...]
    registration: Registration | None

    @property
    def good(self) -> bool:
        """Whether every check lets it pass."""
        return all(v.keep for v in self.verdicts)


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """The part of both pictures around the face, pixel upon pixel, and where the face is."""

    before_HWC: Pixels
    after_HWC: Pixels
    face: Box  # in pixels of the part
    left: int  # of the part, in source pixels
    top: int
    shown_HW: measure.Mask  # where the returned picture has pixels: a crop may leave some out

    def cut(self, box: Box) -> tuple[slice, slice]:
        height, width = self.before_HWC.shape[:2]
        rows = slice(max(0, round(box.top)), min(height, round(box.bottom)))
        return rows, slice(max(0, round(box.left)), min(width, round(box.right)))


def check(pair: Pair, config: RetouchConfig) -> Checked:
    """Every check in turn; where the pictures do not lie on each other the rest says nothing."""
    found = register(pair.source_HWC, pair.returned_HWC)
    if found is None or found.inliers < config.least_inliers:
        return Checked((_no_match(found, config),), None)
    placed = _placing(pair, found, config)
    laid = _lay(pair, found)
    if laid is None:
        lost = _verdict(
            "overlap", found.overlap, config.least_overlap, False, "the face is cut off"
        )
        return Checked((*placed, lost), found)
    reshaped = _reshaping(laid, pair, config)
    verdicts = (
        *placed,
        *_texture(laid, config),
        *_colour(laid, config),
        _resolution(laid, config),
        reshaped,
        *_landmarks(laid, pair, config, (reshaped.value or 0.0) > config.warn_reshaping),
        *_unasked(laid, pair, config),
        *_likeness(laid, pair, config),
    )
    return Checked(verdicts, found)


def _no_match(found: Registration | None, config: RetouchConfig) -> Verdict:
    count = found.inliers if found else 0
    why = f"it shows another picture: only {count} points agree with the photo"
    return _verdict("registration", count, config.least_inliers, False, why)


def _placing(pair: Pair, found: Registration, config: RetouchConfig) -> tuple[Verdict, ...]:
    """Scale, rotation, overlap and shift. A whole-pixel crop is known; another shift is not."""
    scale, shift = abs(found.scale - 1), _shift(pair, found)
    turned = abs(found.rotation)
    whole = min(found.overlap, 1.0)
    return (
        _verdict("registration", found.inliers, config.least_inliers, True, ""),
        _judged(
            "scale",
            scale,
            config.most_scale_change,
            f"it was scaled to {found.scale:.2%} of the photo",
        ),
        _judged(
            "rotation", turned, config.most_rotation, f"it was turned by {found.rotation:.2f} deg"
        ),
        _judged("shift", shift, config.most_shift, f"it is shifted by {shift:.2f} px"),
        _verdict(
            "overlap",
            whole,
            config.least_overlap,
            whole >= config.least_overlap,
            "" if whole >= config.least_overlap else f"it shows only {whole:.0%} of the photo",
        ),
    )


def _shift(pair: Pair, found: Registration) -> float:
    """How far the face's middle is from where the photo, or a whole-pixel crop of it, has it."""
    x, y = (pair.face.left + pair.face.right) / 2, (pair.face.top + pair.face.bottom) / 2
    there = found.moved(x, y)
    dx, dy = there[0] - x, there[1] - y
    if pair.source_HWC.shape != pair.returned_HWC.shape:
        dx, dy = dx - round(dx), dy - round(dy)
    return math.hypot(dx, dy)


def _lay(pair: Pair, found: Registration) -> _Laid | None:
    """The head and some background in source pixels; none if the face is not whole in it."""
    import cv2

    height, width = pair.source_HWC.shape[:2]
    face = pair.face
    half = max(face.width, face.height) * 1.2
    x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    right, bottom = min(width, math.ceil(x + half)), min(height, math.ceil(y + half))
    if not _inside(found, face, pair.returned_HWC.shape):
        return None
    before_HWC = pair.source_HWC[top:bottom, left:right]
    dx, dy = (round(v) for v in found.matrix_23[:, 2])
    moved = found.matrix_23 - np.array([[1, 0, dx], [0, 1, dy]])
    corners = np.array([(left, top, 1), (right, top, 1), (left, bottom, 1), (right, bottom, 1)])
    if np.abs(corners @ moved.T).max() < 0.5:  # whole pixels: nothing is interpolated
        after_HWC = _window(pair.returned_HWC, left + dx, top + dy, before_HWC.shape[:2])
    else:
        matrix_23 = found.matrix_23.copy()
        matrix_23[:, 2] += matrix_23[:, :2] @ (left, top)
        matrix_23[:, 2] += matrix_23[:, :2] @ (0.5, 0.5) - 0.5
        after_HWC = cv2.warpAffine(
            pair.returned_HWC,
            matrix_23,
            (right - left, bottom - top),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    box = Box(
        left=max(face.left - left, 0),
        top=max(face.top - top, 0),
        right=min(face.right, width) - left,
        bottom=min(face.bottom, height) - top,
    )
    shown_HW = _shown(found, (left, top, right, bottom), pair.returned_HWC.shape)
    both = np.ascontiguousarray(before_HWC), np.ascontiguousarray(after_HWC)
    return _Laid(*both, box, left, top, shown_HW)


def _shown(
    found: Registration, part: tuple[int, int, int, int], shape: Sequence[int]
) -> measure.Mask:
    """Which pixels of a part of the source (left, top, right, bottom) the returned picture has."""
    left, top, right, bottom = part
    x_W, y_H1 = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
    across, down = (row[0] * x_W + row[1] * y_H1 + row[2] for row in found.matrix_23)
    inside = (across >= 0) & (across <= shape[1]) & (down >= 0) & (down <= shape[0])
    return np.asarray(inside, np.bool_)


def _inside(found: Registration, face: Box, shape: Sequence[int]) -> bool:
    corners = [found.moved(x, y) for x in (face.left, face.right) for y in (face.top, face.bottom)]
    slack = 0.02 * max(face.width, face.height) + 2
    return (
        all(-slack <= x <= shape[1] + slack and -slack <= y <= shape[0] + slack for x, y in corners)
        or face.left < 0
        or face.top < 0
    )


def _window(pixels_HWC: Pixels, left: int, top: int, size: Sequence[int]) -> Pixels:
    """A part of a picture, its border repeated where the part reaches over it."""
    rows = np.clip(np.arange(top, top + size[0]), 0, pixels_HWC.shape[0] - 1)
    columns = np.clip(np.arange(left, left + size[1]), 0, pixels_HWC.shape[1] - 1)
    return np.asarray(pixels_HWC[rows][:, columns])


def _texture(laid: _Laid, config: RetouchConfig) -> tuple[Verdict, ...]:
    part = laid.cut(laid.face)
    before, after = (measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC))
    where = measure.oval(*before.shape)
    alike = measure.correlation(before, after, where)
    verdicts = [
        _verdict(
            "fine_detail",
            alike,
            config.least_correlation,
            alike >= config.least_correlation,
            "" if alike >= config.least_correlation else "its fine detail is not the photo's",
        )
    ]
    for sigma in (1, 2):
        ratios = measure.texture_ratios(before, after, where, sigma)
        low, high = (
            (float(np.percentile(ratios, q)) for q in (20, 80)) if len(ratios) else (1.0, 1.0)
        )
        kept = low >= config.least_texture
        why = f"skin was smoothed: {low:.0%} of the texture at {sigma} px is left"
        told = "" if low >= config.warn_texture else why
        verdicts.append(_verdict(f"texture_{sigma}", low, config.least_texture, kept, told))
        verdicts.append(
            _judged(
                f"sharpening_{sigma}",
                high,
                config.most_texture,
                f"it was sharpened: {high:.0%} of the texture at {sigma} px",
            )
        )
    return tuple(verdicts)


def _colour(laid: _Laid, config: RetouchConfig) -> tuple[Verdict, ...]:
    height, width = laid.before_HWC.shape[:2]
    face, head = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    part = laid.cut(laid.face)
    face[part] = measure.oval(*face[part].shape)
    head[laid.cut(_grown(laid.face, _HEAD))] = True
    verdicts = []
    before, after = measure.lab(laid.before_HWC), measure.lab(laid.after_HWC)
    for name, where in (("face", face), ("background", ~head & laid.shown_HW)):
        if where.sum() < 100:
            continue
        one, other = (np.median(p[where], axis=0) for p in (before, after))
        drift = measure.colour_difference(one, other)
        why = f"the colour of the {name} drifted by {drift:.1f} dE2000"
        told = why if drift > config.warn_colour_drift else ""
        good = drift <= config.most_colour_drift
        verdicts.append(_verdict(f"colour_{name}", drift, config.most_colour_drift, good, told))
    was, now = (measure.clipped(p, face) for p in (laid.before_HWC, laid.after_HWC))
    more = max(0.0, now - was)
    why = f"{more:.1%} more of the face is clipped to black or white"
    told = why if more > config.most_clipped else ""
    return (*verdicts, _verdict("clipping", more, config.most_clipped, True, told))


def _resolution(laid: _Laid, config: RetouchConfig) -> Verdict:
    half = _SPECTRUM_SIDE / 2
    x, y = (laid.face.left + laid.face.right) / 2, (laid.face.top + laid.face.bottom) / 2
    reach_x, reach_y = min(half, laid.face.width / 2), min(half, laid.face.height / 2)
    part = laid.cut(Box(left=x - reach_x, top=y - reach_y, right=x + reach_x, bottom=y + reach_y))
    kept = measure.finest_kept(*(measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC)))
    good = kept >= config.least_resolution
    why = (
        "" if good else f"its finest detail is only {kept:.0%} of the photo's: enlarged or blurred"
    )
    return _verdict("resolution", kept, config.least_resolution, good, why)


def _reshaping(laid: _Laid, pair: Pair, config: RetouchConfig) -> Verdict:
    box = _grown(laid.face, 1.15)
    part = laid.cut(box)
    before, after = (measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC))
    moved = measure.displacement(before, after, measure.oval(*before.shape))
    share = moved / _eye_distance(pair)
    why = f"parts of the face were moved by {share:.1%} of the eye distance"
    told = why if share > config.warn_reshaping else ""
    good = share <= config.most_reshaping
    return _verdict("reshaping", share, config.most_reshaping, good, told)


def _landmarks(
    laid: _Laid, pair: Pair, config: RetouchConfig, reshaped: bool
) -> tuple[Verdict, ...]:
    """Fails only what the pixels say was moved too: a finder's points jitter by 2 to 4 % of the eye
    distance where somebody only brightened the eyes."""
    if pair.find is None:
        return ()
    before, after = pair.find(laid.before_HWC), pair.find(laid.after_HWC)
    if not before:
        return ()
    if not after:
        why = "no face is found in it any more"
        return (_verdict("landmarks", None, config.most_landmark_shift, not reshaped, why),)
    apart = [math.dist((a.x, a.y), (b.x, b.y)) for a, b in zip(before, after, strict=False)]
    eyes = math.dist((before[0].x, before[0].y), (before[1].x, before[1].y))
    share = max(apart) / max(eyes, 1.0)
    why = f"a landmark of the face moved by {share:.1%} of the eye distance"
    told = why if share > config.warn_landmark_shift else ""
    good = share <= config.most_landmark_shift or not reshaped
    return (_verdict("landmarks", share, config.most_landmark_shift, good, told),)


def _unasked(laid: _Laid, pair: Pair, config: RetouchConfig) -> tuple[Verdict, ...]:
    """What changed outside the regions that were asked for; nothing to say without regions."""
    if not pair.regions:
        return ()
    moved = measure.changed(laid.before_HWC, laid.after_HWC, config.changed_from)
    asked = np.zeros(moved.shape, np.bool_)
    for box in pair.regions:
        shifted = Box(
            left=box.left - laid.left,
            top=box.top - laid.top,
            right=box.right - laid.left,
            bottom=box.bottom - laid.top,
        )
        asked[laid.cut(_grown(shifted, 1.3))] = True
    share = float((moved & ~asked & laid.shown_HW).mean())
    why = f"{share:.1%} of the picture around the face was changed where nobody asked"
    return (_judged("unasked", share, config.most_unasked, why),)


def _likeness(laid: _Laid, pair: Pair, config: RetouchConfig) -> tuple[Verdict, ...]:
    cosine = pair.likeness(laid.before_HWC, laid.after_HWC) if pair.likeness else None
    if cosine is None:
        return ()
    good = cosine >= config.least_likeness
    why = "" if good else f"it looks like somebody else: likeness {cosine:.2f}"
    return (_verdict("identity", cosine, config.least_likeness, good, why),)


def _eye_distance(pair: Pair) -> float:
    """About half of a face's width, where no landmarks tell it."""
    return max(pair.face.width * 0.5, 1.0)


def _grown(box: Box, times: float) -> Box:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    half_x, half_y = box.width * times / 2, box.height * times / 2
    return Box(left=x - half_x, top=y - half_y, right=x + half_x, bottom=y + half_y)


def _judged(gate: str, value: float, most: float, why: str) -> Verdict:
    return _verdict(gate, value, most, value <= most, "" if value <= most else why)


def _verdict(gate: str, value: float | None, threshold: float, keep: bool, why: str) -> Verdict:
    shown = None if value is None else round(float(value), 4)
    return Verdict(gate=gate, value=shown, threshold=threshold, keep=bool(keep), reason=why)
