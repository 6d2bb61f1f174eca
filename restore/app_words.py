"""What the web page says: its words and small pieces of HTML, all of them escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from restore.app_desk import Asked, Made, Seen
from restore.app_folder import KEPT_S
from restore.app_guard import MOST_UPLOAD
from restore.app_watch import Progress
from restore.model import ModelFacts
from restore.outcome import NOT_ASKED, FaceReport

__all__ = [
    "CSS",
    "EMPTY",
    "RUNNING",
    "choices",
    "footer",
    "found_words",
    "heading",
    "in_need",
    "made_words",
    "progress_words",
    "said",
    "table",
    "trouble",
]

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important;
  overflow: clip !important; }
.af-warn { border: 1px solid #d9a400; border-left-width: 6px; background: #fff7dc; color: #3d2f00;
  border-radius: 6px; padding: 10px 14px; margin: 6px 0; }
.gradio-container .af-warn :is(b, p) { color: inherit; }
.af-said { margin: 4px 0; line-height: 1.5; }
.af-foot { color: var(--body-text-color-subdued); font-size: 13px; line-height: 1.5; }
.gradio-container .af-table { width: 100%; border-collapse: collapse; font-size: 14px; }
.gradio-container :is(.af-table, .af-table tr) { border: 0; }
#af-faces:not(.fullscreen) img { max-height: max(240px, 40vh); }
.gradio-container .af-table :is(th, td) { text-align: left; padding: 6px 12px 6px 0; border: 0;
  border-bottom: 1px solid var(--border-color-primary); vertical-align: top; }
.gradio-container .af-table td:last-child { overflow-wrap: anywhere; padding-right: 0; }
@media (min-width: 720px) { #af-result { position: sticky; top: 12px; z-index: 100; } }
.af-running { min-height: 80px; }
.af-running span { position: absolute; clip-path: inset(50%); }
footer .divider { display: none; }
.af-empty { border: 1px dashed var(--border-color-primary); border-radius: 8px; padding: 60px 24px;
  text-align: center; color: var(--body-text-color-subdued); }
"""

EMPTY = """<div class="af-empty">The result will be shown here: before and after with a slider,
what became of each face, and the photo to download at its full size.</div>"""
RUNNING = '<div class="af-running" role="status"><span>Restoring.</span></div>'


def heading(facts: ModelFacts) -> str:
    """The top of the page: what it is for, and what it is not for."""
    tiny = (
        f'<div class="af-warn" role="note">{escape(facts.warning)}</div>' if facts.warning else ""
    )
    return (
        '<h1 style="font-size: 26px; margin: 0 0 6px">Restore faces in a photo</h1>'
        '<div class="af-warn" role="note"><b>A restored face is a guess.</b> A model makes it up '
        "from what is left in the picture, and it can look like somebody else. Do not use it to "
        f"identify anyone.</div>{tiny}"
    )


def footer(facts: ModelFacts) -> str:
    """The bottom of the page: what is taken, what becomes of it, which model works."""
    minutes = f"{KEPT_S / 60:.0f} minutes"
    return (
        '<div class="af-foot">JPEG, PNG, TIFF, WebP, HEIC and RAW, up to '
        f"{MOST_UPLOAD // 2**20} MB. A photo is deleted from this server at most {minutes} "
        f"after it was uploaded, a result {minutes} after it was made; closing the server deletes "
        "all of them. Outputs say in their metadata that a model made faces in them. Position and "
        f"serial numbers are left out. Model {escape(facts.name)}, {facts.sha256[:12]}.</div>"
    )


def choices(seen: Seen) -> list[tuple[str, int]]:
    """The faces that can be picked, with their sizes; one that is good already can be too."""
    return [
        (
            f"{f.index}: {f.box.width:.0f} x {f.box.height:.0f} px" + ", good already" * f.good,
            f.index,
        )
        for f in seen.faces
        if f.good or not f.reason
    ]


def in_need(seen: Seen) -> list[int]:
    """The faces that are picked unless the visitor does otherwise."""
    return [face.index for face in seen.faces if not face.reason]


def found_words(seen: Seen) -> str:
    """How many faces there are, and why some can't be restored."""
    if not seen.faces:
        return said(
            "No face was found in this photo, so there is nothing to restore. If there is a small "
            "one, crop the photo around it and try that."
        )
    count = len(seen.faces)
    found = "1 face was found." if count == 1 else f"{count} faces were found."
    whys = [
        f"Face {f.index} {'is left' if f.good else 'cannot be restored'}: {f.reason}."
        for f in seen.faces
        if f.reason
    ]
    return said(" ".join([found, *whys]))


def progress_words(now: Progress, left_s: float | None, may_repeat: bool) -> str:
    """How far a restoration is; `may_repeat` if faces may be tried again after this round."""
    if now.stage in _STAGES:
        return _STAGES[now.stage]
    if now.done == now.total:
        return "Checking the faces and putting them in"
    count = "1 face" if now.total == 1 else f"{now.total} faces"
    words = {
        "restoring": f"Restoring {count}",
        "again": f"Trying {count} again, closer to the photo",
        "comparing": f"Trying {count} with another seed, to compare",
    }[now.stage]
    if now.done:
        words += f", {now.done} done"
    if left_s is not None:
        words += f", about {_time_words(left_s)} left"
        if may_repeat and now.stage == "restoring":
            words += " (more if a face is tried again)"
    return words


_STAGES = {"reading": "Reading the photo", "writing": "Making the pictures to compare"}


def _time_words(seconds: float) -> str:
    if seconds < 60:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def made_words(made: Made, asked: Asked) -> str:
    """What became of the photo, and with what; the remarks of reading and writing it."""
    outcome = made.outcome
    notes = "".join(f"<li>{escape(note)}</li>" for note in outcome.notes)
    listed = f'<ul style="margin: 4px 0 0 18px; list-style: disc">{notes}</ul>' if notes else ""
    done = sum(face.status == "restored" for face in outcome.faces)
    words = f"{done} of {sum(f.reason != NOT_ASKED for f in outcome.faces)} picked faces restored."
    words += f" Seed {asked.seed}, fidelity {asked.fidelity:g}, {asked.steps} steps."
    if made.files is None:
        words = "No face was restored, so there is no picture to download."
    return said(words) + listed


def table(faces: Sequence[FaceReport]) -> str:
    """One row per face: what became of it and why."""
    rows = "".join(
        f"<tr><td>{face.index}</td><td>{escape(_status(face))}</td><td>{escape(_why(face))}</td>"
        "</tr>"
        for face in faces
    )
    head = "<tr><th>face</th><th>status</th><th>remarks</th></tr>"
    return f'<table class="af-table">{head}{rows}</table>'


def trouble(words: str) -> str:
    """What went wrong."""
    return f'<div class="af-warn" role="alert">{escape(words)}</div>'


def _status(face: FaceReport) -> str:
    return "left as it is" if face.reason == NOT_ASKED else face.status


def _why(face: FaceReport) -> str:
    doubt = f"doubtful: {face.doubt}" if face.doubt else ""
    reason = "" if face.reason == NOT_ASKED else face.reason
    return "; ".join(filter(None, (reason, face.note, doubt)))


def said(words: str) -> str:
    """A line of words, read out by a screen reader when it appears."""
    return f'<p class="af-said" role="status">{escape(words)}</p>'
