"""Bytes of a text become lines without what word processors, mail, chat and web pages did to them.

Quotation marks of mail, the edges of tables, colours of terminals, HTML's entities and tags, and
typography are taken away; where a line began in the text is kept, so that it can be shown.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tlsprobe.captures.masked import may_be_masked, unmasked, without_blocks
from tlsprobe.captures.passed_on import SOFT_BREAK, PassedOn, QuotedPrintable, row_begin
from tlsprobe.captures.text_kind import encoding

LINE_LIMIT = 1 << 16
"""Longer lines are cut there, like any other wrapped line."""
_LOOK_BACK = 4096

# Word processors, chat programs and blogs turn one into the other.
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008", " "),
        **dict.fromkeys("\u2009\u200a\u202f\u205f\u3000\f\v", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
        **dict.fromkeys("\u203a\u27a4\uff1e\u21d2", ">"),
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
_ARROW = "\u2192"
_MISREAD_ARROWS = "\u00e2\u2020\u2019", "\u0393\u00e5\u00c6", "\u00e2\u0086\u0092"
"""The bytes of an arrow, read as Windows-1252, code page 437 or Latin-1."""
_COLOURS = re.compile(
    r"\x1b\[[0-9;:?]{0,40}[A-Za-z]|\x1b\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]"
)
"""What sets colours in a terminal, or its title."""
_LOST_COLOURS = re.compile(
    r"(?:\^\[|\\x1b|\\033|\\e|\\u001b|\ufffd)?\[(?:[0-9;]{1,40}m|m(?![\w\]]))(?:\[K)?",
    re.IGNORECASE,
)
"""The same where its first character was lost or spelled out."""
_SPELLED_ARROWS = re.compile(r"\\u(?:2192|003e)", re.IGNORECASE)
"""An arrow in a string of JSON; Go spells out the plain one, too."""
_LINKS = re.compile(r"\[([^\[\]()]{1,100})\]\((?:https?|mailto):[^()\s]{1,200}\)")
_ESCAPES = re.compile(r"\\([\[\]>.|_*#-])|\*\*")
_CELLS = re.compile(r"</t[dh]>[ \t]{0,8}<t[dh]\b[^<>]{0,200}>", re.IGNORECASE)
_TAGS = re.compile(
    r"</?(?:pre|code|br|p|div|span|t[rdh]|table|tbody|thead|samp|tt|li|[ou]l)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_INLINE_TAGS = re.compile(
    r"</?(?:a|b|i|u|em|strong|font|mark|kbd|var|small|big|del|ins|wbr)\b[^<>]{0,400}>",
    re.IGNORECASE,
)
"""Tags that may stand in the middle of a word, as a link does around an address."""
_ROW_OF_TABLE = re.compile(r"<tr\b(?!.*</tr)", re.IGNORECASE)
_BREAKS = re.compile(
    r"<br\b[^<>]{0,100}>|</(?:p|div|tr|li|pre)>|(?:\\r)?\\n(?=[\s\d\"'>\[]|$)", re.IGNORECASE
)
"""Where a line ends in HTML or in a string of JSON; looked for only in lines that hold packets."""
_QUOTED = re.compile(r"[ \t]*(?:[>|] ?)+")
_ONLY_WRAPPED = re.compile(
    r"[\w.:%-]+ *:(?: |$)"
    r"|[A-Za-z0-9][\w.+-]{0,40}(?:\(\d{1,5}\))? {1,3}\[(?:[A-Z]{3}|<N)"
    r"|[\w.:%-]{1,80}[.:][\w.:%-]{1,80} {1,20}(?:\d{1,5} {1,20})?(?!IP6? )[A-Z]{2}[\w.]{0,20} "
)
"""How a line goes on behind an arrow that belongs to a packet, not to mail."""
_ROW = r"(?=\s{0,20}(?:\"?\d{1,9}(?:\s{1,20}|\"?[,;]\"?)\d{1,10}\.\d|\"?No\.))"
"""How a row of a packet list begins, or the names of its columns."""
_LOGGED = re.compile(
    # a container's log as the node keeps it, and as kubectl --prefix prints it
    r"\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d) std(?:out|err) [FP] "
    r"|\[pod/[\w./-]{1,300}\] "
    r"|std(?:out|err)(?:: | \| )"
    # what may also be a column of the row itself, or prose, goes only in front of a row
    rf"|\d{{4}}-\d\d-\d\dT[\d:.]{{8,18}}(?:Z|[+-]\d\d:\d\d) {{1,3}}{_ROW}"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,80} [\w./-]{1,40}(?:\[\d{1,10}\])?: "
    rf"{_ROW}"
    rf"|[\w.-]{{0,60}}[a-z][\w.-]{{0,20}} {{1,20}}\| {_ROW}"
)
"""What a log puts in front of each line that a program printed."""
_MOST_LOGS = 2
_MOST_OF_ROW = 60
"""Lines of a row of an HTML table."""
_JSON_PACKET = re.compile(r"\{[ \t]{0,8}\"_index\"[ \t]{0,8}:")


class Line(NamedTuple):
    """A plain line, with the place where it began; ``tabbed`` still has its tabs.

    ``torn`` says that it was wrapped, and that how is not clear enough to put it together.
    """

    text: str
    number: int
    column: int
    tabbed: str
    torn: bool = False


class TextLines:
    """Give it bytes of text, get lines. ``count`` is how many there were so far."""

    def __init__(self, passed: PassedOn | None = None) -> None:
        passed = passed or PassedOn()
        self.count = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._mail = QuotedPrintable() if passed.quoted_printable else None
        self._is_prefixed = passed.prefixed
        self._rest = ""
        self._quotes = 0
        # The lines of a row of an HTML table that goes on.
        self._row: list[str] = []

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that are complete."""
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder(encoding(data))("replace")
        meant = data if self._mail is None else self._mail.feed(data)
        *whole, self._rest = (self._rest + self._decoder.decode(meant)).split("\n")
        for line in whole:
            if self._row or "<tr" in line or "<TR" in line:
                yield from self._of_table(line)
            else:
                yield from self._line(line)
        if len(self._rest) > LINE_LIMIT:
            # A line without an end is taken as wrapped; its last part may still grow.
            *ready, self._rest = _pieces(self._rest)
            yield from self._line("", ready)

    def finish(self) -> Iterator[Line]:
        """The line that only the end of the text completes."""
        if self._mail is not None and self._decoder is not None:
            self._rest += self._decoder.decode(self._mail.finish())
        last, self._rest = self._rest, ""
        if self._row:
            yield from self._end_row(last)
        elif last:
            yield from self._line(last)

    def _of_table(self, line: str) -> Iterator[Line]:
        """A row of an HTML table becomes one line, however many it stood on."""
        if self._row and ("<tr" in line.lower() or len(self._row) > _MOST_OF_ROW):
            yield from self._end_row("")
        if "</tr" in line.lower() or not (self._row or _ROW_OF_TABLE.search(line)):
            yield from self._end_row(line)
        else:
            self._row.append(line)

    def _end_row(self, line: str) -> Iterator[Line]:
        lines, self._row = [*self._row, *([line] if line else [])], []
        yield from self._line(" ".join(lines))
        self.count += max(len(lines) - 1, 0)

    def _line(self, line: str, pieces: list[str] | None = None) -> Iterator[Line]:
        self.count += 1
        start = 0
        broken = line.count(SOFT_BREAK) if self._mail is not None else 0
        if broken:
            line = line.replace(SOFT_BREAK, "")
        for piece in _pieces(line) if pieces is None else pieces:
            plain, removed, self._quotes = _plain(piece, self._quotes)
            if self._is_prefixed and (begin := row_begin(plain)):
                plain, removed = plain[begin:], removed + begin
            text = plain.replace("\t", " ") if "\t" in plain else plain
            yield Line(text, self.count, start + removed + 1, plain)
            start += len(piece)
        self.count += broken


