"""Responses of HTTP that are in the open, and what they still owe.

Of HTTP/1 only heads that a segment begins with are seen, which is where servers begin them. What a
response owes is told by its Content-Length, or by its last chunk (RFC 9112 sections 6.3 and 7.1).
HTTP/2 is followed frame by frame from its preface on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlsprobe.explain.http1 import END, Head, begins_message
from tlsprobe.explain.http2_frames import PREFACE, Http2
from tlsprobe.flows.connection import Connection
from tlsprobe.flows.stream import MASK, offset
from tlsprobe.judge.troubles import Owed
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Packet, reverse
from tlsprobe.packets.stretch import Stretch

MOST_HEADS = 20_000
"""Of so many directions a head is remembered."""

MOST_FRAMED = 1_000
"""So many connections of HTTP/2 are followed."""

_HEAD_BYTES = 8192

_FIRST_LETTERS = frozenset(range(ord("A"), ord("Z") + 1))
"""A method, a version and the preface of HTTP/2 begin with one: most other payloads do not."""


@dataclass(slots=True)
class _Message:
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
        self._heads: dict[bytes, _Message] = {}
        self._framed: dict[bytes, _Framed] = {}

    def watch(self, packets: Iterable[Packet | Stretch]) -> Iterator[Packet | Stretch]:
        """The same packets."""
        heads, framed = self._heads, self._framed
        for packet in packets:
            if isinstance(packet, Stretch):
                dull = self._says_nothing(packet)
                yield from (packet,) if dull else self.watch(packet.packets())
                continue
            payload = packet.payload
            if payload:
                if framed and packet.key in framed:
                    framed[packet.key].take(packet)
                elif payload[0] in _FIRST_LETTERS and payload.startswith(PREFACE):
                    self._begin_frames(packet)
                elif payload[0] in _FIRST_LETTERS and begins_message(payload):
                    self._begin(packet)
                elif heads and packet.key in heads:
                    whole = len(payload) == packet.length
                    heads[packet.key].tail = payload[-len(END) :] if whole else b""
            yield packet

    def _says_nothing(self, stretch: Stretch) -> bool:
        """Whether no message begins in it, nor goes on."""
        keys = stretch.key, reverse(stretch.key)
        if any(key in known for key in keys for known in (self._heads, self._framed)):
            return False
        return not any(
            payload and payload[0] in _FIRST_LETTERS and _begins(payload)
            for payload in stretch.payloads
        )

    def _begin(self, packet: Packet) -> None:
        if packet.key not in self._heads and len(self._heads) >= MOST_HEADS:
            return
        payload = packet.payload
        end = payload.find(END, 0, _HEAD_BYTES)
        head = payload[: end + len(END)] if end >= 0 else b""
        tail = payload[-len(END) :] if len(payload) == packet.length else b""
        self._heads[packet.key] = _Message(packet.seq, head, tail)

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
        if response is None or stream.base is None:
            return None
        head, asked = Head.of(response.head), Head.of(request.head) if request else None
        method = asked.method if asked else None
        if head is None or head.opens_tunnel(method) or not head.has_body(method):
            return None
        start = offset(response.seq, stream.base, reached)
        got = reached - start - len(response.head)
        if start < 0 or got < 0 or (method is None and not got):  # it may have answered a HEAD
            return None
        return head.owed_behind(got, response.tail)


def _begins(payload: bytes) -> bool:
    return payload.startswith(PREFACE) or begins_message(payload)
