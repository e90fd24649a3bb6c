"""A connection that is harmed by the close of another one: which close that is.

By itself such a connection shows nothing, and a crowd that does what it does may show nothing
either: the harm comes from a close of another kind. So it is opened, waits, and those that were
beside it when it was harmed are driven meanwhile; of these, fewer and fewer, until one is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import trio

from tlsprobe.fuzz.alphabet import example_of
from tlsprobe.fuzz.bounds import Bounds
from tlsprobe.fuzz.confirming import Confirmer
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import shows_like
from tlsprobe.fuzz.suspects import Suspect
from tlsprobe.fuzz.trying import Prober
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Awaited, Step
from tlsprobe.model.verbs import RETURNS, Verb

MEANWHILE = 0.5
"""Seconds that a connection waits for what the close of another one does to it."""

MOST_BESIDE = 16
"""So many that were beside it are driven beside it again."""

PART = 1 / 6
"""The part of a run's time that may be spent on looking for such a close in vain."""

NEAREST = 4
"""So many are tried one by one, where all together harm nobody: one may take what is another's."""

_JUST_BEFORE_NS = 500_000_000
"""How long before a connection was ended another one may have done what ended it."""

MOST_KEPT, MOST_LADDERS = 4096, 256
"""So many connections are known at most, and the ladders of so many examples: the last ones."""

_TRIES, _ALONE = 2, 6
_WAIT = (Step(Verb.AWAIT, event=Awaited.END, wait=MEANWHILE),)


class _Ran(NamedTuple):
    """A connection, and when it said or ended something."""

    example: Example
    acts_ns: tuple[int, ...]

    def before_ns(self, time_ns: int) -> int | None:
        """How long before a time it did so last; None if it did not."""
        return min((time_ns - act for act in self.acts_ns if act <= time_ns), default=None)


class Company:
    """Which connections did something when; ``latest`` is the last of each with its ladder."""

    def __init__(self) -> None:
        self._every: deque[_Ran] = deque(maxlen=MOST_KEPT)
        self.latest: dict[Example, Observation] = {}

    def add(self, seen: Observation) -> None:
        """One more was driven."""
        self._every.append(_Ran(seen.example, seen.acts_ns))
        if seen.ladder:
            self.latest.pop(seen.example, None)
            self.latest[seen.example] = seen
            if len(self.latest) > MOST_LADDERS:
                del self.latest[next(iter(self.latest))]

    def beside(self, seen: Observation) -> tuple[Example, ...]:
        """What did something just before the server ended this one, the last of it first."""
        found = dict[Example, int]()
        for ran in self._every:
            before = ran.before_ns(seen.ended_ns) if ran.example != seen.example else None
            if before is not None and before <= _JUST_BEFORE_NS:
                alone = replace(ran.example, together=1, beside=None)
                found[alone] = min(before, found.get(alone, before))
        return tuple(sorted(found, key=lambda example: found[example]))[:MOST_BESIDE]


