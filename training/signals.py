"""Being told to stop: the first SIGTERM or SIGINT is remembered, the second acts as ever."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from data_manifests.errors import AuthFaceError
from training.world import here

__all__ = ["Stopped", "hearing"]


class Stopped(AuthFaceError):  # noqa: N818 - being told to stop is no error
    """The run was told to stop and has saved its state; `exit_code` is 128 + the signal."""

    def __init__(self, step: int, number: int) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(
            f"Stopped by {name} after step {step}; the state is saved.",
            "Go on with --resume.",
        )
        self.step, self.exit_code = step, 128 + number


@contextlib.contextmanager
def hearing() -> Iterator[Callable[[], int]]:
    """A function that gives the signal that asked the run to stop, 0 if none did.

    One of several processes may be told twice, by who stops them all and by who started it; a
    second SIGTERM is then the same wish, and no reason not to save. If whoever started it is gone,
    that is the same wish too: nobody else would end it.
    """
    parent = 0 if here().alone else os.getppid()
    repeated = {signal.SIGTERM} if parent else set()
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # only the main thread may ask to hear signals
        return
    before = {int(n): signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def hear(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        for each, handler in before.items():
            if each not in repeated:
                signal.signal(each, handler)

    for number in before:
        signal.signal(number, hear)

    try:
        yield lambda: next(iter(told), _orphaned(parent))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _orphaned(parent: int) -> int:
    """SIGTERM if the process that is to be the parent is gone; 0 too where none is to be."""
    return int(signal.SIGTERM) if parent and os.getppid() != parent else 0
