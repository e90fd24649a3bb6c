"""How many connections may be open: whoever waits for a place gets one in the end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tlsprobe.campaign.connections import ConnectionLimits

FOR_EVER = 1e6
"""Seconds of a clock that jumps ahead when nobody can go on."""


@pytest.mark.parametrize("rounds", [2, 3, 5])
def test_rounds_that_do_not_fit_beside_each_other_come_one_after_the_other(rounds: int) -> None:
    """Each takes places to wait first, and then to be open, while the next stands in line."""
    limits = ConnectionLimits(12, 6)
    had: list[int] = []

    async def race(count: int) -> None:
        async with limits.waiting(count), limits.open(count):
            await trio.sleep(1)
        had.append(count)

    async def all_of_them() -> None:
        with trio.fail_after(FOR_EVER):
            async with trio.open_nursery() as nursery:
                for _ in range(rounds):
                    nursery.start_soon(race, 4)

    trio.run(all_of_them, clock=MockClock(autojump_threshold=0))
    assert had == [4] * rounds


def test_who_waits_idle_with_several_connections_is_no_stop_to_a_round() -> None:
    limits = ConnectionLimits(8, 4)
    had: list[str] = []

    async def idle_with_two() -> None:
        await limits.wait_idle()
        await trio.sleep(1)
        async with limits.open(2):
            await trio.sleep(1)
        limits.waited()
        had.append("two")

    async def race() -> None:
        async with limits.waiting(4), limits.open(4):
            had.append("round")

    async def both() -> None:
        with trio.fail_after(FOR_EVER):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(idle_with_two)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(race)

    trio.run(both, clock=MockClock(autojump_threshold=0))
    assert had == ["two", "round"]


def test_who_stands_in_line_for_more_than_there_are_any_more_gets_all_of_them() -> None:
    """A server that turns out to serve one connection at a time has us open no more than one."""
    limits = ConnectionLimits(8, 4)
    had: list[str] = []

    async def trial() -> None:
        async with limits.open():
            await trio.sleep(1)
        had.append("trial")

    async def race() -> None:
        async with limits.open(6):
            had.append("round")

    async def all_of_them() -> None:
        with trio.fail_after(FOR_EVER):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trial)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(race)
                await trio.testing.wait_all_tasks_blocked()
                limits.lower(1)
                nursery.start_soon(trial)

    trio.run(all_of_them, clock=MockClock(autojump_threshold=0))
    assert had == ["trial"] * 3 + ["round", "trial"]


def test_one_that_is_cancelled_in_line_lets_the_next_come() -> None:
    limits = ConnectionLimits(4, 2)

    async def all_of_them() -> None:
        async with limits.open(3):
            with trio.move_on_after(1):
                async with limits.open(2):
                    raise AssertionError("there is no room for it")
            async with limits.open(1):
                pass
        async with limits.open(4):
            pass

    trio.run(all_of_them, clock=MockClock(autojump_threshold=0))
