"""What parent and child say to each other: length-prefixed JSON, and one open file with it.

Records travel as JSON and never as pickles: a decoder that a hostile file took over must not be
able to run code in the parent.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

__all__ = ["from_json", "receive", "send", "to_json"]

LONGEST = 64_000_000  # bytes; the largest part is an ICC profile

Record = TypeVar("Record")


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


def to_json(value: Any) -> Any:
    """A record, or anything inside one, as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def from_json(noun: type[Record], values: Mapping[str, Any]) -> Record:
    """The record; raises TypeError or ValueError where the values are not those of the noun."""
    hints = _hints(typing.cast(Any, noun))
    return noun(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(hint, types.UnionType):
        (hint,) = [a for a in typing.get_args(hint) if a is not type(None)]
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v) for v in value)
    if is_dataclass(hint):
        return from_json(typing.cast(type, hint), value)
    return _plain(hint, value)


def _plain(hint: Any, value: Any) -> Any:
    if hint is datetime:
        return datetime.fromisoformat(value)
    if hint is bytes:
        return base64.b64decode(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, hint):
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return value


@cache
def _hints(noun: Any) -> dict[str, Any]:
    return typing.get_type_hints(noun)


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
