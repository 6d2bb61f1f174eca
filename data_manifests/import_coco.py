"""COCO: a JSON file of images, boxes by category and captions, beside a folder of pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field

from data_manifests.errors import InputError
from data_manifests.import_files import LONGEST_TEXT, Folder, as_json, clean
from data_manifests.import_shapes import (
    Answer,
    Aside,
    Found,
    Mark,
    Outside,
    parsed,
    read_top,
    unnamed,
)

__all__ = ["read_coco"]

M = TypeVar("M", bound=Outside)
Read = tuple[str, M, Any]  # place in the file, what we understand of it, and all that it says


class CocoImage(Outside):
    """An entry of "images"."""

    id: int | str = Field(description="what annotations refer to")
    file_name: str = Field(description="relative to the folder")
    width: int | None = Field(default=None, description="px")
    height: int | None = Field(default=None, description="px")


class CocoAnnotation(Outside):
    """An entry of "annotations": a box of a category, or a caption."""

    id: int | str = Field(default=0, description="its own id")
    image_id: int | str = Field(description="the image it is about")
    category_id: int | str | None = Field(default=None, description="what the box marks")
    bbox: tuple[float, float, float, float] | None = Field(
        default=None, description="left, top, width, height in px"
    )
    caption: str | None = Field(default=None, description="a sentence about the image")


def read_coco(folder: Folder, file: str) -> Iterator[Found | Aside]:
    """Images of a COCO file with their boxes and their first caption; nobody has accepted them."""
    whole = read_top(folder, file, dict)
    images, bad = _entries(CocoImage, whole.get("images"), f"{file}: images")
    notes, worse = _entries(CocoAnnotation, whole.get("annotations", []), f"{file}: annotations")
    yield from (*bad, *worse)
    names = _categories(whole.get("categories", []))
    by_image: dict[int | str, list[Read[CocoAnnotation]]] = defaultdict(list)
    known = {image.id for _, image, _ in images}
    for where, note, said in notes:
        if note.image_id in known:
            by_image[note.image_id].append((where, note, said))
        else:
            yield Aside(where, "no_such_image")
    used = {file}
    for where, image, said in images:
        wrong = folder.why_not(image.file_name)
        if wrong or image.file_name in used:
            yield Aside(where, wrong or "named_twice")
            continue
        used.add(image.file_name)
        answer = _coco_answer(said, by_image[image.id], names)
        size = (image.width, image.height) if image.width and image.height else None
        yield Found(image.file_name, (answer,), size)
    yield from unnamed(folder, used)


def _coco_answer(
    image: Any, notes: Sequence[Read[CocoAnnotation]], names: Mapping[int | str, str]
) -> Answer:
    ordered = sorted(notes, key=lambda n: (str(type(n[1].id)), n[1].id))
    words = [words for _, n, _ in ordered if n.caption and (words := clean(n.caption))]
    marks = []
    for _, note, _ in ordered:
        if note.bbox is not None:
            left, top, wide, high = note.bbox
            label = names.get(note.category_id if note.category_id is not None else "", "box")
            marks.append(Mark(label, left, top, left + wide, top + high))
    raw = {"image": image, "annotations": [said for _, _, said in ordered]}
    return Answer(
        raw=as_json(raw),
        caption=words[0][:LONGEST_TEXT] if words else None,
        marks=tuple(marks),
    )


def _entries(model: type[M], values: Any, where: str) -> tuple[list[Read[M]], list[Aside]]:
    if not isinstance(values, list):
        raise InputError(f"{where} is no list.", "See `--help` for the formats.")
    good: list[Read[M]] = []
    bad: list[Aside] = []
    for number, value in enumerate(values):
        read = parsed(model, value)
        if isinstance(read, str):
            bad.append(Aside(f"{where}[{number}]", read))
        else:
            good.append((f"{where}[{number}]", read, value))
    return good, bad


def _categories(values: Any) -> dict[int | str, str]:
    rows = values if isinstance(values, list) else []
    return {
        row["id"]: clean(row["name"])
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("id"), int | str)
        and isinstance(row.get("name"), str)
    }
