"""One sniffer for every server that is probed over an interface at the same time.

    async with shared_captures(Ports(32768, 46000)) as sharing:
        async with sharing.capture("auto", "127.0.0.1", 5432) as capture:
            ...                     # as with `open_capture`, as often and as many as one likes

A sniffer each would cost a process, and every packet a look from every socket. All connections
leave from a range of ports of our own, so that one filter serves servers that nobody knows of yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tlsprobe.model.target import Ports
from tlsprobe.packets.frames import ETHERNET, key_of
from tlsprobe.packets.packet import endpoints
from tlsprobe.sniff import route
from tlsprobe.sniff.backends import Backend, Where
from tlsprobe.sniff.capture import (
    Capture,
    Secrets,
    beside,
    candidates_for,
    first_that_works,
    refuse,
    warning_of,
    where_to,
    written,
)
from tlsprobe.sniff.demultiplexer import Demultiplexer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsprobe.packets.packet import Endpoint
    from tlsprobe.sniff.protocol import Arrival


class Sorter:
    """Hands each frame of an interface to whoever probes the server that it comes from or goes to.

    Two may probe the same server: each keeps the connections that it announced.
    """

    def __init__(self) -> None:
        self.link = ETHERNET
        self._by_server: dict[Endpoint, list[Demultiplexer]] = {}

    @contextmanager
    def taking(self, demultiplexer: Demultiplexer) -> Iterator[None]:
        """Frames of its server go there while the block runs."""
        takers = self._by_server.setdefault(demultiplexer.server, [])
        takers.append(demultiplexer)
        try:
            yield
        finally:
            takers.remove(demultiplexer)
            if not takers:
                del self._by_server[demultiplexer.server]

    def file(self, arrivals: Iterable[Arrival]) -> None:
        """Sort a batch; the order within a connection stays."""
        sorted_: dict[Demultiplexer, list[Arrival]] = {}
        for arrival in arrivals:
            key = key_of(arrival[2], self.link)
            if not key:
                continue
            for end in endpoints(key):
                for taker in self._by_server.get(end, ()):
                    sorted_.setdefault(taker, []).append(arrival)
        for taker, batch in sorted_.items():
            taker.file(batch)


@dataclass(slots=True)
class _Interface:
    """A sniffer that runs, or why there is none."""

    sorter: Sorter
    backend: Backend | None
    reasons: list[str]


@dataclass(slots=True)
class SharedCaptures:
    """The sniffers of all interfaces that were needed so far."""

    ports: Ports
    _nursery: trio.Nursery
    _end: trio.Event = field(default_factory=trio.Event)
    _interfaces: dict[str, _Interface] = field(default_factory=dict)
    _opening: trio.Lock = field(default_factory=trio.Lock)

    @asynccontextmanager
    async def capture(
        self, choice: str, host: str, port: int, *, require: bool, pcapng: Path | None
    ) -> AsyncIterator[Capture]:
        """Captures what this machine and a server say, as `open_capture` does.

        ``dropped`` counts what the shared sniffer has lost since, whosever it was: a packet that
        nobody saw may have been anybody's. Raises CannotMeasure as `open_capture` does.
        """
        demultiplexer = Demultiplexer((route.packed(host), port))
        candidates = candidates_for(choice)
        where, trouble = where_to(None, host, port, "") if candidates else (None, None)
        if where is None:
            found = _Interface(Sorter(), None, [trouble] if trouble else [])
        else:
            found = await self._sniffer(where, candidates)
        if where is None or found.backend is None:
            refuse(choice, require, found.reasons)
            yield Capture(None, demultiplexer, None, warning_of(None, choice, found.reasons))
            return
        demultiplexer.link, secrets = found.sorter.link, Secrets()
        warning = warning_of(found.backend, choice, found.reasons)
        begun = found.backend.dropped or 0
        with (
            found.sorter.taking(demultiplexer),
            written(demultiplexer, where, found.backend, pcapng, secrets),
        ):
            yield Capture(
                where, demultiplexer, found.backend, warning, secrets, dropped_before=begun
            )
            await found.backend.settle()

    async def _sniffer(self, where: Where, candidates: tuple[str, ...]) -> _Interface:
        """The sniffer of an interface, started for the first who needs it.

        Where one has broken off, the next who needs it gets another.
        """
        name = where.interface.name
        async with self._opening:
            known = self._interfaces.get(name)
            if known is None or (known.backend is not None and known.backend.broken):
                known = await self._nursery.start(self._sniff, where, candidates)
                self._interfaces[name] = known
        return known

    async def _sniff(
        self,
        where: Where,
        candidates: tuple[str, ...],
        *,
        task_status: trio.TaskStatus[_Interface] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the sniffer of an interface until all are to end."""
        sorter = Sorter()
        everyone = Where(where.interface, None, None, ours=self.ports)
        backend, reasons = await first_that_works(candidates, everyone, sorter)
        if backend is None:
            task_status.started(_Interface(sorter, None, reasons))
            return
        try:
            async with beside(backend, sorter):
                task_status.started(_Interface(sorter, backend, reasons))
                await self._end.wait()
        finally:
            await backend.reap()

    def end(self) -> None:
        """Let every sniffer end."""
        self._end.set()


@asynccontextmanager
async def shared_captures(ports: Ports) -> AsyncIterator[SharedCaptures]:
    """Captures for whatever is connected to from these ports, while the block runs."""
    async with trio.open_nursery() as nursery:
        shared = SharedCaptures(ports, nursery)
        try:
            yield shared
        finally:
            shared.end()
