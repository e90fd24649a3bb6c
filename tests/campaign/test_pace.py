"""When connections may start, by a clock of trio's own.

ARCHITECTURE.md, "Decisions": the load on other people's servers is bounded.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tlsprobe.campaign.pace import Pace, unless_stopped
from tlsprobe.errors import Interrupted


def starts(
    rate: float | None, count: int, late: float = 0.0, last: float | None = None
) -> list[float]:
    """When so many connections had their turn, the third of which then held up everybody.

    ``last`` is when one had started before, counted from the beginning.
    """
    begun = list[float]()

    async def connection(pace: Pace, clock: MockClock) -> None:
        await pace.turn()
        begun.append(trio.current_time())
        if len(begun) == 3:
            clock.jump(late)

    async def all_of_them(clock: MockClock) -> None:
        zero = trio.current_time()
        pace = Pace(rate) if last is None else Pace(rate, zero + last)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(connection, pace, clock)

    clock = MockClock(autojump_threshold=0)
    trio.run(all_of_them, clock, clock=clock)
    return [start - (begun[0] if last is None else 0.0) for start in begun]


def test_a_rate_keeps_starts_apart() -> None:
    assert starts(20.0, 60) == pytest.approx([number / 20 for number in range(60)])


def test_who_was_late_does_not_make_the_others_hurry() -> None:
    found = starts(10.0, 20, late=1.0)
    assert min(later - sooner for sooner, later in pairwise(found)) > 0.099
    assert found[-1] == pytest.approx(2.8)


def test_what_started_before_counts() -> None:
    assert starts(10.0, 3, last=0.0) == pytest.approx([0.1, 0.2, 0.3])
    assert starts(10.0, 2, last=-60.0) == pytest.approx([0.0, 0.1])


def test_without_a_rate_nothing_waits() -> None:
    assert starts(None, 60) == [0.0] * 60


@pytest.mark.parametrize(("stopped_at", "given"), [(2.0, "done"), (0.5, None)])
def test_work_that_is_stopped_before_it_is_done_gives_nothing(
    stopped_at: float, given: str | None
) -> None:
    async def work() -> str:
        await trio.sleep(1.0)
        return "done"

    async def watched() -> str | None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(set_at, stop, stopped_at)
            try:
                return await unless_stopped(stop, work, "before it was done")
            except Interrupted as error:
                assert error.message == "interrupted before it was done"
                return None
            finally:
                nursery.cancel_scope.cancel()

    assert trio.run(watched, clock=MockClock(autojump_threshold=0)) == given


async def set_at(stop: trio.Event, seconds: float) -> None:
    await trio.sleep(seconds)
    stop.set()
