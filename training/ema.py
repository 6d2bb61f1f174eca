"""An exponential moving average of the weights, by their names, which training never sees.

The average is what a run exports where there is one; the weights it is of go on as they would
without it, and both are in every checkpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from data_manifests.errors import CheckpointError

__all__ = ["Average"]


class Average:
    """The average of parameters, in float32, on their device and laid out as they are."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self.decay = dict(parameters), decay
        self.updates = 0
        self.tensors: dict[str, Tensor] = {
            name: p.detach().float().clone() for name, p in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now.

        The first updates count more, or the weights at the start would be in it for long. Source:
        TensorFlow's ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)) after n updates.
        """
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        # Of sharded weights each process averages its own part.
        now = [_own(p.detach()).float() for p in self._parameters.values()]
        torch._foreach_lerp_([_own(t) for t in self.tensors.values()], now, 1 - decay)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a checkpoint's average; CheckpointError if it is of other weights."""
        if {n: t.shape for n, t in tensors.items()} != {
            n: t.shape for n, t in self.tensors.items()
        }:
            raise CheckpointError(
                "The checkpoint's average does not fit this model.",
                "Resume with the base it began with.",
            )
        for name, value in self.tensors.items():
            value.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def begin(self) -> None:
        """Start anew from the weights as they are now."""
        for name, parameter in self._parameters.items():
            self.tensors[name].copy_(parameter)
        self.updates = 0

    @contextlib.contextmanager
    def worn(self) -> Iterator[None]:
        """The model with the average in place of its weights, which come back at the end.

        They change places, so that no memory is needed for it; sharded ones are copied one by one,
        since FSDP keeps a hold of their storage.
        """
        self._change_places()
        try:
            yield
        finally:
            self._change_places()

    @torch.no_grad()
    def _change_places(self) -> None:
        for name, parameter in self._parameters.items():
            if not hasattr(parameter, "to_local"):
                self.tensors[name], parameter.data = parameter.data, self.tensors[name]
                continue
            weight, average = _own(parameter), _own(self.tensors[name])
            before = weight.clone()
            weight.copy_(average)
            average.copy_(before)


def _own(value: Tensor) -> Tensor:
    """The tensor itself, or of a sharded one the part that this process holds, in place."""
    local = getattr(value, "to_local", None)
    own: Tensor = value if local is None else local()  # without gradients it is no copy
    return own
