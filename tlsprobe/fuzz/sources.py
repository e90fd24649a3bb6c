"""Where examples come from: what is known, the first closes of all, what is drawn, and mutants.

What was new (a signature that nobody had shown before) is changed a little and tried again; every
other example is drawn by hypothesis, so that the search does not stay where it began.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from tlsprobe.fuzz.alphabet import Alphabet
from tlsprobe.fuzz.mutation import mutant
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.strategies import generate
from tlsprobe.model.fuzz import Example
from tlsprobe.model.sequence import Group

_DRAWN = 20
"""Examples drawn for each that is wanted: many are drawn twice, and tried once."""


class Sources:
    """The examples of a run, one after the other: ``first``, then drawn ones and mutants in turn.

    ``parents`` are examples that mutants begin from, too. ``number`` seeds what is drawn.
    """

    def __init__(
        self, letters: Alphabet, first: Iterable[Example], parents: Iterable[Example], number: int
    ) -> None:
        self.letters = letters
        self.first: deque[Example] = deque(first)
        self.parents: list[Example] = list(parents)
        self.number = number
        self.given = 0
        self._chance = random.Random(number)
        self._dead: set[tuple[str, tuple[Group, ...]]] = set()
        self._drawn: trio.MemoryReceiveChannel[Example] | None = None

    @asynccontextmanager
    async def open(self, most: int) -> AsyncIterator[None]:
        """Hypothesis draws, in a thread that is never further ahead than one, ``most`` in all."""
        send, self._drawn = trio.open_memory_channel[Example](0)

        def take(example: Example) -> None:
            trio.from_thread.run(send.send, example)

        async def work() -> None:
            async with send:
                number, many = self.number, _DRAWN * most
                await trio.to_thread.run_sync(generate, lambda: self.letters, number, many, take)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield
            nursery.cancel_scope.cancel()

    async def next(self) -> Example:
        """The next one. Raises trio.EndOfChannel when there is nothing left to draw."""
        if self.first:
            return self.first.popleft()
        self.given += 1
        if self.parents and self.given % 2:
            return mutant(self.letters, self.parents, self._chance)
        assert self._drawn is not None
        return await self._drawn.receive()

    def learn(self, seen: Observation, *, is_new: bool) -> None:
        """An example was tried: what was new has offspring, what came too late for it has none."""
        if is_new:
            self.parents.append(seen.example)
        groups = seen.example.sequence.groups
        if seen.over_before and len(groups) - 1 > seen.over_before:
            self._dead.add((seen.example.tls, groups[: -1 - seen.over_before]))

    def is_dead(self, example: Example) -> bool:
        """Whether it goes on behind a point at which the server is known to have ended it."""
        groups = example.sequence.groups[:-1]
        return any((example.tls, groups[:end]) in self._dead for end in range(1, len(groups)))
