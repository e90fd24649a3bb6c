"""Opens whatever holds packets: pcap, pcapng, either gzipped, or what tcpdump printed.

    with open_capture_file(path) as reading:        # or an open binary stream, or "-"
        facts = reading.summary()                   # one quick pass: light facts of every flow
        for packet in reading.packets(wanted): ...  # a second pass: the segments of some flows

Each call of `summary` or `packets` reads from the start, and the counts of what was read are those
of the latest. A stream that cannot go back is copied to a temporary file first. Memory is bounded
by constants, whatever the input: a megabyte or two of it, and what `Summary` holds.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, Self, cast

from tlsprobe.captures.pcap import (
    PCAP_MAGICS,
    RECORD_HEAD,
    Batch,
    CapturedInterface,
    Walker,
)
from tlsprobe.captures.summary import Half, Mark, Summary
from tlsprobe.captures.tcpdump_text import Dump, Printed, is_text
from tlsprobe.captures.text_scales import Learned, place
from tlsprobe.errors import UsageError
from tlsprobe.packets import frames
from tlsprobe.packets.decode import Decoder, Found, Malformed
from tlsprobe.packets.packet import Packet

__all__ = [
    "CaptureUnreadable",
    "Half",
    "Kind",
    "Mark",
    "Reading",
    "Summary",
    "Wanted",
    "open_capture_file",
]

Kind = Literal["pcap", "pcapng", "text"]
Wanted = Callable[[bytes], bool]
"""Told a `flow_key`, whether its segments are wanted; ``a_set.__contains__`` is the quickest."""

CHUNK = 1 << 20
SPOOL_LIMIT = 8 << 30
"""Of a stream that cannot go back this many bytes are copied to a temporary file."""

_HEAD = 1 << 16
_GZIP = b"\x1f\x8b"
_SECTION = b"\x0a\x0d\x0d\x0a"
_FOREIGN = {
    b"(\xb5/\xfd": "it is compressed with zstd: unpack it first (`unzstd`)",
    b"\xfd7zX": "it is compressed with xz: unpack it first (`unxz`)",
    b"BZh": "it is compressed with bzip2: unpack it first (`bunzip2`)",
    b"PK\x03\x04": "it is a zip archive: unpack it first (`unzip`)",
    b"\xa1\xb2\xcd\x34": "it is a modified pcap: `tshark -r FILE -F pcapng -w NEW` rewrites it",
    b"\x34\xcd\xb2\xa1": "it is a modified pcap: `tshark -r FILE -F pcapng -w NEW` rewrites it",
    b"snoop\0": "it is a snoop file: `tshark -r FILE -F pcapng -w NEW` rewrites it",
}
_REWRITE = "tlsprobe reads pcap, pcapng, either gzipped, and the text that tcpdump prints"


class CaptureUnreadable(UsageError):  # noqa: N818 - it reads as the sentence that it is
    """Nothing could be read: says what, where, and the mend (exit 2)."""


class Reading(Protocol):
    """An input that was recognised; see the module's text for how to use it.

    ``total`` counts the frames (or printed packets) of the input, ``other`` those that were read
    and are not TCP, ``skipped`` what could not be read at all: ``first_skipped`` is a sentence
    about the first such place. ``truncated`` is a sentence if the input ended or broke off in the
    middle: what came before it was read. ``secrets`` are TLS key logs embedded in the file.
    ``notes`` are other things that a reader of the result should know. The counts of `summary`
    are the whole truth; a pass over some flows does not look closely at the others.
    """

    kind: Kind
    name: str
    total: int
    other: int
    skipped: int
    first_skipped: str | None
    truncated: str | None
    secrets: list[bytes]
    notes: list[str]

    def summary(self) -> Summary:
        """Light facts of every flow, in one quick pass. Raises CaptureUnreadable."""
        ...

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        ...

    def close(self) -> None:
        """Lets go of the input and of what was spooled of it; leaving a `with` does too."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_capture_file(source: str | Path | BinaryIO) -> Reading:
    """Recognises the input. "-" is standard input. Raises CaptureUnreadable."""
    name, file, cut = _opened(source)
    try:
        return _recognised(name, file, cut)
    except BaseException:
        file.close()
        raise


