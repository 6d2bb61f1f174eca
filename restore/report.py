"""The file that an evaluation is written to: which one, so that no result costs another, and what
stands in it. Touches the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from data_manifests.errors import InputError
from restore.evaluate import Apart, Score
from restore.metrics import METRICS
from restore.places import check_writable
from restore.provenance import creator_tool

__all__ = ["about", "report_json", "report_place"]

FORMAT = "authface-evaluation/1"


def report_place(restored: Path, reference: Path, out: Path | None = None) -> Path:
    """Where the report of a comparison goes: `out`, else a file beside what was restored.

    For a folder that is evaluation.json in it, for one picture its name with .evaluation.json; with
    a number where that is taken by a comparison with another reference. A rerun replaces its own.
    Raises InputError where `out` is there and is no report, StorageError where nothing can be
    written.
    """
    if out is not None and (out.is_dir() or (out.exists() and _read(out) is None)):
        raise InputError(f"{out} is there already and is no evaluation.", "Name another --out.")
    places = _places(restored) if out is None else iter([out])
    file = next(
        p
        for p in places
        if p == out or not p.exists() or _compared(_read(p), p) == _paths(restored, reference)
    )
    check_writable(file)
    return file


def report_json(
    scores: Sequence[Score], apart: Sequence[Apart], finder: str, *, about: dict[str, str]
) -> bytes:
    """The report's bytes: numbers, what computed them, what was kept apart, and `about` what."""
    report = {
        "format": FORMAT,
        "software": creator_tool(),
        **about,
        "metrics": {name: made_by() for name, made_by in METRICS.items()},
        "finder": finder,
        "scores": [_row(score) for score in scores],
        "apart": [asdict(a) for a in apart],
    }
    return json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n"


def about(file: Path, restored: Path, reference: Path) -> dict[str, str]:
    """What is compared, by paths from the report's folder: they may move together."""
    here = file.parent.resolve()
    named = {"restored": restored, "reference": reference}
    return {name: os.path.relpath(path.resolve(), here) for name, path in named.items()}


def _places(restored: Path) -> Iterator[Path]:
    folder, stem = (
        (restored, "evaluation")
        if restored.is_dir()
        else (restored.parent, f"{restored.name}.evaluation")
    )
    yield folder / f"{stem}.json"
    for number in count(2):
        yield folder / f"{stem}-{number}.json"


def _read(file: Path) -> dict[str, Any] | None:
    """What a report says; none if the file is none."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None


def _compared(said: dict[str, Any] | None, file: Path) -> tuple[Path, Path] | None:
    """The paths that a report is about; none if it does not say."""
    if said is None or not {"restored", "reference"} <= said.keys():
        return None
    folder = file.parent.resolve()
    return _paths(folder / str(said["restored"]), folder / str(said["reference"]))


def _paths(restored: Path, reference: Path) -> tuple[Path, Path]:
    return restored.resolve(), reference.resolve()


def _row(score: Score) -> dict[str, Any]:
    return {
        "name": score.pair.name,
        "where": "faces" if score.regions[0].box else "whole picture",
        **{m: score.mean(m) for m in METRICS if m != "background_change"},
        "background_change": score.background_change,
        "photo_psnr_db": score.photo_psnr_db,
        "regions": [asdict(region) for region in score.regions],
    }
