"""Sorts packets into connections: the same for packets that the sniffer sees as for a file's.

A port is used again, and then packets of two connections go between the same endpoints: late
acknowledgements, repeated FINs and RSTs of the older one among those of the younger. They are told
apart by their numbers, since each side's initial sequence number differs from connection to
connection. What cannot be told goes to the younger one, which is in doubt from then on.

A capture may be of any size, so nothing here grows with it: connections are given back when their
port is used again, when too much is held, and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tlsprobe.flows.connection import Connection
from tlsprobe.model.trace import Flag
from tlsprobe.packets.packet import Packet, reverse
from tlsprobe.packets.stretch import Stretch

_SYN = Flag.SYN

HELD = 200_000
"""So many segments are held over all connections; beyond, the longest silent are let go.

What else a connection takes is counted as segments: itself, and bytes that wait for a hole to fill.
"""


class Pair:
    """The connection that goes on between two endpoints, and the one before it.

    Packets with the ``key`` go way 0, those with its reverse way 1.
    """

    __slots__ = ("before", "key", "now")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.before: Connection | None = None
        self.now: Connection | None = None

    def choose(self, packet: Packet, way: int) -> Connection | None:
        """The connection that the packet belongs to; None if it begins another."""
        now = self.now
        if now is None or (packet.flags & _SYN and now.is_succeeded_by(packet, way)):
            return None
        if now.released and not now.may_have_sent(packet, way, now.opener):
            return None
        before = self.before
        if before is None or packet.relative:
            return now
        younger = now.may_send(packet, way)
        older = before.may_have_sent(packet, way, now.opener)
        if younger is older:
            now.doubtful = True
        return before if older and not younger else now

    def begin(self, connection: Connection) -> Connection | None:
        """Another connection; returns the one that nothing is compared with any more."""
        gone, self.before, self.now = self.before, self.now, connection
        return gone

    def connections(self) -> Iterator[Connection]:
        """Those that are followed, the older first."""
        if self.before is not None:
            yield self.before
        if self.now is not None:
            yield self.now


def connections(
    packets: Iterable[Packet | Stretch],
    *,
    text: bool = False,
    keep_bodies: bool = False,
    held: int = HELD,
) -> Iterator[Connection]:
    """The connections of a capture, each given back once nothing more can belong to it.

    ``text`` says that the packets come from print and carry no payload, ``keep_bodies`` that TLS
    records are wanted with their ciphertext, ``held`` how many segments may be in memory.
    """
    tracker = Tracker(text=text, keep_bodies=keep_bodies, held=held)
    yield from tracker.follow(packets)
    yield from tracker.open()


class Tracker:
    """The connections that go on; what `connections` does with a whole capture, bit by bit.

    ``forgotten`` counts those that had not ended when they had to make room.
    """

    def __init__(self, *, text: bool = False, keep_bodies: bool = False, held: int = HELD) -> None:
        """The arguments are those of `connections`."""
        self._text = text
        self._keep_bodies = keep_bodies
        self._most = held
        self._held = 0
        self.forgotten = 0
        self._ways: dict[bytes, tuple[Pair, int]] = {}

    def open(self) -> Iterator[Connection]:
        """Those that are followed now."""
        for pair, way in self._ways.values():
            if way == 0:
                yield from pair.connections()

    def follow(self, packets: Iterable[Packet | Stretch]) -> Iterator[Connection]:
        """Takes more packets; gives back what nothing more can belong to, or has to make room."""
        ways, text, keep_bodies, held = self._ways, self._text, self._keep_bodies, self._most
        for seen in self._singly(packets):
            packet = seen
            if packet.copy:
                _note_copy(ways, packet)
                continue
            if not packet.time_ns:  # print without times: the order is all there is
                packet = packet._replace(time_ns=packet.number)
            known = ways.get(packet.key)
            if known is None:
                known = Pair(packet.key), 0
                ways[reverse(packet.key)] = known[0], 1
                ways[packet.key] = known
            pair, way = known
            found = pair.now
            if found is None or pair.before is not None or packet.flags & _SYN or found.released:
                found = pair.choose(packet, way)
            had = 0 if found is None else found.held
            if found is None:
                found = Connection(
                    pair.key, packet, walks=not text, keep_bodies=keep_bodies, printed=text
                )
                gone = pair.begin(found)
                if gone is not None:
                    self._held -= gone.held
                    yield gone
            found.add(packet, way)
            self._held += found.held - had
            if self._held > held:
                for done in _longest_silent(ways):
                    self._held -= done.held
                    self.forgotten += not done.ended
                    yield done

    def _singly(self, packets: Iterable[Packet | Stretch]) -> Iterator[Packet]:
        """Those that are to be looked at one by one; the others are added."""
        for seen in packets:
            if not isinstance(seen, Stretch):
                yield seen
            elif not self._goes_on(seen):
                yield from seen.packets()

    def _goes_on(self, stretch: Stretch) -> bool:
        pair, way = self._ways.get(stretch.key, (None, 0))
        if pair is None or pair.now is None or pair.before is not None:
            return False
        had = pair.now.held
        is_taken = pair.now.go_on(stretch, way)
        self._held += pair.now.held - had
        return is_taken

    def drop(self, unwanted: Callable[[Connection], bool]) -> list[Connection]:
        """Stops to follow these, and returns them."""
        chosen = []
        for pair in [pair for pair, way in self._ways.values() if way == 0]:
            found = [connection for connection in pair.connections() if unwanted(connection)]
            chosen += found
            for connection in found:
                _forget(self._ways, pair, connection)
        self._held -= sum(connection.held for connection in chosen)
        return chosen


def _note_copy(ways: dict[bytes, tuple[Pair, int]], packet: Packet) -> None:
    known = ways.get(packet.key)
    if known is not None and known[0].now is not None:
        known[0].now.copies += 1


def _longest_silent(ways: dict[bytes, tuple[Pair, int]]) -> list[Connection]:
    """Takes the half of all connections that was heard of longest ago, ended ones first."""
    pairs = [pair for pair, way in ways.values() if way == 0]
    every = [(connection, pair) for pair in pairs for connection in pair.connections()]
    every.sort(key=lambda one: (not one[0].ended, one[0].last_ns))
    chosen = every[: max(1, len(every) // 2)]
    for connection, pair in chosen:
        _forget(ways, pair, connection)
    return [connection for connection, _ in chosen]


def _forget(ways: dict[bytes, tuple[Pair, int]], pair: Pair, connection: Connection) -> None:
    if pair.before is connection:
        pair.before = None
    else:
        pair.now = None
    if pair.before is None and pair.now is None:
        ways.pop(pair.key)
        ways.pop(reverse(pair.key), None)
