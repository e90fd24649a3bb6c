"""Reads pcap and pcapng, fed piece by piece: files, and what capture programs write to a pipe.

Either byte order, micro- or nanoseconds, several sections and interfaces with several link types.
Nothing is held but the unfinished block at the end, whose size is bounded.

`Walker` finds the packets and leaves them where they lie: in a pcap record as in each kind of
pcapng packet block, two words of time, the captured and the true length, and the bytes follow one
another, so one `Batch` of offsets serves for both, and the hot loops of readers need one layout.
`Reader` cuts them out one by one, and for it any damage is the user's `UsageError`, with the
offset in bytes.

Source: the pcapng specification and draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from tlsprobe.captures import pcapng_writer as pcapng
from tlsprobe.errors import UsageError

BLOCK_LIMIT = 16 * 1024 * 1024
"""No block of a sound file comes near: a frame is at most a quarter of a megabyte."""
INTERFACE_LIMIT = 4096
"""Interfaces of one section; each takes memory until the section's end."""
SECRETS_LIMIT = 64 * 1024 * 1024
"""Bytes of embedded key logs; a connection takes a few hundred."""
RECORD_HEAD = 16
"""Where a record's bytes begin, behind its times and lengths."""
SLACK = 256
"""Zero bytes behind the last record of a batch, so that a layout may be read at any offset."""

_SIMPLE_PACKET, _OLD_PACKET = 3, 2
_SECOND = 10**9
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
OFFSET = "Q"
"""The type of an array of offsets: those of a million packets are passed on at once."""
MANY_BYTES = 1 << 20
"""In so many bytes records may be looked for in another way than one after the other."""
_ZEROS = bytes(SLACK)
_NATIVE = "<" if sys.byteorder == "little" else ">"
_WORD = 4
_TIME_LIMIT = 2**64 - 1


Records = Callable[[bytearray, int, int, str], "tuple[array[int], int] | None"]
"""Finds in a buffer, from a place to another, in a byte order, where whole records begin.

And where the one behind them would. None if it cannot tell.
"""


class CapturedFrame(NamedTuple):
    """A frame from a capture; ``length`` is what was on the wire, ``data`` what was kept."""

    time_ns: int
    link: int
    length: int
    data: bytes


@dataclass(slots=True, eq=False)
class CapturedInterface:
    """What a capture tells of one interface; ``dropped`` None: it does not say.

    ``index`` counts from 0 over the whole file, not only its section; ``snap`` 0: no limit.
    """

    link: int
    ticks_per_second: int = 10**6
    offset_s: int = 0
    name: str = ""
    dropped: int | None = None
    index: int = 0
    snap: int = 0


@dataclass(slots=True, eq=False)
class Batch:
    """Packets of one interface in a row: where their records begin in ``buffer``.

    At each offset four words of byte order ``order``: high and low part of the time, captured and
    true length; then the captured bytes. The time is ``high * high_ns + low * low_ns``. The buffer
    is good until the walker is fed again.
    """

    buffer: bytes | bytearray
    order: str
    interface: CapturedInterface
    high_ns: int
    low_ns: int
    offsets: array[int] = field(default_factory=lambda: array(OFFSET))

    def time_ns(self, offset: int) -> int:
        """When the packet at the offset was captured."""
        high, low, _, _ = _words(self.order)(self.buffer, offset)
        return high * self.high_ns + low * self.low_ns

    def frames(self, offsets: Sequence[int]) -> Iterator[CapturedFrame]:
        """The packets at these offsets, cut out."""
        buffer, link, read = self.buffer, self.interface.link, _words(self.order)
        for at in offsets:
            high, low, captured, length = read(buffer, at)
            start = at + RECORD_HEAD
            time_ns = high * self.high_ns + low * self.low_ns
            yield CapturedFrame(time_ns, link, length, bytes(buffer[start : start + captured]))


