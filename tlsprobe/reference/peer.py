"""One accepted connection of a reference server, read a record at a time.

Records are read one by one, like OpenSSL without read-ahead does, so that "left unread" means what
it means in a real server.
"""

from __future__ import annotations

import socket
import struct
from enum import Enum

import trio

from tlsprobe.model.trace import RecordKind
from tlsprobe.reference.dialects import PONG, Dialect, Gone, Manner, dialect
from tlsprobe.tls import TlsContext, TlsSession

IDLE_TIMEOUT = 1.0
"""Seconds after which every reference server but ``mute`` ends an idle connection."""

_HEADER = 5
_ALERT = 21
_NO_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Occasion(Enum):
    """Why the server is about to end the connection."""

    GOODBYE = "goodbye"
    NOTIFIED = "close_notify"
    EOF = "eof"
    IDLE = "idle"
    FAILED = "failed"
    CUT = "cut"
    START = "start"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: trio.socket.SocketType, context: TlsContext, manner: Manner) -> None:
        self._socket = sock
        self._manner = manner
        self._dialect: Dialect | None = None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: TlsSession = context.accept()

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
        if not self._manner.updates:
            self._tls.can_seal()  # from here on OpenSSL's own words are dropped, a KeyUpdate too

    async def serve(self) -> Occasion:  # noqa: PLR0911 - one per occasion
        """Answer requests until there is an occasion to end the connection."""
        while True:
            # Two waits: a record that came while the machine stood still is read, however late.
            with trio.move_on_after(IDLE_TIMEOUT) as silence:
                await trio.lowlevel.wait_readable(self._socket)
            if silence.cancelled_caught:
                return Occasion.IDLE
            with trio.move_on_after(IDLE_TIMEOUT) as half_a_record:
                record = await self._record()
            if half_a_record.cancelled_caught:
                return Occasion.IDLE
            if not record:
                return Occasion.EOF
            if self._is_kept_from_openssl(record):
                return Occasion.FAILED
            for received in self._tls.receive(record):
                if received.kind is RecordKind.CLOSE_NOTIFY:
                    return Occasion.NOTIFIED
                if self._tls.failure:
                    await self._send(self._tls.output())
                    return Occasion.FAILED
                if received.kind is RecordKind.DATA and received.data:
                    occasion = await self._answer(received.data)
                    if occasion is not None:
                        return occasion

    def _is_kept_from_openssl(self, record: bytes) -> bool:
        """An alert whose session is not to be forgotten, which OpenSSL would do."""
        return record[0] == _ALERT and not self._manner.forgets

    async def farewell(self) -> None:
        """Say what the protocol has to say before an end, if it has anything."""
        words = self._dialect.farewell() if self._dialect is not None else b""
        if words:
            await self._send(self._tls.send(words))

    async def notify(self) -> None:
        """Send our close_notify, behind the protocol's farewell; nothing, once TLS has failed."""
        if self._tls.failure:
            return
        await self.farewell()
        await self._send(self._tls.close_notify())

    async def notify_again(self) -> None:
        """Send another close_notify, and nothing before it."""
        await self._send(self._tls.close_notify())

    async def say(self, words: bytes) -> None:
        """Say something inside TLS."""
        await self._send(self._tls.send(words))

    async def insist(self, words: bytes) -> None:
        """Say something inside TLS though it has failed."""
        if self._tls.can_seal():
            await self._send(self._tls.send(words))

    async def answer_anything(self) -> None:
        """Answer whatever comes next, though it comes behind a close_notify."""
        with trio.move_on_after(IDLE_TIMEOUT):
            if await self._record():
                await self._send(self._tls.send(PONG))

    async def fail(self) -> None:
        """Send a fatal alert: OpenSSL does when it is given a record that is none."""
        self._tls.receive(_NO_RECORD)
        await self._send(self._tls.output())

    async def alert(self, level: int, description: int) -> None:
        """Send any alert, made by hand."""
        if not self._tls.can_seal():
            raise Gone
        await self._send(self._tls.seal(_ALERT, bytes((level, description))))

    async def say_plainly(self, words: bytes) -> None:
        """Say something outside TLS."""
        await self._send(words)

    def fin(self) -> None:
        """Shut down the write side."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise Gone from None

    async def linger(self, seconds: float) -> None:
        """Read and discard until the client's FIN, or until nothing has come for ``seconds``."""
        more = True
        while more:
            more = False
            with trio.move_on_after(seconds):
                more = bool(await self._receive(2**16))

    async def unread(self, seconds: float) -> None:
        """Wait until something has arrived, and leave it unread; ``seconds`` at most."""
        with trio.move_on_after(seconds):
            await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close; the kernel resets if anything is unread."""
        self._socket.close()

    def abort(self) -> None:
        """Reset, whatever was read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._socket.close()

    async def _answer(self, words: bytes) -> Occasion | None:
        if self._dialect is None:
            self._dialect = dialect(words, self._manner)
        for turn in self._dialect.feed(words):
            if turn.response and self._manner.cuts:
                await self._send(self._tls.send(turn.response[: len(turn.response) // 2]))
                return Occasion.CUT
            await self._send(self._tls.send(turn.response))
            if turn.last:
                return Occasion.GOODBYE
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
