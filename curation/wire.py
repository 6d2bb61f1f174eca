"""What parent and child say to each other: length-prefixed JSON, and one open file with it."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from curation.facts import Facts
from data_manifests.records import Capture

__all__ = ["facts_from_json", "facts_to_json", "receive", "send"]

LONGEST = 32_000_000  # bytes; the largest part is an ICC profile


def send(channel: socket.socket, message: Mapping[str, Any], handle: int | None = None) -> None:
    """Send one message and, if given, an open file."""
    data = json.dumps(message).encode("ascii")
    head = len(data).to_bytes(4, "big")
    if handle is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [handle])
    channel.sendall(data)


def receive(channel: socket.socket) -> tuple[dict[str, Any], int | None]:
    """The next message and the open file that came with it; EOFError if the other side is gone."""
    head, handles, _, _ = socket.recv_fds(channel, 4, 1)
    handle = handles[0] if handles else None
    try:
        head += _exactly(channel, 4 - len(head)) if head else b""
        size = int.from_bytes(head, "big")
        if not head or size > LONGEST:
            raise EOFError
        message = json.loads(_exactly(channel, size))
    except BaseException:
        if handle is not None:
            os.close(handle)
        raise
    return message, handle


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Facts as plain JSON values."""
    values = asdict(facts)
    values["icc"] = base64.b64encode(facts.icc).decode() if facts.icc else None
    if facts.capture and facts.capture.taken_at:
        values["capture"]["taken_at"] = facts.capture.taken_at.isoformat()
    return values


def facts_from_json(values: Mapping[str, Any]) -> Facts:
    """Facts from plain JSON values."""
    capture = dict(values["capture"]) if values["capture"] else None
    if capture and capture["taken_at"]:
        capture["taken_at"] = datetime.fromisoformat(capture["taken_at"])
    return Facts(
        **{
            **values,
            "icc": base64.b64decode(values["icc"]) if values["icc"] else None,
            "capture": Capture(**capture) if capture else None,
            "notes": tuple(values["notes"]),
        }
    )


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
