"""What was printed of packets as an input: read to learn what its numbers mean, then again."""

from __future__ import annotations

from collections.abc import Iterator

from tlsprobe.captures.pasted_text import PastedText
from tlsprobe.captures.pieces import Pieces
from tlsprobe.captures.printed_packet import Printed
from tlsprobe.captures.reading import HINT, CaptureUnreadable, Counts, Kind, Wanted
from tlsprobe.captures.summary import Summary
from tlsprobe.captures.text_learning import learn
from tlsprobe.captures.text_scales import Learned, place
from tlsprobe.packets.packet import Packet

CARRIED_LIMIT = 100_000
"""Of so many packets what the text calls their contents is kept."""


KEPT_LIMIT = 50_000
"""Texts of so many packets are not read a second time: each takes half a kilobyte until then."""


class TextReading(Counts):
    """What tcpdump, tshark or Wireshark printed, perhaps long ago and through many hands."""

    kind: Kind = "text"
    _kept: list[Printed] | None = None

    def learn(self) -> None:
        """Finds out what the numbers count from, and who sent what. Raises CaptureUnreadable."""
        self._lists = learn(Pieces(self._file, packing=self._packing))
        self._learned = Learned()
        self._lines = self._lists.lines
        if self._lists.may_hold:
            self._kept = self._learn_numbers()
            self._said = self.notes
        self._learned.conclude()
        logs = self._lists.logs
        if not self.total and logs.seen:
            said = f"{self.name}: it holds no packet, but lines of a log\n{logs.answer()}"
            raise CaptureUnreadable(said, logs.hint())
        if not self.total:
            where = "its one line" if self._lines == 1 else f"none of its {self._lines} lines"
            no = "no" if self._lines == 1 else "a"
            said = f"{where} is {no} packet that tcpdump or Wireshark printed"
            raise CaptureUnreadable(f"{self.name}: {said}", "; ".join(self.told) or HINT)
        if self.total == self.skipped:
            hint = "print numbers (`tcpdump -n -S`, `tshark -n`), or give the capture file itself"
            first = (self.first_skipped or "").removeprefix(f"{self.name}: ")
            of = (
                "its one packet could not"
                if self.total == 1
                else f"of {self.total} packets none could"
            )
            what = f"{of} be read; {first}"
            raise CaptureUnreadable(f"{self.name}: {what}", hint)

    def _learn_numbers(self) -> list[Printed] | None:
        """What the numbers count from.

        Returns the packets; None if there are very many, or another pass knows them better.
        """
        kept: list[Printed] | None = []
        for printed in self._printed():
            self._learned.saw(printed)
            if kept is not None:
                kept.append(printed)
                if len(kept) > KEPT_LIMIT:
                    kept = None
        return None if self._lists.packet_list.knows_better else kept

    def summary(self) -> Summary:
        """Light facts of every flow."""
        summary = Summary()
        for packet in self.packets():
            numbers = packet.seq.to_bytes(4, "big") + (packet.ack or 0).to_bytes(4, "big")
            summary.note(packet.key, packet.number, packet.time_ns, packet.flags, numbers)
        return summary

    def stretches(self, wanted: Wanted) -> Iterator[Packet]:
        """The same of wanted flows."""
        return self.packets(wanted)

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        for packet in place(self._again(), self._learned):
            if wanted is None or wanted(packet.key):
                yield packet
        self.notes += self._learned.notes

    def _again(self) -> Iterator[Printed]:
        """What `_printed` gave, whose counts still stand if it was kept."""
        if self._kept is None:
            return self._printed()
        self.notes = [*self._said]
        return iter(self._kept)

    def _printed(self) -> Iterator[Printed]:
        self._begin()
        pasted = PastedText(self._lists)
        pieces = Pieces(self._file, packing=self._packing)
        for piece in pieces:
            yield from self._noted(pasted.feed(piece))
        yield from self._noted(pasted.finish())
        self._lines = pasted.lines
        self.total, self.other, self.skipped = pasted.total, pasted.other, pasted.skipped
        if pasted.first_skipped is not None:
            self.first_skipped = f"{self.name}: {pasted.first_skipped}"
        if pieces.broken:
            self.truncated = f"{self.name}: {pieces.broken}"
        if pasted.cut:
            of = _counted(pasted.cut, "printed packet is", "printed packets are")
            self.notes.append(f"{of} cut off after the numbers")
        self.disordered = pasted.disordered
        if pasted.disordered:
            of = _counted(pasted.disordered, "packet stands", "packets stand")
            self.notes.append(
                f"{of} behind others with higher numbers: put them in order, or what came first is"
                " not told"
            )
        if logs := self._lists.logs.counted:
            self.notes.append(f"it holds lines of logs, too: {logs}")
        self.lacking = pasted.lacking
        if pasted.lacking:
            of = _counted(pasted.lacking, "RST stands", "RSTs stand")
            self.notes.append(
                f"{of} without a window, which tells kinds of RST apart"
                " (`-e tcp.window_size_value` prints it)"
            )
        if pasted.inferred:
            of = _counted(pasted.inferred, "line tells", "lines tell")
            self.notes.append(
                f"{of} no TCP numbers: they follow from the frames' sizes and from the lines before"
            )

    def _noted(self, found: list[Printed]) -> Iterator[Printed]:
        for printed in found:
            if printed.carries is not None and len(self.carried) < CARRIED_LIMIT:
                self.carried[printed.number] = printed.carries
            yield printed


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
