"""One photo or a folder of them: which file becomes which, one outcome per file, in order.

Reading, the model, and writing overlap: while the model restores one photo's faces the next is
decoded and searched, and the one before is encoded. Faces of several photos share a batch.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from curation.faces import NamedFinder
from curation.facts import Facts
from curation.sandbox import Sandbox
from curation.scan import find_photos
from data_manifests.errors import AuthFaceError, InputError, StorageError
from data_manifests.media import sweep_parts
from data_manifests.store import file_sha256
from restore.containers import format_of
from restore.cutting import Cut
from restore.enlarge import Upscaler
from restore.kit import Kit, Tried, open_kit
from restore.outcome import Outcome
from restore.photo import (
    Prepared,
    Source,
    begin,
    check_target,
    finish,
    open_source,
    prepare,
    timed,
)
from restore.pipeline import Restorer
from restore.resume import find_done
from restore.stream import Budget, Hold, ahead

__all__ = ["Job", "plan_jobs", "restore_jobs"]

log = logging.getLogger(__name__)

_READERS = 2  # decoding processes
_WRITERS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A photo to restore and where it goes; or something that can't be, and why."""

    source: Path
    target: Path
    problem: str = ""
    again: bool = False  # also where an earlier run has finished it with the same settings


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A job on its way; it ends where it has an outcome with nothing left to do."""

    outcome: Outcome
    ended: bool = False
    source: Source | None = None
    prepared: Prepared | None = None
    tried: Sequence[Tried] = ()
    hold: Hold | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Faces for the model, and the photos that came since the batch before."""

    came: Sequence[_Item]
    cuts: Sequence[Cut]
    tried: Sequence[Tried] = ()


def plan_jobs(source: Path, target: Path, *, again: bool = False) -> list[Job]:
    """The jobs of restoring `source` into `target`: one, or one per photo of a folder, in order.

    `again` does anew what an earlier run has finished with the same settings. Raises InputError
    where there is nothing to restore or the output can't be written.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist.", "Check the path.")
    if not source.is_dir():
        one = target / _name(source) if target.is_dir() or not target.suffix else target
        format_of(one)  # an ending that can't be written is told before the model is loaded
        return [Job(source, one, again=again)]
    if target.exists() and not target.is_dir():
        raise InputError(
            f"{source} is a folder and {target} is a file.", "Give a folder as output."
        )
    if target.resolve() == source.resolve():
        raise InputError("Input and output are the same folder.", "Give another folder as output.")
    jobs = [_job(found.path, found.problem, source, target) for found in find_photos([source])]
    jobs = [replace(job, again=again) for job in jobs]
    inside = target.resolve()
    jobs = [job for job in jobs if not job.source.resolve().is_relative_to(inside)]
    if not jobs:
        raise InputError(f"{source} holds no photo.", "Check the folder.")
    return _apart(jobs)


def restore_jobs(
    jobs: Sequence[Job],
    *,
    restorer: Restorer,
    finder: NamedFinder,
    upscaler: Upscaler | None = None,
    may_embed: Callable[[str], bool] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Yield one outcome per job, in order; only the disk's own failure stops the run.

    What an earlier run finished with the same settings is found and left, unless its job says so.
    `may_embed` says of which photos, by their SHA-256, the guard may make face vectors. Once
    `stopped` says so, photos whose faces the model has at that time are finished, those behind
    them are left untouched, and there is no further outcome. Raises ConfigError before the first
    photo where a key or certificate of the settings is wrong.
    """
    kit = open_kit(restorer, finder, upscaler=upscaler, may_embed=may_embed)
    for note in kit.guard.notes:
        log.info("%s", note)
    for note in kit.writer.notes:
        log.warning("%s", note)
    with contextlib.ExitStack() as stack:
        sandboxes = stack.enter_context(_Sandboxes())  # ended last: the stages' threads use them
        work = _Work(kit, sandboxes, stopped)
        read = ahead(work.admit(jobs), work.read, workers=_READERS, depth=2)
        # While the model restores a batch, the photos of the next one are made ready.
        ready = ahead(read, work.prepare, depth=restorer.faces_at_once)
        # Two batches at once: one in the model, the one before it judged by the guard.
        tried = ahead(work.batches(ready), work.run, workers=2, depth=1)
        written = ahead(work.complete(tried), work.finish, workers=_WRITERS, depth=1)
        stack.enter_context(contextlib.closing(written))
        stack.enter_context(work.budget)  # let go first, so that no stage waits when closed
        yield from written
    for folder in {job.target.parent for job in jobs}:
        sweep_parts(folder)  # an earlier run's that was killed


