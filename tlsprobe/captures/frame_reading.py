"""A capture file's frames: light facts of every flow in one quick pass, then the segments of some.

The first pass looks at each frame in the file's own bytes, as one structure with its record; it
decodes only what has no such layout, and remembers whose each packet is. The second walks over the
records and decodes what is wanted, without a look at what is not.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import BinaryIO

from tlsprobe.captures.foreign import CONVERT, link_text
from tlsprobe.captures.frame_layout import layout_of
from tlsprobe.captures.packing import Packing
from tlsprobe.captures.pcap import RECORD_HEAD, Batch, Walker
from tlsprobe.captures.pieces import LARGE_CHUNK, Pieces
from tlsprobe.captures.places import Placed, Places
from tlsprobe.captures.reading import HINT, CaptureUnreadable, Counts, Kind, Wanted
from tlsprobe.captures.summary import LISTED_LIMIT, Summary
from tlsprobe.packets import frames
from tlsprobe.packets.decode import CutOff, Decoder, FoundTransport, Malformed
from tlsprobe.packets.packet import Packet
from tlsprobe.packets.stretch import Stretch

MANY = 50_000
"""Behind so many packets the first pass goes on with blocks of them, see `blocks`."""

FEWEST = 48
"""Of a large file so many packets of a connection, or more, come at once."""

_LONGER = "inside tunnels headers lie deeper; capture again with `tcpdump -s 256`, or without -s"


class FrameReading(Counts):
    """A pcap or pcapng file."""

    def __init__(
        self, name: str, file: BinaryIO, kind: Kind, *, packing: Packing | None, cut: str | None
    ) -> None:
        super().__init__(name, file, packing=packing, cut=cut)
        self.kind = kind
        self._decoder = Decoder()
        self._summary: Summary | None = None
        self._walker = Walker(name)
        self._pieces = array("I")

    def _begin(self) -> None:
        super()._begin()
        self._decoder = Decoder()
        self._unknown_links: set[int] = set()
        self._headless = self._snapped = 0
        self._places = Places(self._file)
        self._pieces = array("I")

    def summary(self) -> Summary:
        """Light facts of every flow, in one quick pass. Raises CaptureUnreadable."""
        summary = Summary()
        self._summary = blocks = None
        lists = True
        for batch in self._batches():
            if lists and self.total >= LISTED_LIMIT:
                lists = False
                summary.stop_listing()
            if not lists:
                self._places.forget()
                del summary.owners[:]
            if blocks is None and max(self.total, self._places.expected) >= MANY:
                from tlsprobe.captures.blocks import Blocks  # noqa: PLC0415 - brings numpy
                from tlsprobe.captures.quick_walk import records  # noqa: PLC0415 - the same

                blocks = Blocks(summary, self._look, self.total)
                self._walker.records = records
            readable = batch.interface.link in frames.LINKS
            if not readable:
                self._pass_over(batch)
            if blocks is not None:
                blocks.take(batch) if readable else blocks.pass_over(len(batch.offsets))
            elif readable:
                self._summarise(batch, summary)
            else:
                summary.owners.extend([-1] * len(batch.offsets))
        if blocks is not None:
            blocks.finish()
        self._summary = summary
        return summary

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        if wanted is None:
            yield from self._all_segments(None)
            return
        for seen in self._chosen(wanted, None):
            yield from seen.packets() if isinstance(seen, Stretch) else (seen,)

    def stretches(self, wanted: Wanted) -> Iterator[Packet | Stretch]:
        """The segments of wanted flows; those of a large file many at once, where it can be."""
        return self._chosen(wanted, FEWEST)

    def _chosen(self, wanted: Wanted, fewest: int | None) -> Iterator[Packet | Stretch]:
        """The segments of wanted flows, ``fewest`` or more at once if at all."""
        if self._summary is not None:
            listed = self._listed(self._summary, wanted)
            if listed is not None:
                return self._listed_segments(listed, wanted, fewest)
        return self._all_segments(wanted)

    def _listed(self, summary: Summary, wanted: Wanted) -> list[int] | None:
        """The numbers of all wanted packets; None where some are not known."""
        if self.total < MANY:
            return summary.listed(wanted)
        from tlsprobe.captures.blocks import listed  # noqa: PLC0415 - brings numpy

        return listed(summary, wanted)

    def _all_segments(self, wanted: Wanted | None) -> Iterator[Packet]:
        """From a look at every frame."""
        self._summary = None
        for batch in self._batches():
            if batch.interface.link in frames.LINKS:
                yield from self._segments(batch, wanted)
            else:
                self._pass_over(batch)

    def _listed_segments(
        self, listed: list[int], wanted: Wanted, fewest: int | None
    ) -> Iterator[Packet | Stretch]:
        """From the frames of these numbers alone; the counts stay those of the first pass.

        Fragments are taken in again, since the packets that they are parts of may be wanted.
        """
        pieces = frozenset(self._pieces)
        numbers = sorted(pieces.union(listed)) if pieces else listed
        self._decoder = Decoder()
        decode = self._decoder.decode

        def decoded(placed: Placed) -> Packet | None:
            number, index, time_ns, link, length, data = placed
            try:
                packet = decode(data, link, length, time_ns, number, index)
            except Malformed as why:
                if number not in pieces:
                    self._skip(f"{self.name}: packet {number}: {why}")
                return None
            return packet if packet is not None and wanted(packet.key) else None

        places = self._places
        if self.total >= MANY and places.link == frames.ETHERNET:
            from tlsprobe.captures.plain_packets import packets  # noqa: PLC0415 - brings numpy

            return packets(places, numbers, self._decoder, decoded, fewest)
        found = places.frames(numbers) if places.known else self._walked(numbers)
        return (packet for placed in found if (packet := decoded(placed)) is not None)

    def _walked(self, numbers: list[int]) -> Iterator[Placed]:
        """The same where no places are known: from a walk over all records."""
        total = at = 0
        walker = Walker(self.name)
        for piece in Pieces(self._file, packing=self._packing, watch=self.watch):
            for batch in walker.feed(piece):
                behind = bisect_right(numbers, total + len(batch.offsets), at)
                index = batch.interface.index
                chosen = [batch.offsets[number - total - 1] for number in numbers[at:behind]]
                for number, frame in zip(numbers[at:behind], batch.frames(chosen), strict=True):
                    yield number, index, frame.time_ns, frame.link, frame.length, frame.data
                at, total = behind, total + len(batch.offsets)
            if at == len(numbers):
                break

    def _batches(self) -> Iterator[Batch]:
        """All packets; ``total`` counts those before the batch, and at the end all."""
        self._begin()
        self._walker = walker = Walker(self.name)
        pieces = Pieces(self._file, packing=self._packing, size=LARGE_CHUNK, watch=self.watch)
        for size in pieces.into(walker.room):
            for batch in walker.filled(size):
                if self.kind == "pcap" and self._packing is None:
                    self._places.note(batch, walker.base, walker.offset)
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
            raise CaptureUnreadable(what, hint or HINT)
        self.truncated = what

    def _conclude(self, walker: Walker) -> None:
        if walker.first_skipped is not None:
            self.total += walker.skipped
            self._skip(walker.first_skipped.message, walker.skipped)
        if unfinished := self._decoder.fragments.unfinished:
            self._skip(f"{self.name}: a fragmented IP packet of which parts are missing", 0)
            self.notes.append(f"{unfinished} fragmented IP packets are not complete")
        if closed := self._decoder.closed.most_common():
            kinds = ", ".join(f"{count} of {kind}" for kind, count in closed)
            self.notes.append(f"frames that were not looked into: {kinds}")
        for name, count in filter(itemgetter(1), walker.dropped.values()):
            self.lost += count
            where = f" on {name}" if name else ""
            self.notes.append(f"the capture lost {count} packets{where}: the kernel dropped them")
        if self._headless:
            self.notes.append(
                f"{self._headless} packets were cut off before their TCP header, at"
                f" {self._snapped} bytes: {_LONGER}"
            )
        if 0 < self.total <= self.skipped:
            hint = CONVERT if self._unknown_links else _LONGER if self._headless else HINT
            raise CaptureUnreadable(self.first_skipped or "", hint)

    def _pass_over(self, batch: Batch) -> None:
        """Packets of a link type that is not understood."""
        link, number = batch.interface.link, self.total + 1
        if link not in self._unknown_links and len(self._unknown_links) < 100:
            self._unknown_links.add(link)
            self.notes.append(f"{link_text(link)} is not one that tlsprobe reads; {CONVERT}")
        what = f"{self.name}: packet {number} is of {link_text(link)}, which tlsprobe does not read"
        self._skip(what, len(batch.offsets))

    def _summarise(self, batch: Batch, summary: Summary) -> None:
        """The hot loop: one unpack a packet, one lookup, a few small stores."""
        layout = layout_of(batch.order, batch.interface.link)
        read, plain, mask, least = layout.read, layout.kind, layout.fragment_mask, layout.least
        buffer, high_ns, low_ns = batch.buffer, batch.high_ns, batch.low_ns
        get, begin, mark = summary.halves.get, summary.begin, summary.mark
        owned = summary.owners.append
        number = self.total
        for at in batch.offsets:
            number += 1
            (
                high,
                low,
                captured,
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
                    owned(-1)
                    continue
                key, numbers, flags = found
            time_ns = high * high_ns + low * low_ns
            half = get(key)
            if half is None:
                half = begin(key, number, time_ns)
            half.packets += 1
            owned(half.serial)
            half.last_ns = time_ns
            half.last = numbers
            if flags & 7:
                mark(half, number, time_ns, flags, numbers)

    def _look(self, batch: Batch, at: int, number: int) -> tuple[bytes, bytes, int] | None:
        """The same of one packet, plain or not."""
        layout = layout_of(batch.order, batch.interface.link)
        _, _, captured, kind, version, fragment, protocol, key, numbers, size, flags = layout.read(
            batch.buffer, at
        )
        if (
            kind == layout.kind
            and version == 0x45
            and protocol == 6
            and captured >= layout.least
            and not fragment & layout.fragment_mask
            and size >= 80
        ):
            return key, numbers, flags
        return self._slow(batch, at, number)

    def _slow(self, batch: Batch, at: int, number: int) -> tuple[bytes, bytes, int] | None:
        """Flow key, numbers and flags of what the hot loop has no layout for."""
        high, low, captured, length = struct.unpack_from(f"{batch.order}IIII", batch.buffer, at)
        frame = bytes(batch.buffer[at + RECORD_HEAD : at + RECORD_HEAD + captured])
        time_ns = high * batch.high_ns + low * batch.low_ns
        found = self._find(frame, batch.interface.link, length, time_ns, number)
        if found is None:
            return None
        whole, tcp = found.frame, found.transport[0]
        return found.key, whole[tcp + 4 : tcp + 12], whole[tcp + 13]

    def _segments(self, batch: Batch, wanted: Wanted | None) -> Iterator[Packet]:
        layout = layout_of(batch.order, batch.interface.link)
        read, plain, mask, least = layout.brief, layout.kind, layout.fragment_mask, layout.least
        buffer, decoder, high_ns, low_ns = batch.buffer, self._decoder, batch.high_ns, batch.low_ns
        link, index, decode = batch.interface.link, batch.interface.index, self._decoder.decode
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
            frame = bytes(buffer[start : start + captured])
            time_ns = high * high_ns + low * low_ns
            if is_plain or wanted is None:
                # Not by a function of its own, which would be called for each frame.
                try:
                    packet = decode(frame, link, length, time_ns, number, index)
                except Malformed as why:
                    self._skip(f"{self.name}: packet {number}: {why}")
                    continue
                if packet is not None:
                    yield packet
                else:
                    self.other += 1
                continue
            found = self._find(frame, link, length, time_ns, number)
            if found is not None and wanted(found.key):
                place = decoder.place(frame, link, index, found.tunnel)
                yield decoder.segment(found, number, time_ns, place)

    def _find(
        self, frame: bytes, link: int, length: int, time_ns: int, number: int
    ) -> FoundTransport | None:
        try:
            taken = self._decoder.fragments.taken
            found = self._decoder.find(frame, link, length, time_ns)
        except Malformed as why:
            self._skip(f"{self.name}: packet {number}: {why}")
            if isinstance(why, CutOff) and len(frame) < length:
                self._headless += 1
                self._snapped = max(self._snapped, len(frame))
            return None
        finally:
            if self._decoder.fragments.taken != taken and number <= LISTED_LIMIT:
                self._pieces.append(number)
        if found is None:
            self.other += 1
        return found
