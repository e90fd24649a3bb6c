"""The spread of some durations."""

from __future__ import annotations

from statistics import quantiles

from tlsprobe.model.run import Spread


def spread(values: list[float]) -> Spread:
    """Minimum, median, 95th percentile and maximum of some durations."""
    if not values:
        return Spread(0)
    ordered = sorted(values)
    if len(ordered) == 1:
        return Spread(1, *(round(ordered[0], 1) for _ in range(4)))
    cuts = quantiles(ordered, n=20, method="inclusive")
    ends = (ordered[0], cuts[9], cuts[18], ordered[-1])
    return Spread(len(ordered), *(round(value, 1) for value in ends))
