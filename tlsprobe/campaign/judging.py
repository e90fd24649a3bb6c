"""From the facts of a run to what is said of it: facts, knowledge, judgements, cells.

Everybody who judges trials does it here: a run while it goes on, when it has ended and when it is
gone on with, the lab, and whoever judges a results folder again. What is said depends on the facts
alone. A run that goes on judges each trial when it ends, with what is known by then; whatever has
been learned about it since, it is judged again from its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.collapses import Gone
from tlsprobe.campaign.learned import KnownTrial, Learned, Name
from tlsprobe.judge.cell import MeasuredCell, cell_of, windows_of
from tlsprobe.judge.families import family_of
from tlsprobe.judge.idle import idle_of
from tlsprobe.judge.spread import spread
from tlsprobe.judge.verdict import judge, ladder_for
from tlsprobe.lab.kernel_comparison import compare, endpoint_of
from tlsprobe.model.facts import (
    CrowdedFact,
    Fact,
    GoneFact,
    KernelFact,
    PathFact,
    PlanFact,
    ReachedFact,
    TrialFact,
)
from tlsprobe.model.judgement import Judgement, LadderLine, Verdict, Word
from tlsprobe.model.knowledge import Knowledge
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
from tlsprobe.model.target import endpoint
from tlsprobe.model.trace import Trace

CONTROL = "control"
"""The role of a cell that was added to tell the cause of another's resets."""


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """What is said of a run: cells in the order of the plan, trials in that of the facts.

    ``truth`` holds the causes against the kernel's reasons, where the kernel was asked.
    ``server_says`` is what the server calls itself, ``passed_on`` and ``ended_by`` as in `Run`.
    ``revised``: some trials were judged once more after more had become known.
    """

    cells: tuple[Cell, ...]
    idle: Idle | None
    trials: tuple[JudgedTrial, ...]
    truth: Truth | None = None
    server_says: str = ""
    passed_on: bool = False
    ended_by: str = ""
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
        passed_on=judged.passed_on,
        ended_by=judged.ended_by,
        lateness=judged.lateness,
        crowding=judged.crowding,
        cut_short=judged.cut_short,
        behaviours=(),  # those of before, in a run that is judged again
    )
    return replace(told, behaviours=behaviours_of(told))


