"""One captured frame: from its bytes to where TCP begins in it, and to the key that files it.

Plain offsets into the frame, no objects on the way. A capture may hold anything: what is no TCP
has no such place, and no key.
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
_IPV4_TYPE = b"\x08\x00"
_IPV6_TYPE = b"\x86\xdd"
_IP_TYPES = (_IPV4_TYPE, _IPV6_TYPE)
PLAIN_IPV4 = _IPV4_TYPE + b"\x45"
PLAIN_IPV6 = _IPV6_TYPE + b"\x60"
"""Behind the two Ethernet addresses: a header begins as nearly all do, without IPv4 options."""
_VLAN_TYPES = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_EXTENSIONS = (0, 43, 60, 135, 139, 140)
"""IPv6 hop-by-hop, routing, destination options and the like: next header, then a length."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSION_LIMIT = 16

_UNFRAGMENTED = (b"\x40\x00", b"\x00\x00")

_IPV4 = struct.Struct("!BxHHHBB2x4s4s")
_IPV6 = struct.Struct("!4xHBB16s16s")


class Frame(NamedTuple):
    """A frame as captured. ``number`` counts from 1, ``time_ns`` is real time since 1970."""

    number: int
    time_ns: int
    data: bytes


def key_of(frame: bytes, link: int) -> bytes:
    """The `flow_key` of the frame; nothing if it is not TCP, or a later fragment.

    Told without a look at anything else: whether the rest of the frame can be decoded is another
    question.
    """
    try:
        if link == ETHERNET:
            if frame[12:15] == PLAIN_IPV4 and frame[20:22] in _UNFRAGMENTED:
                return frame[26:38] if frame[23] == _TCP and len(frame) >= 38 else b""
            if frame[12:14] == _IPV6_TYPE and frame[20] == _TCP:
                return frame[22:58] if len(frame) >= 58 else b""
        found = transport(frame, network_header(frame, link), len(frame))
    except (struct.error, IndexError):
        return b""
    if found is None or len(frame) < found[0] + 4:
        return b""
    tcp, _, source, destination, _, _ = found
    return source + destination + frame[tcp : tcp + 4]


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
