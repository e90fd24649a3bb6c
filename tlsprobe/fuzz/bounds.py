"""How much a fuzz run may still do: so many examples, so many seconds."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tlsprobe.fuzz.settings import OVER
from tlsprobe.fuzz.trying import Counts

LATE = (1 + OVER) / 2
"""How far beyond its bounds a run still shrinks; what is left then is for confirming."""

RACES, DIFFERENCES = 1 / 2, 4 / 5
"""The parts of the bounds that go by before races are run: they take many connections.

The second is for those in which two runs differ.
"""

_BETWEEN = 0.5


@dataclass(slots=True)
class Bounds:
    """The bounds of a run whose time is counted from ``begun``, on trio's clock.

    What was found late may take ``over`` seconds more. ``under_way`` examples are being tried and
    not counted yet.
    """

    examples: int
    seconds: float
    over: float
    counts: Counts
    begun: float
    under_way: int = 0

    def at(self, part: float) -> float:
        """When this part of the time is over, on trio's clock; beyond 1 of what comes after it."""
        beyond = max(0.0, part - 1) / (OVER - 1)
        return self.begun + min(part, 1) * self.seconds + beyond * self.over

    @property
    def last(self) -> float:
        """When everything is dropped, whatever is unfinished."""
        return self.at(OVER)

    def may(self, part: float) -> bool:
        """Whether both bounds, this much of each, leave room for another example."""
        tried = len(self.counts.examples) + self.under_way
        return tried < part * self.examples and trio.current_time() < self.at(part)

    def is_time_for_races(self, *, comparing: bool) -> bool:
        """Whether what shows only now and then is looked into by now."""
        return not self.may(DIFFERENCES if comparing else RACES)

    @property
    def may_finish(self) -> bool:
        """Whether there is time to confirm more."""
        return trio.current_time() < self.last

    def time_to_confirm(self, count: int, patience: float) -> float:
        """When shrinking has to end so that as many failures can still be confirmed.

        A server that never ends costs each of them the whole ``patience``.
        """
        needed = count * (patience + _BETWEEN)
        return min(self.at(LATE), max(self.last - needed, self.at(1 / 2)))
