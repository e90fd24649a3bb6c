"""One accepted connection of a reference server, read a record at a time.

The line protocol is as small as a close needs: ``ping`` is answered with a ``pong`` line, ``get N``
with a line of N bytes, ``bye`` is the goodbye and has no answer. Records are read one by one, like
OpenSSL without read-ahead does, so that "left unread" means what it means in a real server.
"""

from __future__ import annotations

import socket
import struct
from enum import Enum

import trio

from tlsprobe.model.trace import RecordKind
from tlsprobe.tls import TlsContext, TlsSession

IDLE_TIMEOUT = 1.0
"""Seconds after which every reference server but ``mute`` ends an idle connection."""

MAX_RESPONSE = 64 * 2**20
"""Bytes that ``get`` gives at most."""

_HEADER = 5
_MAX_LINE = 4096
_LINGER_ZERO = struct.pack("ii", 1, 0)
_PONG = b"pong " + b"x" * 58 + b"\n"


class Occasion(Enum):
    """Why the server is about to end the connection."""

    GOODBYE = "goodbye"
    NOTIFIED = "close_notify"
    EOF = "eof"
    IDLE = "idle"
    CUT = "cut"


class Gone(Exception):  # noqa: N818 - the client left, which is no error here
    """The client is no longer there, or never spoke TLS."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: trio.socket.SocketType, context: TlsContext) -> None:
        self._socket = sock
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: TlsSession = context.accept()
        self._line = bytearray()

    async def handshake(self) -> None:
        """Up to the end of the TLS handshake. Raises Gone."""
        while not self._tls.handshaken:
            record = await self._record()
            if not record:
                raise Gone
            self._tls.receive(record)
            await self._send(self._tls.output())
            if self._tls.failure:
                raise Gone

    async def serve(self, cuts: bool) -> Occasion:
        """Answer requests until there is an occasion to end the connection.

        ``cuts``: stop in the middle of the first response.
        """
        while True:
            with trio.move_on_after(IDLE_TIMEOUT) as scope:
                record = await self._record()
            if scope.cancelled_caught:
                return Occasion.IDLE
            if not record:
                return Occasion.EOF
            for received in self._tls.receive(record):
                if received.kind is RecordKind.CLOSE_NOTIFY:
                    return Occasion.NOTIFIED
                if received.kind is RecordKind.DATA:
                    self._line += received.data
            occasion = await self._answer(cuts)
            if occasion is not None:
                return occasion

    async def notify(self) -> None:
        """Send our close_notify."""
        await self._send(self._tls.close_notify())

    def fin(self) -> None:
        """Shut down the write side."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise Gone from None

    async def linger(self, seconds: float) -> None:
        """Read and discard until the client's FIN, ``seconds`` at most."""
        with trio.move_on_after(seconds):
            while await self._receive(2**16):
                pass

    def close(self) -> None:
        """Close; the kernel resets if anything is unread."""
        self._socket.close()

    def abort(self) -> None:
        """Reset, whatever was read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._socket.close()

    async def _answer(self, cuts: bool) -> Occasion | None:
        while b"\n" in self._line:
            line, _, rest = bytes(self._line).partition(b"\n")
            self._line = bytearray(rest)
            if line == b"bye":
                return Occasion.GOODBYE
            response = _response(line)
            if cuts:
                await self._send(self._tls.send(response[: len(response) // 2]))
                return Occasion.CUT
            await self._send(self._tls.send(response))
        if len(self._line) > _MAX_LINE:
            raise Gone
        return None

    async def _record(self) -> bytes:
        """Exactly one record's bytes, or none at the end of the stream."""
        header = await self._exactly(_HEADER)
        if not header:
            return b""
        return header + await self._exactly(header[3] << 8 | header[4])

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = await self._receive(size - len(data))
            if not chunk:
                return b""
            data += chunk
        return data

    async def _receive(self, size: int) -> bytes:
        try:
            return await self._socket.recv(size)
        except OSError:
            raise Gone from None

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[await self._socket.send(view) :]
        except OSError:
            raise Gone from None


def _response(line: bytes) -> bytes:
    verb, _, size = line.partition(b" ")
    if verb == b"get" and size.isdigit():
        return b"x" * min(int(size[:12]), MAX_RESPONSE) + b"\n"
    return _PONG
