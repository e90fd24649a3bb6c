"""What the lists and tables of a text tell of themselves, learned before any packet is read.

A packet list leaves out numbers that follow from other lines, so the whole of it is looked at
first (`tlsprobe.captures.wireshark_text`); how it was wrapped is told by its first lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, islice

from tlsprobe.captures.dissected_text import begins_packet, tells_flags
from tlsprobe.captures.logs import Logs
from tlsprobe.captures.named_columns import Columns, named_columns
from tlsprobe.captures.passed_on import PassedOn, is_quoted_printable, passed_on
from tlsprobe.captures.printed_packet import STAMP, TOKEN, Printed, Unreadable
from tlsprobe.captures.rejoining import Rejoining, Wrapping, wrapping_of
from tlsprobe.captures.text_lines import Line, TextLines
from tlsprobe.captures.wireshark_line import Row, read_row
from tlsprobe.captures.wireshark_statistics import is_flow_graph
from tlsprobe.captures.wireshark_text import PacketList

FLAGS_OF_TCPDUMP = "Flags ["
"""What each TCP packet of tcpdump's has, and no line of a list."""

_WORDS_OF_PACKETS = (", length ", "ARP,", "<section>", "<packet>")
_OF_PACKETS = (
    re.compile(r"F\n?l\n?a\n?g"),
    re.compile(r"IP(?<!\wIP)6?\s"),
    re.compile(rf"{STAMP}{TOKEN}\s{{0,3}}>"),
)
"""What stands in each packet that is no row of a list."""
_LONGEST = 40

_MOST_NUMBERS = 1 << 16
_LOOKED_AT = 5000
"""Lines from which is told how a text was wrapped."""


class NoTcp(Enum):
    """A row of a table that is of another protocol."""

    ROW = "row"


class Table:
    """Reads rows: those of plain packet lists, and of tables whose columns a line has named."""

    def __init__(self) -> None:
        self._columns: Columns | None = None

    @property
    def is_named(self) -> bool:
        """Whether a line has named the columns."""
        return self._columns is not None

    def read(self, line: Line) -> Printed | Row | NoTcp | None:
        """What a row tells; None if the line is no row. Raises Unreadable for one that lacks."""
        if line.torn:
            raise Unreadable("it is wrapped, and where a word was broken is not clear")
        columns = self._columns
        if columns is not None and columns.is_row(line):
            return columns.read(line) or NoTcp.ROW
        named = named_columns(line)
        if named is not None:
            self._columns = named
            return None
        return read_row(line.text)


@dataclass(slots=True)
class LearnedLists:
    """What `learn` found: the packet list, what was done to it, whether there is any, and logs.

    ``lines`` counts lines; without ``may_hold`` none of them is part of a packet. ``row`` and
    ``frame`` are the numbers of the latest packet in a list and of the latest one in full.
    """

    packet_list: PacketList
    wrapping: Wrapping | None = None
    passed: PassedOn = field(default_factory=PassedOn)
    lists_any: bool = False
    may_hold: bool = False
    lines: int = 0
    row: int | None = None
    frame: int = 0
    logs: Logs = field(default_factory=Logs)


def learn(pieces: Iterable[bytes]) -> LearnedLists:
    """What the lists of a text tell, read from its start to its end."""
    learned = LearnedLists(PacketList())
    table = Table()
    lines: TextLines | None = None
    rejoining: Rejoining | None = None
    before = ""
    for piece in pieces:
        if lines is None:
            learned.passed = _passed_on(piece)
            lines = TextLines(learned.passed)
        fresh = list(lines.feed(piece))
        before = _looked_over(learned, before, fresh)
        if rejoining is None:
            learned.wrapping = wrapping_of([line.text for line in fresh[:_LOOKED_AT]])
            rejoining = Rejoining(learned.wrapping, learned.passed.cells)
        for line in fresh:
            for whole in rejoining.feed(line):
                _saw(learned, table, whole)
    lines, rejoining = lines or TextLines(), rejoining or Rejoining(None)
    last = list(lines.finish())
    _looked_over(learned, before, last)
    for line in last:
        for whole in rejoining.feed(line):
            _saw(learned, table, whole)
    for whole in rejoining.finish():
        _saw(learned, table, whole)
    learned.lines = lines.count
    learned.may_hold |= learned.lists_any
    return learned


def _passed_on(head: bytes) -> PassedOn:
    """What was done to a text that begins like this."""
    in_mail = is_quoted_printable(head)
    lines = TextLines(PassedOn(in_mail))
    first = [line.text for line in islice(chain(lines.feed(head), lines.finish()), _LOOKED_AT)]
    return passed_on(first, quoted_printable=in_mail)


def _looked_over(learned: LearnedLists, before: str, lines: list[Line]) -> str:
    """Looks for what a packet of tcpdump's has; returns what it may have begun with."""
    if learned.may_hold:
        return ""
    text = "\n".join([before, *[line.text for line in lines]])
    learned.may_hold = any(word in text for word in _WORDS_OF_PACKETS) or any(
        pattern.search(text) for pattern in _OF_PACKETS
    )
    return text[-_LONGEST:]


def _saw(learned: LearnedLists, table: Table, line: Line) -> None:
    """What one line tells of its connection."""
    listed = learned.packet_list
    frame = begins_packet(line.text)
    learned.may_hold |= frame is not None
    if frame is not None:
        learned.frame = int(frame["number"] or 0)
        if learned.frame and learned.frame == learned.row and len(listed.folded) < _MOST_NUMBERS:
            listed.folded.add(learned.frame)
    elif learned.frame and len(listed.dissected) < _MOST_NUMBERS and tells_flags(line.text):
        listed.dissected.add(learned.frame)
    if FLAGS_OF_TCPDUMP in line.text:
        return
    try:
        told = table.read(line)
    except Unreadable:
        if is_flow_graph(line.text):
            learned.logs.saw(line.number, line.tabbed)
            return
        learned.lists_any = True  # it looks like a row, and is to be counted
        return
    learned.lists_any |= table.is_named
    if told is None:
        learned.logs.saw(line.number, line.tabbed)
    elif isinstance(told, Row):
        learned.lists_any |= told.tcp is not None
        learned.row = told.number
        listed.saw(told)
        if told.tcp is None and not listed.has(told):
            # Words of a log in the places of columns.
            learned.logs.saw(line.number, line.tabbed)
