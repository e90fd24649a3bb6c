"""HTTP/1 messages: where their heads say that they end, and what the last response still owes.

Where a message ends is told by its head (RFC 9112 section 6.3), and whether a response has a body
by the request that it answers. `owed_by_http1` follows both streams from their first bytes on; of a
response of which only the head and the end were seen `Head` tells as much as they do. What cannot
be read so is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tlsprobe.judge.troubles import Owed

_REQUEST = re.compile(rb"([A-Z]{3,16}) [^\r\n]* HTTP/1\.[01]\r\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_CODED = re.compile(rb"\r\nTransfer-Encoding:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_LAST_CODING = re.compile(rb"(?:.*[, \t])?chunked", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
END = b"\r\n\r\n"
"""The empty line behind a head, behind the last chunk, or behind its trailers."""
_NO_BODY = frozenset({204, 304})
_SWITCHING = 101


class _Unreadable(ValueError):  # noqa: N818 - it says what the stream is
    """Nobody can tell from here on where a message ends."""


def begins_message(data: bytes) -> bool:
    """Whether a request or a response begins there."""
    return data.startswith(b"HTTP/1.") or _REQUEST.match(data) is not None


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a message says: ``method`` of a request, ``status`` of a response.

    ``is_chunked``: its last chunk ends it. ``length`` is its Content-Length, None without one.
    """

    method: bytes | None = None
    status: int | None = None
    is_chunked: bool = False
    length: int | None = None

    @classmethod
    def of(cls, data: bytes) -> Head | None:
        """Of a whole head. None where it is no head, or does not say where its message ends."""
        asked, told = _REQUEST.match(data), _STATUS.match(data)
        codings, lengths = _CODED.findall(data), set(_LENGTH.findall(data))
        if asked is None and told is None:
            return None
        if len(codings) + len(lengths) > 1:
            return None
        if codings and _LAST_CODING.fullmatch(codings[0]) is None:
            return None
        return cls(
            method=asked[1] if asked else None,
            status=int(told[1]) if told else None,
            is_chunked=bool(codings),
            length=int(lengths.pop()) if lengths else None,
        )

    @property
    def is_final(self) -> bool:
        """Whether it is the head of a response that no other follows for the same request."""
        return self.status is not None and self.status >= 200

    def has_body(self, method: bytes | None) -> bool:
        """Whether a body follows this response to a request with ``method`` (None: not seen)."""
        return self.is_final and self.status not in _NO_BODY and method != b"HEAD"

    def opens_tunnel(self, method: bytes | None) -> bool:
        """Whether something other than HTTP follows this response."""
        took = self.status is not None and 200 <= self.status < 300
        return self.status == _SWITCHING or (method == b"CONNECT" and took)

    def owed_behind(self, got: int, tail: bytes) -> Owed | None:
        """What the body lacks of which ``got`` bytes came, the last of them ``tail``."""
        if self.is_chunked:
            return Owed("chunks") if tail and tail != END else None
        missing = (self.length or 0) - got
        return Owed("content-length", missing) if missing > 0 else None


class _Body(NamedTuple):
    """Where a body ends; ``owed`` is what is missing of it, None of a whole one."""

    end: int
    owed: Owed | None = None


def owed_by_http1(client: bytes, server: bytes) -> Owed | None:
    """What the server's last response lacks, None where it lacks nothing or nobody can tell."""
    try:
        return _owed(list(_methods(client)), server)
    except _Unreadable:
        return None


def _owed(methods: list[bytes], server: bytes) -> Owed | None:
    at = answered = 0
    while at < len(server):
        head, at = _head(server, at)
        if head.status is None or answered >= len(methods):
            raise _Unreadable
        method = methods[answered]
        if head.opens_tunnel(method):
            raise _Unreadable
        answered += head.is_final
        if not head.has_body(method):
            continue
        body = _body(server, at, head, to_the_end=True)
        if body.owed is not None:
            return body.owed
        at = body.end
    return None


def _methods(client: bytes) -> Iterator[bytes]:
    """The methods of the requests, the last of which may not have come to its end."""
    at = 0
    while at < len(client):
        head, at = _head(client, at)
        if head.method is None:
            raise _Unreadable
        yield head.method
        at = _body(client, at, head, to_the_end=False).end


def _head(data: bytes, at: int) -> tuple[Head, int]:
    """The head that begins there, and what lies behind it."""
    end = data.find(END, at)
    head = Head.of(data[at : end + len(END)]) if end >= 0 else None
    if head is None:
        raise _Unreadable
    return head, end + len(END)


def _body(data: bytes, at: int, head: Head, *, to_the_end: bool) -> _Body:
    """The body at ``at``; without a length a response goes on ``to_the_end`` of the connection."""
    if head.is_chunked:
        return _chunked(data, at)
    if head.length is None:
        return _Body(len(data) if to_the_end else at)
    end = at + head.length
    missing = end - len(data)
    return _Body(end, Owed("content-length", missing) if missing > 0 else None)


def _chunked(data: bytes, at: int) -> _Body:
    """Chunk by chunk (RFC 9112 section 7.1); behind the last one trailers, and an empty line."""
    unfinished = _Body(len(data), Owed("chunks"))
    while True:
        line = _CHUNK.match(data, at)
        if line is None:
            if b"\r\n" in data[at:]:
                raise _Unreadable
            return unfinished
        size, at = int(line[1], 16), line.end()
        if size == 0:
            end = at if data[at : at + 2] == b"\r\n" else data.find(END, at) + 2
            return _Body(end + 2) if end >= at else unfinished
        at += size + 2
        if at > len(data):
            return unfinished
        if data[at - 2 : at] != b"\r\n":
            raise _Unreadable
