"""Drives examples against live servers, and remembers how each of them ended.

What was tried once is not tried again unless somebody asks for another run: that is what makes a
flaky server consistent for those that shrink. Waiting is short here, so that examples are quick;
what then looks as if the server would never end is tried again with the patience of a normal run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container
from collections.abc import Sequence as Sequenced
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import trio

from tlsprobe.campaign.connections import Gauge
from tlsprobe.campaign.learned import alone
from tlsprobe.campaign.pace import Pace
from tlsprobe.campaign.reach import CHECK, Reached
from tlsprobe.campaign.trace import forget, trace_of
from tlsprobe.campaign.trials import path_notes
from tlsprobe.drive.race import Round
from tlsprobe.drive.script import Route, drive
from tlsprobe.facts.bounds import bounded
from tlsprobe.facts.file import FactsStore
from tlsprobe.fuzz.observation import Observation
from tlsprobe.judge.digest import Tally, digest_of
from tlsprobe.judge.families import family_of
from tlsprobe.judge.verdict import judge, ladder_for
from tlsprobe.language import format_groups
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.fuzz import Example, FuzzCoverage
from tlsprobe.model.judgement import Control, TcpEnd
from tlsprobe.model.knowledge import AlertAlone, Knowledge
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.sequence import Limit, Sequence
from tlsprobe.model.target import Target, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, Side, Stage, Trace
from tlsprobe.model.verbs import RACES, TAKES_TIME, Form, Verb
from tlsprobe.protocols import spoken
from tlsprobe.shaper.link import Shaper
from tlsprobe.sniff import capture as sniffer

QUICK = 0.7
"""Seconds that an example waits for the server, if the run's patience is not shorter."""

_AMPLE = 1.5
"""How many times as long as the server took we wait for its end from then on."""

_TAIL = 0.03
_ATTEMPTS = 3
_BETWEEN_CHECKS = 0.25

Tell = Callable[[Observation, str], None]
"""Who is told of every connection: how it ended, and what it was made for."""


@dataclass(slots=True)
class Counts:
    """What a fuzz run has done so far."""

    connections: int = 0
    compared: int = 0
    unmeasured: int = 0
    examples: set[Example] = field(default_factory=set)
    signatures: Counter[str] = field(default_factory=Counter)

    def coverage(self) -> FuzzCoverage:
        """Verbs, pairs of neighbours and signatures, the commonest first."""
        verbs: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        for example in self.examples:
            words = [step.label for step in example.sequence.steps]
            verbs.update(words)
            pairs.update(f"{one}; {other}" for one, other in pairwise(words))
        every = (dict(counted.most_common()) for counted in (verbs, pairs, self.signatures))
        return FuzzCoverage(*every)


_THEIR_END = {EventKind.EOF, EventKind.RESET}
_ENDS = {EventKind.EOF, EventKind.RESET, EventKind.BROKEN_PIPE, EventKind.CLOSED, EventKind.ABORTED}


def observation_of(
    example: Example,
    fact: TrialFact,
    patient: bool,
    shown: Container[str] = (),
    knowledge: Knowledge | None = None,
) -> Observation:
    """A recorded connection, judged: with its ladder, unless its signature was ``shown`` before."""
    trace = fact.trace
    drive = trace.drive
    judgement = judge(trace, knowledge or replace(alone(fact), offered=example.tls))
    known = judgement.signature in shown
    is_over = any(event.kind in _THEIR_END for event in drive.events)
    return Observation(
        example,
        judgement,
        drive.failure,
        late=judgement.axes.tcp is not TcpEnd.OPEN and not _knew_of_the_end(drive),
        blind=_is_blind(trace),
        patient=patient,
        spoke_ns=max((r.time_ns for r in drive.records if r.side is Side.CLIENT), default=0),
        number=fact.trial.index,
        digest=digest_of(trace),
        ladder=() if known else ladder_for(trace, judgement),
        beside=max(fact.load.at_start, fact.load.at_end),
        over_before=_over_before(drive),
        took_s=_took_s(trace),
        slow=drive.stage is Stage.SEQUENCE and not is_over,
        unanswered=drive.stage is Stage.HANDSHAKE and not is_over,
        late_s=max(judgement.timing_us.get("step_late", 0.0) / 1e6, _begun_late_s(example, trace)),
        acts_ns=_acts_ns(trace),
        ended_ns=_ended_ns(trace) or 0,
    )


