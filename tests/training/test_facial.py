from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from training.config import FacialConfig
from training.critics import Critic
from training.facial import FacialLoss
from training.losses import critic_error, fooling_error, gram_error
from training.regions import roi_align

BOXES = torch.tensor([[[2.0, 4, 6, 8], [9, 4, 13, 8], [4, 10, 12, 15]]]).repeat(3, 1, 1)
CONFIG = FacialConfig(width=8, eye_cells=4, mouth_cells=6, least_signal=0.05)


def made(config: FacialConfig) -> FacialLoss:
    torch.manual_seed(0)
    time_embedding = SimpleNamespace(linear_2=nn.Linear(2, 16))
    unet = SimpleNamespace(time_embedding=time_embedding, config=SimpleNamespace(out_channels=4))
    return FacialLoss(config, unet)


@pytest.fixture
def facial() -> FacialLoss:
    return made(CONFIG)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predicted and real latents, time embeddings, and alpha-bar of which the last is too noisy."""
    g = torch.Generator().manual_seed(1)
    predicted, real = (torch.randn(3, 4, 16, 16, generator=g) for _ in range(2))
    return (
        predicted.requires_grad_(),
        real,
        torch.randn(3, 16, generator=g),
        torch.tensor([0.9, 0.3, 0.01]),
    )


def test_the_terms_are_the_equation_written_out(
    facial: FacialLoss, batch: tuple[Tensor, ...]
) -> None:
    """Equation 5 part by part: both eyes share a discriminator and count half each."""
    predicted, real, time, alpha_bar = batch
    terms = facial((predicted, real), BOXES, time, alpha_bar)
    gan = gram = critic_loss = torch.zeros(2)
    for name, row, cells, share in [("eyes", 0, 4, 0.5), ("eyes", 1, 4, 0.5), ("mouth", 2, 6, 1.0)]:
        critic = facial.critics[name]
        fake_patch, real_patch = (
            roi_align(x[:2], BOXES[:2, row], cells) for x in (predicted, real)
        )
        fake_logit, fake_features = critic(fake_patch, time[:2])
        real_logit, real_features = critic(real_patch, time[:2])
        gan = gan + share * fooling_error(fake_logit)
        gram = gram + share * gram_error(fake_features, real_features, (0.5, 1.0))
        critic_loss = critic_loss + share * critic_error(real_logit, fake_logit)
    torch.testing.assert_close(terms.gan_B[:2], gan)
    torch.testing.assert_close(terms.gram_B[:2], gram)
    torch.testing.assert_close(terms.critic_B[:2], critic_loss)


def test_a_sample_that_is_too_noisy_or_has_no_boxes_has_no_say(
    facial: FacialLoss, batch: tuple[Tensor, ...]
) -> None:
    predicted, real, time, alpha_bar = batch
    boxes = BOXES.clone()
    boxes[1] = 0
    terms = facial((predicted, real), boxes, time, alpha_bar)
    assert terms.counts_B.tolist() == [True, False, False]
    (terms.gan_B + terms.gram_B).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad[0].abs().sum() > 0
    assert predicted.grad[1:].abs().sum() == 0


def test_model_and_discriminators_do_not_move_each_other(
    facial: FacialLoss, batch: tuple[Tensor, ...]
) -> None:
    predicted, real, time, alpha_bar = batch
    terms = facial((predicted, real), BOXES, time, alpha_bar)
    (terms.gan_B + terms.gram_B).sum().backward()
    assert all(p.grad is None for p in facial.parameters())
    predicted.grad = None
    facial((predicted, real), BOXES, time, alpha_bar).critic_B.sum().backward()
    assert predicted.grad is None
    assert all(p.grad is not None for p in facial.parameters())


def test_a_discriminator_judges_by_the_timestep_too() -> None:
    torch.manual_seed(0)
    critic = Critic(channels=4, width=8, time_width=16)
    patch = torch.randn(1, 4, 10, 10)
    early, late = (critic(patch, torch.full((1, 16), t))[0] for t in (0.1, 2.0))
    assert not torch.allclose(early, late)


def test_a_discriminator_can_learn_to_tell_two_textures_apart() -> None:
    torch.manual_seed(0)
    critic = Critic(channels=4, width=8, time_width=16)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)
    time = torch.zeros(16, 16)
    for _ in range(60):
        rough = torch.randn(16, 4, 10, 10)
        smooth = torch.nn.functional.avg_pool2d(torch.randn(16, 4, 12, 12), 3, 1) * 3
        error = critic_error(critic(rough, time)[0], critic(smooth, time)[0]).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error.item() < 0.3


def test_brows_have_a_discriminator_for_both_of_them(batch: tuple[Tensor, ...]) -> None:
    predicted, real, time, alpha_bar = batch
    more = made(CONFIG.model_copy(update={"parts": ("eyes", "mouth", "brows")}))
    assert set(more.critics) == {"eyes", "mouth", "brows"}
    brow = torch.tensor([4.0, 2, 9, 5]).repeat(3, 1, 1)
    none = torch.zeros_like(brow)
    both, one, nothing = (
        more((predicted, real), torch.cat([BOXES, none, *rows], dim=1), time, alpha_bar).gan_B[0]
        for rows in ((brow, brow), (brow, none), (none, none))
    )
    torch.testing.assert_close(both - nothing, 2 * (one - nothing))
    assert not torch.equal(both, nothing)


def test_a_nose_is_one_more_part_and_changes_nothing_of_the_others(
    facial: FacialLoss, batch: tuple[Tensor, ...]
) -> None:
    """It has a discriminator and a row of its own, the fourth; without it row four is air."""
    predicted, real, time, alpha_bar = batch
    nose = torch.tensor([7.0, 6, 10, 10]).repeat(3, 1, 1)
    nose[1] = 0  # unknown
    boxes = torch.cat([BOXES, nose], dim=1)
    plain = facial((predicted, real), BOXES, time, alpha_bar)
    ignored = facial((predicted, real), boxes, time, alpha_bar)
    assert torch.equal(plain.gan_B, ignored.gan_B)
    parts = ("eyes", "mouth", "nose")
    more = made(CONFIG.model_copy(update={"parts": parts, "nose_cells": 5}))
    terms = more((predicted, real), boxes, time, alpha_bar)
    fake, true = (roi_align(x[:1], nose[:1, 0], 5) for x in (predicted, real))
    critic = more.critics["nose"]
    logit, features = critic(fake, time[:1])
    _, wanted = critic(true, time[:1])
    torch.testing.assert_close(terms.gan_B[0], plain.gan_B[0] + fooling_error(logit)[0])
    gram = gram_error(features, wanted, (0.5, 1.0))
    torch.testing.assert_close(terms.gram_B[0], plain.gram_B[0] + gram[0])
    torch.testing.assert_close(terms.gan_B[1:], plain.gan_B[1:])
    alone = made(CONFIG.model_copy(update={"parts": ("nose",)}))
    assert alone((predicted, real), boxes, time, alpha_bar).counts_B.tolist() == [
        True,
        False,
        False,
    ]
