"""The worker child: `python -m curation.child HANDLE CONFIG`. Reads files, may die of them."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.blocks import read_blocks
from curation.config import DecoderConfig, IngestConfig
from curation.decode import Pixels, read_facts, read_photo
from curation.source import open_source
from curation.wire import receive, send, to_json
from curation.worker import Worker
from data_manifests.errors import AuthFaceError, UnreadablePhoto

__all__ = ["serve"]

Answer = tuple[dict[str, Any], int | None]  # what to say, and an open file to go with it

_NO_NEW_PRIVILEGES = 38  # prctl, <linux/prctl.h>


def serve(channel: socket.socket, config: IngestConfig) -> None:
    """Answer requests until the parent hangs up."""
    _give_up_rights(config.decoder)
    cv2.setNumThreads(1)
    worker = Worker(config)
    send(channel, {"ready": os.getpid()})
    while True:
        try:
            request, _ = receive(channel)
            _limit_time(config.decoder.timeout_s)
            _serve_one(channel, request, worker)
        except (EOFError, OSError):
            return
        signal.alarm(0)


def _serve_one(channel: socket.socket, request: dict[str, Any], worker: Worker) -> None:
    path = Path(request["path"])
    if request["do"] == "take":
        message, handle = _guarded(lambda: _hashed(channel, path, worker))
    else:
        most = worker.config.decoder.most_pixels
        answer = {"look": _looked, "blocks": _blocks}.get(request["do"], _decoded)
        message, handle = _guarded(lambda: answer(path, most))
    send(channel, message, handle)
    if handle is not None:
        os.close(handle)


def _guarded(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except UnreadablePhoto as error:
        return {"reason": error.reason, "wrong": error.wrong, "todo": error.todo}, None
    except MemoryError:
        return _refusal("memory", "Decoding it takes more memory than is allowed."), None
    except AuthFaceError as error:  # a finder that is not there: the run must stop, not the file
        return {"stop": str(error)}, None
    except ConnectionError:
        raise
    except Exception as error:  # a decoder's own fault on hostile bytes is a verdict on the file
        return _refusal("damaged", f"The decoder failed: {type(error).__name__}."), None


def _hashed(channel: socket.socket, path: Path, worker: Worker) -> Answer:
    """Say the file's hash, wait whether it is wanted, and judge it then."""
    source = open_source(path)
    size, changed = source.stamp
    send(channel, {"photo_id": source.photo_id, "size": size, "changed": changed})
    answer, _ = receive(channel)
    if answer.get("go") is not True:
        return {"passed": True}, None
    taken = worker.take(source)
    blobs = [
        {"kind": b.kind, "suffix": b.suffix, "path": b.path, "size": len(b.data)}
        for b in taken.blobs
    ]
    faces = [to_json(f) for f in taken.faces]
    message = {"photo": to_json(taken.photo), "faces": faces, "blobs": blobs}
    return message, _memory_file([b.data for b in taken.blobs])


def _looked(path: Path, most_pixels: int) -> Answer:
    return {"facts": to_json(read_facts(path, most_pixels=most_pixels))}, None


def _blocks(path: Path, most_pixels: int) -> Answer:
    return {"blocks": to_json(read_blocks(path, most_pixels=most_pixels))}, None


def _decoded(path: Path, most_pixels: int) -> Answer:
    photo = read_photo(path, most_pixels=most_pixels)
    message = {
        "facts": to_json(photo.facts),
        "deep": photo.pixels_HWC.dtype == np.uint16,
        "alpha": photo.alpha_HW is not None,
        "grey": photo.grey,
    }
    parts = (photo.pixels_HWC, photo.alpha_HW)
    return message, _hand_over([part for part in parts if part is not None])


def _refusal(reason: str, wrong: str) -> dict[str, Any]:
    return {"reason": reason, "wrong": wrong, "todo": ""}


def _new_memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("photo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    return os.dup(tempfile.TemporaryFile().fileno())  # the copy outlives it


def _memory_file(parts: Sequence[bytes]) -> int:
    """An open memory file that holds the parts one after the other."""
    handle = _new_memory_file()
    with os.fdopen(os.dup(handle), "wb") as out:
        for part in parts:
            out.write(part)
    return handle


def _hand_over(parts: Sequence[Pixels]) -> int:
    """An open memory file that holds the pixels, rows from top to bottom, then their alpha."""
    handle = _new_memory_file()
    os.ftruncate(handle, sum(part.nbytes for part in parts))
    start = 0
    for part in parts:
        out = np.memmap(os.fdopen(os.dup(handle), "r+b"), part.dtype, "r+", start, part.shape)
        out[...] = part
        start += part.nbytes
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
    serve(socket.socket(fileno=int(sys.argv[1])), IngestConfig.model_validate_json(sys.argv[2]))
