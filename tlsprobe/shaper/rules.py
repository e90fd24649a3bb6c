"""What the path does to one connection: from a packet to the packets to pass on.

Pure: nothing is read or sent here, and the time is told. Our stream is seen as offsets; a FIN
takes the place behind the last byte, as if it were one. The driver announces what is to be done to
which offsets before it writes them, so that no TLS is read here. A packet is cut where a range
that is treated begins or ends, whatever our kernel had put into it.

A hold owns its range. While it lasts our kernel, which knows nothing of it, goes on repeating
itself: these repetitions, and acknowledgements that say nothing new, are swallowed, and what does
pass is numbered as if the held bytes had not been sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import assert_never

from tlsprobe.model.trace import PathDid, Shaped, Side
from tlsprobe.model.verbs import Treatment
from tlsprobe.shaper.packet import ACK, FIN, PSH, RST, SYN, URG, TcpPacket

MOST_ACTIONS = 500
"""So many actions of a connection are kept: a kernel may repeat itself for long."""

_NUMBERS = 1 << 32
_HALF = 1 << 31
_TIMESTAMPS = 8
"""The kind of the TCP option of RFC 7323."""


@dataclass(frozen=True, slots=True)
class Treated:
    """What is to be done to the offsets ``start`` to ``end`` of our stream.

    ``count`` is how often they are lost, or into how many bytes they are split.
    """

    how: Treatment
    start: int
    end: int
    count: int = 1


@dataclass(slots=True)
class Offsets:
    """A set of offsets, as ranges that do not touch, in order."""

    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        """Take a range in."""
        kept = []
        for low, high in self.ranges:
            if high < start or end < low:
                kept.append((low, high))
            else:
                start, end = min(start, low), max(end, high)
        self.ranges = sorted([*kept, (start, end)])

    def holds(self, start: int, end: int) -> bool:
        """Whether it has all of a range."""
        return any(low <= start and end <= high for low, high in self.ranges)

    @property
    def front(self) -> int:
        """Up to where it has everything from 0 on."""
        return self.ranges[0][1] if self.ranges and self.ranges[0][0] == 0 else 0


class Path:
    """The path of one connection between our socket and the server.

    ``server_port`` is where our SYN went, None before it was sent.
    """

    def __init__(self) -> None:
        self.actions: list[Shaped] = []
        self.server_port: int | None = None
        self._treated: list[Treated] = []
        self._held: list[tuple[int, TcpPacket]] = []
        self._passed = Offsets()
        self._base = {Side.CLIENT: 0, Side.SERVER: 0}
        self._last: TcpPacket | None = None
        self._reach = 0
        self._told: tuple[int, int] | None = None
        self._is_shut = False
        self._muted: int | None = None
        self._fin_wait_ns: int | None = None
        self._fin: TcpPacket | None = None
        self._fin_due_ns: int | None = None

    # --- orders -----------------------------------------------------------------------------------

    def treat(self, treated: Treated) -> None:
        """Do this to these offsets when they come."""
        self._treated.append(treated)

    def hold_fin(self, wait_ns: int) -> None:
        """Keep the server's FIN for so long, from when it comes."""
        self._fin_wait_ns = wait_ns

    def release(self, now_ns: int) -> list[TcpPacket]:
        """End all holds; what was held, with the acknowledgement and the times of today."""
        self._treated = [t for t in self._treated if t.how is not Treatment.HOLD]
        held, self._held = sorted(self._held, key=lambda one: one[0]), []
        out = []
        for start, packet in held:
            end = start + _span(packet)
            self._note(now_ns, PathDid.RELEASED, start, end)
            self._passed.add(start, end)
            out.append(self._dressed(self._renewed(packet)))
        return out

    def shut_window(self, now_ns: int) -> list[TcpPacket]:
        """Tell the server that we have no room, now and whenever our side says something."""
        self._is_shut = True
        return self._acknowledgement(now_ns, PathDid.WINDOW_SHUT)

    def open_window(self, now_ns: int) -> list[TcpPacket]:
        """Tell the server our own window again."""
        self._is_shut = False
        return self._acknowledgement(now_ns, PathDid.WINDOW_OPENED)

    def mute(self, now_ns: int) -> list[TcpPacket]:
        """Acknowledge nothing more to the server than what it knows by now."""
        if self._muted is None and self._last is not None:
            self._muted = self._last.ack
            self._note(now_ns, PathDid.MUTED, self._reach, self._reach)
        return []

    def unmute(self, now_ns: int) -> list[TcpPacket]:
        """Acknowledge again, and at once what our side has."""
        self._muted = None
        return self._acknowledgement(now_ns, PathDid.UNMUTED)

    def reset(self, ahead: int, now_ns: int) -> list[TcpPacket]:
        """An RST in our name, so many bytes ahead of what the server expects next."""
        if self._last is None:
            return []
        front = self._passed.front
        self._note(now_ns, PathDid.RESET, front, front + ahead)
        return [self._dressed(self._rst(self._last, front + ahead))]

    def leave(self) -> list[TcpPacket]:
        """Reset a server that lacks bytes of ours: our kernel's own RST stands behind these.

        It would not be heeded (RFC 5961), and the server kept its connection.
        """
        front = self._passed.front
        if self._last is None or front >= self._reach:
            return []
        return [self._rst(self._last, front)]

    # --- packets ----------------------------------------------------------------------------------

    def from_client(self, packet: TcpPacket, now_ns: int) -> list[TcpPacket]:
        """What goes to the server in place of a packet of our kernel's."""
        if packet.flags & SYN:
            self._base[Side.CLIENT] = packet.seq + 1
            self.server_port = packet.destination_port
            return [packet]
        if packet.flags & RST:
            return self._resets(packet, now_ns)
        self._last = packet
        start = self._offset(packet.seq, Side.CLIENT)
        end = start + _span(packet)
        self._reach = max(self._reach, end)
        if start == end:
            return self._acknowledges(packet, start, now_ns)
        out: list[TcpPacket] = []
        for low, high, treated in self._portions(start, end):
            out += self._portion(_cut(packet, start, low, high), low, high, treated, now_ns)
        return [self._dressed(one) for one in out]

    def from_server(self, packet: TcpPacket, now_ns: int) -> list[TcpPacket]:
        """What goes to our kernel in place of a packet of the server's."""
        if packet.flags & SYN:
            self._base[Side.SERVER] = packet.seq + 1
            return [packet]
        at = self._offset(packet.seq, Side.SERVER) + len(packet.payload)
        if packet.flags & RST:
            if self._fin is not None:
                self._fin = self._fin_due_ns = None
                self._note(now_ns, PathDid.FIN_DROPPED, at, at, Side.SERVER)
            return [packet]
        if not packet.flags & FIN or self._fin_wait_ns is None:
            return [packet]
        if self._fin is None:
            self._fin_due_ns = now_ns + self._fin_wait_ns
        did = PathDid.FIN_HELD if self._fin is None else PathDid.SWALLOWED
        self._note(now_ns, did, at, at + 1, Side.SERVER)
        bare = packet._replace(flags=packet.flags & ~FIN)
        self._fin = packet._replace(seq=packet.seq + len(packet.payload), payload=b"")
        return [bare] if packet.payload and did is PathDid.FIN_HELD else []

    @property
    def due_ns(self) -> int | None:
        """When the server's FIN is to be passed on; None: none is held."""
        return self._fin_due_ns

    def due(self, now_ns: int) -> list[TcpPacket]:
        """What our kernel gets by now."""
        if self._fin is None or self._fin_due_ns is None or now_ns < self._fin_due_ns:
            return []
        fin, self._fin = self._fin, None
        self._fin_wait_ns = self._fin_due_ns = None
        at = self._offset(fin.seq, Side.SERVER)
        self._note(now_ns, PathDid.FIN_PASSED, at, at + 1, Side.SERVER)
        return [fin]

    # --- our side's -------------------------------------------------------------------------------

    def _portions(self, start: int, end: int) -> Iterator[tuple[int, int, Treated | None]]:
        """A range, cut where a treatment begins or ends; the first of several has the say."""
        bounds = {edge for t in self._treated for edge in (t.start, t.end) if start < edge < end}
        edges = [start, *sorted(bounds), end]
        for low, high in itertools.pairwise(edges):
            fits = (t for t in self._treated if t.start <= low and high <= t.end)
            yield low, high, next(fits, None)

    def _portion(
        self, piece: TcpPacket, low: int, high: int, treated: Treated | None, now_ns: int
    ) -> list[TcpPacket]:
        """What becomes of a part of a packet that is treated alike."""
        if treated is None:
            if self._held and self._passed.holds(low, high):
                self._note(now_ns, PathDid.SWALLOWED, low, high)
                return []
            self._passed.add(low, high)
            return [piece]
        if treated.how is Treatment.HOLD:
            return self._hold(piece, low, high, now_ns)
        self._use(treated, low, high)
        match treated.how:
            case Treatment.LOSE:
                self._note(now_ns, PathDid.LOST, low, high)
                return []
            case Treatment.CORRUPT:
                self._note(now_ns, PathDid.CORRUPTED, low, high)
                return [piece._replace(damaged=True)]
            case Treatment.TWICE:
                did, out = PathDid.DOUBLED, [piece, piece]
            case Treatment.URGENT:
                marked = piece._replace(flags=piece.flags | URG, urgent=treated.end - low)
                did, out = PathDid.MARKED_URGENT, [marked]
            case Treatment.SPLIT:
                edges = [*range(low, high, treated.count), high]
                ends = itertools.pairwise(edges)
                did, out = PathDid.SPLIT, [_cut(piece, low, *ends_at) for ends_at in ends]
            case how:
                assert_never(how)
        self._note(now_ns, did, low, high)
        self._passed.add(low, high)
        return out

    def _hold(self, piece: TcpPacket, low: int, high: int, now_ns: int) -> list[TcpPacket]:
        known = any(start <= low and high <= start + _span(p) for start, p in self._held)
        self._note(now_ns, PathDid.SWALLOWED if known else PathDid.HELD, low, high)
        if not known:
            self._held.append((low, piece))
        return []

    def _use(self, treated: Treated, low: int, high: int) -> None:
        """A treatment has been given to a part of its range: what is left of it."""
        at = self._treated.index(treated)
        left: list[Treated] = []
        if treated.how is Treatment.LOSE and (treated.count > 1 or high < treated.end):
            left = [replace(treated, count=treated.count - (high == treated.end))]
        elif treated.how is not Treatment.LOSE:
            ends = (treated.start, low), (high, treated.end)
            left = [replace(treated, start=a, end=b) for a, b in ends if a < b]
        self._treated[at : at + 1] = left

    def _resets(self, packet: TcpPacket, now_ns: int) -> list[TcpPacket]:
        """What becomes of an RST of our kernel's.

        A bare one answers what the server repeats because its acknowledgement was kept back: our
        socket has long ended in good order.
        """
        if self._muted is None or packet.flags & ACK:
            return [packet]
        at = self._offset(packet.seq, Side.CLIENT)
        self._note(now_ns, PathDid.SWALLOWED, at, at)
        return []

    def _acknowledges(self, packet: TcpPacket, start: int, now_ns: int) -> list[TcpPacket]:
        """What becomes of a pure acknowledgement."""
        said = packet.ack, packet.window
        repeats = bool(self._held) and said == self._told
        if self._muted is not None or repeats:
            self._note(now_ns, PathDid.SWALLOWED, start, start)
            return []
        return [self._dressed(packet._replace(seq=self._seq(self._before_holds(start))))]

    def _before_holds(self, start: int) -> int:
        """The number that a server expects that knows nothing of held bytes."""
        return min([start, *(at for at, _ in self._held)])

    def _acknowledgement(self, now_ns: int, did: PathDid) -> list[TcpPacket]:
        """A pure acknowledgement in our name."""
        if self._last is None:
            return []
        at = self._before_holds(self._reach)
        self._note(now_ns, did, at, at)
        bare = self._last._replace(seq=self._seq(at), flags=ACK, urgent=0, payload=b"")
        return [self._dressed(bare)]

    def _dressed(self, packet: TcpPacket) -> TcpPacket:
        """A packet with the window and the acknowledgement that the server is to be told."""
        self._told = packet.ack, packet.window
        if self._is_shut:
            packet = packet._replace(window=0)
        if self._muted is not None:
            packet = packet._replace(ack=self._muted)
        return packet

    def _renewed(self, packet: TcpPacket) -> TcpPacket:
        """A held packet as our kernel would write it now: an older time would be refused."""
        last = self._last
        if last is None:
            return packet
        options = _with_times_of(last.options, packet.options)
        return packet._replace(ack=last.ack, window=last.window, options=options)

    def _rst(self, last: TcpPacket, at: int) -> TcpPacket:
        bare = last._replace(window=0, urgent=0, payload=b"", ip_id=0)
        return bare._replace(seq=self._seq(at), flags=RST | ACK)

    def _seq(self, offset: int) -> int:
        return (self._base[Side.CLIENT] + offset) % _NUMBERS

    def _offset(self, seq: int, side: Side) -> int:
        """A number as an offset: the stream is shorter than half of all numbers."""
        return (seq - self._base[side] + _HALF) % _NUMBERS - _HALF

    def _note(
        self, now_ns: int, did: PathDid, start: int, end: int, side: Side = Side.CLIENT
    ) -> None:
        if len(self.actions) < MOST_ACTIONS:
            self.actions.append(Shaped(now_ns, did, side, start, end))


def _span(packet: TcpPacket) -> int:
    """How many offsets it takes up."""
    return len(packet.payload) + (packet.flags & FIN != 0)


def _cut(packet: TcpPacket, start: int, low: int, high: int) -> TcpPacket:
    """The part of a packet at ``start`` that lies between two offsets."""
    end = start + len(packet.payload)
    flags = packet.flags
    if high <= end:
        flags &= ~FIN
    if high < end:
        flags &= ~PSH
    payload = packet.payload[low - start : min(high, end) - start]
    seq = (packet.seq + low - start) % _NUMBERS
    return packet._replace(seq=seq, flags=flags, payload=payload)


def _with_times_of(newer: bytes, options: bytes) -> bytes:
    """TCP options with the timestamps of others, where both have them."""
    new, old = _timestamps_in(newer), _timestamps_in(options)
    if new is None or old is None:
        return options
    return options[: old.start] + newer[new] + options[old.stop :]


def _timestamps_in(options: bytes) -> slice | None:
    at = 0
    while at + 1 < len(options):
        kind, size = options[at], options[at + 1]
        if kind == 0:
            return None
        if kind == 1:
            at += 1
        elif kind == _TIMESTAMPS:
            return slice(at, at + size)
        else:
            at += max(size, 2)
    return None
