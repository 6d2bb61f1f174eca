"""Gradients are shortened as torch shortens them, bit for bit; short ones are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training import loop
from training.stage import Group


def net_with_gradients(scale: float = 1.0) -> nn.Module:
    net = nn.Sequential(nn.Linear(9, 33), nn.Linear(33, 5))
    net.register_parameter("idle", nn.Parameter(torch.ones(3)))  # has none
    rng = torch.Generator().manual_seed(3)
    for weight in net.parameters():
        if weight is not net.idle:
            weight.grad = scale * torch.randn(weight.shape, generator=rng)
    return net


def gradients(net: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]


def shortened(net: nn.Module, most: float) -> float:
    """Shortens; the length before."""
    groups = [Group("one", net, 1e-3)]
    norms = loop._norms(groups)
    lengths = torch.stack(norms).tolist()
    loop._shorten(groups, norms, lengths, most)
    return float(lengths[0])


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(gradients(one), gradients(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("share", [1e-9, 0.3, 0.99, 1 - 1e-7, 1.0, 1 + 1e-7, 1.005, 1.02, 1e6])
def test_the_gradient_is_what_torch_makes_of_it(share: float) -> None:
    ours, theirs = net_with_gradients(), net_with_gradients()
    length = float(torch.nn.utils.get_total_norm(gradients(theirs)))
    assert shortened(ours, share * length) == length
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), share * length)
    assert equal(ours, theirs)
    assert equal(ours, net_with_gradients()) == (share > 1)


def test_where_torch_shortens_what_is_shorter_than_the_most_so_do_we() -> None:
    """It adds a millionth to the norm, which is more than a very small most."""
    ours, theirs = net_with_gradients(1e-9), net_with_gradients(1e-9)
    assert shortened(ours, 1e-7) < 1e-7
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e-7)
    assert equal(ours, theirs)
    assert not equal(ours, net_with_gradients(1e-9))


def test_a_short_gradient_is_not_written_to() -> None:
    net = net_with_gradients()
    before = [grad._version for grad in gradients(net)]
    shortened(net, 1e6)
    assert [grad._version for grad in gradients(net)] == before
    shortened(net, 0.1)
    assert [grad._version for grad in gradients(net)] != before
