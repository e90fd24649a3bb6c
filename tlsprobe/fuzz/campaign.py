"""A fuzz run: try examples, and make the shortest of every failure.

Three things take turns, and none of them runs while another does. *Exploring* drives examples
side by side until a fault of a new kind is seen; then *shrinking* asks, one example after the
other, for the shortest close that shows it, and *confirming* runs that one again, outside of
hypothesis. What was seen is kept from the moment in which it was seen, so that the end of the
time, of the server, or of the user's patience costs only what was still to come.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import trio

from tlsprobe.campaign.pace import cancel_at, unless_stopped
from tlsprobe.campaign.reach import Reached, reach
from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import CannotMeasure
from tlsprobe.fuzz.alphabet import Alphabet, alphabet
from tlsprobe.fuzz.bounds import Bounds
from tlsprobe.fuzz.failures import Whose, excused_of, failures_of, unrepeated_of
from tlsprobe.fuzz.inquiry import Inquiry
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import PROPERTIES, Needs, broken_by
from tlsprobe.fuzz.settings import Against, Fuzzed, FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.shared import Shared, Stores, in_memory
from tlsprobe.fuzz.sources import Sources
from tlsprobe.fuzz.starting import first_examples
from tlsprobe.fuzz.strategies import homeless
from tlsprobe.fuzz.suspects import MANY
from tlsprobe.fuzz.trying import Counts, Prober
from tlsprobe.model.fuzz import MOST_AT_ONCE, NEVER_RUN_AGAIN, Example
from tlsprobe.model.sequence import Awaited
from tlsprobe.model.target import Target, endpoint
from tlsprobe.model.verbs import Verb
from tlsprobe.protocols import Conversations, is_commanded, offers, phrases

COMPARED = 8
"""Of so many examples one is run a second time, and one in the other TLS version."""

MOST_COMPARED = 4
"""Until something is found, no more than one of so many connections is spent on comparing."""

_UNCOMPARED = 64
"""So many examples are tried before any is compared: each of these is the first of its kind."""

_NOT_ALONE = "the server lived on: this sequence was the last one before it was gone"

_NOT_SINCE = (
    "its runs, none of which showed it: it did only after other connections, so that this need not"
    " be a cure (start the server anew, and fuzz with the same seed)"
)

_LEAST_IDLE = 0.2
"""Seconds of silence that may be a server's idle timeout."""

_IDLE = 3.0
"""Seconds that a wait for the server's idle timer lasts, where nobody knows how long that is."""


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
    reached = await unless_stopped(
        stop, lambda: _reach_all(places, settings.run), "before anything was tried"
    )
    async with AsyncExitStack() as captures:
        shared = Shared(settings, reached, watcher, facts)
        probers = [
            await shared.prober(place.target, found, captures)
            for place, found in zip(places, reached, strict=True)
        ]
        versions = _common_versions(probers)
        letters = partial(_letters, versions, converse, settings.goodbye, settings.chapters)
        sources = _sources(letters(settings.idle), converse, settings)
        campaign = _Campaign(probers, sources, settings, watcher, shared.counts, begun, letters)
        shared.told[:] = (campaign.tell, campaign.tell_of_other)[: len(probers)]
        await campaign.run(stop)
    return campaign.answer(interrupted=stop.is_set())


async def _reach_all(places: list[Against], run: Settings) -> list[Reached]:
    """How each target is reached. Raises CannotMeasure."""
    return [await reach(place.target, place.converse, run) for place in places]


def _common_versions(probers: list[Prober]) -> tuple[str, ...]:
    """The TLS versions that all targets have, the newest first, which is the simplest."""
    common = set.intersection(*({str(v) for v in prober.routes} for prober in probers))
    if not common:
        hint = "ask for one that both have with --tls"
        raise CannotMeasure("the two targets have no TLS version in common", hint)
    return tuple(sorted(common, reverse=True))


def _letters(
    versions: tuple[str, ...],
    converse: Conversations,
    has_goodbye: bool,
    chapters: frozenset[str],
    idle: float | None,
) -> Alphabet:
    """The alphabet of what the protocol has; ``idle`` is the server's timeout, if it is known."""
    can = versions, offers(converse), has_goodbye, idle, phrases(converse)
    return alphabet(*can, chapters=chapters, comes_back=not is_commanded(converse))


def _sources(letters: Alphabet, converse: Conversations, settings: FuzzSettings) -> Sources:
    """What is tried: failures of earlier runs, what is known, and what every run begins with."""
    idle = settings.idle
    wait = min(_IDLE, settings.seconds / 20) if idle is None else 1.1 * idle + 0.2
    can = letters.versions, offers(converse), round(wait, 3), phrases(converse)
    chapters = settings.chapters
    first = first_examples(
        *can,
        has_goodbye=settings.goodbye,
        chapters=chapters,
        comes_back=not is_commanded(converse),
    )
    able = (example for example in settings.known if settings.can_try(example))
    known = [example for example in able if example.tls in letters.versions]
    return Sources(letters, dict.fromkeys((*known, *first)), known, settings.seed)


