"""From one captured frame to the TCP segment in it: for the sniffer's frames as for a file's.

`frames` and `tunnels` know the headers; added here are fragments, cut-off frames, copies of the
same packet, and a reason for what is unreadable. Nearly every frame is plain Ethernet and IPv4:
`Decoder.decode` looks for those first, and goes header by header through all others.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from tlsprobe.packets import frames, tunnels
from tlsprobe.packets.copies import Copies
from tlsprobe.packets.fragments import Fragments, Piece, ipv4_piece, ipv6_piece
from tlsprobe.packets.options import (
    TIMESTAMPS,
    USUAL,
    USUAL_BYTES,
    USUAL_START,
    read_options,
)
from tlsprobe.packets.packet import Packet
from tlsprobe.packets.tunnels import Inner

_TCP, _FRAGMENT = 6, 44
_MAY_HOLD_TCP = frozenset({_TCP, *tunnels.CARRIERS, 0, 43, 51, 60})
"""Protocols of fragmented packets: in IPv6 the first header may still be an extension."""
_TCP_FIXED = struct.Struct("!4xIIBBH")
_TCP_BYTES = 20
_ANY_FRAGMENT, _DF = 0x3FFF, 0x4000
_SYN, _ACK = 0x02, 0x10

_ipv4 = struct.Struct("!16xHHHBB14xIIBBH").unpack_from
_ipv6 = struct.Struct("!18xHBB36xIIBBH").unpack_from
_PLAIN_4, _LEAST_4 = (26, 34, 14), 54
_PLAIN_6, _LEAST_6 = (22, 54, 54), 74
"""Where, in a plain frame, the two ends lie and TCP, and from where the header counts its bytes;
and how long such a frame is at least."""

_new = tuple.__new__

PLACE_LIMIT = 4096

STEPS = 16
"""So many headers of a frame are stepped over in front of TCP; tunnels in tunnels take a few."""

NAME_LIMIT, CLOSED_LIMIT = 4096, 64
"""So many tunnels have a name at once, and so many kinds of what stays closed are told apart."""


class FoundTransport(NamedTuple):
    """TCP in a frame, or in a packet put together of several.

    ``ip`` is where its IP header is; ``tunnel`` what it came through, the innermost first.
    """

    frame: bytes
    ip: int
    transport: frames.Transport
    tunnel: str = ""

    @property
    def key(self) -> bytes:
        """The `flow_key` of the segment."""
        tcp, _, source, destination, _, _ = self.transport
        return source + destination + self.frame[tcp : tcp + 4]


class Malformed(ValueError):  # noqa: N818 - it says what the frame is
    """The frame should hold a TCP segment and does not; says why."""


class CutOff(Malformed):
    """It may hold one, and ends before that can be told."""


class Decoder:
    """Holds what one frame alone does not tell: fragments, places, the packets of a moment ago.

    ``is_copy`` is `Copies.has`; ``closed`` counts the frames that may hold TCP and are not looked
    into, by kind.
    """

    def __init__(self) -> None:
        self.fragments = Fragments()
        self.closed: Counter[str] = Counter()
        copies = Copies()
        self.is_copy, self.are_new = copies.has, copies.are_new
        self._places: dict[tuple[object, ...], int] = {}
        self._names: dict[tuple[str, str, bytes], str] = {}

    def decode(  # noqa: PLR0917 - called once a frame, where names cost time
        self, frame: bytes, link: int, length: int, time_ns: int, number: int, index: int = 0
    ) -> Packet | None:
        """The segment in the frame, or in the packet that it completes; None if it holds none.

        ``length`` is the frame's on the wire, ``index`` the interface that it was captured at,
        ``number`` what the segment is called. Raises Malformed.
        """
        if link == frames.ETHERNET:
            packet = self._plain(frame, length, time_ns, number, index)
            if packet is not None:
                return packet
        found = self.find(frame, link, length, time_ns)
        if found is None:
            return None
        place = self.place(frame, link, index, found.tunnel)
        return self.segment(found, number, time_ns, place)

    def _plain(
        self, frame: bytes, length: int, time_ns: int, number: int, index: int
    ) -> Packet | None:
        """The segment of a frame without tags, tunnels, fragments; None if it is no such frame."""
        kind = frame[12:15]
        if kind == frames.PLAIN_IPV4 and len(frame) >= _LEAST_4:
            total, ip_id, fragment, ttl, protocol, seq, ack, size, flags, window = _ipv4(frame)
            if protocol != _TCP or fragment & _ANY_FRAGMENT:
                return None
            ends, at, counted = _PLAIN_4
            df = fragment & _DF != 0
        elif kind == frames.PLAIN_IPV6 and len(frame) >= _LEAST_6:
            total, protocol, ttl, seq, ack, size, flags, window = _ipv6(frame)
            if protocol != _TCP:
                return None
            ends, at, counted = _PLAIN_6
            ip_id = df = None
        else:
            return None
        behind = at + _TCP_BYTES
        start = at + (size >> 2 & 0x3C)
        end = counted + total if total else length
        if not behind <= start <= end or start > len(frame):
            return None
        kinds, scale = _options(frame, behind, start)
        copied = frame[ends : at + 16], end - start, ip_id
        # Not by its constructor, which takes longer than all the rest.
        return _new(
            Packet,
            (
                number,
                time_ns,
                frame[ends : at + 4],
                seq,
                ack if flags & _ACK else None,
                flags,
                window,
                end - start,
                frame[start:end],
                ttl,
                ip_id,
                TIMESTAMPS in kinds,
                df,
                scale if flags & _SYN else None,
                kinds,
                index,
                False,
                self.is_copy(copied, time_ns, index, ip_id),
                "",
            ),
        )

    def find(self, frame: bytes, link: int, length: int, time_ns: int) -> FoundTransport | None:
        """TCP in the frame, or in the packet that it completes; None if it holds none.

        ``length`` is the frame's on the wire. Raises Malformed.
        """
        try:
            kind, at = frames.first_header(frame, link)
            return self._find(frame, kind, at, length, time_ns)
        except (struct.error, IndexError):
            raise CutOff("its headers are cut off") from None

    def _find(
        self, frame: bytes, kind: int, at: int, length: int, time_ns: int
    ) -> FoundTransport | None:
        """From header to header until TCP is reached, or nothing that could hold it."""
        tunnel = ""
        for _ in range(STEPS):
            ends = b""
            if kind in frames.IP:
                whole = self._unfragmented(frame, at, time_ns) if at < len(frame) else None
                if whole is not None and whole is not frame:
                    frame, at, length = whole, 0, len(whole)
                found = None if whole is None else frames.inside_ip(frame, at, length)
                if found is None:
                    return None
                protocol, transport = found
                if protocol == _TCP:
                    self._check(frame, at, transport)
                    return FoundTransport(frame, at, transport, tunnel)
                behind, end, source, destination = transport[:4]
                ends = min(source, destination) + max(source, destination)
                outer = 4 if len(source) == 4 else 6
                step = tunnels.behind_protocol(frame, protocol, outer, behind, end)
            else:
                step = tunnels.behind_type(frame, kind, at)
            if not isinstance(step, Inner):
                if step is not None:
                    self._count(step.kind)
                return None
            kind, at, name = step
            if name:
                tunnel = self._through(tunnel, name, ends)
        self._count("more tunnels in each other than are followed")
        return None

    def _count(self, kind: str) -> None:
        if kind in self.closed or len(self.closed) < CLOSED_LIMIT:
            self.closed[kind] += 1
        else:
            self.closed["other kinds"] += 1

    def _through(self, outer: str, name: str, ends: bytes) -> str:
        """What is inside ``outer``, with the two ends of the tunnel where it has any."""
        known = self._names
        text = known.get((outer, name, ends))
        if text is None:
            text = name
            if ends:
                size = len(ends) // 2
                text += f" between {ip_address(ends[:size])} and {ip_address(ends[size:])}"
            if outer:
                text += f", inside {outer}"
            if len(known) >= NAME_LIMIT:
                known.clear()
            known[outer, name, ends] = text
        return text

    def _unfragmented(self, frame: bytes, at: int, time_ns: int) -> bytes | None:
        """The frame itself if its IP packet is whole, or the packet that it completes, or None."""
        version = frame[at] >> 4
        if version == 4:
            if not (frame[at + 6] & 0x3F or frame[at + 7]):
                return frame
            piece, behind = ipv4_piece(frame, at), at + (frame[at] & 0x0F) * 4
        elif version == 6:
            protocol, behind = frames.behind_extensions(frame, frame[at + 6], at + 40)
            if protocol != _FRAGMENT:
                return frame
            piece, behind = ipv6_piece(frame, at, behind), behind + 8
        else:
            return frame
        return (
            self.fragments.add(piece, time_ns) if self._may_hold_tcp(piece, frame, behind) else None
        )

    def _may_hold_tcp(self, piece: Piece, frame: bytes, behind: int) -> bool:
        """Whether the packet of a fragment may; of one in UDP only its first fragment tells."""
        protocol = piece.key[2]
        if protocol != tunnels.UDP:
            return protocol in _MAY_HOLD_TCP
        if piece.start:
            return self.fragments.waits_for(piece)
        return tunnels.is_tunnels_port(frame, behind)

    def _check(self, frame: bytes, ip: int, transport: frames.Transport) -> None:
        at, end, *_ = transport
        if at + _TCP_BYTES > len(frame):
            raise CutOff("its TCP header is cut off")
        size = frame[at + 12] >> 2 & 0x3C
        if size < _TCP_BYTES:
            raise Malformed(f"a TCP header of {size} bytes")
        if end < at + size:
            raise Malformed("its IP length is less than its headers")

    def place(self, frame: bytes, link: int, index: int, tunnel: str = "") -> int:
        """Tells apart the places where a capture looked: interface, device, direction, tunnel."""
        within = frames.place_in(frame, link)
        if not within and not tunnel:
            return index
        where = (index, *within, tunnel)
        known = self._places
        place = known.get(where)
        if place is None:
            if len(known) >= PLACE_LIMIT:
                return ~PLACE_LIMIT
            # Below zero, where no interface has its number.
            place = known[where] = ~len(known)
        return place

    def segment(self, found: FoundTransport, number: int, time_ns: int, place: int) -> Packet:
        """The segment with all that is known of it."""
        frame, ip, (at, end, source, destination, ttl, ip_id), tunnel = found
        seq, ack, size, flags, window = _TCP_FIXED.unpack_from(frame, at)
        start = at + (size >> 2 & 0x3C)
        kinds, scale = read_options(frame[at + _TCP_BYTES : start])
        cut = start > len(frame)
        shared = source + destination + frame[at : at + 16], end - start, ip_id
        return Packet(
            number=number,
            time_ns=time_ns,
            key=source + destination + frame[at : at + 4],
            seq=seq,
            ack=ack if flags & _ACK else None,
            flags=flags,
            window=window,
            length=end - start,
            payload=frame[start:end],
            ttl=ttl,
            ip_id=ip_id,
            df=None if ip_id is None else bool(frame[ip + 6] & 0x40),
            timestamps=cut or TIMESTAMPS in kinds,
            window_scale=scale if flags & _SYN else None,
            options=None if cut else kinds,
            interface=place,
            copy=self.is_copy(shared, time_ns, place, ip_id),
            tunnel=tunnel,
        )


def _options(frame: bytes, start: int, end: int) -> tuple[bytes, int | None]:
    """The kinds of the options that lie there, and the window's scale; most have the usual ones."""
    if start == end:
        return b"", None
    if end == start + USUAL_BYTES and frame[start : start + 4] == USUAL_START:
        return USUAL, None
    return read_options(frame[start:end])


def packets_in(captured: Iterable[frames.Frame], link: int) -> Iterator[Packet]:
    """The segments in whole frames; what holds none is left out."""
    decoder = Decoder()
    for number, time_ns, data in captured:
        try:
            packet = decoder.decode(data, link, len(data), time_ns, number)
        except Malformed:
            continue
        if packet is not None:
            yield packet