def _recognised(name: str, file: BinaryIO, cut: str | None) -> Reading:
    head = next(iter(Pieces(file, zipped=False, size=_HEAD)), b"")
    if not head:
        raise CaptureUnreadable(f"{name}: it is empty", _REWRITE)
    zipped = head.startswith(_GZIP)
    if zipped:
        pieces = Pieces(file, zipped=True, size=_HEAD)
        head = next(iter(pieces), b"")
        if not head:
            raise CaptureUnreadable(f"{name}: {pieces.broken or 'it is empty'}", _REWRITE)
    if head[:4] in PCAP_MAGICS or head.startswith(_SECTION):
        kind: Kind = "pcapng" if head.startswith(_SECTION) else "pcap"
        return FrameReading(name, file, kind, zipped=zipped, cut=cut)
    for magic, mend in _FOREIGN.items():
        if head.startswith(magic):
            raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", mend)
    if not is_text(head):
        raise CaptureUnreadable(f"{name}: this is neither pcap, pcapng nor text", _REWRITE)
    reading = TextReading(name, file, zipped=zipped, cut=cut)
    reading.learn()
    return reading


def _opened(source: str | Path | BinaryIO) -> tuple[str, BinaryIO, str | None]:
    """The input's name, a file that can go back, and a sentence if not all of it is there."""
    if isinstance(source, str | Path) and str(source) != "-":
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - the reading closes it
        except OSError as error:
            raise CaptureUnreadable(f"{source}: {error.strerror or error}", None) from None
        except ValueError as error:
            raise CaptureUnreadable(f"{str(source)!r}: {error}", None) from None
        ready = None
        try:
            ready = _able_to_go_back(file, str(source))
        finally:
            if ready is None or ready[0] is not file:
                file.close()
        return str(source), *ready
    stream = sys.stdin.buffer if isinstance(source, str | Path) else source
    name = "standard input" if stream is sys.stdin.buffer else _name_of(stream)
    return name, *_able_to_go_back(stream, name)


def _name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "the input"


def _able_to_go_back(stream: BinaryIO, name: str) -> tuple[BinaryIO, str | None]:
    try:
        if stream.seekable():
            stream.seek(0)
            return stream, None
        return _spooled(stream)
    except OSError as error:
        raise CaptureUnreadable(f"{name}: {error.strerror or error}", None) from None


def _spooled(stream: BinaryIO) -> tuple[BinaryIO, str | None]:
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the reading closes it
    try:
        left = SPOOL_LIMIT
        while left and (data := stream.read(min(CHUNK, left))):
            spool.write(data)
            left -= len(data)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    if left or not stream.read(1):
        return spool, None
    return spool, f"only the first {SPOOL_LIMIT >> 20} MiB of the stream were read"


