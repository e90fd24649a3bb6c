"""Finds packets in what was pasted: lines wrapped, quoted, numbered, joined, or between prose.

Nothing is expected of the lines. What is looked for is the part that every TCP packet of tcpdump's
has, ``Flags [...]``; `tlsprobe.captures.printed_packet` reads what stands around it. The lines of a
packet list (Wireshark, tshark) stand for themselves, see `tlsprobe.captures.wireshark_text`. What
looks like a packet and cannot be read is counted, and the first such place is kept.
"""

from __future__ import annotations

import codecs
import html
import re
from bisect import bisect_right
from collections.abc import Iterator

from tlsprobe.captures.dissected_text import Dissected, begins_packet
from tlsprobe.captures.printed_packet import (
    BEFORE,
    FLAGS_WORD,
    TOKEN,
    Look,
    Printed,
    Unreadable,
    with_flags,
    without_flags,
)
from tlsprobe.captures.wireshark_line import read_row
from tlsprobe.captures.wireshark_text import PacketList

LINE_LIMIT = 1 << 16
"""Longer lines are cut there, like any other wrapped line."""
_WINDOW = 1 << 17
_HELD_BACK = 4096
"""A packet with all its options is shorter, however it is wrapped."""
_EXCERPT = 60
_FLAGS = "Flags ["