class Neighbours:
    """Looks for the close that harms a connection beside it.

    ``parts`` gives what an example can be shortened to, the simplest first.
    """

    def __init__(
        self,
        prober: Prober,
        company: Company,
        confirmer: Confirmer,
        parts: Callable[[Example], list[Example]],
        bounds: Bounds,
    ) -> None:
        self.prober = prober
        self.company = company
        self.confirmer = confirmer
        self.parts = parts
        self.bounds = bounds
        self.in_vain_s = 0.0

    async def find(self, suspect: Suspect) -> bool:
        """Whether one of those beside it harms it: its shortest says which one then."""
        before, counted = suspect.shortest, (suspect.broke, suspect.runs)
        if suspect.found.beside is not None or self.in_vain_s > PART * self.bounds.seconds:
            return False
        begun, others = trio.current_time(), self.company.beside(suspect.sighting.seen)
        until = begun + PART * self.bounds.seconds - self.in_vain_s
        every = (others, *((one,) for one in others[:NEAREST])) if len(others) > 1 else (others,)
        for some in every if others else ():
            for harmed in _waiting(suspect.found):
                if trio.current_time() > until:
                    break
                if await self.is_harmed(suspect, harmed, some, tries=1) and await self.is_found(
                    suspect, harmed, some
                ):
                    return True
        self.in_vain_s += trio.current_time() - begun
        suspect.shortest, (suspect.broke, suspect.runs) = before, counted
        return False

    async def is_found(
        self, suspect: Suspect, harmed: Example, others: tuple[Example, ...]
    ) -> bool:
        """Whether one of the others does it, and not the one that is harmed by itself."""
        if await self.shows_alone(suspect, harmed):
            return False
        one = await self.narrowed(suspect, harmed, others)
        if not await self.is_harmed(suspect, harmed, (one,)):
            return False
        culprit = await self.shortened(suspect, harmed, one)
        suspect.shortest, suspect.shrunk = replace(harmed, beside=culprit), True
        if not await self.confirmer.is_harmed(suspect):
            return False
        suspect.other = self.company.latest.get(culprit)
        return True

    async def shows_alone(self, suspect: Suspect, harmed: Example) -> bool:
        """Whether it shows with no other, in one of a few tries side by side."""
        shown = False

        async def once() -> None:
            nonlocal shown
            seen = await self.prober.once(harmed, "control", patient=True)
            shown = shown or shows_like(seen, suspect.kind, self.confirmer.asked)

        async with trio.open_nursery() as nursery:
            for _ in range(_ALONE):
                nursery.start_soon(once)
        return shown

    async def is_harmed(
        self, suspect: Suspect, harmed: Example, others: tuple[Example, ...], tries: int = _TRIES
    ) -> bool:
        """Whether it shows the same beside these, in one of a few tries."""
        for _ in range(tries):
            if self.bounds.may(1):
                seen = await self.prober.beside(harmed, others, "shrink")
                if shows_like(seen, suspect.kind, self.confirmer.asked):
                    return True
        return False

    async def narrowed(
        self, suspect: Suspect, harmed: Example, others: tuple[Example, ...]
    ) -> Example:
        """One of the others: which half of them does it is asked until there is one."""
        while len(others) > 1:
            half = len(others) // 2
            does = await self.is_harmed(suspect, harmed, others[:half])
            others = others[:half] if does else others[half:]
        return others[0]

    async def shortened(self, suspect: Suspect, harmed: Example, culprit: Example) -> Example:
        """The simplest of the parts of a close that does what the whole does."""
        for shorter in self.parts(culprit):
            if await self.is_harmed(suspect, harmed, (shorter,)):
                return shorter
        return culprit

    async def known(self, suspect: Suspect, failures: list[Suspect]) -> Suspect | None:
        """The failure whose close harms this one as well, which shows nothing by itself."""
        for failure in failures if suspect.found.beside is None else ():
            culprit = failure.shortest.beside
            if culprit is None or suspect.violation.name not in {k.name for k in failure.kinds}:
                continue
            for harmed in _waiting(suspect.found)[-1:]:
                if await self.is_harmed(suspect, harmed, (culprit,)):
                    return failure
        return None


def _waiting(example: Example) -> tuple[Example, ...]:
    """Connections that wait before they end: one that does nothing else, and this one itself.

    What is judged begins with a request that is awaited. A handshake in our own hands has no place
    to wait in, and what waits by itself would take too long.
    """
    only = example_of((_WAIT, (Step(Verb.FIN),)), example.tls)
    groups = example.sequence.groups[:-1]
    waits = any(isinstance(s.wait, float) and s.wait >= MEANWHILE for s in example.sequence.steps)
    if example.sequence.is_handshake or waits or not groups:
        return (only,)
    begins = int(groups[0][0].verb in RETURNS)
    begins += any(group[0].verb is Verb.REQUEST for group in groups[begins : begins + 1])
    first, rest = groups[:begins], groups[begins:]
    return tuple(dict.fromkeys((only, example_of((*first, _WAIT, *rest), example.tls))))
