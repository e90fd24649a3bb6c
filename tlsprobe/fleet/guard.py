"""How many targets may be probed at once: as many as leave the event loops on time.

A late event loop makes late steps, and those spoil verdicts (`campaign.spoiled`). So the number
grows by one while nothing is late, and falls by a part as soon as something is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LATE_S = 0.025
"""Lag from which on there are too many: half of what spoils a trial."""

CALM_S = 0.010
"""Lag below which there is room for one more."""

FEWER = 0.75
"""What is left of the number when something was late."""

SETTLES_S = 2.0
"""How long a lower number is given to show what it does."""


@dataclass(frozen=True, slots=True)
class Guard:
    """``allowed`` targets at once, never more than ``most``; ``since`` is when that was lowered."""

    allowed: int
    most: int
    since: float = 0.0

    def after(self, lag_s: float, running: int, now: float) -> Guard:
        """What it allows when the worst lag was so long while so many were probed.

        ``now`` in seconds of any clock that does not jump.
        """
        if lag_s >= LATE_S:
            if now - self.since < SETTLES_S:
                return self
            fewer = max(1, int(min(self.allowed, max(running, 1)) * FEWER))
            return replace(self, allowed=fewer, since=now)
        if lag_s < CALM_S and running >= self.allowed:
            return replace(self, allowed=min(self.most, self.allowed + 1))
        return self
