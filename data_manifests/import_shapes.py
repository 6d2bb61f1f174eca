"""What an importer reads: entries found, their answers and marks, and what is set aside and why.

Boxes and points stay in the units of their source until the size of the picture is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_manifests.errors import InputError
from data_manifests.import_files import PICTURES, Folder, read_json

__all__ = [
    "Answer",
    "Aside",
    "Found",
    "Mark",
    "Outside",
    "is_picture",
    "parsed",
    "read_top",
    "unnamed",
]

M = TypeVar("M", bound="Outside")


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that was not taken in: a file, or an entry of one, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A box, or a point where right and bottom are none; in pixels, or in percent of the sides."""

    label: str
    left: float
    top: float
    right: float | None = None
    bottom: float | None = None
    percent: bool = False
    origin: str = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one person, or a finished dataset, says about a picture."""

    raw: str
    who: str = ""  # tells several people's answers apart
    state: str = "counted"
    decision: str | None = None
    caption: str | None = None
    semantic_tags: tuple[str, ...] = ()
    photographic_tags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    rating: int | None = None
    note: str | None = None
    marks: tuple[Mark, ...] = ()
    ground_truth: bool = False
    lead_time_s: float | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A picture of the folder with its answers; `size` is what the source says, in px."""

    name: str
    answers: tuple[Answer, ...]
    size: tuple[int, int] | None = None


class Outside(BaseModel):
    """Something that another program wrote; what it says beyond our fields passes unread."""

    # These formats carry many more fields, and more with each program.
    model_config = ConfigDict(frozen=True, extra="ignore")


def parsed(model: type[M], value: Any) -> M | str:
    """The checked value, or a sentence on the first thing that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(str(part) for part in fault["loc"]) or "it"
        return f"wrong_shape: {path}: {fault['msg']}"


def read_top(folder: Folder, file: str, kind: type) -> Any:
    """The JSON of a file that must hold an object or a list; raises InputError if it does not."""
    try:
        whole = read_json(folder.root / file)
    except ValueError as error:
        raise InputError(f"{folder.root / file}: {error}.", "Name the JSON file itself.") from error
    if not isinstance(whole, kind):
        what = "an object with images and annotations" if kind is dict else "a list of tasks"
        raise InputError(f"{folder.root / file} is not {what}.", "See `--help` for the formats.")
    return whole


def unnamed(folder: Folder, used: set[str]) -> Iterator[Aside]:
    """The files that no entry has named."""
    for name in folder.names:
        if name not in used:
            reason = "no_annotation" if is_picture(name) else "neither_picture_nor_annotation"
            yield Aside(name, reason)
    yield from (Aside(name, reason) for name, reason in folder.odd)


def is_picture(name: str) -> bool:
    """Whether the name's ending is that of a format that is taken in."""
    return PurePosixPath(name).suffix.lower() in PICTURES
