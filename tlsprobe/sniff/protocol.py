"""What the sniffer process and its parent say to each other, over two pipes.

Upwards, messages: a kind (one byte), a length, a body. Downwards, lines: ``sync N``, and
``hold MS`` to leave packets in the kernel for so many milliseconds; closing the pipe asks for the
end. Frames travel in batches, so that a busy capture costs few system calls.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

ARMED = b"A"
"""JSON: the socket is open, its filter locked, the privileges gone."""
FAILED = b"E"
"""JSON with ``message`` and ``hint``: the process ends."""
FRAMES = b"F"
"""`FRAME_HEAD` and bytes, over and over."""
SYNCED = b"S"
"""`TALLY`: everything that had arrived when ``sync N`` was read has been sent."""
ENDED = b"D"
"""`TALLY`, at the very end."""

HEAD = struct.Struct("<cI")
FRAME_HEAD = struct.Struct("<QII")
"""Time in nanoseconds, length on the wire, bytes that follow."""
TALLY = struct.Struct("<QQQ")
"""The number of the sync, frames sent, frames that the kernel dropped; since armed."""

ANY = "-"
"""In place of an address or a port, among the words that the process is started with."""

Arrival = tuple[int, int, bytes]
"""A frame's time in nanoseconds, its length on the wire, and its bytes."""

MESSAGE_LIMIT = 4 * 1024 * 1024


class Message(NamedTuple):
    """One message from the sniffer process."""

    kind: bytes
    body: bytes


class Garbled(Exception):  # noqa: N818
    """The bytes are not the protocol's."""


def message(kind: bytes, body: bytes) -> bytes:
    """A message as it goes over the pipe."""
    return HEAD.pack(kind, len(body)) + body


def note(kind: bytes, **facts: object) -> bytes:
    """A message whose body is JSON."""
    return message(kind, json.dumps(facts).encode())


def facts_of(body: bytes) -> dict[str, object]:
    """The JSON object in a body. Raises Garbled."""
    try:
        facts = json.loads(body)
    except ValueError as error:
        raise Garbled(str(error)) from None
    if not isinstance(facts, dict):
        raise Garbled("not an object")
    return facts


class Messages:
    """Cuts the byte stream into messages, holding only an unfinished one."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEAD.size

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete. Raises Garbled."""
        self._parts.append(data)
        self._have += len(data)
        found: list[Message] = []
        if self._have < self._need:
            return found
        buffer = b"".join(self._parts)
        at = 0
        while len(buffer) - at >= HEAD.size:
            kind, size = HEAD.unpack_from(buffer, at)
            if size > MESSAGE_LIMIT:
                raise Garbled(f"a message of {size} bytes")
            end = at + HEAD.size + size
            if end > len(buffer):
                self._need = HEAD.size + size
                break
            found.append(Message(kind, buffer[at + HEAD.size : end]))
            at = end
        else:
            self._need = HEAD.size
        self._parts = [buffer[at:]]
        self._have = len(buffer) - at
        return found


def frames_of(body: bytes) -> Iterator[Arrival]:
    """Time, length on the wire and bytes of each frame in a batch. Raises Garbled."""
    at, end = 0, len(body)
    unpack, head = FRAME_HEAD.unpack_from, FRAME_HEAD.size
    while at + head <= end:
        time_ns, length, captured = unpack(body, at)
        at += head
        if at + captured > end:
            break
        yield time_ns, length, body[at : at + captured]
        at += captured
    if at != end:
        raise Garbled("a frame is longer than its batch")
