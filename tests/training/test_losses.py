"""Each loss against the same sum written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training import losses


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CLEAN, NOISE, OTHER = (draw(3, 4, 6, 6, seed=s) for s in range(3))
ALPHA_BAR = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64)


def test_masked_error_is_the_mean_inside_the_face() -> None:
    mask = torch.zeros(3, 1, 6, 6, dtype=torch.float64)
    mask[:, :, 1:4, 2:5] = 1
    got = losses.masked_error(CLEAN, NOISE, mask).numpy()
    inside = ((CLEAN - NOISE) ** 2)[:, :, 1:4, 2:5].numpy()
    np.testing.assert_allclose(got, inside.mean(axis=(1, 2, 3)))


def test_masked_error_with_a_full_mask_is_the_mean_error() -> None:
    full = torch.ones(3, 1, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(
        losses.masked_error(CLEAN, NOISE, full), losses.mean_error(CLEAN, NOISE)
    )


def test_guided_target_adds_photographic_and_takes_negative_away() -> None:
    expected = CLEAN.numpy() + NOISE.numpy() - OTHER.numpy()
    np.testing.assert_allclose(losses.guided_target(CLEAN, NOISE, OTHER).numpy(), expected)


def test_gram_is_every_pair_of_channels() -> None:
    got = losses.gram(CLEAN).numpy()
    for b in range(3):
        for i in range(4):
            for j in range(4):
                pair = (CLEAN[b, i].numpy() * CLEAN[b, j].numpy()).sum() / (4 * 6 * 6)
                assert got[b, i, j] == pytest.approx(pair)


def test_gram_error_weighs_the_scales_and_spares_the_real_features() -> None:
    predicted = [CLEAN.clone().requires_grad_(), NOISE.clone().requires_grad_()]
    real = [OTHER.clone().requires_grad_(), CLEAN.clone().requires_grad_()]
    got = losses.gram_error(predicted, real, (0.5, 1.0))
    expected = sum(
        w * np.abs(losses.gram(p).detach().numpy() - losses.gram(r).detach().numpy()).mean((1, 2))
        for p, r, w in zip(predicted, real, (0.5, 1.0), strict=True)
    )
    np.testing.assert_allclose(got.detach().numpy(), expected)
    got.sum().backward()
    assert all(r.grad is None for r in real)
    assert all(p.grad is not None for p in predicted)


def test_adversarial_terms_are_logarithms_of_probabilities() -> None:
    real, fake = draw(5, seed=7), draw(5, seed=8)
    d_real, d_fake = (1 / (1 + np.exp(-logit.numpy())) for logit in (real, fake))
    np.testing.assert_allclose(losses.fooling_error(fake).numpy(), -np.log(d_fake))
    np.testing.assert_allclose(
        losses.critic_error(real, fake).numpy(), -np.log(d_real) - np.log(1 - d_fake)
    )
