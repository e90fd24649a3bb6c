"""Runs a campaign: which connections are opened when, and what becomes of each.

Cells are taken one after the other, so that a path which dies of one kind of close is known to
have died of that one; the trials of a cell run side by side. Idle sequences wait beside all of
this from the beginning, since waiting costs nothing. Each trial is judged as soon as the capture
has everything that was on the wire, and handed on at once: what was measured outlives a Ctrl-C.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import trio

from tlsprobe.catalogue import control_of
from tlsprobe.drive.script import drive
from tlsprobe.judge.cell import cell_of, control_resets, is_open, settle
from tlsprobe.judge.verdict import judge
from tlsprobe.language import format_groups
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import CaptureFacts, Cell, CellPlan, JudgedTrial, Trial
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target, TlsVersion, endpoint
from tlsprobe.model.trace import Coverage, Deed, Drive, Trace
from tlsprobe.protocols import Conversations
from tlsprobe.runner.reach import CHECK, Reached, numeric, reach
from tlsprobe.runner.settings import Settings, Watcher, plan
from tlsprobe.wire import sniffer
from tlsprobe.wire.flows import flow

CONTROL_TRIALS = 3
"""Connections spent on a control that the user did not ask for."""

MAX_IDLE = 512
"""Connections that wait idle at the same time, at most."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a campaign found; ``capture`` is final, ``interrupted`` says that it was cut short."""

    cells: tuple[Cell, ...]
    capture: CaptureFacts
    address: str
    interrupted: bool
    notes: tuple[str, ...] = ()


async def measure(  # noqa: PLR0917 - the parts of a probe, in their order
    target: Target,
    converse: Conversations,
    sequences: Iterable[Sequence],
    settings: Settings,
    watcher: Watcher,
    stop: trio.Event,
) -> Measured:
    """Probe one target with every sequence in every TLS version.

    Setting ``stop`` ends it early with what was measured. Raises CannotMeasure when nothing can
    be: unreachable, no TLS, every handshake refused, a required capture not to be had.
    """
    reached = await reach(target, converse, settings)
    host, port = numeric(reached.address)
    async with sniffer.open_capture(
        settings.capture, settings.require_capture, settings.interface, host, port, settings.pcapng
    ) as capture:
        if capture.warning:
            watcher.warned(capture.warning)
        campaign = _Campaign(target.protocol, reached, settings, watcher, capture)
        await campaign.run(plan(sequences, settings), stop)
    notes = [capture.warning] if capture.warning else []
    notes += [f"the capture ended early: {capture.broken}"] if capture.broken else []
    return Measured(
        cells=campaign.cells(),
        capture=capture.facts(),
        address=endpoint(host, port),
        interrupted=stop.is_set(),
        notes=tuple(notes),
    )


