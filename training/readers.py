"""Who reads samples: threads ahead of the training, or the training thread itself.

What is read does not depend on it: all that is random is drawn by (seed, step, place).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["open_pool", "reader_count"]

T = TypeVar("T")
_MOST = 8  # more only wait for one another at the disk


def reader_count(setting: int | None) -> int:
    """The number of threads that a setting asks for; none asks for one per core, at most 8."""
    return min(_MOST, os.cpu_count() or 1) if setting is None else setting


def open_pool(threads: int, name: str) -> Executor:
    """So many threads, or for 0 none: what is asked for is then done at once by who asks."""
    return ThreadPoolExecutor(threads, name) if threads else _Here()


class _Here(Executor):
    """Does a job when it is given; an error waits for whoever asks for the result, as ever."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future that is done already."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done
