"""The before/after page of a batch: one HTML file that works from disk.

A few photos lie inside the file. More of them lie in a folder beside it, written one by one, so
that neither this program nor the browser holds them all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from data_manifests.media import write_atomic
from restore.compare import inline, slider_css, slider_html, template, to_jpeg
from restore.looking import Looked
from restore.outcome import Outcome

__all__ = ["ComparePage", "fits_one_file"]

_WHOLE, _ALONE = 1600, 900  # px, long sides
_ZOOM = 2400  # px: beyond it a face is reduced, and its caption says so
_MOST_INSIDE = 60  # pairs of pictures; about 30 MB
_OURS = re.compile(r"authface-\d{6}\.jpg")
_STATES = {
    "restored": "restored",
    "partly": "partly restored",
    "good": "good already",
    "nothing": "nothing restored",
    "failed": "failed",
}
_HELP = """<p class="lead">Drag across a picture, or focus it and use the arrow keys.
“Look closer” shows it alone: <kbd>space</kbd> before or after, <kbd>1</kbd> pixel by pixel,
<kbd>←</kbd> <kbd>→</kbd> the others. <kbd>n</kbd> and <kbd>p</kbd> go to the next and the previous
photo. Restored faces are guesses: they must not be used to identify anyone.</p>"""
_VIEWER = """<dialog class="viewer" aria-label="One picture, enlarged">
<div class="stage"><div class="pair after"><img alt=""><img class="upper" alt=""></div></div>
<div class="bar"><span class="said" aria-live="polite"></span>
<button type="button" class="which" data-do="which">After</button>
<button type="button" class="size" data-do="size" aria-pressed="false">1:1</button>
<button type="button" data-do="previous" aria-label="Previous picture">←</button>
<button type="button" data-do="next" aria-label="Next picture">→</button>
<button type="button" data-do="close">Close</button></div>
</dialog>"""


def fits_one_file(outcomes: Iterable[Outcome]) -> bool:
    """True if the page of these outcomes can hold their pictures itself."""
    return sum(1 + len(outcome.faces) for outcome in outcomes) <= _MOST_INSIDE


class ComparePage:
    """The page under way: `add` each photo, then `close`. Raises StorageError."""

    def __init__(self, file: Path, *, warning: str = "", apart: bool = False) -> None:
        self.file = file
        self.folder = file.with_name(f"{file.stem}-pictures")
        self._warning = warning
        self._apart = apart
        self._sections: list[str] = []
        self._kinds = Counter[str]()
        self._pictures = 0

    def add(self, outcome: Outcome, looked: Looked | None) -> None:
        """One photo: sliders where something was restored, else the input and why."""
        self._kinds[outcome.status] += 1
        model = f"model {outcome.model.sha256[:12]}" if outcome.model else ""
        times = ", ".join(f"{name} {s:.2f} s" for name, s in outcome.seconds.items())
        facts = [outcome.summary, *outcome.notes, model, times]
        listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts if fact)
        name, kind = escape(outcome.source.name, quote=True), outcome.status
        earlier = '<span class="state earlier">done before</span>' if outcome.resumed else ""
        self._sections.append(
            f'<section data-kind="{kind}" data-name="{name}" tabindex="-1"><h2>{name}'
            f'<span class="state {kind}">{_STATES[kind]}</span>{earlier}</h2>\n'
            f'{self._body(outcome, looked)}<ul class="facts">{listed}</ul></section>'
        )

    def close(self) -> list[Path]:
        """Write the page; pictures of an earlier one that it no longer shows are taken away."""
        write_atomic(self.file, self._html().encode())
        kept = {_picture_name(n) for n in range(1, self._pictures + 1)} if self._apart else set()
        if self.folder.is_dir():
            for old in self.folder.iterdir():
                if _OURS.fullmatch(old.name) and old.name not in kept:
                    old.unlink()
        return [self.file]

    def _body(self, outcome: Outcome, looked: Looked | None) -> str:
        if outcome.status == "failed":
            return '<p class="none failed">This photo could not be restored.</p>'
        if looked is None:
            return '<p class="none failed">Its pictures can no longer be read.</p>'
        if looked.after_HWC is None:
            size = f"{looked.before_HWC.shape[1]} x {looked.before_HWC.shape[0]}"
            shown = escape(self._keep(to_jpeg(looked.before_HWC, _ALONE)))
            why = (
                "Every face is good already"
                if outcome.status == "good"
                else "No face was restored in this photo"
            )
            return (
                f'<p class="none">{why}; no picture was written.</p>'
                f'<img class="input" loading="lazy" src="{shown}" alt="The input, {size}">'
            )
        before, after = looked.before_HWC, looked.after_HWC
        whole = to_jpeg(before, _WHOLE), to_jpeg(after, _WHOLE, made=True)
        pieces = [self._slider(*whole, "Whole photo")]
        if looked.zooms:
            pieces.append('<div class="faces">')
            for zoom in looked.zooms:
                side = max(zoom.after_HWC.shape)
                note = f", reduced to {100 * _ZOOM / side:.0f} %" if side > _ZOOM else ""
                jpegs = to_jpeg(zoom.before_HWC, _ZOOM), to_jpeg(zoom.after_HWC, _ZOOM, made=True)
                pieces.append(self._slider(*jpegs, zoom.label + note))
            pieces.append("</div>")
        return "\n".join(pieces)

    def _slider(self, before_jpeg: bytes, after_jpeg: bytes, label: str) -> str:
        return slider_html(before_jpeg, after_jpeg, label=label, keep=self._keep)

    def _keep(self, jpeg: bytes) -> str:
        if not self._apart:
            return inline(jpeg)
        self._pictures += 1
        name = _picture_name(self._pictures)
        write_atomic(self.folder / name, jpeg)
        return f"{quote(self.folder.name)}/{name}"

    def _html(self) -> str:
        title = "Restored photos"
        warned = f'<p class="warn" role="note">{escape(self._warning)}</p>' if self._warning else ""
        sections = "\n".join(self._sections)
        return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{slider_css()}
{template("page.css")}
</style></head>
<body><h1>{title}</h1>
{_HELP}
{warned}
{self._filter()}
{sections}
{_VIEWER}
<script>
{template("page.js")}
</script></body></html>
"""

    def _filter(self) -> str:
        if len(self._kinds) < 2:
            return ""
        total = self._kinds.total()
        buttons = [f'<button type="button" data-kind="" aria-pressed="true">All {total}</button>']
        buttons += [
            f'<button type="button" data-kind="{kind}" aria-pressed="false">'
            f"{words[0].upper()}{words[1:]} {self._kinds[kind]}</button>"
            for kind, words in _STATES.items()
            if self._kinds[kind]
        ]
        return f'<div class="filter" role="group" aria-label="Show">{"".join(buttons)}</div>'


def _picture_name(number: int) -> str:
    return f"authface-{number:06d}.jpg"
