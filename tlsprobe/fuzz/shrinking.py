"""The shortest close that shows a fault: hypothesis asks, one example after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import trio

from tlsprobe.fuzz.alphabet import CROWDS, Alphabet, encode, example_of, simplicity
from tlsprobe.fuzz.bounds import LATE, Bounds
from tlsprobe.fuzz.comparing import Comparer
from tlsprobe.fuzz.death import kills
from tlsprobe.fuzz.losses import Losses
from tlsprobe.fuzz.properties import PROPERTIES, Kind, Needs, violations
from tlsprobe.fuzz.strategies import Enough, shrink
from tlsprobe.fuzz.suspects import Suspect, Suspects
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import Example

IsIt = Callable[[Kind, Suspect], bool]

_SURE, _TWICE, _RACES = 2, 2, 4
_BATCH, _BATCHES, _MOST_RUNS, _MOST_PARTS = 4, 5, 60, 12


class Shrinker:
    """Runs what hypothesis asks about, and answers whether it still fails."""

    def __init__(  # noqa: PLR0917 - what a shrinking run takes, in its order
        self,
        letters: Alphabet,
        prober: Prober,
        comparer: Comparer,
        suspects: Suspects,
        losses: Losses,
        bounds: Bounds,
    ) -> None:
        self.letters = letters
        self.prober = prober
        self.comparer = comparer
        self.suspects = suspects
        self.losses = losses
        self.bounds = bounds

    async def try_twice(self, suspect: Suspect) -> None:
        """Find out whether a suspect shows every time, by itself: if not, it is a race.

        Several connections together are more likely to show what is chance: one has to show it.
        """
        needs = PROPERTIES[suspect.violation.name].needs
        suspect.shortest = replace(suspect.found, together=1)
        again = list[bool]()

        async def once() -> None:
            again.append(await self.faces(suspect))

        async with trio.open_nursery() as nursery:
            for _ in range(_SURE):
                if suspect.observed.is_open:  # what takes long may as well take its time together
                    nursery.start_soon(once)
                else:
                    await once()
        suspect.tried += len(again)
        suspect.is_race, suspect.shows_alone = not all(again), any(again)
        has_to = suspect.must_repeat or suspect.found.beside is not None
        suspect.is_chance = suspect.is_race and has_to
        if needs is Needs.PATH and suspect.is_race:
            await self.try_several(suspect)

    async def try_several(self, suspect: Suspect) -> None:
        """Find out how many together it takes to bring a server down that one does not."""
        suspect.shortest = suspect.found
        numbers = sorted({*CROWDS[1:], suspect.found.together} - {1})
        for crowd in (replace(suspect.found, together=number) for number in numbers):
            for _ in range(_SURE):
                suspect.tried += 1
                if not self.bounds.may(1) or not await self.shows(suspect, crowd):
                    break
            else:
                suspect.shortest, suspect.is_race = crowd, False
                return

    async def faces(self, suspect: Suspect) -> bool:
        """Whether its own example shows it once more, whatever came first on the wire this time."""
        if PROPERTIES[suspect.violation.name].needs is not Needs.ONE:
            return await self.shows(suspect, suspect.shortest)
        own = {kind for kind in await self.kinds_of(suspect.shortest) if _is_face(kind, suspect)}
        suspect.faces |= own
        return bool(own)

    async def shorten(self, suspect: Suspect) -> None:
        """Let hypothesis look for the shortest example that breaks the property so."""
        needs = PROPERTIES[suspect.violation.name].needs
        if suspect.is_race and needs is Needs.ONE:
            await self.shorten_race(suspect)
        if suspect.is_race and needs in {Needs.ONE, Needs.RUNS}:
            return

        def fails(example: Example) -> bool:
            answer = trio.from_thread.run(self.still_fails, suspect, example)
            if answer is None:
                raise Enough
            return bool(answer)

        def better(example: Example) -> None:
            suspect.shortest = example

        await trio.to_thread.run_sync(shrink, self.letters, suspect.shortest, fails, better)
        suspect.shrunk = self.bounds.may(LATE)

    async def shorten_race(self, suspect: Suspect) -> None:
        """Take one or two of its segments alone, each as often as it takes to lose the race.

        How often that is, is told by the whole; whatever is lost once is enough. What the whole
        does not lose in so many runs would take too many. What a part leaves unread is not what the
        whole left: that makes no other race of it.
        """
        start = suspect.shortest
        lost = sum([await self.shows_in(suspect, start, _BATCH) for _ in range(_BATCHES)])
        suspect.tried += _BATCH * _BATCHES
        if not lost:
            return
        runs = min(_MOST_RUNS, 3 * _BATCH * _BATCHES // lost)
        for shorter in self.parts(start):
            if not self.bounds.may(LATE) or self.losses.lost:
                return
            self.bounds.counts.examples.add(shorter)
            for _ in range(0, runs, _BATCH):
                if await self.shows_in(suspect, shorter, _BATCH, _is_same_race):
                    suspect.shortest, suspect.shrunk = shorter, True
                    return
        suspect.shrunk = True

    async def shorten_crowd(self, suspect: Suspect) -> None:
        """Take none, one or two of its segments, if half of so many connections show it then."""
        for shorter in self.parts(suspect.shortest):
            if not self.bounds.may(LATE) or self.losses.lost:
                return
            self.bounds.counts.examples.add(shorter)
            each = await self.prober.each(shorter, "shrink", patient=True)
            kinds = [{v.kind(seen) for v in violations(seen, self.suspects.asked)} for seen in each]
            if 2 * sum(any(_is_face(k, suspect) for k in some) for some in kinds) >= len(each):
                suspect.shortest, suspect.shrunk = shorter, True
                return

    def parts(self, start: Example) -> list[Example]:
        """The examples of none, one or two of its segments, the simplest first."""
        groups = start.sequence.groups[:-1]
        chosen = (some for size in range(3) for some in combinations(groups, size))
        made = {example_of(tuple(some), start.tls, start.together) for some in chosen}
        known = [one for one in made if encode(self.letters, one) is not None and one != start]
        return sorted(known, key=lambda one: simplicity(self.letters, one))[:_MOST_PARTS]

    async def shows_in(
        self, suspect: Suspect, example: Example, runs: int, is_it: IsIt | None = None
    ) -> int:
        """In how many of so many runs, side by side, the example shows the suspect.

        ``is_it`` says what of the kinds that it shows is the suspect's: those that were its own.
        """
        shown = 0

        async def once() -> None:
            nonlocal shown
            kinds = await self.kinds_of(example)
            own = {k for k in kinds if (k in suspect.faces if is_it is None else is_it(k, suspect))}
            shown += bool(own)
            suspect.faces |= own

        async with trio.open_nursery() as nursery:
            for _ in range(runs):
                nursery.start_soon(once)
        return shown

    async def still_fails(self, suspect: Suspect, example: Example) -> bool | None:
        """Whether this example breaks the property in the same way; None: nothing more may run.

        What always fails must fail twice, so that no lucky loser passes for the shortest; of a
        race it is enough to lose it once. What a failure that is known accounts for is not it.
        """
        if self.losses.lost or not self.bounds.may(LATE):
            return None
        if example in suspect.answers:
            return suspect.answers[example]
        if self.suspects.is_explained(suspect.kind, example):
            return False
        self.bounds.counts.examples.add(example)
        attempts = _RACES if suspect.is_race else _TWICE
        answer = not suspect.is_race
        for _ in range(attempts):
            if await self.shows(suspect, example) is suspect.is_race:
                answer = suspect.is_race
                break
        suspect.answers[example] = answer
        return answer

    async def shows(self, suspect: Suspect, example: Example) -> bool:
        """Whether one more run of this example breaks the property in the same way."""
        needs = PROPERTIES[suspect.violation.name].needs
        if needs is Needs.PATH:
            return await kills(self.prober, example, "shrink")
        if needs is not Needs.ONE:
            fresh = needs is Needs.RUNS
            found = await self.comparer.compare(example, needs, is_fresh=fresh)
            return found is not None and found.violation.kind(found.seen) == suspect.kind
        return any(kind in suspect.faces for kind in await self.kinds_of(example))

    async def kinds_of(self, example: Example) -> list[Kind]:
        """What one more run of this example breaks."""
        seen = await self.prober.once(example, "shrink")
        if not (seen.counts and seen.is_in_time):
            seen = await self.prober.patiently(example, "shrink")
        if seen.is_lost:
            self.losses.lose(example)
        return [found.kind(seen) for found in violations(seen, self.suspects.asked)]


def _is_same_race(kind: Kind, suspect: Suspect) -> bool:
    return _is_face(kind, suspect) and kind.phase == suspect.kind.phase


def _is_face(kind: Kind, suspect: Suspect) -> bool:
    return kind.is_like(suspect.kind) and kind.tls == suspect.kind.tls
