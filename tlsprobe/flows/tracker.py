"""Sorts the segments of a capture into connections, keeping of each only what matters at its end.

A capture may be of any size, so nothing here grows with it: of a connection the opening and the
latest segments are kept, the state of both streams, and the TLS records at both ends of each.
Connections are given back when their port is used again, when too much is held, and at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from tlsprobe.model.trace import Coverage, Flag, Segment, Side
from tlsprobe.packets.packet import Endpoint, Packet
from tlsprobe.records.walk import RecordWalk

_FIN, _SYN, _RST, _ACK = (int(flag) for flag in (Flag.FIN, Flag.SYN, Flag.RST, Flag.ACK))
_HALF, _MASK = 0x8000_0000, 0xFFFF_FFFF

OPENING, LATEST = 16, 240
"""So many segments of a connection are kept from its beginning, and from its end."""

HELD = 200_000
"""So many segments are held over all connections; beyond, the longest silent are let go.

What else a connection takes is counted as segments: itself, and bytes that wait for a hole to fill.
"""

_ITSELF, _ITSELF_WITH_BODIES = 16, 240
_WAITING_BYTES = 256

_SCATTERED = 256
_NEAR = 1 << 20

Kept = tuple[
    int, int, int, int, int, int, int | None, int, int | None, int | None, bool, bool | None
]
"""A segment, its way (0: as the first packet went) in place of a side."""


class Stream:
    """What one side's bytes amount to: where they start, and which of them were seen.

    ``base`` is the number of the first byte as on the wire, None until one was seen;
    ``relative_base`` the same for numbers that a text counts from the flow's start.
    """

    __slots__ = ("acked", "base", "holed", "opened", "reached", "scattered", "spoke", "whole")

    relative_base = 1

    def __init__(self) -> None:
        self.base: int | None = None
        self.reached = 0
        self.acked = 0
        self.whole: int | None = None
        self.scattered: list[tuple[int, int]] = []
        self.holed = False
        self.opened = False
        self.spoke = False

    def saw(self, start: int, end: int) -> None:
        """Offsets that a segment covers, its FIN included. Most come in order."""
        if self.whole is None:
            self.whole = 0 if self.opened else start
        if start > self.whole:
            self.scattered.append((start, end))
            if len(self.scattered) > _SCATTERED:
                self._settle()
        elif end > self.whole:
            self.whole = end

    def _settle(self) -> None:
        """Too many loose ends: what is still missing was not captured."""
        self.scattered.sort()
        for start, end in self.scattered:
            assert self.whole is not None
            self.holed = self.holed or start > self.whole
            self.whole = max(self.whole, end)
        self.scattered.clear()

    def is_whole(self) -> bool:
        """Whether all was seen that the peer acknowledged; silence has nothing to miss."""
        reached = self.whole if self.whole is not None else 0
        for start, end in sorted(self.scattered):
            if start > reached:
                break
            reached = max(reached, end)
        return not self.holed and reached >= self.acked


class Connection:
    """One connection as a capture shows it. ``ends`` are its endpoints, the first speaker's first.

    ``opener`` is the way (0 or 1) that the SYN went, None if none was seen. ``presumed`` says that
    a bare RST's number could not be compared and was taken to fit.
    """

    __slots__ = (
        "_initial",
        "_latest",
        "_opening",
        "_weight",
        "ended",
        "ends",
        "last_ns",
        "left_out",
        "only_syns",
        "opener",
        "presumed",
        "rsts",
        "streams",
        "walks",
    )

    def __init__(self, first: Packet, *, walks: bool, keep_bodies: bool) -> None:
        self.ends: tuple[Endpoint, Endpoint] = (first.src, first.dst)
        self.opener: int | None = None
        self.streams = (Stream(), Stream())
        opens = bool(first.flags & _SYN)
        self.walks = (
            tuple(RecordWalk(from_start=opens, keep_bodies=keep_bodies) for _ in range(2))
            if walks
            else ()
        )
        self.ended = self.presumed = False
        self.only_syns = True
        self.rsts = self.left_out = 0
        self._weight = _ITSELF_WITH_BODIES if keep_bodies else _ITSELF
        self.last_ns = first.time_ns
        self._initial: int | None = None
        self._opening: list[Kept] = []
        self._latest: deque[Kept] = deque()

    @property
    def held(self) -> int:
        """What it takes in memory, in segments."""
        weight = self._weight
        for walk in self.walks:
            if walk.waiting_bytes:
                weight += walk.waiting_bytes // _WAITING_BYTES
        return weight

    def is_succeeded_by(self, packet: Packet, way: int) -> bool:
        """Whether this packet opens another connection between the same endpoints."""
        if packet.flags & (_SYN | _ACK) != _SYN or packet.seq == self._initial:
            return False
        crossing = self.only_syns and self.opener is not None and way != self.opener
        return not crossing

    def distance(self, packet: Packet, way: int) -> int:
        """How far an RST's number is from where its sender's stream stands."""
        stream = self.streams[way]
        if stream.base is None or packet.relative:
            return 0
        return abs(_offset(packet.seq, stream.base, stream.reached) - stream.reached)

    def add(self, packet: Packet, way: int, *, text: bool) -> None:
        """One more packet; ``way`` is 0 if it goes as the first one did."""
        flags, length = packet.flags, packet.length
        own, peer = self.streams[way], self.streams[1 - way]
        if flags & _SYN:
            self._opens(packet, way)
        else:
            self.only_syns = False
            self.ended = self.ended or bool(flags & (_FIN | _RST))
        start = self._start(packet, own, way, text)
        ack = self._ack(packet, peer) if packet.ack is not None else None
        if ack is not None and ack > peer.acked and not flags & _RST:
            peer.acked = ack
        if flags & _RST:
            self.rsts += 1
        else:
            own.spoke = True
            first = start + 1 if flags & _SYN else start
            own.reached = max(own.reached, first + length)
            own.saw(first, first + length + (1 if flags & _FIN else 0))
            if length and self.walks:
                walk = self.walks[way]
                walk.feed(first, packet.payload, length, packet.time_ns, packet.number)
        self.last_ns = packet.time_ns
        self._keep(
            (
                *(packet.number, packet.time_ns, way, flags, start, length, ack, packet.window),
                *(packet.ttl, packet.ip_id, packet.timestamps is not False, packet.df),
            )
        )

    def _keep(self, kept: Kept) -> None:
        if len(self._opening) < OPENING:
            self._opening.append(kept)
            self._weight += 1
            return
        self._latest.append(kept)
        if len(self._latest) > LATEST:
            self._latest.popleft()
            self.left_out += 1
        else:
            self._weight += 1

    def _opens(self, packet: Packet, way: int) -> None:
        stream = self.streams[way]
        stream.opened = True
        stream.base = (packet.seq + 1) & _MASK
        if not packet.flags & _ACK:
            self.opener = way
            self._initial = packet.seq
        elif self.opener is None:
            self.opener = 1 - way

    def _start(self, packet: Packet, own: Stream, way: int, text: bool) -> int:
        if packet.flags & _SYN:
            return -1
        if packet.relative:
            return packet.seq - Stream.relative_base
        if own.base is None:
            if packet.flags & _RST and (own.spoke or self.streams[1 - way].acked):
                self.presumed = True  # absolute, where everything else is relative
                return self._expected(way)
            # tcpdump counts what follows from the number before the first one that it prints
            own.base = (packet.seq + (1 if text and not self._opening else 0)) & _MASK
        return _offset(packet.seq, own.base, own.reached)

    def _ack(self, packet: Packet, peer: Stream) -> int:
        assert packet.ack is not None
        if packet.relative:
            return packet.ack - Stream.relative_base
        if peer.base is None:
            peer.base = packet.ack
        return _offset(packet.ack, peer.base, peer.reached)

    def _expected(self, way: int) -> int:
        """The number of a passive RST: the ack of the peer's latest segment that says something."""
        peers = [kept for kept in (*self._opening, *self._latest) if kept[2] != way]
        saying = [kept for kept in peers if kept[5] or kept[3] & _FIN] or peers
        return (saying[-1][6] or 0) if saying else 0

    def segments(self, client: int) -> tuple[Segment, ...]:
        """What was kept, in time order, the way ``client`` being the client's."""
        sides = (Side.CLIENT, Side.SERVER) if client == 0 else (Side.SERVER, Side.CLIENT)
        every = (*self._opening, *self._latest)
        return tuple(Segment(k[0], k[1], sides[k[2]], *k[3:]) for k in every)

    @property
    def coverage(self) -> Coverage:
        """Whether both beginnings and every byte that was acknowledged are there."""
        opened = self.opener is not None and self.streams[self.opener].opened
        answered = all(stream.opened or not stream.spoke for stream in self.streams)
        whole = all(stream.is_whole() for stream in self.streams)
        return Coverage.WHOLE if opened and answered and whole else Coverage.HOLES

    def number(self, way: int, offset: int) -> int | None:
        """The offset as a number on the wire; None where only relative ones are known."""
        base = self.streams[way].base
        return None if base is None else (base + offset) & _MASK


