"""Delta's commit log after an erasure: sizes, statistics, hashes and words that are true again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_manifests.scrub import Doom
from data_manifests.seals import FILES

__all__ = ["NewFile", "changed_commit", "stats_of"]

_WORDS = "authface_why"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A Parquet file as it is after the erasure; `stats` are Delta's, without the count."""

    size: int
    sha256: str
    rows: int
    stats: Mapping[str, Any]


def changed_commit(text: str, files: Mapping[str, NewFile], doom: Doom) -> str | None:
    """The text of a commit file with the new files' facts and without the person; none if same."""
    lines = text.splitlines()
    after = [_changed_line(line, files, doom) for line in lines]
    return None if after == lines else "\n".join(after)


def stats_of(rows: pa.Table, before: Mapping[str, Any]) -> dict[str, Any]:
    """Delta's statistics of the columns that it kept statistics of before.

    Numbers and strings; of dates and truths none are kept, which costs a reader time and no row.
    """
    measures: dict[str, Callable[[Any], Any]] = {
        "minValues": lambda column: _extreme(column, "min"),
        "maxValues": lambda column: _extreme(column, "max"),
        "nullCount": lambda column: int(column.null_count),
    }
    return {key: _measured(rows, before[key], m) for key, m in measures.items() if key in before}


def _changed_line(line: str, files: Mapping[str, NewFile], doom: Doom) -> str:
    if not line.strip():
        return line
    action: dict[str, Any] = json.loads(line)
    told = json.dumps(action)
    for kind in ("add", "remove"):
        if kind in action:
            _set_file(action[kind], files)
    if "commitInfo" in action:
        _set_info(action["commitInfo"], files, doom)
    return line if json.dumps(action) == told else json.dumps(action, separators=(",", ":"))


def _set_file(action: dict[str, Any], files: Mapping[str, NewFile]) -> None:
    new = files.get(str(action["path"]))
    if new is None:
        return
    if action.get("size") is not None:
        action["size"] = new.size
    if action.get("stats"):
        stats = {"numRecords": new.rows, **new.stats}
        action["stats"] = json.dumps(stats, separators=(",", ":"))


def _set_info(info: dict[str, Any], files: Mapping[str, NewFile], doom: Doom) -> None:
    """The words of people may hold any id; what programs wrote holds keys, and only in quotes."""
    for key, value in info.items():
        if key == FILES:
            sealed = json.loads(value)
            fresh = {n: files[n].sha256 if n in files else h for n, h in sealed.items()}
            info[key] = json.dumps(fresh)
        elif isinstance(value, str):
            info[key] = doom.in_text(value, short=key == _WORDS)
    parameters = info.get("operationParameters")
    if isinstance(parameters, dict):
        for key, value in parameters.items():
            if isinstance(value, str) and "redicate" in key:
                parameters[key] = doom.in_text(value, short=True)


def _measured(
    rows: Any, before: Mapping[str, Any], measure: Callable[[Any], Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, told in before.items():
        column = _column(rows, name)
        if column is None:
            continue
        value = _measured(column, told, measure) if isinstance(told, dict) else measure(column)
        if value is not None:
            found[name] = value
    return found


def _column(rows: Any, name: str) -> Any:
    """A column of a table, or a member of a struct with the struct's nulls taken over."""
    if isinstance(rows, pa.Table):
        return rows.column(name).combine_chunks() if name in rows.schema.names else None
    place = rows.type.get_field_index(name) if pa.types.is_struct(rows.type) else -1
    return None if place < 0 else rows.flatten()[place]


def _extreme(column: Any, which: str) -> Any:
    kind = column.type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)
    if not plain or len(column) == column.null_count:
        return None
    return pc.min_max(column)[which].as_py()
