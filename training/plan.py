"""Order and randomness as pure functions of (seed, step, index): no state to save or lose."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Stream", "learning_rate", "order", "rng", "torch_rng"]


class Stream(IntEnum):
    """What a random number is for; each purpose has numbers of its own."""

    ORDER = 0
    AUGMENT = 1
    DEGRADE = 2
    NOISE = 3
    WORDS = 4
    WEIGHTS = 5


def order(seed: int, step: int, *, batch: int, count: int) -> list[int]:
    """Which of `count` samples make a step's batch; each epoch is a new permutation."""
    places = range(step * batch, (step + 1) * batch)
    epochs = {place // count: _permutation(seed, place // count, count) for place in places}
    return [int(epochs[place // count][place % count]) for place in places]


def rng(seed: int, stream: Stream, step: int, index: int = 0) -> np.random.Generator:
    """NumPy's generator of one purpose, step and place in the batch."""
    return np.random.default_rng(np.random.SeedSequence([seed, stream, step, index]))


def torch_rng(seed: int, stream: Stream, step: int, index: int = 0) -> torch.Generator:
    """PyTorch's generator of the same, on the CPU, so that every device draws the same."""
    words = np.random.SeedSequence([seed, stream, step, index]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]) >> 1)  # torch takes 63 bits


def learning_rate(step: int, peak: float, warmup: int) -> float:
    """The rate of a step: a straight rise over the warm-up, then constant."""
    return peak * min(1.0, (step + 1) / (warmup + 1))


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return rng(seed, Stream.ORDER, epoch).permutation(count)
