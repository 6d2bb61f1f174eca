"""How far a restoration on the web page is, how long it will take, and how it is stopped."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from data_manifests.errors import AuthFaceError
from restore.config import RestoreConfig
from restore.pipeline import Pixels, Restoration, Restorer

__all__ = ["Pace", "Progress", "Runs", "StoppedError", "Tell", "WatchedRestorer"]

_LEAST_S = 2.0  # of work before anything is said about what is left


class StoppedError(AuthFaceError):
    """A restoration ended because somebody wished it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a restoration is: reading, restoring, again (closer to the photo), comparing or
    writing; of the middle three how many faces are done and what share of this round's work."""

    stage: str
    done: int = 0
    total: int = 0
    share: float = 0.0  # 0 to 1


Tell = Callable[[Progress], None]  # what it raises ends the restoration


class WatchedRestorer(Restorer):
    """A restorer with a visitor's settings, which tells after each step how far it is.

    It shares the weights of the one that it was made from.
    """

    def __init__(self, restorer: Restorer, config: RestoreConfig, tell: Tell) -> None:
        self.__dict__.update(copy.copy(restorer).__dict__)
        self.config = config
        self.steps = config.steps_for(tiny=restorer.facts.tiny)
        self._tell = tell
        self._now = Progress("reading")

    def restore_each(
        self, faces: Sequence[Pixels], *, seeds: Sequence[int], fidelity: float | None = None
    ) -> Iterator[Restoration]:
        """As the restorer does; the guard's further tries and other seeds are rounds too."""
        raised = fidelity is not None and fidelity > self.config.fidelity
        first = self._now.stage == "reading"
        stage = "restoring" if first else "again" if raised else "comparing"
        self._tell_of(Progress(stage, 0, len(faces)))
        results = super().restore_each(faces, seeds=seeds, fidelity=fidelity)
        for done, result in enumerate(results, start=1):
            self._tell_of(Progress(stage, done, len(faces), done / len(faces)))
            yield result

    def after_step(self, done: int, steps: int) -> None:
        """Count a step of the faces that are in the model now."""
        now = self._now
        at_once = min(self.faces_at_once, now.total - now.done)
        share = (now.done + at_once * done / steps) / now.total
        self._tell(Progress(now.stage, now.done, now.total, share))

    def _tell_of(self, progress: Progress) -> None:
        self._now = progress
        self._tell(progress)


class Pace:
    """How long a round will still take, by how fast it went since its first step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._round: tuple[str, int] | None = None
        self._start: tuple[float, float] | None = None  # when, and the share that was done then

    def left_s(self, progress: Progress) -> float | None:
        """Seconds, or none while too little was seen. The first step, which may compile, is not
        counted."""
        if (progress.stage, progress.total) != self._round:
            self._round, self._start = (progress.stage, progress.total), None
        if self._start is None:
            if progress.share > 0:
                self._start = (self._clock(), progress.share)
            return None
        then, share = self._start
        spent, made = self._clock() - then, progress.share - share
        if spent < _LEAST_S or made <= 0:
            return None
        return spent / made * (1 - progress.share)


class Runs:
    """The restorations that visitors wait for, one per open page, so that they can be stopped."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, page: str) -> None:
        """A page asks for a restoration: from now on it can be stopped, though it may wait."""
        with self._lock:
            self._stops[page] = threading.Event()

    def stop(self, page: str) -> None:
        """Have a page's restoration end, if there is one."""
        with self._lock:
            stop = self._stops.pop(page, None)
        if stop is not None:
            stop.set()

    def waits(self, page: str) -> bool:
        """True from a page's wish for a restoration until that is stopped."""
        with self._lock:
            return page in self._stops

    def watch(self, page: str) -> Callable[[], None]:
        """A check that raises StoppedError once the page's restoration was stopped."""
        with self._lock:
            stop = self._stops.get(page)

        def check() -> None:
            if stop is None or stop.is_set():
                raise StoppedError("Stopped.")

        return check
