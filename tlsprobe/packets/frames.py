"""One captured frame: from its bytes to what begins in it, and to the key that files it.

Plain offsets into the frame, no objects on the way. A capture may hold anything: what is no TCP
has no such place, and no key.

Source: the registry of link types of tcpdump.org, with the layouts that it gives.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# Link types as capture files number them.
NULL = 0
ETHERNET = 1
PPP = 9
PPP_SERIAL = 50
PPPOE = 51
RAW = 101
LOOP = 108
LINUX_COOKED = 113
PKTAP_OF_OLD = 149
"""What macOS's tcpdump wrote before PKTAP had a number of its own."""
PPP_WITH_DIRECTION = 204
IPV4_ONLY = 228
IPV6_ONLY = 229
NFLOG = 239
PKTAP = 258
LINUX_COOKED_2 = 276
RAW_OF_OLD = 12
"""BSD's number for RAW, which some files carry."""
RAW_OF_OPENBSD = 14
"""OpenBSD's."""

# What begins at an offset of a frame, by its Ethernet type.
IPV4, IPV6 = 0x0800, 0x86DD
IS_ETHERNET, IS_PPP, IS_MPLS, IS_PPPOE = 0x6558, 0x880B, 0x8847, 0x8864
IP = frozenset({IPV4, IPV6})
"""Which of the two it is, the header's first four bits say."""
_VLANS = frozenset({0x8100, 0x88A8, 0x9100})
NOTHING = 0
"""Of no Ethernet type: something that is not looked into."""

BARE = frozenset({RAW, RAW_OF_OLD, RAW_OF_OPENBSD, IPV4_ONLY, IPV6_ONLY})
"""IP comes first."""
_BEGINNINGS = {
    **dict.fromkeys(BARE, (IPV4, 0)),
    **dict.fromkeys((NULL, LOOP), (IPV4, 4)),
    **dict.fromkeys((PPP, PPP_SERIAL), (IS_PPP, 0)),
    PPP_WITH_DIRECTION: (IS_PPP, 1),
    PPPOE: (IS_PPPOE, 0),
}
_TELLING = frozenset({ETHERNET, LINUX_COOKED, LINUX_COOKED_2, NFLOG, PKTAP, PKTAP_OF_OLD})
LINKS = frozenset({*_BEGINNINGS, *_TELLING})
"""The link types that are understood."""

_TCP = 6
_IPV6_TYPE = b"\x86\xdd"
PLAIN_IPV4 = b"\x08\x00\x45"
PLAIN_IPV6 = _IPV6_TYPE + b"\x60"
"""Behind the two Ethernet addresses: a header begins as nearly all do, without IPv4 options."""
_PPP_TYPES = {0x21: IPV4, 0x57: IPV6, 0x281: IS_MPLS}
_NFLOG_PAYLOAD = 9
_NFLOG_PLACES = (1, 4, 5)
"""The hook, and the devices that the packet came from and goes to."""
_PKTAP_LEAST, _PKTAP_DIRECTION = 40, 3