def _begun_late_s(example: Example, trace: Trace) -> float:
    """How long our first packet took to come, in seconds, where nothing was to come before it.

    To the server that is a pause, and it may have meant something to it. An upload takes as long as
    it takes to make, each time.
    """
    steps, mark = list(example.sequence.steps), trace.drive.mark
    if steps[0].verb is Verb.RESUMED:
        del steps[0]
    first = steps[1:2] if steps[0].verb in {Verb.REQUEST, Verb.EARLY} else steps[:1]
    if mark is None or example.sequence.is_handshake or first[0].verb in TAKES_TIME:
        return 0.0
    if first[0].form is Form.UPLOAD:
        return 0.0
    ours = (s for s in trace.segments if s.side is Side.CLIENT and s.time_ns >= mark.time_ns)
    begun = next((s.time_ns for s in ours if s.end > mark.client or s.ends), mark.time_ns)
    return (begun - mark.time_ns) / 1e9


def _acts_ns(trace: Trace) -> tuple[int, ...]:
    """When packets of ours said or ended something."""
    ours = (segment for segment in trace.segments if segment.side is Side.CLIENT)
    return tuple(s.time_ns for s in ours if s.length or s.fin or s.rst)


def _ended_ns(trace: Trace) -> int | None:
    """When the server ended it; None if it did not."""
    theirs = (s for s in trace.segments if s.side is Side.SERVER and (s.fin or s.rst))
    return next((s.time_ns for s in theirs), None)


def _took_s(trace: Trace) -> float:
    """How long after our last words the server ended it, by the wire; 0 if it did not, or before.

    A machine that is busy makes us wait, and not the server.
    """
    ended = _ended_ns(trace)
    ours = (s.time_ns for s in trace.segments if s.side is Side.CLIENT and (s.length or s.fin))
    before = (time_ns for time_ns in ours if ended is not None and time_ns <= ended)
    last = max(before, default=None)
    return 0.0 if ended is None or last is None else (ended - last) / 1e9


def _over_before(found: Drive) -> int:
    """How many steps, but for the last wait, came when we knew that the server had ended it."""
    over = next((e.time_ns for e in found.events if e.kind in _THEIR_END), None)
    if over is None:
        return 0
    steps = [e for e in found.events if e.kind is EventKind.STEP and e.time_ns > over]
    return max(0, len(steps) - 1)


def _knew_of_the_end(found: Drive) -> bool:
    """Whether the connection was over for our side too, before it left."""
    return any(event.kind in _ENDS for event in found.events)


def _is_blind(trace: Trace) -> bool:
    """Whether the server sent what our side never read; who got EOF has read all that there was.

    Bytes at the end that make no whole record are no record of ours, and were read nonetheless.
    """
    return trace.drive.did(EventKind.EOF) is None and _unread(trace) > 0


def _unread(trace: Trace) -> int:
    """Bytes that the server sent and that are in no record that our side read."""
    loaded = (s for s in trace.segments if s.side is Side.SERVER and s.length)
    sent = max((segment.end for segment in loaded), default=0)
    records = trace.drive.records
    return sent - max((r.end for r in records if r.side is Side.SERVER), default=0)


