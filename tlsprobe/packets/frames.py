"""One captured frame: from its bytes to the TCP header in it.

The hot end of the sniffer: plain offsets into the frame, no objects on the way, one tuple at the
end. Whatever is not a well-formed TCP packet is None: a capture may hold anything.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# Link types as capture files number them (the registry of tcpdump.org).
NULL = 0
ETHERNET = 1
RAW = 101
LOOP = 108
LINUX_COOKED = 113
IPV4_ONLY = 228
IPV6_ONLY = 229
LINUX_COOKED_2 = 276
RAW_OF_OLD = 12
"""BSD's number for RAW, which some files carry."""
RAW_OF_OPENBSD = 14
"""OpenBSD's."""

_HEADER_SIZES = {
    **dict.fromkeys((RAW, RAW_OF_OLD, RAW_OF_OPENBSD, IPV4_ONLY, IPV6_ONLY), 0),
    **dict.fromkeys((NULL, LOOP), 4),
}
LINKS = frozenset({*_HEADER_SIZES, ETHERNET, LINUX_COOKED, LINUX_COOKED_2})
"""The link types that are understood."""

_TCP = 6
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
_IP_TYPES = (_IPV4_TYPE, _IPV6_TYPE)
_VLAN_TYPES = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_EXTENSIONS = (0, 43, 60, 135, 139, 140)
"""IPv6 hop-by-hop, routing, destination options and the like: next header, then a length."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSION_LIMIT = 16

_IPV4 = struct.Struct("!BxHHHBB2x4s4s")
_IPV6 = struct.Struct("!4xHBB16s16s")
_TCP_FIXED = struct.Struct("!HHIIHH")
_LINUX_TIMESTAMPS = b"\x01\x01\x08\x0a"
_END, _PADDING, _TIMESTAMPS = 0, 1, 8


class Frame(NamedTuple):
    """A frame as captured. ``number`` counts from 1, ``time_ns`` is real time since 1970."""

    number: int
    time_ns: int
    data: bytes


class Packet(NamedTuple):
    """The TCP packet in a frame, its addresses packed (4 or 16 bytes).

    ``length`` is the payload as the IP header tells it: neither Ethernet padding nor a capture
    that kept only the first bytes changes it. The payload begins at ``payload`` in the frame.
    """

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    ttl: int
    ip_id: int | None
    timestamps: bool
    payload: int
    length: int


def decode(frame: bytes, link: int = ETHERNET) -> Packet | None:
    """The TCP packet in a frame of this link type, None if there is none."""
    try:
        found = transport(frame, network_header(frame, link), len(frame))
        return None if found is None else _tcp(frame, found)
    except (struct.error, IndexError):
        return None


def flow_key(frame: bytes, link: int = ETHERNET) -> bytes | None:
    """What files a frame: source, destination, source port, destination port, as on the wire.

    The two directions of a connection have two keys; `key` builds them. None: not TCP.
    """
    try:
        plain = link == ETHERNET and frame[12:14] in _IP_TYPES
        at = 14 if plain else network_header(frame, link)
        first = frame[at]
        if first == 0x45:
            return frame[at + 12 : at + 24] if frame[at + 9] == _TCP else None
        if first >> 4 == 6 and frame[at + 6] == _TCP:
            return frame[at + 8 : at + 44]
    except IndexError:
        return None
    packet = decode(frame, link)
    if packet is None:
        return None
    return key((packet.source, packet.source_port), (packet.destination, packet.destination_port))


def key(source: tuple[bytes, int], destination: tuple[bytes, int]) -> bytes:
    """The `flow_key` of frames from one endpoint (packed address, port) to another."""
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return source[0] + destination[0] + ports


def network_header(frame: bytes, link: int) -> int:
    """Where the IP header begins; behind the frame's end if it holds something else."""
    if link == ETHERNET:
        return _behind_ethertype(frame, 12)
    if link in _HEADER_SIZES:
        return _HEADER_SIZES[link]
    if link == LINUX_COOKED:
        return _behind_ethertype(frame, 14)
    if link == LINUX_COOKED_2:
        if frame[0:2] in _VLAN_TYPES:
            return _behind_ethertype(frame, 22)
        return 20 if frame[0:2] in _IP_TYPES else len(frame)
    return len(frame)


