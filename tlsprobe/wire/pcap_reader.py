"""Reads pcap and pcapng, fed piece by piece: files, and what capture programs write to a pipe.

Either byte order, micro- or nanoseconds, several interfaces with several link types. Nothing is
held but the unfinished block at the end, whose size is bounded. A damaged file is the user's
`UsageError`, with the offset of the damage in bytes.

Source: the pcapng specification and draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tlsprobe.errors import UsageError
from tlsprobe.wire import pcapng

BLOCK_LIMIT = 16 * 1024 * 1024
"""No block of a sound file comes near: a frame is at most a quarter of a megabyte."""

_SIMPLE_PACKET, _OLD_PACKET = 3, 2
_SECOND = 10**9
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}


class CapturedFrame(NamedTuple):
    """A frame from a capture; ``length`` is what was on the wire, ``data`` what was kept."""

    time_ns: int
    link: int
    length: int
    data: bytes


@dataclass(slots=True)
class CapturedInterface:
    """What a capture tells of one interface; ``dropped`` None: it does not say."""

    link: int
    ticks_per_second: int = 10**6
    offset_s: int = 0
    name: str = ""
    dropped: int | None = None


_NEEDS_MORE = 0


class Reader:
    """Give it bytes, get frames. The kind of file shows in its first four bytes."""

    def __init__(self, name: str = "the capture") -> None:
        self._name = name
        self._order = "<"
        self._nanoseconds_per_tick = 1
        self._take: Callable[[bytes, int, list[CapturedFrame]], int] = self._recognise
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 4
        self.offset = 0
        self.interfaces: list[CapturedInterface] = []

    @property
    def unread(self) -> int:
        """Bytes of a block that is not complete yet; after the last byte, what was cut off."""
        return self._have

    def feed(self, data: bytes) -> list[CapturedFrame]:
        """The frames that these bytes complete. Raises UsageError on damage."""
        self._parts.append(data)
        self._have += len(data)
        found: list[CapturedFrame] = []
        if self._have < self._need:
            return found
        buffer = b"".join(self._parts)
        at = 0
        try:
            while taken := self._take(buffer, at, found):
                at += taken
                self.offset += taken
        except struct.error:
            raise self._damage("a block is shorter than what it holds") from None
        self._parts = [buffer[at:]]
        self._have = len(buffer) - at
        return found

    def _damage(self, what: str) -> UsageError:
        return UsageError(
            f"{self._name}: {what} (at byte {self.offset})",
            "the file may be cut off or not a capture; tshark can rewrite one it understands",
        )

    def _holds(self, buffer: bytes, at: int, size: int) -> bool:
        """Whether ``size`` bytes are there; if not, how many to wait for."""
        self._need = size
        return len(buffer) - at >= size

    def _recognise(self, buffer: bytes, at: int, found: list[CapturedFrame]) -> int:
        if not self._holds(buffer, at, 4):
            return _NEEDS_MORE
        magic = buffer[at : at + 4]
        if magic == _SECTION_MAGIC:
            self._take = self._block
        elif magic in _PCAP_MAGICS:
            self._order, self._nanoseconds_per_tick = _PCAP_MAGICS[magic]
            self._take = self._pcap_header
        else:
            raise self._damage("this is neither pcap nor pcapng")
        return self._take(buffer, at, found)

    # pcap: a header of 24 bytes, then records.

    def _pcap_header(self, buffer: bytes, at: int, found: list[CapturedFrame]) -> int:
        if not self._holds(buffer, at, 24):
            return _NEEDS_MORE
        link = struct.unpack_from(f"{self._order}I", buffer, at + 20)[0] & 0xFFFF
        self.interfaces.append(CapturedInterface(link))
        self._take = self._pcap_record
        return 24

    def _pcap_record(self, buffer: bytes, at: int, found: list[CapturedFrame]) -> int:
        if not self._holds(buffer, at, 16):
            return _NEEDS_MORE
        seconds, ticks, captured, length = struct.unpack_from(f"{self._order}IIII", buffer, at)
        if captured > BLOCK_LIMIT:
            raise self._damage(f"a packet of {captured} bytes")
        if not self._holds(buffer, at, 16 + captured):
            return _NEEDS_MORE
        time_ns = seconds * _SECOND + ticks * self._nanoseconds_per_tick
        data = buffer[at + 16 : at + 16 + captured]
        found.append(CapturedFrame(time_ns, self.interfaces[0].link, length, data))
        return int(16 + captured)

    # pcapng: blocks, each with its length at both ends.

    def _block(self, buffer: bytes, at: int, found: list[CapturedFrame]) -> int:
        if not self._holds(buffer, at, 12):
            return _NEEDS_MORE
        if buffer[at : at + 4] == _SECTION_MAGIC:
            self._order = self._byte_order(buffer, at)
        kind, size = struct.unpack_from(f"{self._order}II", buffer, at)
        if size < 12 or size % 4 or size > BLOCK_LIMIT:
            raise self._damage(f"a block of {size} bytes")
        if not self._holds(buffer, at, size):
            return _NEEDS_MORE
        if buffer[at + size - 4 : at + size] != buffer[at + 4 : at + 8]:
            raise self._damage("a block whose two lengths differ")
        self._contents(kind, buffer[at + 8 : at + size - 4], found)
        return int(size)

    def _byte_order(self, buffer: bytes, at: int) -> str:
        magic = buffer[at + 8 : at + 12]
        for order in "<>":
            if magic == struct.pack(f"{order}I", pcapng.BYTE_ORDER):
                return order
        raise self._damage("a section without a byte order")

    def _contents(self, kind: int, body: bytes, found: list[CapturedFrame]) -> None:
        if kind == pcapng.PACKET:
            number, high, low, captured, length = self._unpack("IIIII", body)
            found.append(self._frame(number, high << 32 | low, length, body[20:], captured))
        elif kind == _OLD_PACKET:
            number, _drops, high, low, captured, length = self._unpack("HHIIII", body)
            found.append(self._frame(number, high << 32 | low, length, body[20:], captured))
        elif kind == _SIMPLE_PACKET:
            (length,) = self._unpack("I", body)
            captured = min(length, len(body) - 4)
            found.append(self._frame(0, 0, length, body[4:], captured))
        elif kind == pcapng.SECTION:
            self.interfaces.clear()
        elif kind == pcapng.INTERFACE:
            self.interfaces.append(self._interface(body))
        elif kind == pcapng.STATISTICS:
            self._statistics(body)

    def _unpack(self, layout: str, body: bytes) -> tuple[int, ...]:
        return struct.unpack_from(f"{self._order}{layout}", body)

    def _frame(
        self, number: int, ticks: int, length: int, data: bytes, captured: int
    ) -> CapturedFrame:
        if captured > len(data):
            raise self._damage(f"a packet of {captured} bytes in a block of {len(data)}")
        interface = self._described(number)
        time_ns = ticks * _SECOND // interface.ticks_per_second + interface.offset_s * _SECOND
        return CapturedFrame(time_ns, interface.link, length, data[:captured])

    def _described(self, number: int) -> CapturedInterface:
        if number >= len(self.interfaces):
            raise self._damage(f"a packet of interface {number}, which is not described")
        return self.interfaces[number]

    def _interface(self, body: bytes) -> CapturedInterface:
        link, _reserved, _snap = self._unpack("HHI", body)
        interface = CapturedInterface(link)
        for code, value in self._options(body[8:]):
            if code == pcapng.INTERFACE_NAME:
                interface.name = value.decode("utf-8", "replace")
            elif code == pcapng.INTERFACE_RESOLUTION and value:
                interface.ticks_per_second = _ticks(value[0])
            elif code == pcapng.INTERFACE_OFFSET:
                (interface.offset_s,) = self._unpack("q", value)
        return interface

    def _statistics(self, body: bytes) -> None:
        number, _high, _low = self._unpack("III", body)
        for code, value in self._options(body[12:]):
            if code == pcapng.DROPPED:
                (self._described(number).dropped,) = self._unpack("Q", value)

    def _options(self, listed: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(listed):
            code, size = self._unpack("HH", listed[at : at + 4])
            if code == pcapng.END_OF_OPTIONS:
                return
            yield code, listed[at + 4 : at + 4 + size]
            at += 4 + (size + 3 & ~3)


def _ticks(resolution: int) -> int:
    """``if_tsresol``: a negative power of ten or, with the top bit set, of two."""
    return int((2 if resolution & 0x80 else 10) ** (resolution & 0x7F))
