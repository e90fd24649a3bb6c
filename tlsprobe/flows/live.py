"""From frames to one connection: segments on the scale of stream offsets, and how complete.

Sequence numbers become offsets here: the first byte behind a side's SYN is 0, the SYN itself -1,
and a side's numbers and its peer's acknowledgements share the scale. Retransmissions stay in the
list: two segments at the same offset are two packets, and the offsets say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from tlsprobe.model.trace import Coverage, Flag, Segment, Side
from tlsprobe.packets.frames import ETHERNET, Frame, Packet, decode

Endpoint = tuple[bytes, int]
"""A packed address (4 or 16 bytes) and a port."""

_FIN, _SYN, _RST, _ACK = (int(flag) for flag in (Flag.FIN, Flag.SYN, Flag.RST, Flag.ACK))
_CLIENT, _SERVER = Side.CLIENT, Side.SERVER
_BY_TIME = itemgetter(0)
_HALF, _MASK = 0x8000_0000, 0xFFFF_FFFF

STREAM_LIMIT = 16 * 1024 * 1024
"""How many bytes `stream` returns unless told otherwise."""


class Seen(NamedTuple):
    """A packet of the connection, whose it is, and the frame that it came in."""

    time_ns: int
    number: int
    side: Side
    packet: Packet
    data: bytes


def flow(
    frames: Iterable[Frame], client: Endpoint, server: Endpoint, link: int = ETHERNET
) -> tuple[tuple[Segment, ...], Coverage]:
    """The segments between these endpoints, in time order, and whether any are missing.

    When the client's port was used again for a new connection, the last one is returned.
    """
    history = connections(frames, client, server, link)
    if not history:
        return (), Coverage.NONE
    streams = {side: _Stream(_base(history[-1], side)) for side in Side}
    segments = _segments(history[-1], streams[_CLIENT], streams[_SERVER])
    whole = streams[_CLIENT].is_whole(must_open=True) and streams[_SERVER].is_whole()
    return segments, Coverage.WHOLE if whole else Coverage.HOLES


def stream(
    frames: Iterable[Frame],
    side: Side,
    client: Endpoint,
    server: Endpoint,
    *,
    link: int = ETHERNET,
    limit: int = STREAM_LIMIT,
) -> bytes:
    """What ``side`` sent, put in order, up to the first byte not captured or ``limit`` bytes."""
    history = connections(frames, client, server, link)
    if not history:
        return b""
    base, reached = _base(history[-1], side), 0
    pieces: list[tuple[int, bytes]] = []
    for _, _, whose, packet, data in history[-1]:
        if whose is side and packet.length:
            # The bytes that a SYN carries (TCP Fast Open) stand behind it.
            start = _offset(packet.seq + bool(packet.flags & _SYN), base, reached)
            reached = start + packet.length
            pieces.append((start, data[packet.payload : packet.payload + packet.length]))
    return _joined(sorted(pieces), limit)


def connections(
    frames: Iterable[Frame], client: Endpoint, server: Endpoint, link: int = ETHERNET
) -> list[list[Seen]]:
    """All connections between the two endpoints, one after the other.

    A new one begins with a client SYN of another initial sequence number, once the connection
    before it has ended or if it never got beyond SYNs.
    """
    history: list[list[Seen]] = []
    ended = only_syns = False
    initial: int | None = None
    for seen in _between(frames, client, server, link):
        flags = seen.packet.flags
        if flags & _SYN:
            opens = seen.side is _CLIENT and not flags & _ACK
            if not history or (opens and seen.packet.seq != initial and (ended or only_syns)):
                history.append([])
                ended, only_syns = False, True
            if opens:
                initial = seen.packet.seq
        else:
            only_syns = False
            ended = ended or bool(flags & (_FIN | _RST))
            if not history:
                history.append([])
        history[-1].append(seen)
    return history


def _between(frames: Iterable[Frame], client: Endpoint, server: Endpoint, link: int) -> list[Seen]:
    """Frames of several processors may arrive out of order; their timestamps do not lie."""
    found: list[Seen] = []
    for number, time_ns, data in frames:
        packet = decode(data, link)
        if packet is None:
            continue
        source, destination = packet[0:2], packet[2:4]
        if source == client and destination == server:
            found.append(Seen(time_ns, number, _CLIENT, packet, data))
        elif source == server and destination == client:
            found.append(Seen(time_ns, number, _SERVER, packet, data))
    found.sort(key=_BY_TIME)
    return found


class _Stream:
    """What one side's bytes amount to: where they start, and which of them were seen."""

    __slots__ = ("acked", "base", "opened", "reached", "scattered", "sent", "whole")

    def __init__(self, base: int) -> None:
        self.base = base
        # Where the stream has got to: 2 GiB either side of it is told apart from a wrap.
        self.reached = 0
        self.acked = 0
        self.whole = 0
        self.scattered: list[tuple[int, int]] = []
        self.opened = False
        self.sent = False

    def saw(self, start: int, end: int) -> None:
        """Offsets that a packet covers, its FIN included. Most packets come in order."""
        if start > self.whole:
            self.scattered.append((start, end))
        elif end > self.whole:
            self.whole = end

    def is_whole(self, *, must_open: bool = False) -> bool:
        """Whether its SYN was seen, if it sent anything, and all that the peer acknowledged."""
        if not self.opened and (self.sent or must_open):
            return False
        reached = self.whole
        for start, end in sorted(self.scattered):
            if start > reached:
                break
            reached = max(reached, end)
        return reached >= self.acked


