"""Rows of cells whose columns a line above them names: ``tshark -T fields``, exported CSV.

The names are those of ``-E header=y``, of a packet list's first line as Wireshark exports it, or
those in the command itself, if that was pasted too. The cells of a row are put back into what
other readers take: fields by Wireshark's names, or one line of a packet list.

Source: tshark's manual, ``-T fields`` and ``-E``; Wireshark's default titles of columns.
"""

from __future__ import annotations

import csv
import re
from typing import NamedTuple

from tlsprobe.captures.dissected_text import packet_of
from tlsprobe.captures.printed_packet import Printed, Unreadable
from tlsprobe.captures.printed_times import time_of
from tlsprobe.captures.text_lines import Line
from tlsprobe.captures.wireshark_line import Row, read_row

_FIELD = re.compile(r"_ws\.col\.[\w .]{1,40}|_ws\.[\w.]{1,60}|[a-z][\w-]{0,40}(?:\.[\w-]{1,60})+")
_COMMAND = re.compile(r"\bt(?:ermi|)shark\b.{0,2000}?-T ?fields\b|-T ?fields\b.{0,2000}? -e ")
_ASKED = re.compile(r" -e ?[\"']?([\w.]{2,80})")
_SEPARATED = re.compile(r"-E ?[\"']?separator=[\"']?(/[ts]|.)")
_SEPARATORS = "\t,;|"
_MOST = 60
"""Columns of a table that people paste."""

_TITLES = {
    **dict.fromkeys(("no.", "no", "number", "frame.number", "#"), "number"),
    **dict.fromkeys(("source", "src", "source address", "src ip", "def_src"), "src"),
    **dict.fromkeys(("destination", "dest", "dst", "destination address"), "dst"),
    **dict.fromkeys(("dst ip", "def_dst", "dest ip"), "dst"),
    **dict.fromkeys(("source port", "src port", "sport", "srcport", "tcp.srcport"), "sport"),
    **dict.fromkeys(("destination port", "dest port", "dst port", "dport", "dstport"), "dport"),
    "tcp.dstport": "dport",
    **dict.fromkeys(("protocol", "proto"), "protocol"),
    **dict.fromkeys(("length", "len", "packet_length", "frame.len", "size"), "size"),
    **dict.fromkeys(("info", "information"), "info"),
    **dict.fromkeys(("ip.src", "ipv6.src", "ip.src_host"), "src"),
    **dict.fromkeys(("ip.dst", "ipv6.dst", "ip.dst_host"), "dst"),
}
_CANONICAL = ("number", "time", "src", "sport", "dst", "dport", "protocol", "size", "info")
_NUMBERED = (
    {"tcp.seq", "tcp.seq_raw"},
    {"tcp.flags", "tcp.flags.str", "tcp.flags.reset"},
    {"tcp.len"},
)
"""Of each of these one field at least is what a packet without Info is read from."""


