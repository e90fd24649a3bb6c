"""Where the NAT of this machine's kernel takes our connections, if a rule of it is about them.

``nft`` and ``iptables`` rules (``dnat``, ``redirect``, ``masquerade``; what publishes the ports of
containers and the services of a cluster) give packets other addresses behind the socket, so that a
capture sees none of them, or one direction alone, under the addresses that the socket has. The
kernel's connection tracking knows both pairs. It tells those who may administer the network.

Source: ``include/uapi/linux/netfilter/nfnetlink_conntrack.h`` of Linux.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from tlsprobe.drive.sockets import Endpoint
from tlsprobe.netns import inside

_NETLINK_NETFILTER = 12
_GET, _REQUEST = 1 << 8 | 1, 1
_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_ADDRESSES, _PORTS = 1, 2
_SOURCE, _DESTINATION = {4: 1, 16: 3}, {4: 2, 16: 4}
_PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_NESTED, _KIND = 0x8000, 0x3FFF
_SECONDS = 2.0

_HEADER = Struct("=IHHII")
_FAMILY = Struct("=BBH")
_ATTRIBUTE = Struct("=HH")

_TRACKED = Path("/proc/sys/net/netfilter/nf_conntrack_count")
"""How many connections the kernel tracks in this thread's namespace."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The ends of a connection as they are on the wire, where they are not those of its socket."""

    client: Endpoint
    server: Endpoint


def translation(client: Endpoint, server: Endpoint, namespace: str = "") -> Translated | None:
    """What becomes of a connection between these; None where nothing does, or nobody tells."""
    with suppress(OSError, ValueError), inside(namespace):
        if int(_TRACKED.read_bytes()) == 0:
            return None
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
            kernel.settimeout(_SECONDS)
            kernel.send(question(client, server))
            found = read_answer(kernel.recv(8192))
        if found not in {None, Translated(client, server)}:
            return found
    return None


def question(client: Endpoint, server: Endpoint) -> bytes:
    """The request for one tracked connection, by the addresses that its socket has."""
    source, target = _packed(client[0]), _packed(server[0])
    addresses = _attribute(_SOURCE[len(source)], source) + _attribute(
        _DESTINATION[len(target)], target
    )
    ports = (
        _attribute(_PROTOCOL, bytes([socket.IPPROTO_TCP]))
        + _attribute(_SOURCE_PORT, client[1].to_bytes(2, "big"))
        + _attribute(_DESTINATION_PORT, server[1].to_bytes(2, "big"))
    )
    asked = _attribute(_ADDRESSES | _NESTED, addresses) + _attribute(_PORTS | _NESTED, ports)
    family = socket.AF_INET if len(target) == 4 else socket.AF_INET6
    body = _FAMILY.pack(family, 0, 0) + _attribute(_TUPLE_ORIGINAL | _NESTED, asked)
    return _HEADER.pack(_HEADER.size + len(body), _GET, _REQUEST, 1, 0) + body


def read_answer(message: bytes) -> Translated | None:
    """The ends as the server's packets have them; None if the kernel tells of no connection."""
    size, kind, *_ = _HEADER.unpack_from(message)
    if kind >> 8 != _GET >> 8:
        return None  # an error: not tracked, or not ours to ask
    told = dict(_attributes(message[_HEADER.size + _FAMILY.size : size]))
    reply = dict(_attributes(told.get(_TUPLE_REPLY, b"")))
    addresses = dict(_attributes(reply.get(_ADDRESSES, b"")))
    ports = dict(_attributes(reply.get(_PORTS, b"")))
    source = next((addresses[kind] for kind in _SOURCE.values() if kind in addresses), b"")
    target = next((addresses[kind] for kind in _DESTINATION.values() if kind in addresses), b"")
    if not (source and target and {_SOURCE_PORT, _DESTINATION_PORT} <= ports.keys()):
        return None
    return Translated(
        client=(_text(target), int.from_bytes(ports[_DESTINATION_PORT], "big")),
        server=(_text(source), int.from_bytes(ports[_SOURCE_PORT], "big")),
    )


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _KIND, data[at + _ATTRIBUTE.size : at + size]
        at += max(size + 3 & ~3, _ATTRIBUTE.size)


def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address.partition("%")[0])


def _text(octets: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets)
