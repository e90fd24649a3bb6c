"""One TCP segment as a capture or a pasted text tells it, and the keys that file it by flow.

An endpoint is a packed address (4 or 16 bytes) and a port: the cheapest thing to hash. What a text
calls by a name that stands for no number keeps that name in place of the address.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

Endpoint = tuple[bytes, int]
"""A packed address (4 or 16 bytes) and a port; of an unknown name, `named` and a port."""

_NAME = b"name:"
"""No address begins like this: 6e61::/16 is in a part of IPv6 that nobody was given."""

_IPV4_KEY, _IPV6_KEY = 12, 36
_IPV4_BYTES, _IPV6_BYTES = 4, 16
_NAMES_KEY = struct.Struct("!cHHHH")
_NAMES_MARK = b"N"


class Packet(NamedTuple):
    """One TCP segment. What the input does not tell is None.

    Attributes:
        number: From 1 in the input's order; every frame of the input counts, TCP or not.
        time_ns: Nanoseconds since 1970, or since midnight or the first packet where a text tells
            no more; 0 when the input has no time.
        key: Whose it is and for whom, as `flow_key` puts it.
        seq: As on the wire, modulo 2**32; see ``relative``.
        ack: None without the ACK flag.
        flags: The flags byte of the TCP header.
        window: As in the header, unscaled.
        length: Payload bytes by the IP header; may be more than was captured.
        payload: What was captured of them; empty for text, but for what an RST says of itself.
        ttl: The hop limit.
        ip_id: None in IPv6.
        timestamps: Whether the TCP timestamps option is there (RFC 7323), or may be: options were
            cut off or not printed.
        df: Whether fragmenting was forbidden; None in IPv6.
        window_scale: The shift count that a SYN announces.
        options: The kinds of the TCP options in their order, padding included.
        interface: Tells apart the places where the capture looked: the interface's number in the
            file, together with the direction and the device where the link type tells them.
        relative: Text only: ``seq`` and ``ack`` count from a start of the flow that the text does
            not tell. They compare with each other, not with numbers that are not relative.
        copy: The very packet of a moment ago seen at another place (in and out, bridge and port,
            both ends of loopback, in a tunnel and outside): a capture's doing, not a
            retransmission.
        tunnel: What it came through, the innermost tunnel first; empty if through none.
    """

    number: int
    time_ns: int
    key: bytes
    seq: int
    ack: int | None
    flags: int
    window: int
    length: int
    payload: bytes
    ttl: int | None
    ip_id: int | None
    timestamps: bool
    df: bool | None
    window_scale: int | None
    options: bytes | None
    interface: int
    relative: bool = False
    copy: bool = False
    tunnel: str = ""

    @property
    def src(self) -> Endpoint:
        """The sender, address and port."""
        return endpoints(self.key)[0]

    @property
    def dst(self) -> Endpoint:
        """The receiver, address and port."""
        return endpoints(self.key)[1]


def named(name: str) -> bytes:
    """What stands in an endpoint for an address that the text gives by name only."""
    return _NAME + name.encode("utf-8", "replace")


def text(endpoint: Endpoint) -> str:
    """``192.0.2.7:443``, ``[2001:db8::7]:443``, or the name with its port if it has one."""
    address, port = endpoint
    host = host_text(address)
    if address.startswith(_NAME) and not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_text(address: bytes) -> str:
    """The address, or the name, alone."""
    if len(address) == _IPV4_BYTES:
        return ".".join(map(str, address))  # ipaddress takes several times as long
    if address.startswith(_NAME):
        return address[len(_NAME) :].decode("utf-8", "replace")
    return str(ip_address(address)) if len(address) == _IPV6_BYTES else address.hex()


def flow_key(src: Endpoint, dst: Endpoint) -> bytes:
    """What files a segment: both addresses, both ports, in the order of the wire.

    The two directions of a connection have two keys, each the `reverse` of the other. The same
    bytes as `tlsprobe.packets.frames.key_of` for addresses; names have a form of their own.
    """
    one, other = src[0], dst[0]
    if len(one) == len(other) and len(one) in (4, 16) and not _NAME == one[:5] == other[:5]:
        return one + other + src[1].to_bytes(2, "big") + dst[1].to_bytes(2, "big")
    head = _NAMES_KEY.pack(_NAMES_MARK, len(one), len(other), src[1], dst[1])
    whole = head + one + other
    return whole + b"\0" if len(whole) in (_IPV4_KEY, _IPV6_KEY) else whole


def endpoints(key: bytes) -> tuple[Endpoint, Endpoint]:
    """Sender and receiver of a `flow_key`."""
    if len(key) in (_IPV4_KEY, _IPV6_KEY):
        size = 4 if len(key) == _IPV4_KEY else 16
        source, destination = struct.unpack_from("!HH", key, 2 * size)
        return (key[:size], source), (key[size : 2 * size], destination)
    _, one, other, source, destination = _NAMES_KEY.unpack_from(key)
    names = key[_NAMES_KEY.size :]
    return (names[:one], source), (names[one : one + other], destination)


def receiver(key: bytes) -> bytes:
    """Of a `flow_key`, what tells its second endpoint from any other."""
    if len(key) == _IPV4_KEY:
        return key[4:8] + key[10:12]
    if len(key) == _IPV6_KEY:
        return key[16:32] + key[34:36]
    name, port = endpoints(key)[1]
    return name + port.to_bytes(4, "big")


def reverse(key: bytes) -> bytes:
    """The `flow_key` of the other direction."""
    if len(key) == _IPV4_KEY:
        return key[4:8] + key[0:4] + key[10:12] + key[8:10]
    if len(key) == _IPV6_KEY:
        return key[16:32] + key[0:16] + key[34:36] + key[32:34]
    src, dst = endpoints(key)
    return flow_key(dst, src)