class RunInJudgement:
    """A run of which facts still come in.

    ``learn`` takes a fact; ``judge`` says at once what there is to say of a trial; ``catch_up``
    judges again what has been learned about since. ``vendor`` is the profile of the server at hand.
    """

    def __init__(self, vendor: str = "") -> None:
        self._vendor = vendor
        self._learned = Learned()
        self._paths: dict[Name, bool] = {}
        self._refused: dict[str, str] = {}
        self._server_says = self._protocol = ""
        self._gone: GoneFact | None = None
        self._kernel: list[KernelFact] = []
        self._unshown: set[int] = set()
        self._judged: dict[int, tuple[Knowledge, JudgedTrial]] = {}
        self._first: dict[tuple[Name, str], int] = {}
        self._words: dict[str, tuple[Word, ...]] = {}
        self._cells: dict[Name, Cell] = {}
        self._revised = False

    # --- learning -------------------------------------------------------------------------------

    def learn(self, fact: Fact) -> None:
        """Take one more fact."""
        earlier = self._learned.place_of(fact.trial) if isinstance(fact, TrialFact) else None
        self._learned.learn(fact)
        match fact:
            case TrialFact():
                self._protocol = fact.trace.protocol
                if earlier is not None:
                    self._forget(earlier)
            case PathFact():
                name = fact.sequence, fact.tls
                self._paths[name] = fact.alive and self._path(name) is not False
                self._cells.pop(name, None)
            case PlanFact():
                for cell in fact.cells:
                    self._cells.pop((cell.sequence, cell.tls), None)
            case ReachedFact():
                self._refused = dict(fact.refused)
                self._server_says = fact.server_says or self._server_says
                self._cells.clear()
            case CrowdedFact():
                self._paths.clear()  # a full server does not take the next connection either
                self._cells.clear()
            case GoneFact():
                self._gone = fact
                self._cells.clear()
                if fact.shuns:  # of the path this says nothing
                    self._paths = {name: alive for name, alive in self._paths.items() if alive}
            case KernelFact():
                self._kernel.append(fact)
            case _:
                pass

    def _forget(self, place: int) -> None:
        """Take back what was said of a trial that was driven once more."""
        self._judged.pop(place, None)
        self._show_instead_of(place)
        self._cells.pop(self._learned.trials[place].name, None)
        self._revised = True

    def _show_instead_of(self, place: int) -> None:
        """Have the next trial with the same signature shown packet by packet."""
        for shown in [shown for shown, first in self._first.items() if first == place]:
            del self._first[shown]
            name, signature = shown
            for other in self._learned.places[name]:
                judged = self._judged.get(other)
                if judged is not None and judged[1].judgement.signature == signature:
                    self._first[shown] = other
                    self._unshown.add(other)
                    break

    # --- judging --------------------------------------------------------------------------------

    def judge(self, fact: TrialFact) -> JudgedTrial:
        """Learn of a trial, and judge it with what is known by now."""
        self.learn(fact)
        return self._judge(len(self._learned.trials) - 1, fact.trace)

    def catch_up(self, facts: Callable[[], Iterable[Fact]]) -> None:
        """Judge every trial about which more is known than when it was judged."""
        self._learned.settle()
        stale = {
            place
            for place, known in enumerate(self._learned.trials)
            if self._is_stale(place, known)
        }
        if not stale:
            return
        trials = (fact for fact in facts() if isinstance(fact, TrialFact))
        for place, fact in enumerate(trials):
            if place in stale:
                self._judge(place, fact.trace)
                stale.remove(place)
            if not stale:
                return  # as a rule few are judged again, and early ones

    def _is_stale(self, place: int, known: KnownTrial) -> bool:
        judged = self._judged.get(place)
        if place in self._learned.replaced:
            return False
        return place in self._unshown or judged is None or judged[0] != self._learned.about(known)

    def _judge(self, place: int, trace: Trace) -> JudgedTrial:
        known = self._learned.trials[place]
        self._unshown.discard(place)
        name = known.name
        knowledge = self._learned.about(known)
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
        return tuple(sorted(self._learned.plans.values(), key=lambda plan: plan.role == CONTROL))

    def is_path_known(self, plan: CellPlan) -> bool:
        """Whether somebody tried if connections still work after the trials of a cell."""
        return self._path((plan.sequence.name, plan.tls)) is not None

    @property
    def gone_behind(self) -> list[Gone]:
        """The closes behind which nobody listened for a moment."""
        return self._learned.absences.behind()

    @property
    def ended_with(self) -> list[Gone]:
        """The closes that other connections ended with, time and again."""
        return self._learned.crashes.behind()

    @property
    def dies(self) -> bool:
        """Whether the server itself said that a process of its had died."""
        return self._learned.crashes.were_told

    @property
    def names(self) -> tuple[str, ...]:
        """What the server called itself, if that changed."""
        return self._learned.names

    @property
    def fell(self) -> int:
        """How many connections the server ended together with others, those of before included."""
        self._learned.settle()
        return self._learned.fell

    @property
    def limits_us(self) -> bool:
        """Whether some trials may have met a limit of the server's, and not what they tried."""
        self._learned.settle()
        return self._learned.limits_us

    def _path(self, name: Name) -> bool | None:
        """Whether connections worked after a cell, None if nobody knows.

        That one did not says nothing where the server shuts out some of them by chance, nor where
        it goes away again and again behind other closes: they are driven beside this one.
        """
        alive = self._paths.get(name)
        if alive is not False:
            return alive
        behind_others = {one.sequence for one in self.gone_behind}
        is_others = bool(behind_others) and name[0] not in behind_others
        return None if self._learned.shuts_out or is_others else alive

    def vouchers_wanted(self, plan: CellPlan) -> tuple[str, ...]:
        """Closes that tell whose a cell's ends without an alert are, if they may be a proxy's."""
        return self._learned.vouchers_wanted(plan)

    def load_of(self, trial: Trial) -> Load:
        """What else went on while a trial was driven."""
        place = self._learned.place_of(trial)
        load = None if place is None else self._learned.trials[place].alone.load
        return load or Load(1, 1)

    def trials(self, plan: CellPlan) -> list[JudgedTrial]:
        """The judged trials of a cell; of one that was repeated, the last."""
        return [
            self._judged[place][1] for place in self._learned.places[plan.sequence.name, plan.tls]
        ]

    def answer(self) -> JudgedRun:
        """What is said of the run, as far as its trials have been judged."""
        learned = self._learned
        family = family_of(
            self._server_says, self._vendor, passed_on=learned.passed_on, ended_by=learned.ended_by
        )
        measured = {
            name: MeasuredCell(
                plan,
                tuple(self.trials(plan)),
                self._path(name),
                self._refused.get(plan.tls),
                self._protocol,
                family,
                repeated=learned.repeated[name],
                gone="" if self._gone is None else self._gone.because,
            )
            for name, plan in learned.plans.items()
        }
        windows = windows_of(measured.values())
        again = learned.shuts_out or bool(self.gone_behind)
        for name, cell in measured.items():
            if name not in self._cells or cell.plan.sequence.is_race or again:
                self._cells[name] = cell_of(cell, windows.get(cell.plan.tls))
        cells = tuple(self._cells[plan.sequence.name, plan.tls] for plan in self.plans)
        trials = tuple(self._judged[place][1] for place in sorted(self._judged))
        idle, truth = idle_of(cells, self._words), self._truth(trials)
        return JudgedRun(
            *(cells, idle, trials, truth),
            *(self._server_says, learned.passed_on, learned.ended_by, self._revised),
            *(learned.crowding, self._cut_short()),
        )

    def _cut_short(self) -> CutShort | None:
        """Why the server was left, where trials were not driven for that, not even later."""
        wanted = (item for item in self._learned.plans.items() if item[1].tls not in self._refused)
        lacks = any(len(self._learned.places[name]) < plan.trials for name, plan in wanted)
        if self._gone is None or not lacks:
            return None
        by = Left.TIME_OVER if self._gone.since_ns is None else Left.SERVER_GONE
        return CutShort(by, self._gone.because)

    def _truth(self, trials: tuple[JudgedTrial, ...]) -> Truth | None:
        """The causes against the kernel's own reasons, of which no judgement knows."""
        if not self._kernel or not self._learned.address:
            return None
        told = sorted((r for fact in self._kernel for r in fact.resets), key=lambda r: r.time_ns)
        lost = sum(fact.lost for fact in self._kernel)
        return compare(trials, told, endpoint_of(self._learned.address), lost)


def _judged_trial(
    trial: Trial, trace: Trace, judgement: Judgement, ladder: tuple[LadderLine, ...]
) -> JudgedTrial:
    drive = trace.drive
    begun = drive.events[0].time_ns / 1e9 if drive.events else 0.0
    client = endpoint(*drive.client) if drive.client else ""
    started = stamp(datetime.fromtimestamp(begun, UTC))
    return JudgedTrial(trial, judgement, started, client, drive.failure, ladder)
