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
from annotation.retouch_laid import Laid, grown, lay
from annotation.retouch_pixels import Mask, Pixels
from annotation.retouch_register import Registration, register
from annotation.retouch_tones import tones
from annotation.retouch_verdicts import judged, verdict
from data_manifests.records import Box, Point, Verdict

__all__ = ["Checked", "Find", "Likeness", "Pair", "check", "unmeasured"]

Find = Callable[[Pixels], Sequence[Point]]
# Two pictures with the face at the same five landmarks -> cosine of its vectors, or why there is
# none.
Likeness = Callable[[Pixels, Pixels, Sequence[Point]], float | str]

_HEAD = 1.7  # head with hair over the face's box
_SPECTRUM_SIDE = 1024  # px


def unmeasured(*_: object) -> str:
    """The likeness where nothing measures it."""
    return "nothing here measures it"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A source and what came back, 8-bit sRGB HWC; box, landmarks and regions in source pixels.

    `find` gives the five landmarks of the main face of a picture, empty if it sees none;
    `landmarks` are the photo's own, and `bits` are those of both files. `keep_HW` is true where
    people asked that nothing be changed.
    """

    source_HWC: Pixels
    returned_HWC: Pixels
    face: Box
    regions: tuple[Box, ...] = ()
    find: Find | None = None
    landmarks: tuple[Point, ...] = ()
    likeness: Likeness = unmeasured
    bits: tuple[int, int] = (8, 8)
    keep_HW: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """The verdicts, and how the returned picture lies on its source (none: it does not)."""

    verdicts: tuple[Verdict, ...]
    registration: Registration | None

    @property
    def good(self) -> bool:
        """Whether every check lets it pass."""
        return all(v.keep for v in self.verdicts)


def check(pair: Pair, config: RetouchConfig) -> Checked:
    """Every check in turn; where the pictures do not lie on each other the rest says nothing."""
    found = register(pair.source_HWC, pair.returned_HWC)
    if found is None or found.inliers < config.least_inliers:
        return Checked((_no_match(found, config), *_greyed(pair, config)), None)
    if abs(found.stretch - 1) > config.most_stretch:  # no similarity lays it on the photo
        return Checked((_squeezed(found, config), *_greyed(pair, config)), found)
    placed = *_placing(pair, found, config), *_greyed(pair, config)
    laid = lay(pair.source_HWC, pair.returned_HWC, pair.face, found)
    if laid is None:
        lost = verdict("overlap", found.overlap, config.least_overlap, False, "the face is cut off")
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
        *_to_stay(laid, pair, config),
        _identity(laid, pair, config),
        *tones(laid, pair.bits, config),
    )
    return Checked(verdicts, found)


def _no_match(found: Registration | None, config: RetouchConfig) -> Verdict:
    count = found.inliers if found else 0
    why = f"it shows another picture: only {count} points agree with the photo"
    return verdict("registration", count, config.least_inliers, False, why)


def _squeezed(found: Registration, config: RetouchConfig) -> Verdict:
    off = found.stretch - 1
    said = "wider" if off > 0 else "narrower"
    why = f"its sides are out of proportion: it is {abs(off):.1%} {said} for its height"
    return judged("proportions", abs(off), config.most_stretch, why)


def _greyed(pair: Pair, config: RetouchConfig) -> tuple[Verdict, ...]:
    """Whether the colours are gone; nothing to say of a photo that had none."""
    before, after = (measure.colourfulness(p) for p in (pair.source_HWC, pair.returned_HWC))
    if before < measure.SOME_COLOUR:
        return ()
    kept, least = min(after / before, 1.0), config.least_colour
    why = f"its colours are gone: {kept:.0%} of their strength is left"
    return (verdict("colours", kept, least, kept >= least, "" if kept >= least else why),)


def _placing(pair: Pair, found: Registration, config: RetouchConfig) -> tuple[Verdict, ...]:
    """Scale, rotation, overlap and shift. A whole-pixel crop is known; another shift is not."""
    scale, shift = abs(found.scale - 1), _shift(pair, found)
    turned = abs(found.rotation)
    whole = min(found.overlap, 1.0)
    return (
        verdict("registration", found.inliers, config.least_inliers, True, ""),
        judged(
            "scale",
            scale,
            config.most_scale_change,
            f"it was scaled to {found.scale:.2%} of the photo",
        ),
        judged(
            "rotation", turned, config.most_rotation, f"it was turned by {found.rotation:.2f} deg"
        ),
        judged("shift", shift, config.most_shift, f"it is shifted by {shift:.2f} px"),
        verdict(
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


def _texture(laid: Laid, config: RetouchConfig) -> tuple[Verdict, ...]:
    part = laid.cut(laid.face)
    before, after = (measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC))
    where = measure.oval(*before.shape)
    alike = measure.correlation(before, after, where)
    verdicts = [
        verdict(
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
        verdicts.append(verdict(f"texture_{sigma}", low, config.least_texture, kept, told))
        verdicts.append(
            judged(
                f"sharpening_{sigma}",
                high,
                config.most_texture,
                f"it was sharpened: {high:.0%} of the texture at {sigma} px",
            )
        )
    return tuple(verdicts)


def _colour(laid: Laid, config: RetouchConfig) -> tuple[Verdict, ...]:
    height, width = laid.before_HWC.shape[:2]
    face, head = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    part = laid.cut(laid.face)
    face[part] = measure.oval(*face[part].shape)
    head[laid.cut(grown(laid.face, _HEAD))] = True
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
        verdicts.append(verdict(f"colour_{name}", drift, config.most_colour_drift, good, told))
    was, now = (measure.clipped(p, face) for p in (laid.before_HWC, laid.after_HWC))
    more = max(0.0, now - was)
    why = f"{more:.1%} more of the face is clipped to black or white"
    told = why if more > config.most_clipped else ""
    return (*verdicts, verdict("clipping", more, config.most_clipped, True, told))


def _resolution(laid: Laid, config: RetouchConfig) -> Verdict:
    half = _SPECTRUM_SIDE / 2
    x, y = (laid.face.left + laid.face.right) / 2, (laid.face.top + laid.face.bottom) / 2
    reach_x, reach_y = min(half, laid.face.width / 2), min(half, laid.face.height / 2)
    part = laid.cut(Box(left=x - reach_x, top=y - reach_y, right=x + reach_x, bottom=y + reach_y))
    kept = measure.finest_kept(*(measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC)))
    good = kept >= config.least_resolution
    why = (
        "" if good else f"its finest detail is only {kept:.0%} of the photo's: enlarged or blurred"
    )
    return verdict("resolution", kept, config.least_resolution, good, why)


def _reshaping(laid: Laid, pair: Pair, config: RetouchConfig) -> Verdict:
    box = grown(laid.face, 1.15)
    part = laid.cut(box)
    before, after = (measure.grey(p[part]) for p in (laid.before_HWC, laid.after_HWC))
    moved = measure.displacement(before, after, measure.oval(*before.shape))
    share = moved / _eye_distance(pair)
    why = f"parts of the face were moved by {share:.1%} of the eye distance"
    told = why if share > config.warn_reshaping else ""
    good = share <= config.most_reshaping
    return verdict("reshaping", share, config.most_reshaping, good, told)


def _landmarks(
    laid: Laid, pair: Pair, config: RetouchConfig, reshaped: bool
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
        return (verdict("landmarks", None, config.most_landmark_shift, not reshaped, why),)
    apart = [math.dist((a.x, a.y), (b.x, b.y)) for a, b in zip(before, after, strict=False)]
    eyes = math.dist((before[0].x, before[0].y), (before[1].x, before[1].y))
    share = max(apart) / max(eyes, 1.0)
    why = f"a landmark of the face moved by {share:.1%} of the eye distance"
    told = why if share > config.warn_landmark_shift else ""
    good = share <= config.most_landmark_shift or not reshaped
    return (verdict("landmarks", share, config.most_landmark_shift, good, told),)


def _unasked(laid: Laid, pair: Pair, config: RetouchConfig) -> tuple[Verdict, ...]:
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
        asked[laid.cut(grown(shifted, 1.3))] = True
    share = float((moved & ~asked & laid.shown_HW).mean())
    why = f"{share:.1%} of the picture around the face was changed where nobody asked"
    return (judged("unasked", share, config.most_unasked, why),)


def _to_stay(laid: Laid, pair: Pair, config: RetouchConfig) -> tuple[Verdict, ...]:
    """What changed where people asked that it stay; nothing to say where nobody did."""
    if pair.keep_HW is None:
        return ()
    height, width = laid.before_HWC.shape[:2]
    rows, columns = slice(laid.top, laid.top + height), slice(laid.left, laid.left + width)
    stays = pair.keep_HW[rows, columns] & laid.shown_HW
    if not stays.any():
        return ()
    moved = measure.changed(laid.before_HWC, laid.after_HWC, config.changed_from)
    share = float(moved[stays].mean())
    why = f"{share:.0%} of what was to stay as it is was changed"
    return (judged("to_stay", share, config.most_changed_to_stay, why),)


def _identity(laid: Laid, pair: Pair, config: RetouchConfig) -> Verdict:
    """The cosine distance of the face before and after; its value is none where nobody may or can
    measure it. Both are cut at the photo's landmarks, so that no finder's jitter is a change."""
    points = tuple(Point(x=p.x - laid.left, y=p.y - laid.top) for p in pair.landmarks)
    cosine = pair.likeness(laid.before_HWC, laid.after_HWC, points)
    most = config.most_identity_shift
    if isinstance(cosine, str):
        return verdict("identity", None, most, True, f"identity was not measured: {cosine}")
    shift = 1 - cosine
    return judged("identity", shift, most, f"it looks like somebody else: identity {shift:.2f} off")


def _eye_distance(pair: Pair) -> float:
    """About half of a face's width, where no landmarks tell it."""
    return max(pair.face.width * 0.5, 1.0)
