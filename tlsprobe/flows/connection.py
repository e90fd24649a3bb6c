"""One connection of a capture: its segments on the scale of stream offsets, and how complete.

Sequence numbers become offsets here: the first byte behind a side's SYN is 0, the SYN itself -1,
and a side's numbers and its peer's acknowledgements share the scale. Retransmissions stay in the
list: two segments at the same offset are two packets, and the offsets say so.

Of a long connection the opening and the latest segments are kept; both streams are followed
through all of it, so that whether anything is missing is known of what was let go, too.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from tlsprobe.flows.stream import MASK, Stream, offset
from tlsprobe.model.trace import RST_TEXT, Coverage, Flag, Segment, Side
from tlsprobe.packets.packet import Endpoint, Packet, endpoints
from tlsprobe.records.walk import RecordWalk

if TYPE_CHECKING:
    from tlsprobe.flows.going_on import Kept
    from tlsprobe.packets.stretch import Stretch

_FIN, _SYN, _RST, _ACK = Flag.FIN, Flag.SYN, Flag.RST, Flag.ACK
_FIN_RST, _SYN_FIN = _FIN | _RST, _SYN | _FIN
_SIDES = tuple(Side)
_new = tuple.__new__
_BY_TIME = itemgetter(1)

OPENING, LATEST = 16, 240
"""So many segments of a connection are kept from its beginning, and from its end."""

AHEAD = 1 << 24
"""So far behind the last byte that was seen a number may lie and still be the connection's.

