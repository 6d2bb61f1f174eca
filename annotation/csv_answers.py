"""Pure: answers.csv out and in; one row a photo, its columns made from the form.

What a spreadsheet might run is neutralised on the way out. What people's programs make of a file is
taken back: semicolons or tabs, a byte order mark, UTF-16, Windows' code page.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from annotation.questions import TRIAGE, Form, Question
from annotation.tasks import task_key
from data_manifests.errors import InputError
from data_manifests.records import Annotation, Photo

__all__ = [
    "COLUMNS",
    "Aside",
    "Row",
    "aside_row",
    "aside_table",
    "asked_questions",
    "form_of",
    "read_rows",
    "short_ids",
    "to_answer",
    "write_rows",
]

PREFIX = "AF-"  # so that no spreadsheet takes an id for a number
LEAST_ID = 8  # digits
LARGEST = 50_000_000  # bytes
LONGEST_TEXT = 2000  # characters
_PLAIN = {"reasons": "reasons", "rating": "stars"}
# Row and why stand in a table of rows set aside; form is the version of the questions asked.
_OURS = ("id", "file", "form", "row", "why")
COLUMNS = frozenset((*_OURS, *_PLAIN.values()))  # names that no new question may have
_VERSION = re.compile(r"[0-9a-f]{12}")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SPLIT = re.compile(r"[,;|/\n]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read: its number in the file (the header is 1) and its cells by column."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Aside:
    """A row that can't count as it is, and why."""

    row: Row
    rule: str
    why: str
    photo_id: str | None = None


def asked_questions(form: Form = TRIAGE) -> dict[str, Question]:
    """The questions that can be answered in a row, by column name."""
    return {
        _PLAIN.get(q.column, q.name): q
        for q in form.questions
        if q.kind in ("one", "many", "stars", "text")
    }


def short_ids(photo_ids: Iterable[str]) -> dict[str, str]:
    """A short id for people for every photo: AF- and as many digits as tell them all apart."""
    every = sorted(set(photo_ids))
    shared = [_common(a, b) for a, b in pairwise(every)]
    digits = max(LEAST_ID, max(shared, default=0) + 1)
    return {i: PREFIX + i[:digits] for i in every}


def write_rows(photos: Sequence[Photo], form: Form = TRIAGE) -> bytes:
    """An empty answers.csv for these photos: UTF-8 with a mark, so that Excel reads it as that."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    columns = list(asked_questions(form))
    writer.writerow(["id", "file", "form", *columns])
    for photo in photos:
        name = _harmless(PurePath(photo.path).name)
        writer.writerow([PREFIX + photo.photo_id, name, form.version, *("" for _ in columns)])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def read_rows(data: bytes) -> list[Row]:
    """The rows of a file; raises InputError for one that is no table of answers."""
    if len(data) > LARGEST:
        raise InputError("The file is larger than 50 MB.", "It can't be a table of answers.")
    text = _decoded(data)
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"The file is no CSV: {error}.", "Save it as CSV again.") from error
    names = [_name(n) for n in lines[0]] if lines else []
    if "id" not in names or "decision" not in names:
        raise InputError(
            "The file has no columns called id and decision.",
            "Keep the first row of answers.csv as it was.",
        )
    return [
        Row(number, {n: _unharmed(c) for n, c in zip(names, cells, strict=False) if n})
        for number, cells in enumerate(lines[1:], 2)
        if any(c.strip() for c in cells)
    ]


def to_answer(
    row: Row,
    *,
    find: Callable[[str], Sequence[str]],
    who: str,
    at: datetime,
    form: Form = TRIAGE,
) -> Annotation | Aside | None:
    """The row as an answer, what is wrong with it, or none if nothing is filled in.

    `find` gives the photo ids that begin with some digits. A reject needs a reason, as on the form.
    """
    questions = asked_questions(form)
    unknown = sorted(c for c in row.cells if c not in questions and c not in _OURS)
    given = {c: text for c, text in row.cells.items() if c in questions and text}
    if not given and not any(row.cells[c] for c in unknown):
        return None
    photo_id, fault = _photo(row, find)
    if photo_id is None:
        return Aside(row, *fault)
    wrong = [f"column {c} is no question of the form" for c in unknown if row.cells[c]]
    rule, found = ("unknown_question", {}) if wrong else _parsed(given, questions, wrong)
    if not wrong:
        rule = _missing(found, form, wrong)
    if wrong:
        if form_of(row) not in ("", form.version):
            wrong.append(f"the sheet asked questions {form_of(row)}, now {form.version} are asked")
        return Aside(row, rule, "; ".join(wrong), photo_id)
    return _annotation(row, photo_id, who=who, at=at, form=form, **_columns(found, questions))


def form_of(row: Row) -> str:
    """The version of the questions that a row's sheet was made from, empty if it doesn't say."""
    said = row.cells.get("form", "")
    return said if _VERSION.fullmatch(said) else ""


def aside_row(aside: Aside, *, who: str, at: datetime, form: Form = TRIAGE) -> Annotation | None:
    """A row that can't count, with its cells as they came; none where its photo isn't known."""
    if aside.photo_id is None:
        return None
    more: dict[str, Any] = {"state": "set_aside", "flags": (aside.rule,)}
    return _annotation(aside.row, aside.photo_id, who=who, at=at, form=form, **more)


def aside_table(asides: Sequence[Aside]) -> bytes:
    """The rows that can't count, with their numbers and reasons, to be mended and read again."""
    out = io.StringIO(newline="")
    names = list(dict.fromkeys(n for a in asides for n in a.row.cells))
    writer = csv.writer(out)
    writer.writerow([*names, "row", "why"])
    for one in asides:
        cells = [_harmless(one.row.cells.get(n, "")) for n in names]
        writer.writerow([*cells, one.row.number, _harmless(one.why)])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _photo(row: Row, find: Callable[[str], Sequence[str]]) -> tuple[str | None, tuple[str, str]]:
    digits = row.cells.get("id", "").removeprefix(PREFIX).strip().casefold()
    found = find(digits) if len(digits) >= LEAST_ID else ()
    if len(found) == 1:
        return found[0], ("", "")
    if found:
        return None, ("unknown_photo", f'several photos have an id that begins with "{digits}"')
    return None, ("unknown_photo", f'no photo here has the id "{row.cells.get("id", "")}"')