def connections(
    packets: Iterable[Packet], *, text: bool = False, keep_bodies: bool = False, held: int = HELD
) -> Iterator[Connection]:
    """The connections of a capture, each given back once nothing more can belong to it.

    ``text`` says that the packets come from print and carry no payload, ``keep_bodies`` that TLS
    records are wanted with their ciphertext, ``held`` how many segments may be in memory.
    """
    current: dict[tuple[Endpoint, Endpoint], Connection] = {}
    before: dict[tuple[Endpoint, Endpoint], Connection] = {}
    total = 0
    for seen in packets:
        packet = seen
        if packet.copy:
            continue
        if not packet.time_ns:  # print without times: the order is all there is
            packet = packet._replace(time_ns=packet.number)
        src, dst = packet.src, packet.dst
        key = (src, dst) if src <= dst else (dst, src)
        found = current.get(key)
        way = 0 if found is None or found.ends[0] == src else 1
        if found is not None and found.is_succeeded_by(packet, way):
            older = before.pop(key, None)
            if older is not None:
                total -= older.held
                yield older
            before[key] = found
            found, way = None, 0
        fresh = found is None
        if found is None:
            found = Connection(packet, walks=not text, keep_bodies=keep_bodies)
            current[key] = found
        elif packet.flags & _RST and key in before:
            older = before[key]
            was = 0 if older.ends[0] == src else 1
            if found.distance(packet, way) > _NEAR >= older.distance(packet, was):
                found, way = older, was
        had = 0 if fresh else found.held
        found.add(packet, way, text=text)
        total += found.held - had
        if total > held:
            for done in _longest_silent(current, before):
                total -= done.held
                yield done
    yield from before.values()
    yield from current.values()


def _longest_silent(*shelves: dict[tuple[Endpoint, Endpoint], Connection]) -> list[Connection]:
    """Takes the half of all connections that was heard of longest ago, ended ones first."""
    ranked = sorted(
        ((not c.ended, c.last_ns, key) for shelf in shelves for key, c in shelf.items()),
    )
    chosen = {key for _, _, key in ranked[: max(1, len(ranked) // 2)]}
    return [shelf.pop(key) for shelf in shelves for key in list(shelf) if key in chosen]


def _offset(number: int, base: int, near: int) -> int:
    """The 32-bit number as an offset from ``base``, of all candidates the nearest to ``near``."""
    return ((number - base - near + _HALF) & _MASK) - _HALF + near
