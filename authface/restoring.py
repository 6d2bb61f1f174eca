"""Commands that restore photos and say how good the result is; cli.py registers them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from authface import console
from authface.settings import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from authface.sections import Settings
    from curation.faces import NamedFinder
    from data_manifests.media import Workspace
    from restore.config import RestoreConfig
    from restore.enlarge import Upscaler
    from restore.evaluate import Apart, Score
    from restore.model import ModelFacts
    from restore.outcome import Outcome

__all__ = [
    "ModelOption",
    "evaluate",
    "newest_restorer",
    "open_finder_for",
    "restore",
    "settings_or_defaults",
]

ModelOption = Annotated[
    str | None,
    typer.Option(help="A restorer's model folder or hub id; else the workspace's newest restorer."),
]


def restore(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photo, or a folder of photos.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file or folder to write.")],
    model: ModelOption = None,
    faces: Annotated[
        str | None,
        typer.Option(help="all, largest, 0,2 (0 is the largest) or box:left,top,right,bottom."),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Each input is one aligned face already.")
    ] = False,
    upscale: Annotated[
        float | None, typer.Option(help="Enlarge the whole photo, by Lanczos: 2 is twice the size.")
    ] = None,
    fidelity: Annotated[
        float | None, typer.Option(help="0 starts from full noise, 1 from the input itself.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives another guess.")] = None,
    colour: Annotated[str | None, typer.Option(help="wavelet, adain or none.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write a before/after page here.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of the restored faces here: a JPEG.")
    ] = None,
    keep_private: Annotated[
        bool, typer.Option("--keep-private", help="Keep position, serial numbers, owner.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that AuthFace did not write.")
    ] = False,
    upscaler: Annotated[
        str | None,
        typer.Option(help="A super-resolution model (.safetensors) that enlarges the photo."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also restore what an earlier run finished.")
    ] = False,
    max_memory: Annotated[
        str | None, typer.Option(help="For the photos held at once, such as 6GB; 4GB if not said.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Restore the faces of a photo or a folder; everything else in the picture stays as it is.

    Beside each output lies a JSON file that says what was done to each face. Exit code 3: some
    faces or photos were not restored; 2: no photo could be used.

    Example: authface restore old-photos restored --page compare.html
    """
    from restore.batch import plan_jobs, restore_jobs
    from restore.pipeline import open_restorer
    from restore.sheet import check_sheet

    place, settings = settings_or_defaults(workspace)
    given = {
        "faces": faces,
        "aligned": aligned or None,
        "upscale": upscale,
        "upscaler": upscaler,
        "max_memory_mb": None if max_memory is None else _megabytes(max_memory),
        "fidelity": fidelity,
        "steps": steps,
        "seed": seed,
        "colour": colour,
        "device": device,
        "keep_private": keep_private or None,
        "overwrite": overwrite or None,
    }
    config = _with_options(settings.restore, given)
    jobs = plan_jobs(source, target)
    if sheet is not None:
        check_sheet(sheet)  # before hours of work, not after them
    finder = open_finder_for(settings)
    restorer = open_restorer(model or newest_restorer(place), config=config)
    if restorer.facts.warning:
        console.note(restorer.facts.warning)
    outcomes = []
    larger = _open_upscaler(config)
    done = restore_jobs(jobs, restorer=restorer, finder=finder, upscaler=larger, again=again)
    for outcome in console.track(done, total=len(jobs), label="restoring"):
        outcomes.append(outcome)
        _say(outcome)
    if page is not None or sheet is not None:
        _write_looks(page, sheet, outcomes, restorer.facts)
    _finish_restore(outcomes)