class _Sandboxes:
    """A decoding process for each thread that decodes."""

    def __init__(self) -> None:
        self._mine, self._lock, self._all = threading.local(), threading.Lock(), list[Sandbox]()

    def mine(self) -> Sandbox:
        """This thread's own."""
        if not hasattr(self._mine, "sandbox"):
            self._mine.sandbox = Sandbox()
            with self._lock:
                self._all.append(self._mine.sandbox)
        sandbox: Sandbox = self._mine.sandbox
        return sandbox

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sandbox in self._all:
            sandbox.close()


@dataclass(slots=True)
class _Work:
    """The stages of a batch; each is run by threads of its own."""

    kit: Kit
    sandboxes: _Sandboxes
    stopped: Callable[[], bool]
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.kit.config.max_memory_mb * 1_000_000)

    def admit(self, jobs: Sequence[Job]) -> Iterator[_Item]:
        """Look at each file; what is not done already waits until there is memory for it."""
        for job in jobs:
            if self.stopped():
                return
            outcome = begin(job.source, job.target, self.kit)
            try:
                yield self._admit(job, outcome)
            except StorageError:
                raise
            except AuthFaceError as error:
                yield _failed(_Item(outcome), error)

    def _admit(self, job: Job, outcome: Outcome) -> _Item:
        if job.problem:
            raise InputError(f"{job.source} {job.problem}.")
        format_of(job.target)
        check_target(job.source, job.target, overwrite=self.kit.config.overwrite)
        with timed(outcome.seconds, "read"):
            outcome = replace(outcome, input_sha256=_sha256(job.source))
            if not job.again:
                done = find_done(job.source, job.target, outcome.input_sha256, self.kit.key)
                if done is not None:
                    return _Item(replace(done, model=outcome.model), ended=True)
            facts = self.sandboxes.mine().look(job.source)
        return _Item(outcome, hold=self.budget.take(self._bytes_of(facts)))

    def _bytes_of(self, facts: Facts) -> int:
        """About what a photo takes from decoding to writing: its pixels, their copies for the
        finder and the encoder, and the encoded file."""
        grown = max(self.kit.config.upscale, self.kit.upscaler.scale if self.kit.upscaler else 1)
        sample, inside = (2 if facts.bit_depth > 8 else 1), facts.width * facts.height
        return int(inside * (3 * sample + 4) + 6 * sample * inside * grown**2)

    def read(self, item: _Item) -> _Item:
        """Decode."""
        return self._step(item, self._read)

    def _read(self, item: _Item) -> _Item:
        spent = item.outcome.seconds.get("read", 0.0)
        with timed(item.outcome.seconds, "read"):
            source = open_source(item.outcome.source, self.sandboxes.mine(), self.kit)
        item.outcome.seconds["read"] += spent
        return replace(item, source=source)

    def prepare(self, item: _Item) -> _Item:
        """Find and cut the faces."""
        return self._step(item, self._prepare)

    def _prepare(self, item: _Item) -> _Item:
        if item.source is None:
            return item
        prepared = prepare(item.outcome, item.source, self.kit)
        if not prepared.cuts and item.hold is not None:
            item.hold.let_go()  # it holds no pixels any more
        return replace(item, outcome=prepared.outcome, prepared=prepared, source=None)

    def batches(self, items: Generator[_Item]) -> Iterator[_Batch]:
        """Full batches of faces, whichever photos they are of, with the photos that came."""
        came, cuts = list[_Item](), deque[tuple[_Item, Cut]]()
        with contextlib.closing(items):
            for item in items:
                if self.stopped():
                    self.budget.close()
                    break
                came.append(item)
                cuts.extend((item, cut) for cut in _cuts_of(item))
                if item.hold is not None and _cuts_of(item):
                    item.hold.park()
                while len(cuts) >= (most := self.kit.restorer.faces_at_once):
                    yield _Batch(came, _taken(cuts, most))
                    came = []
                if came and not cuts:
                    yield _Batch(came, ())
                    came = []
        yield _Batch(came, _taken(cuts, len(cuts)))

    def run(self, batch: _Batch) -> _Batch:
        """The batch with what became of its faces; without, where the run was told to stop."""
        if not batch.cuts or self.stopped():
            return batch
        return replace(batch, tried=self.kit.run(batch.cuts))

    def complete(self, batches: Generator[_Batch]) -> Iterator[_Item]:
        """The photos whose faces are all done, in order."""
        waiting, done = deque[_Item](), deque[Tried]()
        with contextlib.closing(batches):
            for batch in batches:
                waiting.extend(batch.came)
                done.extend(batch.tried)
                yield from _complete(waiting, done)
                if len(batch.tried) < len(batch.cuts):
                    self.budget.close()  # what these photos hold, nobody lets go of any more
                    return

    def finish(self, item: _Item) -> Outcome:
        """Paste and write."""
        done = self._step(item, self._finish)
        if item.hold is not None:
            item.hold.let_go()
        return done.outcome

    def _finish(self, item: _Item) -> _Item:
        if item.prepared is None:
            return item
        outcome = finish(item.prepared, item.tried, self.kit)
        return replace(item, outcome=outcome, ended=True)

    def _step(self, item: _Item, work: Callable[[_Item], _Item]) -> _Item:
        """The item after its work, or with what went wrong: one photo never stops the others."""
        if item.ended:
            return item
        try:
            return work(item)
        except StorageError:
            raise
        except MemoryError:
            todo = "Free memory, or restore it alone with a smaller --upscale."
            return _failed(item, InputError("There is not enough memory for this photo.", todo))
        except AuthFaceError as error:
            return _failed(item, error)
        except Exception as error:  # a fault of ours costs its photo, not the batch
            log.exception("%s", item.outcome.source)
            wrong = f"{type(error).__name__}: {error}."
            return _failed(
                item, InputError(wrong, "Please report it: this is a fault of AuthFace.")
            )


