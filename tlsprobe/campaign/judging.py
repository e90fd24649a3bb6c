"""From the facts of a run to what is said of it: facts, knowledge, judgements, cells.

Everybody who judges trials does it here: a run while it goes on, when it has ended and when it is
gone on with, the lab, and whoever judges a results folder again. What is said depends on the facts
alone. A run that goes on judges each trial when it ends, with what is known by then; whatever has
been learned about it since, it is judged again from its facts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from tlsprobe.behaviours import behaviours_of
from tlsprobe.catalogue import alert_alone, control_of
from tlsprobe.judge.cell import MeasuredCell, cell_of, windows_of
from tlsprobe.judge.digest import Tally, digest_of
from tlsprobe.judge.families import family_of
from tlsprobe.judge.idle import CLEAR_S, CLEARLY, idle_of
from tlsprobe.judge.spread import spread
from tlsprobe.judge.verdict import judge, ladder_for
from tlsprobe.lab.kernel_comparison import Decisions, compare, endpoint_of
from tlsprobe.language import parse
from tlsprobe.model.facts import (
    CrowdedFact,
    Fact,
    GoneFact,
    KernelFact,
    PathFact,
    PlanFact,
    PlannedCell,
    ReachedFact,
    TrialFact,
)
from tlsprobe.model.far_side import FarFact
from tlsprobe.model.judgement import Control, Judgement, LadderLine, Verdict, Word
from tlsprobe.model.knowledge import AlertAlone, CellEnds, Digest, Knowledge, Silence, Timer
from tlsprobe.model.load import Load
from tlsprobe.model.run import (
    Cell,
    CellPlan,
    Crowding,
    CutShort,
    Idle,
    JudgedTrial,
    Left,
    Run,
    Spread,
    Trial,
    Truth,
    stamp,
)
from tlsprobe.model.sequence import Group, Sequence
from tlsprobe.model.target import endpoint
from tlsprobe.model.trace import Trace

_Close = tuple[tuple[Group, ...], str]
"""What is done, and in which TLS version, by whatever name."""

CONTROL = "control"
"""The role of a cell that was added to tell the cause of another's resets."""

VOUCHER, FIN_VOUCHER = "close-notify-only", "fin-with-request"
"""Closes that no proxy which speaks TCP alone answers by itself: an alert is nothing to it, and
where it closes at a FIN, the response that is owed behind that does not come."""

CAUGHT = 3
"""RSTs with a sign of another machine, from which on a box on the way is taken to make them."""

Name = tuple[str, str]
"""A cell's sequence and TLS version."""


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """What is said of a run: cells in the order of the plan, trials in that of the facts.

    ``truth`` holds the causes against the kernel's reasons, where the kernel was asked.
    ``server_says`` is what the server calls itself. ``revised``: some trials were judged once more
    after more had become known.
    """

    cells: tuple[Cell, ...]
    idle: Idle | None
    trials: tuple[JudgedTrial, ...]
    truth: Truth | None = None
    server_says: str = ""
    revised: bool = False
    crowding: Crowding | None = None
    cut_short: CutShort | None = None

    @property
    def lateness(self) -> Spread:
        """How late our steps were on the wire: of each trial the latest, in microseconds."""
        times = (trial.judgement.timing_us for trial in self.trials)
        return spread([found["step_late"] for found in times if "step_late" in found])

    @property
    def summary(self) -> dict[str, int]:
        """How many cells have each verdict."""
        return {str(v): sum(cell.verdict is v for cell in self.cells) for v in Verdict}


def judged_run(facts: Callable[[], Iterable[Fact]], vendor: str = "") -> JudgedRun:
    """Judge a whole run; ``facts`` are read twice, first for what they tell about each other.

    ``vendor`` is the profile of the server at hand.
    """
    run = RunInJudgement(vendor)
    for fact in facts():
        run.learn(fact)
    run.catch_up(facts)
    return run.answer()


def with_judgement(run: Run, judged: JudgedRun) -> Run:
    """The document of a run, with what is said of its facts."""
    told = replace(
        run,
        cells=judged.cells,
        idle=judged.idle,
        summary=judged.summary,
        truth=judged.truth,
        server_says=judged.server_says,
        lateness=judged.lateness,
        crowding=judged.crowding,
        cut_short=judged.cut_short,
        behaviours=(),  # those of before, in a run that is judged again
    )
    return replace(told, behaviours=behaviours_of(told))


