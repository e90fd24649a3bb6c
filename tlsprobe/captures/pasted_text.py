"""Finds packets in what was pasted: lines wrapped, quoted, numbered, joined, or between prose.

Nothing is expected of the lines. What is looked for is the part that every TCP packet of tcpdump's
has, ``Flags [...]``; `tlsprobe.captures.printed_packet` reads what stands around it. The lines of a
packet list (Wireshark, tshark) stand for themselves, see `tlsprobe.captures.wireshark_text`. What
looks like a packet and cannot be read is counted, and the first such place is kept.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from tlsprobe.captures.dissected_text import Dissected, begins_packet
from tlsprobe.captures.printed_packet import (
    BEFORE,
    FLAGS_WORD,
    STAMP,
    TOKEN,
    Look,
    Printed,
    Unreadable,
    with_flags,
    without_flags,
)
from tlsprobe.captures.rejoining import Rejoining
from tlsprobe.captures.text_learning import FLAGS_OF_TCPDUMP, LearnedLists, NoTcp, Table
from tlsprobe.captures.text_lines import Line, TextLines
from tlsprobe.captures.wireshark_line import Row, is_cut_off
from tlsprobe.captures.wireshark_statistics import is_flow_graph

_WINDOW = 1 << 17
_HELD_BACK = 4096
"""A packet with all its options is shorter, however it is wrapped."""
_EXCERPT = 60

_ANCHOR = re.compile(
    rf"(?P<flags>{FLAGS_WORD})"
    rf"|(?P<other>(?:\bIP6?\s{{1,3}}|, length \d+: |{STAMP})(?P<src>{TOKEN})\s{{0,3}}>\s{{0,3}}"
    rf"(?P<dst>{TOKEN})\s{{0,3}}:(?!\s{{0,80}}{FLAGS_WORD})\s)"
    r"|(?P<arp>\bARP, (?:Request|Reply|Ethernet))"
)


class PastedText:
    """Give it bytes of text, get the packets printed there.

    ``learned`` is what `learn` found in the same text. ``inferred`` counts lines of a packet list
    whose numbers follow from others, ``disordered`` packets whose number is below that of one
    before. ``total`` counts whatever looks like a packet, ``other`` those of other protocols,
    ``skipped`` TCP that could not be read, ``cut`` packets that lack an end which tells nothing
    new, ``lacking`` RSTs of which the text leaves out what tells one kind from another.
    """

    def __init__(self, learned: LearnedLists) -> None:
        self.packet_list = learned.packet_list
        self.packet_list.begin()
        self._lists_any = learned.lists_any
        self._table = Table()
        self._lines = TextLines(learned.passed)
        self._rejoining = Rejoining(learned.wrapping, learned.passed.cells)
        self._number = self._highest = 0
        self._dissected: Dissected | None = None
        self._dissected_at = 0
        # Lines that may still belong to a packet, and the number and column where each begins.
        self._pending: list[str] = []
        self._places: list[tuple[int, int]] = []
        self._size = 0
        self.inferred = self.disordered = self.lacking = 0
        self.total = self.other = self.skipped = self.cut = 0
        self.first_skipped: str | None = None

    @property
    def lines(self) -> int:
        """How many lines there were so far."""
        return self._lines.count

    def feed(self, data: bytes) -> list[Printed]:
        """The packets that are complete, in the order of the text."""
        return [packet for line in self._lines.feed(data) for packet in self._take(line)]

    def finish(self) -> list[Printed]:
        """The packets that only the end of the text completes."""
        found = [packet for line in self._lines.finish() for packet in self._take(line)]
        found += [packet for line in self._rejoining.finish() for packet in self._add(line)]
        return [*found, *self._read(final=True), *self._end_dissected()]

    def _take(self, line: Line) -> Iterator[Printed]:
        for whole in self._rejoining.feed(line):
            yield from self._add(whole)

    def _add(self, line: Line) -> list[Printed]:
        listed = self._dissect(line)
        if listed is None and self._lists_any and FLAGS_OF_TCPDUMP not in line.text:
            listed = self._listed(line)
        if listed is not None:
            return listed
        self._pending.append(line.text)
        self._places.append((line.number, line.column))
        self._size += len(line.text) + 1
        return list(self._read(final=False)) if self._size > _WINDOW else []

    def _dissect(self, line: Line) -> list[Printed] | None:
        """What is complete now that a dissected packet begins; None if the line is of no such."""
        begins = begins_packet(line.text)
        found: list[Printed] = []
        if begins is not None:
            found = [*self._read(final=True), *self._end_dissected()]
            self._dissected, self._dissected_at = Dissected(begins), line.number
        told = self._dissected is not None and self._dissected.read(line.text)
        return found if begins is not None or told else None

    def _end_dissected(self) -> list[Printed]:
        """The packet that was being dissected, whole now."""
        dissected, self._dissected = self._dissected, None
        if dissected is None or self._is_folded(dissected.number):
            return []
        self.total += 1
        try:
            packet = dissected.packet()
        except Unreadable as why:
            self._skip_here(self._dissected_at, 1, "", str(why))
            return []
        self.other += packet is None
        return [] if packet is None else [self._numbered(packet)]

    def _is_folded(self, number: int) -> bool:
        """Whether a row tells of the packet, and what follows it does not."""
        listed = self.packet_list
        return number in listed.folded and number not in listed.dissected

    def _listed(self, line: Line) -> list[Printed] | None:
        """What a row of a list or a table tells, and the packets before it; None if it is none."""
        refused, told = "", None
        try:
            told = self._table.read(line)
        except Unreadable as why:
            refused = str(why)
        is_torn_off = told in {None, NoTcp.ROW} and not refused and is_cut_off(line.text)
        if is_torn_off:
            refused, told = "it is cut off before its protocol", None
        if told is None and (not refused or is_flow_graph(line.text)):
            return None
        if isinstance(told, Row) and not self.packet_list.has(told):
            return None
        found = [*self._read(final=True), *self._end_dissected()]
        packet = None
        self.total += 1
        try:
            packet = self.packet_list.packet(told) if isinstance(told, Row) else told
        except Unreadable as why:
            refused = str(why)
        if isinstance(packet, Printed):
            self.inferred += isinstance(told, Row) and told.tcp is None
            found.append(self._numbered(packet))
        elif refused:
            self._skip_here(line.number, 1, line.text, refused)
        else:
            self.other += 1
        return found

    def _numbered(self, packet: Printed) -> Printed:
        """With the number that the text gives it, or one more than the packet before."""
        self.disordered += 0 < packet.number < self._highest
        self.lacking += packet.lacking
        self._highest = max(packet.number, self._highest)
        self._number = max(packet.number, self._number + 1)
        return Printed._make((self._number, *packet[1:]))

    def _read(self, *, final: bool) -> Iterator[Printed]:
        """The packets of the pending lines, but for those that may go on; keeps the rest."""
        text = "\n".join(self._pending)
        limit = len(text) if final else len(text) - _HELD_BACK
        done = 0
        anchors = list(_ANCHOR.finditer(text))
        ends = [anchor.start() for anchor in anchors[1:]] + [len(text)]
        for anchor, end in zip(anchors, ends, strict=False):
            start = anchor.start()
            if start >= limit:
                break
            if start < done:
                continue
            try:
                look = self._look(text, anchor, done, end)
            except Unreadable as why:
                self._skip(text, anchor, done, str(why))
                done = anchor.end()
                continue
            done = look.behind
            self.other += look.other
            self.cut += look.cut
            self.total += look.other or look.packet is not None
            if look.packet is not None:
                yield self._numbered(look.packet)
        self._keep(text, len(text) if final else max(done, limit - BEFORE))

    def _keep(self, text: str, start: int) -> None:
        line, column = self._place(start)
        index = bisect_right(self._starts(), start) - 1
        rest = text[start:]
        self._pending = rest.split("\n")
        self._places = [(line, column), *self._places[index + 1 :]]
        self._size = len(rest)

    def _starts(self) -> list[int]:
        starts, at = [], 0
        for line in self._pending:
            starts.append(at)
            at += len(line) + 1
        return starts or [0]

    def _place(self, at: int) -> tuple[int, int]:
        starts = self._starts()
        index = bisect_right(starts, at) - 1
        line, column = self._places[index] if self._places else (1, 1)
        return line, column + at - starts[index]

    def _look(self, text: str, anchor: re.Match[str], done: int, end: int) -> Look:
        """What is at an anchor, and where it ends. Raises Unreadable."""
        if anchor["flags"]:
            return with_flags(text, anchor, done, end)
        if anchor["arp"]:
            return Look(None, anchor.end(), other=True)
        return without_flags(text, anchor, done)

    def _skip(self, text: str, anchor: re.Match[str], done: int, why: str) -> None:
        self.total += 1
        start = max(done, text.rfind("\n", 0, anchor.start()) + 1)
        line, column = self._place(start)
        self._skip_here(line, column, text[start : start + _EXCERPT].split("\n", 1)[0], why)

    def _skip_here(self, line: int, column: int, excerpt: str, why: str) -> None:
        self.skipped += 1
        if self.first_skipped is None:
            shown = excerpt[:_EXCERPT].encode("unicode_escape").decode("ascii")
            self.first_skipped = f"line {line}, column {column}: {why}{shown and f': {shown}'}"
