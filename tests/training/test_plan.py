from __future__ import annotations

import numpy as np
import torch

from training import plan
from training.plan import Stream


def test_every_epoch_shows_every_sample_once() -> None:
    """Batches of 3 over 7 samples: 7 steps make 3 whole epochs."""
    places = [i for step in range(7) for i in plan.order(5, step, batch=3, count=7)]
    for epoch in range(3):
        assert sorted(places[7 * epoch : 7 * epoch + 7]) == list(range(7))


def test_epochs_differ_in_order() -> None:
    first, second = (plan.order(5, step, batch=20, count=20) for step in range(2))
    assert first != second


def test_order_does_not_depend_on_how_a_run_is_cut() -> None:
    """A resumed run asks for step 40 alone and gets what the unbroken one got."""
    whole = [plan.order(1, step, batch=4, count=9) for step in range(50)]
    assert plan.order(1, 40, batch=4, count=9) == whole[40]


def test_batch_larger_than_the_set_wraps_into_the_next_epochs() -> None:
    places = plan.order(0, 0, batch=10, count=3)
    assert sorted(places[:3]) == sorted(places[3:6]) == [0, 1, 2]


def test_numbers_depend_on_seed_purpose_step_and_place() -> None:
    def draw(*key: int) -> float:
        seed, stream, step, index = key
        return float(plan.rng(seed, Stream(stream), step, index).random())

    keys = [(0, 1, 2, 3), (9, 1, 2, 3), (0, 2, 2, 3), (0, 1, 9, 3), (0, 1, 2, 9)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(*keys[0]) == draw(*keys[0])


def test_torch_numbers_repeat_and_look_normal() -> None:
    one, other = (
        torch.randn(4000, generator=plan.torch_rng(3, Stream.NOISE, 8, 1)) for _ in range(2)
    )
    assert torch.equal(one, other)
    assert abs(float(one.mean())) < 0.06
    assert abs(float(one.std()) - 1) < 0.04


def test_rate_rises_in_a_straight_line_and_stays() -> None:
    rates = [plan.learning_rate(step, 1.0, 3) for step in range(6)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1, 1, 1])
    assert plan.learning_rate(0, 2.0, 0) == 2.0
