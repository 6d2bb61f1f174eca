"""The command that says how good restored pictures are; cli.py registers it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authface import console
from authface.restorers import open_finder_for, settings_or_defaults
from authface.settings import WorkspaceOption

if TYPE_CHECKING:
    from data_manifests.media import Workspace
    from restore.evaluate import Apart, Score

__all__ = ["evaluate"]

_COLUMNS = """\
  PSNR in dB and SSIM, of the faces: more is better; dE: colour, CIEDE2000; shift: of the landmarks,
  in eye distances; sharper: than the input, 1 is the same; outside: largest change to the input
  beyond the faces, of 255 (0 in a PNG or TIFF; a JPEG is encoded anew)"""


def evaluate(
    restored: Annotated[Path, typer.Argument(help="A restored picture, or a folder of them.")],
    reference: Annotated[Path, typer.Argument(help="The sharp original, or a folder of them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The report; else evaluation.json in the folder of restored pictures, or "
            "PICTURE.evaluation.json beside a single one."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Score restored pictures against sharp references of the same name.

    A rerun replaces its own report; a comparison with other references gets another one
    (evaluation-2.json). In a workspace, doubtful faces become review tasks that `authface annotate
    push` sends out. Exit code 3: some pictures could not be compared; 2: none could.

    Example: authface evaluate restored originals
    """
    from data_manifests.media import write_atomic
    from restore import evaluate as scoring
    from restore.report import about, report_json, report_place

    place, settings = settings_or_defaults(workspace)
    pairs, apart = scoring.pair_up(restored, reference)
    file = report_place(restored, reference, out)
    finder = open_finder_for(settings)
    scores: list[Score] = []
    results = scoring.evaluate(pairs, finder=finder, doubt=settings.restore.doubt)
    for result in console.track(results, total=len(pairs), label="comparing"):
        if isinstance(result, scoring.Score):
            scores.append(result)
        else:
            apart.append(result)
    _show_scores(scores, apart)
    compared = about(file, restored, reference)
    write_atomic(file, report_json(scores, apart, finder.name, about=compared))
    console.done(f"report: {file}")
    _ask(scores, place)
    if apart or not scores:
        raise typer.Exit(console.PARTIAL if scores else console.WRONG)


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
        console.say(_COLUMNS)
    if apart:
        console.table("Kept apart", ("picture", "why"), [(a.name, a.reason) for a in apart])
    for score in scores:
        for number, region in enumerate(score.regions):
            which = "whole picture" if region.box is None else f"face {number}"
            if region.doubt:
                console.note(f"{score.pair.name}: {which} is doubtful: {region.doubt}")


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
