"""Responses of HTTP that are in the open, and what they still owe.

Of HTTP/1 only heads that a segment begins with are seen, which is where servers begin them. What a
response owes is told by its Content-Length, or by its last chunk (RFC 9112 sections 6.3 and 7.1).
HTTP/2 is followed frame by frame from its preface on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsprobe.explain.http2_frames import PREFACE, Http2
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.stream import MASK, offset
from tlsprobe.judge.troubles import Owed
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Packet, reverse

MOST_HEADS = 20_000
"""Of so many directions a head is remembered."""

MOST_FRAMED = 1_000
"""So many connections of HTTP/2 are followed."""

_HEAD_BYTES = 8192
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_REQUEST = re.compile(rb"([A-Z]{3,8}) [^\r\n]* HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding:[^\r\n]*chunked[ \t]*(?=\r\n)", re.IGNORECASE)
_END = b"\r\n\r\n"
_NO_BODY = frozenset({204, 304})


@dataclass(slots=True)
class _Head:
    """The latest message of a direction: where it begins, and the last bytes that followed it."""

    seq: int
    head: bytes
    tail: bytes = b""


@dataclass(slots=True)
class _Framed:
    """A direction of HTTP/2; ``seq`` is the number of the next byte, None before the first."""

    frames: Http2
    side: Side
    seq: int | None = None

    def take(self, packet: Packet) -> None:
        """One more packet; behind a hole nothing can be told."""
        ahead = 0 if self.seq is None else offset(packet.seq, self.seq, 0)
        if ahead > 0 or len(packet.payload) != packet.length:
            self.frames.is_lost = True
        elif ahead + packet.length > 0:
            self.frames.feed(self.side, packet.payload[-ahead:])
            self.seq = (packet.seq + packet.length) & MASK


class PlainHttp:
    """Looks at packets as they pass, and remembers the heads."""

    def __init__(self) -> None:
        self._heads: dict[bytes, _Head] = {}
        self._framed: dict[bytes, _Framed] = {}

    def watch(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The same packets."""
        heads = self._heads
        for packet in packets:
            payload = packet.payload
            if payload:
                if packet.key in self._framed:
                    self._framed[packet.key].take(packet)
                elif payload.startswith(PREFACE):
                    self._begin_frames(packet)
                elif payload.startswith(b"HTTP/1.") or _REQUEST.match(payload):
                    self._begin(packet)
                elif packet.key in heads:
                    whole = len(payload) == packet.length
                    heads[packet.key].tail = payload[-len(_END) :] if whole else b""
            yield packet

    def _begin(self, packet: Packet) -> None:
        if packet.key not in self._heads and len(self._heads) >= MOST_HEADS:
            return
        payload = packet.payload
        end = payload.find(_END, 0, _HEAD_BYTES)
        head = payload[: end + len(_END)] if end >= 0 else b""
        tail = payload[-len(_END) :] if len(payload) == packet.length else b""
        self._heads[packet.key] = _Head(packet.seq, head, tail)

    def _begin_frames(self, packet: Packet) -> None:
        if len(self._framed) >= 2 * MOST_FRAMED:
            return
        frames, key = Http2(), packet.key
        self._framed[key] = _Framed(frames, Side.CLIENT)
        self._framed[reverse(key)] = _Framed(frames, Side.SERVER)
        self._framed[key].take(packet)

    def forget(self, connection: Connection) -> None:
        """Nothing more comes of this one."""
        for key in (connection.key, reverse(connection.key)):
            self._heads.pop(key, None)
            self._framed.pop(key, None)

    def owed(self, connection: Connection, way: int, reached: int) -> Owed | None:
        """What the last response of this way lacks.

        ``reached`` is the offset behind its last byte.
        """
        key = reverse(connection.key) if way else connection.key
        response, request = self._heads.get(key), self._heads.get(reverse(key))
        stream, framed = connection.streams[way], self._framed.get(key)
        if framed is not None:
            is_server = framed.side is Side.SERVER
            is_all = framed.seq == connection.number(way, reached)
            return framed.frames.owed() if is_server and is_all else None
        if response is None or stream.base is None or not _has_body(response, request):
            return None
        start = offset(response.seq, stream.base, reached)
        got = reached - start - len(response.head)
        if start < 0 or got < 0:
            return None
        if _CHUNKED.search(response.head):
            unfinished = response.tail and response.tail != _END
            return Owed("chunks") if unfinished else None
        length = _LENGTH.search(response.head)
        if length is None or (request is None and not got):  # it may have answered a HEAD
            return None
        left = int(length[1]) - got
        return Owed("content-length", left) if left > 0 else None


def _has_body(response: _Head, request: _Head | None) -> bool:
    """Whether the message is a response that a body follows."""
    status = _STATUS.match(response.head)
    if status is None or int(status[1]) < 200 or int(status[1]) in _NO_BODY:
        return False
    return request is None or not request.head.startswith((b"HEAD ", b"CONNECT "))
