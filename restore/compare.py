"""Before and after as one picture: a slider as a piece of HTML, and the JPEGs that it shows.

A piece moves with mouse, touch and arrow keys, and needs `slider_css` once per page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from importlib import resources
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore.provenance import Carried, xmp_packet

__all__ = ["inline", "slider_css", "slider_html", "template", "to_jpeg"]

Pixels = NDArray[np.uint8]


def template(name: str) -> str:
    """A style sheet or script of this part's pages."""
    return (resources.files("restore") / "templates" / name).read_text(encoding="utf-8").strip()


def slider_css() -> str:
    """The styles that every slider on a page shares."""
    return template("slider.css")


def inline(jpeg: bytes) -> str:
    """A picture as an address that holds the picture itself."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def slider_html(
    before_jpeg: bytes, after_jpeg: bytes, *, label: str, keep: Callable[[bytes], str] = inline
) -> str:
    """One before/after slider as a piece of HTML; `label` is its caption.

    `keep` turns a picture into the address to load it from; without it the piece needs no file.
    """
    name = escape(label, quote=True)
    width, height = Image.open(io.BytesIO(after_jpeg)).size
    size = f'width="{width}" height="{height}" loading="lazy" decoding="async"'
    after, before = escape(keep(after_jpeg)), escape(keep(before_jpeg))
    shape = f"--af-width: {width}px; --af-shape: {width / height:.4f}"
    return f"""<figure class="af-slider" style="{shape}">
<div class="af-frame" style="--cut: 50%">
<img {size} src="{after}" alt="After: {name}">
<img {size} class="af-before" src="{before}" alt="Before: {name}">
<span class="af-tag l">before</span><span class="af-tag r">after</span><span class="af-line"></span>
<input type="range" min="0" max="100" step="any" value="50" aria-label="Before and after: {name}"
 oninput="this.parentNode.style.setProperty('--cut', this.value + '%')"
 onkeydown="if (event.key.startsWith('Arrow')) {{ event.preventDefault(); this.value = +this.value +
 (['ArrowRight', 'ArrowUp'].includes(event.key) ? 2 : -2); this.oninput(); }}">
</div>
<figcaption>{name}</figcaption>
</figure>"""


def to_jpeg(pixels_HWC: Pixels, most: int, *, quality: int = 88, made: bool = False) -> bytes:
    """An sRGB picture as JPEG bytes, its longer side at most `most` pixels.

    One that was `made` by a model says so in its XMP, as the full output does.
    """
    height, width = pixels_HWC.shape[:2]
    share = most / max(height, width)
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        pixels_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    out = io.BytesIO()
    more: dict[str, Any] = {"xmp": xmp_packet(Carried())} if made else {}
    picture = Image.fromarray(np.ascontiguousarray(pixels_HWC))
    picture.save(out, "JPEG", quality=quality, **more)
    return out.getvalue()
