"""The web page's parts and what happens when one is used; app.py serves it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from data_manifests.errors import AuthFaceError, InputError
from restore.app_desk import Asked, Desk, Made, plain_words
from restore.app_words import (
    choices,
    footer,
    found_words,
    heading,
    in_need,
    made_words,
    table,
    trouble,
)
from restore.outcome import sidecar_of

__all__ = ["build"]

log = logging.getLogger(__name__)

_MOST_WAITING = 8
_MOST_STEPS = 100
_COLOURS = [("as in the photo (wavelet)", "wavelet"), ("mean and spread (AdaIN)", "adain")]
_COLOURS += [("the model's own", "none")]

Update = Any  # what Gradio takes as a component's new state
Pairs = Sequence[tuple[str, Path, Path]]


def build(desk: Desk) -> Any:
    """The page as a Gradio `Blocks`, not yet served."""
    facts = desk.restorer.facts
    with gr.Blocks(title="AuthFace: restore faces", analytics_enabled=False) as page:
        gr.HTML(heading(facts))
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                photo = gr.File(label="Photo", elem_id="af-photo", height=150)
                choice = _Choice.build()
                settings = _settings(desk)
                start = gr.Button("Restore", variant="primary", interactive=False)
            with gr.Column(min_width=320):
                result = _Result.build()
        gr.HTML(footer(facts))
        seen = [*choice.all, start, *result.all]
        private = {"api_visibility": "private"}
        photo.upload(
            partial(_look, desk), photo, seen, concurrency_id="look", concurrency_limit=1, **private
        )
        photo.clear(_cleared, None, seen, queue=False, **private)
        start.click(
            _restoring(desk),
            [photo, choice.picked, *settings],
            result.all,
            concurrency_id="model",
            concurrency_limit=1,
            scroll_to_output=True,
            **private,
        )
        result.which.change(
            _shown, [result.which, result.pairs], result.slider, queue=False, **private
        )
        _add_api(desk, settings)
    page.queue(max_size=_MOST_WAITING, default_concurrency_limit=1)
    return page


@dataclass(frozen=True, slots=True)
class _Choice:
    """Where faces are shown and picked."""

    words: Any
    preview: Any
    picked: Any

    @classmethod
    def build(cls) -> _Choice:
        words = gr.HTML(visible=False)
        preview = gr.Image(
            label="Faces",
            type="filepath",
            interactive=False,
            buttons=["fullscreen"],
            visible=False,
            elem_id="af-faces",
        )
        picked = gr.CheckboxGroup(
            label="Which faces to restore", show_select_all=True, visible=False
        )
        return cls(words, preview, picked)

    @property
    def all(self) -> list[Any]:
        return [self.words, self.preview, self.picked]


@dataclass(frozen=True, slots=True)
class _Result:
    """Where the result is compared and downloaded."""

    empty: Any
    which: Any
    slider: Any
    words: Any
    faces: Any
    download: Any
    record: Any
    pairs: Any

    @classmethod
    def build(cls) -> _Result:
        empty = gr.HTML(_EMPTY)
        which = gr.Radio(label="Look at", visible=False)
        slider = gr.ImageSlider(
            label="Before | after",
            type="filepath",
            interactive=False,
            buttons=["fullscreen"],
            visible=False,
            max_height=620,
        )
        words, faces = gr.HTML(visible=False), gr.HTML(visible=False)
        with gr.Row():
            download = gr.DownloadButton("Download the photo", variant="primary", visible=False)
            record = gr.DownloadButton("Download its record", visible=False)
        return cls(empty, which, slider, words, faces, download, record, gr.State([]))

    @property
    def all(self) -> list[Any]:
        return [
            self.empty,
            self.which,
            self.slider,
            self.words,
            self.faces,
            self.download,
            self.record,
            self.pairs,
        ]


_EMPTY = """<div class="af-empty">The result will be shown here: before and after with a slider,
what became of each face, and the photo to download at its full size.</div>"""


def _settings(desk: Desk) -> list[Any]:
    """Fidelity, seed, steps, enlargement and colour, as the server's settings have them."""
    config, steps = desk.restorer.config, desk.restorer.steps
    with gr.Accordion("Settings", open=False):
        fidelity = gr.Slider(
            0,
            1,
            value=config.fidelity,
            step=0.05,
            label="Fidelity",
            info="0: free to make up detail. 1: as close to the photo as can be.",
        )
        with gr.Row():
            seed = gr.Number(
                config.seed,
                precision=0,
                minimum=0,
                maximum=2**31 - 1,
                label="Seed",
                info="Another seed gives another guess.",
                min_width=140,
            )
            steps_slider = gr.Slider(
                1,
                max(_MOST_STEPS, steps),
                value=steps,
                step=1,
                label="Steps",
                info="More take longer.",
                min_width=140,
            )
        upscale = gr.Radio(
            [("no", 1), ("2 times", 2), ("4 times", 4)], value=1, label="Enlarge the whole photo"
        )
        colour = gr.Radio(_COLOURS, value=config.colour, label="Colour of restored faces")
    return [fidelity, seed, steps_slider, upscale, colour]


