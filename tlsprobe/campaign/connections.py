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


class Places:
    """So many places, that may become fewer while some are taken; who came first is served first.

    Several are taken together: two that had a part each would wait for the rest of each other's.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._line = trio.StrictFIFOLock()
        self._changed = trio.Event()

    async def take(self, count: int = 1) -> int:
        """Take ``count`` places, or all, if there are no more; how many that is.

        No other task has a turn in between if they are free.
        """
        if self._line.locked() or not self._has(count):
            async with self._line:
                while not self._has(count):
                    self._changed = trio.Event()
                    await self._changed.wait()
                return self._take(count)
        return self._take(count)

    def give_back(self, count: int = 1) -> None:
        """Give back as many as were taken."""
        self._taken -= count
        self._changed.set()

    def resize(self, total: int) -> None:
        """Have so many from now on; what is taken stays so until it is given back."""
        self.total = total
        self._changed.set()

    @asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """Have ``count`` places, or all that there are, while the block runs."""
        taken = await self.take(count)
        try:
            yield
        finally:
            self.give_back(taken)

    def _has(self, count: int) -> bool:
        return self._taken + min(count, self.total) <= self.total

    def _take(self, count: int) -> int:
        count = min(count, self.total)
        self._taken += count
        return count


class ConnectionLimits:
    """The places for open connections: so many in all, and a part of them for those that wait idle.

    The rest is kept for the others, so that nobody stands in line behind an idle timer. Who waits
    idle takes a place for that first, and then one of all: who has one of these waits for no other.
    """

    def __init__(self, most: int, concurrency: int) -> None:
        self.working = min(concurrency, max(1, most // 2))
        self._open = Places(most)
        self._idle = Places(max(1, most - self.working))

    @property
    def most(self) -> int:
        """How many connections may be open at once."""
        return self._open.total

    @property
    def idle(self) -> int:
        """How many of them may wait idle."""
        return self._idle.total

    def lower(self, most: int) -> None:
        """Allow no more than so many from now on."""
        self.working = min(self.working, max(1, most // 2))
        self._open.resize(most)
        self._idle.resize(max(1, most - self.working))

    def only_idle(self) -> None:
        """Nothing else is to come: leave one place to see whether the path is alive."""
        self._idle.resize(max(1, self.most - 1))

    def open(self, count: int = 1) -> AbstractAsyncContextManager[None]:
        """Take the places of ``count`` connections while the block runs."""
        return self._open.taken(count)

    def waiting(self, count: int) -> AbstractAsyncContextManager[None]:
        """Take ``count`` of the places for connections that wait idle while the block runs."""
        return self._idle.taken(count)

    async def wait_idle(self) -> None:
        """Take a place for a connection that waits idle, until it is given back."""
        await self._idle.take()

    def waited(self) -> None:
        """Give such a place back."""
        self._idle.give_back()


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
