"""Where else a run's figures go: TensorBoard on this disk, Weights & Biases on a server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import MissingExtra
from data_manifests.media import write_atomic

__all__ = ["Board", "Boards", "open_boards"]

Pixels = NDArray[np.uint8]


class Board(Protocol):
    """What takes figures and pictures."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Show one figure of a step."""

    def add_image(self, name: str, pixels_HWC: Pixels, step: int, of: Sequence[str]) -> None:
        """Show an sRGB picture of the samples `of`."""

    def close(self) -> None:
        """Write what is left."""


class Boards:
    """Several boards as one; with none, nothing happens."""

    def __init__(self, boards: Sequence[Board]) -> None:
        self._boards = tuple(boards)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Show one figure of a step on all."""
        for board in self._boards:
            board.add_scalar(name, value, step)

    def add_image(self, name: str, pixels_HWC: Pixels, step: int, of: Sequence[str]) -> None:
        """Show a picture on those that take pictures."""
        for board in self._boards:
            board.add_image(name, pixels_HWC, step, of)

    def close(self) -> None:
        """Close all."""
        for board in self._boards:
            board.close()


def open_boards(folder: Path, *, tensorboard: bool, wandb: bool) -> Boards:
    """The boards that are asked for, of the run in `folder`; MissingExtra if one can't be had."""
    asked: list[Board] = []
    if tensorboard:
        asked.append(_TensorBoard(folder / "tensorboard"))
    if wandb:
        asked.append(_WeightsAndBiases(folder))
    return Boards(asked)


class _TensorBoard:
    """Figures in one event file; pictures in another whose name holds the samples they show.

    An erasure finds files by such names: figures stay when pictures of a person go.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("tensorboard", "training", "Writing TensorBoard events") from error
        self._make, self._folder = SummaryWriter, folder
        self._figures = SummaryWriter(folder)
        self._pictures: Any = None

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._figures.add_scalar(name, value, step)

    def add_image(self, name: str, pixels_HWC: Pixels, step: int, of: Sequence[str]) -> None:
        if self._pictures is None:
            whose = "." + ".".join(of)
            self._pictures = self._make(self._folder / "grids", filename_suffix=whose)
        self._pictures.add_image(name, pixels_HWC, step, dataformats="HWC")
        self._pictures.flush()

    def close(self) -> None:
        self._figures.close()
        if self._pictures is not None:
            self._pictures.close()


class _WeightsAndBiases:
    """Figures and settings alone: no picture of a person leaves the machine by this way.

    WANDB_MODE=offline keeps them on this disk, below the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtra("wandb", "wandb", "Writing to Weights & Biases") from error
        file = folder / "config.json"
        record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self._run: Any = wandb.init(
            project="authface",
            name=folder.name,
            id=_known_as(folder / ".wandb-id"),
            resume="allow",
            dir=folder,
            config=record.get("config"),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        # Steps are taken again after a kill: W&B's own count only rises.
        self._run.define_metric("*", step_metric="step")

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._run.log({name: value, "step": step})

    def add_image(self, name: str, pixels_HWC: Pixels, step: int, of: Sequence[str]) -> None:
        """Nothing: see above."""

    def close(self) -> None:
        self._run.finish()


def _known_as(file: Path) -> str:
    """The run's name on the server, drawn once: a resumed run goes on under it."""
    if not file.exists():
        write_atomic(file, uuid.uuid4().hex[:16].encode())
    return file.read_text(encoding="utf-8")
