"""Values of the tables as people and programs read them: short cells, and JSON that is JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["cell", "moment", "plain"]

CELL = 48  # characters
SHOWN = 3  # items of a list


def cell(value: Any, *, width: int = CELL) -> str:
    """The value in one short line; times in UTC, and of long lists the first few items."""
    text = _text(value)
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= width else text[: width - 3] + "..."


def moment(when: datetime) -> str:
    """A time to the second, in UTC, with its fraction if it has one."""
    if when.tzinfo is None:  # a plain TIMESTAMP says no zone, and neither do we
        return when.isoformat(sep=" ")
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ") + " UTC"


def plain(value: Any) -> Any:
    """The value as JSON holds it: times as ISO 8601 in UTC, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if value is None or isinstance(value, str | int) else _text(value)


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        said = (f"{k}: {_text(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(said) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        more = f", ... {len(value)} in all" if len(value) > SHOWN else ""
        return "[" + ", ".join(map(_text, value[:SHOWN])) + more + "]"
    return next((say(value) for kind, say in _WORDS if isinstance(value, kind)), str(value))


# A datetime is a date too, so it comes first.
_WORDS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (datetime, moment),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, lambda span: f"{span.total_seconds():g} s"),
    (bytes, bytes.hex),
    (float, lambda x: f"{x:.6g}" if abs(x) < 1e6 else str(x)),
)
