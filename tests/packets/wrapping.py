"""Any IP packet or Ethernet frame inside any tunnel, byte by byte from the specifications."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

OUTER_4 = bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2))
OUTER_6 = bytes(15) + b"\7", bytes(15) + b"\x08"
BETWEEN_4, BETWEEN_6 = "between 10.9.0.1 and 10.9.0.2", "between ::7 and ::8"


def ipv4(protocol: int, body: bytes, *, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 99, fragment, 60, protocol, 0)
    return head + OUTER_4[0] + OUTER_4[1] + body


def ipv6(protocol: int, body: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 60) + b"".join(OUTER_6) + body


def udp(port: int, body: bytes) -> bytes:
    return struct.pack("!HHHH", 54321, port, 8 + len(body), 0) + body


def ethernet(packet: bytes, *tags: int) -> bytes:
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    vlans = b"".join(struct.pack("!HH", tag, 5) for tag in tags)
    return b"\2" * 6 + b"\4" * 6 + vlans + kind + packet


class Tunnel(NamedTuple):
    """How an IP packet becomes an outer IP packet, and what the tunnel is called."""

    wrap: Callable[[bytes], bytes]
    name: str


def version(packet: bytes) -> int:
    return packet[0] >> 4


def kind(packet: bytes) -> int:
    return 0x86DD if version(packet) == 6 else 0x0800


def gre(flags: int, type_: int, optional: bytes, body: bytes) -> bytes:
    return ipv4(47, struct.pack("!HH", flags, type_) + optional + body)


def erspan_3(platform: bytes, body: bytes) -> bytes:
    head = struct.pack("!HHIHH", 0x2000, 0x0003, 1, 2, 1 if platform else 0)
    return gre(0x1000, 0x22EB, bytes(4), head + platform + body)


def geneve(port: int, options: bytes, type_: int, body: bytes) -> bytes:
    head = struct.pack("!BBHI", len(options) // 4, 0, type_, 42 << 8)
    return ipv4(17, udp(port, head + options + body))


def gtp(flags: int, optional: bytes, body: bytes) -> bytes:
    head = struct.pack("!BBHI", 0x30 | flags, 255, len(optional) + len(body), 0x2A)
    return ipv4(17, udp(2152, head + optional + body))


def label(number: int, *, last: bool) -> bytes:
    return struct.pack("!I", number << 12 | last << 8 | 64)


MIRRORS = {
    "gre": Tunnel(lambda p: gre(0, kind(p), b"", p), f"GRE {BETWEEN_4}"),
    "gre-key": Tunnel(
        lambda p: gre(0xB000, kind(p), bytes(4) + struct.pack("!II", 7, 1), p),
        f"GRE key 7 {BETWEEN_4}",
    ),
    "gretap": Tunnel(lambda p: gre(0, 0x6558, b"", ethernet(p)), f"GRE {BETWEEN_4}"),
    "gre-ppp": Tunnel(
        lambda p: gre(0x2081 | 0x1000, 0x880B, struct.pack("!HHII", len(p), 9, 1, 2), ppp(p)),
        f"PPTP call 9 {BETWEEN_4}",
    ),
    "wccp": Tunnel(lambda p: gre(0, 0x883E, bytes(4), p), f"GRE {BETWEEN_4}"),
    "erspan-1": Tunnel(lambda p: gre(0, 0x88BE, b"", ethernet(p)), f"ERSPAN I {BETWEEN_4}"),
    "erspan-2": Tunnel(
        lambda p: gre(0x1000, 0x88BE, bytes(4) + struct.pack("!HHI", 0x1000, 5, 0), ethernet(p)),
        f"ERSPAN II session 5 {BETWEEN_4}",
    ),
    "erspan-3": Tunnel(lambda p: erspan_3(b"", ethernet(p)), f"ERSPAN III session 3 {BETWEEN_4}"),
    "erspan-3-platform": Tunnel(
        lambda p: erspan_3(bytes(8), ethernet(p, 0x8100)), f"ERSPAN III session 3 {BETWEEN_4}"
    ),
    "vxlan": Tunnel(
        lambda p: ipv4(17, udp(4789, struct.pack("!II", 8 << 24, 42 << 8) + ethernet(p))),
        f"VXLAN 42 {BETWEEN_4}",
    ),
    "vxlan-flannel-6": Tunnel(
        lambda p: ipv6(17, udp(8472, struct.pack("!II", 8 << 24, 1 << 8) + ethernet(p, 0x88A8))),
        f"VXLAN 1 {BETWEEN_6}",
    ),
    "vxlan-gpe": Tunnel(
        lambda p: ipv4(
            17,
            udp(4790, struct.pack("!II", 0x0C << 24 | (2 if version(p) == 6 else 1), 42 << 8) + p),
        ),
        f"VXLAN 42 {BETWEEN_4}",
    ),
    "geneve": Tunnel(lambda p: geneve(6081, b"", 0x6558, ethernet(p)), f"Geneve 42 {BETWEEN_4}"),
    "geneve-aws": Tunnel(lambda p: geneve(6081, bytes(32), kind(p), p), f"Geneve 42 {BETWEEN_4}"),
    "gtp-u": Tunnel(lambda p: gtp(0, b"", p), f"GTP-U 0x2a {BETWEEN_4}"),
    "gtp-u-extended": Tunnel(lambda p: gtp(4, b"\0\0\0\x85\1\0\1\0", p), f"GTP-U 0x2a {BETWEEN_4}"),
    "mpls-in-gre": Tunnel(
        lambda p: gre(0, 0x8847, b"", label(100, last=True) + p),
        f"MPLS 100, inside GRE {BETWEEN_4}",
    ),
    "mpls-in-udp": Tunnel(
        lambda p: ipv4(17, udp(6635, label(7, last=False) + label(100, last=True) + p)),
        f"MPLS 7/100 {BETWEEN_4}",
    ),
    "pseudo-wire": Tunnel(
        lambda p: ipv4(137, label(100, last=True) + bytes(4) + ethernet(p)),
        f"MPLS 100 {BETWEEN_4}",
    ),
    "etherip": Tunnel(lambda p: ipv4(97, b"\x30\0" + ethernet(p)), f"EtherIP {BETWEEN_4}"),
}
"""Tunnels in an IP packet that take either version of IP."""

BY_VERSION = {
    "ip-in-ip": (4, Tunnel(lambda p: ipv4(4, p), f"IP-in-IP {BETWEEN_4}")),
    "6in4": (6, Tunnel(lambda p: ipv4(41, p), f"6in4 {BETWEEN_4}")),
    "4in6": (4, Tunnel(lambda p: ipv6(4, p), f"4in6 {BETWEEN_6}")),
    "ipv6-in-ipv6": (6, Tunnel(lambda p: ipv6(41, p), f"IPv6-in-IPv6 {BETWEEN_6}")),
    "teredo": (6, Tunnel(lambda p: ipv4(17, udp(3544, p)), f"Teredo {BETWEEN_4}")),
    "teredo-origin": (
        6,
        Tunnel(
            lambda p: ipv4(17, udp(3544, b"\0\1\0\0" + bytes(9) + bytes(8) + p)),
            f"Teredo {BETWEEN_4}",
        ),
    ),
}
"""Tunnels that take one version of IP alone."""


def ppp(packet: bytes) -> bytes:
    return (b"\xff\x03\0\x57" if version(packet) == 6 else b"\xff\x03\0\x21") + packet


def pppoe(packet: bytes) -> bytes:
    inner = ppp(packet)[2:]
    return bytes(12) + struct.pack("!HHHH", 0x8864, 0x1100, 17, len(inner)) + inner


def mpls(packet: bytes) -> bytes:
    return bytes(12) + b"\x88\x47" + label(16, last=True) + packet


FRAMES = {
    "ethernet": Tunnel(ethernet, ""),
    "vlan": Tunnel(lambda p: ethernet(p, 0x8100), ""),
    "qinq": Tunnel(lambda p: ethernet(p, 0x88A8, 0x8100), ""),
    "pppoe": Tunnel(pppoe, "PPPoE session 17"),
    "mpls": Tunnel(mpls, "MPLS 16"),
}
"""What an Ethernet frame holds an IP packet in."""


def takes(name: str, packet: bytes) -> bool:
    """Whether the packet can go into the tunnel of this name."""
    return name in MIRRORS or BY_VERSION[name][0] == version(packet)


def tunnel_of(name: str) -> Tunnel:
    return MIRRORS[name] if name in MIRRORS else BY_VERSION[name][1]


NAMES = sorted({*MIRRORS, *BY_VERSION})
