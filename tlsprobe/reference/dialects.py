"""The protocols that the reference servers speak, each as small as a close needs.

The client's first bytes tell which: HTTP/2's preface, a method of HTTP/1.1, or else lines. Among
lines ``ping`` is answered with a ``pong`` line, ``get N`` with a line of N bytes, ``bye`` is the
goodbye and has no answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack
from typing import NamedTuple, Protocol

MAX_RESPONSE = 64 * 2**20
"""Bytes that ``get`` gives at most."""

PONG = b"pong " + b"x" * 58 + b"\n"
LARGE = 2 * 2**20
"""Bytes of the HTTP response to a path with ``large`` in it."""

_MAX_UNREAD = 4096
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHODS = (b"GET ", b"POST ")
_ANY_STREAM = 2**31 - 1


class Gone(Exception):  # noqa: N818 - the client left, which is no error here
    """The client is no longer there, or never spoke TLS, or speaks nonsense."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server speaks, besides how it ends.

    ``listens``: it reads what comes behind the handshake, and does not end at once. ``cuts``: it
    stops in the middle of the first response. ``announces``: its last HTTP/1.1 response says
    ``Connection: close``. ``goaways`` are the GOAWAY frames of its farewell in HTTP/2, each a last
    stream and an error; by default those of a graceful end. ``updates``: it changes its keys when
    it is asked to (TLS 1.3). ``forgets``: a fatal alert makes it forget the session (TLS 1.2, where
    an alert can be told from outside).
    """

    listens: bool = True
    cuts: bool = False
    announces: bool = True
    goaways: tuple[tuple[int, int], ...] = ((_ANY_STREAM, 0), (1, 0))
    updates: bool = True
    forgets: bool = True


class Turn(NamedTuple):
    """What the server says in return; ``last``: the client has said its goodbye."""

    response: bytes
    last: bool = False


class Dialect(Protocol):
    """A protocol from the server's side, without any I/O."""

    def feed(self, data: bytes) -> Iterator[Turn]:
        """Take what the client said. Raises Gone for nonsense."""

    def farewell(self) -> bytes:
        """What the server says before it ends of its own accord."""


def dialect(first: bytes, manner: Manner) -> Dialect:
    """The protocol of a client that begins with these bytes."""
    if first.startswith(_PREFACE[:4]):
        return Http2(manner.goaways)
    return Http1(manner.announces) if first.startswith(_METHODS) else Lines()


class Lines:
    """One line asks, one line answers."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Turn]:
        """Answer every line that is whole."""
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, rest = bytes(self._buffer).partition(b"\n")
            self._buffer = bytearray(rest)
            yield Turn(b"", last=True) if line == b"bye" else Turn(_line(line))
        if len(self._buffer) > _MAX_UNREAD:
            raise Gone

    def farewell(self) -> bytes:
        """Nothing."""
        return b""


class Http1:
    """HTTP/1.1: answers GET with a body of its own, and POST with a refusal, before its body."""

    def __init__(self, announces: bool) -> None:
        self._announces = announces
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Turn]:
        """Answer every request whose head is whole."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            self._buffer = bytearray(rest)
            yield self._answer(head)
        if len(self._buffer) > _MAX_UNREAD:
            raise Gone

    def farewell(self) -> bytes:
        """Nothing."""
        return b""

    def _answer(self, head: bytes) -> Turn:
        request, _, fields = head.partition(b"\r\n")
        refused = request.startswith(b"POST ")
        last = refused or b"connection: close" in fields.lower()
        body = b"x" * (LARGE if b"large" in request else 50) + b"\n"
        status = b"413 Content Too Large" if refused else b"200 OK"
        close = b"Connection: close\r\n" if last and self._announces else b""
        length = b"Content-Length: %d\r\n" % len(body)
        return Turn(b"HTTP/1.1 " + status + b"\r\n" + length + close + b"\r\n" + body, last)


class Http2:
    """HTTP/2: acknowledges settings, and answers each request with a bare 200."""

    def __init__(self, goaways: tuple[tuple[int, int], ...]) -> None:
        self._goaways = goaways
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> Iterator[Turn]:
        """Answer every frame that is whole."""
        self._buffer += data
        if not self._greeted and len(self._buffer) >= len(_PREFACE):
            self._greeted = True
            del self._buffer[: len(_PREFACE)]
            yield Turn(_frame(4, 0, 0))
        while self._greeted and len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3])
            if end > 2**15:
                raise Gone
            if len(self._buffer) < end:
                return
            kind, flags, stream = self._buffer[3], self._buffer[4], self._buffer[5:9]
            payload = bytes(self._buffer[9:end])
            del self._buffer[:end]
            yield _turn(kind, flags, int.from_bytes(stream), payload)

    def farewell(self) -> bytes:
        """The GOAWAY frames."""
        return b"".join(_frame(7, 0, 0, pack("!II", *goaway)) for goaway in self._goaways)


def _turn(kind: int, flags: int, stream: int, payload: bytes) -> Turn:
    if kind == 1:  # HEADERS; 0x88 is ":status: 200" in HPACK's static table
        return Turn(_frame(1, 0x05, stream, b"\x88"))
    if kind in {4, 6} and not flags & 1:  # SETTINGS and PING, to be acknowledged
        return Turn(_frame(kind, 1, 0, payload if kind == 6 else b""))
    return Turn(b"", last=kind == 7)  # GOAWAY


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 section 4.1."""
    return len(payload).to_bytes(3) + pack("!BBI", kind, flags, stream) + payload


def _line(line: bytes) -> bytes:
    verb, _, size = line.partition(b" ")
    if verb == b"get" and size.isdigit():
        return b"x" * min(int(size[:12]), MAX_RESPONSE) + b"\n"
    return PONG
