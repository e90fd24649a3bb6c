"""Puts fragmented IP packets together again, within bounds.

Where fragments overlap the bytes that came first win, and the header is that of the first
fragment. What a snap length cut off is missing from the end of the result, not from its length.

Source: RFC 791 section 3.2, RFC 8200 section 4.5; RFC 5722 on why overlaps deserve no trust.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

DATAGRAM_LIMIT = 256
"""Unfinished packets held at once; the oldest gives way."""
PIECE_LIMIT = 128
"""Fragments of one packet; a sound one needs no more than 46 on an Ethernet."""
BYTES_LIMIT = 8 * 1024 * 1024
LIFETIME_NS = 60 * 10**9
"""RFC 8200's reassembly time; an id that comes back later is another packet's."""

_LARGEST = 65535
_MORE_IPV4, _OFFSET_IPV4 = 0x2000, 0x1FFF
_FRAGMENT_HEADER = struct.Struct("!BxHI")

Key = tuple[bytes, int, int]


class Piece(NamedTuple):
    """One fragment: ``length`` bytes from ``start``, of which ``data`` was captured."""

    key: Key
    header: bytes
    start: int
    length: int
    data: bytes
    last: bool


@dataclass(slots=True)
class _Datagram:
    since_ns: int
    header: bytes = b""
    total: int | None = None
    held: int = 0
    pieces: list[Piece] = field(default_factory=list)


class Fragments:
    """Feed it fragments, get whole IP packets.

    ``taken`` counts the fragments, ``incomplete`` the packets that were given up.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, _Datagram] = {}
        self._held = 0
        self.taken = self.incomplete = 0

    @property
    def unfinished(self) -> int:
        """Packets of which something is missing, given up or not."""
        return self.incomplete + len(self._waiting)

    def waits_for(self, piece: Piece) -> bool:
        """Whether another fragment of the same packet was taken in."""
        return piece.key in self._waiting

    def add(self, piece: Piece, time_ns: int) -> bytes | None:
        """The whole packet, from its IP header on, if this fragment completes it."""
        self.taken += 1
        waiting = self._waiting.get(piece.key)
        if waiting is not None and time_ns - waiting.since_ns > LIFETIME_NS:
            self._give_up(piece.key)
            waiting = None
        if waiting is None:
            waiting = self._waiting[piece.key] = _Datagram(time_ns)
        if not self._keep(waiting, piece):
            self._give_up(piece.key)
            return None
        if waiting.total is not None and waiting.header and _covers(waiting):
            self._forget(piece.key)
            return _whole(waiting)
        self._bound()
        return None

    def _keep(self, waiting: _Datagram, piece: Piece) -> bool:
        """Takes the fragment in; False if the packet cannot be a sound one."""
        end = piece.start + piece.length
        if end > _LARGEST or len(waiting.pieces) >= PIECE_LIMIT:
            return False
        if any(p.start == piece.start and p.length == piece.length for p in waiting.pieces):
            return True
        if piece.last and waiting.total is None:
            waiting.total = end
        if not piece.start:
            waiting.header = piece.header
        waiting.pieces.append(piece)
        waiting.held += len(piece.data)
        self._held += len(piece.data)
        return True

    def _bound(self) -> None:
        while len(self._waiting) > DATAGRAM_LIMIT or self._held > BYTES_LIMIT:
            self._give_up(next(iter(self._waiting)))

    def _give_up(self, key: Key) -> None:
        self.incomplete += 1
        self._forget(key)

    def _forget(self, key: Key) -> None:
        self._held -= self._waiting.pop(key).held


def ipv4_piece(frame: bytes, at: int) -> Piece:
    """The IPv4 fragment at this offset. Raises struct.error when its header is cut off."""
    first, total, ip_id, mixed, protocol, source, destination = struct.unpack_from(
        "!BxHHHxBxx4s4s", frame, at
    )
    size = (first & 0x0F) * 4
    header = bytearray(frame[at : at + size])
    header[6:8] = (mixed & 0x4000).to_bytes(2, "big")
    return Piece(
        (source + destination, ip_id, protocol),
        bytes(header),
        (mixed & _OFFSET_IPV4) * 8,
        max(total - size, 0),
        frame[at + size : at + max(total, size)],
        not mixed & _MORE_IPV4,
    )


def ipv6_piece(frame: bytes, at: int, behind: int) -> Piece:
    """The IPv6 fragment of the packet at ``at``, whose fragment header is at ``behind``.

    Extension headers in front of it are left out of the result. Raises struct.error.
    """
    (total,) = struct.unpack_from("!H", frame, at + 4)
    protocol, mixed, ip_id = _FRAGMENT_HEADER.unpack_from(frame, behind)
    header = bytearray(frame[at : at + 40])
    header[6] = protocol
    start, end = behind + 8, at + 40 + total
    return Piece(
        (frame[at + 8 : at + 40], ip_id, protocol),
        bytes(header),
        mixed & 0xFFF8,
        max(end - start, 0),
        frame[start : max(start, end)],
        not mixed & 1,
    )


def _covers(waiting: _Datagram) -> bool:
    reached = 0
    for piece in sorted(waiting.pieces, key=lambda p: p.start):
        if piece.start > reached:
            return False
        reached = max(reached, piece.start + piece.length)
    return reached >= (waiting.total or 0)


def _whole(waiting: _Datagram) -> bytes:
    total = waiting.total or 0
    data, known = bytearray(total), bytearray(total)
    # Backwards, so that what came first is written last.
    for piece in reversed(waiting.pieces):
        end = min(piece.start + piece.length, total)
        size = min(len(piece.data), end - piece.start)
        if end <= piece.start:
            continue
        data[piece.start : piece.start + size] = piece.data[:size]
        known[piece.start : end] = b"\1" * size + bytes(end - piece.start - size)
    cut = known.find(0)
    header = bytearray(waiting.header)
    if header[0] >> 4 == 4:
        header[2:4] = min(len(header) + total, _LARGEST).to_bytes(2, "big")
    else:
        header[4:6] = total.to_bytes(2, "big")
    return bytes(header + (data if cut < 0 else data[:cut]))
