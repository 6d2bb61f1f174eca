"""Work on strangers' files in a process that can be killed: a crash, a hang or a memory bomb costs
one file.

One child per Sandbox, kept for many files because starting one costs about half a second. Pixels
and pictures come back as a memory file whose handle travels with the reply: nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from curation.blocks import Blocks
from curation.config import DecoderConfig, IngestConfig
from curation.decode import DecodedPhoto, Pixels
from curation.facts import Facts
from curation.source import Stamp
from curation.wire import from_json, receive, send
from curation.worker import Blob, Taken
from data_manifests.errors import ConfigError, UnreadablePhoto
from data_manifests.media import media_name
from data_manifests.records import Face, Photo, Verdict

__all__ = ["Sandbox"]

START_S = 60.0  # a cold start reads numpy and Pillow from disk
# The child learns nothing it does not need: no tokens, no proxies.
_PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TMPDIR",
    "HOME",
    "XDG_CACHE_HOME",
    "AUTHFACE_MODELS",
)
_OUT_OF_TIME = (signal.SIGXCPU, signal.SIGALRM)


class Sandbox:
    """One decoding process, started when first needed, replaced when it dies or has grown old."""

    def __init__(
        self, config: DecoderConfig | None = None, *, ingest: IngestConfig | None = None
    ) -> None:
        self.ingest = ingest or IngestConfig(decoder=config or DecoderConfig())
        self.config = self.ingest.decoder
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._files = 0

    def look(self, path: Path) -> Facts:
        """The facts from the file's header; raises UnreadablePhoto."""
        answer, handle = self._ask("look", path)
        if handle is not None:
            os.close(handle)
        return from_json(Facts, answer["facts"])

    def read(self, path: Path, *, writable: bool = False) -> DecodedPhoto:
        """The decoded photo; raises UnreadablePhoto.

        Its pixels are read-only. Those of a `writable` one are the caller's: pages that are written
        to are copied then, so that changing a face in a large frame does not double the memory.
        """
        answer, handle = self._ask("read", path)
        if handle is None:
            raise UnreadablePhoto("decoder_crash", "The decoder sent no pixels.")
        try:
            facts = from_json(Facts, answer["facts"])
            bands_HWC = self._bands(facts, handle, answer, writable=writable)
        finally:
            os.close(handle)
        alpha_HW = bands_HWC[1][..., 0] if answer["alpha"] is True else None
        return DecodedPhoto(bands_HWC[0], facts, alpha_HW, answer["grey"] is True)

    def blocks(self, path: Path) -> Blocks:
        """The file's metadata blocks; raises UnreadablePhoto."""
        answer, handle = self._ask("blocks", path)
        if handle is not None:
            os.close(handle)
        return from_json(Blocks, answer["blocks"])

    def take(self, path: Path, wanted: Callable[[str, Stamp], bool]) -> Taken | None:
        """Hash the file and, if `wanted` says so of (photo_id, stamp), judge it; else none.

        Raises UnreadablePhoto with the reason "unreadable" if the file can't be opened; one that
        breaks the child is a Taken in quarantine.
        """
        hashed, _ = self._ask("take", path)
        photo_id, stamp = str(hashed["photo_id"]), (int(hashed["size"]), int(hashed["changed"]))
        go = wanted(photo_id, stamp)
        try:
            answer, handle = self._exchange({"go": go})
        except UnreadablePhoto as error:
            return Taken(_broken(photo_id, stamp, error)) if go else None
        if handle is None:
            return None
        try:
            return _taken(answer, _whole(handle))
        except (KeyError, TypeError, ValueError) as error:
            wrong = UnreadablePhoto("decoder_crash", f"The worker's answer makes no sense: {error}")
            return Taken(_broken(photo_id, stamp, wrong))
        finally:
            os.close(handle)

    def close(self) -> None:
        """Stop the child."""
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            self._kill(self._child)
        self._child = self._channel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, what: str, path: Path) -> tuple[dict[str, Any], int | None]:
        self._ready()
        return self._exchange({"do": what, "path": str(path)})

    def _exchange(self, message: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        channel = self._channel
        if channel is None:
            raise self._post_mortem()
        try:
            channel.settimeout(self.config.timeout_s)
            send(channel, message)
            answer, handle = receive(channel)
        except TimeoutError as error:
            self.close()
            raise self._out_of_time() from error
        except (OSError, EOFError, ValueError) as error:
            raise self._post_mortem() from error
        if "stop" in answer:
            raise ConfigError(str(answer["stop"]))
        if "reason" in answer:
            raise UnreadablePhoto(str(answer["reason"]), str(answer["wrong"]), str(answer["todo"]))
        return answer, handle

    def _ready(self) -> None:
        if self._files >= self.config.files_per_process:
            self.close()
        if self._channel is None or self._child is None or self._child.poll() is not None:
            self.close()
            self._start()
        self._files += 1

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        here = str(Path(__file__).resolve().parent.parent)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "curation.child",
                str(theirs.fileno()),
                self.ingest.model_dump_json(),
            ],
            env={**kept, **threads, "PYTHONPATH": os.pathsep.join([here, *filter(None, sys.path)])},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._channel, self._files = ours, 0
        ours.settimeout(START_S)
        try:
            receive(ours)  # it says when it is ready, so that starting does not count as decoding
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise ConfigError(
                "The worker process does not start.",
                "Raise [ingest.decoder] memory_mb, and run `authface doctor`.",
            ) from error

    def _bands(
        self, facts: Facts, handle: int, answer: dict[str, Any], *, writable: bool
    ) -> list[Pixels]:
        """The colours HW3, and the alpha HW1 if it was sent."""
        kind: Any = np.uint16 if answer["deep"] is True else np.uint8
        channels = (3, 1) if answer["alpha"] is True else (3,)
        plane = facts.width * facts.height * np.dtype(kind).itemsize
        wanted = plane * sum(channels)
        if not wanted or facts.width * facts.height > self.config.most_pixels:
            raise UnreadablePhoto("decoder_crash", "The decoder sent a picture of impossible size.")
        _seal(handle)
        if os.fstat(handle).st_size != wanted:
            raise UnreadablePhoto("decoder_crash", "The decoder sent fewer pixels than it said.")
        access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
        memory = mmap.mmap(handle, wanted, access=access)
        shape, count = (facts.height, facts.width), facts.width * facts.height
        starts = (0, 3 * plane)
        return [
            np.frombuffer(memory, kind, count * n, start).reshape(*shape, n)
            for n, start in zip(channels, starts, strict=False)
        ]

    def _post_mortem(self) -> UnreadablePhoto:
        """What the child died of."""
        child, died = self._child, None
        if child is not None:
            deadline = time.monotonic() + 5
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            died = child.poll()
        self.close()
        if died is not None and -died in _OUT_OF_TIME:
            return self._out_of_time()
        if died == -signal.SIGKILL:  # not from us: the system was out of memory
            return UnreadablePhoto(
                "memory", "The system stopped the decoder, most likely for memory."
            )
        name = signal.Signals(-died).name if died is not None and died < 0 else f"exit code {died}"
        return UnreadablePhoto("decoder_crash", f"The decoder broke down on this file ({name}).")

    def _out_of_time(self) -> UnreadablePhoto:
        return UnreadablePhoto(
            "timeout",
            f"Decoding it took more than {self.config.timeout_s:g} s.",
            "Raise [ingest.decoder] timeout_s if it is a photo.",
        )

    @staticmethod
    def _kill(child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _broken(photo_id: str, stamp: Stamp, error: UnreadablePhoto) -> Photo:
    verdict = Verdict(gate="decode", keep=False, reason=str(error))
    return Photo(
        photo_id=photo_id,
        path="",
        state="quarantined",
        reasons=(error.reason,),
        size_bytes=stamp[0],
        verdicts=(verdict,),
    )


def _taken(answer: dict[str, Any], data: bytes) -> Taken:
    blobs, start = [], 0
    for said in answer["blobs"]:
        end = start + int(said["size"])
        part = data[start:end]
        path, _ = media_name(str(said["kind"]), part, str(said["suffix"]))
        if path != said["path"]:
            raise ValueError("a picture is not what its name says")
        blobs.append(Blob(str(said["kind"]), str(said["suffix"]), path, part))
        start = end
    photo = from_json(Photo, answer["photo"])
    return Taken(photo, tuple(from_json(Face, f) for f in answer["faces"]), tuple(blobs))


def _whole(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0) if size else b""


def _seal(handle: int) -> None:
    """Forbid shrinking, so that a broken child can't take mapped memory away from us."""
    if hasattr(fcntl, "F_ADD_SEALS"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