_EXTENSIONS = (0, 43, 60, 135, 139, 140)
"""IPv6 hop-by-hop, routing, destination options and the like: next header, then a length."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSION_LIMIT = 16

_UNFRAGMENTED = (b"\x40\x00", b"\x00\x00")

_IPV4 = struct.Struct("!BxHHHBB2x4s4s")
_IPV6 = struct.Struct("!4xHBB16s16s")

Header = tuple[int, int]
"""What begins in a frame, by its Ethernet type, and at which offset."""


class Frame(NamedTuple):
    """A frame as captured. ``number`` counts from 1, ``time_ns`` is real time since 1970."""

    number: int
    time_ns: int
    data: bytes


def key_of(frame: bytes, link: int) -> bytes:
    """The `flow_key` of the frame; nothing if it is not TCP, or a later fragment.

    Told without a look at anything else: whether the rest of the frame can be decoded is another
    question. No tunnel is looked into.
    """
    try:
        if link == ETHERNET:
            if frame[12:15] == PLAIN_IPV4 and frame[20:22] in _UNFRAGMENTED:
                return frame[26:38] if frame[23] == _TCP and len(frame) >= 38 else b""
            if frame[12:14] == _IPV6_TYPE and frame[20] == _TCP:
                return frame[22:58] if len(frame) >= 58 else b""
        kind, at = first_header(frame, link)
        found = transport(frame, at, len(frame)) if kind in IP else None
    except (struct.error, IndexError):
        return b""
    if found is None or len(frame) < found[0] + 4:
        return b""
    tcp, _, source, destination, _, _ = found
    return source + destination + frame[tcp : tcp + 4]


# --- link types -----------------------------------------------------------------------------------


def first_header(frame: bytes, link: int) -> Header:
    """What the link type's own header is followed by; VLAN tags are stepped over.

    Raises struct.error or IndexError when it is cut off.
    """
    if link == ETHERNET:
        return behind_ethernet(frame, 0)
    if link == LINUX_COOKED:
        return behind_type(frame, 14)
    if link == LINUX_COOKED_2:
        kind = type_at(frame, 0)
        return behind_type(frame, 22) if kind in _VLANS else (kind, 20)
    if link == NFLOG:
        return _nflog(frame)[0]
    if link in (PKTAP, PKTAP_OF_OLD):
        return _behind_pktap(frame)
    kind, at = _BEGINNINGS.get(link, (NOTHING, 0))
    return behind_ppp(frame, at) if kind == IS_PPP else (kind, at)


def behind_ethernet(frame: bytes, at: int) -> Header:
    """What an Ethernet frame at this offset holds, behind its VLAN tags."""
    return behind_type(frame, at + 12)


def behind_type(frame: bytes, at: int) -> Header:
    """What follows an Ethernet type, behind VLAN tags."""
    kind = type_at(frame, at)
    while kind in _VLANS:
        at += 4
        kind = type_at(frame, at)
    return kind, at + 2


def type_at(frame: bytes, at: int) -> int:
    """The two bytes at this offset as a number; that of no type where they are cut off."""
    return int.from_bytes(frame[at : at + 2], "big")


def behind_ppp(frame: bytes, at: int) -> Header:
    """What a PPP frame holds (RFC 1661, 1662): with or without its address and long protocol."""
    if frame[at : at + 2] == b"\xff\x03":
        at += 2
    if frame[at : at + 1] and frame[at] & 1:  # compressed to one byte
        return _PPP_TYPES.get(frame[at], NOTHING), at + 1
    return _PPP_TYPES.get(type_at(frame, at), NOTHING), at + 2


def _nflog(frame: bytes) -> tuple[Header, bytes]:
    """The packet that the firewall logged, and what tells where it did.

    Attributes follow one another, each with its length and type in the order of the machine.
    """
    at, places = 4, b""
    while at + 4 <= len(frame):
        size, kind = struct.unpack_from("<HH", frame, at)
        if kind > 0xFF:
            size, kind = struct.unpack_from(">HH", frame, at)
        if kind == _NFLOG_PAYLOAD:
            return (IPV4, at + 4), places
        if kind in _NFLOG_PLACES:
            places += frame[at : at + size]
        at += max(4, size + 3 & ~3)
    return (NOTHING, len(frame)), places


def _behind_pktap(frame: bytes) -> Header:
    size, _, link = struct.unpack_from("<III", frame)
    if size < _PKTAP_LEAST or link in (PKTAP, PKTAP_OF_OLD):
        return NOTHING, len(frame)
    kind, at = first_header(frame[size:], link)
    return kind, at + size


def place_in(frame: bytes, link: int) -> tuple[object, ...]:
    """Device and direction, where the link type tells them: nothing where it does not."""
    if link == LINUX_COOKED:
        return (frame[0:2] == b"\0\x04",)
    if link == LINUX_COOKED_2:
        return int.from_bytes(frame[4:8], "big"), frame[10] == 4
    if link == PPP_WITH_DIRECTION:
        return (frame[0],)
    if link == NFLOG:
        return (_nflog(frame)[1],)
    if link in (PKTAP, PKTAP_OF_OLD):
        return frame[12:36], frame[36] & _PKTAP_DIRECTION
    return ()


# --- IP -------------------------------------------------------------------------------------------

Transport = tuple[int, int, bytes, bytes, int, int | None]
"""Where TCP begins in a frame, where its payload ends by the IP header, who sent it to whom, the
hop limit, and the IPv4 id."""


def transport(frame: bytes, at: int, length: int) -> Transport | None:
    """TCP in the IP packet at this offset; None if its header is not there.

    That is another protocol, or a later fragment. ``length`` is the frame's on the wire. Raises
    struct.error or IndexError when the headers are cut off.
    """
    found = inside_ip(frame, at, length)
    return found[1] if found is not None and found[0] == _TCP else None


def inside_ip(frame: bytes, at: int, length: int) -> tuple[int, Transport] | None:
    """What the IP packet at this offset carries, by its protocol number, as if it were TCP.

    None if that is not here: a later fragment, or what is no IP.
    """
    version = frame[at] >> 4
    if version == 4:
        return _ipv4(frame, at, length)
    return _ipv6(frame, at, length) if version == 6 else None


def _ipv4(frame: bytes, at: int, length: int) -> tuple[int, Transport] | None:
    first, total, ip_id, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(frame, at)
    header = (first & 0x0F) * 4
    if fragment & 0x1FFF or header < 20:
        return None
    # A length of 0 is written by senders that leave the cutting into packets to the card.
    end = at + total if total else length
    return protocol, (at + header, end, source, destination, ttl, ip_id)


def _ipv6(frame: bytes, at: int, length: int) -> tuple[int, Transport]:
    total, protocol, ttl, source, destination = _IPV6.unpack_from(frame, at)
    behind = at + 40
    end = behind + total if total else length
    if protocol != _TCP:
        protocol, behind = behind_extensions(frame, protocol, behind)
    return protocol, (behind, end, source, destination, ttl, None)


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
