"""The decoding child: `python -m curation.child HANDLE CONFIG`. Reads files, may die of them."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from curation.config import DecoderConfig
from curation.decode import Pixels, read_facts, read_photo
from curation.wire import facts_to_json, receive, send
from data_manifests.errors import UnreadablePhoto

__all__ = ["serve"]

_NO_NEW_PRIVILEGES = 38  # prctl, <linux/prctl.h>


def serve(channel: socket.socket, config: DecoderConfig) -> None:
    """Answer requests until the parent hangs up."""
    _give_up_rights(config)
    send(channel, {"ready": os.getpid()})
    while True:
        try:
            request, _ = receive(channel)
        except (EOFError, OSError):
            return
        _limit_time(config.timeout_s)
        message, handle = _answer(request)
        signal.alarm(0)
        send(channel, message, handle)
        if handle is not None:
            os.close(handle)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    path, most_pixels = Path(request["path"]), int(request["most_pixels"])
    try:
        if request["do"] == "look":
            return {"facts": facts_to_json(read_facts(path, most_pixels=most_pixels))}, None
        photo = read_photo(path, most_pixels=most_pixels)
        deep = photo.pixels_HWC.dtype == np.uint16
        return {"facts": facts_to_json(photo.facts), "deep": deep}, _hand_over(photo.pixels_HWC)
    except UnreadablePhoto as error:
        return {"reason": error.reason, "wrong": error.wrong, "todo": error.todo}, None
    except MemoryError:
        return _refusal("memory", "Decoding it takes more memory than is allowed."), None
    except Exception as error:  # a decoder's own fault on hostile bytes is a verdict on the file
        return _refusal("damaged", f"The decoder failed: {type(error).__name__}."), None


def _refusal(reason: str, wrong: str) -> dict[str, Any]:
    return {"reason": reason, "wrong": wrong, "todo": ""}


def _hand_over(pixels_HWC: Pixels) -> int:
    """An open memory file that holds the pixels, rows from top to bottom."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("photo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        handle = os.dup(tempfile.TemporaryFile().fileno())  # noqa: SIM115 - the copy outlives it
    os.ftruncate(handle, pixels_HWC.nbytes)
    out_HWC = np.memmap(
        os.fdopen(os.dup(handle), "r+b"), pixels_HWC.dtype, "r+", 0, pixels_HWC.shape
    )
    out_HWC[...] = pixels_HWC
    return handle


def _give_up_rights(config: DecoderConfig) -> None:
    memory = config.memory_mb * 1_000_000
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _limit_time(seconds: float) -> None:
    """Die by alarm or by the CPU limit, also inside C code and also if the parent is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
    signal.alarm(int(seconds) + 2)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), DecoderConfig.model_validate_json(sys.argv[2]))
