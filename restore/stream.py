"""Work done ahead in threads, in order and within bounds: decode, model and writing overlap."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

__all__ = ["Budget", "Hold", "ahead"]

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    source: Iterable[T], work: Callable[[T], R], *, workers: int = 1, depth: int = 2
) -> Generator[R]:
    """Yield `work(item)` of every item, in order, worked out in threads ahead of who asks.

    At most `depth` results wait to be taken besides the `workers` that are being made. `source` is
    iterated in a thread of its own, so that stages may be chained. An error of the source or of the
    work is raised in its place. Closing the iterator closes the source.
    """
    ready: SimpleQueue[_Ready[R]] = SimpleQueue()
    room, stop = threading.Semaphore(workers + depth), threading.Event()
    pool = ThreadPoolExecutor(workers)
    feeder = threading.Thread(target=_feed, args=(source, work, pool, ready, room, stop))
    feeder.start()
    try:
        while (one := ready.get()).future is not None:
            yield one.future.result()
            room.release()
        if one.error is not None:
            raise one.error
    finally:
        stop.set()
        room.release()
        feeder.join()
        pool.shutdown(wait=True, cancel_futures=True)


class _Ready(Generic[R]):
    """A result to come; without one, the end, or the source's error."""

    def __init__(self, future: Future[R] | None = None, error: BaseException | None = None) -> None:
        self.future, self.error = future, error


def _feed(
    source: Iterable[T],
    work: Callable[[T], R],
    pool: ThreadPoolExecutor,
    ready: SimpleQueue[_Ready[R]],
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            room.acquire()
            if stop.is_set():
                break
            ready.put(_Ready(pool.submit(work, item)))
    except BaseException as caught:  # handed to who asks: nobody looks into this thread
        error = caught
    finally:
        close: Any = getattr(source, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()
        ready.put(_Ready(error=error))


class Budget:
    """So many bytes of photos at once. One photo is let in whatever its size if none is at work.

    What is parked, waiting for photos behind it to fill a batch, does not hold those up for ever.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._used = self._moving = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, size: int) -> Hold:
        """Wait until `size` bytes fit, and hold them."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._moving == 0 or self._used + size <= self._most
            )
            self._used += size
            self._moving += 1
        return Hold(self, size)

    def close(self) -> None:
        """Nobody waits any longer: the stages are being closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _count(self, used: int, moving: int) -> None:
        with self._changed:
            self._used += used
            self._moving += moving
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Hold:
    """A share of a Budget, held until it is let go; letting go twice counts once."""

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget, self._size = budget, size
        self._parked = self._gone = False

    def park(self) -> None:
        """It waits for others."""
        if not self._parked and not self._gone:
            self._parked = True
            self._budget._count(0, -1)

    def move(self) -> None:
        """It is worked on again."""
        if self._parked and not self._gone:
            self._parked = False
            self._budget._count(0, 1)

    def let_go(self) -> None:
        """Its photo is done with."""
        if not self._gone:
            self._gone = True
            self._budget._count(-self._size, 0 if self._parked else -1)