def _look(desk: Desk, upload: str) -> list[Update]:
    try:
        seen = desk.look(Path(upload))
    except Exception as error:
        return [gr.update(value=trouble(_words(error)), visible=True), *_cleared()[1:]]
    listed = choices(seen)
    return [
        gr.update(value=found_words(seen), visible=True),
        gr.update(value=str(seen.preview), visible=True),
        gr.update(choices=listed, value=in_need(seen), visible=bool(listed)),
        gr.update(interactive=bool(listed)),
        *_no_result(),
    ]


def _cleared() -> list[Update]:
    gone = gr.update(value=None, visible=False)
    picked = gr.update(choices=[], value=[], visible=False)
    return [gone, gone, picked, gr.update(interactive=False), *_no_result()]


def _no_result() -> list[Update]:
    gone = gr.update(value=None, visible=False)
    which = gr.update(choices=[], value=None, visible=False)
    return [gr.update(visible=True), which, gone, gone, gone, gone, gone, []]


def _restoring(desk: Desk) -> Callable[..., list[Update]]:
    def restore_on_page(  # noqa: PLR0913, PLR0917 (one argument per control of the page)
        photo: str | None,
        faces: list[int],
        fidelity: float,
        seed: float,
        steps: float,
        upscale: float,
        colour: str,
        progress: Any = gr.Progress(),
    ) -> list[Update]:
        names = ",".join(str(int(number)) for number in faces)
        asked = Asked(names, fidelity, int(seed or 0), int(steps), upscale, colour, True)
        try:
            return _filled(_made(desk, photo, asked, progress))
        except Exception as error:
            empty, which, slider, _, *rest = _no_result()
            said = gr.update(value=trouble(_words(error)), visible=True)
            return [empty, which, slider, said, *rest]

    return restore_on_page  # its name is taken for a program's address, even where there is none


def _made(desk: Desk, photo: str | None, asked: Asked, progress: Any) -> Made:
    def tell(done: int, total: int) -> None:
        left = total - done
        faces = "1 face" if left == 1 else f"{left} faces"
        progress((done, total), desc=f"{faces} to restore" if left else "Writing", unit="faces")

    if photo is None:
        raise InputError("There is no photo.", "Upload one first.")
    progress(0, desc="Reading")
    return desk.restore(Path(photo), asked, tell)


def _filled(made: Made) -> list[Update]:
    labels = [label for label, _, _ in made.pairs]
    files = made.files
    photo, record = (None, None) if files is None else (str(files[0]), str(files[1]))
    return [
        gr.update(visible=False),
        gr.update(choices=labels, value=labels[0] if labels else None, visible=len(labels) > 1),
        gr.update(value=_pair(made.pairs, labels[0]) if labels else None, visible=bool(labels)),
        gr.update(value=made_words(made), visible=True),
        gr.update(value=table(made.outcome.faces), visible=True),
        gr.update(value=photo, visible=photo is not None),
        gr.update(value=record, visible=record is not None),
        list(made.pairs),
    ]


def _shown(label: str | None, pairs: Pairs) -> Update:
    if not label or label not in {name for name, _, _ in pairs}:
        return gr.skip()
    return gr.update(value=_pair(pairs, label))


def _pair(pairs: Pairs, label: str) -> tuple[str, str]:
    before, after = next((b, a) for name, b, a in pairs if name == label)
    return str(before), str(after)


def _add_api(desk: Desk, settings: Sequence[Any]) -> None:
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
        progress: Any = gr.Progress(),
    ) -> tuple[str | None, str]:
        asked = Asked(faces, fidelity, int(seed or 0), int(steps), upscale, colour)
        with _plainly():
            outcome = _made(desk, photo, asked, progress).outcome
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
        raise gr.Error(_words(error), print_exception=False) from error


def _words(error: Exception) -> str:
    """What a visitor is told; how the server itself failed is told in its log only."""
    if isinstance(error, AuthFaceError):
        return plain_words(error)
    log.error("a visitor's photo", exc_info=error)
    return "Something went wrong on the server. Please tell whoever runs it."
