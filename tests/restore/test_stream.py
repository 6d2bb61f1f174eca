"""Stages that overlap: order, bounds, errors, and that nothing waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from restore.stream import Budget, ahead


def test_results_come_in_order_whoever_is_ready_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 == 0 else 0)
        return number * 10

    assert list(ahead(range(9), work, workers=3)) == [n * 10 for n in range(9)]


def test_stages_overlap() -> None:
    def slow(number: int) -> int:
        time.sleep(0.05)
        return number

    start = time.monotonic()
    assert list(ahead(ahead(ahead(range(8), slow), slow), slow)) == list(range(8))
    assert time.monotonic() - start < 0.05 * 8 * 2  # one after the other: 24 sleeps


def test_no_more_is_taken_than_there_is_room_for() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    stream = ahead(source(), lambda n: n, workers=1, depth=2)
    assert next(stream) == 0
    time.sleep(0.1)
    assert len(taken) <= 5  # given out, in work and waiting, and the one that waits for room
    stream.close()


@pytest.mark.parametrize("where", ["source", "work"])
def test_an_error_is_raised_in_its_place(where: str) -> None:
    def source() -> Iterator[int]:
        yield 0
        yield 1
        if where == "source":
            raise ValueError("broken")
        yield 2

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("broken")
        return number

    stream = ahead(source(), work)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(stream)


def test_closing_stops_every_stage_and_closes_the_source() -> None:
    closed = threading.Event()
    before = threading.active_count()

    def source() -> Iterator[int]:
        try:
            yield from range(10_000)
        finally:
            closed.set()

    stream = ahead(ahead(source(), lambda n: n), lambda n: n)
    assert next(stream) == 0
    stream.close()
    assert closed.wait(2)
    assert threading.active_count() == before


def test_a_budget_makes_the_second_wait_until_the_first_is_done() -> None:
    budget = Budget(10)
    first, got = budget.take(7), threading.Event()

    def second() -> None:
        budget.take(7)
        got.set()

    waiter = threading.Thread(target=second)
    waiter.start()
    assert not got.wait(0.1)
    first.let_go()
    assert got.wait(2)
    waiter.join()


def test_one_photo_is_let_in_whatever_its_size() -> None:
    Budget(10).take(1000).let_go()


def test_what_waits_for_others_does_not_hold_them_up() -> None:
    budget = Budget(10)
    first = budget.take(8)
    first.park()
    second = budget.take(8)  # would wait for ever if the first had to be done before
    first.move()
    first.let_go()
    first.let_go()
    second.let_go()
    budget.take(10)
