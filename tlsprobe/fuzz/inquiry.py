"""Looking into what was seen of one target: whether it is so, and the shortest close that shows it.

First what became of the server, if it was lost; then what is in doubt; then one suspect after the
other, the gravest first, is shrunk and confirmed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

import trio

from tlsprobe.fuzz.alphabet import Alphabet, simplicity
from tlsprobe.fuzz.bounds import Bounds
from tlsprobe.fuzz.comparing import Comparer
from tlsprobe.fuzz.confirming import Confirmer
from tlsprobe.fuzz.death import DEATH
from tlsprobe.fuzz.losses import Losses
from tlsprobe.fuzz.neighbours import Company, Neighbours
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import (
    PROPERTIES,
    Kind,
    Needs,
    Property,
    Violation,
    shows_like,
    violations,
)
from tlsprobe.fuzz.rates import rate_of, rate_told
from tlsprobe.fuzz.settings import FuzzSettings
from tlsprobe.fuzz.shrinking import Shrinker
from tlsprobe.fuzz.suspects import TRIES, Sighting, Suspect, Suspects
from tlsprobe.fuzz.trying import Prober
from tlsprobe.fuzz.unasked import Unasked
from tlsprobe.model.fuzz import NEVER_RUN_AGAIN, Example, Replay

EARLY = 1 / 4
"""The part of a run's time in which races are run as soon as one is seen that shows by itself."""

_CALM = 2
"""Connections at a time where it matters that nothing is late."""


