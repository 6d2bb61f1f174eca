"""What a training run wrote about itself, read for people: curves, figures, settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from data_manifests.config import flat
from data_manifests.errors import CheckpointError, InputError

__all__ = [
    "ADVERSARIAL",
    "Curve",
    "RunFacts",
    "mean_of",
    "read_run",
    "run_names",
    "thinned",
]

Curve = list[tuple[int, float]]
ADVERSARIAL = ("gan", "critic")  # losses of a contest: low for one is high for the other
POINTS = 500  # of a curve on a page


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's record, its steps and its validations, as they stand on disk."""

    name: str
    folder: Path
    record: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    validations: Sequence[Mapping[str, Any]]

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, by names with dots."""
        return dict(flat(self.record.get("config", {})))

    @property
    def done(self) -> int:
        """Updates so far."""
        return int(self.steps[-1]["step"]) if self.steps else 0

    @property
    def seconds(self) -> float:
        """Time spent on steps: without loading, validations, grids and saving."""
        return sum(float(s.get("seconds", 0.0)) for s in self.steps)

    def curve(self, *path: str) -> Curve:
        """A figure over the steps, by its keys in a line; lines without it are left out."""
        return [(int(s["step"]), value) for s in self.steps if (value := _at(s, path)) is not None]

    def middle(self, *path: str) -> float | None:
        """The median of a figure over the steps; none if no line has it."""
        values = [value for _, value in self.curve(*path)]
        return median(values) if values else None

    @property
    def parts(self) -> list[str]:
        """What the loss is made of, by names."""
        return sorted({name for s in self.steps for name in s.get("parts", {})})

    @property
    def final_loss(self) -> float | None:
        """The mean of the last tenth of the steps."""
        curve = self.curve("loss")
        return mean_of([v for _, v in curve[-max(1, len(curve) // 10) :]])

    @property
    def validated(self) -> dict[str, list[Curve]]:
        """Of each validation loss, and of the condition's use, a curve for each bucket."""
        found: dict[str, list[Curve]] = {}
        for row in self.validations:
            for name, means in _of_buckets(row):
                curves = found.setdefault(name, [[] for _ in means])
                for curve, value in zip(curves, means, strict=True):
                    if value is not None:
                        curve.append((int(row["step"]), float(value)))
        return found

    @property
    def validated_means(self) -> dict[str, Curve]:
        """The same as one curve each: means over the buckets."""
        found: dict[str, Curve] = {}
        for row in self.validations:
            for name, means in _of_buckets(row):
                mean = mean_of([float(v) for v in means if v is not None])
                if mean is not None:
                    found.setdefault(name, []).append((int(row["step"]), mean))
        return found


def read_run(runs: Path, name: str | None) -> RunFacts:
    """A run by its name, or the one that wrote last; InputError if there is none."""
    from training.journal import read_journal

    if name is None:
        names = run_names(runs)
        if not names:
            raise InputError(f"There is no run in {runs}.", "Start one: `authface train prior`.")
        name = names[-1]
    folder = runs / name
    if Path(name).name != name or not (folder / "config.json").is_file():
        known = ", ".join(run_names(runs)) or "none yet"
        raise InputError(f"There is no run {name} in {runs}.", f"Known are: {known}.")
    try:
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{folder / 'config.json'} is damaged: {error}.", "Look at another run."
        ) from error
    return RunFacts(name, folder, record, read_journal(folder), read_journal(folder, "validation"))


def run_names(runs: Path) -> list[str]:
    """The runs of a workspace, the one that wrote last at the end."""

    def wrote(record: Path) -> float:
        journal = record.with_name("stats.jsonl")
        return (journal if journal.exists() else record).stat().st_mtime

    return [p.parent.name for p in sorted(runs.glob("*/config.json"), key=wrote)]


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """At most so many points, each the mean of its neighbours; short curves stay as they are."""
    each = math.ceil(len(curve) / points) if curve else 1
    groups = [curve[i : i + each] for i in range(0, len(curve), each)]
    return [(group[len(group) // 2][0], sum(v for _, v in group) / len(group)) for group in groups]


def mean_of(values: Sequence[float]) -> float | None:
    """The mean; none of nothing."""
    return sum(values) / len(values) if values else None


def _at(row: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _of_buckets(row: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[float | None]]]:
    yield from row["losses"].items()
    if row.get("condition_use"):
        yield "condition_use", row["condition_use"]
