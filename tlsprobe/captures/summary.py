"""Light facts of every flow of a capture, gathered in one quick pass and within bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import compress, count
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from tlsprobe.packets.packet import reverse

if TYPE_CHECKING:
    from tlsprobe.captures.columns import Columns

HALF_LIMIT = 150_000
"""Directions of flows held at once, in half a kilobyte each, and a quarter more for each mark."""
MARK_LIMIT = 64
"""Marks kept of one direction; what comes after them is counted."""
ALL_MARKS_LIMIT = 200_000
LISTED_LIMIT = 4_000_000
"""Of so many packets it is remembered whose they are and where they lie, in twelve bytes each."""
_GONE_LIMIT = 200_000
"""So many halves that had to make room are remembered, by their hashes."""

_FIN, _SYN, _RST = 0x01, 0x02, 0x04
_seq_and_ack = Struct("!II").unpack
_new = tuple.__new__


class Mark(NamedTuple):
    """A packet that opens, closes or resets: one with SYN, FIN or RST.

    ``ack`` is what the header holds, whether or not the ACK flag is set.
    """

    number: int
    time_ns: int
    flags: int
    seq: int
    ack: int


@dataclass(slots=True, eq=False)
class Half:
    """One direction between two endpoints, over all connections of the file that used them.

    ``flags`` is what was ever set of SYN, FIN and RST. ``marks`` holds the packets that have one of
    them, in order; when there are too many, ``unmarked`` counts the ones left out. ``serial`` is
    what `Summary.owners` calls it, -1 where not all of its packets are known there. ``other`` is
    the other direction, None if it never spoke.
    """

    key: bytes
    first_number: int
    first_ns: int
    packets: int = 0
    last_ns: int = 0
    last: bytes = b""
    flags: int = 0
    unmarked: int = 0
    marks: list[Mark] = field(default_factory=list)
    serial: int = -1
    other: Half | None = None

    @property
    def numbers(self) -> tuple[int, int]:
        """The sequence number and the acknowledgement field of the latest packet."""
        seq, ack = _seq_and_ack(self.last)
        return seq, ack

    @property
    def seq(self) -> int:
        """The sequence number of the latest packet."""
        return int.from_bytes(self.last[0:4], "big")

    @property
    def ack(self) -> int:
        """The acknowledgement field of the latest packet."""
        return int.from_bytes(self.last[4:8], "big")

    @property
    def reset(self) -> bool:
        """Whether this side ever sent an RST."""
        return bool(self.flags & _RST)


@dataclass(slots=True)
class Summary:
    """One `Half` for each `flow_key` seen.

    To bound memory, flows that ended without an RST make room when there are very many: they are
    counted in ``retired``; if that does not do, the idle ones, and of the reset ones the latest,
    are counted in ``forgotten``. Both are numbers of halves. ``owners`` has the serial number of
    the half that each packet of the capture is of, -1 for none. ``columns`` are the same facts of
    a large capture, where no half was needed yet; its place is the serial number.
    """

    retired: int = 0
    forgotten: int = 0
    limit: int = HALF_LIMIT
    owners: array[int] = field(default_factory=lambda: array("i"))
    columns: Columns | None = None
    _halves: dict[bytes, Half] = field(default_factory=dict)
    _later: Callable[[], None] | None = None
    _serials: int = 0
    _marks: int = 0
    _lists: bool = True
    _gone: set[int] = field(default_factory=set)

    @property
    def halves(self) -> dict[bytes, Half]:
        """By their keys, in the order in which they began."""
        self.ready()
        return self._halves

    @halves.setter
    def halves(self, halves: dict[bytes, Half]) -> None:
        self._halves = halves

    def later(self, fill: Callable[[], None]) -> None:
        """Has somebody fill the halves once they are asked for."""
        self._later = fill

    def ready(self) -> None:
        """Has the halves filled, if they are not."""
        fill, self._later = self._later, None
        if fill is not None:
            fill()

    def pairs(self) -> Iterator[tuple[Half, Half | None]]:
        """Each flow once, the half seen first in front, the other None if it never spoke."""
        for half in self.halves.values():
            other = half.other
            if other is None or half.first_number < other.first_number:
                yield half, other

    def begin(self, key: bytes, number: int, time_ns: int) -> Half:
        """A new half, for which room is made if there is none."""
        if len(self._halves) >= self.limit:
            self._make_room()
        half = self._halves[key] = Half(key, number, time_ns)
        if self._lists and not (self._gone and hash(key) in self._gone):
            half.serial = self._serials
            self._serials += 1
        other = self._halves.get(reverse(key))
        if other is not None and other is not half:
            half.other, other.other = other, half
        return half

    def note(self, key: bytes, number: int, time_ns: int, flags: int, numbers: bytes) -> int:
        """One more packet; returns the half's serial number."""
        half = self.halves.get(key)
        if half is None:
            half = self.begin(key, number, time_ns)
        half.packets += 1
        half.last_ns = time_ns
        half.last = numbers
        if flags & (_FIN | _SYN | _RST):
            self.mark(half, number, time_ns, flags, numbers)
        return half.serial

    def stop_listing(self) -> None:
        """There are too many packets to remember whose each is."""
        self._lists = False
        del self.owners[:]
        for half in self.halves.values():
            half.serial = -1

    def listed(self, wanted: Callable[[bytes], bool]) -> list[int] | None:
        """The numbers of all packets of wanted keys, in order; None where some are not known."""
        chosen = self.chosen(wanted)
        if chosen is None:
            return None
        return list(compress(count(1), map(chosen.__getitem__, self.owners)))

    def chosen(self, wanted: Callable[[bytes], bool]) -> bytearray | None:
        """For each serial number whether its half is wanted; None where some are not known."""
        chosen = bytearray(self._serials + 1)  # one more for what is nobody's, at its end
        for key, half in self.halves.items():
            if wanted(key):
                if half.serial < 0:
                    return None
                chosen[half.serial] = 1
        return chosen

    def mark(self, half: Half, number: int, time_ns: int, flags: int, numbers: bytes) -> None:
        """Remembers a packet with SYN, FIN or RST; ``numbers`` are its seq and ack as sent."""
        half.flags |= flags & (_FIN | _SYN | _RST)
        if len(half.marks) >= MARK_LIMIT or self._marks >= ALL_MARKS_LIMIT:
            half.unmarked += 1
            return
        self._marks += 1
        # Not by its constructor, which takes longer than all the rest.
        half.marks.append(_new(Mark, (number, time_ns, flags, *_seq_and_ack(numbers))))

    def mark_all(self, half: Half, flags: int, marks: list[Mark]) -> None:
        """Remembers several packets with SYN, FIN or RST; ``flags`` is what any of them has."""
        half.flags |= flags & (_FIN | _SYN | _RST)
        room = max(0, min(MARK_LIMIT - len(half.marks), ALL_MARKS_LIMIT - self._marks, len(marks)))
        half.unmarked += len(marks) - room
        half.marks += marks[:room]
        self._marks += room

    def _make_room(self) -> None:
        """Lets go of a quarter of the halves at least, those that matter least first."""
        pairs = sorted(self.pairs(), key=_worth)
        goal = self.limit * 3 // 4
        if len(self._gone) > _GONE_LIMIT:
            # Which of the next keys were there before can no longer be told.
            self._lists = False
            self._gone.clear()
        for first, second in pairs:
            if len(self.halves) <= goal:
                return
            both = [half for half in (first, second) if half is not None]
            for half in both:
                del self.halves[half.key]
                half.other = None
                self._marks -= len(half.marks)
                self._gone.add(hash(half.key))
            if _is_done(first, second):
                self.retired += len(both)
            else:
                self.forgotten += len(both)


def _is_done(first: Half, second: Half | None) -> bool:
    flags = first.flags | (second.flags if second else 0)
    return not flags & _RST and bool(first.flags & _FIN and second and second.flags & _FIN)


def _worth(pair: tuple[Half, Half | None]) -> tuple[int, int]:
    """Done, then idle for longest, then of the reset ones those that came last."""
    first, second = pair
    if first.reset or (second and second.reset):
        return 2, -first.first_number
    return (0 if _is_done(first, second) else 1), max(
        first.last_ns, second.last_ns if second else 0
    )
