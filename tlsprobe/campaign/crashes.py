"""A close that ends other connections with it, time and again, as where a process crashes on it.

A server that accepts in one process and serves in others goes on listening when one of them dies:
no connection is refused. What it dies of shows in the others that this process served. They end in
the same moment, though some had waited for a small part of what their idle timer gives them, or are
told why, as PostgreSQL does (57P02). And whatever else ends all of them, such as a reload, does not
come each time when the same close does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from tlsprobe.campaign.collapses import OFTEN, PART, QUIET_NS, TOGETHER_NS, Close, Gone
from tlsprobe.campaign.shutting import OPENING_NS

DIES_NS = 150_000_000
"""Whoever dies of a close does so no longer than this behind its last bytes."""

APART_NS = 100_000_000
"""Deaths that are nearer to each other than this may be one."""


class _Found(NamedTuple):
    """The closes that others ended with, and the places of those others."""

    closes: tuple[Gone, ...] = ()
    fallen: frozenset[int] = frozenset()


class Crashes:
    """Which closes of a run ended other connections, by all that was driven."""

    def __init__(self) -> None:
        self._closes: list[Close] = []
        self._waiting: list[Close] = []
        self._longest: defaultdict[str, int] = defaultdict(int)
        self._early: list[int] = []
        self._told: list[Close] = []
        self._unopened: list[tuple[int, int]] = []  # when those ended that came to no close, places
        self._hit: set[str] = set()
        self._found: _Found | None = _Found()

    def see(self, close: Close) -> None:
        """Take one more connection into account.

        What was found is worked out anew only where this one may bear on it: runs are long.
        """
        if close.taken_ns is None:
            return
        if close.acted_ns == 0 and close.end_ns is not None:
            self._unopened.append((close.end_ns, close.place))
            if self._told:
                self._found = None
        if close.told:
            self._told.append(close)
            if close.end_ns is not None:
                insort(self._early, close.end_ns)
            self._found = None
        elif not close.waits:
            self._closes.append(close)
            may = close.end_ns is not None and _is_one_near(self._early, close.end_ns)
            if may or close.sequence in self._hit:
                self._found = None
        elif close.quiet_ns >= QUIET_NS:
            self._waiting.append(close)
            longest = max(self._longest[close.sequence], close.quiet_ns)
            self._longest[close.sequence] = longest
            if close.end_ns is not None and close.quiet_ns * PART <= longest:
                insort(self._early, close.end_ns)
                self._found = None

    @property
    def were_told(self) -> bool:
        """Whether the server itself said that a process of its had died."""
        return bool(self._told)

    @property
    def fallen(self) -> frozenset[int]:
        """The places of the connections that ended with such a close of another sequence."""
        return self._known().fallen

    def behind(self) -> list[Gone]:
        """The closes that others ended with, the surest first."""
        return list(self._known().closes)

    def _known(self) -> _Found:
        if self._found is None:
            self._found = self._find()
        return self._found

    def _find(self) -> _Found:
        hits = self._hits()
        self._hit = set(hits)
        closes = []
        for sequence, ends in hits.items():
            times = 1 + sum(behind - before > APART_NS for before, behind in pairwise(ends))
            of = len(ends) + self._spared(sequence, ends)
            if times > 1 and len(ends) >= OFTEN * of:
                closes.append(Gone(sequence, times, len(ends), of))
        closes.sort(key=lambda gone: -gone.times)
        fallen = (place for gone in closes for place in self._ended_with(gone, hits))
        return _Found(tuple(closes), frozenset(fallen) | frozenset(self._ended_with_told()))

    def _ended_with_told(self) -> Iterator[int]:
        """Those that were told of a death, and those that it kept from coming to their close."""
        deaths = sorted(one.end_ns for one in self._told if one.end_ns is not None)
        yield from (one.place for one in self._told)
        for end_ns, place in self._unopened:
            near = bisect_left(deaths, end_ns - OPENING_NS)
            if near < len(deaths) and deaths[near] <= end_ns + OPENING_NS:
                yield place

    def _hits(self) -> dict[str, list[int]]:
        """When a sequence's trials ended together with some whose timer was not over, in order.

        Where those of two sequences did, either may be why.
        """
        early = sorted(
            one.end_ns
            for one in (*self._waiting, *self._told)
            if one.end_ns is not None
            and (one.told or one.quiet_ns * PART <= self._longest[one.sequence])
        )
        suspects = sorted(
            (one.end_ns, one.sequence)
            for one in self._closes
            if one.end_ns is not None and _may_have_killed(one) and _is_one_near(early, one.end_ns)
        )
        hits: defaultdict[str, list[int]] = defaultdict(list)
        for end_ns, sequence in suspects:
            first = bisect_left(suspects, (end_ns - TOGETHER_NS, ""))
            last = bisect_left(suspects, (end_ns + TOGETHER_NS + 1, ""))
            if {name for _, name in suspects[first:last]} == {sequence}:
                hits[sequence].append(end_ns)
        return hits

    def _spared(self, sequence: str, ends: list[int]) -> int:
        """How many of its trials ended while others waited, and took none of them along."""
        waiting = sorted((one.taken_ns or 0, one.until_ns) for one in self._waiting)
        taken = [begun for begun, _ in waiting]
        until = list(accumulate((end for _, end in waiting), max))
        spared = 0
        for one in self._closes:
            if one.sequence != sequence or one.end_ns is None or _is_one_near(ends, one.end_ns):
                continue
            begun = bisect_left(taken, one.end_ns)
            spared += begun > 0 and until[begun - 1] > one.end_ns
        return spared

    def _ended_with(self, gone: Gone, hits: dict[str, list[int]]) -> Iterator[int]:
        for one in (*self._closes, *self._waiting):
            ended = one.end_ns is not None and _is_one_near(hits[gone.sequence], one.end_ns)
            if ended and one.sequence != gone.sequence:
                yield one.place


def _may_have_killed(close: Close) -> bool:
    """Whether the server ended it without an alert, right behind something that we did."""
    if close.end_ns is None or close.alerted:
        return False
    return close.end_ns - close.acted_ns <= DIES_NS


def _is_one_near(times: list[int], time_ns: int) -> bool:
    """Whether one of these, in their order, is together with that."""
    last = bisect_right(times, time_ns + TOGETHER_NS)
    return last > 0 and times[last - 1] >= time_ns - TOGETHER_NS
