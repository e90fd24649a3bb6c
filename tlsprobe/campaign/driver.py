"""Drives a campaign's connections: each when its turn has come, and with the load that it met.

Which connections there are, and what becomes of what was seen, is the campaign's
(`campaign/trials.py`). Here is what they have in common: how many are open, how fast they are
opened, whether the server is there, and that their packets are taken out of the capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import trio

from tlsprobe.campaign.connections import ConnectionLimits, Gauge
from tlsprobe.campaign.descriptors import room_for
from tlsprobe.campaign.pace import Pace
from tlsprobe.campaign.presence import EVERY_S, Presence
from tlsprobe.campaign.reach import CHECK, Reached, rate_to
from tlsprobe.campaign.repeats import PATH_TRIES
from tlsprobe.campaign.settings import Settings, delay_of
from tlsprobe.campaign.shutting import is_declined, is_shut_out
from tlsprobe.campaign.spoiled import was_timed_out
from tlsprobe.campaign.trace import forget, trace_of
from tlsprobe.drive.race import SPREAD, Round
from tlsprobe.drive.script import Route, drive
from tlsprobe.facts.bounds import bounded
from tlsprobe.language import parse
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import CellPlan, Trial
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import Drive, EventKind
from tlsprobe.shaper.link import Shaper
from tlsprobe.sniff.capture import Capture

HELD_S = 1.0
"""Seconds that a connection is held open while another one is tried, if that waits for longer."""

TIMES_ONE = 2
"""How often a second connection must wait for the first to end: a busy machine is slow, too."""

ONE_AT_A_TIME = "the server serves one connection at a time, and leaves others waiting"
"""Why no more than one of ours is open from then on."""

A_ROUND = 10
"""Connections that race the same expiry together."""

ON_LOOPBACK, ELSEWHERE = 32, 16
"""Connections that may be open at once, unless the user says otherwise."""

APART = 0.01
"""Seconds between connections that have something to do when the server's idle timer fires.

