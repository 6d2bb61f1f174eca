"""What a run carries along beside its weights and their optimizer, and puts in every checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from data_manifests.errors import AuthFaceError
from training.checkpoint import Checkpoint
from training.config import RunConfig
from training.ema import Average
from training.stage import Stage

__all__ = ["NotFiniteError", "Upkeep", "exported", "make_upkeep"]


class NotFiniteError(AuthFaceError):
    """A loss or gradient is not a finite number: the update was not made."""


@dataclass
class Upkeep:
    """The weights' average, if one is kept, and how many updates in a row could not be made."""

    average: Average | None = None
    most_bad: int = 1  # in a row, before the run stops
    bad: int = 0

    def made(self) -> None:
        """An update was made."""
        self.bad = 0
        if self.average is not None:
            self.average.update()

    def missed(self, fault: NotFiniteError) -> None:
        """An update was not made; raises the fault if it is one too many in a row."""
        self.bad += 1
        if self.bad >= self.most_bad:
            raise fault

    def captured(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by group, and what else is needed, for a checkpoint."""
        state: dict[str, Any] = {"bad_updates": self.bad}
        if self.average is None:
            return {}, state
        return {"ema": dict(self.average.tensors)}, state | {"ema_updates": self.average.updates}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; an average that it lacks begins with its weights."""
        self.bad = int(checkpoint.state.get("bad_updates", 0))
        if self.average is None:
            return
        if "ema" in checkpoint.tensors:
            self.average.restore(checkpoint.tensors["ema"], checkpoint.state["ema_updates"])
        else:
            self.average.begin()

    @contextlib.contextmanager
    def worn(self) -> Iterator[None]:
        """The model as it is to be used: with its weights' average, if one is kept."""
        if self.average is None:
            yield
            return
        with self.average.worn():
            yield


def make_upkeep(stage: Stage, config: RunConfig) -> Upkeep:
    """As the config says; the average is of the stage's first group, the one that is exported."""
    average = Average(stage.groups[0].parameters(), config.ema) if config.ema else None
    return Upkeep(average, config.bad_updates)


def exported(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the weights that a model of it has: the average's where one was kept."""
    tensors = dict(checkpoint.tensors)
    tensors["weights"] = tensors["weights"] | tensors.get("ema", {})
    return replace(checkpoint, tensors=tensors)
