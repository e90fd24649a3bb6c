"""When connections may start, and when all of them end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TypeVar

import trio

from tlsprobe.errors import CannotMeasure, Interrupted

_T = TypeVar("_T")


class Pace:
    """Lets connections start no closer together than a rate (a second) allows.

    ``last`` is when one started before, by trio's clock.
    """

    def __init__(self, rate: float | None, last: float = -inf) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._gate = trio.Lock()
        self._next_start = last + self._gap

    def slow_to(self, rate: float) -> None:
        """Let no more start a second from now on."""
        self._gap = max(self._gap, 1 / rate)

    async def turn(self) -> None:
        """Wait for one's turn. Whoever comes late makes all behind it later: no bunching."""
        if self._gap:
            async with self._gate:
                await trio.sleep_until(self._next_start)
                self._next_start = trio.current_time() + self._gap


@asynccontextmanager
async def interruptible(notify: Callable[[str], None]) -> AsyncIterator[trio.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C ends at once."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for _ in signals:
                    if stop.is_set():
                        raise KeyboardInterrupt
                    notify("interrupted: keeping the results so far (Ctrl-C again to stop at once)")
                    stop.set()

            nursery.start_soon(listen)
            yield stop
            nursery.cancel_scope.cancel()


async def cancel_at(stop: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel the scope as soon as somebody says stop."""
    await stop.wait()
    scope.cancel()


async def unless_stopped(
    stop: trio.Event, work: Callable[[], Awaitable[_T]], what_is_lost: str
) -> _T:
    """What the work gives. Raises Interrupted, with a word on what is lost, if stopped before."""
    done: list[_T] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
        done.append(await work())
        nursery.cancel_scope.cancel()
    if not done:
        raise Interrupted(f"interrupted {what_is_lost}")
    return done[0]


async def in_time(within: float | None, work: Callable[[], Awaitable[_T]], whose: str) -> _T:
    """What the work gives. Raises CannotMeasure if it takes longer than ``within`` seconds."""
    with trio.move_on_after(inf if within is None else within):
        return await work()
    raise CannotMeasure(f"cannot probe {whose}: nothing worked within {within or 0.0:.0f} s", "")


class Place:
    """A place taken on somebody's behalf, which is given back once, however often it is left.

    ``left`` is called then.
    """

    def __init__(
        self, limiter: trio.CapacityLimiter, borrower: object, left: Callable[[], None]
    ) -> None:
        self._limiter = limiter
        self._borrower = borrower
        self._left = left
        self._taken = True

    def leave(self) -> None:
        """Give it back."""
        if self._taken:
            self._taken = False
            self._limiter.release_on_behalf_of(self._borrower)
            self._left()
