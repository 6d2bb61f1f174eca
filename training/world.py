"""The processes that train one run together, as torchrun starts them; one alone is a world too.

Every process takes its part of each step's batch. The first alone opens the run, writes its files
and chooses the checkpoint; what it finds goes to the others. Light: torch is imported where there
are several.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from data_manifests.errors import AuthFaceError, InputError

__all__ = ["World", "WorldError", "dealt", "here", "in_turn", "joined", "lost_peers"]

T = TypeVar("T")

# The first process may write a checkpoint or a model for long while the others wait for it. A
# process that dies is noticed at once, by the connection or by torchrun.
_PATIENCE = timedelta(hours=1)
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")


class WorldError(AuthFaceError):
    """Another process of the run failed or ended."""


@dataclass(frozen=True, slots=True)
class World:
    """Which process this is, and of how many; what they say to one another."""

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this one writes the run's files."""
        return self.rank == 0

    def everyone(self, value: T) -> list[T]:
        """What each process brings, by rank. WorldError if one of them is gone."""
        if self.size == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.size
        with lost_peers():
            distributed.all_gather_object(found, value)
        return found

    def of_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all; what it raises, it raises for all.

        `make` is called in the first process alone.
        """
        if self.size == 1:
            return make()
        failure: Exception | None = None
        said: list[Any] = [None, None]
        if self.first:
            try:
                said = [make(), None]
            except AuthFaceError as error:
                failure, said = error, [None, str(error)]
        self._spread(said)
        if failure is not None:
            raise failure
        if said[1] is not None:
            raise WorldError(f"The first process stopped: {said[1]}")
        value: T = said[0]
        return value

    def agreed(self, what: str, value: object) -> None:
        """Raise InputError where two processes do not bring the same."""
        found = self.everyone(value)
        other = [rank for rank, theirs in enumerate(found) if theirs != found[0]]
        if other:
            raise InputError(
                f"Process {other[0]} of {self.size} has another {what} than the first.",
                "Let all machines see the same workspace and base, with the same packages.",
            )

    def device(self, name: str) -> str:
        """The device that this process is to use where the settings name one for all.

        InputError if they name one GPU: each process needs one of its own.
        """
        if not self.alone and name.startswith("cuda:"):
            raise InputError(
                f"device = {name} would put {self.size} processes on one GPU.",
                "Set device = auto; CUDA_VISIBLE_DEVICES says which GPUs there are.",
            )
        if self.alone or name not in ("auto", "cuda"):
            return name
        from torch import cuda

        return f"cuda:{int(os.environ['LOCAL_RANK'])}" if cuda.is_available() else name

    def _spread(self, said: list[Any]) -> None:
        from torch import distributed

        with lost_peers():
            distributed.broadcast_object_list(said, src=0)


def here() -> World:
    """The world that this process has joined; by itself if it has joined none."""
    return _joined[-1] if _joined else World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Be one of the processes that torchrun has started, or by oneself where it was not used.

    On the CPU they speak by gloo, on GPUs by NCCL; words about the run always go by gloo. A world
    that is joined already is joined once.
    """
    if _joined or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield here()
        return
    missing = [name for name in _NAMES if name not in os.environ]
    if missing:
        raise InputError(
            f"WORLD_SIZE is set and {missing[0]} is not.",
            "Start several processes by torchrun, or unset WORLD_SIZE.",
        )
    from torch import cuda, distributed

    if cuda.is_available():
        cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    _joined.append(World(distributed.get_rank(), distributed.get_world_size()))
    try:
        yield _joined[-1]
    finally:
        _joined.pop()
        distributed.destroy_process_group()


def dealt(batch: int, at_once: int, world: World) -> list[range]:
    """The places of a step's batch that a process takes, in micro-batches of up to `at_once`.

    Micro-batches are dealt in turn, so that all of them in order are the batch. They are made
    smaller only where there would be fewer of them than processes.
    """
    most = min(at_once, -(-batch // world.size))
    starts = range(0, batch, most)[world.rank :: world.size]
    return [range(start, min(start + most, batch)) for start in starts]


def in_turn(shares: Sequence[Sequence[T]]) -> list[T]:
    """What the processes made of their micro-batches, in the order of the batch."""
    rounds = max(map(len, shares), default=0)
    return [share[n] for n in range(rounds) for share in shares if n < len(share)]


@contextlib.contextmanager
def lost_peers() -> Iterator[None]:
    """Turn torch's error about a process that is gone into a WorldError."""
    try:
        yield
    except RuntimeError as error:  # torch has no narrower one for a lost peer
        raise WorldError(
            f"Another process of this run has ended: {str(error).splitlines()[0][:120]}",
            "See what it said; the checkpoints are whole: mend it and go on with --resume.",
        ) from error


# One process is in one world, as it has one default process group.
_joined: list[World] = []
