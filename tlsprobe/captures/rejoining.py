"""Puts the lines of a packet list together again that a terminal, a mailer or a page has broken.

A terminal breaks a line at its last column, in the middle of a word; a mailer breaks between words.
Which of them it was is told by the joints at which only one of the two leaves numbers that make
sense; where both were at work, nothing is joined. A table that was copied from a page may have
each of its cells on a line of its own (`tlsprobe.captures.passed_on` counts them). What tcpdump
prints needs none of this: its packets are found wherever they stand
(`tlsprobe.captures.printed_packet`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tlsprobe.captures.passed_on import begins_cells, joined_cells
from tlsprobe.captures.printed_packet import Unreadable
from tlsprobe.captures.text_lines import Line
from tlsprobe.captures.wireshark_line import Row, begins_row, is_clean, read_row

_MOST_PIECES = 5
_SHORTEST = 40
"""Characters: narrower nobody wraps."""
_FLAGS = "Flags ["
_SECTION = re.compile(r" *<section>(.{0,2000})</section> *")


class Wrapping(NamedTuple):
    """How the rows of a text were wrapped: at most ``width`` wide.

    ``hard`` is in the middle of words, None where that is not known.
    """

    width: int
    hard: bool | None

    def is_full(self, piece: str, rest: str) -> bool:
        """Whether a piece is so long that what stands in the next line found no room."""
        word = "" if self.hard else rest.split(" ", 1)[0]
        # A blank at the very edge of a terminal is mostly lost.
        return len(piece) + 1 + len(word) >= self.width + (self.hard is False)

    def joined(self, piece: str, rest: str) -> str | None:
        """Both, as they were before; None if that is not clear."""
        hard = piece.ljust(self.width) + rest
        soft = f"{piece.rstrip()} {rest.lstrip()}"
        if self.hard is None:
            return soft if _says_the_same(_row(hard), _row(soft)) else None
        return hard if self.hard else soft


def wrapping_of(lines: Sequence[str]) -> Wrapping | None:
    """How these lines were wrapped, None if they were not."""
    votes: set[bool] = set()
    width = 0
    for piece, rest in pairwise(line.rstrip() for line in lines):
        if len(piece) < _SHORTEST or not rest.strip() or _FLAGS in piece or _FLAGS in rest:
            continue
        if not begins_row(piece) or begins_row(rest) or _is_whole(piece):
            continue
        sound = [hard for hard in (True, False) if _makes_sense(piece, rest, hard=hard)]
        if sound:
            width = max(width, len(piece))
        if len(sound) == 1:
            votes.add(sound[0])
    if not width:
        return None
    return Wrapping(width, votes.pop() if len(votes) == 1 else None)


def _row(line: str) -> Row | None:
    try:
        return read_row(line)
    except Unreadable:
        return None


def _says_the_same(one: Row | None, other: Row | None) -> bool:
    """Whether both are rows that differ in blanks at most, as around an arrow."""
    if one is None or other is None:
        return False
    return one._replace(info="") == other._replace(info="") and _bare(one) == _bare(other)


def _bare(row: Row) -> str:
    return row.info.replace(" ", "") if row.tcp is not None else row.info


def _is_whole(line: str) -> bool:
    row = _row(line)
    return row is not None and row.tcp is not None and row.tcp.length is not None


def _makes_sense(piece: str, rest: str, *, hard: bool) -> bool:
    """Whether both are a TCP segment's line in which nothing up to the joint is broken."""
    line = piece + rest if hard else f"{piece.rstrip()} {rest.lstrip()}"
    row = _row(line)
    return row is not None and row.tcp is not None and is_clean(line, len(piece.rstrip()) + 1)


class Rejoining:
    """Give it lines, get lines; those of one row of a wrapped list, or of psml, as one.

    ``cells`` is how many lines make a row where each cell stands on one of its own, else 0.
    """

    def __init__(self, wrapping: Wrapping | None, cells: int = 0) -> None:
        self._wrapping = wrapping
        self._row_of = cells
        self._apart: list[Line] = []
        self._held: Line | None = None
        self._pieces = 0
        self._last = ""
        self._cells: list[str] = []

    def feed(self, line: Line) -> Iterator[Line]:
        """One more line: what is whole now."""
        if self._row_of:
            yield from self._gather(line)
            return
        cell = _SECTION.fullmatch(line.text)
        if cell is not None:
            if self._cells or (self._held is not None and "<packet>" in self._held.text):
                self._held = None
            elif self._held is not None:
                yield from self.finish()
            self._cells.append(cell[1])
            return
        if self._cells:
            yield self._row_of_cells(line)
            if "</packet>" in line.text:
                return
        if self._held is not None and self._goes_on(line.text):
            self._append(line)
            return
        yield from self.finish()
        if line.text.strip() == "<packet>" or (self._wrapping and begins_row(line.text)):
            self._held, self._pieces, self._last = line, 1, line.text.rstrip()
        else:
            yield line

    def finish(self) -> Iterator[Line]:
        """What waits for more."""
        apart, self._apart = self._apart, []
        yield from apart
        held, self._held = self._held, None
        if held is not None:
            yield held

    def _gather(self, line: Line) -> Iterator[Line]:
        """A cell on a line of its own: the row, when it is the last of one."""
        if not line.text.strip():
            return
        self._apart.append(line)
        while len(self._apart) > 1:
            if not begins_cells(self._apart[0].text, self._apart[1].text):
                yield self._apart.pop(0)
            elif len(self._apart) < self._row_of:
                return
            else:
                # A number where Info belongs is that of the next row: a cell is missing.
                short = self._apart[-1].text.strip().isdigit()
                row, self._apart = self._apart, self._apart[-1:] if short else []
                text = joined_cells([cell.text for cell in row[: len(row) - short]])
                yield Line(text, row[0].number, row[0].column, text)

    def _row_of_cells(self, line: Line) -> Line:
        text, self._cells = "  ".join(self._cells), []
        return Line(text, line.number, 1, text)

    def _goes_on(self, text: str) -> bool:
        wrapping = self._wrapping
        if wrapping is None or not text.strip() or _FLAGS in text or self._pieces >= _MOST_PIECES:
            return False
        return not begins_row(text) and wrapping.is_full(self._last, text)

    def _append(self, line: Line) -> None:
        assert self._held is not None
        assert self._wrapping is not None
        piece = self._held.text.rstrip().removesuffix(self._last)
        joined = self._wrapping.joined(self._last, line.text)
        text = piece + (joined or f"{self._last} {line.text}")
        torn = self._held.torn or joined is None
        self._held = self._held._replace(text=text, tabbed=text, torn=torn)
        self._pieces += 1
        self._last = line.text.rstrip()
