"""From one captured frame to the TCP segment in it: for the sniffer's frames as for a file's.

`frames` finds TCP; added here are fragments, cut-off frames, copies of the same packet, and a
reason for what is unreadable. Nearly every frame is plain Ethernet and IPv4: `Decoder.decode`
looks for those first, and goes header by header through all others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from tlsprobe.packets import frames
from tlsprobe.packets.copies import Copies
from tlsprobe.packets.fragments import Fragments, ipv4_piece, ipv6_piece
from tlsprobe.packets.options import (
    TIMESTAMPS,
    USUAL,
    USUAL_BYTES,
    USUAL_START,
    read_options,
)
from tlsprobe.packets.packet import Packet

_TCP, _FRAGMENT = 6, 44
_TCP_FIXED = struct.Struct("!4xIIBBH")
_TCP_BYTES = 20
_ANY_FRAGMENT, _DF = 0x3FFF, 0x4000
_SYN, _ACK = 0x02, 0x10
_OUTGOING = 4

_ipv4 = struct.Struct("!16xHHHBB14xIIBBH").unpack_from
_ipv6 = struct.Struct("!18xHBB36xIIBBH").unpack_from
_PLAIN_4, _LEAST_4 = (26, 34, 14), 54
_PLAIN_6, _LEAST_6 = (22, 54, 54), 74
"""Where, in a plain frame, the two ends lie and TCP, and from where the header counts its bytes;
and how long such a frame is at least."""

_new = tuple.__new__

PLACE_LIMIT = 4096

FoundTransport = tuple[bytes, int, frames.Transport]
"""A frame or a packet put together of several, where its IP header is, and where TCP is."""


class Malformed(ValueError):  # noqa: N818 - it says what the frame is
    """The frame should hold a TCP segment and does not; says why."""


class Decoder:
    """Holds what one frame alone does not tell: fragments, places, the packets of a moment ago."""

    def __init__(self) -> None:
        self.fragments = Fragments()
        self._is_copy = Copies().has
        self._places: dict[tuple[int, int, bool], int] = {}

    def decode(  # noqa: PLR0917 - called once a frame, where names cost time
        self, frame: bytes, link: int, length: int, time_ns: int, number: int, index: int = 0
    ) -> Packet | None:
        """The segment in the frame, or in the packet that it completes; None if it holds none.

        ``length`` is the frame's on the wire, ``index`` the interface that it was captured at,
        ``number`` what the segment is called. Raises Malformed.
        """
        at = 0
        if link == frames.ETHERNET:
            kind = frame[12:15]
            if kind == frames.PLAIN_IPV4 and len(frame) >= _LEAST_4:
                total, ip_id, fragment, ttl, protocol, seq, ack, size, flags, window = _ipv4(frame)
                if protocol == _TCP and not fragment & _ANY_FRAGMENT:
                    ends, at, counted = _PLAIN_4
                    df = fragment & _DF != 0
            elif kind == frames.PLAIN_IPV6 and len(frame) >= _LEAST_6:
                total, protocol, ttl, seq, ack, size, flags, window = _ipv6(frame)
                if protocol == _TCP:
                    ends, at, counted = _PLAIN_6
                    ip_id = df = None
        if at:
            behind = at + _TCP_BYTES
            start = at + (size >> 2 & 0x3C)
            end = counted + total if total else length
            if behind <= start <= end and start <= len(frame):
                if start == behind:
                    options, scale = b"", None
                elif start == behind + USUAL_BYTES and frame[behind : behind + 4] == USUAL_START:
                    options, scale = USUAL, None
                else:
                    options, scale = read_options(frame[behind:start])
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
                        TIMESTAMPS in options,
                        df,
                        scale if flags & _SYN else None,
                        options,
                        index,
                        False,
                        self._is_copy(
                            (frame[ends : at + 16], end - start, ip_id), time_ns, index, ip_id
                        ),
                    ),
                )
        found = self.find(frame, link, length, time_ns)
        if found is None:
            return None
        return self.segment(found, number, time_ns, self.place(frame, link, index))

    def find(self, frame: bytes, link: int, length: int, time_ns: int) -> FoundTransport | None:
        """TCP in the frame, or in the packet that it completes; None if it holds none.

        ``length`` is the frame's on the wire. Raises Malformed.
        """
        try:
            at = frames.network_header(frame, link)
            return self._in_ip(frame, at, length, time_ns) if at < len(frame) else None
        except (struct.error, IndexError):
            raise Malformed("its headers are cut off") from None

    def _in_ip(self, frame: bytes, at: int, length: int, time_ns: int) -> FoundTransport | None:
        version = frame[at] >> 4
        if version == 4 and (frame[at + 6] & 0x3F or frame[at + 7]):
            if frame[at + 9] != _TCP:
                return None
            whole = self.fragments.add(ipv4_piece(frame, at), time_ns)
            return None if whole is None else self._in_whole(whole)
        found = frames.transport(frame, at, length)
        if found is None:
            return self._in_ipv6_fragment(frame, at, time_ns) if version == 6 else None
        self._check(frame, found)
        return frame, at, found

    def _in_ipv6_fragment(self, frame: bytes, at: int, time_ns: int) -> FoundTransport | None:
        protocol, behind = frames.behind_extensions(frame, frame[at + 6], at + 40)
        if protocol != _FRAGMENT or not self._may_be_tcp(frame, behind):
            return None
        whole = self.fragments.add(ipv6_piece(frame, at, behind), time_ns)
        return None if whole is None else self._in_whole(whole)

    def _may_be_tcp(self, frame: bytes, behind: int) -> bool:
        """The first header in the fragments may still be an extension in front of TCP."""
        return frame[behind] == _TCP or frame[behind] in (0, 43, 51, 60)

    def _in_whole(self, whole: bytes) -> FoundTransport | None:
        found = frames.transport(whole, 0, len(whole))
        if found is None:
            return None
        self._check(whole, found)
        return whole, 0, found

    def _check(self, frame: bytes, found: frames.Transport) -> None:
        at, end = found[0], found[1]
        size = (frame[at + 12] >> 4) * 4
        if len(frame) < at + _TCP_BYTES:
            raise Malformed("its TCP header is cut off")
        if size < _TCP_BYTES:
            raise Malformed(f"a TCP header of {size} bytes")
        if end < at + size:
            raise Malformed("its IP length is less than its headers")

    def place(self, frame: bytes, link: int, index: int) -> int:
        """Tells apart the places where a capture looked: interface, device and direction."""
        if link == frames.LINUX_COOKED:
            where = index, 0, frame[0:2] == b"\0\x04"
        elif link == frames.LINUX_COOKED_2:
            where = index, int.from_bytes(frame[4:8], "big"), frame[10] == _OUTGOING
        else:
            return index
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
        frame, ip, (at, end, source, destination, ttl, ip_id) = found
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
            copy=self._is_copy(shared, time_ns, place, ip_id),
        )


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
