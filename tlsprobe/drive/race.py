"""Rounds of connections that race the server's idle expiry, to the microsecond.

A round begins with a pacemaker, a connection that is left idle and shows when the server's timer
fires. The racers connect a little later and wait, all together, until their own expiry is near.
Then the round watches their sockets without yielding to anything else: a racer that answers sends
a close_notify which was encrypted beforehand, the moment its socket has something to read; a racer
that meets the expiry sends its request at a given distance from it, or from the server's first word
where that comes earlier than expected. Watching stops as soon as all have acted, and each goes on
with the rest of its sequence. How far from the expiry it came out, the capture tells.

The event loop stands still for these milliseconds. Whoever runs a round lets nothing else run that
minds.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import assert_never

import trio

from tlsprobe.drive.connection import Connection, Piece
from tlsprobe.drive.route import Route
from tlsprobe.drive.script import Racing, drive
from tlsprobe.drive.segments import piece_of
from tlsprobe.language import parse
from tlsprobe.model.sequence import Sequence, Step
from tlsprobe.model.trace import ALERTS, Drive, EventKind, Side
from tlsprobe.model.verbs import Verb

SWEEP = (-0.005, -0.002, -0.001, -0.0005, -0.0002, 0.0, 0.0002, 0.0005, 0.001, 0.002)
"""Distances from the expected expiry, in seconds, at which requests meet it; by trial."""

HEADSTART = 0.3
"""Seconds between the pacemaker's connection and the racers'."""

APART = 0.015
"""Seconds for which a racer may open undisturbed, so that its response is read when it comes."""

EARLY, LATE = 0.006, 0.150
"""Seconds around the expected expiry during which a round watches."""

SPREAD = 0.2
"""Seconds between the first expiry and the last that a round watches; who is later is left out."""

_PACEMAKER = parse("request; await close_notify idle; close_notify; fin", "pacemaker")
"""It must be done when the first racer's turn comes, whatever the server does after its alert."""


@dataclass(slots=True)
class _Racer:
    """A connection on the starting line: when its server's timer should fire, and what it sends.

    Times are ``time.perf_counter``'s. ``at`` is infinite for a racer that waits for its socket.
    """

    connection: Connection
    piece: Piece
    expiry: float
    at: float
    offset: float = 0.0
    acted: bool = False
    done: trio.Event = field(default_factory=trio.Event)


