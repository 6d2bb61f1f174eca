"""The contact sheet: one self-contained HTML page of what was kept and what was not, and why."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path, PurePath

from PIL import Image

from data_manifests.records import Face, Photo, Verdict

__all__ = ["contact_sheet"]

_THUMB, _FACE_THUMB = 360, 112  # px
_STATES = {"kept": "kept", "set_aside": "set aside", "quarantined": "quarantined"}

_STYLE = """
:root {
  color-scheme: light dark; --line: #8884; --soft: #8882; --kept: #2e7d4f; --aside: #b26a00;
  --bad: #b3261e;
}
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 24px }
h1 { font-size: 22px; margin: 0 0 4px }
p.sum { margin: 0 0 16px; opacity: .75 }
.bar {
  display: flex; height: 10px; border-radius: 5px; overflow: hidden; background: var(--soft);
  margin: 0 0 12px;
}
.bar i { display: block }
.kept i, .bar .kept { background: var(--kept) }
.bar .set_aside { background: var(--aside) }
.bar .quarantined { background: var(--bad) }
.picks { display: flex; flex-wrap: wrap; gap: 8px; margin: 0 0 20px }
.picks label {
  border: 1px solid var(--line); border-radius: 16px; padding: 3px 12px; cursor: pointer;
}
.picks input { position: absolute; opacity: 0 }
.picks label:has(:checked) { background: var(--soft); font-weight: 600 }
.picks label:has(:focus-visible) { outline: 2px solid; outline-offset: 2px }
.reasons {
  margin: 0 0 20px; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px;
  list-style: none;
}
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 18px }
article {
  border: 1px solid var(--line); border-radius: 8px; overflow: hidden; display: flex;
  flex-direction: column;
}
figure {
  margin: 0; position: relative; background: #8881; aspect-ratio: 4/3; display: grid;
  place-items: center;
}
figure .frame { position: relative; height: 100%; max-width: 100% }
figure img { display: block; height: 100% }
figure svg { position: absolute; inset: 0; width: 100%; height: 100% }
figure rect { fill: none; stroke: #ffd54a; stroke-width: 2; vector-effect: non-scaling-stroke }
.none { padding: 20px; text-align: center; opacity: .65 }
.text { padding: 10px 12px; display: grid; gap: 5px }
.name { font-weight: 600; overflow-wrap: anywhere }
.state { font-size: 12px; font-weight: 700; text-transform: uppercase; letter-spacing: .04em }
.state.kept { color: var(--kept) }
.state.set_aside { color: var(--aside) }
.state.quarantined { color: var(--bad) }
.why { overflow-wrap: anywhere }
.facts { font-size: 13px; opacity: .75 }
.crops { display: flex; flex-wrap: wrap; gap: 4px }
.crops img { width: 56px; height: 56px; border-radius: 4px }
details { font-size: 13px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: 2px 6px 2px 0; font-weight: 400 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
tr.no td { color: var(--bad) }
body:has(#only-kept:checked) article:not(.kept),
body:has(#only-set_aside:checked) article:not(.set_aside),
body:has(#only-quarantined:checked) article:not(.quarantined) { display: none }
"""


def contact_sheet(photos: Iterable[Photo], faces: Iterable[Face], *, media: Path) -> str:
    """The page as HTML text, with thumbnails of the proxies and crops under `media` inside it."""
    rows = sorted(photos, key=lambda p: p.path)
    of_photo: dict[str, list[Face]] = {}
    for face in sorted(faces, key=lambda f: f.index):
        of_photo.setdefault(face.photo_id, []).append(face)
    return "".join(_page(rows, of_photo, media))


def _page(rows: Sequence[Photo], faces: dict[str, list[Face]], media: Path) -> Iterator[str]:
    count = Counter(p.state for p in rows)
    found = sum(len(f) for f in faces.values())
    yield "<!doctype html><html lang=en><meta charset=utf-8><title>Photos</title>"
    yield '<meta name=viewport content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style><h1>Photos</h1>"
    yield f"<p class=sum>{len(rows)} photos, {found} faces</p>"
    yield "<div class=bar>" + "".join(_bar(s, count[s], len(rows)) for s in _STATES) + "</div>"
    yield "<div class=picks role=radiogroup aria-label=Show>"
    yield _pick("all", "all", len(rows), checked=True)
    yield from (_pick(s, words, count[s]) for s, words in _STATES.items())
    yield "</div>"
    yield from _reasons(rows)
    yield "<main>"
    names = {p.photo_id: PurePath(p.path).name for p in rows}
    for photo in rows:
        twin = names.get(photo.near_duplicate_of or "", "")
        yield from _card(photo, faces.get(photo.photo_id, []), media, twin)
    yield "</main></html>\n"


def _bar(state: str, count: int, total: int) -> str:
    return f'<i class="{state}" style="width:{100 * count / max(total, 1):.2f}%"></i>'


def _pick(state: str, words: str, count: int, *, checked: bool = False) -> str:
    mark = " checked" if checked else ""
    return f'<label><input type=radio name=only id="only-{state}"{mark}>{words} {count}</label>'


def _reasons(rows: Sequence[Photo]) -> Iterator[str]:
    count = Counter(r for p in rows for r in p.reasons)
    if count:
        listed = (f"<li>{escape(_words(r))} {n}</li>" for r, n in count.most_common())
        yield f"<ul class=reasons>{''.join(listed)}</ul>"


def _card(photo: Photo, faces: Sequence[Face], media: Path, twin: str) -> Iterator[str]:
    state = photo.state if photo.state in _STATES else "quarantined"
    name = escape(PurePath(photo.path).name)
    yield f'<article class="{state}"><figure>{_picture(photo, faces, media)}</figure>'
    yield f'<div class=text><div class="state {state}">{_STATES[state]}</div>'
    yield f'<div class=name title="{escape(photo.path)}">{name}</div>'
    if photo.reasons:
        said = [v.reason for v in photo.verdicts if not v.keep and v.reason] or list(photo.reasons)
        kept = f" ({twin})" if twin else ""
        yield f"<div class=why>{escape('; '.join(said) + kept)}</div>"
    yield f"<div class=facts>{escape(' · '.join(_facts(photo, faces)))}</div>"
    crops = [
        _thumb(media / c.path, _FACE_THUMB) for f in faces for c in f.crops if c.kind == "aligned"
    ]
    if any(crops):
        images = "".join(f'<img loading=lazy src="{c}" alt="a face">' for c in crops if c)
        yield f"<div class=crops>{images}</div>"
    if photo.verdicts:
        table = f"<table>{_table(photo.verdicts)}</table>"
        yield f"<details><summary>figures</summary>{table}</details>"
    yield "</div></article>"


def _picture(photo: Photo, faces: Sequence[Face], media: Path) -> str:
    source = _thumb(media / photo.proxy_path, _THUMB) if photo.proxy_path else ""
    if not source:
        return "<div class=none>not decoded</div>"
    boxes = "".join(
        f'<rect x="{f.box.left:.0f}" y="{f.box.top:.0f}" width="{f.box.width:.0f}"'
        f' height="{f.box.height:.0f}"/>'
        for f in faces
    )
    alt = escape(PurePath(photo.path).name)
    drawn = f'<svg viewBox="0 0 {photo.width} {photo.height}" aria-hidden=true>{boxes}</svg>'
    ratio = f"aspect-ratio:{photo.width}/{photo.height}"
    wide = "width:100%;height:auto" if photo.width * 3 > photo.height * 4 else "height:100%"
    return (
        f'<div class=frame style="{ratio};{wide}">'
        f'<img loading=lazy style="width:100%;height:100%" src="{source}" alt="{alt}">{drawn}</div>'
    )


def _facts(photo: Photo, faces: Sequence[Face]) -> Iterator[str]:
    if photo.format:
        yield f"{photo.format} {photo.bit_depth} bit"
    if photo.width:
        yield f"{photo.width} x {photo.height}"
    if photo.proxy_path:
        yield f"{len(faces)} face{'' if len(faces) == 1 else 's'}"
    if faces and faces[0].eye_distance:
        yield f"eyes {faces[0].eye_distance:.0f} px apart"
    capture = photo.capture
    if capture and capture.camera:
        yield capture.camera
    if capture and capture.focal_length_mm:
        yield f"{capture.focal_length_mm:g} mm"
    if photo.xmp_rating is not None:
        yield "rejected" if photo.xmp_rating < 0 else f"{photo.xmp_rating} stars"


def _table(verdicts: Iterable[Verdict]) -> str:
    return "".join(
        f'<tr class="{"yes" if v.keep else "no"}"><th>{escape(_words(v.gate))}</th>'
        f"<td class=n>{_number(v.value)}</td><td class=n>{_number(v.threshold)}</td></tr>"
        for v in verdicts
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _words(code: str) -> str:
    return code.replace("_", " ")


def _thumb(path: Path, side: int) -> str:
    """A JPEG data address of the picture; empty if it is not there."""
    if not path.exists():
        return ""
    with Image.open(path) as picture:
        picture.draft("RGB", (side, side))
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
