"""Runs a campaign: which connections are opened when, and what becomes of each.

Cells are taken one after the other, so that a path which dies of one kind of close is known to
have died of that one; the trials of a cell run side by side. Idle sequences wait beside all of
this from the beginning, since waiting costs nothing. Each trial is judged as soon as the capture
has everything that was on the wire, and handed on at once: what was measured outlives a Ctrl-C,
and what an earlier run left unfinished is gone on with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import trio

from tlsprobe.campaign.pace import Pace, cancel_at
from tlsprobe.campaign.reach import CHECK, Reached, numeric, reach
from tlsprobe.campaign.settings import (
    NOTHING_MEASURED,
    Measured,
    ResumeState,
    Settings,
    Watcher,
    delay_of,
    in_order,
    plan,
)
from tlsprobe.campaign.watching import trace_of
from tlsprobe.catalogue import control_of
from tlsprobe.drive.race import Round
from tlsprobe.drive.script import drive
from tlsprobe.errors import Interrupted
from tlsprobe.judge import verdict
from tlsprobe.judge.cell import cell_of, control_resets, is_open, settle
from tlsprobe.language import format_groups
from tlsprobe.model.judgement import Judgement, Verdict
from tlsprobe.model.run import Cell, CellPlan, JudgedTrial, Trial, stamp
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target, TlsVersion, endpoint
from tlsprobe.model.trace import Drive
from tlsprobe.protocols import Conversations, spoken
from tlsprobe.sniff import capture as sniffer

CONTROL_TRIALS = 3
"""Connections spent on a control that the user did not ask for."""

A_ROUND = 10
"""Connections that race the same expiry together."""

LONG_IDLE = 20.0
"""Seconds of idling from which on races run beside everything else, so that nobody waits twice."""

BETWEEN_ROUNDS = 0.4
"""Seconds between rounds that run side by side: their expiries must not meet."""

MAX_IDLE = 512
"""Connections that wait idle at the same time, at most."""


async def measure(  # noqa: PLR0917 - the parts of a probe, in their order
    target: Target,
    converse: Conversations,
    sequences: Iterable[Sequence],
    settings: Settings,
    watcher: Watcher,
    stop: trio.Event,
    before: ResumeState = NOTHING_MEASURED,
) -> Measured:
    """Probe one target with every sequence in every TLS version.

    Setting ``stop`` ends it early with what was measured; what was measured ``before`` is counted
    and not measured again. Raises CannotMeasure when nothing can be: unreachable, no TLS, every
    handshake refused, a required capture not to be had.
    """
    reached = await _unless(stop, lambda: reach(target, converse, settings))
    host, port = numeric(reached.address)
    async with sniffer.open_capture(
        settings.capture, settings.require_capture, settings.interface, host, port, settings.pcapng
    ) as capture:
        capture.open_with(settings.identity.keylog)
        if capture.warning:
            watcher.warned(capture.warning)
        campaign = _Campaign(spoken(target), reached, settings, watcher, capture, before)
        await campaign.run(plan(sequences, settings), stop)
    measured = campaign.answer(campaign.cells(), interrupted=stop.is_set())
    return replace(measured, trials=campaign.all_settled())


class _Campaign:
    """The state of one target's campaign while it runs."""

    def __init__(  # noqa: PLR0917 - the parts of a campaign, in their order
        self,
        protocol: str,
        reached: Reached,
        settings: Settings,
        watcher: Watcher,
        capture: sniffer.Capture,
        before: ResumeState,
    ) -> None:
        self.protocol = protocol
        self.reached = reached
        self.settings = settings
        self.watcher = watcher
        self.capture = capture
        self.before = before
        self.known = _by_cell(before.trials)
        self.routes = {
            version: replace(route, announce=capture.expect)
            for version, route in reached.routes.items()
        }
        self.plans: list[CellPlan] = []
        self.trials: defaultdict[CellPlan, list[JudgedTrial]] = defaultdict(list)
        self.path_alive: dict[CellPlan, bool] = {}
        self.told: defaultdict[CellPlan, set[str]] = defaultdict(set)
        self.shown: dict[CellPlan, Cell] = {}
        self.working = trio.CapacityLimiter(settings.concurrency)
        self.idling = trio.CapacityLimiter(MAX_IDLE)
        self.pace = Pace(settings.rate)

    async def run(self, plans: tuple[CellPlan, ...], stop: trio.Event) -> None:
        for cell in plans:
            self.take_up(cell)
        self.watcher.planned({cell: len(self.missing(cell)) for cell in plans})
        self.tell()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            await self.all_cells(in_order(plans, self.settings.seed))
            await self.controls()
            nursery.cancel_scope.cancel()

    # --- what was measured before -------------------------------------------------------------

    def take_up(self, cell: CellPlan) -> None:
        """Make a cell part of the campaign, with whatever of it was measured before."""
        name = cell.sequence.name, cell.tls
        self.plans.append(cell)
        self.trials[cell] = list(self.known[name].values())
        self.told[cell] = {
            trial.judgement.signature for trial in self.trials[cell] if trial.judgement.ladder
        }
        if name in self.before.path_alive:
            self.path_alive[cell] = self.before.path_alive[name]
        self.shown[cell] = self.finished(cell)

    def missing(self, cell: CellPlan) -> list[Trial]:
        """The trials of a cell that are still to be driven."""
        if TlsVersion(cell.tls) not in self.routes:
            return []
        known = {trial.trial.index for trial in self.trials[cell]}
        indices = (index for index in range(cell.trials) if index not in known)
        return [Trial(cell.sequence.name, cell.tls, index) for index in indices]

    # --- cells and trials ---------------------------------------------------------------------

    async def all_cells(self, plans: list[CellPlan]) -> None:
        """Idle cells beside all the others; races too, if they take long, else by themselves.

        While a race is watched nothing else runs in this process, for some milliseconds.
        """
        races = [cell for cell in plans if cell.sequence.is_race]
        long = self.settings.patience.idle >= LONG_IDLE
        async with trio.open_nursery() as nursery:
            for cell in plans:
                if cell.sequence.is_idle and (long or cell not in races):
                    nursery.start_soon(self.cell, cell)
            for cell in plans:
                if not cell.sequence.is_idle:
                    await self.cell(cell)
        for cell in [] if long else races:
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
                self.take_up(added)
                await self.cell(added)

    async def cell(self, cell: CellPlan) -> None:
        missing = self.missing(cell)
        if TlsVersion(cell.tls) not in self.routes or (not missing and cell in self.path_alive):
            return
        if cell.sequence.is_race:
            await self.rounds(cell, missing)
        else:
            async with trio.open_nursery() as nursery:
                for trial in missing:
                    nursery.start_soon(self.trial, cell, trial)
        self.path_alive[cell] = await self.path_works(cell)
        self.shown[cell] = self.finished(cell)
        self.tell()

    async def trial(self, cell: CellPlan, trial: Trial) -> None:
        route = self.routes[TlsVersion(cell.tls)]
        async with self.idling if cell.sequence.is_idle else self.working:
            await trio.sleep(delay_of(trial, self.settings.seed))
            await self.pace.turn()
            dropped = self.capture.dropped
            found = await drive(route, cell.sequence)
        await self.judge(cell, trial, found, dropped)

    async def rounds(self, cell: CellPlan, trials: list[Trial]) -> None:
        """Races against the idle expiry, ten to a round; rounds that take long side by side."""
        long = False
        chunks = [trials[at : at + A_ROUND] for at in range(0, len(trials), A_ROUND)]
        async with trio.open_nursery() as nursery:
            for number, chunk in enumerate(chunks):
                begun = trio.current_time()
                if number and long:
                    nursery.start_soon(self.round, cell, chunk)
                    await trio.sleep(BETWEEN_ROUNDS)
                else:
                    await self.round(cell, chunk)
                    long = trio.current_time() - begun > LONG_IDLE

    async def round(self, cell: CellPlan, trials: list[Trial]) -> None:
        route = self.routes[TlsVersion(cell.tls)]
        dropped = self.capture.dropped
        racing = Round(len(trials), first=trials[0].index, pause_capture=self.capture.hold)
        found, pacemaker = await racing.drive(route, cell.sequence)
        await self.forget(pacemaker)
        for trial, one in zip(trials, found, strict=True):
            await self.judge(cell, trial, one, dropped)

    async def judge(self, cell: CellPlan, trial: Trial, found: Drive, dropped: int | None) -> None:
        """Judge a driven trial as soon as all its packets are here, and hand it on."""
        await self.capture.settle()
        lost = self.capture.dropped != dropped
        trace = trace_of(self.capture, found, lost, self.protocol)
        judgement = verdict.judge(trace, self.told[cell])
        self.told[cell].add(judgement.signature)
        judged = _judged(trial, found, judgement)
        self.trials[cell].append(judged)
        self.watcher.judged(judged)

    async def path_works(self, cell: CellPlan) -> bool:
        """Whether one more connection works, after all those of a cell."""
        await self.pace.turn()
        check = await drive(self.routes[TlsVersion(cell.tls)], CHECK)
        await self.forget(check)
        return check.worked

    async def forget(self, found: Drive) -> None:
        """Take a connection's packets out of the capture's memory, unjudged."""
        if found.client is not None:
            await self.capture.settle()
            self.capture.take(found.client)

    # --- what was found -----------------------------------------------------------------------

    def tell(self) -> None:
        """Hand on everything so far: it is what is left if nobody comes back."""
        self.watcher.progressed(self.answer(tuple(self.shown.values()), interrupted=True))

    def answer(self, cells: tuple[Cell, ...], interrupted: bool) -> Measured:
        """The campaign's answer, with these cells."""
        notes = [self.capture.warning] if self.capture.warning else []
        if self.capture.broken:
            notes.append(f"the capture ended early: {self.capture.broken}")
        address = endpoint(*numeric(self.reached.address))
        return Measured(cells, self.capture.facts(), address, interrupted, tuple(notes))

    def cells(self) -> tuple[Cell, ...]:
        """Every planned cell with what was measured of it, ambiguous causes settled."""
        return tuple(self.finished(cell) for cell in self.plans)

    def finished(self, cell: CellPlan) -> Cell:
        refused = self.reached.refused.get(TlsVersion(cell.tls))
        if refused is not None and not self.trials[cell]:
            no = Verdict.UNSUPPORTED
            return Cell(cell.sequence.name, cell.steps, cell.tls, 0, no, reason=refused.failure)
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

    def all_settled(self) -> tuple[JudgedTrial, ...]:
        """Every trial, as its cell counts it."""
        return tuple(trial for cell in self.plans for trial in self.settled(cell))

    def measured(self, sequence: Sequence, tls: str) -> list[JudgedTrial]:
        return [
            trial
            for cell, trials in self.trials.items()
            if cell.sequence.groups == sequence.groups and cell.tls == tls
            for trial in trials
        ]


async def _unless(stop: trio.Event, work: Callable[[], Awaitable[Reached]]) -> Reached:
    """Do the work, unless it is stopped first. Raises Interrupted then."""
    done: list[Reached] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
        done.append(await work())
        nursery.cancel_scope.cancel()
    if not done:
        raise Interrupted("interrupted before anything was measured")
    return done[0]


def _by_cell(
    trials: Iterable[JudgedTrial],
) -> defaultdict[tuple[str, str], dict[int, JudgedTrial]]:
    """Trials by sequence and TLS version, then by their index."""
    cells: defaultdict[tuple[str, str], dict[int, JudgedTrial]] = defaultdict(dict)
    for judged in trials:
        cells[judged.trial.sequence, judged.trial.tls][judged.trial.index] = judged
    return cells


def _judged(trial: Trial, found: Drive, judgement: Judgement) -> JudgedTrial:
    begun = found.events[0].time_ns / 1e9 if found.events else 0.0
    client = endpoint(*found.client) if found.client else ""
    started = stamp(datetime.fromtimestamp(begun, UTC))
    return JudgedTrial(trial, judgement, started, client, found.failure)