class Pieces:
    """The input from its start, unpacked, in pieces of bounded size.

    ``broken`` is a sentence if it could not be read to its end: all before that was handed out.
    """

    def __init__(self, file: BinaryIO, *, zipped: bool, size: int = CHUNK) -> None:
        self._file = file
        self._zipped = zipped
        self._size = size
        self.broken: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        self.broken = None
        try:
            self._file.seek(0)
            yield from self._unzipped() if self._zipped else self._plain()
        except OSError as error:
            self.broken = f"it cannot be read on: {error.strerror or error}"
        except zlib.error as error:
            self.broken = f"its gzip data are damaged ({error})"

    def _plain(self) -> Iterator[bytes]:
        while data := self._file.read(self._size):
            yield data

    def _unzipped(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        fresh = False
        for packed in self._plain():
            data = packed
            while data:
                if unpack.eof:
                    # Another member may follow; zeros and whatever else does are padding.
                    if not data.startswith(_GZIP):
                        return
                    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
                piece = unpack.decompress(data, self._size)
                fresh = not unpack.eof
                data = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                if piece:
                    yield piece
        while fresh and (piece := unpack.decompress(b"", self._size)):
            yield piece
        if fresh and not unpack.eof:
            self.broken = "its gzip data end in the middle"


class _Counts:
    """What every reading tells of its latest pass."""

    kind: Kind

    def __init__(self, name: str, file: BinaryIO, *, zipped: bool, cut: str | None) -> None:
        self.name = name
        self._file = file
        self._zipped = zipped
        self._cut = cut
        self._begin()

    def _begin(self) -> None:
        self.total = self.other = self.skipped = 0
        self.first_skipped: str | None = None
        self.truncated: str | None = self._cut
        self.secrets: list[bytes] = []
        self.notes: list[str] = []

    def _skip(self, sentence: str, count: int = 1) -> None:
        self.skipped += count
        if self.first_skipped is None:
            self.first_skipped = sentence

    def close(self) -> None:
        """Lets go of the input and of what was spooled of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameReading(_Counts):
    """A pcap or pcapng file."""

    def __init__(
        self, name: str, file: BinaryIO, kind: Kind, *, zipped: bool, cut: str | None
    ) -> None:
        super().__init__(name, file, zipped=zipped, cut=cut)
        self.kind = kind
        self._decoder = Decoder()

    def _begin(self) -> None:
        super()._begin()
        self._decoder = Decoder()
        self._unknown_links: set[int] = set()

    def summary(self) -> Summary:
        """Light facts of every flow, in one quick pass. Raises CaptureUnreadable."""
        summary = Summary()
        for batch in self._batches():
            if batch.interface.link in frames.LINKS:
                self._summarise(batch, summary)
            else:
                self._pass_over(batch)
        return summary

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        for batch in self._batches():
            if batch.interface.link in frames.LINKS:
                yield from self._segments(batch, wanted)
            else:
                self._pass_over(batch)

    def _batches(self) -> Iterator[Batch]:
        """All packets; ``total`` counts those before the batch, and at the end all."""
        self._begin()
        walker = Walker(self.name)
        pieces = Pieces(self._file, zipped=self._zipped)
        for piece in pieces:
            for batch in walker.feed(piece):
                yield batch
                self.total += len(batch.offsets)
            if walker.damage is not None:
                break
        self.secrets = walker.secrets
        self._ended(walker, pieces)
        self._conclude(walker)

    def _ended(self, walker: Walker, pieces: Pieces) -> None:
        """How the input ended, and whether anything of it could be read."""
        if walker.damage is not None:
            self._not_to_the_end(walker.damage.message, walker.damage.hint)
        elif pieces.broken:
            self._not_to_the_end(f"{self.name}: {pieces.broken}", None)
        elif walker.unread:
            what = f"it ends in the middle of a packet (at byte {walker.offset})"
            self._not_to_the_end(f"{self.name}: {what}", None)

    def _not_to_the_end(self, what: str, hint: str | None) -> None:
        if not self.total:
            raise CaptureUnreadable(what, hint or _REWRITE)
        self.truncated = what

    def _conclude(self, walker: Walker) -> None:
        if walker.first_skipped is not None:
            self.total += walker.skipped
            self._skip(walker.first_skipped.message, walker.skipped)
        if unfinished := self._decoder.fragments.unfinished:
            self._skip(f"{self.name}: a fragmented IP packet of which parts are missing", 0)
            self.notes.append(f"{unfinished} fragmented IP packets are not complete")
        for name, count in filter(itemgetter(1), walker.dropped.values()):
            where = f" on {name}" if name else ""
            self.notes.append(f"the capture lost {count} packets{where}: the kernel dropped them")
        if self.total and self.skipped == self.total and self._unknown_links:
            raise CaptureUnreadable(self.first_skipped or "", _REWRITE)

    def _pass_over(self, batch: Batch) -> None:
        """Packets of a link type that is not understood."""
        link, number = batch.interface.link, self.total + 1
        if link not in self._unknown_links and len(self._unknown_links) < 100:
            self._unknown_links.add(link)
            self.notes.append(f"link type {link} is not one that tlsprobe reads")
        what = f"{self.name}: packet {number} is of link type {link}, which tlsprobe does not read"
        self._skip(what, len(batch.offsets))

    def _summarise(self, batch: Batch, summary: Summary) -> None:
        """The hot loop: one unpack a packet, one lookup, four small stores."""
        layout = _layout(batch.order, batch.interface.link)
        read, plain, mask, least = layout.read, layout.kind, layout.fragment_mask, layout.least
        buffer, high_ns, low_ns = batch.buffer, batch.high_ns, batch.low_ns
        get, begin, mark = summary.halves.get, summary.begin, summary.mark
        number = self.total
        for at in batch.offsets:
            number += 1
            (
                high,
                low,
                captured,
                length,
                kind,
                version,
                fragment,
                protocol,
                key,
                numbers,
                size,
                flags,
            ) = read(buffer, at)
            if (
                kind != plain
                or version != 0x45
                or protocol != 6
                or captured < least
                or fragment & mask
                or size < 80
            ):
                found = self._slow(batch, at, number)
                if found is None:
                    continue
                key, numbers, flags = found
            time_ns = high * high_ns + low * low_ns
            half = get(key)
            if half is None:
                half = begin(key, number, time_ns)
            half.packets += 1
            half.octets += length
            half.last_ns = time_ns
            half.last = numbers
            if flags & 7:
                mark(half, number, time_ns, flags, numbers)

    def _slow(self, batch: Batch, at: int, number: int) -> tuple[bytes, bytes, int] | None:
        """Flow key, numbers and flags of what the hot loop has no layout for."""
        high, low, captured, length = struct.unpack_from(f"{batch.order}IIII", batch.buffer, at)
        frame = batch.buffer[at + RECORD_HEAD : at + RECORD_HEAD + captured]
        time_ns = high * batch.high_ns + low * batch.low_ns
        found = self._find(frame, batch.interface.link, length, time_ns, number)
        if found is None:
            return None
        whole, _, (tcp, _, _, _, _, _) = found
        return _key(found), whole[tcp + 4 : tcp + 12], whole[tcp + 13]

    def _segments(self, batch: Batch, wanted: Wanted | None) -> Iterator[Packet]:
        layout = _layout(batch.order, batch.interface.link)
        read, plain, mask, least = layout.brief, layout.kind, layout.fragment_mask, layout.least
        buffer, decoder = batch.buffer, self._decoder
        link, index = batch.interface.link, batch.interface.index
        number = self.total
        for at in batch.offsets:
            number += 1
            high, low, captured, length, kind, version, fragment, protocol, key = read(buffer, at)
            is_plain = (
                kind == plain
                and version == 0x45
                and protocol == 6
                and captured >= least
                and not fragment & mask
            )
            if is_plain and wanted is not None and not wanted(key):
                continue
            start = at + RECORD_HEAD
            frame = buffer[start : start + captured]
            time_ns = high * batch.high_ns + low * batch.low_ns
            if is_plain or wanted is None:
                packet = self._decode(frame, batch.interface, length, time_ns, number)
                if packet is not None:
                    yield packet
                continue
            found = self._find(frame, link, length, time_ns, number)
            if found is not None and wanted(_key(found)):
                yield decoder.segment(found, number, time_ns, decoder.place(frame, link, index))

    def _decode(
        self, frame: bytes, interface: CapturedInterface, length: int, time_ns: int, number: int
    ) -> Packet | None:
        try:
            packet = self._decoder.decode(
                frame, interface.link, length, time_ns, number, interface.index
            )
        except Malformed as why:
            self._skip(f"{self.name}: packet {number}: {why}")
            return None
        if packet is None:
            self.other += 1
        return packet

    def _find(
        self, frame: bytes, link: int, length: int, time_ns: int, number: int
    ) -> Found | None:
        try:
            found = self._decoder.find(frame, link, length, time_ns)
        except Malformed as why:
            self._skip(f"{self.name}: packet {number}: {why}")
            return None
        if found is None:
            self.other += 1
        return found


def _key(found: Found) -> bytes:
    frame, _, (tcp, _, source, destination, _, _) = found
    return source + destination + frame[tcp : tcp + 4]


class _Layout:
    """A record with a plain IPv4 packet in it, as one structure.

    Plain is: no VLAN tag, no IP options, not a fragment, TCP. One unpack then tells whether it is
    one, and yields the flow key. Numbers of the packet are in network order whatever the file's:
    those that matter are taken as bytes, and the mask is turned to fit.
    """

    def __init__(self, order: str, link: int) -> None:
        gap, size, self.kind = _BEFORE_IP[link]
        self.least = size + 40
        self.fragment_mask = 0x3FFF if order == ">" else 0xFF3F
        self.read = struct.Struct(f"{order}IIII{gap}B5xHxB2x12s8sBB").unpack_from
        self.brief = struct.Struct(f"{order}IIII{gap}B5xHxB2x12s").unpack_from


_BEFORE_IP = {
    frames.ETHERNET: ("12x2s", 14, b"\x08\x00"),
    frames.LINUX_COOKED: ("14x2s", 16, b"\x08\x00"),
    frames.LINUX_COOKED_2: ("2s18x", 20, b"\x08\x00"),
    frames.NULL: ("0s4x", 4, b""),
    frames.LOOP: ("0s4x", 4, b""),
    **dict.fromkeys(frames.LINKS - {0, 1, 108, 113, 276}, ("0s", 0, b"")),
}


@lru_cache
def _layout(order: str, link: int) -> _Layout:
    return _Layout(order, link)


class TextReading(_Counts):
    """What tcpdump printed, perhaps long ago and through many hands."""

    kind: Kind = "text"

    def learn(self) -> None:
        """A pass that finds out what the numbers count from. Raises CaptureUnreadable."""
        self._learned = Learned()
        for printed in self._printed():
            self._learned.saw(printed)
        self._learned.conclude()
        if not self.total:
            where = f"among its {self._lines} lines is no packet as tcpdump prints them"
            raise CaptureUnreadable(f"{self.name}: {where}", _REWRITE)
        if self.total == self.skipped:
            hint = "print them with `tcpdump -n -S`, or give the capture file itself"
            first = (self.first_skipped or "").removeprefix(f"{self.name}: ")
            what = f"of {self.total} packets none could be read; {first}"
            raise CaptureUnreadable(f"{self.name}: {what}", hint)

    def summary(self) -> Summary:
        """Light facts of every flow."""
        summary = Summary()
        for packet in self.packets():
            key = packet.key
            half = summary.halves.get(key)
            if half is None:
                half = summary.begin(key, packet.number, packet.time_ns)
            half.packets += 1
            half.octets += packet.length
            half.last_ns = packet.time_ns
            half.last = packet.seq.to_bytes(4, "big") + (packet.ack or 0).to_bytes(4, "big")
            if packet.flags & 7:
                summary.mark(half, packet.number, packet.time_ns, packet.flags, half.last)
        return summary

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        for packet in place(self._printed(), self._learned):
            if wanted is None or wanted(packet.key):
                yield packet
        self.notes += self._learned.notes

    def _printed(self) -> Iterator[Printed]:
        self._begin()
        dump = Dump()
        pieces = Pieces(self._file, zipped=self._zipped)
        for piece in pieces:
            yield from dump.feed(piece)
        yield from dump.finish()
        self._lines = dump.lines
        self.total, self.other, self.skipped = dump.total, dump.other, dump.skipped
        if dump.first_skipped is not None:
            self.first_skipped = f"{self.name}: {dump.first_skipped}"
        if pieces.broken:
            self.truncated = f"{self.name}: {pieces.broken}"
        if dump.cut:
            self.notes.append(f"{dump.cut} printed packets are cut off behind their numbers")