def evaluate(
    restored: Annotated[Path, typer.Argument(help="A restored picture, or a folder of them.")],
    reference: Annotated[Path, typer.Argument(help="The sharp original, or a folder of them.")],
    out: Annotated[
        Path | None, typer.Option(help="The report; evaluation.json beside the restored if none.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Score restored pictures against sharp references of the same name.

    In a workspace, doubtful faces become review tasks that `authface annotate push` sends out.
    Exit code 3: some pictures could not be compared; 2: none could.

    Example: authface evaluate restored originals
    """
    from data_manifests.media import write_atomic
    from restore import evaluate as scoring

    place, settings = settings_or_defaults(workspace)
    pairs, apart = scoring.pair_up(restored, reference)
    finder = open_finder_for(settings)
    scores: list[Score] = []
    results = scoring.evaluate(pairs, finder=finder, doubt=settings.restore.doubt)
    for result in console.track(results, total=len(pairs), label="comparing"):
        if isinstance(result, scoring.Score):
            scores.append(result)
        else:
            apart.append(result)
    _show_scores(scores, apart)
    file = out or (restored if restored.is_dir() else restored.parent) / "evaluation.json"
    write_atomic(file, scoring.report_json(scores, apart, finder.name))
    console.done(f"report: {file}")
    _ask(scores, place)
    if apart or not scores:
        raise typer.Exit(console.PARTIAL if scores else console.WRONG)


def settings_or_defaults(workspace: Path | None) -> tuple[Workspace | None, Settings]:
    """The workspace and its settings; without one, the defaults: restoring needs no workspace."""
    from authface.sections import Settings
    from data_manifests.errors import ConfigError

    try:
        return open_workspace(workspace)
    except ConfigError as error:
        if workspace is not None or not error.wrong.startswith("No workspace here"):
            raise
        return None, Settings()


def open_finder_for(settings: Settings) -> NamedFinder:
    """The ingest's face finder, less strict: degraded faces score lower."""
    from curation.faces import open_finder

    least = settings.restore.least_score
    finder = open_finder(settings.ingest.faces.model_copy(update={"least_score": least}))
    if finder.lacks:
        console.note(finder.lacks)
    return finder


def _open_upscaler(config: RestoreConfig) -> Upscaler | None:
    from restore.enlarge import open_upscaler
    from restore.pipeline import pick_device

    if config.upscaler is None:
        return None
    return open_upscaler(Path(config.upscaler), pick_device(config.device))


def _with_options(config: Any, given: dict[str, Any]) -> Any:
    from data_manifests.config import parse_section

    wanted = {k: v for k, v in given.items() if v is not None}
    return parse_section(type(config), {**config.model_dump(), **wanted}, "an option")


def newest_restorer(place: Workspace | None) -> str:
    """The model/ folder of the workspace's newest restorer; raises ConfigError if there is none."""
    from data_manifests.errors import ConfigError

    found = [] if place is None else list(place.runs.glob("*/model/controlnet"))
    if not found:
        where = f"{place.runs} holds no trained restorer" if place else "There is no workspace here"
        raise ConfigError(
            f"{where}, so there is no model to restore with.",
            "Name one with --model, or train one with `authface train restorer`.",
        )
    return str(max(found, key=lambda p: p.stat().st_mtime_ns).parent)


def _megabytes(text: str) -> int:
    from data_manifests.errors import InputError

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(m|mb|g|gb)?\s*", text, re.IGNORECASE)
    if found is None:
        raise InputError(f"--max-memory {text} is no size.", "Write it as 6GB or 800MB.")
    return round(float(found[1]) * (1 if (found[2] or "g").lower().startswith("m") else 1000))


def _say(outcome: Outcome) -> None:
    if outcome.resumed:
        console.say(f"  {outcome.source.name}: done before ({outcome.summary})")
        return
    if outcome.status == "restored":
        console.done(f"{outcome.source.name}: {outcome.summary} -> {outcome.target}")
    else:
        console.note(f"{outcome.source.name}: {outcome.summary}")
    for note in outcome.notes:
        console.say(f"    {note}")


def _write_looks(
    page: Path | None, sheet: Path | None, outcomes: Sequence[Outcome], facts: ModelFacts
) -> None:
    """The page and the contact sheet; each photo is read once for both, after all are done."""
    from curation.sandbox import Sandbox
    from restore.looking import look_at
    from restore.page import ComparePage, fits_one_file
    from restore.sheet import ContactSheet

    made: list[ComparePage | ContactSheet] = []
    if page is not None:
        apart = not fits_one_file(outcomes)
        made.append(ComparePage(page, warning=facts.warning, apart=apart))
    if sheet is not None:
        made.append(ContactSheet(sheet, warning=facts.warning))
    with Sandbox() as sandbox:
        for outcome in console.track(outcomes, label="drawing what to look at"):
            looked = look_at(outcome, sandbox.read)
            for one in made:
                one.add(outcome, looked)
    for one in made:
        for file in one.close():
            console.done(f"before and after: {file}")


def _finish_restore(outcomes: Sequence[Outcome]) -> None:
    counts = dict.fromkeys(("restored", "partly", "nothing", "failed"), 0)
    spent: dict[str, float] = {}
    for outcome in outcomes:
        counts[outcome.status] += 1
        for stage, seconds in outcome.seconds.items():
            spent[stage] = spent.get(stage, 0.0) + seconds
    said = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in spent.items())
    photos = "1 photo" if len(outcomes) == 1 else f"{len(outcomes)} photos"
    console.say(f"{photos}: {said}" + (f" ({times})" if times else ""))
    if counts["failed"] == len(outcomes):
        raise typer.Exit(console.WRONG)
    if counts["restored"] < len(outcomes):
        raise typer.Exit(console.PARTIAL)


def _show_scores(scores: Sequence[Score], apart: Sequence[Apart]) -> None:
    metrics = ("psnr_db", "ssim", "colour_error", "landmark_shift", "sharpness_gain")
    rows = [
        (
            s.pair.name,
            _where(s),
            *(_number(s.mean(m)) for m in metrics),
            _plain(s.background_change),
        )
        for s in scores
    ]
    columns = ("picture", "where", "PSNR", "SSIM", "dE", "shift", "sharper", "outside")
    if rows:
        console.table("Restored against reference", columns, rows)
    if apart:
        console.table("Kept apart", ("picture", "why"), [(a.name, a.reason) for a in apart])
    for score in scores:
        for region in score.doubts:
            console.note(f"{score.pair.name}: doubtful: {region.doubt}")


def _where(score: Score) -> str:
    count = len(score.regions)
    found = "1 face" if count == 1 else f"{count} faces"
    return found if score.regions[0].box else "whole picture"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(value: int | None) -> str:
    return "-" if value is None else str(value)


def _ask(scores: Sequence[Score], place: Workspace | None) -> None:
    if place is None or not any(score.doubts for score in scores):
        return
    from data_manifests.store import Store
    from restore.review import ask_for_review

    tasks = ask_for_review(scores, Store(place.tables), place.media)
    if tasks:
        console.done(f"{len(tasks)} review tasks wait; `authface annotate push` sends them")