What is lost on the way to the capture is less. Initial numbers grow with time (RFC 9293 section
3.4.1), so that a connection's lie above those of the one before it on the same ports.
"""

TUNNELS = 4
"""So many tunnels of a connection are named: there and back may differ, and so do mirrors."""

_ITSELF, _ITSELF_WITH_BODIES = 16, 240
_HELD_BYTES = 256
_DISORDER_NS = 10**9
_RELATIVE_BASE = 1


class Flow(NamedTuple):
    """What is told of a connection in the end: its segments in time order, and how complete."""

    segments: tuple[Segment, ...]
    coverage: Coverage


NOTHING = Flow((), Coverage.NONE)


class Connection:
    """One connection as a capture shows it. Packets with the ``key`` go way 0, their answers way 1.

    ``opener`` is the way (0 or 1) that the SYN went, None if none was seen; ``opened_ns`` is its
    time. ``rsts`` counts RSTs, ``left_out`` the segments that were let go, ``copies`` packets that
    the capture has twice, which count once. ``presumed`` says that
    a bare RST's number could not be compared and was taken to fit; ``doubtful`` that a packet may
    as well be of another connection between the same endpoints. ``tunnels`` names what its packets
    came through, ``held`` is what it takes in memory, in segments. With ``released`` set, segments
    are followed and no longer kept.
    """

    __slots__ = (
        "_disorder_ns",
        "_initial",
        "_latest",
        "_most",
        "_only_syns",
        "_opening",
        "_pending",
        "_printed",
        "copies",
        "doubtful",
        "ended",
        "first_ns",
        "held",
        "key",
        "last_ns",
        "left_out",
        "opened_ns",
        "opener",
        "presumed",
        "released",
        "rsts",
        "streams",
        "tunnels",
        "walks",
    )

    def __init__(
        self,
        key: bytes,
        first: Packet,
        *,
        latest: int = LATEST,
        walks: bool = False,
        keep_bodies: bool = False,
        printed: bool = False,
    ) -> None:
        """Of ``first`` only the flags and the time matter: it is still to be added.

        ``latest`` segments are kept from the end; ``walks`` asks for TLS records, with
        ``keep_bodies`` with their ciphertext; ``printed`` says that packets come from a text.
        """
        self.key = key
        self.streams = (Stream(), Stream())
        opens = bool(first.flags & _SYN)
        self.walks = (
            tuple(RecordWalk(from_start=opens, keep_bodies=keep_bodies) for _ in range(2))
            if walks
            else ()
        )
        self.tunnels: tuple[str, ...] = ()
        self.opener: int | None = None
        self.opened_ns: int | None = None
        self.first_ns = self.last_ns = first.time_ns
        self.ended = self.presumed = self.doubtful = self.released = False
        self.rsts = self.left_out = self.copies = 0
        self._disorder_ns = 0
        self._only_syns = True
        self._initial: int | None = None
        self._printed = printed
        self.held = _ITSELF_WITH_BODIES if keep_bodies else _ITSELF
        self._most = latest
        self._opening: list[Segment] = []
        self._latest: deque[Segment] | None = None
        self._pending: list[Kept] = []

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Its two endpoints, that of way 0 first."""
        return endpoints(self.key)

    # --- whether a packet belongs to it -----------------------------------------------------------

    def is_succeeded_by(self, packet: Packet, way: int) -> bool:
        """Whether this packet opens another connection between the same endpoints."""
        if packet.flags & (_SYN | _ACK) != _SYN:
            return False
        if packet.seq == self._initial:
            return self._begins_at_0_again(packet, way)
        if self._only_syns and self.opener is not None and way != self.opener:
            return False  # both sides open at once
        own = self.streams[way]
        if own.opened or own.base is None:
            return True
        # Its own SYN may have been captured after what followed on it.
        behind = offset(packet.seq + 1, own.base, 0)
        return behind != 0 and not (packet.time_ns < self.first_ns and -AHEAD < behind < 0)

    def _begins_at_0_again(self, packet: Packet, way: int) -> bool:
        """Whether it is the SYN of another connection in a list that counts each from 0."""
        in_a_list = self._printed and packet.seq == 0 and way == self.opener
        return in_a_list and self.ended and all(stream.opened for stream in self.streams)

    def may_send(self, packet: Packet, way: int) -> bool:
        """Whether the packet's numbers can be those of this connection, which goes on."""
        if not self.streams[way].spans(packet.seq, AHEAD):
            return False
        return packet.ack is None or self.streams[1 - way].spans(packet.ack, AHEAD)

    def may_have_sent(self, packet: Packet, way: int, gone: int | None) -> bool:
        """The same of a connection that is over for the side ``gone``: it has let go of the port.

        That side sends nothing new, and nothing new of it is acknowledged. Its peer may not know
        that yet and go on; but an RST without an ACK repeats a number that was acknowledged.
        """
        told = ((way, packet.seq), (1 - way, packet.ack))
        for side, number in told:
            stream = self.streams[side]
            ahead = 1 if side == gone or packet.ack is None else AHEAD
            if number is not None and (stream.base is None or not stream.spans(number, ahead)):
                return False
        return True

    # --- what it adds -----------------------------------------------------------------------------

    def add(self, packet: Packet, way: int) -> None:  # noqa: PLR0912, PLR0915 - the hot end of the wire
        """One more packet; ``way`` is 0 if the first of the ends sent it."""
        (number, time_ns, _, seq, told_ack, flags, window, length, payload,
         ttl, ip_id, timestamps, df, window_scale, options, _, relative, _,
         tunnel) = packet  # fmt: skip
        streams = self.streams
        own, peer = streams[way], streams[1 - way]
        if flags & _SYN:
            self._opens(packet, way)
            start, first = -1, 0
        else:
            self._only_syns = False
            if flags & _FIN_RST:
                self.ended = True
            if own.base is None or relative:
                start = self._start(packet, own, way)
            else:
                start = seq - own.base
                if start != own.reached:
                    start = offset(seq, own.base, own.reached)
            first = start
        ack = None
        if told_ack is not None:
            if peer.base is None or relative:
                ack = self._ack(packet, told_ack, peer)
            else:
                ack = told_ack - peer.base
                if ack != peer.reached:
                    ack = offset(told_ack, peer.base, peer.reached)
        if tunnel and tunnel not in self.tunnels and len(self.tunnels) < TUNNELS:
            self.tunnels += (tunnel,)
        if flags & _RST:
            self.rsts += 1
            text = payload[:RST_TEXT]
        else:
            text = b""
            own.spoke = True
            if ack is not None and ack > peer.acked:
                peer.acked = ack
            if length or flags & _SYN_FIN or start != own.reached:
                own.saw(first, first + length, flags & _FIN)
                if length and self.walks:
                    walk = self.walks[way]
                    held = walk.held_bytes // _HELD_BYTES
                    walk.feed(first, payload, length, time_ns, number)
                    self.held += walk.held_bytes // _HELD_BYTES - held
        if time_ns < self.last_ns:
            self._disorder_ns = max(self._disorder_ns, self.last_ns - time_ns)
        self.last_ns = time_ns
        segment = _new(Segment, (
            number, time_ns, _SIDES[way], flags, start, length, ack, window,
            ttl, ip_id, timestamps, df, window_scale, options, text,
        ))  # fmt: skip
        if self.released:
            return
        if self._pending:
            self._make_pending()
        latest = self._latest
        if latest is not None and len(latest) == self._most:
            latest.append(segment)
            self.left_out += 1
            return
        if latest is not None:
            latest.append(segment)
        elif len(self._opening) < OPENING:
            self._opening.append(segment)
        else:
            self._latest = deque((segment,), self._most)
        self.held += 1

    def go_on(self, stretch: Stretch, way: int) -> bool:
        """Many more packets at once, of which ``way`` sent the first.

        False if they are to be added one by one: nothing was done then.
        """
        from tlsprobe.flows.going_on import followed  # noqa: PLC0415 - brings numpy

        times = stretch.fields.time_ns
        if len(self._opening) < OPENING or self.released or times[0] < self.last_ns:
            return False
        kept = followed(self.streams, self.walks, stretch, way)
        if kept is None:
            return False
        self._only_syns = False
        self.last_ns = int(times[-1])
        had = self._count_latest()
        self._pending.append(kept)
        while sum(one.size for one in self._pending[1:]) >= self._most:
            del self._pending[0]
            self._latest = None
        added = self._count_latest() - had
        self.held += added
        self.left_out += kept.size - added
        return True

    def _count_latest(self) -> int:
        """How many of the latest segments are kept."""
        count = len(self._latest or ()) + sum(one.size for one in self._pending)
        return min(count, self._most)

    def _make_pending(self) -> None:
        """Makes segments of what was taken at once."""
        latest = self._latest = self._latest or deque(maxlen=self._most)
        behind = sum(kept.size for kept in self._pending)
        for kept in self._pending:
            behind -= kept.size
            latest.extend(kept.segments(self._most - behind))
        self._pending.clear()

    def _opens(self, packet: Packet, way: int) -> None:
        grown = self.streams[way].opens((packet.seq + 1) & MASK)
        if grown:
            self._move(way, grown)
        if not packet.flags & _ACK:
            self.opener = way
            self._initial = packet.seq
            if self.opened_ns is None:
                self.opened_ns = packet.time_ns
        elif self.opener is None:
            self.opener = 1 - way

    def _move(self, way: int, grown: int) -> None:
        """Where the stream begins is known only now: give what was kept its right offsets."""
        side = _SIDES[way]
        if self._pending:
            self._make_pending()
        for kept in (self._opening, self._latest or []):
            for at, s in enumerate(kept):
                if s.side is not side:
                    if s.ack is not None:
                        kept[at] = s._replace(ack=s.ack + grown)
                elif not s.syn:
                    kept[at] = s._replace(start=s.start + grown)

    def _start(self, packet: Packet, own: Stream, way: int) -> int:
        """The offset of a number that is relative, or the first one of its stream."""
        if packet.relative:
            return packet.seq - _RELATIVE_BASE
        if packet.flags & _RST and (own.spoke or self.streams[1 - way].acked > 0):
            self.presumed = True  # absolute, where everything else is relative
            return self._expected(way)
        # tcpdump counts what follows from the number before the first one that it prints
        own.base = (packet.seq + (1 if self._printed and not self._opening else 0)) & MASK
        return offset(packet.seq, own.base, own.reached)

    def _ack(self, packet: Packet, number: int, peer: Stream) -> int:
        if packet.relative:
            return number - _RELATIVE_BASE
        if peer.base is None:
            peer.base = number
        return offset(number, peer.base, peer.reached)

    def _expected(self, way: int) -> int:
        """The number of a passive RST: the ack of the peer's latest segment that says something."""
        side = _SIDES[way]
        peers = [kept for kept in self._kept() if kept.side is not side]
        saying = [kept for kept in peers if kept.length or kept.fin] or peers
        return (saying[-1].ack or 0) if saying else 0

    # --- what it is, in the end -------------------------------------------------------------------

    def _kept(self) -> list[Segment]:
        if self._pending:
            self._make_pending()
        return [*self._opening, *(self._latest or ())]

    def segments(self, client: int) -> tuple[Segment, ...]:
        """What was kept, in time order, the way ``client`` being the client's.

        Packets that several processors took in may have overtaken each other by a little. What
        jumps by more tells that the clock did, and then the order of arrival is the better one.
        """
        kept = self._kept()
        if 0 < self._disorder_ns < _DISORDER_NS and not self._printed:
            kept.sort(key=_BY_TIME)
        if client:
            kept = [segment._replace(side=segment.side.peer) for segment in kept]
        return tuple(kept)

    @property
    def coverage(self) -> Coverage:
        """Whether both beginnings and every byte that was acknowledged are there, and no doubt."""
        one, other = self.streams
        sure = (
            not self.doubtful
            and self.opener is not None
            and self.streams[self.opener].opened
            and one.is_whole()
            and other.is_whole()
        )
        return Coverage.WHOLE if sure else Coverage.HOLES

    def release(self, client: int) -> Flow:
        """Hands the segments over. What may still come is told apart, and not kept."""
        flow = Flow(self.segments(client), self.coverage)
        self.released = True
        self._opening, self._latest, self._pending = [], None, []
        return flow

    def number(self, way: int, start: int) -> int | None:
        """The offset as a number on the wire; None where only relative ones are known."""
        base = self.streams[way].base
        return None if base is None else (base + start) & MASK
