"""What a run writes about itself: a JSON line per step and per validation, and boards if asked for.

A line with a `kind` is no step: `validation` is one. Readers take those they know.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.boards import Board, open_boards

if TYPE_CHECKING:
    from training.throughput import Gauge

__all__ = ["Journal", "Step", "cut_back", "open_journal", "read_journal"]


@dataclass(frozen=True, slots=True)
class Step:
    """One update: its number from 1, the loss before it and its parts, the rate, the time.

    The loss of a step that was left out is not a number.
    """

    step: int
    loss: float
    parts: dict[str, float]
    lr: float
    seconds: float
    samples_per_s: float
    # One for each sample of the batch, where a setting asks for them.
    notes: list[dict[str, Any]] = field(default_factory=list)
    skipped: bool = False  # no update was made: the loss or a gradient was not finite


class Journal:
    """Writes steps to stats.jsonl and, if there is one, to a TensorBoard writer."""

    def __init__(self, lines: Any, board: Board | None = None) -> None:
        self._lines, self._board = lines, board
        self.gauge: Gauge | None = None  # set where the device's peak is known

    def write(self, step: Step) -> None:
        """Write one step; a reader sees whole lines."""
        row: dict[str, Any] = {
            "step": step.step,
            "loss": None if step.skipped else step.loss,
            "parts": step.parts,
            "lr": step.lr,
            "seconds": round(step.seconds, 4),
            "samples_per_s": round(step.samples_per_s, 3),
        }
        if step.skipped:
            row["skipped"] = True
        scalars = {"loss": step.loss, "lr": step.lr, **step.parts}
        scalars["samples_per_s"] = step.samples_per_s
        if self.gauge is not None:
            row["mfu"] = scalars["mfu"] = round(self.gauge.mfu(step.samples_per_s), 4)
        if step.notes:
            row["samples"] = step.notes
        self._lines.write(json.dumps(row) + "\n")
        self._lines.flush()
        if self._board is not None and not step.skipped:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step.step)

    def note(self, kind: str, step: int, facts: dict[str, Any], scalars: dict[str, float]) -> None:
        """Write a line that is no step; boards get its scalars, named under its kind."""
        self._lines.write(json.dumps({"kind": kind, "step": step, **facts}) + "\n")
        self._lines.flush()
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, image: Any, of: Sequence[str]) -> None:
        """Show an RGB picture of the samples `of` on the boards that take pictures."""
        if self._board is not None:
            self._board.add_image(name, np.asarray(image, np.uint8), step, of)


@contextlib.contextmanager
def open_journal(
    folder: Path, *, tensorboard: bool = False, wandb: bool = False
) -> Iterator[Journal]:
    """The journal of the run in `folder`, to be added to."""
    boards = open_boards(folder, tensorboard=tensorboard, wandb=wandb)
    try:
        with (folder / "stats.jsonl").open("a", encoding="utf-8") as lines:
            yield Journal(lines, boards)
    finally:
        boards.close()


def read_journal(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The steps written so far, or the lines of a kind; one cut short by a crash is left out."""
    return [row for row in _read_lines(folder) if row.get("kind") == kind]


def _read_lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "stats.jsonl"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def cut_back(folder: Path, step: int) -> None:
    """Drop what was written after `step`: it is about to be done again."""
    rows = [row for row in _read_lines(folder) if row["step"] <= step]
    path = folder / "stats.jsonl"
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    part.replace(path)
