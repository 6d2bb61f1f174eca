"""The web page's parts and what happens when one is used; app.py serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from restore.app_calls import add_api, error_words, restored
from restore.app_desk import Asked, Desk, Made
from restore.app_watch import Runs, StoppedError
from restore.app_words import (
    EMPTY,
    RUNNING,
    choices,
    footer,
    found_words,
    heading,
    in_need,
    made_words,
    said,
    table,
    trouble,
)

__all__ = ["build"]

_MOST_WAITING = 8
_MOST_STEPS = 100
_COLOURS = [("as in the photo (wavelet)", "wavelet"), ("mean and spread (AdaIN)", "adain")]
_COLOURS += [("the model's own", "none")]
_REGIONS = [("the face", "face"), ("the head, with its hair", "head")]

Update = Any  # what Gradio takes as a component's new state
Pairs = Sequence[tuple[str, Path, Path]]


def build(desk: Desk) -> Any:
    """The page as a Gradio `Blocks`, not yet served."""
    facts = desk.restorer.facts
    with gr.Blocks(title="AuthFace: restore faces", analytics_enabled=False) as page:
        gr.HTML(heading(facts), padding=False)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                photo = gr.File(label="Photo", elem_id="af-photo", height=150)
                choice = _Choice.build()
                settings = _settings(desk)
                start = gr.Button("Restore", variant="primary", interactive=False)
            with gr.Column(min_width=320, elem_id="af-result"):
                result = _Result.build()
        gr.HTML(footer(facts), padding=False)
        _connect(page, desk, _Parts(photo, choice, settings, start, result))
        add_api(desk, settings)
    page.queue(max_size=_MOST_WAITING, default_concurrency_limit=1)
    return page


def _connect(page: Any, desk: Desk, parts: _Parts) -> None:
    """What happens when a part is used. A new photo, Stop or leaving the page ends what runs."""
    photo, choice, result, runs = parts.photo, parts.choice, parts.result, Runs()
    # The first is what the page scrolls to.
    seen, done = [*choice.all, parts.start, *result.all], [*result.all, parts.start]
    at_once = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    run = parts.start.click(_beginning(runs), None, done, **at_once).success(
        _restoring(desk, runs),
        [photo, choice.picked, *parts.settings],
        done,
        concurrency_id="model",
        concurrency_limit=1,
        show_progress_on=result.status,
        scroll_to_output=True,
        api_visibility="private",
    )
    run.failure(_failing(runs), None, done, **at_once)
    result.stop.click(_stopping(runs, _stopped), None, done, cancels=run, **at_once)
    photo.clear(_stopping(runs, _cleared), None, seen, cancels=run, **at_once)
    photo.upload(_stopping(runs, _searching), None, seen, cancels=run, **at_once).success(
        partial(_look, desk),
        photo,
        seen,
        concurrency_id="look",
        concurrency_limit=1,
        show_progress="hidden",
        api_visibility="private",
    )
    result.which.change(_shown, [result.which, result.pairs], result.slider, **at_once)
    page.unload(_stopping(runs, list))


@dataclass(frozen=True, slots=True)
class _Parts:
    photo: Any
    choice: _Choice
    settings: list[Any]
    start: Any
    result: _Result


@dataclass(frozen=True, slots=True)
class _Choice:
    """Where faces are shown and picked."""

    words: Any
    preview: Any
    picked: Any

    @classmethod
    def build(cls) -> _Choice:
        words = gr.HTML(visible=False, padding=False)
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

    status: Any
    stop: Any
    empty: Any
    which: Any
    slider: Any
    words: Any
    download: Any
    record: Any
    faces: Any
    pairs: Any

    @classmethod
    def build(cls) -> _Result:
        status = gr.HTML(RUNNING, visible=False, padding=False)
        stop = gr.Button("Stop", variant="stop", visible=False)
        empty = gr.HTML(EMPTY, padding=False)
        which = gr.Radio(label="Look at", visible=False)
        slider = gr.ImageSlider(
            label="Before | after",
            type="filepath",
            interactive=False,
            buttons=["fullscreen"],
            visible=False,
            max_height=620,
        )
        words = gr.HTML(visible=False, padding=False)
        with gr.Row():
            download = gr.DownloadButton("Download the photo", variant="primary", visible=False)
            record = gr.DownloadButton("Download its record", visible=False)
        faces = gr.HTML(visible=False, padding=False)
        pairs = gr.State([])
        return cls(status, stop, empty, which, slider, words, download, record, faces, pairs)

    @property
    def all(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


def _settings(desk: Desk) -> list[Any]:
    """Fidelity, seed, steps, enlargement, colour and region, as the server's settings have them."""
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
        region = gr.Radio(
            _REGIONS,
            value=config.region,
            label="What is restored",
            info="Only the face is checked against the photo.",
        )
    return [fidelity, seed, steps_slider, upscale, colour, region]