class Columns(NamedTuple):
    """The names of a table's columns, in order, and what stands between its cells."""

    names: tuple[str, ...]
    separator: str
    quoted: bool

    @property
    def _by_fields(self) -> bool:
        """Whether its packets are told by fields, not by the Info column."""
        return all(not known.isdisjoint(self.names) for known in _NUMBERED)

    def read(self, line: Line) -> Printed | Row | None:
        """The packet of a row, a line of a packet list, or None. Raises Unreadable.

        None is a row of another protocol, or no row at all: `is_row` tells them apart.
        """
        cells = self._cells(line)
        if self._by_fields:
            fields = self._named(cells)
            # An empty cell where every TCP segment has one: it is none.
            if not any(name in fields for name in self.names if name.startswith("tcp.")):
                return None
            return packet_of(fields)
        return read_row(self._as_list(cells))

    def is_row(self, line: Line) -> bool:
        """Whether a line looks like one of this table, readable or not."""
        cells = line.tabbed.split(self.separator if self.separator != " " else None)
        first = cells[0].strip(' "')
        return len(cells) >= min(3, len(self.names)) and bool(first) and first[0].isdigit()

    def _cells(self, line: Line) -> list[str]:
        text = line.tabbed
        if self.separator == " ":
            cells = text.split()
        elif self.quoted or '"' in text:
            cells = next(csv.reader([text.strip(" ")], delimiter=self.separator), [])
        else:
            cells = text.split(self.separator)
        least = len(self.names)
        if len(cells) > least and self.names[-1].lower().endswith("info"):
            # What Info says holds the separator, too.
            cells[least - 1 :] = [self.separator.join(cells[least - 1 :])]
        if len(cells) > least or (len(cells) < least and self.separator == " "):
            told = f"its {len(cells)} cells do not fit the {least} columns (`-E quote=d` keeps them"
            raise Unreadable(f"{told} apart)")
        return [cell.strip() for cell in cells] + [""] * (least - len(cells))

    def _named(self, cells: list[str]) -> dict[str, list[str]]:
        fields: dict[str, list[str]] = {}
        for name, cell in zip(self.names, cells, strict=True):
            if not cell:
                continue
            several = [cell] if name.startswith("frame.time") else cell.split(",")
            fields.setdefault(name, [value.strip() for value in several])
        if len(fields.get("ip.src", ())) > 1 and "frame.protocols" not in fields:
            raise Unreadable("it has several IP headers: `-e frame.protocols` tells of what")
        return fields

    def _as_list(self, cells: list[str]) -> str:
        """The cells in the order of a packet list, the time of the most absolute kind."""
        found: dict[str, str] = {}
        for name, cell in zip(self.names, cells, strict=True):
            title = name.lower().removeprefix("_ws.col.").strip()
            known = _TITLES.get(title)
            if title == "port":
                known = "dport" if "dst" in found else "sport"
            if known is None and (title.startswith(("time", "frame.time")) or time_of(cell)[0]):
                known = "time"
                if time_of(found.get("time", ""))[0] in {"epoch", "day"}:
                    continue
            if known is not None and (cell or known not in found):
                found[known] = cell
        if not found.get("protocol") and "sport" in found:
            found["protocol"] = "TCP"
        return "  ".join(found[name] for name in _CANONICAL if found.get(name))


def named_columns(line: Line) -> Columns | None:
    """The columns that a line names, None if it names none."""
    text = line.tabbed.strip()
    if len(text) > 4000:
        return None
    if "fields" in text and _COMMAND.search(text):
        asked = _ASKED.findall(text)
        given = _SEPARATED.search(text)
        separator = {"/t": "\t", "/s": " "}.get(given[1], given[1]) if given else "\t"
        return _columns(asked, separator, "quote=d" in text) if len(asked) >= 3 else None
    return _header(text)


def _header(text: str) -> Columns | None:
    first = _FIELD.match(text, text.startswith('"'))
    if first is None:
        return _exported(text)
    quoted = text.startswith('"')
    end = first.end() + quoted
    separator = text[end : end + 1] if end < len(text) else ""
    if not separator or separator.isalnum():
        return None
    if separator == " ":
        separator = "\t" if "\t" in text else " "
    names = text.split() if separator == " " else text.split(separator)
    names = [name.strip(' "') for name in names]
    if len(names) < 3 or not all(_FIELD.fullmatch(name) for name in names):
        return None
    return _columns(names, separator, quoted)


def _exported(text: str) -> Columns | None:
    """The first line of an exported packet list, if its cells can be told apart."""
    separator = next((mark for mark in _SEPARATORS if text.count(mark) >= 4), None)
    if separator is None:
        return None
    names = [name.strip(' "') for name in text.split(separator)]
    titles = [_TITLES.get(name.lower()) for name in names]
    if not {"src", "dst", "info"} <= set(titles):
        return None
    return _columns(names, separator, '"' in text)


def _columns(names: list[str], separator: str, quoted: bool) -> Columns | None:
    return Columns(tuple(names), separator, quoted) if len(names) <= _MOST else None
