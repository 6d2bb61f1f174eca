"""Being told to stop by Ctrl-C or by SIGTERM, which job schedulers and `systemctl stop` send."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from data_manifests.errors import AuthFaceError

__all__ = ["Stop", "ToldToStop", "hearing"]

_HEARD = "\n! stopping when what is in hand is done; a second time ends it at once\n"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it, and a second signal leaves no time for that


class ToldToStop(AuthFaceError):  # noqa: N818 - being told to stop is no error
    """A command was told to stop and has; `exit_code` is 128 + the signal."""

    def __init__(self, exit_code: int, wrong: str, todo: str = "") -> None:
        super().__init__(wrong, todo)
        self.exit_code = exit_code


class Stop:
    """Whether the command was told to stop, by which signal (0 is none), and what to say then."""

    def __init__(self, words: tuple[str, str]) -> None:
        self.number, self.words = 0, words
        self._asks = False

    def __call__(self) -> bool:
        """True once it was told to."""
        return self.number != 0

    def error(self) -> ToldToStop:
        """What to raise where the work was left."""
        name = "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name
        wrong, todo = self.words
        return ToldToStop(128 + self.number, f"Stopped by {name}: {wrong}", todo)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """In here the work itself asks whether to stop, and breaks off where it loses least."""
        self._asks = True
        try:
            yield
        finally:
            self._asks = False

    def _hear(self, number: int) -> None:
        self.number = self.number or number
        if not self._asks:
            raise KeyboardInterrupt
        shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
        # Not by the console: the signal may have come while it was writing.
        with contextlib.suppress(OSError):
            os.write(2, (shown + _HEARD).encode())


@contextlib.contextmanager
def hearing(wrong: str, todo: str = "") -> Iterator[Stop]:
    """Hear the first SIGTERM or Ctrl-C; the second ends the process at once.

    The first breaks the work off where it is, unless the work is asking, and is raised as
    ToldToStop: with the words given here, or those that the Stop was given since. Only the main
    thread may ask for this.
    """
    stop = Stop((wrong, todo))
    # One that the parent has made nobody hear, as `nohup` and `&` do, stays unheard.
    before = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGINT)
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def hear(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        stop._hear(number)

    for number in before:
        signal.signal(number, hear)
    try:
        yield stop
    except KeyboardInterrupt:
        raise stop.error() from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
