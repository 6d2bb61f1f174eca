"""Restored faces that are still their input: tried again, blended with it, or left alone.

Every face is judged by itself, and what is tried next depends on nothing but its own results: no
batch and no order changes what comes out. Legend: H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.faces import NamedFinder
from curation.identity import FaceEmbedder, open_face_embedder
from curation.models import find_model
from restore.artefacts import artefacts
from restore.config import GuardConfig
from restore.identity import FaceComparer, Likeness

if TYPE_CHECKING:
    from restore.pipeline import Restoration  # brings PyTorch

__all__ = ["Attempt", "Guard", "Kept", "guarded", "open_guard", "too_unlike"]

Pixels = NDArray[np.uint8]

_SHARE_STEP = 0.25
_MOST_RAISED = 0.9


class RestoresFaces(Protocol):
    """What guarding asks of a restorer; restore.pipeline.Restorer is one."""

    def restore_each(
        self, faces: Sequence[Pixels], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> Iterator[Restoration]:
        """One result per face, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Guard:
    """What restored faces are judged by; made by `open_guard`."""

    config: GuardConfig
    finder: NamedFinder | None = None
    embed: FaceEmbedder | None = None
    withholds: bool = True  # false for a test model: it says what it would do and keeps the result
    notes: tuple[str, ...] = ()  # what is not measured, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: restored at a fidelity, then mixed with the input by (1 - share)."""

    fidelity: float
    share: float = 1.0
    likeness: Likeness | None = None  # none if nothing was made or nothing is measured
    trouble: str = ""  # why it was not taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a face's attempts: restored, left (as it was in the photo) or failed."""

    pixels_HWC: Pixels | None = field(repr=False)
    deep_HWC: NDArray[np.uint16] | None = field(default=None, repr=False)  # the same in 16 bits
    status: str
    reason: str = ""
    fidelity: float
    blend: float = 1.0  # share of the restored face; the rest is the input
    likeness: Likeness | None = None
    attempts: tuple[Attempt, ...] = ()
    made: str = ""  # what the restorer says of how it was made, such as in tiles

    @property
    def note(self) -> str:
        """What was done beyond a plain restoration, in words; empty if nothing was."""
        return "; ".join(said for said in (self._raised(), self.made) if said)

    def _raised(self) -> str:
        if self.status != "restored" or len(self.attempts) < 2:
            return ""
        first = self.attempts[0].trouble
        mixed = f", mixed with {1 - self.blend:.0%} of the input" if self.blend < 1 else ""
        return f"restored with fidelity {self.fidelity:g}{mixed}, for at first {first}"


def open_guard(config: GuardConfig, finder: NamedFinder | None, *, withholds: bool = True) -> Guard:
    """The guard of these settings; identity is measured where they ask for it and SFace is there.

    The finder is asked for landmarks and left out if it gives none.
    """
    notes = []
    embed = None
    if not config.identity:
        notes.append("identity was not measured: [restore.guard] identity is off")
    elif find_model("sface") is None:
        notes.append(
            "identity was not measured: SFace's model file is not there "
            "(`authface models get sface`)"
        )
    else:
        embed = open_face_embedder()
    if finder is None or not finder.has_landmarks:
        finder = None
        notes.append("landmarks were not compared: the face finder gives none")
    return Guard(config, finder, embed, withholds, tuple(notes))


def guarded(
    restorer: RestoresFaces,
    crops: Sequence[Pixels],
    seeds: Sequence[int],
    *,
    guard: Guard,
    fidelity: float,
    may_embed: Sequence[bool] | None = None,
) -> list[Kept]:
    """What is kept of each face, in order; the faces of one rung are restored together.

    A face that is faulty or too unlike its input is restored again with the same seed and a higher
    fidelity, rung by rung; then the try that came nearest is mixed with the input, a quarter more
    each time; then it is left. `may_embed` says of which faces vectors may be made; of all if none.
    The input is never returned as a restored face.
    """
    allowed = may_embed if may_embed is not None else [True] * len(crops)
    faces = [
        _Face(crop, seed, guard, FaceComparer(crop, guard.finder, guard.embed if may else None))
        for crop, seed, may in zip(crops, seeds, allowed, strict=True)
    ]
    for rung in _rungs(fidelity, guard):
        open_ = [face for face in faces if face.is_open]
        if not open_:
            break
        results = restorer.restore_each(
            [face.crop_HWC for face in open_], seeds=[face.seed for face in open_], fidelity=rung
        )
        for face, result in zip(open_, results, strict=True):
            face.take(result, rung)
    return [face.settle() for face in faces]


def too_unlike(likeness: Likeness, config: GuardConfig) -> str:
    """Which limits a face breaks, in words; empty if none."""
    said = []
    if likeness.lost:
        said.append("the face finder sees no face in it any more")
    if likeness.identity is not None and likeness.identity < config.least_identity:
        said.append(f"identity {likeness.identity:.2f}, below {config.least_identity:g}")
    shift, most = likeness.landmark_shift, config.most_landmark_shift
    if shift is not None and most is not None and shift > most:
        said.append(f"its features moved by {shift:.2f} eye distances, over {most:g}")
    if likeness.drift > config.most_drift:
        said.append(f"drift from the input {likeness.drift:.2f}, over {config.most_drift:g}")
    return "; ".join(said)


