"""Runs a campaign: which connections are opened in which order, and what becomes of each.

Cells are taken one after the other, so that a path which dies of one kind of close is known to
have died of that one; the trials of a cell run side by side. Idle sequences wait beside all of
this from the beginning, since waiting costs nothing. Each trial is judged as soon as the capture
has everything that was on the wire, and handed on at once: what was measured outlives a Ctrl-C,
and what an earlier run left unfinished is gone on with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import inf

import trio

from tlsprobe.campaign.again import IDLE_TRIALS, calm, room_unseen, uncrowd
from tlsprobe.campaign.capturing import Capturing, capturing
from tlsprobe.campaign.collapses import Gone
from tlsprobe.campaign.controls import controls_for, vouchers
from tlsprobe.campaign.driver import Driver, Ended
from tlsprobe.campaign.judging import CONTROL, RunInJudgement
from tlsprobe.campaign.pace import Place, cancel_at, in_time, unless_stopped
from tlsprobe.campaign.planning import LONG_IDLE, Room, bound_of, pacing_of, plan_of
from tlsprobe.campaign.reach import Reached, numeric, reach
from tlsprobe.campaign.settings import Measured, Settings, Watcher, in_order, plan
from tlsprobe.campaign.shaping import Shaping, shaping
from tlsprobe.campaign.signalling import signalled
from tlsprobe.campaign.spoiled import TIMED, Driven
from tlsprobe.facts.file import FactsInMemory, FactsStore
from tlsprobe.model.facts import (
    CrowdedFact,
    EndFact,
    Fact,
    GoneFact,
    PathFact,
    PlanFact,
    PlannedCell,
)
from tlsprobe.model.run import CellPlan, JudgedTrial, Plan, Trial
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target, endpoint
from tlsprobe.protocols import Conversations, is_commanded, spoken
from tlsprobe.report.plurals import counted
from tlsprobe.sniff.capture import Capture

_Opened = trio.TaskStatus[None]

BETWEEN_ROUNDS = 0.4
"""Seconds between rounds that run side by side: their expiries must not meet."""

COUNTS_S = 0.25
"""Seconds that are counted at a time of those that a server is given."""

ROOM_UNKNOWN = (
    "our own connections may have filled the server, and there was no time to see whether they had"
)


async def measure(  # noqa: PLR0917 - the parts of a probe, in their order
    target: Target,
    converse: Conversations,
    sequences: Iterable[Sequence],
    settings: Settings,
    watcher: Watcher,
    stop: trio.Event,
    facts: FactsStore | None = None,
    capture_with: Capturing = capturing,
    vendor: str = "",
) -> Measured:
    """Probe one target with every sequence in every TLS version.

    Everything that is seen goes to ``facts``; what they hold already was measured before, and is
    not measured again. ``vendor`` is the server's own profile, where the target's is one that it is
    like. Setting ``stop`` ends it early with what was measured. Raises CannotMeasure when nothing
    can be: unreachable, no TLS, every handshake refused, a required capture not to be had.
    """
    begun, within = trio.current_time(), settings.within
    reached = await unless_stopped(
        stop,
        lambda: in_time(within, lambda: reach(target, converse, settings), str(target)),
        "before anything was measured",
    )
    host, port = numeric(reached.address)
    captured = None if is_commanded(converse) else port
    opened = partial(capturing, led_to=reached.led_to) if reached.led_to else capture_with
    async with opened(settings, host, captured, watcher.warned) as capture:
        capture.open_with(settings.identity.keylog)
        store = FactsInMemory() if facts is None else facts
        campaign = _Campaign(
            spoken(target), reached, settings, watcher, capture, store, vendor or target.profile
        )
        asked = plan(sequences, settings)
        async with shaping(asked, reached, settings.namespace) as shaped:
            campaign.through(shaped)
            campaign.leaves_at = inf if within is None else begun + within
            with campaign.driver.room():
                await campaign.run(shaped.plans, stop)
    return campaign.end(interrupted=stop.is_set())


BEHIND = "the server is blamed for an end only where more than the end itself says that it made it"
"""What is told of a run whose connections a program on this machine passes on, or may."""


def translation_note(reached: Reached) -> str:
    """What NAT on this machine does to the connections, and whether they can be followed."""
    servers = ", ".join(dict.fromkeys(endpoint(*one.server) for one in reached.translated))
    told = f"NAT on this machine (a rule of nft or iptables) takes the connections to {servers}"
    lost = ", from other ports of ours as well: what cannot be followed is inconclusive"
    return told + (lost if reached.is_renumbered else "")


def path_notes(reached: Reached) -> Iterator[str]:
    """What lies between us and the server on this machine, as far as is known."""
    if reached.translated:
        yield translation_note(reached)
    if reached.behind:
        yield f"{reached.behind}; {BEHIND}"


def by_turns(servers: Collection[tuple[str, int]]) -> str:
    """What is not known where NAT spreads the connections over several servers."""
    names = ", ".join(endpoint(*server) for server in servers)
    return f"the connections went to {names} by turns: what is said may hold for one of them alone"


def other_servers(names: Collection[str]) -> str:
    """What is not known where another server answered in the midst of a run."""
    told = ", then ".join(names)
    return f"the server called itself {told}: what is said may hold for one of them alone"


SHUNS = (
    "from some time on the server ended each connection before it began, as one that bans us does"
)
"""Why there is no answer where a server shuts out whoever opened many connections."""

GONE = "nobody listened any more for a moment, time and again, right behind these closes"
ENDED_WITH = "other connections ended together with these closes, time and again"
FELL = (
    "together with others, however long they had been quiet, as one does that is told to reload, is"
    " started again or crashes: its idle timeouts may be longer than those that were measured"
)
CRASHES = "so does a server of which a process crashes on them"


class _Campaign:
    """The state of one target's campaign while it runs."""

    def __init__(  # noqa: PLR0917 - the parts of a campaign, in their order
        self,
        protocol: str,
        reached: Reached,
        settings: Settings,
        watcher: Watcher,
        capture: Capture,
        facts: FactsStore,
        vendor: str = "",
    ) -> None:
        self.reached = reached
        self.settings = settings
        self.watcher = watcher
        self.capture = capture
        self.facts = facts
        self.judgement = RunInJudgement(vendor)
        self.opening = trio.CapacityLimiter(settings.concurrency)
        self.begun = trio.current_time()
        self.leaves_at = self.allowed_s = inf
        self.has_room = False
        self.told: Plan | None = None
        self.tells_at = self.begun
        self.notes = [capture.warning] if capture.warning else []
        self.while_there = trio.CancelScope()
        leave = self.while_there.cancel
        self.driver = Driver(protocol, reached, settings, capture, self.warn, leave)
        self.driver.when_alone(self.one_at_a_time)
        self.serves_one = False

    def through(self, shaped: Shaping) -> None:
        """Have the connections of cells that ask for it go through a shaper."""
        self.driver.through(shaped.shaper)
        if shaped.left_out:
            self.warn(shaped.left_out)

    def warn(self, note: str) -> None:
        """Tell whoever watches, and the report."""
        self.notes.append(note)
        self.watcher.warned(note)

    def one_at_a_time(self, because: str) -> None:
        """The server serves one connection at a time: so many of ours are open from now on."""
        self.serves_one = True
        self.note(CrowdedFact(1, because))
        self.warn(f"{because}: from now on one of ours is open, which takes longer")

    async def run(self, plans: tuple[CellPlan, ...], stop: trio.Event) -> None:
        self.take_up()
        self.note(self.reached.fact)
        for note in path_notes(self.reached):
            self.warn(note)
        self.note(PlanFact(tuple(map(_planned, plans))))
        missing = {cell: len(self.missing(cell)) for cell in plans}
        self.told = self.plan_of(missing)
        if self.settings.within is not None:
            whole = self.plan_of({cell: cell.trials for cell in plans})
            self.allowed_s = bound_of(whole, pacing_of(self.reached.checks))
        self.watcher.told(self.told)
        self.watcher.planned(missing)
        self.tell()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            nursery.start_soon(self.driver.gauge.watch)
            nursery.start_soon(self.leave_in_time)
            others = [cell for cell in plans if not cell.sequence.signals]
            with self.while_there:
                await self.all_cells(in_order(others, self.settings.seed))
                self.learn_limits()
                most, expected_s = self.driver.limits.most, self.settings.expected_idle
                await uncrowd(self, others, most, expected_s, is_known=self.serves_one)
                self.has_room = True
                self.learn_limits()
                await calm(self, others)
                await self.paths_alone(others)
                await self.controls()
                if self.settings.process is not None:
                    stops = [cell for cell in plans if cell.sequence.signals]
                    await signalled(self, stops, self.settings.process)
            nursery.cancel_scope.cancel()
        self.driver.gauge.close()
        if self.driver.presence.gone is not None:
            self.is_left(self.driver.presence.gone, self.driver.presence.seen_ns)
        elif self.driver.presence.shuns_ns is not None:
            self.is_left(SHUNS, self.driver.presence.shuns_ns, shuns=True)
        elif self.while_there.cancelled_caught:
            took_s = trio.current_time() - self.begun
            self.is_left(f"this target's time was over: {took_s:.0f} s")
            room = self.room_unseen(plans)
            if room is not None and not self.has_room:
                self.note(CrowdedFact(room, ROOM_UNKNOWN))
                self.warn(ROOM_UNKNOWN)

    def learn_limits(self) -> None:
        """Have all judged anew where what some trials met is only known by what came later."""
        if self.judgement.limits_us:
            self.judgement.catch_up(self.facts.read)

    async def leave_in_time(self) -> None:
        """Leave the server when its time is over, whatever it does: its trials may never end.

        Seconds by which we were late are not the server's, up to when it has to be left at last.
        """
        left_s = self.allowed_s
        while left_s > 0 and trio.current_time() < self.leaves_at:
            await trio.sleep(min(left_s, COUNTS_S))
            left_s -= COUNTS_S
        self.while_there.cancel()

    def is_left(self, why: str, since_ns: int | None = None, *, shuns: bool = False) -> None:
        """Write down, and say, why the server was left in the midst of the campaign.

        It was away from ``since_ns`` on, if it was; or it ``shuns`` us from then on.
        """
        self.note(GoneFact(since_ns, why, shuns))
        left = sum(len(self.missing(cell)) for cell in self.judgement.plans)
        self.warn(f"{why}: {counted(left, 'trial')} not driven" if left else why)

    def plan_of(self, missing: Mapping[CellPlan, int]) -> Plan:
        """What the trials that are missing will cost."""
        pacing = pacing_of(self.reached.checks)
        settings = replace(self.settings, rate=self.driver.rate)
        room = Room(self.driver.limits.most, self.driver.limits.working, self.driver.round_size())
        measurable = {c: c.trials for c in missing if self.driver.is_spoken(c)}
        begun = self.driver.gauge.opened
        behind = bool(self.reached.behind)
        return plan_of(
            *(missing, settings, pacing, room),
            begun=begun,
            measurable=measurable,
            behind=behind,
        )

    # --- facts --------------------------------------------------------------------------------

    def take_up(self) -> None:
        """Learn what was measured before."""
        for fact in self.facts.read():
            self.judgement.learn(fact)
        self.judgement.catch_up(self.facts.read)

    def note(self, fact: Fact) -> None:
        """Write a fact down, and learn it."""
        self.facts.append(fact)
        self.judgement.learn(fact)

    def missing(self, cell: CellPlan) -> list[Trial]:
        """The trials of a cell that are still to be driven."""
        if not self.driver.is_spoken(cell):
            return []
        known = {trial.trial.index for trial in self.judgement.trials(cell)}
        indices = (index for index in range(cell.trials) if index not in known)
        return [Trial(cell.sequence.name, cell.tls, index) for index in indices]

    # --- cells and trials ---------------------------------------------------------------------

    async def all_cells(self, plans: list[CellPlan]) -> None:
        """Idle cells beside all the others; races too, if they take long, else by themselves.

        While a race is watched nothing else runs in this process, for some milliseconds. The first
        connection that waits idle is opened before any other: its timeout cannot have been
        shortened because there are many.
        """
        races = [cell for cell in plans if cell.sequence.is_race]
        long = self.settings.patience.idle >= LONG_IDLE
        timed = next((c for c in plans if c.sequence.name == TIMED and self.missing(c)), None)
        async with trio.open_nursery() as nursery:
            if timed is not None:
                await nursery.start(self.cell, timed)
            for cell in plans:
                if cell is timed:
                    continue
                if cell.sequence.is_idle and (long or cell not in races):
                    nursery.start_soon(self.cell, cell)
            for cell in plans:
                if not cell.sequence.is_idle:
                    await self.cell(cell)
            self.driver.limits.only_idle()
        for cell in [] if long else races:
            await self.cell(cell)

    async def controls(self) -> None:
        """Measure the controls that would tell an RST's cause and that nobody asked for.

        Those that wait for an idle timer wait side by side.
        """
        async with trio.open_nursery() as nursery:
            for cell in self.wanted_controls():
                if cell.sequence.is_idle:
                    nursery.start_soon(self.cell, cell)
                else:
                    await self.cell(cell)

    def wanted_controls(self) -> Iterator[CellPlan]:
        """The controls that were begun before, and those that what was measured asks for."""
        plans = self.judgement.plans
        known = {(cell.sequence.groups, cell.tls) for cell in plans}
        for cell in plans:
            if cell.role == CONTROL:
                yield cell
                continue
            said = [trial.judgement for trial in self.judgement.trials(cell)]
            vouching = vouchers(cell, self.judgement.vouchers_wanted(cell))
            for added in (*controls_for(cell, said), *vouching):
                if (added.sequence.groups, added.tls) in known:
                    continue
                known.add((added.sequence.groups, added.tls))
                self.note(PlanFact((_planned(added),)))
                yield added

    async def cell(
        self, cell: CellPlan, *, task_status: _Opened = trio.TASK_STATUS_IGNORED
    ) -> None:
        missing = self.missing(cell)
        done = not missing and self.judgement.is_path_known(cell)
        if not self.driver.is_spoken(cell) or done:
            return
        if cell.sequence.is_race:
            await self.rounds(cell, missing)
        elif cell.sequence.is_idle:
            await self.waiters(cell, missing, task_status)
        else:
            await self.trials_of(cell, missing)
        await self.path(cell)
        self.tell()

    async def trials_of(self, cell: CellPlan, trials: list[Trial]) -> None:
        """Drive a cell's trials, so many at a time, and judge each as soon as it has ended."""
        left = iter(trials)
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                for trial in left:
                    ended = await self.trial(cell, trial)
                    nursery.start_soon(self.judge, trial, ended)

            for _ in range(min(self.driver.limits.working, len(trials))):
                nursery.start_soon(work)

    async def waiters(self, cell: CellPlan, trials: list[Trial], opened: _Opened) -> None:
        """Drive trials that wait idle, most of their time and side by side.

        Few are opened at a time: thousands of handshakes at once would last longer than a server
        has patience, or we. ``opened`` is told when the first of them is.
        """
        async with trio.open_nursery() as nursery:

            async def wait(
                trial: Trial, *, task_status: _Opened = trio.TASK_STATUS_IGNORED
            ) -> None:
                opening = Place(self.opening, trial, task_status.started)
                try:
                    ended = await self.driver.trial(cell, trial, opening.leave)
                finally:
                    opening.leave()
                    self.driver.limits.waited()
                await self.judge(trial, ended)

            for trial in trials:
                await self.driver.limits.wait_idle()
                if self.driver.limits.most == 1 and trial.index >= IDLE_TRIALS:
                    self.driver.limits.waited()
                    break  # each waits by itself, and none tells more than the first
                await self.opening.acquire_on_behalf_of(trial)
                if trial is trials[0]:
                    await nursery.start(wait, trial)
                    opened.started()
                else:
                    nursery.start_soon(wait, trial)

    async def trial(self, cell: CellPlan, trial: Trial) -> Ended:
        """Drive a trial when its turn has come."""
        return await self.driver.trial(cell, trial)

    async def rounds(self, cell: CellPlan, trials: list[Trial]) -> None:
        """Races against the idle expiry, ten to a round; rounds that take long side by side."""
        long, size = False, self.driver.round_size()
        chunks = [trials[at : at + size] for at in range(0, len(trials), size)]
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
        for trial, ended in zip(trials, await self.driver.round(cell, trials), strict=True):
            await self.judge(trial, ended)

    # --- once more ----------------------------------------------------------------------------

    def room_unseen(self, plans: Iterable[CellPlan]) -> int | None:
        """What has to be taken for the server's room, where nobody can look; None: nothing.

        Whom a server of which processes die turned away, or ended early, may have met that.
        """
        return None if self.dies else room_unseen(self.seen(plans), self.settings.expected_idle)

    def seen(self, cells: Iterable[CellPlan]) -> list[Driven]:
        """The trials of some cells so far."""
        return [
            Driven(cell, judged, self.judgement.load_of(judged.trial))
            for cell in cells
            for judged in self.judgement.trials(cell)
        ]

    @property
    def dies(self) -> bool:
        """Whether the server itself said that a process of its had died."""
        return self.judgement.dies

    def limit(self, most: int) -> None:
        """Have no more connections open at once from now on."""
        self.driver.limits.lower(most)

    async def alone(self, driven: Driven) -> Driven:
        """Drive a trial once more with no other connection open."""
        trial = driven.judged.trial
        judged = await self.judge(trial, await self.trial(driven.cell, trial))
        return Driven(driven.cell, judged, self.judgement.load_of(trial))

    async def again(self, chosen: list[Driven], at_once: int) -> None:
        """Drive some trials once more, so many at a time; races in rounds of their own."""
        races: dict[CellPlan, list[Trial]] = {}
        left = [(one.cell, one.judged.trial) for one in chosen if not one.cell.sequence.is_race]
        for one in chosen:
            if one.cell.sequence.is_race:
                races.setdefault(one.cell, []).append(one.judged.trial)
        waiting = iter(left)

        async def work() -> None:
            for cell, trial in waiting:
                await self.judge(trial, await self.trial(cell, trial))

        async with trio.open_nursery() as nursery:
            for _ in range(min(at_once, len(left))):
                nursery.start_soon(work)
        for cell, trials in races.items():
            await self.rounds(cell, trials)
        if chosen:
            self.tell()

    async def judge(self, trial: Trial, ended: Ended) -> JudgedTrial:
        """Write a driven trial down as soon as all its packets are here, and judge it."""
        fact = await self.driver.seen(trial, ended)
        self.facts.append(fact)
        judged = self.judgement.judge(fact)
        self.watcher.judged(judged)
        return judged

    async def path(self, cell: CellPlan) -> None:
        """See whether one more connection works after the trials of a cell, and note it.

        That none does is no work of a close to which no trial has come.
        """
        if self.driver.is_spoken(cell):
            alive = await self.path_works(cell)
            said = (trial.judgement for trial in self.judgement.trials(cell))
            if alive or (alive is False and any(judgement.outcome.reached for judgement in said)):
                self.note(PathFact(cell.sequence.name, cell.tls, alive))

    async def paths_alone(self, cells: Iterable[CellPlan]) -> None:
        """Look for those cells of which nobody could tell, now that no other connection is open.

        One connection a TLS version tells for all of them: what let none through is dead still.
        """
        alive: dict[str, bool | None] = {}
        for cell in cells:
            if self.judgement.is_path_known(cell) or not self.judgement.trials(cell):
                continue
            if cell.tls not in alive:
                alive[cell.tls] = await self.path_works(cell)
            works = alive[cell.tls]
            if works is not None:
                self.note(PathFact(cell.sequence.name, cell.tls, works))

    async def path_works(self, cell: CellPlan) -> bool | None:
        """Whether one more connection works, after all those of a cell; None: nobody can tell."""
        return await self.driver.path_works(cell)

    # --- what was found -----------------------------------------------------------------------

    def tell(self) -> None:
        """Hand on everything so far, if it is time: it is what is left if nobody comes back."""
        if trio.current_time() >= self.tells_at:
            self.watcher.progressed(self.answer(interrupted=True))
            self.tells_at = trio.current_time() + self.watcher.every

    def end(self, interrupted: bool) -> Measured:
        """The campaign's last answer: every trial judged with all that is known by now."""
        for fact in self.watcher.witnessed():
            self.note(fact)
        if gone := self.judgement.gone_behind:
            self.warn(f"{GONE}: {_listed(gone)}; {CRASHES}")
        if ended := self.judgement.ended_with:
            self.warn(f"{ENDED_WITH}: {_listed(ended)}; {CRASHES}")
        elif fell := self.judgement.fell:
            self.warn(f"the server ended {counted(fell, 'connection')} {FELL}")
        if len(self.capture.servers_met) > 1:
            self.warn(by_turns(self.capture.servers_met))
        if names := self.judgement.names:
            self.warn(other_servers(names))
        self.judgement.catch_up(self.facts.read)
        measured = self.answer(interrupted)
        self.note(EndFact(measured.capture, interrupted, measured.notes))
        return measured

    def answer(self, interrupted: bool) -> Measured:
        """The campaign's answer, as far as it has come."""
        capture = self.capture.facts()
        notes = (*self.notes, *([capture.note] if capture.note else ()))
        address = endpoint(*numeric(self.reached.address))
        judged = self.judgement.answer()
        spent = Plan(
            self.driver.gauge.opened,
            self.driver.gauge.most,
            round(trio.current_time() - self.begun, 1),
        )
        return Measured(judged, capture, address, interrupted, notes, self.told, spent)


def _listed(closes: Iterable[Gone]) -> str:
    return ", ".join(f"{one.sequence} (in {one.trials} of {one.of} trials)" for one in closes)


def _planned(cell: CellPlan) -> PlannedCell:
    return PlannedCell(cell.sequence.name, cell.steps, cell.tls, cell.trials, cell.role)
