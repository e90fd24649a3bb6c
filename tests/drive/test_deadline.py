"""Waits that end at a deadline. The clock is trio's virtual one: nothing here takes time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from tlsprobe.drive.deadline import Deadline


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def waited(deadline: Deadline, one: socket.socket) -> tuple[bool, float]:
    """Whether there was something to read, and when that was known."""
    return await deadline.readable(one), trio.current_time()


def jumping() -> MockClock:
    return MockClock(autojump_threshold=0)


def test_a_wait_ends_at_its_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> tuple[bool, float]:
        return await waited(Deadline(5.0), ends[0])

    assert trio.run(main, clock=jumping()) == (False, 5.0)


def test_a_wait_ends_with_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> tuple[bool, float]:
        async with trio.open_nursery() as nursery:

            async def speak() -> None:
                await trio.sleep(2)
                ends[1].send(b"x")

            nursery.start_soon(speak)
            return await waited(Deadline(5.0), ends[0])

    assert trio.run(main, clock=jumping()) == (True, 2.0)


def test_a_deadline_holds_for_every_wait_until_it_is_over(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    async def main() -> list[tuple[bool, float]]:
        deadline, found = Deadline(5.0), []
        for second in (1.0, 2.0):
            ends[1].send(b"x")
            found.append(await waited(deadline, ends[0]))
            ends[0].recv(1)
            await trio.sleep_until(second)
        found += [await waited(deadline, ends[0]), await waited(deadline, ends[0])]
        deadline.over = True
        await trio.sleep_until(7.0)
        return [*found, await waited(Deadline(9.0), ends[0])]

    assert trio.run(main, clock=jumping()) == [
        *((True, 0.0), (True, 1.0)),
        *((False, 5.0), (False, 5.0), (False, 9.0)),
    ]


def test_deadlines_are_kept_in_their_own_order() -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    times = [float((7 * number) % 20 + 1) for number in range(20)]
    found: dict[float, tuple[bool, float]] = {}

    async def main() -> None:
        async def wait(at: float, one: socket.socket) -> None:
            found[at] = await waited(Deadline(at), one)

        async with trio.open_nursery() as nursery:
            for at, (ours, _) in zip(times, pairs, strict=True):
                nursery.start_soon(wait, at, ours)

    trio.run(main, clock=jumping())
    for pair in pairs:
        for end in pair:
            end.close()
    assert found == {at: (False, at) for at in times}


def test_a_deadline_that_has_passed_is_no_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].send(b"x")

    async def main() -> tuple[bool, float]:
        await trio.sleep(3)
        return await waited(Deadline(3.0), ends[0])

    assert trio.run(main, clock=jumping()) == (False, 3.0)


def test_a_wait_can_be_cancelled(ends: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> tuple[bool, float]:
        deadline = Deadline(5.0)
        with trio.move_on_after(1) as scope:
            await deadline.readable(ends[0])
        return scope.cancelled_caught, trio.current_time()

    assert trio.run(main, clock=jumping()) == (True, 1.0)
