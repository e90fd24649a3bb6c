"""The engine of one machine: a process for each processor, and as many targets as the guard allows.

Every process has a part of this machine's ports to connect from, and one sniffer for all of its
targets. See `worker`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.fleet.guard import Guard
from tlsprobe.fleet.orders import Ended, Lag, Lost, Order, Stop, Word, packed, words
from tlsprobe.model.target import Ports
from tlsprobe.sniff.route import local_ports

SOON_S = 0.05
"""Seconds between two looks at whether a process has come in the place of one that died."""

SILENT_DEATHS = 3
"""So many processes that end before they say a word, one after the other, and we give up."""


def command_for(ports: Ports) -> list[str]:
    """What starts a process that probes."""
    return [sys.executable, "-P", "-m", "tlsprobe.fleet.worker", str(ports)]


@dataclass(slots=True)
class _Process:
    """A process that probes, and which targets it has; ``heard``: it has said something."""

    process: trio.Process
    targets: set[int] = field(default_factory=set)
    heard: bool = False
    saying: trio.Lock = field(default_factory=trio.Lock)

    async def say(self, word: Order | Stop) -> None:
        """Tell it something; whether it is still there is for its listener to find out."""
        assert self.process.stdin is not None
        async with self.saying:
            # Closed: we found out meanwhile, and have its pipes closed.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.process.stdin.send_all(packed(word))


class Embedded:
    """The processes of this machine: ``workers`` of them, never more than ``most`` targets."""

    def __init__(self, workers: int, most: int) -> None:
        self.workers = workers
        self.guard = Guard(min(workers, most), most)
        self._processes: list[_Process] = []
        self._hears: Callable[[Word], None] = lambda _: None

    @property
    def allowed(self) -> int:
        """As many as leave the event loops on time."""
        return self.guard.allowed

    @property
    def _ordered(self) -> int:
        return sum(len(one.targets) for one in self._processes)

    @asynccontextmanager
    async def running(self, hears: Callable[[Word], None]) -> AsyncIterator[None]:
        """Have processes that probe, until the block ends."""
        self._hears = hears
        async with trio.open_nursery() as nursery:
            for ports in split(local_ports(), self.workers):
                await nursery.start(self._process, ports)
            yield
            nursery.cancel_scope.cancel()

    def has_room(self) -> bool:
        """Whether the guard allows one more, and there is a process that does it."""
        return bool(self._processes) and self._ordered < self.guard.allowed

    def one_at_a_time(self) -> None:
        """From now on, no two targets are to be probed at once."""
        self.guard = Guard(1, 1)

    async def order(self, order: Order) -> None:
        """Let the least busy process begin, once there is one again if the last has died."""
        while not self._processes:
            await trio.sleep(SOON_S)
        process = min(self._processes, key=lambda one: len(one.targets))
        process.targets.add(order.target)
        await process.say(order)

    async def stop(self) -> None:
        """Tell the processes of a Ctrl-C."""
        for one in self._processes:
            await one.say(Stop())

    async def end(self, target: int) -> None:
        """Have one target end, with what it has measured."""
        for one in self._that_probe(target):
            await one.say(Stop(target))

    def kill(self, target: int) -> None:
        """Kill the process that probes a target, and with it whatever else it probes."""
        for one in self._that_probe(target):
            one.process.kill()

    def _that_probe(self, target: int) -> list[_Process]:
        """The process that probes a target; none if that is over."""
        return [one for one in self._processes if target in one.targets]

    async def _process(
        self,
        ports: Ports,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have a process with ports of its own; in the place of one that dies comes another.

        What those of one that dies had measured is lost. Raises CannotMeasure when each
        dies before it says a word.
        """
        silent = 0
        while silent < SILENT_DEATHS:
            process = await trio.lowlevel.open_process(
                command_for(ports),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
            one = _Process(process)
            self._processes.append(one)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                await self._listen(one)
            finally:
                with trio.CancelScope(shield=True):
                    await _ended(process)
            self._processes.remove(one)
            for target in sorted(one.targets):
                self._hears(Lost(target, "the process that probed it died"))
            silent = 0 if one.heard else silent + 1
        raise CannotMeasure("the processes that probe end at once", "see what they wrote")

    async def _listen(self, one: _Process) -> None:
        """Take in what a process says until it ends."""
        assert one.process.stdout is not None
        async for word in words(one.process.stdout):
            one.heard = True
            if isinstance(word, Lag):
                self.guard = self.guard.after(word.seconds, self._ordered, time.monotonic())
            if isinstance(word, Ended | Lost):
                one.targets.discard(word.target)
            self._hears(word)


async def _ended(process: trio.Process) -> None:
    """A process has nothing left to do: close its pipes, and wait for it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()
    with trio.move_on_after(5):
        await process.wait()
        return
    process.kill()
    await process.wait()


def split(ports: Ports, parts: int) -> list[Ports]:
    """The same ports in so many ranges."""
    size = (ports.last - ports.first + 1) // parts
    begins = [ports.first + at * size for at in range(parts)]
    return [Ports(first, first + size - 1) for first in begins]
