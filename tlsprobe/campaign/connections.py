"""Our connections to a server while a campaign runs: how many may be open, and how many are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import trio

from tlsprobe.model.load import Load

_T = TypeVar("_T")

SAMPLED_EVERY = 0.02
"""Seconds between two looks at how late the event loop is."""

LEAST_LAG = 0.002
"""Seconds below which lag is not worth a note: timers tick in whole milliseconds."""


class ConnectionLimits:
    """The places for open connections: so many in all, and a part of them for those that wait idle.

    The rest is kept for the others, so that nobody stands in line behind an idle timer. Who waits
    idle takes a place for that first, and then one of all: who has one of these waits for no other.
    """

    def __init__(self, most: int, concurrency: int) -> None:
        self.working = min(concurrency, max(1, most // 2))
        self._open = trio.CapacityLimiter(most)
        self._idle = trio.CapacityLimiter(max(1, most - self.working))
        self._many_open, self._many_idle = trio.Lock(), trio.Lock()

    @property
    def most(self) -> int:
        """How many connections may be open at once."""
        return int(self._open.total_tokens)

    @property
    def idle(self) -> int:
        """How many of them may wait idle."""
        return int(self._idle.total_tokens)

    def lower(self, most: int) -> None:
        """Allow no more than so many from now on."""
        self.working = min(self.working, max(1, most // 2))
        self._open.total_tokens = most
        self._idle.total_tokens = max(1, most - self.working)

    def only_idle(self) -> None:
        """Nothing else is to come: leave one place to see whether the path is alive."""
        self._idle.total_tokens = max(1, self.most - 1)

    def open(self, count: int = 1) -> AbstractAsyncContextManager[None]:
        """Take the places of ``count`` connections while the block runs."""
        return self._taken(self._open, self._many_open, min(count, self.most))

    def waiting(self, count: int) -> AbstractAsyncContextManager[None]:
        """Take ``count`` of the places for connections that wait idle while the block runs."""
        return self._taken(self._idle, self._many_idle, min(count, self.idle))

    async def wait_idle(self, borrower: object) -> None:
        """Take a place for a connection that waits idle, until it is given back."""
        await self._idle.acquire_on_behalf_of(borrower)

    def waited(self, borrower: object) -> None:
        """Give such a place back."""
        self._idle.release_on_behalf_of(borrower)

    @asynccontextmanager
    async def _taken(
        self, limiter: trio.CapacityLimiter, many: trio.Lock, count: int
    ) -> AsyncIterator[None]:
        borrowers = [object() for _ in range(count)]
        taken: list[object] = []
        try:
            if count == 1:
                await _acquire(limiter, borrowers[0])
                taken.append(borrowers[0])
            else:  # two that each have half of what they need would wait for each other
                async with many:
                    for borrower in borrowers:
                        await limiter.acquire_on_behalf_of(borrower)
                        taken.append(borrower)
            yield
        finally:
            for borrower in taken:
                limiter.release_on_behalf_of(borrower)


async def _acquire(limiter: trio.CapacityLimiter, borrower: object) -> None:
    """Take a place; no other task has a turn in between if there is one."""
    try:
        limiter.acquire_on_behalf_of_nowait(borrower)
    except trio.WouldBlock:
        await limiter.acquire_on_behalf_of(borrower)


class Gauge:
    """Counts our connections, which are a load on the server, and what delays us.

    ``opened`` counts them all, ``most`` is how many were open at once.
    """

    def __init__(self) -> None:
        self._open = 0
        self.opened = 0
        self.most = 0
        self._lag = LoopLag()
        self._stall = Stall()

    @property
    def open(self) -> int:
        """How many are open."""
        return self._open

    async def watch(self) -> None:
        """Look at the event loop's lag, for as long as it is not cancelled."""
        await self._lag.watch()

    def close(self) -> None:
        """Nothing is to be measured any more."""
        self._stall.close()

    async def driving(self, drive: Callable[[], Awaitable[_T]], count: int = 1) -> tuple[_T, Load]:
        """Drive ``count`` connections; what came of it, and what else went on meanwhile."""
        self._open += count
        self.opened += count
        self.most = max(self.most, self._open)
        at_start = self._open
        begun, stalled = trio.current_time(), self._stall.total_ns()
        try:
            found = await drive()
            lag = round(self._lag.worst_since(begun) * 1e9)
            return found, Load(at_start, self._open, lag, self._stall.total_ns() - stalled)
        finally:
            self._open -= count


class LoopLag:
    """How late the event loop is: every task of ours is so late then."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=8192)

    async def watch(self) -> None:
        """Sleep and see how late one wakes up, again and again."""
        while True:
            due = trio.current_time() + SAMPLED_EVERY
            await trio.sleep_until(due)
            lag = trio.current_time() - due
            if lag > LEAST_LAG:
                self._seen.append((due, lag))

    def worst_since(self, begun: float) -> float:
        """The longest lag of timers that were due since ``begun`` (trio's clock), in seconds."""
        worst = 0.0
        for due, lag in reversed(self._seen):
            if due < begun:
                break
            worst = max(worst, lag)
        return worst


class Stall:
    """For how long this thread was ready to run and had no processor (proc(5), schedstat)."""

    def __init__(self) -> None:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(Path("/proc/thread-self/schedstat"), os.O_RDONLY | os.O_CLOEXEC)

    def total_ns(self) -> int:
        """In nanoseconds, since the thread began; 0 where the kernel does not tell."""
        if self._file is None:
            return 0
        try:
            return int(os.pread(self._file, 80, 0).split()[1])
        except (OSError, IndexError, ValueError):
            return 0

    def close(self) -> None:
        """Ask no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
