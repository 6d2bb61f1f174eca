"""What is looked at while a run goes on, and when: never a part of the training itself."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from training.journal import Journal, read_journal
from training.run import Run
from training.stages import Prior, Restorer
from training.validate import Validator

__all__ = ["Monitor"]

log = logging.getLogger(__name__)


class Monitor:
    """Validates a run as its settings ask, and writes what it finds to the run's journal."""

    def __init__(self, run: Run[Any], stage: Prior | Restorer, journal: Journal) -> None:
        self._run, self._journal = run, journal
        self._validator = Validator(stage, run.held_out) if run.config.validate_every else None
        if self._validator is not None and run.held_out.seen:
            log.warning(
                "no sample is in the validation split: losses are of samples that are trained on"
            )

    def before(self, done: int) -> None:
        """Look at the weights that a run begins with, unless it did so before."""
        if done == 0 and not read_journal(self._run.folder, "validation"):
            self._validate(0)

    def after(self, step: int) -> None:
        """Look at the weights after a step, if it is one of those; the last one always is."""
        if self._due(step, self._run.config.validate_every):
            self._validate(step)

    def _due(self, step: int, every: int) -> bool:
        return every > 0 and (step % every == 0 or step == self._run.config.steps)

    def _validate(self, step: int) -> None:
        if self._validator is None:
            return
        found = self._validator.validate(step)
        facts = asdict(found)
        self._journal.note("validation", facts.pop("step"), facts, found.means)