def _pieces(line: str) -> list[str]:
    """The line, in pieces if it is very long or holds several packets of JSON."""
    # Nearly no line has what a break begins with, and to look for breaks takes each character.
    if ("<" in line or "\\" in line) and ("Seq=" in line or "Flags [" in line):
        ends = [found.end() for found in _BREAKS.finditer(line)]
        if ends and '"_index"' not in line:
            parts = [line[one:two] for one, two in pairwise([0, *ends, len(line)])]
            return [piece for part in parts if part for piece in _short_pieces(part)]
    return _short_pieces(line)


def _short_pieces(line: str) -> list[str]:
    if len(line) <= LINE_LIMIT and line.count('"_index"') < 2:
        return [line]
    begins = [found.start() for found in _JSON_PACKET.finditer(line)]
    pieces: list[str] = []
    for start, end in zip([0, *begins], [*begins, len(line)], strict=True):
        at = start
        while end - at > LINE_LIMIT:
            # Between words, where there are any: a number in two halves could be two numbers.
            until = at + LINE_LIMIT
            blank = max(line.rfind(mark, until - _LOOK_BACK, until) for mark in " ,")
            until = blank + 1 or until
            pieces.append(line[at:until])
            at = until
        if at < end:
            pieces.append(line[at:end])
    return pieces or [""]