def _rungs(fidelity: float, guard: Guard) -> list[float]:
    """Rising fidelities, the wished one first. None is raised to 1, which gives the input back."""
    if not (guard.config.enabled and guard.withholds):
        return [fidelity]
    higher = sorted({min(round(fidelity + step, 6), _MOST_RAISED) for step in guard.config.ladder})
    return [fidelity, *(rung for rung in higher if rung > fidelity)]


@dataclass(slots=True)
class _Face:
    """One face on its way through the rungs."""

    crop_HWC: Pixels
    seed: int
    guard: Guard
    comparer: FaceComparer
    attempts: list[Attempt] = field(default_factory=list)
    made: list[tuple[Attempt, Restoration]] = field(default_factory=list)  # without a fault
    kept: Kept | None = None
    made_how: str = ""

    @property
    def is_open(self) -> bool:
        """True while another rung is to be tried."""
        return self.kept is None

    def take(self, result: Restoration, fidelity: float) -> None:
        """Judge what a rung made; keep it if it is good, and give up if nothing was made."""
        self.made_how = result.note or self.made_how
        if result.pixels_HWC is None:
            self.attempts.append(Attempt(fidelity=fidelity, trouble=result.trouble))
            self._end("failed", result.trouble)
        elif not self.guard.config.enabled:
            self._keep(Attempt(fidelity=fidelity), result)
        else:
            self._judge(result, fidelity, 1.0)

    def settle(self) -> Kept:
        """What is kept in the end."""
        if self.kept is None and self.made:
            self._blend()
        if self.kept is None:
            self._give_up()
        assert self.kept is not None
        return self.kept

    def _judge(self, made: Restoration, fidelity: float, share: float) -> None:
        assert made.pixels_HWC is not None
        fault = artefacts(made.pixels_HWC, self.crop_HWC)
        likeness = self.comparer.likeness(made.pixels_HWC)
        unlike = too_unlike(likeness, self.guard.config)
        trouble = "; ".join(said for said in (fault, unlike) if said)
        attempt = Attempt(fidelity=fidelity, share=share, likeness=likeness, trouble=trouble)
        if not trouble or not self.guard.withholds:
            self._keep(attempt, made)
            return
        self.attempts.append(attempt)
        if not fault and share == 1:
            self.made.append((attempt, made))

    def _blend(self) -> None:
        """Mix the try that came nearest with the input, less and less of it."""
        config = self.guard.config
        best, made = min(self.made, key=lambda one: _strain(one[0].likeness, config))
        shares = (1 - _SHARE_STEP * n for n in range(1, round(1 / _SHARE_STEP)))
        for share in takewhile(lambda share: share >= config.least_share, shares):
            self._judge(_mixed(made, self.crop_HWC, share), best.fidelity, share)
            if self.kept is not None:
                return

    def _give_up(self) -> None:
        config = self.guard.config
        if not self.made:
            self._end("failed", f"the model gave no usable face: {self.attempts[-1].trouble}")
            return
        best, _ = min(self.made, key=lambda one: _strain(one[0].likeness, config))
        why = f"left as it was: the restored face was too unlike the input ({best.trouble})"
        self._end("left", why, best)

    def _keep(self, attempt: Attempt, made: Restoration) -> None:
        self.attempts.append(attempt)
        would = "" if not attempt.trouble else "a real model's face would not be kept: "
        self.kept = Kept(
            pixels_HWC=made.pixels_HWC,
            deep_HWC=made.deep_HWC,
            status="restored",
            reason=would + attempt.trouble,
            fidelity=attempt.fidelity,
            blend=attempt.share,
            likeness=attempt.likeness,
            attempts=tuple(self.attempts),
            made=self.made_how,
        )

    def _end(self, status: str, reason: str, nearest: Attempt | None = None) -> None:
        last = nearest or self.attempts[-1]
        self.kept = Kept(
            pixels_HWC=None,
            status=status,
            reason=reason,
            fidelity=last.fidelity,
            likeness=last.likeness,
            attempts=tuple(self.attempts),
        )


def _mixed(made: Restoration, crop_HWC: Pixels, share: float) -> Restoration:
    """A restored face with (1 - share) of its input in it."""
    assert made.pixels_HWC is not None
    mixed = share * made.pixels_HWC.astype(np.float32) + (1 - share) * crop_HWC
    one = replace(made, pixels_HWC=np.rint(mixed).astype(np.uint8))
    if made.deep_HWC is None:
        return one
    mixed = share * made.deep_HWC.astype(np.float32) + (1 - share) * 257 * crop_HWC
    return replace(one, deep_HWC=np.rint(mixed).astype(np.uint16))


def _strain(likeness: Likeness | None, config: GuardConfig) -> float:
    """How far beyond its limits: the largest share of any of them."""
    if likeness is None:
        return 0.0
    strains = [likeness.drift / config.most_drift, 10.0 * likeness.lost]
    if likeness.landmark_shift is not None and config.most_landmark_shift is not None:
        strains.append(likeness.landmark_shift / config.most_landmark_shift)
    if likeness.identity is not None:
        strains.append((1 - likeness.identity) / max(1 - config.least_identity, 1e-6))
    return max(strains)