def _behind_ethertype(frame: bytes, at: int) -> int:
    kind = frame[at : at + 2]
    while kind in _VLAN_TYPES:
        at += 4
        kind = frame[at : at + 2]
    return at + 2 if kind in _IP_TYPES else len(frame)


Transport = tuple[int, int, bytes, bytes, int, int | None]
"""Where TCP begins in a frame, where its payload ends by the IP header, who sent it to whom, the
hop limit, and the IPv4 id."""


def transport(frame: bytes, at: int, length: int) -> Transport | None:
    """TCP in the IP packet at this offset; None if its header is not there.

    That is another protocol, or a later fragment. ``length`` is the frame's on the wire. Raises
    struct.error or IndexError when the headers are cut off.
    """
    version = frame[at] >> 4
    if version == 4:
        return _ipv4(frame, at, length)
    return _ipv6(frame, at, length) if version == 6 else None


def _ipv4(frame: bytes, at: int, length: int) -> Transport | None:
    first, total, ip_id, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(frame, at)
    header = (first & 0x0F) * 4
    if protocol != _TCP or fragment & 0x1FFF or header < 20:
        return None
    # A length of 0 is written by senders that leave the cutting into packets to the card.
    end = at + total if total else length
    return at + header, end, source, destination, ttl, ip_id


def _ipv6(frame: bytes, at: int, length: int) -> Transport | None:
    total, protocol, ttl, source, destination = _IPV6.unpack_from(frame, at)
    behind = at + 40
    end = behind + total if total else length
    if protocol != _TCP:
        protocol, behind = behind_extensions(frame, protocol, behind)
        if protocol != _TCP:
            return None
    return behind, end, source, destination, ttl, None


def behind_extensions(frame: bytes, protocol: int, at: int) -> tuple[int, int]:
    """Steps over IPv6 extension headers: the protocol behind them, and where it begins.

    A fragment header is stepped over only if it says that this packet is whole (RFC 6946);
    otherwise it ends the walk, and so does an absurd number of headers.
    """
    for _ in range(_EXTENSION_LIMIT):
        if protocol in _EXTENSIONS:
            protocol, at = frame[at], at + 8 + frame[at + 1] * 8
        elif protocol == _AUTHENTICATION:
            protocol, at = frame[at], at + 8 + frame[at + 1] * 4
        elif protocol == _FRAGMENT and not (frame[at + 2] or frame[at + 3] & 0xF9):
            protocol, at = frame[at], at + 8
        else:
            break
    return protocol, at


def _tcp(frame: bytes, found: Transport) -> Packet | None:
    at, end, source, destination, ttl, ip_id = found
    source_port, destination_port, seq, ack, mixed, window = _TCP_FIXED.unpack_from(frame, at)
    payload = at + (mixed >> 12) * 4
    length = end - payload
    if payload < at + 20 or length < 0:
        return None
    options = frame[at + 20 : payload]
    timestamps = options[:4] == _LINUX_TIMESTAMPS or has_timestamps(options)
    return Packet(
        source,
        source_port,
        destination,
        destination_port,
        seq,
        ack,
        mixed & 0xFF,
        window,
        ttl,
        ip_id,
        timestamps,
        payload,
        length,
    )


def has_timestamps(options: bytes) -> bool:
    """Whether the TCP options hold timestamps (RFC 7323); a broken list ends the search."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == _TIMESTAMPS:
            return True
        if kind == _END:
            return False
        if kind == _PADDING:
            at += 1
        elif at + 1 < len(options) and options[at + 1] >= 2:
            at += options[at + 1]
        else:
            return False
    return False
