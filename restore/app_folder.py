"""The web page's own folder: private, emptied as it goes, and gone at the end."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["KEPT_S", "AppFolder"]

KEPT_S = 600.0  # s: what the page promises
_EVERY_S = 20.0
_PREFIX = "authface-app-"
_LOCK = ".lock"

log = logging.getLogger(__name__)


class AppFolder:
    """A folder that only this user can open. What lies in it for ten minutes is deleted.

    Folders that a killed process left behind are deleted when the next one starts.
    """

    def __init__(self, parent: Path | None = None, *, kept_s: float = KEPT_S) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _delete_orphans(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()  # mode 0700
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # A sweep comes only so often; nothing may outlive the promise by waiting for it.
        self._oldest_s = max(0.0, kept_s - 2 * _EVERY_S)
        self._busy: set[Path] = set()
        self._end = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_on, name="app-folder", daemon=True)
        self._sweeper.start()

    def close(self) -> None:
        """Delete the folder."""
        self._end.set()
        self._sweeper.join()
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A new folder in it, whose ten minutes begin when the work ends."""
        place = Path(tempfile.mkdtemp(prefix="work-", dir=self.path))
        self._busy.add(place)
        try:
            yield place
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            for path in (*place.rglob("*"), place):
                with contextlib.suppress(OSError):
                    os.utime(path)
            self._busy.discard(place)

    def sweep(self) -> None:
        """Delete what has lain there long enough, and the folders that are empty then."""
        now = time.time()
        for path in sorted(self.path.rglob("*"), reverse=True):  # a folder after what is in it
            if path.name == _LOCK or any(path.is_relative_to(busy) for busy in self._busy):
                continue
            with contextlib.suppress(OSError):
                if now - path.lstat().st_mtime < self._oldest_s:
                    continue
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()

    @property
    def held_bytes(self) -> int:
        """How much lies in it."""
        total = 0
        for path in self.path.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        return total

    def _sweep_on(self) -> None:
        while not self._end.wait(_EVERY_S):
            try:
                self.sweep()
            except OSError:
                log.exception("sweeping %s", self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _delete_orphans(parent: Path) -> None:
    """Delete our folders whose process is gone: the system let go of its lock."""
    for old in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if old.is_symlink() or old.stat().st_uid != os.getuid():
                continue
            with (old / _LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
