"""One HTML file that shows what a workspace holds, from its tables, runs and restored photos."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from authface.charts import line_chart
from authface.report_restored import restored_views
from data_manifests.media import Workspace
from data_manifests.records import Annotation, Consensus, Face, Photo, Sample, Task
from data_manifests.store import Store
from restore.compare import slider_css
from training.journal import read_journal

__all__ = ["render_report"]

STATES = {"kept": "kept", "set_aside": "set aside", "quarantined": "quarantined"}


def render_report(workspace: Workspace, *, title: str, log: Sequence[dict[str, Any]]) -> str:
    """The page as text; `log` holds the commands that were run, with what they printed."""
    store = Store(workspace.tables)
    photos = sorted(store.read(Photo), key=lambda p: Path(p.path).name)
    faces = _in_order_of(photos, store.read(Face))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("authface"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["markup"] = _markup
    return environment.get_template("report.html.j2").render(
        title=title,
        slider_css=slider_css(),
        funnel=_funnel(photos),
        photos=[_photo_view(p, faces, workspace.media) for p in photos],
        crops=_crop_views(photos, faces, workspace.media),
        answers=_answer_views(store, photos),
        samples=store.read(Sample),
        versions=store.versions(),
        runs=[_run_view(r) for r in _runs(workspace.runs)],
        restored=list(restored_views(workspace.root)),
        log=log,
    )


def _in_order_of(photos: Sequence[Photo], faces: Iterable[Face]) -> list[Face]:
    place = {photo.photo_id: number for number, photo in enumerate(photos)}
    return sorted(faces, key=lambda f: (place.get(f.photo_id, -1), f.index))


def _markup(text: str) -> Any:
    """Mark our own SVG and slider HTML as safe; nothing a person typed goes through here."""
    from markupsafe import Markup

    return Markup(text)


def _funnel(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    total = max(len(photos), 1)
    bars = [{"label": "seen", "count": len(photos), "share": 1.0, "state": "seen"}]
    for state, label in STATES.items():
        count = sum(p.state == state for p in photos)
        bars.append({"label": label, "count": count, "share": count / total, "state": state})
    reasons = Counter(reason for p in photos if p.state != "kept" for reason in p.reasons)
    bars += [
        {"label": r.replace("_", " "), "count": n, "share": n / total, "state": "reason"}
        for r, n in reasons.most_common()
    ]
    return bars


def _photo_view(photo: Photo, faces: Iterable[Face], media: Path) -> dict[str, Any]:
    failed = [v for v in photo.verdicts if not v.keep]
    failed += [v for f in faces if f.photo_id == photo.photo_id for v in f.verdicts if not v.keep]
    return {
        "name": Path(photo.path).name,
        "state": photo.state,
        "label": STATES.get(photo.state, photo.state),
        "why": "; ".join(dict.fromkeys(v.reason for v in failed if v.reason))
        or ", ".join(photo.reasons),
        "size": f"{photo.width} x {photo.height}" if photo.width else "not decoded",
        "facts": " · ".join(_capture_facts(photo)),
        "picture": _thumb(media / photo.proxy_path, 300) if photo.proxy_path else "",
    }


def _capture_facts(photo: Photo) -> list[str]:
    c = photo.capture
    facts = [
        photo.format,
        f"{photo.bit_depth} bit" if photo.bit_depth else "",
        photo.colour_profile,
    ]
    if c is not None:
        facts += [
            c.camera or "",
            f"{c.focal_length_mm:g} mm" if c.focal_length_mm else "",
            f"f/{c.aperture_f:g}" if c.aperture_f else "",
            f"ISO {c.iso}" if c.iso else "",
        ]
    return [f for f in facts if f]


def _crop_views(
    photos: Sequence[Photo], faces: Sequence[Face], media: Path
) -> list[dict[str, Any]]:
    names = {p.photo_id: Path(p.path).name for p in photos}
    return [
        {
            "picture": _thumb(media / crop.path, 220),
            "name": names.get(face.photo_id, "?"),
            "facts": f"{crop.width} px · eyes {face.eye_distance or 0:.0f} px · {face.finder}",
        }
        for face in faces
        for crop in face.crops
        if crop.kind == "aligned"
    ]


def _answer_views(store: Store, photos: Sequence[Photo]) -> list[dict[str, Any]]:
    names = {p.photo_id: Path(p.path).name for p in photos}
    answers, settled = store.read(Annotation), {c.photo_id: c for c in store.read(Consensus)}
    views = [_answer_view(task, names, answers, settled) for task in store.read(Task)]
    return sorted(views, key=lambda view: (view["kind"] != "triage", view["name"]))


def _answer_view(
    task: Task, names: dict[str, str], answers: Sequence[Annotation], settled: dict[str, Consensus]
) -> dict[str, Any]:
    votes = [
        a.decision if a.state == "counted" else a.state.replace("_", " ")
        for a in answers
        if a.task_key == task.task_key
    ]
    consensus = settled.get(task.photo_id) if task.kind == "triage" else None
    return {
        "name": names.get(task.photo_id, task.photo_id[:12]),
        "kind": task.kind,
        "state": task.state.replace("_", " "),
        "votes": ", ".join(v or "no decision" for v in votes) or "none yet",
        "decision": ("disagreement" if consensus.conflict else consensus.decision or "none")
        if consensus
        else "",
        "agreement": f"{consensus.agreement:.0%}"
        if consensus and consensus.agreement is not None
        else "",
        "tags": ", ".join(
            t.split("/", 1)[-1].replace("_", " ")
            for t in consensus.semantic_tags + consensus.photographic_tags
        )
        if consensus
        else "",
    }


def _runs(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob("*/stats.jsonl"))


def _run_view(run: Path) -> dict[str, Any]:
    stats = [s for s in read_journal(run) if s["loss"] is not None]
    losses = [float(s["loss"]) for s in stats]
    return {
        "name": run.name,
        "steps": len(stats),
        "first": f"{losses[0]:.4g}" if losses else "",
        "last": f"{losses[-1]:.4g}" if losses else "",
        "seconds": f"{sum(float(s.get('seconds', 0)) for s in stats):.1f}",
        "chart": line_chart([int(s["step"]) for s in stats], losses, label=f"loss of {run.name}"),
        "parts": sorted({name for s in stats for name in s.get("parts", {})}),
    }


def _thumb(path: Path, side: int) -> str:
    """A JPEG data address of the picture at most `side` px; empty if it is not there."""
    if not path.exists():
        return ""
    from curation.colour import to_eight_bits
    from curation.lossless import read_lossless

    small = Image.fromarray(to_eight_bits(read_lossless(path)))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
