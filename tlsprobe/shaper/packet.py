"""A TCP segment in an IP packet, as the shaper reads, changes and writes it.

Every packet is written anew, with checksums of its own: the addresses change between the client's
network and the host's, and what comes over loopback carries a checksum that was never finished.
Extension headers of IPv6, IP options and fragments do not occur between our own socket and a
server that answers it; a packet with any of them is no packet of ours.

Source: RFC 9293 section 3.1, RFC 791 section 3.1, RFC 8200 sections 3 and 8.1, RFC 1071.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_TCP_NUMBER = 6
_DF_AND_FRAGMENT = 0xFFFF
_MORE_OR_LATER = 0x3FFF
_NUMBERS = 1 << 32


class TcpPacket(NamedTuple):
    """The fields of a segment and of the IP header around it; ``offset`` bits are not among them.

    ``seq`` and ``ack`` are the numbers on the wire; ``hops`` is the TTL or hop limit, ``traffic``
    the traffic class; ``ip_id`` and ``fragment`` (the flags and the offset) are IPv4's.
    ``damaged``: to be written with a TCP checksum that does not fit.
    """

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int = 0
    options: bytes = b""
    payload: bytes = b""
    hops: int = 64
    traffic: int = 0
    ip_id: int = 0
    fragment: int = 0x4000
    damaged: bool = False

    @property
    def is_pure_ack(self) -> bool:
        """Whether it brings nothing but an acknowledgement or a window."""
        return not self.payload and self.flags & (FIN | SYN | RST) == 0


def parse(data: bytes) -> TcpPacket | None:
    """The packet that begins at the IP header; None for anything but a whole TCP packet."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= _IPV4.size:
        return _parse_ipv4(data)
    if version == 6 and len(data) >= _IPV6.size:
        return _parse_ipv6(data)
    return None


def _parse_ipv4(data: bytes) -> TcpPacket | None:
    first, traffic, length, ip_id, fragment, hops, number, _, source, to = _IPV4.unpack_from(data)
    if number != _TCP_NUMBER or fragment & _MORE_OR_LATER or first & 0x0F != 5:
        return None
    # Of a packet coalesced beyond 64 KiB, the header says no length.
    end = length or len(data)
    found = _parse_tcp(data, _IPV4.size, end, source, to)
    if found is None:
        return None
    return found._replace(hops=hops, traffic=traffic, ip_id=ip_id, fragment=fragment)


def _parse_ipv6(data: bytes) -> TcpPacket | None:
    first, length, number, hops, source, to = _IPV6.unpack_from(data)
    if number != _TCP_NUMBER:
        return None
    end = _IPV6.size + length if length else len(data)
    found = _parse_tcp(data, _IPV6.size, end, source, to)
    return None if found is None else found._replace(hops=hops, traffic=first >> 20 & 0xFF)


def _parse_tcp(data: bytes, at: int, end: int, source: bytes, to: bytes) -> TcpPacket | None:
    if end > len(data) or end - at < _TCP.size:
        return None
    fields = _TCP.unpack_from(data, at)
    source_port, to_port, seq, ack, offset, flags, window, _, urgent = fields
    body = at + (offset >> 4) * 4
    if not at + _TCP.size <= body <= end:
        return None
    options, payload = data[at + _TCP.size : body], data[body:end]
    ports = source_port, to_port
    return TcpPacket(source, to, *ports, seq, ack, flags, window, urgent, options, payload)


def build(packet: TcpPacket) -> bytes:
    """The packet as bytes, from the IP header on."""
    tcp = _tcp_of(packet)
    if len(packet.source) == 16:
        first = 6 << 28 | packet.traffic << 20
        head = (first, len(tcp), _TCP_NUMBER, packet.hops, packet.source, packet.destination)
        return _IPV6.pack(*head) + tcp
    total = _IPV4.size + len(tcp)
    before = (0x45, packet.traffic, total, packet.ip_id, packet.fragment & _DF_AND_FRAGMENT)
    behind = packet.source, packet.destination
    bare = _IPV4.pack(*before, packet.hops, _TCP_NUMBER, 0, *behind)
    checksum = checksum_of(bare)
    return _IPV4.pack(*before, packet.hops, _TCP_NUMBER, checksum, *behind) + tcp


def _tcp_of(packet: TcpPacket) -> bytes:
    ports = packet.source_port, packet.destination_port
    numbers = packet.seq % _NUMBERS, packet.ack % _NUMBERS
    offset = (_TCP.size + len(packet.options)) // 4 << 4
    form = *ports, *numbers, offset, packet.flags, packet.window
    rest = packet.options + packet.payload
    bare = _TCP.pack(*form, 0, packet.urgent) + rest
    length = len(bare).to_bytes(4, "big") + _TCP_NUMBER.to_bytes(4, "big")
    checksum = checksum_of(packet.source + packet.destination + length + bare)
    if packet.damaged:
        checksum ^= 0x0101  # no multiple of 65535 away: never as good as the right one
    return _TCP.pack(*form, checksum, packet.urgent) + rest


def checksum_of(data: bytes) -> int:
    """The Internet checksum: the complement of the sum of the 16-bit words (RFC 1071)."""
    padded = data + b"\0" if len(data) % 2 else data
    # 2**16 is 1 modulo 65535, so the whole as one number leaves what its words add up to.
    total = int.from_bytes(padded, "big")
    left = total % 0xFFFF
    return 0xFFFF ^ (left or (0xFFFF if total else 0))