# Word processors, chat programs and blogs turn one into the other.
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008", " "),
        **dict.fromkeys("\u2009\u200a\u202f\u205f\u3000\t\f\v", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
        **dict.fromkeys("\u203a\u2192\u27a4\uff1e\u21d2", ">"),
        **dict.fromkeys("\u00b7\u2022\u2024", "."),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb`", '"'),
        **dict.fromkeys("\u2018\u2019", "'"),
        "\uff1a": ":",
        "\u2236": ":",
        "\uff0c": ",",
        "\uff3b": "[",
        "\uff3d": "]",
        "\u2502": "|",
        "\u2503": "|",
        "\r": " ",
        "\x00": " ",
    }
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ESCAPES = re.compile(r"\\([\[\]>.|_*#-])|\*\*")
_QUOTED = re.compile(r" *(?:[>|] ?)+")
_ONLY_WRAPPED = re.compile(r"[\w.:%-]+ *:(?: |$)")

_ANCHOR = re.compile(
    rf"(?P<flags>{FLAGS_WORD})"
    rf"|(?P<other>(?:\bIP6?\s{{1,3}}|, length \d+: )(?P<src>{TOKEN})\s{{0,3}}>\s{{0,3}}"
    rf"(?P<dst>{TOKEN})\s{{0,3}}:(?!\s{{0,80}}{FLAGS_WORD})\s)"
    r"|(?P<arp>\bARP, (?:Request|Reply|Ethernet))"
)


def is_text(head: bytes) -> bool:
    """Whether an input that begins like this is text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    odd = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\b\x1b")
    return bool(head) and odd * 100 <= len(head) and b"\0" not in head


class PastedText:
    """Give it bytes of text, get the packets printed there.

    ``packet_list`` learns in the first pass over a text, when it is ``None`` to begin with, and is
    given to the next ones. ``inferred`` counts lines of it whose numbers follow from others,
    ``disordered`` packets whose number is below that of one before.
    ``total`` counts whatever looks like a packet, ``other`` those of other protocols, ``skipped``
    TCP that could not be read, ``cut`` packets that lack an end which tells nothing new.
    """

    def __init__(self, packet_list: PacketList | None = None) -> None:
        self.packet_list = packet_list or PacketList()
        self._learning = packet_list is None
        if packet_list is not None:
            packet_list.begin()
        self._number = self._highest = 0
        self._dissected: Dissected | None = None
        self._dissected_at = 0
        self.inferred = 0
        self.disordered = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._line = ""
        # Lines that may still belong to a packet, and the number and column where each begins.
        self._pending: list[str] = []
        self._places: list[tuple[int, int]] = []
        self._size = 0
        self._quotes = 0
        self.lines = 0
        self.total = 0
        self.other = 0
        self.skipped = 0
        self.cut = 0
        self.first_skipped: str | None = None

    def feed(self, data: bytes) -> list[Printed]:
        """The packets that are complete, in the order of the text."""
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder(_encoding(data))("replace")
        found: list[Printed] = []
        *whole, self._line = (self._line + self._decoder.decode(data)).split("\n")
        for line in whole:
            found += self._add(line)
        if len(self._line) > LINE_LIMIT:
            # A line without an end is taken as wrapped; its last part may still grow.
            last, self._line = self._line, ""
            found += self._add(last)
        return found

    def finish(self) -> list[Printed]:
        """The packets that only the end of the text completes."""
        last, self._line = self._line, ""
        found = self._add(last) if last else []
        return [*found, *self._read(final=True), *self._end_dissected()]

    def _add(self, line: str) -> list[Printed]:
        self.lines += 1
        found: list[Printed] = []
        for start in range(0, max(len(line), 1), LINE_LIMIT):
            plain, removed, self._quotes = _plain(line[start : start + LINE_LIMIT], self._quotes)
            if self._learning:
                self._learn(plain)
                continue
            listed = self._dissect(plain)
            if listed is None:
                listed = self._listed(plain)
            if listed is not None:
                found += listed
                continue
            self._pending.append(plain)
            self._places.append((self.lines, start + removed + 1))
            self._size += len(plain) + 1
            if self._size > _WINDOW:
                found += self._read(final=False)
        return found

    def _dissect(self, plain: str) -> list[Printed] | None:
        """What is complete now that a dissected packet begins; None if the line is of no such."""
        begins = begins_packet(plain)
        found: list[Printed] = []
        if begins is not None:
            found = [*self._read(final=True), *self._end_dissected()]
            self._dissected, self._dissected_at = Dissected(begins), self.lines
        told = self._dissected is not None and self._dissected.read(plain)
        return found if begins is not None or told else None

    def _end_dissected(self) -> list[Printed]:
        """The packet that was being dissected, whole now."""
        dissected, self._dissected = self._dissected, None
        if dissected is None:
            return []
        self.total += 1
        try:
            packet = dissected.packet()
        except Unreadable as why:
            self._skip_here(self._dissected_at, 1, "", str(why))
            return []
        self.other += packet is None
        return [] if packet is None else [self._numbered(packet)]

    def _listed(self, plain: str) -> list[Printed] | None:
        """What a line of a packet list tells, and the packets before it; None if it is none."""
        if not self.packet_list.found or _FLAGS in plain:
            return None
        refused, row = "", None
        try:
            row = read_row(plain)
        except Unreadable as why:
            refused = str(why)
        if not refused and (row is None or not self.packet_list.has(row)):
            return None
        found = [*self._read(final=True), *self._end_dissected()]
        packet = None
        self.total += 1
        try:
            packet = self.packet_list.packet(row) if row is not None else None
        except Unreadable as why:
            refused = str(why)
        if packet is not None:
            self.inferred += row is not None and row.tcp is None
            found.append(self._numbered(packet))
        elif refused:
            self._skip_here(self.lines, 1, plain, refused)
        else:
            self.other += 1
        return found

    def _learn(self, plain: str) -> None:
        """What a line of a packet list tells of its connection."""
        frame = begins_packet(plain)
        if frame is not None and frame["number"] and len(self.packet_list.dissected) < LINE_LIMIT:
            self.packet_list.dissected.add(int(frame["number"]))
        try:
            row = None if _FLAGS in plain else read_row(plain)
        except Unreadable:
            self.packet_list.found = True  # it looks like a line of a list, and is to be counted
            return
        if row is not None:
            self.packet_list.saw(row)

    def _numbered(self, packet: Printed) -> Printed:
        """With the number that the text gives it, or one more than the packet before."""
        self.disordered += 0 < packet.number < self._highest
        self._highest = max(packet.number, self._highest)
        self._number = max(packet.number, self._number + 1)
        return packet._replace(number=self._number)

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
            self.first_skipped = f"line {line}, column {column}: {why}: {shown}"


def _encoding(head: bytes) -> str:
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def _plain(line: str, quotes: int) -> tuple[str, int, int]:
    """The line without what word processors, mail and chat did to it.

    Also how many characters were taken from its front, and how many quotation marks those are;
    ``quotes`` is how many the line before had.
    """
    if "&" in line:
        line = html.unescape(html.unescape(line))
    line = line.replace("\n", " ").translate(_TYPOGRAPHY)
    line = _ESCAPES.sub(lambda found: found[1] or "", _COLOURS.sub("", line))
    quoted = _QUOTED.match(line)
    removed = quoted.end() if quoted else 0
    marks = line.count(">", 0, removed) + line.count("|", 0, removed)
    if marks > quotes and _ONLY_WRAPPED.match(line, removed):
        # Wrapped in front of the receiver: the last arrow belongs to the packet.
        removed, marks = max(line.rfind(">", 0, removed), 0), quotes
    line = line[removed:]
    # The edge of a table, if there is one. No regular expression: they try each blank in turn.
    edge = line.rstrip(" |")
    return edge if "|" in line[len(edge) :] else line, removed, marks
