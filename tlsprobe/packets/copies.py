"""Tells a packet that was captured twice from one that was sent twice."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import repeat

_GENERATION = 2048
_PLACES = 64
"""A packet that passes more places than these goes round in circles."""

ELSEWHERE_NS = 20 * 10**6
SAME_ID_NS = 10**9
SAME_PLACE_NS = 10**6


class Copies:
    """Remembers the packets of a moment ago, to know one that was merely captured twice.

    At another place the n-th of several equal packets is a copy if the first place has seen n of
    them: two RSTs in a row may well be equal. At one place only an IPv4 id tells a copy from a
    packet that was sent again: a sender that counts its packets never uses one twice at once. Where
    that shows that most are captured twice, as where a switch mirrors both of its ports, those that
    have no id are too, an RST of Linux's among them.
    The copy may be the elder one by its time: dumpcap writes what several interfaces see in turns,
    many packets of one before those of the next.
    """

    def __init__(self) -> None:
        # When the younger generation is full it becomes the elder, and that is forgotten.
        self._younger: dict[Hashable, _Sighting | _Counts] = {}
        self._elder: dict[Hashable, _Sighting | _Counts] = {}
        self._doubled = 0  # of the younger generation, by their ids, at one place

    def has(self, packet: Hashable, time_ns: int, place: int, ip_id: int | None) -> bool:
        """Whether this is a copy; it is remembered in any case.

        ``packet`` is all that two copies share, the IPv4 id among it: 0 or None tells nothing.
        """
        now = time_ns, place
        known = self._younger.setdefault(packet, now)
        if known is now:
            if len(self._younger) > _GENERATION:
                self._elder, self._younger, self._doubled = self._younger, {}, 0
            elif packet in self._elder:
                known = self._elder[packet]
        return known is not now and self._is_copy(packet, known, now, bool(ip_id))

    def are_new(self, packets: Sequence[Hashable], times_ns: Sequence[int], place: int) -> bool:
        """Whether none of these was ever seen, at any place; only then they are remembered."""
        fresh = frozenset(packets)
        known = self._younger.keys(), self._elder.keys()
        if len(fresh) < len(packets) or not all(keys.isdisjoint(fresh) for keys in known):
            return False
        at = 0
        while at < len(packets):
            part = slice(at, at + _GENERATION + 1 - len(self._younger))
            self._younger.update(
                zip(packets[part], zip(times_ns[part], repeat(place), strict=False), strict=True)
            )
            if len(self._younger) > _GENERATION:
                self._elder, self._younger, self._doubled = self._younger, {}, 0
            at = part.stop
        return True

    def _is_copy(
        self, packet: Hashable, known: _Sighting | _Counts, now: _Sighting, has_id: bool
    ) -> bool:
        time_ns, place = now
        counts = _Counts(*known) if isinstance(known, tuple) else known
        age_ns = time_ns - counts.since_ns
        if not -ELSEWHERE_NS <= age_ns <= (SAME_ID_NS if has_id else ELSEWHERE_NS):
            self._younger[packet] = now
            return False
        self._younger[packet] = counts
        count = counts.add(place)
        if counts.is_matched(place, count):
            return True
        if count == 1 or age_ns > SAME_PLACE_NS:
            return False
        if has_id:
            self._doubled += 1
            return True
        return count % 2 == 0 and self._doubled * 2 >= len(self._younger)


_Sighting = tuple[int, int]
"""When a packet was seen, and at which place."""


class _Counts:
    """How often each place has seen a packet, since the first did."""

    __slots__ = ("_times", "since_ns")

    def __init__(self, since_ns: int, place: int) -> None:
        self.since_ns = since_ns
        self._times = {place: 1}

    def add(self, place: int) -> int:
        """Once more at this place; how often that makes."""
        count = self._times.get(place, 0) + 1
        if count > 1 or len(self._times) < _PLACES:
            self._times[place] = count
        return count

    def is_matched(self, place: int, count: int) -> bool:
        """Whether any other place has seen it as often."""
        return any(times >= count for other, times in self._times.items() if other != place)