class Round:
    """One round: as many racers as were announced, started together.

    ``first`` is the index of its first trial; ``turn`` is awaited before each connection;
    ``pause_capture`` is called with the number of
    seconds for which the capture should leave the processors alone.
    """

    def __init__(
        self,
        size: int,
        offsets: Several[float] = SWEEP,
        first: int = 0,
        pause_capture: Callable[[float], None] = lambda _: None,
        turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self.size = size
        self.turn = turn
        self.pause_capture = pause_capture
        self.offsets = offsets
        self.first = first
        self.racers: list[_Racer] = []
        self.gone = 0
        self.pacemaker: Drive | None = None
        self.full = trio.Event()
        self.over = False

    async def drive(self, route: Route, sequence: Sequence) -> tuple[list[Drive], Drive]:
        """Run the round; what became of the racers, in no particular order, and the pacemaker."""
        found: list[Drive] = []
        async with trio.open_nursery() as nursery:
            await self.turn()
            nursery.start_soon(self._pace, route)
            await trio.sleep(HEADSTART)
            for _ in range(self.size):
                await self.turn()
                opened = trio.Event()
                nursery.start_soon(self._run, route, sequence, found, opened.set)
                with trio.move_on_after(APART):
                    await opened.wait()
        assert self.pacemaker is not None
        return found, self.pacemaker

    async def race(self, connection: Connection, step: Step, racing: Racing) -> None:
        """The racing step of one racer: waits until the round has been run."""
        if self.over:
            return  # whoever comes so late has missed it
        racer = self._racer(connection, step, racing)
        self.racers.append(racer)
        self._count()
        await racer.done.wait()
        if racer.acted and math.isinf(racer.at):
            connection.note(EventKind.RACED)
        elif racer.acted:
            due_ns = time.time_ns() - round((time.perf_counter() - racer.at) * 1e9)
            connection.note(EventKind.MEETS, f"{racer.offset * 1e6:.0f}", due_ns)
        elif racer.piece.is_request:
            connection.conversation.withdraw()

    def _racer(self, connection: Connection, step: Step, racing: Racing) -> _Racer:
        match racing:
            case Verb.ANSWER:
                piece = piece_of(connection, Step(Verb.CLOSE_NOTIFY))
                return _Racer(connection, piece, connection.data_at, math.inf)
            case Verb.MEET:
                index = self.first + len(self.racers)
                swept = self.offsets[index % len(self.offsets)]
                offset = swept if step.offset is None else step.offset
                piece = piece_of(connection, Step(Verb.SEND))
                return _Racer(connection, piece, connection.data_at, offset, offset)
            case _:
                assert_never(racing)

    async def _run(
        self, route: Route, sequence: Sequence, found: list[Drive], opened: Callable[[], None]
    ) -> None:
        came = False

        async def race(connection: Connection, step: Step, racing: Racing) -> None:
            nonlocal came
            came = True
            await self.race(connection, step, racing)

        found.append(await drive(route, sequence, race, opened))
        if not came:  # to the starting line: nobody need wait for it
            self.gone += 1
            self._count()

    def _count(self) -> None:
        if len(self.racers) + self.gone >= self.size:
            self.full.set()

    async def _pace(self, route: Route) -> None:
        """Learn the timeout from a connection that is left alone; then watch the racers."""
        self.pacemaker = await drive(route, _PACEMAKER)
        timeout = idle_of(self.pacemaker)
        with trio.move_on_after(route.patience.server):
            await self.full.wait()
        self.over = True
        if timeout is not None:
            for racer in self.racers:
                racer.expiry += timeout
                racer.at += racer.expiry
            first = min((min(r.expiry, r.at) for r in self.racers), default=0.0)
            await trio.sleep(max(0.0, first - EARLY - time.perf_counter()))
            racers = [r for r in self.racers if r.expiry <= first + EARLY + SPREAD]
            self.pause_capture(EARLY + SPREAD + LATE)
            watch(racers)
        for racer in self.racers:
            racer.done.set()


def watch(racers: list[_Racer]) -> None:
    """Have every racer act in time. Nothing else runs meanwhile.

    Whose time was over before the start has closed its connection, and races no more.
    """
    poll = select.poll()
    waiting = {n: racer for racer in racers if (n := racer.connection.transport.fileno()) >= 0}
    racers = list(waiting.values())
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    late = max((r.expiry for r in racers), default=0.0) + LATE
    timed = sorted((r for r in racers if not math.isinf(r.at)), key=lambda racer: racer.at)
    left = len(racers)
    while left and (now := time.perf_counter()) < late:
        while timed and timed[0].at <= now:
            _act(timed.pop(0))
            left -= 1
        for descriptor, _ in poll.poll(0):
            poll.unregister(descriptor)
            racer = waiting[descriptor]
            if math.isinf(racer.at):
                _act(racer)
                left -= 1
            elif not racer.acted:  # the server's timer fired before it was expected to
                racer.at = min(racer.at, now + max(0.0, racer.offset))
                timed.sort(key=lambda racer: racer.at)


def _act(racer: _Racer) -> None:
    """Send what was prepared; nothing is read and nothing else written down before."""
    try:
        racer.connection.transport.send_now(racer.piece.data)
    except OSError:
        return  # the reading that follows will show it
    racer.acted = True
    racer.connection.wrote(racer.piece, time.time_ns())


def idle_of(found: Drive) -> float | None:
    """Seconds from the last data to the server's first word after it; None if it said nothing."""
    answered = found.mark
    if answered is None:
        return None
    words = [r.time_ns for r in found.records if r.side is Side.SERVER and r.kind in ALERTS]
    ends = [e.time_ns for e in found.events if e.kind in {EventKind.EOF, EventKind.RESET}]
    first = min((t for t in (*words, *ends) if t > answered.time_ns), default=None)
    return None if first is None else (first - answered.time_ns) / 1e9
