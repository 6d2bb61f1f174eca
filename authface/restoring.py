"""The command that restores photos; cli.py registers it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.restorers import (
    ModelOption,
    newest_restorer,
    open_finder_for,
    settings_or_defaults,
)
from authface.settings import WorkspaceOption
from authface.stopping import Stop, hearing
from authface.train import SetOption, make_config

if TYPE_CHECKING:
    from authface.sections import Settings
    from data_manifests.media import Workspace
    from restore.config import RestoreConfig
    from restore.enlarge import Upscaler
    from restore.model import ModelFacts
    from restore.outcome import Outcome

__all__ = ["restore"]

_SEEDS_FOR_REVIEW = 2
_STATUS = {"good": "good already", "nothing": "without a restored face"}


def restore(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photo, or a folder of photos.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The file or folder to write; no ending: a folder."),
    ],
    model: ModelOption = None,
    base: Annotated[
        str | None, typer.Option(help="An SDXL model, where --model is a ControlNet alone.")
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA (.safetensors or hub id), or LORA=0.8.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="released (the paper's settings), lightning or lcm.")
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(
            help="Which ones: all (if not said), largest, 0,2 (0 is the largest) or "
            "box:left,top,right,bottom in pixels of the photo."
        ),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Each input is one aligned face already.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(help="face (brow to chin), or head: with its hair, which nothing judges."),
    ] = None,
    upscale: Annotated[
        float | None, typer.Option(help="Enlarge the whole photo: 2 is twice the size.")
    ] = None,
    upscaler: Annotated[
        str | None,
        typer.Option(help="Enlarge by this super-resolution model (.safetensors), not by Lanczos."),
    ] = None,
    fidelity: Annotated[
        float | None,
        typer.Option(help="How close to the input: 0 (if not said) to 1, the input itself."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; 20 if not said.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives another guess.")] = None,
    colour: Annotated[
        str | None, typer.Option(help="How the input's is kept: wavelet, adain or none.")
    ] = None,
    improve_good: Annotated[
        bool, typer.Option("--improve-good", help="Restore faces that are good already, too.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write a before/after page here: .html.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of the restored faces here: a JPEG.")
    ] = None,
    review: Annotated[
        bool,
        typer.Option(
            "--review",
            help="Make review tasks of doubtful faces, for Label Studio. Needs a workspace; each "
            "face is restored twice, to see whether two seeds agree.",
        ),
    ] = False,
    keep_private: Annotated[
        bool, typer.Option("--keep-private", help="Keep position, serial numbers, owner.")
    ] = False,
    no_mark: Annotated[
        bool, typer.Option("--no-mark", help="Do not say in the picture that a model made faces.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that AuthFace did not write.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also restore what an earlier run finished.")
    ] = False,
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="For the photos held at once, such as 6GB; 4GB if not said. The model's own comes "
            "on top."
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Open no connection: models must be here.")
    ] = False,
    set_: SetOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Restore the faces of a photo or a folder; everything else in the picture stays as it is.

    Beside each output lies a JSON file that says what was done to each face. What an earlier run
    finished with the same settings is found and left. Told to stop, by Ctrl-C or SIGTERM, it
    finishes the faces that the model has, and the same command goes on. Exit code 3: some faces or
    photos were not restored; 2: no photo could be used; 130 or 143: it was told to stop.

    Example: authface restore old-photos restored --page compare.html
    """
    from restore.presets import with_preset

    if offline:
        os.environ["AUTHFACE_OFFLINE"] = "1"
    place, settings = settings_or_defaults(workspace)
    given = {
        "base": base,
        "lora": lora or None,
        "faces": faces,
        "aligned": aligned or None,
        "region": region,
        "upscale": upscale,
        "upscaler": upscaler,
        "fidelity": fidelity,
        "steps": steps,
        "seed": seed,
        "colour": colour,
        "improve_good": improve_good or None,
        "device": device,
        "keep_private": keep_private or None,
        "mark": False if no_mark else None,
        "overwrite": overwrite or None,
        "max_memory_mb": None if max_memory is None else _megabytes(max_memory),
    }
    config = make_config(with_preset(settings.restore, preset), given, set_ or [])
    config = _for_review(config, place) if review else config
    wish = _Wish(source, target, model, config, again=again, page=page, sheet=sheet, review=review)
    with hearing("no photo was begun.", "The same command begins anew.") as stop:
        _restore(wish, place, settings, stop)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the command was given, its options settled."""

    source: Path
    target: Path
    model: str | None
    config: RestoreConfig
    again: bool
    page: Path | None
    sheet: Path | None
    review: bool

    @property
    def looks(self) -> list[str]:
        """What is made of all photos after the last."""
        named = {"--page": self.page, "--sheet": self.sheet, "--review": self.review}
        return [name for name, given in named.items() if given]


def _restore(wish: _Wish, place: Workspace | None, settings: Settings, stop: Stop) -> None:
    from restore.batch import plan_jobs, restore_jobs
    from restore.pipeline import open_restorer

    config = wish.config
    jobs = plan_jobs(wish.source, wish.target, again=wish.again)
    _check_looks(wish.page, wish.sheet)
    _say_unused(config)
    finder = open_finder_for(settings)
    enlarger = _open_upscaler(config)
    restorer = open_restorer(wish.model or newest_restorer(place), config=config)
    if restorer.facts.warning:
        console.note(restorer.facts.warning)
    outcomes = []
    done = restore_jobs(
        jobs,
        restorer=restorer,
        finder=finder,
        upscaler=enlarger,
        may_embed=_may_embed(config, place),
        stopped=stop,
    )
    with stop.asking():
        for outcome in console.track(done, total=len(jobs), label="restoring"):
            outcomes.append(outcome)
            _say(outcome)
    stop.words = _left(len(outcomes), len(jobs), wish)
    if stop() and (len(outcomes) < len(jobs) or wish.looks):
        console.say(_summary(outcomes))
        raise stop.error()
    if wish.page is not None or wish.sheet is not None:
        _write_looks(wish.page, wish.sheet, outcomes, restorer.facts)
    if wish.review and place is not None:
        _ask_about(outcomes, place)
    _finish_restore(outcomes)


def _left(count: int, total: int, wish: _Wish) -> tuple[str, str]:
    """What is done and what is left, and how to go on, for who has stopped the command."""
    if count < total:
        same = "The same command without --again" if wish.again else "The same command"
        rest = console.counted(total - count, "photo")
        return f"{count} of {total} photos are done.", f"{same} goes on with the other {rest}."
    todo = "The same command finds them done" + (", without --again." if wish.again else ".")
    if wish.looks:
        return f"the photos are done, but not {' and '.join(wish.looks)}.", todo
    return "the photos are done.", todo


def _check_looks(page: Path | None, sheet: Path | None) -> None:
    """Whether the page and the sheet can be written: asked before hours of work, not after."""
    from restore.places import check_page, check_writable
    from restore.sheet import check_sheet

    if sheet is not None:
        check_sheet(sheet)
    if page is not None:
        check_page(page)
    for file in filter(None, (page, sheet)):
        check_writable(file)


def _say_unused(config: RestoreConfig) -> None:
    """Which of the settings that were given change nothing, since pictures are aligned faces."""
    if not config.aligned:
        return
    given = {
        "upscale": config.upscale != 1,
        "upscaler": config.upscaler is not None,
        "faces": config.faces != "all",
        "region": config.region != "face",
    }
    if unused := [name for name, is_given in given.items() if is_given]:
        console.note(
            f"aligned faces come out at the model's own size: {', '.join(unused)} changes nothing"
        )


def _for_review(config: RestoreConfig, place: Workspace | None) -> RestoreConfig:
    """The settings with several seeds a face, whose disagreement is a doubt."""
    from data_manifests.errors import ConfigError

    if place is None:
        raise ConfigError(
            "--review asks people through a workspace, and there is none here.",
            "Go into one, name one with --workspace, or make one with `authface init`.",
        )
    seeds = config.doubt.seeds or _SEEDS_FOR_REVIEW
    return config.model_copy(update={"doubt": config.doubt.model_copy(update={"seeds": seeds})})


def _may_embed(config: RestoreConfig, place: Workspace | None) -> Callable[[str], bool] | None:
    """Of which photos face vectors may be made; asked only where the guard measures identity."""
    if place is None or not config.guard.identity:
        return None
    from data_manifests.store import Store
    from restore.consents import against_embedding

    store = Store(place.tables)
    return lambda photo_id: photo_id not in against_embedding([photo_id], store)


def _open_upscaler(config: RestoreConfig) -> Upscaler | None:
    from restore.enlarge import open_upscaler
    from restore.pipeline import pick_device

    if config.upscaler is None:
        return None
    return open_upscaler(Path(config.upscaler), pick_device(config.device))


def _megabytes(text: str) -> int:
    from data_manifests.errors import InputError

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(m|mb|g|gb)?\s*", text, re.IGNORECASE)
    if found is None:
        raise InputError(f"--max-memory {text} is no size.", "Write it as 6GB or 800MB.")
    return round(float(found[1]) * (1 if (found[2] or "g").lower().startswith("m") else 1000))


def _say(outcome: Outcome) -> None:
    from restore.provenance import UNMARKED

    if outcome.resumed:
        console.say(f"  {outcome.source.name}: done before ({outcome.summary})")
        return
    if outcome.status == "good":
        console.say(f"  {outcome.source.name}: {outcome.summary}")
    elif outcome.status == "restored":
        console.done(f"{outcome.source.name}: {outcome.summary} -> {outcome.target}")
    elif outcome.status == "partly":
        console.note(f"{outcome.source.name}: {outcome.summary} -> {outcome.target}")
    else:
        console.note(f"{outcome.source.name}: {outcome.summary}")
    for note in outcome.notes:
        if note != UNMARKED:  # said once, at the start
            console.say(f"    {note}")


def _write_looks(
    page: Path | None, sheet: Path | None, outcomes: Sequence[Outcome], facts: ModelFacts
) -> None:
    """The page and the contact sheet; each photo is read once for both, after all are done."""
    from curation.sandbox import Sandbox
    from restore.looking import look_at
    from restore.page import ComparePage, fits_one_file
    from restore.sheet import ContactSheet

    made: list[tuple[str, ComparePage | ContactSheet]] = []
    if page is not None:
        apart = not fits_one_file(outcomes)
        made.append(("before and after", ComparePage(page, warning=facts.warning, apart=apart)))
    if sheet is not None:
        made.append(("contact sheet", ContactSheet(sheet, warning=facts.warning)))
    with Sandbox() as sandbox:
        for outcome in console.track(outcomes, label="drawing what to look at"):
            looked = look_at(outcome, sandbox.read)
            for _, one in made:
                one.add(outcome, looked)
    for what, one in made:
        for file in one.close():
            console.done(f"{what}: {file}")


def _ask_about(outcomes: Sequence[Outcome], place: Workspace) -> None:
    """Turn the doubtful faces into review tasks, the worst of each photo first."""
    from data_manifests.store import Store
    from restore.review import Doubtful, ask_about

    doubtful = [
        Doubtful(
            source=outcome.source,
            target=outcome.target,
            photo_id=outcome.input_sha256,
            box=face.box,
            doubt=face.doubt,
        )
        for outcome in outcomes
        for face in sorted(outcome.faces, key=lambda f: -(f.drift or 0))
        if face.doubt
    ]
    said = ask_about(doubtful, Store(place.tables), place.media).text()
    console.done(said or "no face is doubtful: nobody is asked")


def _finish_restore(outcomes: Sequence[Outcome]) -> None:
    console.say(_summary(outcomes))
    counts = Counter(outcome.status for outcome in outcomes)
    if counts["failed"] == len(outcomes):
        raise typer.Exit(console.WRONG)
    if counts["restored"] + counts["good"] < len(outcomes):
        raise typer.Exit(console.PARTIAL)


def _summary(outcomes: Sequence[Outcome]) -> str:
    """How many photos ended how, and what took how long."""
    counts = dict.fromkeys(("restored", "partly", "good", "nothing", "failed"), 0)
    spent: dict[str, float] = {}
    for outcome in outcomes:
        counts[outcome.status] += 1
        for stage, seconds in outcome.seconds.items():
            spent[stage] = spent.get(stage, 0.0) + seconds
    said = ", ".join(f"{n} {_STATUS.get(name, name)}" for name, n in counts.items() if n)
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in spent.items())
    photos = "1 photo" if len(outcomes) == 1 else f"{len(outcomes)} photos"
    return f"{photos}: {said or 'none'}" + (f" ({times})" if times else "")