class _Campaign:
    """The state of a fuzz run, whose time is counted from ``begun``."""

    def __init__(  # noqa: PLR0917 - the parts of a campaign, in their order
        self,
        probers: list[Prober],
        sources: Sources,
        settings: FuzzSettings,
        watcher: FuzzWatcher,
        counts: Counts,
        begun: float,
        letters: Callable[[float], Alphabet],
    ) -> None:
        self.settings = settings
        self.letters = letters
        self.idle = settings.idle
        self.watcher = watcher
        self.counts = counts
        self.sources = sources
        self.taken = 0
        self.pause = False
        self.exploring = trio.CancelScope()
        self.floods: list[Example] = []
        self.is_exhausted = False
        self.over = False
        self.is_settled = True
        self.bounds = Bounds(settings.examples, settings.seconds, settings.over, counts, begun)
        self.asked = tuple(PROPERTIES[name] for name in settings.properties)
        by_itself = tuple(asked for asked in self.asked if asked.needs in {Needs.ONE, Needs.PATH})
        questions = (self.asked, by_itself)[: len(probers)]  # differences are asked about once
        self.inquiries = [
            Inquiry(
                *([*probers[number:], *probers[:number]], sources.letters, settings, asked),
                *(self.bounds, self.hold, watcher.warned),
            )
            for number, asked in enumerate(questions)
        ]
        self.first = self.inquiries[0]

    async def run(self, stop: trio.Event) -> None:
        """Until everything that was asked for is done, or ``stop``."""
        with homeless():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
                for inquiry in self.inquiries:
                    nursery.start_soon(inquiry.prober.gauge.watch)
                with trio.move_on_at(self.bounds.last):
                    async with self.sources.open(self.settings.examples):
                        if self.settings.replay is not None:
                            self.is_settled = await self.first.replay(self.settings.replay)
                            self.over = True
                        while not (self.over or self.is_gone):
                            await self.explore()
                            await self.flood()
                            for inquiry in self.inquiries:
                                await inquiry.look(self.confirmed, last=self.over)
                nursery.cancel_scope.cancel()
        for inquiry in self.inquiries:
            inquiry.losses.end()

    @property
    def is_gone(self) -> bool:
        """Whether a server did not come back."""
        return any(inquiry.losses.is_gone for inquiry in self.inquiries)

    @property
    def ended_by(self) -> str:
        """What ended the run, in words."""
        if self.is_gone:
            return "the server was gone"
        if not self.is_settled:
            known = self.settings.replay
            if known is not None and known.expect == NEVER_RUN_AGAIN:
                return _NOT_ALONE
            after = known is not None and known.since
            return _NOT_SINCE if after else "runs that were too late to count"
        if len(self.counts.examples) >= self.settings.examples:
            return "examples"
        return "time" if not self.bounds.may(1) else "nothing new to try"

    def hold(self) -> None:
        """Stop exploring: something has to be looked into first."""
        self.pause = True

    def confirmed(self) -> None:
        """There is a failure more."""
        self.watcher.failed(self.answer(interrupted=True))

    # --- exploring ----------------------------------------------------------------------------

    async def explore(self) -> None:
        """Try examples side by side until there is something that has to be looked into."""
        self.pause = False
        with trio.move_on_at(self.bounds.at(1)) as self.exploring:
            async with trio.open_nursery() as nursery:
                for _ in range(self.settings.run.concurrency):
                    nursery.start_soon(self.work)
        self.bounds.under_way = 0
        self.over = self.over or self.is_exhausted or not self.bounds.may(1)

    @property
    def is_time_for_races(self) -> bool:
        """Whether races wait that are to be run by now."""
        return any(inquiry.is_time_for_races for inquiry in self.inquiries)

    async def flood(self) -> None:
        """Drive what is driven many in a row, with nothing beside it."""
        while self.floods and not self.first.losses.lost and not self.over:
            await self.first.losses.flood(self.floods.pop(0))

    async def work(self) -> None:
        while not self.pause and not self.is_time_for_races and self.bounds.may(1):
            self.bounds.under_way += 1
            try:
                example = await self.sources.next()
                self.taken += 1
                if example.together > MOST_AT_ONCE:
                    self.floods.append(example)
                    self.hold()
                elif example not in self.first.prober.memory and not self.sources.is_dead(example):
                    await self.consider(example, self.taken % COMPARED)
            except trio.EndOfChannel:
                self.is_exhausted = True
                return
            finally:
                self.bounds.under_way -= 1

    async def consider(self, example: Example, number: int) -> None:
        """Try an example and note what it broke; its number says what it is compared with."""
        first = self.first
        worth_waiting = first.suspects.is_worth_waiting
        seen = await first.prober.observe(example, "explore", worth_waiting)
        first.was_tried(seen)
        if not seen.counts:
            return
        self.learn_idle(seen)
        is_new = self.counts.signatures[seen.judgement.signature] == 1
        self.sources.learn(seen, is_new=is_new)
        if is_new:
            self.watcher.interesting(example, seen.judgement.signature)
        for asked in self.asked:
            if _is_turn_of(asked.needs, number) and self.may_compare(asked.needs):
                found = await first.comparer.compare(example, asked.needs)
                if found is not None:
                    first.suspects.note(found)
        left = max(0.0, self.bounds.at(1) - trio.current_time())
        self.watcher.progressed(len(self.counts.examples), self.failures, left)

    def learn_idle(self, seen: Observation) -> None:
        """From here on pauses come near the server's idle timeout: it showed it."""
        expired = seen.judgement.timing_us.get("idle_to_end", 0.0) / 1e6
        if self.idle is not None or expired < _LEAST_IDLE or not _waits_first(seen.example):
            return
        self.idle = expired
        letters = self.letters(expired)
        self.sources.letters = letters
        for inquiry in self.inquiries:
            inquiry.learn(letters)

    @property
    def failures(self) -> int:
        """How many there are by now."""
        return sum(len(inquiry.suspects.failures) for inquiry in self.inquiries)

    def may_compare(self, needs: Needs) -> bool:
        """Whether comparing has not had its part of the connections yet, until it found anything.

        Two targets are there to be compared.
        """
        if needs is Needs.TARGETS or self.failures:
            return True
        part = MOST_COMPARED * self.counts.compared <= self.counts.connections
        return part and self.taken > _UNCOMPARED

    # --- what was found -----------------------------------------------------------------------

    def tell(self, seen: Observation, why: str) -> None:
        """Every connection to the first target comes by here, whatever it was made for."""
        self.watcher.tried(seen, why, broken_by(seen, self.asked))
        self.first.company.add(seen)
        self.first.suspects.note_all(seen)
        self.first.losses.heard(seen)
        self.first.unasked.note(seen)
        self.stop_where_nobody_answers()

    def tell_of_other(self, seen: Observation, why: str) -> None:
        """The same for the second target, which is judged as the first one is."""
        other = self.inquiries[-1]
        self.watcher.tried(seen, why, broken_by(seen, other.asked))
        if why == "compare":
            other.prober.memory.setdefault(seen.example, seen)
            other.was_tried(seen)
        other.company.add(seen)
        other.suspects.note_all(seen)
        other.losses.heard(seen)
        other.unasked.note(seen)
        self.stop_where_nobody_answers()
        if len(other.suspects.in_doubt) >= MANY:
            self.hold()

    def stop_where_nobody_answers(self) -> None:
        """Leave exploring at once where one connection after the other gets no answer."""
        if any(inquiry.losses.is_deaf for inquiry in self.inquiries):
            self.exploring.cancel()

    def answer(self, interrupted: bool) -> Fuzzed:
        """The run's answer, as far as it has come."""
        capture = self.first.prober.capture
        notes = [capture.warning] if capture.warning else []
        if capture.broken:
            notes.append(f"the capture ended early: {capture.broken}")
        address = next(iter(self.first.prober.routes.values())).server
        several = len(self.inquiries) > 1
        probers = [inquiry.prober for inquiry in self.inquiries]
        names = [str(prober.target) if several else "" for prober in probers]
        whose = [
            Whose(inquiry.suspects, name, prober.protocol, prober.family)
            for inquiry, prober, name in zip(self.inquiries, probers, names, strict=True)
        ]
        notes += [
            f"{name}: {note}" if name else note
            for prober, name in zip(probers, names, strict=True)
            for note in prober.path_notes
        ]
        notes += [
            f"{name}: {note}" if name else note
            for inquiry, name in zip(self.inquiries, names, strict=True)
            for note in inquiry.unasked.notes
        ]
        return Fuzzed(
            failures_of(whose),
            unrepeated_of(whose),
            excused_of(whose),
            len(self.counts.examples),
            self.counts.connections,
            self.counts.unmeasured,
            self.counts.coverage(),
            capture.facts(),
            endpoint(*address),
            interrupted,
            "interrupted" if interrupted else self.ended_by,
            (*notes, *(note for one in self.inquiries for note in one.losses.notes)),
            is_settled=self.is_settled,
        )


def _waits_first(example: Example) -> bool:
    """Whether all that it does at first is to wait for the server's end."""
    step = example.sequence.steps[0]
    return step.verb is Verb.AWAIT and step.event is Awaited.END


def _is_turn_of(needs: Needs, number: int) -> bool:
    """Whether this example is one of those that are driven once more, to compare."""
    turns = {
        Needs.TARGETS: True,
        Needs.RUNS: number == 0,
        Needs.VERSIONS: number == COMPARED // 2,
    }
    return turns.get(needs, False)
