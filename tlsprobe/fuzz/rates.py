"""How often a race is lost: a rate, with the interval that holds it."""

from __future__ import annotations

import re
from math import sqrt

from tlsprobe.model.fuzz import Rate

_Z = 1.96
"""Standard deviations to either side that hold 95 % of what is normally distributed."""


def rate_of(broke: int, runs: int) -> Rate | None:
    """The rate with its interval by Wilson, which holds for small counts too; None without runs."""
    if not runs:
        return None
    share, z2 = broke / runs, _Z * _Z / runs
    centre = (share + z2 / 2) / (1 + z2)
    around = _Z * sqrt(share * (1 - share) / runs + z2 / (4 * runs)) / (1 + z2)
    least, most = max(0.0, centre - around), min(1.0, centre + around)
    return Rate(broke, runs, min(least, share), max(most, share))


def rate_told(confirmed: str) -> Rate | None:
    """The rate of "4/50", as a failure's file says it; None for a text that says none."""
    told = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", confirmed)
    broke, runs = map(int, told.groups()) if told else (0, 0)
    return rate_of(broke, runs) if 0 < broke <= runs else None
