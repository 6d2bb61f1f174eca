"""Going on from any step: after a stop, after a kill, with threads that read ahead and without."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from data_manifests.errors import InputError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store
from training.checkpoint import newest, save
from training.config import FacialConfig, PriorConfig, RestorerConfig
from training.journal import Step, read_journal
from training.readers import open_pool, reader_count
from training.run import train_prior, train_restorer
from training.signals import Stopped

Filled = tuple[Workspace, Store]
STEPS = 4


def run(kind: str, filled: Filled, base: Path, name: str, **more: Any) -> Iterator[Step]:
    """The run's steps that are left."""
    workspace, store = filled
    shared: dict[str, Any] = {"size": 64, "steps": STEPS, "save_every": 2, "keep": 1, **more}
    place: dict[str, Any] = {"store": store, "workspace": workspace, "name": name, "resume": True}
    if kind == "prior":
        return train_prior(PriorConfig(base=str(base), **shared), **place)
    facial = FacialConfig(width=8, least_signal=0.0)
    config = RestorerConfig(**{"facial": facial, **shared})
    return train_restorer(config, prior=base, **place)


def end_of(filled: Filled, name: str) -> tuple[dict[str, bytes], list[Any]]:
    """Every byte of the last checkpoint, and the journal but for the clock."""
    last = newest(filled[0].runs / name / "checkpoints")
    assert last is not None
    assert last.step == STEPS
    tensors = {
        f"{group}/{key}": bytes(value.reshape(-1).view(torch.uint8).numpy())
        for group, named in last.tensors.items()
        for key, value in named.items()
    }
    rows = read_journal(filled[0].runs / name)
    return tensors, [(r["step"], r["loss"], r["parts"], r["lr"]) for r in rows]


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_a_run_may_stop_after_any_step_and_lose_no_bit(
    kind: str, filled: Filled, tiny_base: Path
) -> None:
    """Told to stop after each of its steps in turn, with readers in threads and without."""
    list(run(kind, filled, tiny_base, "whole"))
    taken: list[int] = []
    for last in range(1, STEPS):
        with pytest.raises(Stopped) as stopped:
            stop_at_once(run(kind, filled, tiny_base, "halting", readers=2 * (last % 2)), taken)
        assert (stopped.value.step, stopped.value.exit_code) == (last, 143)
    taken += [step.step for step in run(kind, filled, tiny_base, "halting")]
    assert taken == list(range(1, STEPS + 1))
    assert end_of(filled, "halting") == end_of(filled, "whole")


def stop_at_once(steps: Iterator[Step], taken: list[int]) -> None:
    for step in steps:
        taken.append(step.step)
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_may_be_killed_and_the_number_of_readers_changed(
    filled: Filled, tiny_base: Path
) -> None:
    """Nothing is saved on the way out: it goes on from the save at 2, or from the start."""
    list(run("prior", filled, tiny_base, "whole"))
    for last, readers in ((1, 0), (3, 2)):
        name = f"killed-{last}"
        steps = run("prior", filled, tiny_base, name, readers=readers)
        with contextlib.closing(steps):  # type: ignore[type-var]
            assert next(s.step for s in steps if s.step == last) == last
        rest = [s.step for s in run("prior", filled, tiny_base, name, readers=2 - readers)]
        assert rest[0] == last
        assert end_of(filled, name) == end_of(filled, "whole")


UNHEARD = FacialConfig(width=8, gan_weight=0.0, gram_weight=0.0)


def test_a_restorer_without_facial_loss_goes_on_and_loses_no_bit(
    filled: Filled, tiny_base: Path
) -> None:
    list(run("restorer", filled, tiny_base, "whole", facial=UNHEARD))
    _two_steps(filled, tiny_base)
    assert len(list(run("restorer", filled, tiny_base, "halting", facial=UNHEARD))) == 2
    assert end_of(filled, "halting") == end_of(filled, "whole")


def test_critics_in_a_checkpoint_that_nothing_listens_to_are_left_aside(
    filled: Filled, tiny_base: Path
) -> None:
    """As in runs of weight 0 that were begun when critics were trained in any case."""
    list(run("restorer", filled, tiny_base, "whole", facial=UNHEARD))
    _two_steps(filled, tiny_base)
    saved = newest(filled[0].runs / "halting" / "checkpoints")
    assert saved is not None
    critic = {"critics.eyes.head.weight": torch.ones(8, 4, 3, 3)}
    more = {f"{name}|exp_avg": value for name, value in critic.items()}
    tensors = {
        "weights": saved.tensors["weights"] | critic,
        "optimizer": saved.tensors["optimizer"] | more,
    }
    folder = filled[0].runs / "halting" / "checkpoints"
    save(folder, dataclasses.replace(saved, tensors=tensors), keep=1)
    assert len(list(run("restorer", filled, tiny_base, "halting", facial=UNHEARD))) == 2
    assert end_of(filled, "halting") == end_of(filled, "whole")


def _two_steps(filled: Filled, base: Path) -> None:
    steps = run("restorer", filled, base, "halting", facial=UNHEARD)
    with contextlib.closing(steps):  # type: ignore[type-var]
        assert next(s.step for s in steps if s.step == 3) == 3


def test_with_no_readers_the_training_thread_reads(filled: Filled, tiny_base: Path) -> None:
    before = threading.active_count()
    steps = run("prior", filled, tiny_base, "p", readers=0)
    with contextlib.closing(steps):  # type: ignore[type-var]
        next(steps)
        assert threading.active_count() == before
    steps = run("prior", filled, tiny_base, "q", readers=2)
    with contextlib.closing(steps):  # type: ignore[type-var]
        next(steps)
        assert threading.active_count() > before


@pytest.mark.parametrize("readers", [0, 2])
def test_a_crop_that_goes_missing_on_the_way_stops_the_run_where_it_is_needed(
    readers: int, filled: Filled, tiny_base: Path
) -> None:
    steps = run("prior", filled, tiny_base, "p", readers=readers, batch=4)
    next(steps)
    for sample in filled[1].read(Sample):
        (filled[0].media / sample.crop_path).unlink()
    with pytest.raises(InputError, match=r"crops/.*\.png"):
        list(steps)
    assert [row["step"] for row in read_journal(filled[0].runs / "p")] == [1, 2]


def test_threads_are_as_many_as_asked_for() -> None:
    assert 1 <= reader_count(None) <= 8
    assert (reader_count(0), reader_count(20)) == (0, 20)
    with open_pool(0, "x") as here:
        assert here.submit(threading.get_ident).result() == threading.get_ident()
        failed = here.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()
    with open_pool(1, "x") as there:
        assert there.submit(threading.get_ident).result() != threading.get_ident()
