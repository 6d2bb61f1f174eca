"""Label Studio: an exported JSON file of tasks, beside the folder of pictures that they show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, field_validator

from data_manifests.import_files import LONGEST_TEXT, Folder, as_json, clean
from data_manifests.import_shapes import (
    Answer,
    Aside,
    Found,
    Mark,
    Outside,
    is_picture,
    parsed,
    read_top,
    unnamed,
)

__all__ = ["read_label_studio"]

DECISIONS = ("accept", "retouch", "reject")


class Value(Outside):
    """What a control of Label Studio holds; only the fields of its type are set."""

    choices: tuple[str, ...] = Field(default=(), description="what was picked")
    text: tuple[str, ...] = Field(default=(), description="what was written")
    rating: int | None = Field(default=None, ge=0, le=1000, description="stars")
    x: float = Field(default=0, allow_inf_nan=False, description="percent of the width")
    y: float = Field(default=0, allow_inf_nan=False, description="percent of the height")
    width: float = Field(default=0, allow_inf_nan=False, description="percent of the width")
    height: float = Field(default=0, allow_inf_nan=False, description="percent of the height")
    rectanglelabels: tuple[str, ...] = Field(default=(), description="what a box marks")
    keypointlabels: tuple[str, ...] = Field(default=(), description="what a point marks")

    @field_validator("text", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Item(Outside):
    """One control's answer."""

    from_name: str = Field(default="", description="the control")
    type: str = Field(default="", description="its kind")
    value: Value = Field(default=Value(), description="the answer")
    origin: str = Field(default="manual", description="manual, prediction or prediction-changed")


class StudioAnswer(Outside):
    """One annotation of a task."""

    id: int | str = Field(default=0, description="the server's id")
    result: tuple[Item, ...] = Field(default=(), description="what was answered")
    completed_by: int | None = Field(default=None, description="who answered")
    was_cancelled: bool = Field(default=False, description="skipped")
    ground_truth: bool = Field(default=False, description="marked to score people with")
    lead_time: float | None = Field(default=None, allow_inf_nan=False, description="second")
    created_at: datetime | None = Field(default=None, description="server time")
    updated_at: datetime | None = Field(default=None, description="server time")

    @field_validator("completed_by", mode="before")
    @classmethod
    def _id_of_person(cls, value: Any) -> Any:
        return value.get("id") if isinstance(value, Mapping) else value

    @field_validator("created_at", "updated_at")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        # Tables hold UTC: without a zone, each import would find that the time has changed.
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class StudioTask(Outside):
    """One task of an export."""

    data: dict[str, Any] = Field(description="what was shown")
    annotations: tuple[Any, ...] = Field(default=(), description="the answers")


def read_label_studio(
    folder: Folder, file: str, columns: Mapping[str, str]
) -> Iterator[Found | Aside]:
    """Tasks of a Label Studio export; `columns` says which column a question's answer goes to."""
    find = _finder(folder)
    used = {file}
    for number, task in enumerate(read_top(folder, file, list)):
        where = f"{file}: task {number}"
        read = parsed(StudioTask, task)
        if isinstance(read, str):
            yield Aside(where, read)
            continue
        name = find(read.data)
        if name in used or name not in folder.known:
            yield Aside(where, "named_twice" if name in used else name)
            continue
        used.add(name)
        answers: list[Answer] = []
        for place, said in enumerate(read.annotations):
            answer = parsed(StudioAnswer, said)
            if isinstance(answer, str):
                yield Aside(f"{where}, annotation {place}", answer)
            else:
                answers.append(_studio_answer(answer, said, columns))
        yield Found(name, tuple(answers)) if answers else Aside(name, "no_answer")
    yield from unnamed(folder, used)


def _studio_answer(answer: StudioAnswer, said: Any, columns: Mapping[str, str]) -> Answer:
    made = Answer(
        raw=as_json(said.get("result", [])),
        who=clean(str(answer.completed_by if answer.completed_by is not None else answer.id)),
        state="skipped" if answer.was_cancelled else "counted",
        ground_truth=answer.ground_truth,
        lead_time_s=answer.lead_time,
        created_at=answer.created_at,
        updated_at=answer.updated_at,
    )
    # A skip carries the whole prefilled form, so nothing of it is read as an answer.
    for item in () if answer.was_cancelled else answer.result:
        made = _with_item(made, item, columns.get(item.from_name, ""))
    return made


def _with_item(answer: Answer, item: Item, column: str) -> Answer:
    value = item.value
    if value.rectanglelabels or value.keypointlabels:
        return replace(answer, marks=(*answer.marks, _mark(item)))
    if value.rating is not None:
        return replace(answer, rating=value.rating)
    if value.text:
        words = clean("\n".join(value.text))[:LONGEST_TEXT] or None
        is_note = column == "note" or (column != "caption" and answer.caption is not None)
        return replace(answer, note=words) if is_note else replace(answer, caption=words)
    return _with_choices(answer, item, column) if value.choices else answer


def _with_choices(answer: Answer, item: Item, column: str) -> Answer:
    picked = tuple(filter(None, map(clean, item.value.choices)))
    if column == "decision" and picked and picked[0].lower() in DECISIONS:
        return replace(answer, decision=picked[0].lower())
    if column == "reasons":
        return replace(answer, reasons=picked)
    question = clean(item.from_name).replace("/", " ") or "question"
    tags = tuple(f"{question}/{choice}" for choice in picked)
    if column == "photographic":
        return replace(answer, photographic_tags=(*answer.photographic_tags, *tags))
    return replace(answer, semantic_tags=(*answer.semantic_tags, *tags))


def _mark(item: Item) -> Mark:
    value = item.value
    label = clean((value.rectanglelabels or value.keypointlabels)[0])
    origin = clean(item.origin)
    if value.keypointlabels:
        return Mark(label, value.x, value.y, percent=True, origin=origin)
    right, bottom = value.x + value.width, value.y + value.height
    return Mark(label, value.x, value.y, right, bottom, percent=True, origin=origin)


def _finder(folder: Folder) -> Callable[[Mapping[str, Any]], str]:
    """Finds the picture that a task shows: the file's name, or why there is none."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for name in folder.names:
        by_name[PurePosixPath(name).name].append(name)

    def find(data: Mapping[str, Any]) -> str:
        addresses = [v for v in data.values() if isinstance(v, str) and _shows_picture(v)]
        if not addresses:
            return "no_picture_named"
        path = _path_of(addresses[0])
        if path in folder.known:
            return path
        if folder.why_not(path) == "outside_the_folder" and ".." in PurePosixPath(path).parts:
            return "outside_the_folder"
        base = PurePosixPath(path).name
        # Label Studio puts eight digits and a dash before the name of an uploaded file.
        found = by_name.get(base) or by_name.get(base[9:] if base[8:9] == "-" else "", [])
        return found[0] if len(found) == 1 else "name_not_unique" if found else "no_such_file"

    return find


def _shows_picture(address: str) -> bool:
    return is_picture(_path_of(address))


def _path_of(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    named = parse_qs(parts.query).get("d")
    return named[0] if named else unquote(parts.path)
