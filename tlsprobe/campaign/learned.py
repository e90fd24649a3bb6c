"""What the facts of a run tell about each other: what is known of a trial that it does not show.

A trial's trace shows what happened on its connection. How the server ends its other connections,
what a control did, whether its kernel gave up, what load there was, all that is told by facts of
the same run; ``Learned`` takes them one by one, and says of each trial what is known by now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from tlsprobe.campaign.collapses import Absences, Collapses, close_of
from tlsprobe.campaign.crashes import Crashes
from tlsprobe.campaign.shutting import ShutOuts, is_unheard
from tlsprobe.catalogue import alert_alone, control_of
from tlsprobe.judge.digest import Tally, digest_of
from tlsprobe.judge.idle import CLEAR_S, CLEARLY
from tlsprobe.lab.kernel_comparison import Decisions, endpoint_of
from tlsprobe.language import parse
from tlsprobe.model.facts import (
    CrowdedFact,
    Fact,
    GoneFact,
    KernelFact,
    PlanFact,
    PlannedCell,
    ReachedFact,
    TrialFact,
)
from tlsprobe.model.far_side import FarFact
from tlsprobe.model.judgement import Control
from tlsprobe.model.knowledge import AlertAlone, CellEnds, Digest, Knowledge, Silence, Timer
from tlsprobe.model.protocols import HTTP
from tlsprobe.model.run import CellPlan, Crowding, Trial
from tlsprobe.model.sequence import Group, Sequence
from tlsprobe.model.target import endpoint

VOUCHER, FIN_VOUCHER = "close-notify-only", "fin-with-request"
"""Closes that no proxy which speaks TCP alone answers by itself: an alert is nothing to it, and
where it closes at a FIN, the response that is owed behind that does not come."""

CAUGHT = 3
"""RSTs with a sign of another machine, from which on a box on the way is taken to make them."""

Name = tuple[str, str]
"""A cell's sequence and TLS version."""

_Close = tuple[tuple[Group, ...], str]
"""What is done, and in which TLS version, by whatever name."""


def alone(fact: TrialFact) -> Knowledge:
    """What is known about a trial of which the others tell nothing."""
    return Knowledge(load=fact.load, near=fact.trace.drive.is_near)


@dataclass(frozen=True, slots=True)
class KnownTrial:
    """What is kept of a trial when its trace is on disk.

    ``while_open``: from the first event of its connection to the last, in ns. ``unheard``: the
    server said nothing to it. ``place``: its number among the trial facts.
    """

    trial: Trial
    client: str
    while_open: range
    digest: Digest
    alone: Knowledge
    unheard: bool = False
    place: int = 0

    @property
    def name(self) -> Name:
        """The cell that it is one of."""
        return self.trial.sequence, self.trial.tls


