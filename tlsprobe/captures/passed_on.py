"""How a text was passed on: what mail, web pages, logs and diffs did to all of its lines alike.

`passed_on` looks at how a text begins; what it finds out is the same in every pass over the text.
What is done to a line alone needs no such look (`tlsprobe.captures.text_lines`).

Source: RFC 2045 section 6.7 for quoted-printable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from tlsprobe.captures.printed_packet import Unreadable
from tlsprobe.captures.printed_times import TIME
from tlsprobe.captures.wireshark_line import Row, read_row

SOFT_BREAK = "\x1e"
"""Stands where quoted-printable had broken a line."""

_MOST_BEFORE = 300
"""Characters that may stand in front of a row."""
_FEWEST_CELLS, _MOST_CELLS = 3, 9
_LONGEST_CELL = 100
_ROWS_LOOKED_AT = 20

_ENCODING = re.compile(rb"^Content-Transfer-Encoding: quoted-printable", re.IGNORECASE | re.M)
_ESCAPED = re.compile(
    rb"=(?:3D|[A-F][0-9A-F]|[0-9][A-F](?![0-9])|(?<=[^\n]{58}=)[ \t]{0,8}\r?\n(?=[^\r\n]))"
)
_ESCAPE = re.compile(rb"=(?:([0-9A-Fa-f]{2})|[ \t]{0,8}\r?\n)")
_LONGEST_ESCAPE = 12

_GAP = r"[ |]{1,20}"
_HOST = r"[\w.:%\[\]-]{1,100}"
_BURIED = re.compile(
    rf"(?<![\w.])(?:\d{{1,9}}{_GAP})?(?:{TIME.pattern}{_GAP}){{1,3}}(?:\d{{1,5}}{_GAP})?"
    rf"(?=[\w%\[\]-]{{0,50}}[.:])(?!\d\d:\d\d:\d\d){_HOST}{_GAP}(?:\d{{1,5}}{_GAP})?"
    rf"(?:-?>{_GAP})?{_HOST}{_GAP}(?:\d{{1,5}}{_GAP})?\d{{0,4}}[A-Za-z]"
)
"""A row of a packet list that begins somewhere in a line: time, hosts, protocol."""
_INFO = re.compile(r" {0,8}(?:\[[^\]]{1,60}\] )*[\w()-]{1,40} {0,3}-?> {0,3}[\w()-]{1,40} {1,3}\[")
_NUMBERS = "Seq="


class PassedOn(NamedTuple):
    """What was done to a text.

    ``quoted_printable``: its bytes are mail's. ``prefixed``: something stands in front of each row
    of its packet list. ``cells``: each cell of a table stands on a line of its own, this many to a
    row; 0 if not so.
    """

    quoted_printable: bool = False
    prefixed: bool = False
    cells: int = 0


class QuotedPrintable:
    """Give it bytes of mail, get those that were meant, `SOFT_BREAK` where a line was broken."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is complete."""
        data = self._rest + data
        cut = data.rfind(b"=", max(len(data) - _LONGEST_ESCAPE, 0))
        cut = len(data) if cut < 0 else cut
        self._rest = data[cut:]
        return _ESCAPE.sub(_unescaped, data[:cut])

    def finish(self) -> bytes:
        """What waits for more."""
        rest, self._rest = self._rest, b""
        return _ESCAPE.sub(_unescaped, rest)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else SOFT_BREAK.encode()


def is_quoted_printable(head: bytes) -> bool:
    """Whether a text that begins like this is encoded as mail is.

    It says so, or most of its equals signs are of the encoding: a packet list has many others.
    """
    if b"=" not in head:
        return False
    escaped = len(_ESCAPED.findall(head))
    return escaped > 0 and (2 * escaped > head.count(b"=") or _ENCODING.search(head) is not None)


def passed_on(lines: Sequence[str], *, quoted_printable: bool) -> PassedOn:
    """What was done to a text whose first lines are these."""
    return PassedOn(quoted_printable, _has_prefixes(lines), _cells(lines))


def row_begin(line: str) -> int:
    """Where the row of a packet list begins that something stands in front of; else 0."""
    found = _BURIED.search(line.replace("\t", " ")[: 2 * _MOST_BEFORE])
    return found.start() if found and found.start() <= _MOST_BEFORE else 0


def begins_cells(first: str, second: str) -> bool:
    """Whether a row of cells on lines of their own begins with these two."""
    first, second = first.strip(), second.strip()
    if first.isdigit() and len(first) < 10:
        return TIME.fullmatch(second) is not None
    return TIME.fullmatch(first) is not None


def _has_prefixes(lines: Sequence[str]) -> bool:
    told = (line for line in lines if _NUMBERS in line and ">" in line)
    for _, line in zip(range(_ROWS_LOOKED_AT), told, strict=False):
        begin = row_begin(line)
        if line[:begin].strip() and _tells_tcp(line[begin:]) and not _tells_tcp(line):
            return True
    return False


def _cells(lines: Sequence[str]) -> int:
    """How many cells stand in front of Info, with it; 0 if they are not on lines of their own."""
    filled = [line for line in lines if line.strip()]
    infos = [at for at, line in enumerate(filled) if _NUMBERS in line and _INFO.match(line)]
    sizes = Counter(_cells_before(filled, at) for at in infos[:_ROWS_LOOKED_AT])
    del sizes[0]
    size, rows = max(sizes.items(), key=itemgetter(1), default=(0, 0))
    return size if rows > 1 else 0


def _cells_before(lines: Sequence[str], info: int) -> int:
    for count in range(_FEWEST_CELLS, min(_MOST_CELLS, info) + 1):
        cells = lines[info - count : info]
        if any(len(cell) > _LONGEST_CELL for cell in cells):
            break
        if begins_cells(cells[0], cells[1]) and _tells_tcp(joined_cells([*cells, lines[info]])):
            before = lines[info - count - 1].strip() if info > count else ""
            return count + 1 + (before.isdigit() and begins_cells(before, cells[0]))
    return 0


def joined_cells(cells: Sequence[str]) -> str:
    """A row of a packet list, of its cells."""
    return "  ".join(cell.strip() for cell in cells)


def _tells_tcp(line: str) -> bool:
    try:
        row: Row | None = read_row(line.replace("\t", " "))
    except Unreadable:
        return False
    return row is not None and row.tcp is not None
