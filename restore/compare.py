"""Before and after, to look at: a slider as one piece of HTML, and a page that works from disk.

A piece holds its pictures inside itself, moves with mouse, touch and arrow keys, and needs
`slider_css` once per page. `Preview` and `PageEntry` are what the page shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PageEntry", "Preview", "page_html", "slider_css", "slider_html", "to_jpeg"]

Pixels = NDArray[np.uint8]

# Both pictures fill one frame; the upper one is clipped at --cut. The range input lies over them,
# so dragging, touching and arrow keys are the browser's own.
_SLIDER_CSS = """
.af-slider { margin: 0; max-width: min(var(--af-width), calc(80vh * var(--af-shape))); }
.af-frame { position: relative; overflow: hidden; border-radius: 6px; background: #ddd;
  line-height: 0; }
.af-frame img { width: 100%; height: auto; display: block; }
.af-before { position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
.af-line { position: absolute; top: 0; bottom: 0; left: var(--cut); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 4px #000a; pointer-events: none; }
.af-line::after { content: ""; position: absolute; top: 50%; left: 50%; width: 26px; height: 26px;
  translate: -50% -50%; border-radius: 50%; border: 2px solid #fff; background: #0007; }
.af-tag { position: absolute; bottom: 8px; padding: 3px 8px; border-radius: 4px; line-height: 1.3;
  font: 600 12px system-ui, sans-serif; color: #fff; background: #000a; pointer-events: none; }
.af-tag.l { left: 8px; } .af-tag.r { right: 8px; }
.af-frame input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; touch-action: pan-y; }
.af-frame:focus-within { outline: 3px solid #2f6fde; outline-offset: 2px; }
.af-slider figcaption { margin-top: 6px; font: 13px/1.45 system-ui, sans-serif; color: #555; }
"""

_PAGE_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 24px 20px 60px; background: #fafafa;
  color: #1c1c1c; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0 0 10px; overflow-wrap: anywhere; }
.lead { color: #555; margin: 0 0 18px; }
.warn { border: 1px solid #d9a400; border-left-width: 6px; background: #fff7dc; border-radius: 6px;
  padding: 10px 14px; margin: 0 0 18px; }
section { background: #fff; border: 1px solid #e3e3e3; border-radius: 10px; padding: 18px;
  margin: 0 0 22px; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 16px;
  margin-top: 16px; }
.faces .af-slider { max-width: none; }
ul.facts { margin: 12px 0 0; padding: 0; list-style: none; color: #555; font-size: 13px; }
ul.facts li { margin: 2px 0; overflow-wrap: anywhere; }
.none { color: #8a2b00; margin: 0; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Pictures of one restored photo, as JPEG bytes: the whole, and each face with a caption."""

    before_jpeg: bytes
    after_jpeg: bytes
    faces: tuple[tuple[bytes, bytes, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEntry:
    """One photo on the page; without a preview it says why there is none."""

    title: str
    preview: Preview | None
    facts: tuple[str, ...] = ()


def slider_css() -> str:
    """The styles that every slider on a page shares."""
    return _SLIDER_CSS.strip()


def slider_html(before_jpeg: bytes, after_jpeg: bytes, *, label: str) -> str:
    """One before/after slider as a self-contained piece of HTML; `label` is its caption."""
    name = escape(label, quote=True)
    width, height = Image.open(io.BytesIO(after_jpeg)).size
    size = f'width="{width}" height="{height}"'
    shape = f"--af-width: {width}px; --af-shape: {width / height:.4f}"
    return f"""<figure class="af-slider" style="{shape}">
<div class="af-frame" style="--cut: 50%">
<img {size} src="{_inline(after_jpeg)}" alt="After: {name}">
<img {size} class="af-before" src="{_inline(before_jpeg)}" alt="Before: {name}">
<span class="af-tag l">before</span><span class="af-tag r">after</span><span class="af-line"></span>
<input type="range" min="0" max="100" step="any" value="50" aria-label="Before and after: {name}"
 oninput="this.parentNode.style.setProperty('--cut', this.value + '%')"
 onkeydown="if (event.key.startsWith('Arrow')) {{ event.preventDefault(); this.value = +this.value +
 (['ArrowRight', 'ArrowUp'].includes(event.key) ? 2 : -2); this.oninput(); }}">
</div>
<figcaption>{name}</figcaption>
</figure>"""


def page_html(entries: Sequence[PageEntry], *, title: str, warning: str = "") -> str:
    """A whole page of sliders, one section per photo; `warning` stands in a frame at the top."""
    warned = f'<p class="warn" role="note">{escape(warning)}</p>' if warning else ""
    sections = "\n".join(_section(entry) for entry in entries)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{slider_css()}{_PAGE_CSS}</style></head>
<body><h1>{escape(title)}</h1>
<p class="lead">Drag across a picture, or focus it and use the arrow keys. Restored faces are
guesses: they must not be used to identify anyone.</p>
{warned}
{sections}
</body></html>
"""


def to_jpeg(pixels_HWC: Pixels, most: int, *, quality: int = 88) -> bytes:
    """An sRGB picture as JPEG bytes, its longer side at most `most` pixels."""
    height, width = pixels_HWC.shape[:2]
    share = most / max(height, width)
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        pixels_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels_HWC)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def _section(entry: PageEntry) -> str:
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in entry.facts)
    shown = entry.preview
    if shown is None:
        body = '<p class="none">No face was restored in this photo; no picture was written.</p>'
    else:
        body = slider_html(shown.before_jpeg, shown.after_jpeg, label="Whole photo")
        zooms = "\n".join(slider_html(b, a, label=text) for b, a, text in shown.faces)
        body += f'<div class="faces">{zooms}</div>' if zooms else ""
    return f'<section><h2>{escape(entry.title)}</h2>{body}<ul class="facts">{facts}</ul></section>'


def _inline(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
