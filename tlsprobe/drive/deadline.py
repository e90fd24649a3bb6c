"""Waits for a socket that end at a deadline, with one timer for all connections.

A cancel scope around each wait costs more than the wait itself. Almost every wait of a drive ends
with bytes, long before its deadline; so deadlines are only written down, and one task sleeps until
the first of them. It wakes a waiter as if the socket were about to be closed, which is trio's way
to wake whoever waits for one.
"""

from __future__ import annotations

import math
import socket
from heapq import heappop, heappush
from itertools import count

import trio


class Deadline:
    """A time of trio's clock at which waiting ends; ``over`` once nobody waits for it any more."""

    __slots__ = ("_written_down", "at", "over", "waiting")

    def __init__(self, at: float) -> None:
        self.at = at
        self.over = False
        self.waiting: socket.socket | None = None
        self._written_down = False

    async def readable(self, one: socket.socket) -> bool:
        """Wait until there is something to receive: bytes, EOF or an error.

        False if the deadline came first.
        """
        if self.at <= trio.current_time():
            await trio.lowlevel.checkpoint()
            return False
        if not self._written_down:
            self._written_down = True
            _alarm().set(self)
        self.waiting = one
        try:
            await trio.lowlevel.wait_readable(one)
        except trio.ClosedResourceError:
            return False
        finally:
            self.waiting = None
        return True


class _Alarm:
    """The deadlines of one ``trio.run``, and the task that watches them."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._order = count()
        self._next = math.inf
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._watch)

    def set(self, deadline: Deadline) -> None:
        """Wake the deadline's waiter in time."""
        heappush(self._deadlines, (deadline.at, next(self._order), deadline))
        if deadline.at < self._next:
            self._next = self._scope.deadline = deadline.at

    async def _watch(self) -> None:
        deadlines = self._deadlines
        while True:
            with self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            while deadlines and (deadlines[0][0] <= now or deadlines[0][2].over):
                waiting = heappop(deadlines)[2].waiting
                if waiting is not None:
                    trio.lowlevel.notify_closing(waiting)
            self._next = deadlines[0][0] if deadlines else math.inf
            self._scope = trio.CancelScope(deadline=self._next)


_running: trio.lowlevel.RunVar[_Alarm] = trio.lowlevel.RunVar("tlsprobe.drive.deadline")


def _alarm() -> _Alarm:
    try:
        return _running.get()
    except LookupError:
        alarm = _Alarm()
        _running.set(alarm)
        return alarm
