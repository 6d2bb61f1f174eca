"""The report: one self-contained HTML page of what was kept and what was not, and why.

The page needs no network and no server. Its pictures lie in inert JSON, a few photos at a time, and
are decoded when they come into view, so that ten thousand photos scroll smoothly.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup
from PIL import Image

from curation import report_charts as charts
from curation.report_index import make_index
from curation.report_rows import CATEGORIES, STATES, View, detail, view_photos
from data_manifests.records import Face, Photo

__all__ = ["photo_report"]

THUMB_SIDE, THUMB_QUALITY = 200, 70  # px, JPEG: about 6 KB a photo
_ROWS_PER_CHUNK, _PHOTOS_PER_CHUNK = 500, 8  # of the index; of pictures and details
_WRITE = 64  # pieces of the template that are handed over at once

Item = TypeVar("Item")


def photo_report(photos: Iterable[Photo], faces: Iterable[Face], *, media: Path) -> Iterator[str]:
    """The page, piece by piece: the rows are held in memory, the pictures are not.

    Pictures are made from the thumbnails under `media`, else from the proxies; a photo whose
    picture is missing or damaged is shown without one.
    """
    views = view_photos(photos, faces)
    spread = charts.distributions(views)
    index = make_index(views, spread)
    style, script = (_template(f"photos.{kind}") for kind in ("css", "js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = charts.number
    stream = environment.from_string(_template("photos.html.j2")).stream(
        style=Markup(style),
        script=Markup(script),
        # Only these two run: whatever a file name might smuggle in, the browser refuses it.
        style_hash=_content_hash(style),
        script_hash=_content_hash(script),
        count=len(views),
        face_count=sum(len(v.faces) for v in views),
        states=[(s, w, sum(v.state == s for v in views)) for s, w in STATES.items()],
        funnel=charts.funnel(views),
        reasons=charts.reason_counts(views),
        distributions=spread,
        rankings=charts.rankings(views),
        categories=[(k, CATEGORIES[k], v) for k, v in charts.vocabulary(views).items() if v],
        chart=(charts.CHART_WIDTH, charts.CHART_HEIGHT),
        words=_inert(index.words() | {"perChunk": _PHOTOS_PER_CHUNK}),
        rows=(_inert(some) for some in _chunks(index.rows(views), _ROWS_PER_CHUNK)),
        pictures=(_inert(some) for some in _pictures(views, media)),
    )
    stream.enable_buffering(_WRITE)
    return iter(stream)


def _pictures(views: Sequence[View], media: Path) -> Iterator[list[dict[str, Any]]]:
    for some in _chunks(views, _PHOTOS_PER_CHUNK):
        yield [{"thumb": _thumb(view.photo, media)} | detail(view) for view in some]


def _thumb(photo: Photo, media: Path) -> str | None:
    """A small JPEG as base64, from the thumbnail or the proxy, whichever can be read."""
    for path in (photo.thumb_path, photo.proxy_path):
        if path and (data := _small_jpeg(media / path)):
            return base64.b64encode(data).decode("ascii")
    return None


def _small_jpeg(path: Path) -> bytes | None:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (THUMB_SIDE * 2, THUMB_SIDE * 2))
            small = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # Pillow's words for a missing or damaged file
        return None
    # Hamming: as sharp as bicubic at the price of bilinear, and this is most of the writing time.
    small.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.HAMMING, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMB_QUALITY, optimize=True)
    return buffer.getvalue()


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _inert(value: Any) -> Markup:
    """JSON that can stand inside a script element: ASCII, and nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _template(name: str) -> str:
    return (files("curation") / "templates" / name).read_text(encoding="utf-8")


def _content_hash(text: str) -> str:
    """The hash by which a Content Security Policy knows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