def _behind_log(line: str) -> int:
    """Where the line begins that a program printed; logs are also put into logs."""
    begin = 0
    for _ in range(_MOST_LOGS):
        logged = _LOGGED.match(line, begin)
        if logged is None:
            break
        begin = logged.end()
    return begin


def _is_ordinary(line: str) -> bool:
    """Whether it holds none of the characters of `_TYPOGRAPHY`: a quick look, as most lines do."""
    printable = line.isprintable() or line.replace("\t", "").isprintable()
    return printable and line.isascii() and "`" not in line


def _plain(line: str, quotes: int) -> tuple[str, int, int]:
    """The line without what word processors, mail and chat did to it.

    Also how many characters were taken from its front, and how many quotation marks those are;
    ``quotes`` is how many the line before had.
    """
    if "&" in line:
        line = html.unescape(html.unescape(line))
    if _ARROW in line:
        # Each row of tshark's has this one, and most have nothing else that is odd.
        line = line.replace(_ARROW, ">")
    if not _is_ordinary(line):
        line = without_blocks(line)
        for arrow in _MISREAD_ARROWS:
            line = line.replace(arrow, ">")
        line = line.replace("\n", " ").translate(_TYPOGRAPHY)
    if "</" in line or "<br" in line or "<pre" in line:
        line = _INLINE_TAGS.sub("", _TAGS.sub(" ", _CELLS.sub("\t", line)))
    if "\x1b" in line:
        line = _COLOURS.sub("", line)
    if "[0m" in line or "[m" in line:
        line = _LOST_COLOURS.sub("", line)
    if "](" in line:
        line = _LINKS.sub(lambda found: found[1], line)
    if "*" in line or may_be_masked(line):
        line = unmasked(line)
    if "\\" in line or "**" in line:
        line = _SPELLED_ARROWS.sub(">", line)
        line = _ESCAPES.sub(lambda found: found[1] or "", line)
    begin = _behind_log(line)
    quoted = _QUOTED.match(line, begin)
    removed = quoted.end() if quoted else begin
    marks = line.count(">", begin, removed) + line.count("|", begin, removed)
    if marks > quotes and _ONLY_WRAPPED.match(line, removed):
        # Wrapped in front of the receiver: the last arrow belongs to the packet.
        removed, marks = max(line.rfind(">", begin, removed), begin), quotes
    line = line[removed:]
    # The edge of a table, if there is one. No regular expression: they try each blank in turn.
    edge = line.rstrip(" |")
    return edge if "|" in line[len(edge) :] else line, removed, marks