def _segments(connection: Sequence[Seen], client: _Stream, server: _Stream) -> tuple[Segment, ...]:
    """The hot loop: plain integers, one tuple a packet; the streams learn what was seen."""
    segments, new = [], Segment
    for time_ns, n, side, packet, _ in connection:
        own, peer = (client, server) if side is _CLIENT else (server, client)
        _, _, _, _, seq, number, flags, window, ttl, ip_id, timestamps, _, length = packet
        start = _offset(seq, own.base, own.reached)
        ack = None
        if flags & _ACK:
            ack = _offset(number, peer.base, peer.reached)
            peer.acked = max(peer.acked, ack)
        if not flags & _RST:
            # A refusal is an answer of its own; anything else follows on a SYN.
            own.sent = True
            own.opened = own.opened or bool(flags & _SYN)
            first = start + 1 if flags & _SYN else start
            own.reached = first + length
            own.saw(first, own.reached + 1 if flags & _FIN else own.reached)
        segments.append(
            new(n, time_ns, side, flags, start, length, ack, window, ttl, ip_id, timestamps, None)
        )
    return tuple(segments)


def _base(connection: Sequence[Seen], side: Side) -> int:
    """The sequence number of the side's first stream byte.

    From its SYN; without one, the first number that either side names: at the start of a
    connection the acknowledgement of the lost SYN is just that.
    """
    for seen in connection:
        if seen.side is side and seen.packet.flags & _SYN:
            return seen.packet.seq + 1
    for seen in connection:
        if seen.side is side:
            return seen.packet.seq
        if seen.packet.flags & _ACK:
            return seen.packet.ack
    return 0


def _offset(number: int, base: int, near: int) -> int:
    """The 32-bit number as an offset from ``base``, of all candidates the nearest to ``near``."""
    return ((number - base - near + _HALF) & _MASK) - _HALF + near


def _joined(pieces: Iterable[tuple[int, bytes]], limit: int) -> bytes:
    """Sorted pieces as one run from offset 0; of bytes sent twice the first copy counts."""
    whole = bytearray()
    for start, data in pieces:
        if start > len(whole) or len(whole) >= limit:
            break
        whole += data[len(whole) - start :]
    return bytes(whole[:limit])
