"""What is looked at while a run goes on, and when: never a part of the training itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch

from training.estimate import read_sizes
from training.grids import TINY, draw_grid, grid_files, write_grid
from training.journal import Journal, read_journal
from training.previews import Previews
from training.run import Run
from training.sharding import is_sharded, put_apart
from training.stages import Prior, Restorer
from training.throughput import make_gauge
from training.validate import Validator
from training.world import here

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

Worn = Callable[[], AbstractContextManager[None]]


class Monitor:
    """Validates a run and draws its grids as its settings ask, into its journal and folder."""

    def __init__(
        self, run: Run[Any], stage: Prior | Restorer, journal: Journal, worn: Worn = nullcontext
    ) -> None:
        self._run, self._journal = run, journal
        self._worn = worn  # puts the weights that would be exported in place while it is entered
        config, held_out = run.config, run.held_out
        device = stage.base.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        if here().first:
            journal.gauge = make_gauge(config, read_sizes(run.base), name, devices=here().size)
        self._validator = self._previews = None
        # Of several processes the first looks alone, unless it takes all of them to compute.
        self._sharded = [g.module for g in stage.groups if is_sharded(g.module)]
        looks = here().first or bool(self._sharded)
        if config.validate_every and looks:
            self._validator = Validator(stage, held_out.first(config.validate_on))
        if config.grid_every and looks:
            tiny = bool(run.record["tiny"])
            self._previews = Previews(stage, held_out.first(config.grid_of), tiny=tiny)
        if held_out.seen:
            log.warning("no sample is in the validation split: those looked at are trained on too")

    def before(self, done: int) -> None:
        """Look at the weights that a run begins with, unless it did so before."""
        if done:
            return
        folder = self._run.folder
        validated, drawn = here().of_first(
            lambda: (bool(read_journal(folder, "validation")), bool(grid_files(folder)))
        )
        if not validated:
            self._validate(0)
        if not drawn:
            self._draw(0)

    def after(self, step: int) -> None:
        """Look at the weights after a step, if it is one of those; the last one always is."""
        if self._due(step, self._run.config.validate_every):
            self._validate(step)
        if self._due(step, self._run.config.grid_every):
            self._draw(step)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        with self._worn():
            try:
                yield
            finally:
                for module in self._sharded:
                    put_apart(module)

    def _due(self, step: int, every: int) -> bool:
        return every > 0 and (step % every == 0 or step == self._run.config.steps)

    def _validate(self, step: int) -> None:
        if self._validator is None:
            return
        with self._looking():
            found = self._validator.validate(step)
        facts = asdict(found)
        self._journal.note("validation", facts.pop("step"), facts, found.means)

    def _draw(self, step: int) -> None:
        if self._previews is None:
            return
        try:
            with self._looking():
                grid = self._previews.make()
        except torch.OutOfMemoryError:
            if self._sharded:
                raise  # the others wait for this one in the middle of a sum
            # Pictures may need more than a step does: a run must not end for that.
            torch.cuda.empty_cache()
            log.warning("no grid at step %d: too little memory for it beside the training", step)
            return
        if not here().first:
            return
        title = f"{self._run.folder.name}, {self._run.kind}, step {step}"
        image = draw_grid(grid, title=title, note=TINY if self._run.record["tiny"] else "")
        write_grid(self._run.folder, step, grid, image)
        self._journal.picture("grid", step, image, grid.samples)
