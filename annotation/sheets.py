"""Contact sheets: HTML pages that are filled in without a network, and a PDF to print.

A page holds its pictures and saves its answers as CSV in the browser. Pictures are read from the
proxies below media/; whatever can't be read leaves an empty frame.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from annotation.csv_answers import asked_questions
from annotation.questions import TRIAGE, Form, Question
from data_manifests.errors import MissingExtra
from data_manifests.records import Photo

__all__ = ["html_page", "pdf_sheet"]

SIDE, QUALITY = 1400, 82  # px on the long side and JPEG quality of a picture on a page
PRINT_SIDE = 700  # px: 300 dpi at 6 cm
_COLUMNS, _ROWS = 2, 3  # photos on an A4 page
_REASONS = 15  # reasons printed beside a photo


@dataclass(frozen=True, slots=True)
class _Shown:
    """One photo on a page."""

    id: str
    short: str
    file: str
    picture: str


def html_page(
    photos: Sequence[Photo],
    *,
    media: Path,
    short: dict[str, str],
    place: tuple[int, int],
    form: Form = TRIAGE,
) -> str:
    """One page as text; `place` is its number and how many there are, `short` the ids to show."""
    style, script = _template("sheet.css"), _template("sheet.js")
    asked = asked_questions(form)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    question = environment.from_string(_template("question.html.j2"))

    def ask(photo: _Shown, column: str, q: Question) -> Markup:
        return Markup(question.render(column=column, q=q, choices=_choices(q)))  # rendered safely

    tags = [(c, q) for c, q in asked.items() if q.column in ("semantic", "photographic")]
    page = environment.from_string(_template("sheet.html.j2"))
    return page.render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_content_hash(style),
        script_hash=_content_hash(script),
        version=form.version,
        page=place[0],
        pages=place[1],
        photos=[_shown(p, media, short) for p in photos],
        first=[(c, q) for c, q in asked.items() if (c, q) not in tags],
        tags=tags,
        ask=ask,
        columns=Markup(json.dumps(list(asked)).replace("<", "\\u003c")),
    )


def pdf_sheet(
    photos: Sequence[Photo], *, media: Path, short: dict[str, str], form: Form = TRIAGE
) -> bytes:
    """All photos on A4 pages, six on each, with boxes to tick; raises MissingExtra.

    The document's keywords name the photos, so that an erasure can find it.
    """
    try:
        from reportlab.lib.pagesizes import A4
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise MissingExtra("reportlab", "annotation", "A contact sheet as PDF") from error
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    canvas.setCreator("AuthFace sheet")
    canvas.setTitle("Contact sheet")
    canvas.setKeywords(" ".join(p.photo_id for p in photos))
    width, height = A4
    cell = (width - 56) / _COLUMNS, (height - 70) / _ROWS
    each = _COLUMNS * _ROWS
    for number, photo in enumerate(photos):
        if number % each == 0:
            if number:
                canvas.showPage()
            canvas.setFont("Helvetica", 8)
            pages = -(-len(photos) // each)
            canvas.drawString(28, height - 28, f"AuthFace contact sheet, questions {form.version}")
            canvas.drawRightString(width - 28, height - 28, f"{number // each + 1} / {pages}")
        column, row = number % _COLUMNS, number % each // _COLUMNS
        corner = 28 + column * cell[0], height - 36 - row * cell[1]
        _draw(canvas, _shown_jpeg(photo, media, PRINT_SIDE), corner, cell)
        _write(canvas, photo, short[photo.photo_id], corner, cell, form)
    canvas.save()
    return out.getvalue()


def _draw(canvas: Any, jpeg: bytes, corner: tuple[float, float], cell: tuple[float, float]) -> None:
    from reportlab.lib.utils import ImageReader

    left, top = corner
    width, height = cell[0] * 0.54, cell[1] - 44
    if jpeg:
        picture = ImageReader(io.BytesIO(jpeg))
        wide, high = picture.getSize()
        scale = min(width / wide, height / high)
        size = wide * scale, high * scale
        canvas.drawImage(picture, left, top - size[1], *size)
    else:
        canvas.rect(left, top - height, width, height)


def _write(
    canvas: Any,
    photo: Photo,
    short: str,
    corner: tuple[float, float],
    cell: tuple[float, float],
    form: Form,
) -> None:
    left, top = corner
    x, y = left + cell[0] * 0.56, top - 9
    asked = asked_questions(form)
    canvas.setFont("Courier-Bold", 9)
    canvas.drawString(x, y, short)
    for column, size in (("decision", 9), ("stars", 9), ("reasons", 6.5)):
        y -= 13
        canvas.setFont("Helvetica-Bold", 6.5)
        canvas.drawString(x, y, asked[column].title[:34])
        canvas.setFont("Helvetica", size)
        for value, words in _choices(asked[column])[:_REASONS]:
            across = column == "stars"
            y -= 0 if across and value != "1" else size + 2
            here = x + (int(value) - 1) * 19 if across else x
            canvas.rect(here, y - 0.5, size - 2, size - 2)
            canvas.drawString(here + size + 1, y, words)
    canvas.setFont("Helvetica", 7)
    name = PurePath(photo.path).name.encode("latin-1", "replace").decode("latin-1")
    canvas.drawString(left, top - cell[1] + 34, name[:48])
    canvas.line(left, top - cell[1] + 14, left + cell[0] - 10, top - cell[1] + 14)
    canvas.drawString(left, top - cell[1] + 16, "Note")


def _choices(question: Question) -> list[tuple[str, str]]:
    if question.kind == "stars":
        return [(str(n), str(n)) for n in range(1, question.most + 1)]
    return [(c.value, c.title) for c in question.choices]


def _shown(photo: Photo, media: Path, short: dict[str, str]) -> _Shown:
    picture = base64.b64encode(_shown_jpeg(photo, media, SIDE)).decode()
    return _Shown(photo.photo_id, short[photo.photo_id], PurePath(photo.path).name, picture)


def _shown_jpeg(photo: Photo, media: Path, side: int) -> bytes:
    if not photo.proxy_path:
        return b""
    try:
        with Image.open(media / photo.proxy_path) as picture:
            picture.draft("RGB", (side, side))
            small = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # Pillow's words for a missing or damaged file
        return b""
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def _template(name: str) -> str:
    return (files("annotation") / "templates" / name).read_text(encoding="utf-8")


def _content_hash(text: str) -> str:
    """The hash by which a Content Security Policy knows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