def _cuts_of(item: _Item) -> tuple[Cut, ...]:
    return () if item.prepared is None else item.prepared.cuts


def _taken(cuts: deque[tuple[_Item, Cut]], count: int) -> list[Cut]:
    """The next faces; a photo whose last one is among them waits for no other photo any more."""
    taken = [cuts.popleft() for _ in range(count)]
    for item, cut in taken:
        if item.hold is not None and cut is _cuts_of(item)[-1]:
            item.hold.move()
    return [cut for _, cut in taken]


def _complete(waiting: deque[_Item], done: deque[Tried]) -> Iterator[_Item]:
    """The photos at the front whose faces are all done, with what became of them."""
    while waiting and len(_cuts_of(waiting[0])) <= len(done):
        item = waiting.popleft()
        mine = [done.popleft() for _ in _cuts_of(item)]
        if mine:
            item.outcome.seconds["restore"] = sum(one.model_s for one in mine)
            item.outcome.seconds["judge"] = sum(one.judge_s for one in mine)
        yield replace(item, tried=mine)


def _failed(item: _Item, error: AuthFaceError) -> _Item:
    log.info("%s: %s", item.outcome.source, error)
    if item.hold is not None:
        item.hold.let_go()
    outcome = replace(item.outcome, status="failed", problem=str(error))
    return _Item(outcome, ended=True)


def _sha256(source: Path) -> str:
    try:
        return file_sha256(source)
    except OSError as error:
        raise InputError(f"{source} can't be read: {error.strerror}.", "Check the file.") from error


def _job(path: Path, problem: str, source: Path, target: Path) -> Job:
    relative = path.relative_to(source.absolute())
    return Job(path, target / relative.with_name(_name(path)), problem)


def _apart(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, none of which writes what another does: a.heic beside a.heic.tif."""
    taken, apart = set[Path](), []
    for job in jobs:
        target = job.target
        while target in taken:
            target = target.with_name(f"{target.stem}-2{target.suffix}")
        taken.add(target)
        apart.append(replace(job, target=target))
    return apart


def _name(path: Path) -> str:
    """The output's file name: the input's, with .tif added where its format can't be written."""
    try:
        format_of(path)
    except InputError:
        return path.name + ".tif"
    return path.name
