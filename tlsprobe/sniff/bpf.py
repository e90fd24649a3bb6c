"""The packet filter: which frames of an interface the kernel hands us, as classic BPF.

Written out by hand because a fresh machine may have no libpcap to compile an expression. Headers
are reached relative to the network header (``SKF_NET_OFF``), never from the start of the frame, so
that one program serves Ethernet, tunnels and loopback. A VLAN tag needs no case of its own: the
kernel takes it out of the frame before packet sockets see it. IPv6 extension headers, which TCP
between ordinary hosts does not use, and later fragments are not matched.

Source: ``include/uapi/linux/filter.h`` and ``net/core/filter.c`` of Linux.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import NamedTuple

from tlsprobe.model.target import Ports

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
LOAD_HALF_BEHIND_X = 0x48
SET_X = 0x01
AND, SHIFT_LEFT, COPY_TO_X = 0x54, 0x64, 0x07
IF_EQUAL, IF_ANY_BIT = 0x15, 0x45
IF_GREATER, IF_AT_LEAST = 0x25, 0x35
RETURN = 0x06

ANCILLARY = -0x1000
"""``SKF_AD_OFF``: loads from here on read facts about the packet instead of its bytes."""
ETHERTYPE = ANCILLARY + 0
PACKET_TYPE = ANCILLARY + 4
INTERFACE = ANCILLARY + 8
NETWORK = -0x100000
"""``SKF_NET_OFF``: loads from here on count from the IP header."""

PACKET_OUTGOING = 4
LOOPBACK_INDEX = 1
"""The loopback interface is number 1 in every network namespace (``LOOPBACK_IFINDEX``)."""
IPV4, IPV6, TCP = 0x0800, 0x86DD, 6
FRAGMENT_OFFSET = 0x1FFF
WHOLE_PACKET = 0xFFFFFFFF


_SO_ATTACH_FILTER, _SO_LOCK_FILTER = 26, 44


class Instruction(NamedTuple):
    """One ``struct sock_filter``; the jumps count instructions to skip."""

    code: int
    if_true: int
    if_false: int
    operand: int


NOTHING = (Instruction(RETURN, 0, 0, 0),)
"""The program that keeps no packet."""


class Line(NamedTuple):
    """An instruction before its jumps are counted; an empty label means the next line."""

    code: int
    operand: int = 0
    then: str = ""
    otherwise: str = ""


Listing = list[Line | str]
"""Lines and, between them, the labels that jumps name."""


def connection_filter(
    address: bytes | None, port: int | None, *, skip_outgoing: bool = False
) -> tuple[Instruction, ...]:
    """Accepts TCP from or to ``address`` (4 or 16 packed bytes) and ``port``, together.

    None stands for any. ``skip_outgoing`` is for loopback, where the kernel shows every packet
    twice, once as it leaves and once as it arrives: it keeps the second. Of other interfaces
    among those that are captured it keeps both directions.
    """
    listing: Listing = [*_skipping_outgoing()] if skip_outgoing else []
    if address is None:
        listing += [*_ipv4(None, port, "ipv6"), "ipv6", *_ipv6(None, port)]
    elif len(address) == 4:
        listing += _ipv4(address, port, "drop")
    else:
        listing += _ipv6(address, port)
    listing += ["keep", Line(RETURN, WHOLE_PACKET), "drop", Line(RETURN, 0)]
    return assemble(listing)


def _skipping_outgoing() -> Listing:
    """Drops what leaves by the loopback interface."""
    return [
        Line(LOAD_WORD, INTERFACE),
        Line(IF_EQUAL, LOOPBACK_INDEX, "", "network"),
        Line(LOAD_WORD, PACKET_TYPE),
        Line(IF_EQUAL, PACKET_OUTGOING, "drop"),
        "network",
    ]


def _ipv4(address: bytes | None, port: int | None, otherwise: str) -> Listing:
    return [*_ipv4_header(otherwise), *_endpoints(address, port, source=12, destination=16)]


def _ipv4_header(otherwise: str) -> Listing:
    """The first fragment of a TCP packet; X holds the length of the IP header."""
    return [
        Line(LOAD_WORD, ETHERTYPE),
        Line(IF_EQUAL, IPV4, "", otherwise),
        Line(LOAD_BYTE, NETWORK + 9),
        Line(IF_EQUAL, TCP, "", "drop"),
        Line(LOAD_HALF, NETWORK + 6),
        Line(IF_ANY_BIT, FRAGMENT_OFFSET, "drop"),
        Line(LOAD_BYTE, NETWORK),
        Line(AND, 0x0F),
        Line(SHIFT_LEFT, 2),
        Line(COPY_TO_X),
    ]


def _ipv6(address: bytes | None, port: int | None) -> Listing:
    return [*_ipv6_header(), *_endpoints(address, port, source=8, destination=24)]


def _ipv6_header() -> Listing:
    """A TCP packet without extension headers; X holds the length of the IP header."""
    return [
        Line(LOAD_WORD, ETHERTYPE),
        Line(IF_EQUAL, IPV6, "", "drop"),
        Line(LOAD_BYTE, NETWORK + 6),
        Line(IF_EQUAL, TCP, "", "drop"),
        Line(SET_X, 40),
    ]


def _endpoints(address: bytes | None, port: int | None, source: int, destination: int) -> Listing:
    """Address and port must match on the same end: on loopback both addresses often do."""
    if address is None and port is None:
        return [Line(RETURN, WHOLE_PACKET)]
    # IPv4 and IPv6 may stand in one program, each with a label of its own.
    receiver = f"receiver at {destination}"
    return [
        *_address(address, source, receiver),
        *_port(port, 0, receiver),
        receiver,
        *_address(address, destination, "drop"),
        *_port(port, 2, "drop"),
    ]


def ports_filter(ports: Ports, *, skip_outgoing: bool = False) -> tuple[Instruction, ...]:
    """Accepts TCP from or to one of these ports, whatever the addresses.

    One program for all servers that are probed from a range of ports of our own.
    """
    listing: Listing = [
        *(_skipping_outgoing() if skip_outgoing else ()),
        *_ipv4_header("ipv6"),
        *_either_port(ports, "ipv4"),
        "ipv6",
        *_ipv6_header(),
        *_either_port(ports, "of ipv6"),
        "keep",
        Line(RETURN, WHOLE_PACKET),
        "drop",
        Line(RETURN, 0),
    ]
    return assemble(listing)


def _either_port(ports: Ports, name: str) -> Listing:
    """Keeps the packet if the port of its sender or of its receiver is in the range."""
    receiver = f"receiver {name}"
    return [
        Line(LOAD_HALF_BEHIND_X, NETWORK),
        Line(IF_AT_LEAST, ports.first, "", receiver),
        Line(IF_GREATER, ports.last, receiver, "keep"),
        receiver,
        Line(LOAD_HALF_BEHIND_X, NETWORK + 2),
        Line(IF_AT_LEAST, ports.first, "", "drop"),
        Line(IF_GREATER, ports.last, "drop", "keep"),
    ]


def _port(port: int | None, at: int, otherwise: str) -> Listing:
    """The last question: keeps the packet if the port behind the IP header is right."""
    if port is None:
        return [Line(RETURN, WHOLE_PACKET)]
    return [Line(LOAD_HALF_BEHIND_X, NETWORK + at), Line(IF_EQUAL, port, "keep", otherwise)]


def _address(address: bytes | None, at: int, otherwise: str) -> Listing:
    lines: Listing = []
    if address is None:
        return lines
    for position in range(0, len(address), 4):
        word = int.from_bytes(address[position : position + 4], "big")
        lines.append(Line(LOAD_WORD, NETWORK + at + position))
        lines.append(Line(IF_EQUAL, word, "", otherwise))
    return lines


def assemble(listing: Listing) -> tuple[Instruction, ...]:
    """Counts the jumps. Every label lies behind the lines that name it, as BPF demands."""
    places: dict[str, int] = {}
    lines: list[Line] = []
    for item in listing:
        if isinstance(item, str):
            places[item] = len(lines)
        else:
            lines.append(item)

    def skip(label: str, here: int) -> int:
        return places[label] - here - 1 if label else 0

    return tuple(
        Instruction(line.code, skip(line.then, at), skip(line.otherwise, at), line.operand)
        for at, line in enumerate(lines)
    )


def encode(program: tuple[Instruction, ...]) -> bytes:
    """The program as the array of ``struct sock_filter`` that ``SO_ATTACH_FILTER`` points to."""
    return b"".join(
        struct.pack("@HBBI", code, if_true, if_false, operand & 0xFFFFFFFF)
        for code, if_true, if_false, operand in program
    )


def attach(packets: socket.socket, program: tuple[Instruction, ...]) -> None:
    """Set the filter of a socket, and lock it. Raises OSError."""
    code = encode(program)
    instructions = ctypes.create_string_buffer(code, len(code))
    packets.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(instructions)),
    )
    packets.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
