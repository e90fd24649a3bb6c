"""The TCP sockets of this machine, as its kernel tells anybody who asks.

Source: sock_diag(7); ``linux/inet_diag.h``; ``struct tcp_info`` in ``linux/tcp.h``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct

Endpoint = tuple[str, int]

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _ERROR, _DONE = 20, 2, 3
_REQUEST_DUMP = 0x301
_INFO = 2
_ESTABLISHED = 1
_MAPPED = bytes(10) + b"\xff\xff"
_STATES = 0xF36  # not those that only wait for time to pass: many, and nobody's
_BUFFER = 1 << 18
_SECONDS = 2.0

_HEADER = Struct("=IHHII")
_ASKED = Struct("=BBBBI48x")
_TOLD = Struct("=BBBB4s16s16s12xIIIII")
_ATTRIBUTE = Struct("=HH")
_RECEIVED = Struct("=Q")
_RECEIVED_AT = 128


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One socket: its ends, whose it is, and how many bytes have come in so far.

    ``inode`` is what ``/proc/PID/fd`` calls it, 0 once no process holds it. ``open``: neither side
    has ended it.
    """

    local: Endpoint
    remote: Endpoint
    uid: int
    inode: int
    received: int = 0
    open: bool = True


def is_own(address: str) -> bool:
    """Whether this is an address of this thread's network namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as one, suppress(OSError):
        one.bind((address, 0))
        return True
    return False


def tcp_sockets() -> tuple[TcpSocket, ...]:
    """Those of this thread's network namespace that listen or are connected. Raises OSError."""
    return tuple(found for family in (socket.AF_INET, socket.AF_INET6) for found in _ask(family))


def _ask(family: int) -> Iterator[TcpSocket]:
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _STATES)
    size = _HEADER.size + len(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(_HEADER.pack(size, _BY_FAMILY, _REQUEST_DUMP, 0, 0) + body)
        more = True
        while more:
            found, more = read_sockets(kernel.recv(_BUFFER))
            yield from found


def read_sockets(messages: bytes) -> tuple[list[TcpSocket], bool]:
    """The sockets in some of the kernel's messages, and whether more are to come."""
    found: list[TcpSocket] = []
    while len(messages) >= _HEADER.size:
        size, kind, *_ = _HEADER.unpack_from(messages)
        if kind in {_ERROR, _DONE} or size < _HEADER.size:
            return found, False
        if kind == _BY_FAMILY:
            found.append(_socket(messages[_HEADER.size : size]))
        messages = messages[-(-size // 4) * 4 :]
    return found, True


def _socket(message: bytes) -> TcpSocket:
    family, state, _, _, ports, source, target, _, _, _, uid, inode = _TOLD.unpack_from(message)
    local = _address(family, source), int.from_bytes(ports[:2], "big")
    remote = _address(family, target), int.from_bytes(ports[2:], "big")
    received = _received(message[_TOLD.size :])
    return TcpSocket(local, remote, uid, inode, received, state == _ESTABLISHED)


def _address(family: int, octets: bytes) -> str:
    """A server that takes both families has clients of IPv4 at addresses of IPv6."""
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, octets[:4])
    if octets.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, octets[len(_MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, octets)


def _received(attributes: bytes) -> int:
    while len(attributes) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(attributes)
        at = _ATTRIBUTE.size + _RECEIVED_AT
        if kind == _INFO and size >= at + _RECEIVED.size:
            return int(_RECEIVED.unpack_from(attributes, at)[0])
        if size < _ATTRIBUTE.size:
            break
        attributes = attributes[-(-size // 4) * 4 :]
    return 0
