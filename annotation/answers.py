"""From the server's JSON to Annotation rows: what a person answered, in photo pixels."""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from annotation.form import Form, Question, named
from annotation.masks import Mask, decode_mask, mask_png
from data_manifests.records import Annotation, Box, Point, Region, Task

__all__ = ["Asked", "Item", "Reading", "ServerAnswer", "ServerTask", "pseudonym", "to_annotation"]

LONGEST_TEXT = 2000


class _FromServer(BaseModel):
    # The server sends many more fields, and more with each version: those pass unread.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(_FromServer):
    """The answer to one question as the editor writes it; only the fields of its type are set."""

    choices: tuple[str, ...] = Field(default=(), description="picked values, by alias")
    text: tuple[str, ...] = Field(default=(), description="what was written")
    rating: int | None = Field(default=None, description="stars")
    x: float = Field(default=0, description="percent of the picture's width")
    y: float = Field(default=0, description="percent of the picture's height")
    width: float = Field(default=0, description="percent of the picture's width")
    height: float = Field(default=0, description="percent of the picture's height")
    rotation: float = Field(default=0, description="degree about the top left corner")
    rectanglelabels: tuple[str, ...] = Field(default=(), description="what a box marks")
    keypointlabels: tuple[str, ...] = Field(default=(), description="what a point marks")
    brushlabels: tuple[str, ...] = Field(default=(), description="what a painted area marks")
    rle: Any = Field(default=(), description="the painted area, a list of bytes as it came")

    @field_validator("text", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Item(_FromServer):
    """One entry of an answer's result."""

    id: str = Field(default="", description="of the region; its label and answers share it")
    from_name: str = Field(description="the question")
    type: str = Field(description="the editor's kind of control")
    value: Value = Field(description="the answer")
    origin: str = Field(default="manual", description="manual, prediction or prediction-changed")
    item_index: int | None = Field(
        default=None, description="which picture of a task that shows several"
    )
    original_width: int | None = Field(
        default=None, description="width of the picture that was shown"
    )
    original_height: int | None = Field(
        default=None, description="height of the picture that was shown"
    )

    @property
    def values(self) -> tuple[str, ...]:
        """What was picked, whatever the control."""
        value = self.value
        labels = value.rectanglelabels or value.keypointlabels or value.brushlabels
        return value.choices or labels

    def mask(self, width: int, height: int) -> Mask:
        """The painted area, HW of 0 and 255; raises ValueError if it can't be read or is empty."""
        try:
            return decode_mask(self.value.rle, width, height)
        except TypeError as error:
            raise ValueError("it is no list of bytes") from error


class ServerAnswer(_FromServer):
    """One annotation as the server lists it."""

    id: int = Field(description="the server's id")
    result: Any = Field(default=(), description="a list of items; kept as it came")
    completed_by: int | None = Field(default=None, description="who answered")
    was_cancelled: bool = Field(
        default=False, description="a skip: it carries a full result all the same"
    )
    ground_truth: bool = Field(default=False, description="marked to score people with")
    lead_time: float | None = Field(default=None, description="second")
    updated_by: int | None = Field(default=None, description="who changed it last")
    parent_prediction: int | None = Field(
        default=None, description="the suggestion that it was made from"
    )
    created_at: datetime | None = Field(default=None, description="server time")
    updated_at: datetime | None = Field(default=None, description="server time")

    @field_validator("completed_by", "updated_by", "parent_prediction", mode="before")
    @classmethod
    def _id_of_person(cls, value: Any) -> Any:
        return value.get("id") if isinstance(value, Mapping) else value


class ServerTask(_FromServer):
    """One task as the server lists it."""

    id: int = Field(description="the server's id")
    data: dict[str, Any] = Field(description="what we put in")
    annotations: tuple[ServerAnswer, ...] = Field(
        default=(), description="the answers, skips among them"
    )
    updated_at: datetime | None = Field(default=None, description="server time")

    @property
    def key(self) -> str:
        """Our own key of the question, empty if it is not ours."""
        return str(self.data.get("task_key", ""))


@dataclass(frozen=True)
class Asked:
    """What was asked: the ledger's row, the form, and the size of the original photo in pixels."""

    task: Task
    form: Form
    photo_width: int
    photo_height: int

    @cached_property
    def questions(self) -> dict[str, Question]:
        """The form's questions by name."""
        return named(self.form)


@dataclass(frozen=True)
class Reading:
    """An answer beside what was asked; `items` is none if the result has not the editor's shape."""

    asked: Asked
    answer: ServerAnswer

    @cached_property
    def items(self) -> tuple[Item, ...] | None:
        """The entries of the result."""
        if not isinstance(self.answer.result, Sequence) or isinstance(self.answer.result, str):
            return None
        try:
            return tuple(Item.model_validate(item) for item in self.answer.result)
        except ValidationError:
            return None

    def picked(self, question: str) -> tuple[str, ...]:
        """The values picked for a question."""
        return tuple(v for i in self.items or () if i.from_name == question for v in i.values)

    def said(self, question: str) -> bool:
        """Whether a question was answered: a value was picked, or words were written."""
        items = (i for i in self.items or () if i.from_name == question)
        return any(i.values or any(t.strip() for t in i.value.text) for i in items)


def to_annotation(
    reading: Reading,
    *,
    server: str,
    annotator: str,
    flags: tuple[str, ...] = (),
    keep_mask: Callable[[bytes], str] | None = None,
) -> Annotation:
    """The answer as a row; with flags it is set aside and only the raw JSON is kept.

    `keep_mask` takes a painted area as a PNG and gives its path below media/; without it areas
    stay in the raw JSON.
    """
    answer, task = reading.answer, reading.asked.task
    state = "set_aside" if flags else "skipped" if answer.was_cancelled else "counted"
    # A skip carries the whole prefilled form, so nothing of it is read as an answer.
    parsed = _parsed(reading, keep_mask) if state == "counted" else {}
    return Annotation(
        annotation_id=f"{server}:{answer.id}",
        task_key=task.task_key,
        photo_id=task.photo_id,
        annotator=annotator,
        state=state,
        flags=flags,
        raw=json.dumps(answer.result, sort_keys=True, ensure_ascii=False),
        lead_time_s=answer.lead_time,
        cancelled=answer.was_cancelled,
        ground_truth=answer.ground_truth,
        created_at=answer.created_at,
        updated_at=answer.updated_at,
        **parsed,
    )


def pseudonym(secret: bytes, server: str, user_id: int | None) -> str:
    """A stable name for a person that tells nothing to anyone without the secret."""
    if user_id is None:
        return "unknown"
    return hmac.new(secret, f"{server}:{user_id}".encode(), hashlib.sha256).hexdigest()[:16]


def _parsed(reading: Reading, keep_mask: Callable[[bytes], str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"semantic_tags": (), "photographic_tags": (), "regions": ()}
    for question in reading.asked.form.questions:
        items = [i for i in reading.items or () if i.from_name == question.name]
        if not items or question.of:  # those of a region are read with it
            continue
        if question.column in ("semantic", "photographic"):
            found[f"{question.column}_tags"] += tuple(
                f"{question.name}/{v}" for v in reading.picked(question.name)
            )
        elif question.column == "regions":
            found["regions"] += tuple(_region(i, reading, keep_mask) for i in items)
        elif question.kind == "text" and found.get(question.column):
            said = _plain(question, items, reading)
            found[question.column] = "; ".join(t for t in (found[question.column], said) if t)
        else:
            found[question.column] = _plain(question, items, reading)
    return found


def _plain(question: Question, items: Sequence[Item], reading: Reading) -> Any:
    if question.kind == "stars":
        return items[0].value.rating
    if question.kind == "text":
        return _clean(items[0].value.text)
    picked = reading.picked(question.name)
    if question.kind == "many":
        return picked
    return picked[0] if picked else None


def _region(item: Item, reading: Reading, keep_mask: Callable[[bytes], str] | None) -> Region:
    asked, label = reading.asked, item.values[0]
    if item.type == "keypointlabels":
        return Region(label=label, point=_point(item.value, asked), origin=item.origin)
    said = _said_of(item, reading)
    if item.type == "brushlabels":
        if keep_mask is not None:
            mask_HW = item.mask(asked.task.image_width, asked.task.image_height)
            said["mask_path"] = keep_mask(mask_png(mask_HW))
        return Region(label=label, origin=item.origin, **said)
    return Region(label=label, box=_box(item.value, asked), origin=item.origin, **said)


def _said_of(region: Item, reading: Reading) -> dict[str, Any]:
    """What is answered about one region: the editor joins it to the label by the region's id."""
    about = {q.name: q for q in reading.asked.form.questions if q.of == region.from_name}
    said: dict[str, Any] = {}
    for item in reading.items or ():
        question = about.get(item.from_name)
        if question is None or item.id != region.id:
            continue
        is_text = question.kind == "text"
        answer = _clean(item.value.text) if is_text else next(iter(item.values), None)
        said["priority" if question.column == "priority" else "note"] = answer
    return said


def _point(value: Value, asked: Asked) -> Point:
    return Point(x=value.x * asked.photo_width / 100, y=value.y * asked.photo_height / 100)


def _box(value: Value, asked: Asked) -> Box:
    return Box(
        left=value.x * asked.photo_width / 100,
        top=value.y * asked.photo_height / 100,
        right=(value.x + value.width) * asked.photo_width / 100,
        bottom=(value.y + value.height) * asked.photo_height / 100,
    )


def _clean(lines: Iterable[str]) -> str | None:
    text = unicodedata.normalize("NFC", "\n".join(lines))
    kept = "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")
    return kept.strip()[:LONGEST_TEXT] or None