Opened together they would all be ended together, and most of our answers would come late.
"""


SLOWED, SLOWEST = 10.0, 1.0
"""Connections a second to a server that shut us out: at first, and however often it does so."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A driven connection, its packets not yet looked at.

    ``dropped`` is how many packets the capture had lost before it, None if that is not known.
    """

    found: Drive
    load: Load
    dropped: int | None


class Driver:
    """Opens connections to one server, within the limits that the user set.

    ``protocol`` is what the server speaks, ``tell`` takes notes for the report, and ``leave`` is
    called where the server went away for good.
    """

    def __init__(  # noqa: PLR0917 - what a connection depends on, from far to near
        self,
        protocol: str,
        reached: Reached,
        settings: Settings,
        capture: Capture,
        tell: Callable[[str], None],
        leave: Callable[[], None],
    ) -> None:
        self._protocol = protocol
        self._settings = settings
        self._capture = capture
        self._tell = tell
        tell_process = None if settings.process is None else settings.process.tell
        self._routes = {
            version: replace(route, announce=capture.expect, signal=tell_process)
            for version, route in reached.routes.items()
        }
        self._shaper: Shaper | None = None
        self._one_at_a_time: Callable[[str], None] = lambda _: None
        self.rate = rate_to((reached,), settings)
        most = settings.connections or (ON_LOOPBACK if reached.is_near else ELSEWHERE)
        self.limits = ConnectionLimits(most, settings.concurrency)
        self._pace = Pace(self.rate, last=trio.current_time())  # the preflight's
        self._apart = Pace(1 / APART)
        self.gauge = Gauge()
        self.gauge.opened = settings.spent + len(reached.checks)
        waits_s = max(settings.patience.server, settings.patience.answer)
        self._held_ms = int(1000 * min(HELD_S, waits_s / 3))
        every_s = max(EVERY_S, 1 / self.rate) if self.rate else EVERY_S
        self.presence = Presence(
            self._knock,
            lambda: self.gauge.open,
            leave,
            tell,
            patience_s=waits_s,
            every_s=every_s,
            slow=self._slow,
            serves_one=self._serves_one,
        )

    def when_alone(self, told: Callable[[str], None]) -> None:
        """Whom to tell that the server serves one connection at a time, once that was seen."""
        self._one_at_a_time = told

    def through(self, shaper: Shaper | None) -> None:
        """Have the connections of cells that ask for it go through a shaper."""
        self._shaper = shaper

    def _slow(self) -> None:
        """Open half as many a second: the server limits them, and shut us out."""
        rate = self.rate
        self.rate = SLOWED if rate is None else min(rate, max(SLOWEST, rate / 2))
        self._pace.slow_to(self.rate)

    def is_spoken(self, cell: CellPlan) -> bool:
        """Whether the server speaks the cell's TLS version, so that it can be driven at all."""
        return TlsVersion(cell.tls) in self._routes

    @contextmanager
    def room(self) -> Iterator[None]:
        """Let as many connections be open as are wanted, or as may be."""
        wanted = self.limits.most
        with room_for(wanted) as connections:
            if connections < wanted:
                self.limits.lower(max(2, connections))
                self._tell(
                    f"only {self.limits.most} connections are open at a time: no more files may be"
                    " open (ulimit -n)"
                )
            yield

    async def trial(
        self, cell: CellPlan, trial: Trial, opened: Callable[[], None] = lambda: None
    ) -> Ended:
        """Drive a trial when its turn has come; ``opened`` is called when its opening is over."""
        route = self._route_of(cell)
        delay = delay_of(trial, self._settings.seed)
        if delay:
            await trio.sleep(delay)
        count = cell.sequence.connections
        async with self.limits.open(count):
            if cell.sequence.acts_after_idle:
                await self._apart.turn()
            await self._turn(count)
            dropped = self._capture.dropped
            drives = lambda: drive(route, cell.sequence, opened=opened)  # noqa: E731
            begun = trio.current_time()
            found, load = await self.gauge.driving(drives, count)
        # One that takes a session of another connection waits for that first.
        took_s = 0.0 if cell.sequence.comes_back else trio.current_time() - begun
        await self.presence.saw(found, took_s)
        return Ended(found, load, dropped)

    async def _turn(self, connections: int = 1) -> None:
        """Wait until so many may start. Those that waited for the server do not start at once."""
        while True:
            await self.presence.there()
            for _ in range(connections):
                await self._pace.turn()
            if self.presence.is_there:
                return

    def round_size(self) -> int:
        """How many race together: as many as may wait beside their pacemaker, and start in time."""
        started = SPREAD * self.rate if self.rate else A_ROUND
        return int(max(1, min(A_ROUND, self.limits.idle - 1, started)))

    async def round(self, cell: CellPlan, trials: list[Trial]) -> list[Ended]:
        """Have some trials of a cell race the same expiry, beside one that shows when it comes."""
        route, count = self._route_of(cell), len(trials) + 1
        racing = Round(
            len(trials),
            first=trials[0].index,
            pause_capture=self._capture.hold,
            turn=self._pace.turn,
        )
        async with self.limits.waiting(count), self.limits.open(count):
            await self.presence.there()
            dropped = self._capture.dropped
            (found, pacemaker), load = await self.gauge.driving(
                lambda: racing.drive(route, cell.sequence), count
            )
        await self._forget(pacemaker)
        await self.presence.saw(pacemaker)
        return [Ended(one, load, dropped) for one in found]

    async def path_works(self, cell: CellPlan) -> bool | None:
        """Whether one more connection works, after all those of a cell; None: nobody can tell.

        One that only took too long may have had a slow machine against it, and is tried again. Or
        others of ours: a server that shakes hands where it accepts serves nobody while one of our
        connections that say nothing is next. One that a limit shut out is tried again, too; where
        the server says that it declines, the path to it works.
        """
        alive: bool | None = False
        route = self._routes[TlsVersion(cell.tls)]
        for _ in range(PATH_TRIES):
            async with self.limits.open():
                await self._turn()
                check, load = await self.gauge.driving(lambda: drive(route, CHECK))
            await self._forget(check)
            await self.presence.heard(check)
            if is_declined(check):
                alive = None
                continue
            if is_shut_out(check) and self.presence.limits:
                continue
            late = was_timed_out(check, load)
            if check.worked or not (check.only_late or late):
                return check.worked
            beside = check.only_late and load.at_start > 1
            alive = None if late or beside else False
        return alive

    async def seen(self, trial: Trial, ended: Ended) -> TrialFact:
        """A driven trial with its packets, as soon as all of them are here."""
        await self._capture.settle()
        lost = self._capture.dropped != ended.dropped
        trace = bounded(trace_of(self._capture, ended.found, lost, self._protocol))
        return TrialFact(trial, trace, ended.load)

    def _route_of(self, cell: CellPlan) -> Route:
        """What the connections of a cell have in common."""
        route = self._routes[TlsVersion(cell.tls)]
        return replace(route, shaper=self._shaper) if cell.sequence.is_shaped else route

    async def _serves_one(self) -> bool:
        """Whether the server serves a connection only when the one before has ended.

        Then no more than one of ours is open from now on. None is when this is tried.
        """
        for _ in range(TIMES_ONE):
            if not await self._waits_its_turn():
                return False
        self.limits.lower(1)
        self._one_at_a_time(ONE_AT_A_TIME)
        return True

    async def _waits_its_turn(self) -> bool:
        """Whether a connection is served no sooner than the one beside it has ended, and is then.

        Both are seen by their own times: the first one's end is its FIN.
        """
        route = next(iter(self._routes.values()))
        open_ = trio.Event()
        driven: list[Drive] = []
        steps = f"request; sleep {self._held_ms}ms; close_notify; fin; drain 200ms"
        held = parse(steps, "held open")

        async def hold() -> None:
            driven.append(await drive(route, held, opened=open_.set))
            open_.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await open_.wait()
            second = await drive(route, CHECK)
        self.gauge.opened += 2
        for one in (first := driven[0], second):
            await self._forget(one)
        ended, served = first.did(EventKind.FIN_SENT), second.did(EventKind.HANDSHAKEN)
        has_waited = ended is not None and served is not None and served.time_ns > ended.time_ns
        return first.worked and has_waited

    async def _knock(self) -> Drive:
        """One connection that nobody judges, to see whether the server takes it."""
        found = await drive(next(iter(self._routes.values())), CHECK)
        self.gauge.opened += 1
        await self._forget(found)
        return found

    async def _forget(self, found: Drive) -> None:
        """Take a connection's packets out of the capture's memory, unjudged."""
        if found.client is not None:
            await self._capture.settle()
            forget(self._capture, found)
