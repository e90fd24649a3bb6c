"""A server's process on this machine, which sequences tell to stop, to drain or to reload.

The lab starts its servers and starts them again. A process that somebody else runs is known by its
number, which is held by a descriptor of the kernel's, so that the signal never meets another
process that was given the same number; or by a file that holds the number (``nginx.pid``), which is
read anew each time, since whoever supervises the server starts another.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.model.sequence import MEANINGS, Signal

COMES_BACK_WITHIN = 30.0
"""Seconds within which somebody else has to have started a server again that we had stop."""

DEFAULT_STOP = "TERM"
"""What every supervisor sends to stop a program, unless it is told otherwise."""

_POLL = 0.05
_RELOADS = frozenset({Signal.RELOAD, Signal.HUP})


@dataclass(frozen=True, slots=True)
class Signalled:
    """A server's process. ``knows`` is what it can be told.

    ``tell`` tells it something and gives the name of the signal, or raises OSError. ``renew`` sees
    to it that the next connection meets a server that was not told anything; it raises
    CannotMeasure.
    """

    knows: frozenset[Signal]
    tell: Callable[[Signal], str]
    renew: Callable[[], Awaitable[None]]


def name_of(what: Signal, names: Mapping[Signal, str]) -> str:
    """The name of the signal that means this, without SIG."""
    return names.get(what, DEFAULT_STOP) if what in MEANINGS else str(what)


def known(names: Mapping[Signal, str]) -> frozenset[Signal]:
    """What a server with these names can be told: a signal by its own name, always.

    To stop as well, unless the signal for that means something else to it.
    """
    always = {what for what in Signal if what not in MEANINGS}
    stops = set() if DEFAULT_STOP in names.values() else {Signal.STOP}
    return frozenset({*always, *stops, *names})


def by_number(process: str, names: Mapping[Signal, str], host: str, port: int) -> Signalled:
    """A process that somebody else runs: its number, or the file that holds it.

    ``names`` are those of its profile; without one for it, to stop is SIGTERM. Raises UsageError
    where there is no such process, or where it is not ours to signal.
    """
    held = _Held(process, host, port)

    def tell(what: Signal) -> str:
        name = name_of(what, names)
        held.tell(signal.Signals[f"SIG{name}"], stops=what not in _RELOADS)
        return name

    return Signalled(known(names), tell, held.renew)


class _Held:
    """A process by its number, or by the file that holds the number of whoever serves just now."""

    def __init__(self, process: str, host: str, port: int) -> None:
        self.file = None if process.isdecimal() else Path(process)
        self.address = host, port
        self.pid = self._pid(process)
        self.handle = self._open(self.pid)
        self.is_stopping = False

    def _pid(self, process: str) -> int:
        if self.file is None:
            return int(process)
        try:
            return int(self.file.read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError) as error:
            hint = "write a process's number, or the file in which the server keeps its own"
            raise UsageError(f"no process number in {process}", hint) from error

    def _open(self, pid: int) -> int:
        if pid <= 1 or pid == os.getpid():
            raise UsageError(f"process {pid} is no server", "name the server's main process")
        try:
            handle = os.pidfd_open(pid)
            os.kill(pid, 0)
        except ProcessLookupError as error:
            raise UsageError(f"there is no process {pid}") from error
        except PermissionError as error:
            hint = "signalling another user's process needs root (sudo)"
            raise UsageError(f"process {pid} may not be signalled", hint) from error
        return handle

    def tell(self, which: signal.Signals, *, stops: bool) -> None:
        signal.pidfd_send_signal(self.handle, which)
        self.is_stopping = stops

    async def renew(self) -> None:
        """Wait until the address is served by a process that was not told to stop."""
        deadline = time.monotonic() + COMES_BACK_WITHIN
        if self.is_stopping:
            await self._ended(deadline)
            os.close(self.handle)
            if self.file is None:
                raise CannotMeasure(
                    f"process {self.pid} has ended as it was told, and nobody knows who follows",
                    "for more than one trial name the file that holds its number: --signal FILE",
                )
            await self._follower(deadline)
            self.is_stopping = False
        while not await self._accepts():
            await self._wait(deadline)

    async def _ended(self, deadline: float) -> None:
        with trio.move_on_after(max(0.0, deadline - time.monotonic())):
            await trio.lowlevel.wait_readable(self.handle)
            return
        raise CannotMeasure(
            f"process {self.pid} was told to stop {COMES_BACK_WITHIN:g} s ago, and runs on"
        )

    async def _follower(self, deadline: float) -> None:
        before = self.pid
        while True:
            with suppress(UsageError):
                self.pid = self._pid(str(self.file))
                if self.pid != before:
                    self.handle = self._open(self.pid)
                    return
            await self._wait(deadline)

    async def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            hint = "have it started again by a supervisor, or measure one trial (--trials 1)"
            raise CannotMeasure(f"no server came back within {COMES_BACK_WITHIN:g} s", hint)
        await trio.sleep(_POLL)

    async def _accepts(self) -> bool:
        try:
            with trio.fail_after(1):
                stream = await trio.open_tcp_stream(*self.address)
        except (OSError, trio.TooSlowError):
            return False
        await stream.aclose()
        return True