class Learned:
    """What a run's facts have told by now; a trial's place is its number among the trial facts.

    Of a trial that was driven once more, the earlier one counts for nothing.
    """

    def __init__(self) -> None:
        self.plans: dict[Name, CellPlan] = {}
        self.trials: list[KnownTrial] = []
        self.places: defaultdict[Name, list[int]] = defaultdict(list)
        self.repeated: Counter[Name] = Counter()
        self.replaced: set[int] = set()
        self.crowding: Crowding | None = None
        self._latest: dict[Trial, int] = {}
        self._controls: dict[Name, Sequence | None] = {}
        self._waiting: set[Name] = set()  # cells that wait for an idle timer of the server
        self._by_cell: defaultdict[Name, Tally] = defaultdict(Tally)
        self._by_close: defaultdict[_Close, Tally] = defaultdict(Tally)
        self._by_version: defaultdict[str, Tally] = defaultdict(Tally)
        self._cell_ends: tuple[CellEnds, ...] | None = None
        self.address = self.ended_by = ""
        self.passed_on = False
        self._far: defaultdict[str, list[FarFact]] = defaultdict(list)
        self._decisions = Decisions()
        self._expiries: defaultdict[Name, dict[int, Silence]] = defaultdict(dict)
        self._timers: tuple[Timer, ...] | None = ()
        self._took: defaultdict[str, int] = defaultdict(int)  # by sequence, in either version
        self._foreign: Counter[str] = Counter()  # by sequence
        self._shut_outs = ShutOuts()
        self._collapses = Collapses()
        self._names: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by sequence
        self.absences, self.crashes = Absences(), Crashes()

    @property
    def shuts_out(self) -> bool:
        """Whether the server ended connections without a word at times, and served others."""
        return self._shut_outs.at_times

    @property
    def limits_us(self) -> bool:
        """Whether some trials may have met a limit of the server's, and not what they tried."""
        return self._shut_outs.were_seen or bool(self._fallen)

    @property
    def fell(self) -> int:
        """How many connections the server ended together with others, for whatever reason."""
        return len(self._fallen)

    def place_of(self, trial: Trial) -> int | None:
        """Where a trial stands, of one that was driven once more the last; None before it came."""
        return self._latest.get(trial)

    @property
    def names(self) -> tuple[str, ...]:
        """What the server called itself where the same steps met several names, as they came.

        Other steps may be answered by another program of the same server: a proxy's own errors are.
        """
        several = (names for names in self._names.values() if len(names) > 1)
        return tuple(dict.fromkeys(name for names in several for name in names))

    def settle(self) -> None:
        """Find what takes all that was learned so far, and is not looked for with each fact."""
        fallen = self._fallen
        self._collapses.settle()
        if self._fallen != fallen:
            self._timers = None

    # --- learning -------------------------------------------------------------------------------

    def learn(self, fact: Fact) -> None:
        """Take one more fact."""
        match fact:
            case TrialFact():
                self._learn_trial(fact)
            case PlanFact():
                self._learn_plan(fact)
            case ReachedFact():
                self.address, self.passed_on = fact.address, fact.passed_on
                self.ended_by = fact.ended_by or self.ended_by
            case CrowdedFact():
                self.crowding = Crowding(fact.most_open, fact.because)
                if fact.most_open:
                    self._shut_outs.has_room_for(fact.most_open)
            case GoneFact():
                self._learn_gone(fact)
            case FarFact():
                self._far[fact.client].append(fact)
            case KernelFact():
                self._decisions.learn(fact.resets)
            case _:
                pass

    def _learn_trial(self, fact: TrialFact) -> None:
        trial, drive, place = fact.trial, fact.trace.drive, len(self.trials)
        client = endpoint(*drive.client) if drive.client else ""
        times = [event.time_ns for event in drive.events] or [0]
        name = trial.sequence, trial.tls
        knowledge = replace(alone(fact), waits_idle=name in self._waiting, offered=trial.tls)
        digest = digest_of(fact.trace)
        while_open = range(times[0], times[-1] + 1)
        known = KnownTrial(trial, client, while_open, digest, knowledge, is_unheard(drive), place)
        if name not in self.plans or not self.plans[name].sequence.uploads:
            self._shut_outs.see(drive, max(fact.load.at_start, fact.load.at_end))
        if name not in self.plans or not self.plans[name].sequence.signals:
            close = close_of(place, trial.sequence, fact.trace, waits=name in self._waiting)
            for seeing in (self._collapses, self.absences, self.crashes):
                seeing.see(close)
        if drive.server_says and fact.trace.protocol in HTTP:  # greetings of others tell the time
            self._names[trial.sequence][drive.server_says] = None
        earlier = self._latest.get(trial)
        if earlier is not None:
            self._forget(earlier)
        self._latest[trial] = place
        self.trials.append(known)
        self.places[name].append(place)
        self._count(known)
        self._learn_expiry(place, known)
        self._took[trial.sequence] = max(self._took[trial.sequence], digest.took_ns)
        self._foreign[trial.sequence] += digest.foreign

    def _forget(self, place: int) -> None:
        """Leave a trial out that was driven once more: the later one has the say."""
        known = self.trials[place]
        self._count(known, -1)
        self.places[known.name].remove(place)
        if self._expiries[known.name].pop(place, None) is not None:
            self._timers = None
        self.repeated[known.name] += 1
        self.replaced.add(place)

    def _count(self, known: KnownTrial, times: int = 1) -> None:
        """Have a trial of the plan counted; -1 ``times``: no more."""
        self._cell_ends = None
        plan = self.plans.get(known.name)
        if plan is not None:
            tls = known.trial.tls
            self._by_cell[known.name].count(known.digest, times)
            self._by_close[plan.sequence.groups, tls].count(known.digest, times)
            self._by_version[tls].count(known.digest, times)

    def _learn_gone(self, fact: GoneFact) -> None:
        """Of what went on when the server was last seen nobody knows whether its death ended it."""
        if fact.since_ns is None:
            return
        for place, known in enumerate(self.trials):
            if known.while_open.stop > fact.since_ns:
                told = replace(known.alone, gone_ns=fact.since_ns)
                self.trials[place] = replace(known, alone=told)
                for expiries in self._expiries.values():
                    expiries.pop(place, None)
        self._timers = None

    def _learn_expiry(self, place: int, known: KnownTrial) -> None:
        """An idle timer that was waited for, and fired."""
        if known.name not in self.plans or known.name not in self._waiting:
            return
        silence = known.digest.silence if known.digest.reached else None
        if silence is not None and silence.server_first:
            self._expiries[known.name][place] = silence
            self._timers = None

    def _learn_plan(self, fact: PlanFact) -> None:
        for cell in fact.cells:
            name, plan = (cell.sequence, cell.tls), plan_of(cell)
            self.plans[name] = plan
            self._controls[name] = _control_of(plan.sequence)
            if plan.sequence.is_idle or plan.sequence.is_race:
                self._waiting.add(name)
            else:
                self._waiting.discard(name)

    # --- knowing --------------------------------------------------------------------------------

    def about(self, known: KnownTrial) -> Knowledge:
        """What is known about a trial by now.

        What cannot bear on it is left out, so that it need not be judged again when that grows.
        """
        name, digest = known.name, known.digest
        sequence, tls = name
        far = self._far_side(known) if digest.before_fin or digest.after_fin else None
        silence = digest.silence
        timers = self._fired() if silence is not None and not silence.server_first else ()
        alone = known.alone
        if far is not None or timers:
            alone = replace(alone, far=far, timers=timers)
        if digest.waited and (took := self._took[sequence]):
            alone = replace(alone, took_ns=took)
        if digest.gave_up and self._foreign[sequence] and self._foreign.total() >= CAUGHT:
            alone = replace(alone, foreign=self._foreign.total())
        if digest.gave_up and (odd := self._foreign.total()):
            alone = replace(alone, odd=odd)
        if digest.gave_up and self._kernel_gave_up(known):
            alone = replace(alone, gave_up=True)
        if (room := self._room_for(known)) is not None:
            alone = replace(alone, room=room)
        alone = self._with_others(known, alone)
        if digest.spoke and name in self.plans:
            alone = replace(alone, alert_alone=self._alert_alone(name))
        if digest.wordless and self._is_its_way(tls, digest):
            alone = replace(alone, wordless=True)
        if digest.after_fin and self._by_version[tls].aborts_after:
            alone = replace(alone, aborts_after=True)
        if not digest.gave_up or name not in self.plans:
            return alone
        if self._cell_ends is None:
            # how a server ends that is told to stop is not how it ends its connections otherwise
            cells = (
                (cell, tally)
                for cell, tally in self._by_cell.items()
                if tally.trials and not self.plans[cell].sequence.signals
            )
            self._cell_ends = tuple(tally.as_cell_ends(*cell) for cell, tally in cells)
        control = self._control(name)
        own = self._by_cell[name].as_cell_ends(*name)
        return replace(alone, control=control, cell_ends=self._cell_ends, own=own)

    def _with_others(self, known: KnownTrial, alone: Knowledge) -> Knowledge:
        """The same with what befell others of ours at that time, and may have been why it ended."""
        if known.unheard and self._shut_outs.may_have_met(known.while_open.start):
            alone = replace(alone, shut_out=True)
        return replace(alone, fell=True) if known.place in self._fallen else alone

    @property
    def _fallen(self) -> frozenset[int]:
        """The places of quiet connections that a process's death may have ended."""
        return self._collapses.fallen | self.absences.fallen | self.crashes.fallen

    def _room_for(self, known: KnownTrial) -> int | None:
        """How many connections the server has room for, if a trial had more of ours open."""
        load = known.alone.load
        if self.crowding is None or load is None:
            return None
        most = self.crowding.most_open
        if most == 0 and not known.alone.waits_idle and known.digest.reached:
            return None
        return most if max(load.at_start, load.at_end) > most else None

    def _kernel_gave_up(self, known: KnownTrial) -> bool:
        """Whether the server's kernel says that it gave a trial's connection up by itself.

        That the RST was made there is all that a judgement learns of it, and not why.
        """
        if not known.client or not self.address:
            return False
        ends = endpoint_of(self.address), endpoint_of(known.client)
        return self._decisions.has(*ends, known.while_open)

    def _is_its_way(self, tls: str, digest: Digest) -> bool:
        """Whether an end without an alert is as the server makes them, and not a proxy's.

        A server may answer our alert without one and have one for idle connections, which a proxy
        with a shorter timer ends first, or have one for a FIN, at which a proxy may close. How it
        ends those by itself, its ends tell that nothing of ours called for but what was said inside
        TLS. A program that is known to pass the connections on may drop the alert of each.
        """
        if self.passed_on:
            return False
        if digest.silence is None and not digest.at_fin:
            return self._is_wordless(tls)
        if digest.silence is None and self._is_heard_out(tls):
            return True
        ends = self._by_version[tls]
        return ends.led >= CAUGHT and not ends.worded

    def _is_wordless(self, tls: str) -> bool:
        """Whether the server closes without an alert where no proxy before it would close."""
        return self._by_version[tls].unasked >= CAUGHT

    def _is_heard_out(self, tls: str) -> bool:
        """Whether responses come behind a FIN of ours, at which no proxy on the way closes then."""
        return self._by_version[tls].heard_out >= CAUGHT

    def _far_side(self, known: KnownTrial) -> FarFact | None:
        """What was seen of a trial's connection on the far side of a router, if anything."""
        seen = self._far.get(known.client, ())
        return next((fact for fact in seen if fact.began_ns in known.while_open), None)

    def _control(self, name: Name) -> Control | None:
        """What the same close with nothing left unread did, in this run."""
        control = self._controls[name]
        if control is None:
            return None
        return self._by_close[control.groups, name[1]].as_control(control.name)

    def _alert_alone(self, name: Name) -> AlertAlone | None:
        """What the same close without the bytes behind our close_notify did, in this run."""
        control = alert_alone(self.plans[name].sequence)
        if control is None:
            return None
        return self._by_close[control.groups, name[1]].as_alert_alone(control.name)

    def vouchers_wanted(self, plan: CellPlan) -> tuple[str, ...]:
        """Closes that tell whose a cell's ends without an alert are, if they may be a proxy's.

        What ended a silence such closes do not tell.
        """
        name = plan.sequence.name, plan.tls
        ends = (self.trials[place] for place in self.places[name])
        doubted = {
            known.digest.at_fin
            for known in ends
            if known.digest.silence is None and known.digest.wordless and not known.alone.near
        }
        wanted = [VOUCHER] if False in doubted and not self._is_wordless(plan.tls) else []
        if True in doubted and not self._is_heard_out(plan.tls):
            wanted.append(FIN_VOUCHER)
        return tuple(wanted)

    def _fired(self) -> tuple[Timer, ...]:
        """The idle timers that the run saw fire, worked out when one more did."""
        if self._timers is None:
            fallen = self._fallen
            fired = (
                [one for place, one in seen.items() if place not in fallen]
                for seen in self._expiries.values()
            )
            self._timers = tuple(dict.fromkeys(timer_of(seen) for seen in fired if seen))
        return self._timers


