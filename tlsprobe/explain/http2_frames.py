"""HTTP/2 frames in the open or behind keys: which streams the server left without an end.

Of a frame only the head is looked at (RFC 9113 section 4.1): its type, its flags, its stream. A
stream that either side reset, or that the server's GOAWAY excludes, is owed nothing (section 6.8).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsprobe.judge.troubles import Owed
from tlsprobe.model.trace import Side

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4)."""

_HEAD = 9
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_END_STREAM = 0x01
_EVERY_STREAM = (1 << 31) - 1
_LARGEST = 1 << 20
"""Frames are of 16 KiB unless their receiver allows more; what is larger is taken for none."""
_BODY_KEPT = 1024
_CONNECT = b"CONNECT", bytes.fromhex("bdab4e9c17b7ff")
"""The method as it is, and as HPACK's Huffman code has it: its stream is a tunnel."""

MOST_STREAMS = 10_000
"""So many streams of a connection are told apart."""


@dataclass(slots=True)
class _Way:
    """One direction: where in a frame it is. ``body`` is what is kept of a frame's contents."""

    head: bytearray = field(default_factory=bytearray)
    left: int = 0
    has_settings: bool = False
    body: bytearray = field(default_factory=bytearray)
    ended: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)


class Http2:
    """Fed both directions, each in order; ``is_lost`` says that what came was no such frames."""

    def __init__(self) -> None:
        self.is_lost = False
        self._ways = {side: _Way() for side in Side}
        self._preface = len(PREFACE)
        self._last: int | None = None
        self._reset: set[int] = set()

    def feed(self, side: Side, data: bytes) -> None:
        """More bytes of a side; each side's first frame is SETTINGS (section 3.4)."""
        at = 0
        if side is Side.CLIENT and self._preface:
            at = min(self._preface, len(data))
            begun = len(PREFACE) - self._preface
            self.is_lost |= data[:at] != PREFACE[begun : begun + at]
            self._preface -= at
        way = self._ways[side]
        while at < len(data) and not self.is_lost:
            at = self._step(side, way, data, at)

    def _step(self, side: Side, way: _Way, data: bytes, at: int) -> int:
        """To the end of the frame's head, of its body, or of the data."""
        if len(way.head) < _HEAD:
            taken = data[at : at + _HEAD - len(way.head)]
            way.head += taken
            at += len(taken)
            if len(way.head) < _HEAD:
                return at
            way.left = int.from_bytes(way.head[:3], "big")
            self.is_lost |= way.left > _LARGEST
        step = min(way.left, len(data) - at)
        room = max(0, _BODY_KEPT - len(way.body))
        way.body += data[at : at + min(step, room)]
        way.left -= step
        if not way.left:
            self._frame(side, way)
            way.head.clear()
            way.body.clear()
        return at + step

    def _frame(self, side: Side, way: _Way) -> None:
        kind, flags = way.head[3], way.head[4]
        self.is_lost |= not way.has_settings and kind != _SETTINGS
        way.has_settings = True
        stream = int.from_bytes(way.head[5:9], "big") & _EVERY_STREAM
        if kind in {_DATA, _HEADERS}:
            way.begun.add(stream)
            if flags & _END_STREAM:
                way.ended.add(stream)
            self.is_lost |= len(way.begun) > MOST_STREAMS
        elif kind == _RST_STREAM:
            self._reset.add(stream)
        elif kind == _GOAWAY and side is Side.SERVER:
            self._last = int.from_bytes(way.body[:4], "big") & _EVERY_STREAM
        if side is Side.CLIENT and kind in {_HEADERS, _CONTINUATION}:
            self.is_lost |= any(method in way.body for method in _CONNECT)

    def owed(self) -> Owed | None:
        """The first stream that the server left without its end; None if there is none.

        Either its response had begun, or its request was whole and the server's last GOAWAY says
        that it was taken.
        """
        client, server = self._ways[Side.CLIENT], self._ways[Side.SERVER]
        if self.is_lost or self._preface:
            return None
        last = self._last
        for stream in sorted(server.begun - server.ended - self._reset):
            if stream & 1 and (last is None or stream <= last):
                return Owed("stream", stream=stream)
        if last is None or last == _EVERY_STREAM:
            return None
        for stream in sorted(client.ended - server.begun - self._reset):
            if stream <= last:
                return Owed("goaway", stream=stream)
        return None