def alone(fact: TrialFact) -> Knowledge:
    """What is known about a trial of which the others tell nothing."""
    return Knowledge(load=fact.load, near=fact.trace.drive.is_near)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a trial when its trace is on disk."""

    trial: Trial
    client: str
    while_open: range
    digest: Digest
    alone: Knowledge


class RunInJudgement:
    """A run of which facts still come in.

    ``learn`` takes a fact; ``judge`` says at once what there is to say of a trial; ``catch_up``
    judges again what has been learned about since. ``vendor`` is the profile of the server at hand.
    """

    def __init__(self, vendor: str = "") -> None:
        self._vendor = vendor
        self._plans: dict[Name, CellPlan] = {}
        self._controls: dict[Name, Sequence | None] = {}
        self._waiting: set[Name] = set()  # cells that wait for an idle timer of the server
        self._by_cell: defaultdict[Name, Tally] = defaultdict(Tally)
        self._by_close: defaultdict[_Close, Tally] = defaultdict(Tally)
        self._paths: dict[Name, bool] = {}
        self._address = ""
        self._refused: dict[str, str] = {}
        self._far: defaultdict[str, list[FarFact]] = defaultdict(list)
        self._server_says = self._protocol = ""
        self._crowding: Crowding | None = None
        self._gone: GoneFact | None = None
        self._kernel: list[KernelFact] = []
        self._decisions = Decisions()
        self._known: list[_Known] = []
        self._places: defaultdict[Name, list[int]] = defaultdict(list)
        self._latest: dict[Trial, int] = {}
        self._repeated: Counter[Name] = Counter()
        self._replaced: set[int] = set()
        self._unshown: set[int] = set()
        self._cell_ends: tuple[CellEnds, ...] | None = None
        self._expiries: defaultdict[Name, dict[int, Silence]] = defaultdict(dict)
        self._timers: tuple[Timer, ...] | None = ()
        self._took: defaultdict[str, int] = defaultdict(int)  # by sequence, in either version
        self._foreign: Counter[str] = Counter()  # by sequence
        self._judged: dict[int, tuple[Knowledge, JudgedTrial]] = {}
        self._first: dict[tuple[Name, str], int] = {}
        self._words: dict[str, tuple[Word, ...]] = {}
        self._cells: dict[Name, Cell] = {}
        self._revised = False

    # --- learning -------------------------------------------------------------------------------

    def learn(self, fact: Fact) -> None:
        """Take one more fact."""
        match fact:
            case TrialFact():
                self._learn_trial(fact)
            case PathFact():
                name = fact.sequence, fact.tls
                self._paths[name] = fact.alive and self._paths.get(name, True)
                self._cells.pop(name, None)
            case PlanFact():
                self._learn_plan(fact)
            case ReachedFact():
                self._address = fact.address
                self._refused = dict(fact.refused)
                self._server_says = fact.server_says or self._server_says
                self._cells.clear()
            case CrowdedFact():
                self._crowding = Crowding(fact.most_open, fact.because)
                self._paths.clear()  # a full server does not take the next connection either
                self._cells.clear()
            case GoneFact():
                self._learn_gone(fact)
            case FarFact():
                self._far[fact.client].append(fact)
            case KernelFact():
                self._kernel.append(fact)
                self._decisions.learn(fact.resets)
            case _:
                pass

    def _learn_trial(self, fact: TrialFact) -> None:
        trial, digest = fact.trial, digest_of(fact.trace)
        self._protocol = fact.trace.protocol
        name = trial.sequence, trial.tls
        if trial in self._latest:
            self._forget(self._latest[trial])
        self._latest[trial] = len(self._known)
        if name in self._plans:
            self._by_cell[name].count(digest)
            self._by_close[self._plans[name].sequence.groups, trial.tls].count(digest)
            self._learn_expiry(name, digest)
        self._places[name].append(len(self._known))
        self._took[trial.sequence] = max(self._took[trial.sequence], digest.took_ns)
        self._foreign[trial.sequence] += digest.foreign
        drive = fact.trace.drive
        client = endpoint(*drive.client) if drive.client else ""
        times = [event.time_ns for event in drive.events] or [0]
        while_open = range(times[0], times[-1] + 1)
        known = replace(alone(fact), waits_idle=name in self._waiting, offered=trial.tls)
        self._known.append(_Known(trial, client, while_open, digest, known))
        self._cell_ends = None

    def _forget(self, place: int) -> None:
        """Leave a trial out that was driven once more: the later one has the say."""
        known = self._known[place]
        name = known.trial.sequence, known.trial.tls
        if name in self._plans:
            self._by_cell[name].count(known.digest, -1)
            self._by_close[self._plans[name].sequence.groups, name[1]].count(known.digest, -1)
        self._places[name].remove(place)
        if self._expiries[name].pop(place, None) is not None:
            self._timers = None
        self._judged.pop(place, None)
        self._show_instead_of(place)
        self._cells.pop(name, None)
        self._repeated[name] += 1
        self._replaced.add(place)
        self._revised = True

    def _show_instead_of(self, place: int) -> None:
        """Have the next trial with the same signature shown packet by packet."""
        for shown in [shown for shown, first in self._first.items() if first == place]:
            del self._first[shown]
            name, signature = shown
            for other in self._places[name]:
                judged = self._judged.get(other)
                if judged is not None and judged[1].judgement.signature == signature:
                    self._first[shown] = other
                    self._unshown.add(other)
                    break

    def _learn_gone(self, fact: GoneFact) -> None:
        """Of what went on when the server was last seen nobody knows whether its death ended it."""
        self._gone = fact
        self._cells.clear()
        if fact.since_ns is None:
            return
        if fact.shuns:  # of the path this says nothing
            self._paths = {name: alive for name, alive in self._paths.items() if alive}
        for place, known in enumerate(self._known):
            if known.while_open.stop > fact.since_ns:
                told = replace(known.alone, gone_ns=fact.since_ns)
                self._known[place] = replace(known, alone=told)
                for expiries in self._expiries.values():
                    expiries.pop(place, None)
        self._timers = None

    def _learn_expiry(self, name: Name, digest: Digest) -> None:
        """An idle timer that was waited for, and fired."""
        silence = digest.silence if digest.reached and name in self._waiting else None
        if silence is not None and silence.server_first:
            self._expiries[name][len(self._known)] = silence
            self._timers = None

    def _fired(self) -> tuple[Timer, ...]:
        """The idle timers that the run saw fire, worked out when one more did."""
        if self._timers is None:
            fired = (seen.values() for seen in self._expiries.values() if seen)
            self._timers = tuple(dict.fromkeys(map(timer_of, fired)))
        return self._timers

    def _learn_plan(self, fact: PlanFact) -> None:
        for cell in fact.cells:
            name, plan = (cell.sequence, cell.tls), plan_of(cell)
            self._plans[name] = plan
            self._controls[name] = _control_of(plan.sequence)
            if plan.sequence.is_idle or plan.sequence.is_race:
                self._waiting.add(name)
            else:
                self._waiting.discard(name)
            self._cells.pop(name, None)

    # --- knowing --------------------------------------------------------------------------------

    def _about(self, known: _Known) -> Knowledge:
        """What is known about a trial by now.

        What cannot bear on it is left out, so that it need not be judged again when that grows.
        """
        name, digest = (known.trial.sequence, known.trial.tls), known.digest
        far = self._far_side(known) if digest.before_fin or digest.after_fin else None
        silence = digest.silence
        timers = self._fired() if silence is not None and not silence.server_first else ()
        alone = known.alone
        if far is not None or timers:
            alone = replace(alone, far=far, timers=timers)
        if digest.waited and (took := self._took[name[0]]):
            alone = replace(alone, took_ns=took)
        if digest.gave_up and self._foreign[name[0]] and self._foreign.total() >= CAUGHT:
            alone = replace(alone, foreign=self._foreign.total())
        if digest.gave_up and (odd := self._foreign.total()):
            alone = replace(alone, odd=odd)
        if digest.gave_up and self._kernel and self._kernel_gave_up(known):
            alone = replace(alone, gave_up=True)
        if (room := self._room_for(known)) is not None:
            alone = replace(alone, room=room)
        if digest.spoke and name in self._plans:
            alone = replace(alone, alert_alone=self._alert_alone(name))
        if digest.wordless and self._is_its_way(name[1], digest):
            alone = replace(alone, wordless=True)
        if digest.after_fin and self._aborts_after(name[1]):
            alone = replace(alone, aborts_after=True)
        if not digest.gave_up or name not in self._plans:
            return alone
        if self._cell_ends is None:
            # how a server ends that is told to stop is not how it ends its connections otherwise
            cells = (
                (cell, tally)
                for cell, tally in self._by_cell.items()
                if tally.trials and not self._plans[cell].sequence.signals
            )
            self._cell_ends = tuple(tally.as_cell_ends(*cell) for cell, tally in cells)
        control = self._control(name)
        own = self._by_cell[name].as_cell_ends(*name)
        return replace(alone, control=control, cell_ends=self._cell_ends, own=own)

    def _room_for(self, known: _Known) -> int | None:
        """How many connections the server has room for, if a trial had more of ours open."""
        load = known.alone.load
        if self._crowding is None or load is None:
            return None
        most = self._crowding.most_open
        if most == 0 and not known.alone.waits_idle and known.digest.reached:
            return None
        return most if max(load.at_start, load.at_end) > most else None

    def _kernel_gave_up(self, known: _Known) -> bool:
        """Whether the server's kernel says that it gave a trial's connection up by itself.

        That the RST was made there is all that a judgement learns of it, and not why.
        """
        if not known.client or not self._address:
            return False
        ends = endpoint_of(self._address), endpoint_of(known.client)
        return self._decisions.has(*ends, known.while_open)

    def _aborts_after(self, tls: str) -> bool:
        """Whether the server resets behind its own FIN with nothing unread."""
        return any(tally.aborts_after for tally in self._tallies(tls))

    def _tallies(self, tls: str) -> Iterator[Tally]:
        """What the cells of a TLS version came to."""
        return (tally for name, tally in self._by_cell.items() if name[1] == tls)

    def _is_its_way(self, tls: str, digest: Digest) -> bool:
        """Whether an end without an alert is as the server makes them, and not a proxy's.

        A server may answer our alert without one and have one for idle connections, which a proxy
        with a shorter timer ends first, or have one for a FIN, at which a proxy may close. How it
        ends those by itself, its ends tell that nothing of ours called for but what was said inside
        TLS.
        """
        if digest.silence is None and not digest.at_fin:
            return self._is_wordless(tls)
        if digest.silence is None and self._is_heard_out(tls):
            return True
        led = sum(tally.led for tally in self._tallies(tls))
        return led >= CAUGHT and not any(tally.worded for tally in self._tallies(tls))

    def _is_wordless(self, tls: str) -> bool:
        """Whether the server closes without an alert where no proxy before it would close."""
        return sum(tally.unasked for tally in self._tallies(tls)) >= CAUGHT

    def _is_heard_out(self, tls: str) -> bool:
        """Whether responses come behind a FIN of ours, at which no proxy on the way closes then."""
        return sum(tally.heard_out for tally in self._tallies(tls)) >= CAUGHT

    def _far_side(self, known: _Known) -> FarFact | None:
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
        control = alert_alone(self._plans[name].sequence)
        if control is None:
            return None
        return self._by_close[control.groups, name[1]].as_alert_alone(control.name)

    # --- judging --------------------------------------------------------------------------------

    def judge(self, fact: TrialFact) -> JudgedTrial:
        """Learn of a trial, and judge it with what is known by now."""
        self.learn(fact)
        return self._judge(len(self._known) - 1, fact.trace)

    def catch_up(self, facts: Callable[[], Iterable[Fact]]) -> None:
        """Judge every trial about which more is known than when it was judged."""
        stale = {place for place, known in enumerate(self._known) if self._is_stale(place, known)}
        if not stale:
            return
        trials = (fact for fact in facts() if isinstance(fact, TrialFact))
        for place, fact in enumerate(trials):
            if place in stale:
                self._judge(place, fact.trace)
                stale.remove(place)
            if not stale:
                return  # as a rule few are judged again, and early ones

    def _is_stale(self, place: int, known: _Known) -> bool:
        judged = self._judged.get(place)
        if place in self._replaced:
            return False
        return place in self._unshown or judged is None or judged[0] != self._about(known)

    def _judge(self, place: int, trace: Trace) -> JudgedTrial:
        known = self._known[place]
        self._unshown.discard(place)
        name = known.trial.sequence, known.trial.tls
        knowledge = self._about(known)
        judgement = judge(trace, knowledge)
        signature = judgement.signature
        ladder: tuple[LadderLine, ...] = ()
        if self._first.get((name, signature), place) == place and (
            ladder := ladder_for(trace, judgement)
        ):
            self._first[name, signature] = place
        judged = _judged_trial(known.trial, trace, judgement, ladder)
        self._revised = self._revised or place in self._judged
        self._judged[place] = knowledge, judged
        self._words[signature] = judgement.words
        self._cells.pop(name, None)
        return judged

    # --- answering ------------------------------------------------------------------------------

    @property
    def plans(self) -> tuple[CellPlan, ...]:
        """The planned cells in the order of the report: controls behind what was asked for."""
        return tuple(sorted(self._plans.values(), key=lambda plan: plan.role == CONTROL))

    def is_path_known(self, plan: CellPlan) -> bool:
        """Whether somebody tried if connections still work after the trials of a cell."""
        return (plan.sequence.name, plan.tls) in self._paths

    def vouchers_wanted(self, plan: CellPlan) -> tuple[str, ...]:
        """Closes that tell whose a cell's ends without an alert are, if they may be a proxy's.

        What ended a silence such closes do not tell.
        """
        name = plan.sequence.name, plan.tls
        ends = (self._known[place] for place in self._places[name])
        doubted = {
            known.digest.at_fin
            for known in ends
            if known.digest.silence is None and known.digest.wordless and not known.alone.near
        }
        wanted = [VOUCHER] if False in doubted and not self._is_wordless(plan.tls) else []
        if True in doubted and not self._is_heard_out(plan.tls):
            wanted.append(FIN_VOUCHER)
        return tuple(wanted)

    def load_of(self, trial: Trial) -> Load:
        """What else went on while a trial was driven."""
        return self._known[self._latest[trial]].alone.load or Load(1, 1)

    def trials(self, plan: CellPlan) -> list[JudgedTrial]:
        """The judged trials of a cell; of one that was repeated, the last."""
        return [self._judged[place][1] for place in self._places[plan.sequence.name, plan.tls]]

    def answer(self) -> JudgedRun:
        """What is said of the run, as far as its trials have been judged."""
        family = family_of(self._server_says, self._vendor)
        measured = {
            name: MeasuredCell(
                plan,
                tuple(self.trials(plan)),
                self._paths.get(name),
                self._refused.get(plan.tls),
                self._protocol,
                family,
                repeated=self._repeated[name],
                gone="" if self._gone is None else self._gone.because,
            )
            for name, plan in self._plans.items()
        }
        windows = windows_of(measured.values())
        for name, cell in measured.items():
            if name not in self._cells or cell.plan.sequence.is_race:
                self._cells[name] = cell_of(cell, windows.get(cell.plan.tls))
        cells = tuple(self._cells[plan.sequence.name, plan.tls] for plan in self.plans)
        trials = tuple(self._judged[place][1] for place in sorted(self._judged))
        idle, truth = idle_of(cells, self._words), self._truth(trials)
        return JudgedRun(
            *(cells, idle, trials, truth),
            *(self._server_says, self._revised, self._crowding, self._cut_short()),
        )

    def _cut_short(self) -> CutShort | None:
        """Why the server was left, where trials were not driven for that, not even later."""
        wanted = (item for item in self._plans.items() if item[1].tls not in self._refused)
        lacks = any(len(self._places[name]) < plan.trials for name, plan in wanted)
        if self._gone is None or not lacks:
            return None
        by = Left.TIME_OVER if self._gone.since_ns is None else Left.SERVER_GONE
        return CutShort(by, self._gone.because)

    def _truth(self, trials: tuple[JudgedTrial, ...]) -> Truth | None:
        """The causes against the kernel's own reasons, of which no judgement knows."""
        if not self._kernel or not self._address:
            return None
        told = sorted((r for fact in self._kernel for r in fact.resets), key=lambda r: r.time_ns)
        lost = sum(fact.lost for fact in self._kernel)
        return compare(trials, told, endpoint_of(self._address), lost)


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


def _judged_trial(
    trial: Trial, trace: Trace, judgement: Judgement, ladder: tuple[LadderLine, ...]
) -> JudgedTrial:
    drive = trace.drive
    begun = drive.events[0].time_ns / 1e9 if drive.events else 0.0
    client = endpoint(*drive.client) if drive.client else ""
    started = stamp(datetime.fromtimestamp(begun, UTC))
    return JudgedTrial(trial, judgement, started, client, drive.failure, ladder)
