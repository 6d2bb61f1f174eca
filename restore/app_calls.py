"""What the page and programs ask of the desk through Gradio, and its addresses for programs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from data_manifests.errors import AuthFaceError, InputError
from restore.app_desk import Asked, Desk, Made, plain_words
from restore.app_watch import Pace, Progress
from restore.app_words import progress_words
from restore.outcome import sidecar_of

__all__ = ["add_api", "error_words", "restored"]

log = logging.getLogger(__name__)


def restored(
    desk: Desk,
    photo: str | None,
    asked: Asked,
    progress: Any,
    check: Callable[[], None] | None = None,
) -> Made:
    """What the desk made, told to Gradio's `progress` on the way; what `check` raises ends it."""
    pace = Pace()

    def tell(now: Progress) -> None:
        if check is not None:
            check()
        progress(now.share, desc=progress_words(now, pace.left_s(now), desk.may_repeat))

    if photo is None:
        raise InputError("There is no photo.", "Upload one first.")
    tell(Progress("reading"))
    made = desk.restore(Path(photo), asked, tell)
    if check is not None:
        check()
    return made


def add_api(desk: Desk, settings: Sequence[Any]) -> None:
    """Two addresses for programs, which hold nothing between calls; see docs/app.md."""

    def faces(photo: str) -> list[dict[str, Any]]:
        with _plainly():
            seen = desk.look(Path(photo))
        boxes = [(f, (f.box.left, f.box.top, f.box.right, f.box.bottom)) for f in seen.faces]
        return [{"face": f.index, "box": box, "reason": f.reason} for f, box in boxes]

    def restore(  # noqa: PLR0913, PLR0917 (one argument per control of the page)
        photo: str | None,
        faces: str,
        fidelity: float,
        seed: float,
        steps: float,
        upscale: float,
        colour: str,
        region: str,
        progress: Any = gr.Progress(),
    ) -> tuple[str | None, str]:
        asked = Asked(faces, fidelity, int(seed or 0), int(steps), upscale, colour, region)
        with _plainly():
            outcome = restored(desk, photo, asked, progress).outcome
        output = str(outcome.target) if outcome.output_sha256 else None
        return output, str(sidecar_of(outcome.target))

    with gr.Column(visible=False):
        photo, wanted = gr.File(label="photo"), gr.Textbox("all", label="faces")
        found, output = gr.JSON(label="faces"), gr.File(label="restored photo")
        record = gr.File(label="record")
        for_faces, for_photo = gr.Button(), gr.Button()
    look = {"concurrency_id": "look", "concurrency_limit": 1}
    model = {"concurrency_id": "model", "concurrency_limit": 1}
    for_faces.click(faces, photo, found, api_name="faces", **look)
    for_photo.click(
        restore, [photo, wanted, *settings], [output, record], api_name="restore", **model
    )


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Errors as Gradio hands them to a program."""
    try:
        yield
    except Exception as error:
        raise gr.Error(error_words(error), print_exception=False) from error


def error_words(error: Exception) -> str:
    """What a visitor is told; how the server itself failed is told in its log only."""
    if isinstance(error, AuthFaceError):
        return plain_words(error)
    log.error("a visitor's photo", exc_info=error)
    return "Something went wrong on the server. Please tell whoever runs it."
