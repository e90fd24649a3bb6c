"""The kernel's TCP socket as a transport: what a client program could do, and no more.

The socket is a plain non-blocking one that waits through trio, so that the flags which decide
how bytes fall into segments (``MSG_MORE``, ``TCP_NODELAY``) stay ours to set.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import IntFlag
from typing import cast

import trio

from tlsprobe.drive.deadline import Deadline
from tlsprobe.model.target import Ports
from tlsprobe.netns import inside
from tlsprobe.shaper.link import Lane

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""What the socket calls take, IPv4 or IPv6."""

Address = tuple[socket.AddressFamily, SocketAddress]
"""Family and socket address, as ``getaddrinfo`` gives them."""


Announce = Callable[[tuple[str, int], int], None]
"""Told our end of a connection and the server's port."""


def unannounced(client: tuple[str, int], port: int) -> None:
    """Nobody looks at the packets of this connection."""


class Hold(IntFlag):
    """What becomes of the last segment of a write (send(2), tcp(7)).

    TO_JOIN waits for the FIN and leaves in one segment with it; TCP_CORK holds it, since MSG_MORE
    would let it go as soon as the server acknowledges anything. TO_FOLLOW waits too, but the next
    write is a segment of its own (MSG_EOR): both then leave back to back in the next system call,
    with no chance for the scheduler to run the server in between.
    """

    NOTHING = 0
    TO_JOIN = socket.MSG_MORE
    TO_FOLLOW = socket.MSG_MORE | socket.MSG_EOR


_CHUNK = 4096
"""Bytes that are received at once: with records of a byte each, that is 180 records to work on."""

_SMALL_SEGMENT, _SMALL_BUFFER = 1400, 16384

_IP_LOCAL_PORT_RANGE = 51
"""ip(7): from which ports a socket that is not bound connects; Linux 6.3 and newer."""

_LINGER_ZERO = struct.pack("ii", 1, 0)


class TcpTransport:
    """One TCP connection. Errors of the peer come out as the OSError that the kernel gave.

    ``namespace`` is the network namespace that it is made in, empty for our own; ``ports`` are
    those that it may connect from, None: any. ``is_small``: segments are no larger than on
    Ethernet, and few of them wait to be read; with the 64 KiB of loopback the other side's kernel
    takes in megabytes that nobody reads.
    """

    def __init__(
        self,
        address: Address,
        namespace: str = "",
        ports: Ports | None = None,
        *,
        is_small: bool = False,
    ) -> None:
        self._family, self._sockaddr = address
        self._namespace = namespace
        self._ports = ports
        self._is_small = is_small
        self._socket: socket.socket  # made by connect, whose errors are the machine's
        self.closed = True

    def go_to(self, port: int) -> None:
        """Connect to another port of the same host, where it has not begun to."""
        host, _, *rest = self._sockaddr
        self._sockaddr = cast(SocketAddress, (host, port, *rest))

    def start(self, announce: Announce, lane: Lane | None = None) -> tuple[str, int]:
        """Begin to connect; ``announce`` is called with both ends before any packet came back.

        Nothing is awaited between the SYN and the call, which is what lets the sniffer's parent
        keep just the packets of connections that are ours. With a ``lane`` the connection goes
        through the shaper, and our end is the one that the server sees. Raises OSError.
        """
        if lane is not None:
            self._socket, self._sockaddr = lane.socket, (lane.server[0], self._sockaddr[1])
        else:
            with inside(self._namespace):
                kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
                self._socket = socket.socket(self._family, kind)
        self.closed = False
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._is_small:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL_SEGMENT)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        if self._ports is not None:
            only_from(self._socket, self._ports)
        error = self._socket.connect_ex(self._sockaddr)
        local = lane.client if lane is not None else self._socket.getsockname()
        ours = (str(local[0]), int(local[1]))
        announce(ours, self._sockaddr[1])
        if error and error != errno.EINPROGRESS:
            raise OSError(error, os.strerror(error))
        return ours

    def is_connected(self) -> bool:
        """Whether the server has answered the SYN: a second connect(2) tells. Raises OSError.

        On loopback it has, as a rule, before the first call returns.
        """
        error = self._socket.connect_ex(self._sockaddr)
        if error not in {0, errno.EISCONN, errno.EALREADY, errno.EINPROGRESS}:
            raise OSError(error, os.strerror(error))
        return error in {0, errno.EISCONN}

    def send_now(self, data: bytes | memoryview, hold: Hold = Hold.NOTHING) -> memoryview:
        """Send as much as the socket takes, holding its last segment back or not.

        What is left over is returned.
        """
        view = memoryview(data)
        if hold is Hold.TO_JOIN:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            return view[self._socket.send(view, hold) :]
        except BlockingIOError:
            return view

    def fileno(self) -> int:
        """The descriptor, for whoever watches several at once."""
        return self._socket.fileno()

    async def writable(self) -> None:
        """Wait until the socket takes more."""
        await trio.lowlevel.wait_writable(self._socket)

    def receive_now(self) -> bytes | None:
        """What has arrived, b"" at EOF, None if nothing has. Raises OSError on a reset."""
        try:
            return self._socket.recv(_CHUNK)
        except BlockingIOError:
            return None

    def readable(self, deadline: Deadline) -> Awaitable[bool]:
        """Wait until there is something to receive; False at the deadline."""
        return deadline.readable(self._socket)

    def fin(self) -> None:
        """Shut down our write side. What ``more`` held back leaves with the FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the descriptor; the kernel sends FIN, or RST if we left data unread."""
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def abort(self) -> None:
        """Close with linger 0: the kernel sends an RST at once."""
        if not self.closed:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.close()


def only_from(connecting: socket.socket, ports: Ports) -> None:
    """Let a socket connect from these ports alone. Raises OSError where the kernel cannot.

    Ports outside those that the kernel gives out by itself (``ip_local_port_range``) would be
    ignored without a word.
    """
    both = struct.pack("@I", ports.last << 16 | ports.first)
    connecting.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, both)