class Inquiry:
    """One target, what was seen of it, and what it takes to look into that.

    ``probers`` are its own, and that of the target that it is compared with, if there is one;
    ``asked`` are the properties that it is held to. ``found`` is called when there is something to
    look into, ``warned`` is told what takes long.
    """

    def __init__(  # noqa: PLR0917 - what an inquiry takes, in its order
        self,
        probers: list[Prober],
        letters: Alphabet,
        settings: FuzzSettings,
        asked: tuple[Property, ...],
        bounds: Bounds,
        found: Callable[[], None],
        warned: Callable[[str], None],
    ) -> None:
        self.prober = prober = probers[0]
        self.letters = letters
        self.settings = settings
        self.asked = asked
        self.bounds = bounds
        self.asked_in_company: Counter[Kind] = Counter()
        self.raced_s = 0.0
        self.recent: deque[Example] = deque(maxlen=2 * settings.run.concurrency)
        self.suspects = suspects = Suspects(
            *(asked, lambda: len(bounds.counts.examples)),
            *(lambda example: simplicity(self.letters, example), found),
        )
        self.unasked = Unasked(asked, lambda example: simplicity(self.letters, example))
        prober.worst = lambda seen: len(violations(seen, asked))
        is_death_asked = any(one.name == DEATH.name for one in asked)
        self.losses = Losses(prober, suspects, self.recent, is_death_asked, found, warned)
        self.comparer = Comparer(probers, letters.versions, asked, suspects.is_worth_waiting)
        parts = prober, self.comparer
        self.shrinker = Shrinker(letters, *parts, suspects, self.losses, bounds)
        self.confirmer = Confirmer(*parts, asked, settings.confirm, lambda: bounds.may_finish)
        self.company = Company()
        shorter = self.shrinker.parts
        self.neighbours = Neighbours(prober, self.company, self.confirmer, shorter, bounds)

    async def look(self, confirmed: Callable[[], None], *, last: bool) -> None:
        """Until nothing is left to look into; ``confirmed`` is called for every new failure.

        Races have their turn when a good part of the run is over, or this is the ``last`` look.
        """
        while not self.losses.is_gone:
            if self.losses.lost:
                await self.losses.survey()
                continue
            await self.make_sure()
            suspect = self.suspects.next()
            if suspect is None and self.suspects.in_doubt and self.bounds.may(1):
                continue
            if suspect is None and (last or self.is_time_for_races):
                comparing = last or self.bounds.is_time_for_races(comparing=True)
                suspect = self.suspects.next_race(comparing=comparing)
            if suspect is None:
                return
            if await self.settle(suspect):
                confirmed()

    @property
    def is_time_for_races(self) -> bool:
        """Whether races wait that are to be run by now."""
        return any(
            self.suspects.are_waiting(comparing=comparing)
            and self.bounds.is_time_for_races(comparing=comparing)
            for comparing in (False, True)
        )

    async def settle(self, suspect: Suspect) -> bool:
        """Make a suspect shorter, and say whether it is a failure; a race may have to wait."""
        if PROPERTIES[suspect.violation.name].needs is Needs.RUNS and not suspect.has_waited:
            self.suspects.postpone(suspect)
            return False
        if not suspect.is_race:
            with self.time_to_confirm():
                await self.shrinker.try_twice(suspect)
            if self.waits(suspect):
                if not suspect.shows_alone and await self.takes_company(suspect):
                    return True
                if suspect.shows_alone and self.may_race(suspect):
                    return await self.race(suspect)
                self.suspects.postpone(suspect)
                return False
        elif await self.is_harmed_as_known(suspect):
            return True
        return await self.confirm(suspect)

    async def confirm(self, suspect: Suspect) -> bool:
        """Look for the shortest that shows it, and say whether that shows it again."""
        if not suspect.is_chance:
            with self.time_to_confirm():
                await self.shrinker.shorten(suspect)
        if self.losses.lost:
            self.suspects.current = None
            return False  # the server died meanwhile, which comes first
        confirmed = False
        self.confirmer.in_peace = self.suspects.takes_company(suspect.kind)
        try:
            confirmed = not suspect.is_chance and await self.confirmer.confirm(suspect)
        finally:  # the end of the time takes nothing away that was shown by then
            self.suspects.settle(suspect, confirmed=confirmed or suspect.is_shown)
        suspect.compare_with_first(self.prober.memory.get(suspect.shortest), self.asked)
        if self.confirmer.is_gone:
            self.losses.give_up()
        return confirmed

    def may_race(self, suspect: Suspect) -> bool:
        """Whether this race can be run before its time: its runs are quick, and some time is left.

        A flaw that shows in every third run is seen over and over, and each of its examples is
        looked into for nothing until the first is a failure, which explains the others.
        """
        return self.raced_s < EARLY * self.bounds.seconds and not suspect.observed.is_open

    async def race(self, suspect: Suspect) -> bool:
        """Run a race at once, and say whether it is a failure."""
        begun = trio.current_time()
        try:
            return await self.confirm(suspect)
        finally:
            self.raced_s += trio.current_time() - begun

    def time_to_confirm(self) -> trio.CancelScope:
        """Ends in time for a failure to be confirmed still."""
        return trio.move_on_at(self.bounds.time_to_confirm(1, self.prober.patience))

    def waits(self, suspect: Suspect) -> bool:
        """Whether this is a race, which is run often enough when there is time."""
        is_race = suspect.is_race and not suspect.is_chance and not self.losses.lost
        return is_race and PROPERTIES[suspect.violation.name].needs is Needs.ONE

    async def takes_company(self, suspect: Suspect) -> bool:
        """Whether it shows with others beside it, and not by itself; asked a few times a kind.

        Not of one alone: that may be who is hurt by the others, and a crowd of those hurts nobody.
        Then it is asked who of them does it.
        """
        if await self.is_harmed_as_known(suspect):
            return True
        if self.asked_in_company[suspect.kind] >= TRIES:
            return False
        self.asked_in_company[suspect.kind] += 1
        if not await self.confirmer.takes_company(suspect):
            is_shown = await self.is_harmed_by_others(suspect)
            if is_shown:
                self.suspects.settle(suspect, confirmed=True)
            return is_shown
        enough = suspect.shortest
        await self.shrinker.shorten_crowd(suspect)
        for example in dict.fromkeys((suspect.shortest, enough)):
            suspect.shortest, suspect.shrunk = example, example != enough
            if await self.confirmer.shows_in_crowd(suspect):
                self.suspects.settle(suspect, confirmed=True)
                return True
        suspect.shortest = replace(enough, together=1)
        return False

    async def is_harmed_by_others(self, suspect: Suspect) -> bool:
        """Whether the close of another one harms it, or a crowd harms some; by itself fine."""
        shows_alone = await self.confirmer.shows_alone(suspect)
        if shows_alone:
            return False
        if await self.neighbours.find(suspect):
            return True
        return shows_alone is False and await self.confirmer.is_race_in_company(suspect)

    async def is_harmed_as_known(self, suspect: Suspect) -> bool:
        """Whether the close of another connection harms it, which is known to harm others.

        So it is where a crowd of others is known to do the same, and one of these alone does not.
        """
        known = await self.neighbours.known(suspect, self.suspects.failures)
        crowd = self.suspects.crowd_like(suspect.kind) if known is None else None
        if crowd is not None and await self.confirmer.takes_crowd(suspect):
            known = crowd
            known.in_crowd[suspect.kind] += 1
        if known is not None:
            self.suspects.current = None
            known.kinds.add(suspect.kind)
            known.held.add(suspect.found)
        return known is not None

    async def make_sure(self) -> None:
        """Try again, few at a time, what had not ended when we left, or was seen too late."""
        few, many = (trio.CapacityLimiter(n) for n in (_CALM, self.settings.run.concurrency))

        async def again(example: Example, limit: trio.CapacityLimiter) -> None:
            async with limit:
                if self.bounds.may(1):
                    await self.prober.again(example, "make sure")

        async with trio.open_nursery() as nursery:
            for example, beside_many in self.suspects.to_make_sure():
                nursery.start_soon(again, example, many if beside_many else few)

    async def replay(self, known: Replay) -> bool:
        """Look whether a failure that is known still shows; False: that could not be settled.

        What could not be run again when it was found may take more than its last sequence. So may
        what only showed after a while: as many such connections are driven first.
        """
        seen = await self.prober.observe(known.example, "replay")
        violation = Violation(known.property, known.rule, known.text)
        kind = violation.kind(seen)._replace(cause=known.cause)
        suspect = Suspect(Sighting(violation, replace(seen, example=known.example)), kind, 1)
        never = known.expect == NEVER_RUN_AGAIN
        suspect.shrunk, suspect.known = True, rate_of(1, 1) if never else rate_told(known.expect)
        await self.wear(suspect, known.since)
        is_over = await self.confirmer.died_for_good(suspect)
        if is_over:
            self.losses.give_up()  # by this one: nobody needs to look for another
        shows = is_over or await self.confirmer.still_shows(suspect)
        self.suspects.settle(suspect, confirmed=shows is True)
        return shows is True or (shows is False and not (never or known.since))

    async def wear(self, suspect: Suspect, times: int) -> None:
        """Let the server meet so many of these connections, until one shows what they may."""
        at_once, seen = self.settings.run.concurrency, list[Observation]()

        async def once() -> None:
            seen.append(await self.prober.once(suspect.shortest, "replay"))

        for left in range(times, 0, -at_once):
            if not self.bounds.may_finish or any(
                shows_like(one, suspect.kind, self.asked) for one in seen
            ):
                return
            async with trio.open_nursery() as nursery:
                for _ in range(min(left, at_once)):
                    nursery.start_soon(once)

    def learn(self, letters: Alphabet) -> None:
        """There is more to draw than was known."""
        self.letters = self.shrinker.letters = letters

    def was_tried(self, seen: Observation) -> None:
        """An example was tried: it may be what the server dies of, or what met it dead."""
        if seen.is_lost:
            self.losses.lose(seen.example)
        else:
            self.recent.append(seen.example)