def _look(desk: Desk, upload: str) -> list[Update]:
    try:
        seen = desk.look(Path(upload))
    except Exception as error:
        return [gr.update(value=trouble(error_words(error)), visible=True), *_cleared()[1:]]
    listed = choices(seen)
    return [
        gr.update(value=found_words(seen), visible=True),
        gr.update(value=str(seen.preview), visible=True),
        gr.update(choices=listed, value=in_need(seen), visible=bool(listed)),
        gr.update(interactive=bool(listed)),
        *_no_result(),
    ]


def _cleared() -> list[Update]:
    picked = gr.update(choices=[], value=[], visible=False)
    return [_gone(), _gone(), picked, _start(ready=False), *_no_result()]


def _searching() -> list[Update]:
    return [gr.update(value=said("Looking for faces."), visible=True), *_cleared()[1:]]


def _stopped() -> list[Update]:
    return [*_no_result(said("Stopped. Nothing was kept.")), _start(ready=True)]


def _gone() -> Update:
    return gr.update(value=None, visible=False)


def _start(*, ready: bool) -> Update:
    return gr.update(interactive=ready)


def _no_result(words: str = "") -> list[Update]:
    told = gr.update(value=words, visible=True) if words else _gone()
    return _result(empty=gr.update(visible=True), words=told)


def _result(**shown: Update) -> list[Update]:
    """Updates of a result's parts: what is not named is hidden."""
    hidden = {name: gr.update(visible=False) for name in ("empty", "status", "stop")}
    hidden |= {"which": gr.update(choices=[], value=None, visible=False), "pairs": []}
    return [shown.get(f.name, hidden.get(f.name, _gone())) for f in fields(_Result)]


def _beginning(runs: Runs) -> Callable[..., list[Update]]:
    def begin_on_page(request: gr.Request) -> list[Update]:
        runs.begin(str(request.session_hash))
        status, stop = gr.update(visible=True), gr.update(visible=True)
        return [*_result(status=status, stop=stop), _start(ready=False)]

    return begin_on_page


def _stopping(runs: Runs, then: Callable[[], list[Update]]) -> Callable[..., list[Update] | None]:
    def stop_on_page(request: gr.Request) -> list[Update] | None:
        runs.stop(str(request.session_hash))
        return then() or None

    return stop_on_page


def _failing(runs: Runs) -> Callable[..., list[Update] | Update]:
    def fail_on_page(request: gr.Request) -> list[Update] | Update:
        if not runs.waits(str(request.session_hash)):  # stopped, which Gradio calls a failure too
            return gr.skip()
        words = trouble("The photo could not be restored now. Try again in a minute.")
        return [*_no_result(words), _start(ready=True)]

    return fail_on_page


def _restoring(desk: Desk, runs: Runs) -> Callable[..., list[Update] | Update]:
    def restore_on_page(  # noqa: PLR0913, PLR0917 (one argument per control of the page)
        photo: str | None,
        faces: list[int],
        fidelity: float,
        seed: float,
        steps: float,
        upscale: float,
        colour: str,
        region: str,
        request: gr.Request,
        progress: Any = gr.Progress(),
    ) -> list[Update] | Update:
        names = ",".join(str(int(number)) for number in faces)
        asked = Asked(names, fidelity, int(seed or 0), int(steps), upscale, colour, region, True)
        check = runs.watch(str(request.session_hash))
        try:
            filled = _filled(restored(desk, photo, asked, progress, check), asked)
        except StoppedError as end:
            if not desk.is_closing:
                return gr.skip()  # what stopped it says so; this may come later than the next photo
            filled = _no_result(said(end.wrong))
        except Exception as error:
            filled = _no_result(trouble(error_words(error)))
        return [*filled, _start(ready=True)]

    return restore_on_page  # its name is taken for a program's address, even where there is none


def _filled(made: Made, asked: Asked) -> list[Update]:
    labels = [label for label, _, _ in made.pairs]
    shown = {
        "words": gr.update(value=made_words(made, asked), visible=True),
        "faces": gr.update(value=table(made.outcome.faces), visible=True),
        "pairs": list(made.pairs),
    }
    if labels:
        shown["which"] = gr.update(choices=labels, value=labels[0], visible=len(labels) > 1)
        shown["slider"] = gr.update(value=_pair(made.pairs, labels[0]), visible=True)
    if made.files is not None:
        photo, record = (gr.update(value=str(file), visible=True) for file in made.files)
        shown |= {"download": photo, "record": record}
    return _result(**shown)


def _shown(label: str | None, pairs: Pairs) -> Update:
    if not label or label not in {name for name, _, _ in pairs}:
        return gr.skip()
    return gr.update(value=_pair(pairs, label))


def _pair(pairs: Pairs, label: str) -> tuple[str, str]:
    before, after = next((b, a) for name, b, a in pairs if name == label)
    return str(before), str(after)
