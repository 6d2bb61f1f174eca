"""One opened run on one device: build the stage, take the steps, save, stop when told, export."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, loop, preflight, sharding, summing
from training.cache import Cache
from training.card_facts import card_facts
from training.config import PriorConfig, RestorerConfig
from training.encoders import Encoders
from training.export import copied_bytes, export_prior, export_restorer
from training.face_parser import FaceMasks, load_parser
from training.journal import Journal, Step, cut_back, open_journal
from training.models import Base, load_base, pick_device
from training.monitor import Monitor
from training.run import Run
from training.signals import Stopped, hearing
from training.stage import Stage
from training.stages import Prior, Restorer
from training.upkeep import Upkeep, make_upkeep
from training.world import here

__all__ = ["train_prior", "train_restorer"]

log = logging.getLogger(__name__)

Export = Callable[[dict[str, Any]], None]


def train_prior(run: Run[PriorConfig]) -> Iterator[Step]:
    """Take the steps of stage 1 that are left, then export."""
    base = load_base(run.base, pick_device(here().device(run.config.device)))
    encoders = _encoders(run, base)
    stage = Prior(base, run.config, run.media)
    sharding.shard(stage.unet, run.config, here())
    here().of_first(lambda: _require_room(run, stage, encoders))
    _fill(run, stage, encoders)
    _parse_faces(run, stage)

    def export(facts: dict[str, Any]) -> None:
        unet, made = sharding.plain_unet(stage.unet, here()), run.folder / "model"
        if here().first:
            export_prior(unet, run.base, made, facts, stage.schedule.sampler)

    yield from _train(run, stage, export)


def train_restorer(run: Run[RestorerConfig]) -> Iterator[Step]:
    """Take the steps of stage 2 that are left, then export."""
    base = load_base(run.base, pick_device(here().device(run.config.device)))
    encoders = _encoders(run, base)
    stage = Restorer(base, run.config, run.media)
    here().of_first(lambda: _require_room(run, stage, encoders))
    _fill(run, stage, encoders)

    def export(facts: dict[str, Any]) -> None:
        if here().first:
            export_restorer(stage.controlnet, run.base, run.folder / "model", facts)

    yield from _train(run, stage, export)


def _train(run: Run[Any], stage: Prior | Restorer, export: Export) -> Iterator[Step]:
    config = run.config
    optimizer = loop.make_optimizer(stage.groups, config)
    upkeep = make_upkeep(stage, config)
    done = _go_on(run, stage, optimizer, upkeep)
    with hearing() as told, _journal(run) as journal:
        monitor = Monitor(run, stage, journal, upkeep.worn)
        monitor.before(done)
        taken = loop.train(
            stage, run.samples, config=config, optimizer=optimizer, done=done, upkeep=upkeep
        )
        for step in taken:
            journal.write(step)
            done = step.step
            monitor.after(done)
            if done == config.steps or done % config.save_every == 0:
                _save(run, loop.capture(stage, optimizer, done, upkeep))
            yield step
            if number := max(here().everyone(told())):
                _save(run, loop.capture(stage, optimizer, done, upkeep))
                raise Stopped(done, number)
    with upkeep.worn():
        export(here().of_first(lambda: card_facts(run, done)))


def _encoders(run: Run[Any], base: Base) -> Encoders | None:
    """Before the stage is made, which may change the encoders' precision or let them go."""
    return Encoders(base, run.config, Cache(run.cache)) if run.config.cache else None


def _fill(run: Run[Any], stage: Prior | Restorer, encoders: Encoders | None) -> None:
    if encoders is None:
        return
    world = here()
    filling = encoders.fill(run.samples, run.media, shard=(world.rank, world.size))
    met = world.everyone(Counter(found.hit for found in filling))
    hits = sum(met, Counter[bool]())
    log.info("cache: %d kept before, %d made and kept now", hits[True], hits[False])
    stage.encoders = encoders


def _parse_faces(run: Run[PriorConfig], stage: Prior) -> None:
    """Masks of all samples, kept whether or not latents are: a parser is too slow for each step."""
    config = run.config
    if config.loss != "masked" or not config.face_parser or config.size is None:
        return
    parser = load_parser(config.face_parser, config.face_parts, stage.base.device)
    stage.masks = FaceMasks(parser, config.size, Cache(run.cache))
    world = here()
    filling = stage.masks.fill(run.samples[world.rank :: world.size], run.media)
    every = world.everyone([sample.crop_path for sample, seen in filling if not seen])
    without = list(chain(*every))
    if without:
        log.warning(
            "The face parser sees no face in %d of %d crops, such as %s: their landmarks give the"
            " mask.",
            len(without),
            len(run.samples),
            without[0],
        )


def _require_room(run: Run[Any], stage: Prior | Restorer, encoders: Encoders | None) -> None:
    trained = sum(p.numel() for g in stage.groups for p in g.parameters().values())
    exported = preflight.model_numbers(stage.groups[0].module)
    found = preflight.room(
        run.folder,
        (trained, exported),
        copied=copied_bytes(run.base, run.kind),
        checkpoints=preflight.new_checkpoints(run.config, run.folder),
        averaged=run.config.ema > 0,
        cached=encoders.missing_bytes(run.samples) if encoders else 0,
    )
    preflight.require_room(found)


@contextmanager
def _journal(run: Run[Any]) -> Iterator[Journal]:
    """The run's journal, which the first process alone writes."""
    if here().first:
        config = run.config
        boards = {"tensorboard": config.tensorboard, "wandb": config.wandb}
        with open_journal(run.folder, **boards) as journal:
            yield journal
        return
    with Path(os.devnull).open("w") as nowhere:
        yield Journal(nowhere)


def _go_on(run: Run[Any], stage: Stage, optimizer: torch.optim.Optimizer, upkeep: Upkeep) -> int:
    found = _newest(run.folder / "checkpoints")
    if found is not None:
        loop.resume(stage, optimizer, sharding.spread(found, stage.groups), upkeep)
    done = found.step if found else 0
    here().of_first(lambda: cut_back(run.folder, done))
    summing.require_same(stage.groups, here())
    return done


def _newest(folder: Path) -> checkpoint.Checkpoint | None:
    """The newest whole checkpoint; where there are several processes, the first one's choice."""
    if here().alone:
        return checkpoint.newest(folder)
    step = here().of_first(lambda: checkpoint.newest_step(folder))
    return None if step is None else checkpoint.at(folder, step)


def _save(run: Run[Any], captured: checkpoint.Checkpoint) -> None:
    """Save unless this step is saved already: a signal may come just after a regular checkpoint."""
    folder = run.folder / "checkpoints"
    state = sharding.gathered(captured, here())
    if here().first and checkpoint.fault(folder / f"step-{state.step:06d}") is not None:
        checkpoint.save(folder, state, keep=run.config.keep)
