"""What a run restores with: model, face finder, guard, writer; opened before the first photo."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from curation.faces import NamedFinder
from curation.found import FaceFinder, FoundFace
from restore.config import RestoreConfig
from restore.cutting import Cut, Model
from restore.doubts import doubt_of, spread
from restore.enlarge import Upscaler
from restore.guard import Guard, Kept, guarded, open_guard
from restore.outcome import FaceReport
from restore.pipeline import Restoration, Restorer
from restore.resume import settings_key
from restore.writing import Writer, open_writer

__all__ = ["Kit", "Tried", "open_kit"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What became of a face in the model, and how far several seeds lie apart, if asked."""

    kept: Kept
    spread: float | None = None
    model_s: float = 0.0  # its share of the time in the model
    judge_s: float = 0.0  # and in the guard


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """All that restoring a photo needs besides the photo; `key` names what decides an output."""

    restorer: Restorer
    finder: NamedFinder
    guard: Guard
    writer: Writer
    key: str
    upscaler: Upscaler | None = None
    may_embed: Callable[[str], bool] | None = None  # of photos by their SHA-256; of all if none
    turn: threading.Lock = field(default_factory=threading.Lock)  # the model serves one at a time

    @property
    def config(self) -> RestoreConfig:
        """The run's settings."""
        return self.restorer.config

    @property
    def model(self) -> Model:
        """What cutting must know of the restorer."""
        return Model(self.restorer.facts.size, self.restorer.steps)

    def run(self, cuts: Sequence[Cut]) -> list[Tried]:
        """The faces through the model and the guard, in order; several seeds where asked for.

        Several threads may run: the guard judges one's faces while the model makes another's.
        """
        crops, seeds = [c.crop_HWC for c in cuts], [c.report.seed or 0 for c in cuts]
        may = None if self.may_embed is None else [self.may_embed(c.photo_id) for c in cuts]
        fidelity, count = self.config.fidelity, self.config.doubt.seeds
        start, model = time.monotonic(), _InTurn(self.restorer, self.turn)
        kept = guarded(model, crops, seeds, guard=self.guard, fidelity=fidelity, may_embed=may)
        apart: Sequence[float | None] = [None] * len(cuts)
        if count >= 2:
            apart = spread(model, crops, seeds, count=count, fidelity=fidelity)
        model_s = model.spent / len(cuts)
        judge_s = (time.monotonic() - start - model.spent - model.waited) / len(cuts)
        return [Tried(k, s, model_s, judge_s) for k, s in zip(kept, apart, strict=True)]

    def report(self, cut: Cut, tried: Tried) -> FaceReport:
        """What became of a face; one that the guard left is skipped, with its reason."""
        kept = tried.kept
        report = replace(
            cut.report,
            status="skipped" if kept.status == "left" else kept.status,
            reason="" if kept.status == "restored" else kept.reason,
            fidelity=kept.fidelity,
            blend=kept.blend if kept.blend < 1 else None,
            spread=tried.spread,
            note=kept.note,
            doubt=doubt_of(kept, self.config.doubt, spread=tried.spread),
        )
        if kept.likeness is None:
            return report
        return replace(
            report,
            identity=kept.likeness.identity,
            landmark_shift=kept.likeness.landmark_shift,
            drift=kept.likeness.drift,
        )


class _InTurn:
    """A restorer that several threads ask, one after the other; notes how long each took."""

    def __init__(self, restorer: Restorer, turn: threading.Lock) -> None:
        self._restorer, self._turn = restorer, turn
        self.spent = self.waited = 0.0

    def restore_each(
        self, faces: Sequence[Pixels], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> Iterator[Restoration]:
        """As the restorer does, in one piece."""
        asked = time.monotonic()
        with self._turn:
            begun = time.monotonic()
            made = list(self._restorer.restore_each(faces, seeds=seeds, fidelity=fidelity))
            self.spent += time.monotonic() - begun
        self.waited += begun - asked
        return iter(made)


def _one_at_a_time(finder: NamedFinder) -> NamedFinder:
    """A finder of its own that several threads may ask."""
    lock = threading.Lock()

    def load() -> FaceFinder:
        find = finder.load()

        def found(pixels_HWC: Pixels) -> list[FoundFace]:
            with lock:
                return find(pixels_HWC)

        return found

    return replace(finder, load=load, _find=None)


def open_kit(
    restorer: Restorer,
    finder: NamedFinder,
    *,
    upscaler: Upscaler | None = None,
    may_embed: Callable[[str], bool] | None = None,
) -> Kit:
    """The kit of a restorer's settings; raises ConfigError where a key or certificate is wrong.

    A test model's faces are judged and kept all the same: it can make none that are like.
    """
    config, facts = restorer.config, restorer.facts
    # The guard works in other threads than the search, and a finder serves one at a time.
    guard = open_guard(config.guard, _one_at_a_time(finder), withholds=not facts.tiny)
    key = settings_key(config, facts, finder.name, upscaler.sha256 if upscaler else "")
    writer = open_writer(facts, config, key=key)
    return Kit(restorer, finder, guard, writer, key, upscaler, may_embed)
