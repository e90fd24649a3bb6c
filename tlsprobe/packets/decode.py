"""From one captured frame to the TCP segment in it: what `tlsprobe explain` reads.

IP is decoded where the sniffer's is, in `frames`; added here are fragments, cut-off frames, the
fields that only a reader of other people's captures needs, and a reason for what is unreadable.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from tlsprobe.packets import frames
from tlsprobe.packets.fragments import Fragments, ipv4_piece, ipv6_piece
from tlsprobe.packets.packet import Packet

_TCP, _FRAGMENT = 6, 44
_TCP_FIXED = struct.Struct("!HHIIBBH")
_SYN, _ACK = 0x02, 0x10
_OUTGOING = 4
_WINDOW_SCALE = 3
PLACE_LIMIT = 4096

Found = tuple[bytes, int, frames.Transport]
"""A frame or a packet put together of several, where its IP header is, and where TCP is."""


class Malformed(ValueError):  # noqa: N818 - it says what the frame is
    """The frame should hold a TCP segment and does not; says why."""


class Decoder:
    """Holds what one frame alone does not tell: fragments, places, the frames of a moment ago."""

    def __init__(self) -> None:
        self.fragments = Fragments()
        self._copies = Copies()
        self._places: dict[tuple[int, int, bool], int] = {}

    def find(self, frame: bytes, link: int, length: int, time_ns: int) -> Found | None:
        """TCP in the frame, or in the packet that it completes; None if it holds none.

        ``length`` is the frame's on the wire. Raises Malformed.
        """
        try:
            at = frames.network_header(frame, link)
            return self._in_ip(frame, at, length, time_ns) if at < len(frame) else None
        except (struct.error, IndexError):
            raise Malformed("its headers are cut off") from None

    def _in_ip(self, frame: bytes, at: int, length: int, time_ns: int) -> Found | None:
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

    def _in_ipv6_fragment(self, frame: bytes, at: int, time_ns: int) -> Found | None:
        protocol, behind = frames.behind_extensions(frame, frame[at + 6], at + 40)
        if protocol != _FRAGMENT or not self._may_be_tcp(frame, behind):
            return None
        whole = self.fragments.add(ipv6_piece(frame, at, behind), time_ns)
        return None if whole is None else self._in_whole(whole)

    def _may_be_tcp(self, frame: bytes, behind: int) -> bool:
        """The first header in the fragments may still be an extension in front of TCP."""
        return frame[behind] == _TCP or frame[behind] in (0, 43, 51, 60)

    def _in_whole(self, whole: bytes) -> Found | None:
        found = frames.transport(whole, 0, len(whole))
        if found is None:
            return None
        self._check(whole, found)
        return whole, 0, found

    def _check(self, frame: bytes, found: frames.Transport) -> None:
        at, end = found[0], found[1]
        size = (frame[at + 12] >> 4) * 4
        if len(frame) < at + 20:
            raise Malformed("its TCP header is cut off")
        if size < 20:
            raise Malformed(f"a TCP header of {size} bytes")
        if end < at + size:
            raise Malformed("its IP length is less than its headers")

    def place(self, frame: bytes, link: int, index: int) -> int:
        """Tells apart the places where a capture looked: interface, device and direction."""
        device, outgoing = 0, False
        if link == frames.LINUX_COOKED:
            outgoing = frame[0:2] == b"\0\x04"
        elif link == frames.LINUX_COOKED_2:
            device, outgoing = int.from_bytes(frame[4:8], "big"), frame[10] == _OUTGOING
        known = self._places
        where = (index, device, outgoing)
        place = known.get(where)
        if place is None:
            if len(known) >= PLACE_LIMIT:
                return PLACE_LIMIT
            place = known[where] = len(known)
        return place

    def segment(self, found: Found, number: int, time_ns: int, place: int) -> Packet:
        """The segment with all that is known of it."""
        frame, ip, (at, end, source, destination, ttl, ip_id) = found
        source_port, destination_port, seq, ack, size, flags, window = _TCP_FIXED.unpack_from(
            frame, at
        )
        start = at + (size >> 4) * 4
        options = frame[at + 20 : start]
        # Of options that were cut off only what is there can be told.
        timestamps = frames.has_timestamps(options) or (None if start > len(frame) else False)
        packet = Packet(
            number,
            time_ns,
            (source, source_port),
            (destination, destination_port),
            seq,
            ack if flags & _ACK else None,
            flags,
            window,
            end - start,
            frame[start:end],
            ttl,
            ip_id,
            None if ip_id is None else bool(frame[ip + 6] & 0x40),
            timestamps,
            _window_scale(options) if flags & _SYN else None,
            place,
        )
        return packet._replace(copy=True) if self._copies.has(packet) else packet


class Copies:
    """Remembers the packets of a moment ago, to know one that was merely captured twice.

    At another place the n-th of several equal packets is a copy if the first place has seen n of
    them: two RSTs in a row may well be equal. At one place only an IPv4 id tells a copy from a
    packet that was sent again: a sender that counts its packets never uses one twice at once.
    """

    LIMIT = 4096
    ELSEWHERE_NS = 20 * 10**6
    SAME_ID_NS = 10**9
    SAME_PLACE_NS = 10**6

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[object, ...], tuple[int, dict[int, int]]] = OrderedDict()

    def has(self, packet: Packet) -> bool:
        """Whether this is a copy; it is remembered in any case."""
        _, time_ns, src, dst, seq, ack, flags, window, length, _, _, ip_id = packet[:12]
        key = (src, dst, seq, ack, flags, window, length, ip_id)
        known = self._recent.pop(key, None)
        lifetime = self.SAME_ID_NS if ip_id else self.ELSEWHERE_NS
        if known is None or not 0 <= time_ns - known[0] <= lifetime:
            self._remember(key, (time_ns, {packet.interface: 1}))
            return False
        since, counts = known
        count = counts.get(packet.interface, 0) + 1
        counts[packet.interface] = count
        self._remember(key, known)
        if any(n >= count for place, n in counts.items() if place != packet.interface):
            return True
        return bool(ip_id) and count > 1 and time_ns - since <= self.SAME_PLACE_NS

    def _remember(self, key: tuple[object, ...], entry: tuple[int, dict[int, int]]) -> None:
        if len(self._recent) >= self.LIMIT:
            self._recent.popitem(last=False)
        self._recent[key] = entry


def _window_scale(options: bytes) -> int | None:
    """The shift count of the window scale option (RFC 7323)."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2:
            return None
        if options[at] == _WINDOW_SCALE and size == 3 and at + 2 < len(options):
            return options[at + 2]
        at += size
    return None
