"""What the targets of a fuzz run have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace

import trio

from tlsprobe.campaign.capturing import capturing
from tlsprobe.campaign.pace import Pace
from tlsprobe.campaign.reach import Reached, numeric, rate_to
from tlsprobe.campaign.shaping import shaper_to
from tlsprobe.facts.file import FactsInMemory, FactsStore
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.settings import FuzzSettings, FuzzWatcher
from tlsprobe.fuzz.trying import Counts, Prober, Tell
from tlsprobe.model.target import Target
from tlsprobe.protocols import is_commanded

Stores = Callable[[Target], FactsStore]
"""Gives each target the place for its facts."""


def in_memory(_: Target) -> FactsStore:
    """A place that nobody keeps."""
    return FactsInMemory()


class Shared:
    """What the targets of a fuzz run share: its bounds, and the count of what was done."""

    def __init__(
        self,
        settings: FuzzSettings,
        reached: Iterable[Reached],
        watcher: FuzzWatcher,
        facts: Stores = in_memory,
    ) -> None:
        self.run = settings.run
        self.shapes = settings.shapes
        self.watcher = watcher
        self.facts = facts
        self.counts = Counts()
        self.pace = Pace(rate_to(reached, settings.run), last=trio.current_time())
        self.working = trio.CapacityLimiter(settings.run.concurrency)
        self.told: list[Tell] = []

    async def prober(self, target: Target, reached: Reached, captures: AsyncExitStack) -> Prober:
        """A target with its capture; the first one's goes to a file. Raises CannotMeasure."""
        run, (host, port) = self.run, numeric(reached.address)
        route = next(iter(reached.routes.values()))
        captured = None if is_commanded(route.converse) else port
        capture = await captures.enter_async_context(
            capturing(run, host, captured, self.watcher.warned, reached.led_to)
        )
        self.run = replace(run, pcapng=None)
        facts = self.facts(target)
        facts.append(reached.fact)
        number = len(self.told)
        self.told.append(lambda _seen, _why: None)

        def tell(seen: Observation, why: str) -> None:
            self.told[number](seen, why)  # whoever listens by then

        shaper = None
        if self.shapes:
            shaper = await captures.enter_async_context(shaper_to(reached, run.namespace))
        parts = self.counts, self.pace, self.working, tell, facts
        return Prober(target, reached, capture, *parts, shaper)
