"""Responses of HTTP/1 that are in the open: where the last one begins, and what it still owes.

Only heads that a segment begins with are seen, which is where servers begin them. What a response
owes is told by its Content-Length, or by its last chunk (RFC 9112 sections 6.3 and 7.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsprobe.flows.connection import Connection
from tlsprobe.flows.stream import offset
from tlsprobe.packets.packet import Packet, reverse

MOST_HEADS = 20_000
"""Of so many directions a head is remembered."""

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


class PlainHttp:
    """Looks at packets as they pass, and remembers the heads."""

    def __init__(self) -> None:
        self._heads: dict[bytes, _Head] = {}

    def watch(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The same packets."""
        heads = self._heads
        for packet in packets:
            payload = packet.payload
            if payload:
                if payload.startswith(b"HTTP/1.") or _REQUEST.match(payload):
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

    def forget(self, connection: Connection) -> None:
        """Nothing more comes of this one."""
        for key in (connection.key, reverse(connection.key)):
            self._heads.pop(key, None)

    def owed(self, connection: Connection, way: int, reached: int) -> tuple[str, int | None] | None:
        """What the last response of this way lacks, and how many bytes, if that is known.

        ``reached`` is the offset behind its last byte.
        """
        key = reverse(connection.key) if way else connection.key
        response, request = self._heads.get(key), self._heads.get(reverse(key))
        stream = connection.streams[way]
        if response is None or stream.base is None or not _has_body(response, request):
            return None
        start = offset(response.seq, stream.base, reached)
        got = reached - start - len(response.head)
        if start < 0 or got < 0:
            return None
        if _CHUNKED.search(response.head):
            unfinished = response.tail and response.tail != _END
            return ("chunks", None) if unfinished else None
        length = _LENGTH.search(response.head)
        if length is None or (request is None and not got):  # it may have answered a HEAD
            return None
        left = int(length[1]) - got
        return ("content-length", left) if left > 0 else None


def _has_body(response: _Head, request: _Head | None) -> bool:
    """Whether the message is a response that a body follows."""
    status = _STATUS.match(response.head)
    if status is None or int(status[1]) < 200 or int(status[1]) in _NO_BODY:
        return False
    return request is None or not request.head.startswith((b"HEAD ", b"CONNECT "))
