"""HTTP/1.1 as both sides spoke it, read from the first byte on: what the last response still owes.

Where a message ends is told by its head (RFC 9112 section 6.3), and whether a response has a body
by the request that it answers, so that both streams are needed. What cannot be read so is not
guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tlsprobe.judge.troubles import Owed

_REQUEST = re.compile(rb"([A-Z]{3,16}) [^\r\n]* HTTP/1\.[01]\r\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_CODED = re.compile(rb"\r\nTransfer-Encoding:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
_END = b"\r\n\r\n"
_NO_BODY = frozenset({204, 304})
_SWITCHING = 101


class _Unreadable(ValueError):  # noqa: N818 - it says what the stream is
    """Nobody can tell from here on where a message ends."""


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
        head = _head(server, at)
        found = _STATUS.match(head)
        if found is None or answered >= len(methods):
            raise _Unreadable
        status, method = int(found[1]), methods[answered]
        is_tunnel = method == b"CONNECT" and 200 <= status < 300
        if status == _SWITCHING or is_tunnel:
            raise _Unreadable
        at += len(head)
        if status < 200:
            continue
        answered += 1
        if method == b"HEAD" or status in _NO_BODY:
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
        head = _head(client, at)
        found = _REQUEST.match(head)
        if found is None:
            raise _Unreadable
        yield found[1]
        at = _body(client, at + len(head), head, to_the_end=False).end


def _head(data: bytes, at: int) -> bytes:
    end = data.find(_END, at)
    if end < 0:
        raise _Unreadable
    return data[at : end + len(_END)]


def _body(data: bytes, at: int, head: bytes, *, to_the_end: bool) -> _Body:
    """The body at ``at``; without a length a response goes on ``to_the_end`` of the connection."""
    coded = _CODED.findall(head)
    lengths = set(_LENGTH.findall(head))
    if coded:
        if coded != [b"chunked"] or lengths:
            raise _Unreadable
        return _chunked(data, at)
    if len(lengths) > 1:
        raise _Unreadable
    if not lengths:
        return _Body(len(data) if to_the_end else at)
    end = at + int(lengths.pop())
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
            end = at if data[at : at + 2] == b"\r\n" else data.find(_END, at) + 2
            return _Body(end + 2) if end >= at else unfinished
        at += size + 2
        if at > len(data):
            return unfinished
        if data[at - 2 : at] != b"\r\n":
            raise _Unreadable