class Prober:
    """One target, and everything that trying examples on it takes.

    ``patience`` is the normal one; ``quick`` grows towards it for a server that takes its time.
    """

    def __init__(  # noqa: PLR0917 - the parts of a probe, in their order
        self,
        target: Target,
        reached: Reached,
        capture: sniffer.Capture,
        counts: Counts,
        pace: Pace,
        working: trio.CapacityLimiter,
        tell: Tell,
        facts: FactsStore,
        shaper: Shaper | None = None,
    ) -> None:
        self.target = target
        self.shaper = shaper
        self.protocol = spoken(target)
        self.family = family_of(
            reached.server_says, passed_on=reached.passed_on, ended_by=reached.ended_by
        )
        self.path_notes = tuple(path_notes(reached))
        self.routes = {
            version: replace(route, announce=capture.expect)
            for version, route in reached.routes.items()
        }
        self.patience = next(iter(self.routes.values())).patience.server
        self.quick = min(QUICK, self.patience)
        self.capture = capture
        self.counts = counts
        self.pace = pace
        self.working = working
        self.tell = tell
        self.facts = facts
        self.gauge = Gauge()
        self._racing = trio.Lock()
        self.memory: dict[Example, Observation] = {}
        self._unmeasured: set[Example] = set()
        self.tallies: defaultdict[Example, Tally] = defaultdict(Tally)
        self.shown: set[str] = set()
        self.worst: Callable[[Observation], int] = lambda _: 0

    async def observe(
        self,
        example: Example,
        why: str,
        is_worth_waiting: Callable[[Observation], bool] = lambda _: False,
    ) -> Observation:
        """How this example ended when it was first tried, which may be now.

        ``is_worth_waiting`` says whether it matters that a server did not end.
        """
        known = self.memory.get(example)
        if known is not None:
            return known
        seen = await self.once(example, why)
        hasty = seen.is_open and seen.failure is None
        again = is_worth_waiting(seen) if hasty else not self._says(seen)
        if again:
            seen = await self.patiently(example, why, was_open=seen.is_open, attempts=1)
        self.memory[example] = seen
        self.counts.examples.add(example)
        if seen.counts:
            self.counts.signatures[seen.judgement.signature] += 1
        elif example not in self._unmeasured:
            self._unmeasured.add(example)
            self.counts.unmeasured += 1
        return seen

    async def again(self, example: Example, why: str) -> None:
        """Try an example again that was tried in haste, or while the machine was busy."""
        before = self.memory.get(example)
        seen = await self.patiently(example, why)
        if before is not None and seen.counts and not before.counts:
            self.memory[example] = seen
            if example in self._unmeasured:  # what was only compared was not counted
                self._unmeasured.remove(example)
                self.counts.unmeasured -= 1
            self.counts.signatures[seen.judgement.signature] += 1

    async def patiently(
        self, example: Example, why: str, *, was_open: bool = False, attempts: int = _ATTEMPTS
    ) -> Observation:
        """Try with the patience of a normal run, again if nothing can be said."""
        for _ in range(attempts):
            seen = await self.once(example, why, patient=True)
            if self._says(seen):
                break
        if was_open and seen.counts:
            self.quick = min(max(self.quick, _AMPLE * seen.took_s), self.patience)
        return seen

    def _says(self, seen: Observation) -> bool:
        """Whether this settles how the example ends: it counts, and no delay of ours broke it."""
        return seen.counts and (seen.is_in_time or not self.worst(seen))

    async def once(
        self,
        example: Example,
        why: str,
        *,
        patient: bool = False,
        told: Container[str] | None = None,
    ) -> Observation:
        """Drive this example now, whatever is known of it; write it down, and judge it.

        Of several connections together the answer is the one that ended worst.
        """
        return max(await self.each(example, why, patient=patient, told=told), key=self.worst)

    async def each(
        self,
        example: Example,
        why: str,
        *,
        patient: bool = False,
        told: Container[str] | None = None,
    ) -> list[Observation]:
        """All the connections of an example, which is one unless it says how many together."""
        if example.sequence.is_race:
            return await self._race(example, why, patient, told)
        if example.beside is not None:
            return [await self.beside(example, (example.beside,), why, told)]
        seen: list[Observation] = []

        async def one_of_them() -> None:
            seen.append(await self._drive(example, why, patient, told))

        if example.together == 1:
            await one_of_them()
            return seen
        async with trio.open_nursery() as nursery:
            for _ in range(example.together):
                nursery.start_soon(one_of_them)
        return seen

    async def beside(
        self,
        example: Example,
        others: Sequenced[Example],
        why: str,
        told: Container[str] | None = None,
    ) -> Observation:
        """Drive this example, and the others once it is there; what became of it.

        It is told apart from what is driven by itself: by what is beside it, or the first of that.
        """
        opened, seen = trio.Event(), list[Observation]()
        beside = replace(example, beside=others[0])

        async def harmed() -> None:
            try:
                driven = self._drive(beside, why, patient=True, told=told, opened=opened.set)
                seen.append(await driven)
            finally:
                opened.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(harmed)
            await opened.wait()
            for other in others:
                nursery.start_soon(partial(self.each, other, why, told=told))
        return seen[0]

    async def _drive(
        self,
        example: Example,
        why: str,
        patient: bool,
        told: Container[str] | None,
        opened: Callable[[], None] = lambda: None,
    ) -> Observation:
        for _ in range(example.sequence.connections):
            await self.pace.turn()
        async with self.working:
            dropped = self.capture.dropped
            route = self._route(example.tls, patient)
            if example.sequence.is_shaped:
                route = replace(route, shaper=self.shaper)
            found, load = await self.gauge.driving(
                lambda: drive(route, example.sequence, opened=opened), example.sequence.connections
            )
            await self.capture.settle()
            lost = self.capture.dropped != dropped
        return self._observed(example, why, found, load, lost, patient, told)

    async def _race(
        self, example: Example, why: str, patient: bool, told: Container[str] | None
    ) -> list[Observation]:
        """A round of connections that answer the server's idle expiry, one round at a time."""
        route = self._route(example.tls, patient)
        idle = next(step.wait for step in example.sequence.steps if step.verb in RACES)
        if not isinstance(idle, Limit):
            route = replace(route, patience=replace(route.patience, idle=idle, server=idle))
        racing = Round(example.together, pause_capture=self.capture.hold, turn=self.pace.turn)
        async with self._racing, self.working:
            dropped = self.capture.dropped
            (found, pacemaker), load = await self.gauge.driving(
                lambda: racing.drive(route, example.sequence), example.together + 1
            )
            await self.capture.settle()
            lost = self.capture.dropped != dropped
        forget(self.capture, pacemaker)
        return [self._observed(example, why, one, load, lost, patient, told) for one in found]

    def _observed(  # noqa: PLR0917 - what there is to know of a connection, in its order
        self,
        example: Example,
        why: str,
        found: Drive,
        load: Load,
        lost: bool,
        patient: bool,
        told: Container[str] | None,
    ) -> Observation:
        """A connection that was driven: counted, written down and judged."""
        trace = bounded(trace_of(self.capture, found, lost, self.protocol))
        self.counts.compared += why == "compare"
        self.counts.connections += 1  # what was cut short by the end of the time is none
        fact = TrialFact(Trial(example.steps, example.tls, self.counts.connections), trace, load)
        self.facts.append(fact)
        seen = observation_of(example, fact, patient, self.shown if told is None else told)
        self.shown.add(seen.judgement.signature)
        if seen.digest is not None:
            self.tallies[example].count(seen.digest)
        self.tell(seen, why)
        return seen

    def with_knowledge(
        self, seen: Observation, control: Control | None, alone_: AlertAlone | None
    ) -> Observation:
        """The same connection, judged with what its controls and all others did."""
        trials = (fact for fact in self.facts.read() if isinstance(fact, TrialFact))
        fact = next(fact for fact in trials if fact.trial.index == seen.number)
        ends = {e: t.as_cell_ends(e.steps, e.tls) for e, t in self.tallies.items() if t.trials}
        knowledge = replace(
            alone(fact),
            offered=seen.example.tls,
            control=control,
            alert_alone=alone_,
            cell_ends=tuple(ends.values()),
            own=ends.get(seen.example),
            aborts_after=any(
                tally.aborts_after
                for example, tally in self.tallies.items()
                if example.tls == seen.example.tls
            ),
        )
        again = observation_of(seen.example, fact, seen.patient, knowledge=knowledge)
        return replace(again, beside=seen.beside)

    async def works(self, attempts: int = _ATTEMPTS) -> bool:
        """Whether an ordinary connection works; the answer is no after so many attempts."""
        version = next(iter(self.routes))
        by_its_steps = Sequence(format_groups(CHECK.groups), CHECK.groups)
        for attempt in range(attempts):
            if attempt:
                await trio.sleep(_BETWEEN_CHECKS)
            check = await self.once(Example(by_its_steps, str(version)), "check", patient=True)
            if check.failure is None:
                return True
        return False

    def _route(self, tls: str, patient: bool) -> Route:
        route = self.routes[TlsVersion(tls)]
        if patient:
            return route
        patience = replace(route.patience, server=self.quick, idle=self.quick, tail=_TAIL)
        return replace(route, patience=patience)