class Walker:
    """Give it bytes, get batches. The kind of file shows in its first four bytes.

    ``damage`` is what made it stop: no byte behind it can be trusted, and what is fed from then
    on is ignored. A packet that makes no sense in a sound block is left out and counted in
    ``skipped``. Both are errors that name the place. ``dropped`` has, by the interface's index,
    its name and how many packets it lost, where the file tells. ``records`` may be set to what
    finds those of a pcap file sooner.
    """

    def __init__(self, name: str = "the capture") -> None:
        self._name = name
        self._order = "<"
        self._tick_ns = 1
        # Of the class, not of this one: a cycle would keep the buffer until it is looked for.
        self._take: Callable[[Walker, bytearray, int, int], int] = Walker._recognise
        self._buffer = bytearray(SLACK)
        self._taken = self._have = 0
        self._need = 4
        self._batches: list[Batch] = []
        self._described = 0
        self._secret_bytes = 0
        self.offset = 0
        self.interfaces: list[CapturedInterface] = []
        self.damage: UsageError | None = None
        self.skipped = 0
        self.first_skipped: UsageError | None = None
        self.secrets: list[bytes] = []
        self.dropped: dict[int, tuple[str, int]] = {}
        self.records: Records | None = None

    @property
    def unread(self) -> int:
        """Bytes of a block that is not complete yet; after the last byte, what was cut off."""
        return self._have

    @property
    def base(self) -> int:
        """Where the bytes that the latest batches lie in begin in the file."""
        return self.offset - self._taken

    def feed(self, data: bytes) -> list[Batch]:
        """The packets that these bytes complete."""
        self.room(len(data))[:] = data
        return self.filled(len(data))

    def room(self, size: int) -> memoryview:
        """Where so many of the next bytes may be put, so that they need not be copied there."""
        return memoryview(self._roomy(self._have + size + SLACK))[self._have : self._have + size]

    def filled(self, size: int) -> list[Batch]:
        """The packets that are complete with the bytes in `room`, of which ``size`` are there."""
        if self.damage is not None:
            return []
        self._have = end = self._have + size
        buffer = self._buffer
        self._batches = []
        if end < self._need:
            return self._batches
        buffer[end : end + SLACK] = _ZEROS
        at = 0
        while True:
            begin, at = at, self._take(self, buffer, at, end)
            if at == begin or self.damage is not None:
                break
        self._taken = at
        self._have = end - at
        return self._batches

    def _roomy(self, size: int) -> bytearray:
        """A buffer of this size at least, which begins with what was not taken yet.

        It is the same one as long as it is large enough: the kernel would have to map new memory.
        """
        buffer, rest = self._buffer, slice(self._taken, self._taken + self._have)
        if size > len(buffer):
            self._buffer = bytearray(size + size // 2)
            self._buffer[: self._have] = memoryview(buffer)[rest]
        elif self._taken:
            buffer[: self._have] = buffer[rest]
        self._taken = 0
        return self._buffer

    def _error(self, what: str) -> UsageError:
        return UsageError(
            f"{self._name}: {what} (at byte {self.offset})",
            "the file may be cut off or not a capture; tshark can rewrite one it understands",
        )

    def _broken(self, what: str) -> None:
        self.damage = self._error(what)

    def _skip(self, what: str) -> None:
        self.skipped += 1
        if self.first_skipped is None:
            self.first_skipped = self._error(what)

    def _holds(self, at: int, end: int, size: int) -> bool:
        """Whether ``size`` bytes are there; if not, how many to wait for."""
        self._need = size
        return end - at >= size

    def _recognise(self, buffer: bytearray, at: int, end: int) -> int:
        if not self._holds(at, end, 4):
            return at
        magic = bytes(buffer[at : at + 4])
        if magic == _SECTION_MAGIC:
            self._take = Walker._blocks
        elif magic in PCAP_MAGICS:
            self._order, self._tick_ns = PCAP_MAGICS[magic]
            self._take = Walker._pcap_header
        else:
            self._broken("this is neither pcap nor pcapng")
            return at
        return self._take(self, buffer, at, end)

    # pcap: a header of 24 bytes, then records.

    def _pcap_header(self, buffer: bytearray, at: int, end: int) -> int:
        if not self._holds(at, end, 24):
            return at
        snap, link = struct.unpack_from(f"{self._order}II", buffer, at + 16)
        self.interfaces.append(CapturedInterface(link & 0xFFFF, snap=snap))
        self._take = Walker._pcap_records
        self.offset += 24
        return at + 24

    def _pcap_records(self, buffer: bytearray, at: int, end: int) -> int:
        start, last = at, end - RECORD_HEAD
        found = None
        if self.records is not None and end - at >= MANY_BYTES:
            found = self.records(buffer, at, end, self._order)
        offsets, at = found or _records(buffer, at, end, self._order)
        self.offset += at - start
        self._need = RECORD_HEAD
        if at <= last:
            (captured,) = _word(self._order)(buffer, at + 8)
            self._need = RECORD_HEAD + captured
            if captured > BLOCK_LIMIT:
                self._broken(f"a packet of {captured} bytes")
        if offsets:
            about = self._order, self.interfaces[0], _SECOND, self._tick_ns
            self._batches.append(Batch(buffer, *about, offsets))
        return at

    # pcapng: blocks, each with its length at both ends.

    def _blocks(self, buffer: bytearray, at: int, end: int) -> int:
        """All whole blocks, up to the next section, whose byte order may be another."""
        if self._holds(at, end, 12) and buffer[at : at + 4] == _SECTION_MAGIC:
            self._byte_order(buffer, at)
        read, word = _block_head(self._order), _word(self._order)
        first = True
        while self.damage is None and self._holds(at, end, 12):
            kind, size, number, captured = read(buffer, at)
            if kind == pcapng.SECTION and not first:
                break
            if size < 12 or size & 3 or size > BLOCK_LIMIT:
                self._broken(f"a block of {size} bytes")
                break
            behind = at + size
            if behind > end:
                self._need = size
                break
            if word(buffer, behind - 4)[0] != size:
                self._broken("a block whose two lengths differ")
                break
            if kind == pcapng.PACKET and captured <= size - 32:
                self._packet(buffer, at + 12, number)
            else:
                self._other_block(kind, buffer, at, size)
            first = False
            self.offset += size
            at = behind
        return at

    def _byte_order(self, buffer: bytearray, at: int) -> None:
        magic = buffer[at + 8 : at + 12]
        for order in "<>":
            if magic == struct.pack(f"{order}I", pcapng.BYTE_ORDER):
                self._order = order
                return
        self._broken("a section without a byte order")

    def _other_block(self, kind: int, buffer: bytearray, at: int, size: int) -> None:
        try:
            if kind == pcapng.PACKET:
                self._lying_packet(size, *self._unpack("12xI", buffer[at + 8 : at + size - 4]))
            elif kind == _OLD_PACKET:
                self._old_packet(buffer, at, size)
            else:
                self._contents(kind, bytes(buffer[at + 8 : at + size - 4]))
        except struct.error:
            self._skip("a block is shorter than what it holds")

    def _old_packet(self, buffer: bytearray, at: int, size: int) -> None:
        number, captured = self._unpack("H10xI", buffer[at + 8 : at + size - 4])
        if captured > size - 32:
            self._lying_packet(size, captured)
        else:
            self._packet(buffer, at + 12, number)

    def _lying_packet(self, size: int, captured: int) -> None:
        if size < 32:
            self._skip("a block is shorter than what it holds")
        else:
            self._skip(f"a packet of {captured} bytes in a block of {size - 32}")

    def _packet(self, buffer: bytearray, at: int, number: int) -> None:
        """A packet whose record, times first, lies at ``at``."""
        if number >= len(self.interfaces):
            self._skip(f"a packet of interface {number}, which is not described")
            return
        interface = self.interfaces[number]
        if self._batches:
            latest = self._batches[-1]
            if latest.interface is interface and latest.buffer is buffer:
                latest.offsets.append(at)
                return
        tick_ns, rest = divmod(_SECOND, interface.ticks_per_second)
        if rest or interface.offset_s:
            self._odd_time(buffer, at, interface)
        else:
            batch = Batch(
                buffer, self._order, interface, tick_ns << 32, tick_ns, array(OFFSET, (at,))
            )
            self._batches.append(batch)

    def _odd_time(self, buffer: bytearray, at: int, interface: CapturedInterface) -> None:
        """Times that are no whole number of nanoseconds, or moved: the record is written anew."""
        high, low, captured, length = _words(self._order)(buffer, at)
        ticks = high << 32 | low
        time_ns = ticks * _SECOND // interface.ticks_per_second + interface.offset_s * _SECOND
        start = at + RECORD_HEAD
        self._rewritten(time_ns, length, bytes(buffer[start : start + captured]), interface)

    def _rewritten(
        self, time_ns: int, length: int, data: bytes, interface: CapturedInterface
    ) -> None:
        time_ns = min(max(time_ns, 0), _TIME_LIMIT)
        head = struct.pack("<QII", time_ns >> 32 | (time_ns & 0xFFFFFFFF) << 32, len(data), length)
        self._batches.append(
            Batch(head + data + _ZEROS, "<", interface, 1 << 32, 1, array(OFFSET, (0,)))
        )

    def _contents(self, kind: int, body: bytes) -> None:
        if kind == _SIMPLE_PACKET:
            self._simple_packet(body)
        elif kind == pcapng.SECTION:
            self.interfaces.clear()
        elif kind == pcapng.INTERFACE:
            self._add_interface(self._interface(body))
        elif kind == pcapng.STATISTICS:
            self._statistics(body)
        elif kind == pcapng.SECRETS:
            self._add_secrets(body)

    def _simple_packet(self, body: bytes) -> None:
        (length,) = self._unpack("I", body)
        if not self.interfaces:
            self._skip("a packet of interface 0, which is not described")
            return
        interface = self.interfaces[0]
        captured = min(length, len(body) - 4, interface.snap or length)
        self._rewritten(0, length, body[4 : 4 + captured], interface)

    def _unpack(self, layout: str, body: bytes | bytearray) -> tuple[int, ...]:
        return struct.unpack_from(f"{self._order}{layout}", body)

    def _add_interface(self, interface: CapturedInterface) -> None:
        if len(self.interfaces) >= INTERFACE_LIMIT:
            self._broken(f"more than {INTERFACE_LIMIT} interfaces")
            return
        interface.index = self._described
        self._described += 1
        self.interfaces.append(interface)

    def _interface(self, body: bytes) -> CapturedInterface:
        link, _reserved, snap = self._unpack("HHI", body)
        interface = CapturedInterface(link, snap=snap)
        for code, value in self._options(body[8:]):
            if code == pcapng.INTERFACE_NAME:
                interface.name = value[:256].decode("utf-8", "replace")
            elif code == pcapng.INTERFACE_RESOLUTION and value:
                interface.ticks_per_second = _ticks(value[0])
            elif code == pcapng.INTERFACE_OFFSET:
                (interface.offset_s,) = self._unpack("q", value)
        return interface

    def _statistics(self, body: bytes) -> None:
        number, _high, _low = self._unpack("III", body)
        for code, value in self._options(body[12:]):
            if code == pcapng.DROPPED:
                (dropped,) = self._unpack("Q", value)
                if number < len(self.interfaces):
                    interface = self.interfaces[number]
                    interface.dropped = dropped
                    self.dropped[interface.index] = (interface.name, dropped)

    def _add_secrets(self, body: bytes) -> None:
        kind, size = self._unpack("II", body)
        self._secret_bytes += size
        if kind == pcapng.TLS_KEY_LOG and self._secret_bytes <= SECRETS_LIMIT:
            self.secrets.append(body[8 : 8 + size])

    def _options(self, listed: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(listed):
            code, size = self._unpack("HH", listed[at : at + 4])
            if code == pcapng.END_OF_OPTIONS:
                return
            yield code, listed[at + 4 : at + 4 + size]
            at += 4 + (size + 3 & ~3)


class Reader:
    """Give it bytes, get frames; for it any damage, even to one packet, is a UsageError."""

    def __init__(self, name: str = "the capture") -> None:
        self._walker = Walker(name)

    @property
    def interfaces(self) -> list[CapturedInterface]:
        """Those of the section that is being read."""
        return self._walker.interfaces

    @property
    def offset(self) -> int:
        """Bytes read so far, up to the end of the last whole block."""
        return self._walker.offset

    @property
    def unread(self) -> int:
        """Bytes of a block that is not complete yet; after the last byte, what was cut off."""
        return self._walker.unread

    def feed(self, data: bytes) -> list[CapturedFrame]:
        """The frames that these bytes complete. Raises UsageError on damage."""
        batches = self._walker.feed(data)
        error = self._walker.first_skipped or self._walker.damage
        if error is not None:
            raise error
        return [frame for batch in batches for frame in batch.frames(batch.offsets)]


Unpack = Callable[[bytes | bytearray, int], tuple[int, ...]]


def _records(buffer: bytearray, at: int, end: int, order: str) -> tuple[array[int], int]:
    """Where whole records begin, and where the one behind them would."""
    offsets: list[int] = []
    found = offsets.append
    last = end - RECORD_HEAD
    if order == _NATIVE:
        # As numbers of four bytes, of which a record may begin at any byte: it takes half as
        # long as to unpack each.
        whole = memoryview(buffer)[: end + SLACK]
        words = [whole[by : by + (end & ~3)].cast("I") for by in range(_WORD)]
        while at <= last:
            found(at)
            at += RECORD_HEAD + words[at & 3][(at >> 2) + 2]
    else:
        read = _word(order)
        while at <= last:
            found(at)
            at += RECORD_HEAD + read(buffer, at + 8)[0]
    if at > end:
        at = offsets.pop()
    return array(OFFSET, offsets), at


@lru_cache
def _words(order: str) -> Unpack:
    return struct.Struct(f"{order}IIII").unpack_from


@lru_cache
def _word(order: str) -> Unpack:
    return struct.Struct(f"{order}I").unpack_from


@lru_cache
def _block_head(order: str) -> Unpack:
    """A block's type and length, and as if it were an enhanced packet, interface and captured."""
    return struct.Struct(f"{order}III8xI").unpack_from


def _ticks(resolution: int) -> int:
    """``if_tsresol``: a negative power of ten or, with the top bit set, of two."""
    return int((2 if resolution & 0x80 else 10) ** (resolution & 0x7F))