class _Campaign:
    """The state of one target's campaign while it runs."""

    def __init__(
        self,
        protocol: str,
        reached: Reached,
        settings: Settings,
        watcher: Watcher,
        capture: sniffer.Capture,
    ) -> None:
        self.protocol = protocol
        self.reached = reached
        self.settings = settings
        self.watcher = watcher
        self.capture = capture
        self.routes = {
            version: replace(route, announce=capture.expect)
            for version, route in reached.routes.items()
        }
        self.plans: list[CellPlan] = []
        self.trials: defaultdict[CellPlan, list[JudgedTrial]] = defaultdict(list)
        self.path_alive: dict[CellPlan, bool] = {}
        self.told: defaultdict[CellPlan, set[str]] = defaultdict(set)
        self.working = trio.CapacityLimiter(settings.concurrency)
        self.idling = trio.CapacityLimiter(MAX_IDLE)
        self.next_start = 0.0

    async def run(self, plans: tuple[CellPlan, ...], stop: trio.Event) -> None:
        self.plans = list(plans)
        self.watcher.planned(plans)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, stop, nursery.cancel_scope)
            await self.all_cells([p for p in plans if p.tls in self.routes])
            await self.controls()
            nursery.cancel_scope.cancel()

    async def all_cells(self, plans: list[CellPlan]) -> None:
        async with trio.open_nursery() as nursery:
            for cell in plans:
                if cell.sequence.is_idle:
                    nursery.start_soon(self.cell, cell)
            for cell in plans:
                if not cell.sequence.is_idle:
                    await self.cell(cell)

    async def controls(self) -> None:
        """Add the controls that would settle an RST's cause and that nobody asked for."""
        known = {(cell.sequence.groups, cell.tls) for cell in self.plans}
        for cell in tuple(self.plans):
            control = control_of(cell.sequence)
            if control is None or (control.groups, cell.tls) in known or control.is_idle:
                continue
            if is_open(trial.judgement for trial in self.trials[cell]):
                known.add((control.groups, cell.tls))
                steps = format_groups(control.groups)
                added = CellPlan(control, steps, cell.tls, CONTROL_TRIALS, "control")
                self.plans.append(added)
                await self.cell(added)

    async def cell(self, cell: CellPlan) -> None:
        async with trio.open_nursery() as nursery:
            for index in range(cell.trials):
                nursery.start_soon(self.trial, cell, index)
        check = await drive(self.routes[TlsVersion(cell.tls)], CHECK)
        self.path_alive[cell] = check.worked
        await self.forget(check)

    async def trial(self, cell: CellPlan, index: int) -> None:
        route = self.routes[TlsVersion(cell.tls)]
        async with self.idling if cell.sequence.is_idle else self.working:
            await self.turn()
            dropped = self.capture.dropped
            found = await drive(route, cell.sequence)
        await self.capture.settle()
        trace = self.trace(found, lost=self.capture.dropped != dropped)
        judgement = judge(trace, self.told[cell])
        self.told[cell].add(judgement.signature)
        trial = Trial(cell.sequence.name, cell.tls, index)
        judged = JudgedTrial(trial, found, judgement)
        self.trials[cell].append(judged)
        self.watcher.judged(judged)

    async def turn(self) -> None:
        """Wait until the rate allows another connection."""
        if self.settings.rate:
            now = trio.current_time()
            mine = max(now, self.next_start)
            self.next_start = mine + 1 / self.settings.rate
            await trio.sleep_until(mine)

    def trace(self, found: Drive, lost: bool) -> Trace:
        """Script and wire in one, up to where our side left."""
        if self.capture.backend == "none" or found.client is None:
            return Trace(found, (), Coverage.NONE, self.protocol)
        frames = self.capture.take(found.client)
        ends = sniffer.endpoint(found.client), sniffer.endpoint(found.server)
        segments, coverage = flow(frames, *ends, link=self.capture.link)
        left = found.did(Deed.LEFT)
        seen = tuple(s for s in segments if left is None or s.time_ns <= left.time_ns)
        if lost or coverage is Coverage.NONE:
            coverage = Coverage.HOLES
        return Trace(found, seen, coverage, self.protocol)

    async def forget(self, found: Drive) -> None:
        """Take a connection's packets out of the capture's memory, unjudged."""
        if found.client is not None:
            await self.capture.settle()
            self.capture.take(found.client)

    def cells(self) -> tuple[Cell, ...]:
        """Every planned cell with what was measured of it, ambiguous causes settled."""
        return tuple(self.finished(cell) for cell in self.plans)

    def finished(self, cell: CellPlan) -> Cell:
        refused = self.reached.refused.get(TlsVersion(cell.tls))
        if refused is not None:
            verdict = Verdict.UNSUPPORTED
            return Cell(
                cell.sequence.name, cell.steps, cell.tls, 0, verdict, reason=refused.failure
            )
        return cell_of(cell, self.settled(cell), self.path_alive.get(cell))

    def settled(self, cell: CellPlan) -> list[JudgedTrial]:
        trials = self.trials[cell]
        control = control_of(cell.sequence)
        if control is None:
            return trials
        found = self.measured(control, cell.tls)
        resets, count = control_resets(trial.judgement for trial in found)
        name = control.name
        return [replace(t, judgement=settle(t.judgement, name, resets, count)) for t in trials]

    def measured(self, sequence: Sequence, tls: str) -> list[JudgedTrial]:
        return [
            trial
            for cell, trials in self.trials.items()
            if cell.sequence.groups == sequence.groups and cell.tls == tls
            for trial in trials
        ]


async def _cancel_at(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