def timer_of(fired: Iterable[Silence]) -> Timer:
    """A timer as the trials of a cell saw it fire.

    It counts from the accept only where the times from there agree clearly better: a server that
    was slow to shake hands spreads them out.
    """
    seen = list(fired)
    accepted = [s.since_accept for s in seen if s.since_accept is not None]
    exchanged = [s.since_exchange for s in seen]
    spread = max(exchanged) - min(exchanged)
    closer = bool(accepted) and _is_closer(max(accepted) - min(accepted), spread)
    since_accept = (min(accepted), max(accepted)) if closer else None
    return Timer((min(exchanged), max(exchanged)), since_accept)


def _is_closer(accepts_ns: int, exchanges_ns: int) -> bool:
    return exchanges_ns - accepts_ns > CLEAR_S * 1e9 and exchanges_ns > CLEARLY * accepts_ns


_sequence_of = lru_cache(maxsize=1024)(parse)
_control_of = lru_cache(maxsize=1024)(control_of)
"""Cells of both versions, and most runs of a folder, have the same sequences."""


def plan_of(cell: PlannedCell) -> CellPlan:
    """The plan that was written down. Raises SequenceError."""
    sequence = _sequence_of(cell.steps, cell.sequence)
    return CellPlan(sequence, cell.steps, cell.tls, cell.trials, cell.role)
