"""A fuzz run: try examples, and make the shortest of every failure.

Three things take turns, and none of them runs while another does. *Exploring* drives examples
side by side until a fault of a new kind is seen; then *shrinking* asks, one example after the
other, for the shortest close that shows it, and *confirming* runs that one again, outside of
hypothesis. What was seen is kept from the moment in which it was seen, so that the end of the
time, of the server, or of the user's patience costs only what was still to come.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from tlsprobe.campaign.pace import cancel_at
from tlsprobe.campaign.reach import Reached, reach
from tlsprobe.campaign.settings import Settings
from tlsprobe.catalogue import alert_alone, control_of
from tlsprobe.errors import CannotMeasure, Interrupted
from tlsprobe.fuzz.alphabet import Alphabet, Simplicity, alphabet, simplicity
from tlsprobe.fuzz.comparing import Comparer
from tlsprobe.fuzz.death import DEATH, comes_back, culprit, kills
from tlsprobe.fuzz.properties import (
    ANSWERS_BEHIND_ALERT,
    PROPERTIES,
    Kind,
    Needs,
    Observation,
    Violation,
    broken_by,
    differ,
    violations,
)
from tlsprobe.fuzz.settings import OVER, Against, Fuzzed, FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.shared import Shared, Stores, in_memory
from tlsprobe.fuzz.strategies import Enough, generate, homeless, shrink
from tlsprobe.fuzz.suspects import Suspect, failures_of
from tlsprobe.fuzz.trying import Counts, Prober
from tlsprobe.judge.causes import is_open
from tlsprobe.judge.digest import Tally
from tlsprobe.language import format_groups
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Target, endpoint
from tlsprobe.protocols import Conversations, offers

COMPARED = 4
"""Of so many examples one is run a second time, and one in the other TLS version."""

CONTROLS = 3
"""Connections spent on settling the cause of an RST."""

_DRAWN = 20
"""Examples drawn for each that is wanted: many are drawn twice, and tried once."""

_LATE = (1 + OVER) / 2
"""How far beyond its bounds a run still shrinks; what is left then is for confirming."""

_ENDING = 0.8
"""Seconds that ending takes, which is part of the time too."""

_BETWEEN = 0.5
_MOST_HICCUPS = 20
_SEARCHES = 3
_SURE, _TWICE, _RACES = 2, 2, 4
_OTHERS, _TRIED = 40, 6


async def fuzz(  # noqa: PLR0917 - the parts of a fuzz run, in their order
    target: Target,
    converse: Conversations,
    settings: FuzzSettings,
    watcher: FuzzWatcher,
    stop: trio.Event,
    against: Against | None = None,
    facts: Stores = in_memory,
) -> Fuzzed:
    """Fuzz one target, or one against another, within the settings' bounds.

    What is seen of each target goes to the store that ``facts`` gives for it. Setting ``stop`` ends
    it early with what was found. Raises CannotMeasure when nothing can be measured, Interrupted
    when ``stop`` comes before anything can have been.
    """
    begun = trio.current_time()
    places = [Against(target, converse), *([against] if against is not None else [])]
    reached = await _reach_all(places, settings.run, stop)
    async with AsyncExitStack() as captures:
        shared = Shared(settings, watcher, facts)
        probers = [
            await shared.prober(place.target, found, captures)
            for place, found in zip(places, reached, strict=True)
        ]
        letters = _letters(probers, converse, settings)
        campaign = _Campaign(probers, letters, settings, watcher, shared.counts, begun)
        shared.told = campaign.tell
        await campaign.run(stop)
    return campaign.answer(interrupted=stop.is_set())


async def _reach_all(places: list[Against], run: Settings, stop: trio.Event) -> list[Reached]:
    """How each target is reached. Raises CannotMeasure, or Interrupted at a ``stop``."""
    reached: list[Reached] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
        for place in places:
            reached.append(await reach(place.target, place.converse, run))
        nursery.cancel_scope.cancel()
    if len(reached) < len(places):
        raise Interrupted("interrupted before anything was tried")
    return reached


def _letters(probers: list[Prober], converse: Conversations, settings: FuzzSettings) -> Alphabet:
    """The alphabet of what all targets can do, the newest TLS version the simplest."""
    common = set.intersection(*({str(v) for v in prober.routes} for prober in probers))
    if not common:
        hint = "ask for one that both have with --tls"
        raise CannotMeasure("the two targets have no TLS version in common", hint)
    versions = tuple(sorted(common, reverse=True))
    return alphabet(versions, offers(converse), settings.goodbye, settings.idle)


class _Campaign:
    """The state of a fuzz run, whose time is counted from ``begun``."""

    def __init__(  # noqa: PLR0917 - the parts of a campaign, in their order
        self,
        probers: list[Prober],
        letters: Alphabet,
        settings: FuzzSettings,
        watcher: FuzzWatcher,
        counts: Counts,
        begun: float,
    ) -> None:
        self.prober = probers[0]
        self.letters = letters
        self.settings = settings
        self.watcher = watcher
        self.counts = counts
        self.asked = tuple(PROPERTIES[name] for name in settings.properties)
        self.comparer = Comparer(probers, letters.versions, self.asked, self.is_news)
        self.suspects: dict[Kind, Suspect] = {}
        self.waiting: deque[Example] = deque(settings.known)
        self.recent: deque[Example] = deque(maxlen=2 * settings.run.concurrency)
        self.lost: list[Example] = []
        self.lost_ns = 0
        self.hiccups = 0
        self.searches = 0
        self.in_doubt: set[Kind] = set()
        self.taken = 0
        self.under_way = 0
        self.pause = False
        self.over = False
        self.notes: list[str] = []
        self.begun = begun

    async def run(self, stop: trio.Event) -> None:
        """Until everything that was asked for is done, or ``stop``."""
        with homeless():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
                with trio.move_on_at(self.last):
                    async with self.generated() as source:
                        while not self.over:
                            await self.explore(source)
                            await self.look_into()
                nursery.cancel_scope.cancel()

    def at(self, part: float) -> float:
        """When this part of the time is over, on trio's clock."""
        return self.begun + part * self.settings.seconds

    @property
    def last(self) -> float:
        """When everything is dropped, whatever is unfinished."""
        return max(self.at(1), self.at(OVER) - _ENDING)

    def may(self, part: float) -> bool:
        """Whether both bounds, this much of each, leave room for another example."""
        tried = len(self.counts.examples) + self.under_way
        return tried < part * self.settings.examples and trio.current_time() < self.at(part)

    # --- exploring ----------------------------------------------------------------------------

    @asynccontextmanager
    async def generated(self) -> AsyncIterator[trio.MemoryReceiveChannel[Example]]:
        """Hypothesis's examples, from a thread that is never further ahead than one."""
        send, receive = trio.open_memory_channel[Example](0)
        most = _DRAWN * self.settings.examples

        def take(example: Example) -> None:
            trio.from_thread.run(send.send, example)

        async def work() -> None:
            async with send:
                seed = self.settings.seed
                await trio.to_thread.run_sync(generate, self.letters, seed, most, take)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield receive
            nursery.cancel_scope.cancel()

    async def explore(self, source: trio.MemoryReceiveChannel[Example]) -> None:
        """Try examples side by side until something is seen that has to be looked into."""
        self.pause = False
        with trio.move_on_at(self.at(1)):
            async with trio.open_nursery() as nursery:
                for _ in range(self.settings.run.concurrency):
                    nursery.start_soon(self.work, source)
        self.under_way = 0
        self.in_doubt.clear()
        self.over = self.over or not (self.pause and self.may(1))

    async def work(self, source: trio.MemoryReceiveChannel[Example]) -> None:
        while not self.pause and self.may(1):
            self.under_way += 1
            try:
                example = self.waiting.popleft() if self.waiting else await source.receive()
                self.taken += 1
                if example not in self.prober.memory:
                    await self.consider(example, self.taken % COMPARED)
            except trio.EndOfChannel:
                return
            finally:
                self.under_way -= 1

    async def consider(self, example: Example, number: int) -> None:
        """Try an example and note what it broke; its number says what it is compared with."""
        seen = await self.prober.observe(example, "explore", self.is_news)
        if seen.failure is not None:
            self.lose(example)
            return
        self.recent.append(example)
        if not seen.counts:
            return
        is_new = self.counts.signatures[seen.judgement.signature] == 1
        if is_new:
            self.watcher.interesting(example, seen.judgement.signature)
        self.note_all(seen)
        for asked in self.asked:
            if _is_turn_of(asked.needs, number, is_new):
                self.note(await self.comparer.compare(example, asked.needs), seen)
        left = max(0.0, self.at(1) - trio.current_time())
        self.watcher.progressed(len(self.counts.examples), len(self.failing()), left)

    def is_news(self, seen: Observation) -> bool:
        """Whether this would be the first of its kind; one connection at a time makes sure."""
        kinds = {v.kind for v in violations(seen, self.asked)}
        news = kinds - self.suspects.keys() - self.in_doubt
        self.in_doubt |= news
        return bool(news)

    def note_all(self, seen: Observation) -> None:
        for violation in violations(seen, self.asked):
            self.note(violation, seen)

    def note(self, violation: Violation | None, seen: Observation) -> None:
        """Keep what was seen, from this moment on."""
        if violation is None:
            return
        known = self.suspects.get(violation.kind)
        if known is not None:
            known.seen += 1
            if len(known.others) < _OTHERS:
                known.others[seen.example] = None
            return
        if seen.is_open and not seen.patient:
            return  # somebody is making sure of it
        tried = len(self.counts.examples)
        self.suspects[violation.kind] = Suspect(violation, seen.example, tried, seen)
        self.in_doubt.discard(violation.kind)
        self.pause = True
        self.watcher.failed(self.answer(interrupted=True))

    # --- looking into what was seen -----------------------------------------------------------

    async def look_into(self) -> None:
        """What became of the server, if it was lost; and the shortest of every new failure."""
        while True:
            if self.lost:
                await self.survey()
            pending = sorted(self.pending(), key=lambda suspect: _gravity(suspect.violation))
            if not pending:
                return
            suspect = pending[0]
            with trio.move_on_at(self.time_to_confirm(len(pending))):
                if not self.is_explained(suspect):
                    await self.shorten(suspect)
            if self.lost:
                continue  # the server died meanwhile, which comes first
            await self.confirm(suspect)
            suspect.done = True
            if not suspect.broke and DEATH.kind in self.suspects:
                self.drop(suspect)  # it was the server dying
            self.watcher.failed(self.answer(interrupted=True))

    def time_to_confirm(self, count: int) -> float:
        """When shrinking has to end so that as many failures can still be confirmed.

        A server that never ends costs each of them the whole patience.
        """
        needed = count * (self.prober.patience + _BETWEEN)
        return min(self.at(_LATE), max(self.last - needed, self.at(1 / 2)))

    def pending(self) -> list[Suspect]:
        return [suspect for suspect in self.failing() if not suspect.done]

    def failing(self) -> list[Suspect]:
        """Every suspect once, though it may stand for several kinds."""
        return list({id(suspect): suspect for suspect in self.suspects.values()}.values())

    def is_explained(self, suspect: Suspect) -> bool:
        """Whether the shortest of another failure breaks this property too: then they are one."""
        for other in self.failing():
            shown = violations(other.observed, self.asked) if other.done else ()
            kinds = [violation.kind for violation in shown]
            if suspect.violation.kind in kinds:
                other.also[suspect.violation.kind] = None
                other.seen += suspect.seen
                self.suspects[suspect.violation.kind] = other
                suspect.done = True
                return True
        return False

    async def shorten(self, suspect: Suspect) -> None:
        """Let hypothesis look for the shortest example that breaks the property so."""

        def fails(example: Example) -> bool:
            answer = trio.from_thread.run(self.still_fails, suspect, example)
            if answer is None:
                raise Enough
            return bool(answer)

        def better(example: Example) -> None:
            suspect.shortest = example

        start = suspect.shortest
        again = [await self.shows(suspect.violation, start) for _ in range(_SURE)]
        suspect.is_race = not all(again)
        await trio.to_thread.run_sync(shrink, self.letters, start, fails, better)
        suspect.shrunk = self.may(_LATE)

    async def still_fails(self, suspect: Suspect, example: Example) -> bool | None:
        """Whether this example breaks the property in the same way; None: nothing more may run.

        What always fails must fail twice, so that no lucky loser passes for the shortest; of a
        race it is enough to lose it once.
        """
        if self.lost or not self.may(_LATE):
            return None
        if example in suspect.answers:
            return suspect.answers[example]
        self.counts.examples.add(example)
        attempts = _RACES if suspect.is_race else _TWICE
        answer = not suspect.is_race
        for _ in range(attempts):
            if await self.shows(suspect.violation, example) is suspect.is_race:
                answer = suspect.is_race
                break
        suspect.answers[example] = answer
        return answer

    async def shows(self, violation: Violation, example: Example) -> bool:
        """Whether one more run of this example breaks the property in the same way."""
        needs = PROPERTIES[violation.name].needs
        if needs is Needs.PATH:
            return await kills(self.prober, example, "shrink")
        if needs is not Needs.ONE:
            found = await self.comparer.compare(example, needs)
            return found is not None and found.kind == violation.kind
        seen = await self.prober.once(example, "shrink")
        if not seen.counts:
            seen = await self.prober.patiently(example, "shrink")
        if seen.failure is not None:
            self.lose(example)
        self.note_all(seen)
        return any(v.kind == violation.kind for v in violations(seen, self.asked))

    async def confirm(self, suspect: Suspect) -> None:
        """Run the shortest again, outside of hypothesis; if it was luck, others that showed it."""
        if suspect.done:
            return
        await self.run_again(suspect)
        shortest = suspect.shortest
        others = sorted({suspect.found, *suspect.others}, key=self.simplicity)
        for other in [example for example in others if example != shortest][:_TRIED]:
            if suspect.broke:
                return
            suspect.shortest, suspect.shrunk = other, False
            await self.run_again(suspect)
        if not suspect.broke:
            suspect.shortest = suspect.found

    def simplicity(self, example: Example) -> Simplicity:
        return simplicity(self.letters, example)

    async def run_again(self, suspect: Suspect) -> None:
        suspect.runs = suspect.broke = 0
        suspect.ends.clear()
        needs = PROPERTIES[suspect.violation.name].needs
        if needs is Needs.PATH:
            for _ in range(self.settings.confirm):
                broke = await kills(self.prober, suspect.shortest, "confirm")
                suspect.tally(broke, "dead" if broke else "alive")
            await comes_back(self.prober)
            return
        async with trio.open_nursery() as nursery:
            for _ in range(self.settings.confirm):
                nursery.start_soon(self.once_again, suspect, needs)
        if needs is Needs.RUNS:  # the runs that did not end like most of them
            suspect.broke = suspect.runs - max(suspect.ends.values(), default=0)
        if suspect.violation.name == ANSWERS_BEHIND_ALERT:
            await self.ask_alert_alone(suspect)
        await self.ask_control(suspect)

    async def once_again(self, suspect: Suspect, needs: Needs) -> None:
        """One more run of the shortest, or one more comparison."""
        run = self.prober.once
        seen = await run(suspect.shortest, "confirm", patient=True, told=())
        if not seen.counts:
            return
        if needs is Needs.ONE:
            broken = {v.kind[:2] for v in violations(seen, self.asked)}
            broke = suspect.violation.kind[:2] in broken
        elif needs is Needs.RUNS:
            again = await run(suspect.shortest, "confirm", patient=True, told=())
            suspect.tally(False, again.end)
            broke = False
        else:
            other = await self.comparer.counterpart(suspect.shortest, needs, patient=True)
            broke = other is not None and differ(seen, other)
        suspect.tally(broke, seen.end)
        if broke or suspect.observed.example != seen.example:
            suspect.observed = seen

    async def ask_control(self, suspect: Suspect) -> None:
        """Tell an ambiguous cause by a control: the same close with nothing left unread."""
        control = control_of(suspect.shortest.sequence)
        if control is None or not any(map(is_open, suspect.observed.judgement.resets)):
            return
        known = (await self.tallied(control, suspect)).as_control(control.name)
        suspect.observed = self.prober.with_control(suspect.observed, known)

    async def ask_alert_alone(self, suspect: Suspect) -> None:
        """Let go of a suspect that says to our close_notify alone what it says here."""
        alone = alert_alone(suspect.shortest.sequence)
        if alone is not None and (await self.tallied(alone, suspect)).spoke:
            suspect.broke = 0

    async def tallied(self, control: Sequence, suspect: Suspect) -> Tally:
        """How connections of a control end."""
        by_its_steps = Sequence(format_groups(control.groups), control.groups)
        example, tally = Example(by_its_steps, suspect.shortest.tls), Tally()
        for _ in range(CONTROLS):
            seen = await self.prober.once(example, "control")
            if seen.digest is not None:
                tally.count(seen.digest)
        return tally

    # --- a server that is lost ----------------------------------------------------------------

    def lose(self, example: Example) -> None:
        """Remember that this example got no connection, however patient we were."""
        if not self.lost:
            self.lost_ns = time.time_ns()
        self.lost.append(example)
        self.pause = True

    async def survey(self) -> None:
        """Some examples got no connection: find out whether and of what the server died."""
        lost, self.lost = self.lost, []
        last = self.last_words() or lost
        is_dead = not await self.prober.works()
        if "next-connection" in self.settings.properties and DEATH.kind not in self.suspects:
            await self.find_culprit(last, is_dead)
        elif is_dead and not await comes_back(self.prober):
            self.give_up()
        self.hiccups += not is_dead
        if self.hiccups == _MOST_HICCUPS:
            self.notes.append(f"{_MOST_HICCUPS} times the server refused for a moment")

    def last_words(self) -> list[Example]:
        """The last examples, that first which spoke last before the server was lost."""
        spoke = {example: self.prober.memory[example].spoke_ns for example in self.recent}
        before = [example for example in spoke if spoke[example] <= self.lost_ns]
        return sorted(before, key=lambda example: -spoke[example])

    async def find_culprit(self, last: list[Example], is_dead: bool) -> None:
        """Which of the last examples it was, if the server is there to be asked."""
        if is_dead:
            self.watcher.warned("the server does not answer any more: looking for the cause")
            self.suspect_death(last[0], tuple(last))
            if not await comes_back(self.prober):
                self.give_up()
                return
        elif self.searches == _SEARCHES:
            return
        self.searches += 1
        found = await culprit(self.prober, last)
        self.suspects.pop(DEATH.kind, None)
        if found is not None:
            self.suspect_death(found, ())
        elif is_dead:
            self.notes.append(
                "the server stopped answering for a while; none of the last examples does it alone"
            )

    def suspect_death(self, example: Example, suspects: tuple[Example, ...]) -> None:
        """Record that the server died; what its last connections showed was its dying."""
        for other in self.pending():
            if other.found in self.recent:
                self.drop(other)
        tried, seen = len(self.counts.examples), self.prober.memory[example]
        suspect = Suspect(DEATH, example, tried, seen)
        suspect.suspects = tuple(f"TLS {other.tls}: {other.steps}" for other in suspects)
        self.suspects[DEATH.kind] = suspect
        self.watcher.failed(self.answer(interrupted=True))

    def drop(self, suspect: Suspect) -> None:
        for kind in [kind for kind, other in self.suspects.items() if other is suspect]:
            del self.suspects[kind]

    def give_up(self) -> None:
        """The server did not come back."""
        self.notes.append("the server stopped answering and did not come back")
        self.over = True
        for suspect in self.pending():
            suspect.done = True

    # --- what was found -----------------------------------------------------------------------

    def tell(self, seen: Observation, why: str) -> None:
        self.watcher.tried(seen, why, broken_by(seen, self.asked))

    def answer(self, interrupted: bool) -> Fuzzed:
        """The run's answer, as far as it has come."""
        capture = self.prober.capture
        notes = [capture.warning] if capture.warning else []
        if capture.broken:
            notes.append(f"the capture ended early: {capture.broken}")
        address = next(iter(self.prober.routes.values())).server
        ordered = sorted(self.failing(), key=lambda s: _gravity(s.violation))
        return Fuzzed(
            failures_of(ordered),
            len(self.counts.examples),
            self.counts.connections,
            self.counts.unmeasured,
            self.counts.coverage(),
            capture.facts(),
            endpoint(*address),
            interrupted,
            (*notes, *self.notes),
        )


def _is_turn_of(needs: Needs, number: int, is_new: bool) -> bool:
    """Whether this example is one of those that are driven once more, to compare."""
    turns = {
        Needs.TARGETS: True,
        Needs.RUNS: is_new or number == 0,
        Needs.VERSIONS: is_new or number == COMPARED // 2,
    }
    return turns.get(needs, False)


def _gravity(violation: Violation) -> tuple[int, str]:
    return list(PROPERTIES).index(violation.name), violation.rule