def _parsed(
    given: Mapping[str, str], questions: Mapping[str, Question], wrong: list[str]
) -> tuple[str, dict[str, Any]]:
    found: dict[str, Any] = {}
    rule = ""
    for column, text in given.items():
        question = questions[column]
        if question.kind == "text":
            found[column] = text[:LONGEST_TEXT]
        elif question.kind == "stars":
            stars = _stars(text)
            found[column] = stars
            if stars is None or not 1 <= stars <= question.most:
                rule = "rating_out_of_range"
                wrong.append(f'stars are 1 to {question.most}, not "{text}"')
        else:
            values, odd = _values(text, question)
            found[column] = values
            if odd or (question.kind == "one" and len(values) > 1):
                rule = "unknown_choice" if odd else "several_answers"
                what = f'"{odd[0]}" is no value' if odd else "more than one value is given"
                wrong.append(f"{column}: {what}; values are {_known(question)}")
    return rule, found


def _missing(found: Mapping[str, Any], form: Form, wrong: list[str]) -> str:
    by_name = {q.name: found.get(_PLAIN.get(q.column, q.name)) for q in form.questions}
    for question in form.questions:
        asked = question.when is None or set(by_name.get(question.when[0]) or ()) & set(
            question.when[1]
        )
        if question.required and asked and not by_name[question.name]:
            wrong.append(question.required)
    return "missing_required" if wrong else ""


def _columns(found: Mapping[str, Any], questions: Mapping[str, Question]) -> dict[str, Any]:
    parsed: dict[str, Any] = defaultdict(tuple)
    for column, value in found.items():
        question = questions[column]
        if question.column in ("semantic", "photographic"):
            parsed[f"{question.column}_tags"] += tuple(f"{question.name}/{v}" for v in value)
        elif question.kind == "text" and parsed.get(question.column):
            parsed[question.column] = "; ".join((parsed[question.column], value))
        else:
            parsed[question.column] = value[0] if question.kind == "one" else value
    return dict(parsed)


def _annotation(
    row: Row, photo_id: str, *, who: str, at: datetime, form: Form, **more: Any
) -> Annotation:
    told = {k: v for k, v in row.cells.items() if v}
    return Annotation(
        **{
            "annotation_id": f"csv:{who}:{photo_id}",
            "task_key": task_key(photo_id, form.kind),
            "photo_id": photo_id,
            "annotator": who,
            "state": "counted",
            "raw": json.dumps(told, sort_keys=True, ensure_ascii=False),
            "created_at": at,
            "updated_at": at,
            "source": "csv",
            "form": form_of(row) or form.version,
            **more,
        }
    )


def _values(text: str, question: Question) -> tuple[tuple[str, ...], list[str]]:
    """The values in a cell, written as the tables or as the form have them; and those unknown."""
    words = {_folded(c.value): c.value for c in question.choices}
    words = {_folded(c.title): c.value for c in question.choices} | words
    for choice in question.choices:
        if _SPLIT.search(choice.words):  # "winter, snow or not" is one value
            text = re.sub(re.escape(choice.words), choice.value, text, flags=re.IGNORECASE)
    told = [part.strip() for part in _SPLIT.split(text) if part.strip()]
    odd = [t for t in told if _folded(t) not in words]
    return tuple(dict.fromkeys(words[_folded(t)] for t in told if _folded(t) in words)), odd


def _known(question: Question) -> str:
    return ", ".join(c.value for c in question.choices)


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", text.strip().casefold())


def _stars(text: str) -> int | None:
    try:
        stars = float(text.replace(",", "."))
    except ValueError:
        return None
    return int(stars) if stars.is_integer() else None


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings: Iterator[str] = iter(("utf-16",))
    else:
        encodings = iter(("utf-8-sig", "cp1252"))
    for encoding in encodings:
        try:
            return data.decode(encoding).replace("\x00", "")
        except UnicodeDecodeError:
            continue
    raise InputError("The file's letters can't be read.", "Save it as CSV in UTF-8.")


def _name(text: str) -> str:
    return _folded(text.lstrip("\ufeff"))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _unharmed(text: str) -> str:
    inner = text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
    return "".join(c for c in inner if c == "\n" or c.isprintable()).strip()


def _common(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
