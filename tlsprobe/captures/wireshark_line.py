"""One line of a packet list as Wireshark and tshark print it: columns, and what Info says.

Plain text, CSV and Markdown tables all come down to the same columns: perhaps a number and a time,
source and destination, perhaps ports, the protocol, the frame's length, and Info. Of a line whose
protocol is TCP, Info holds the numbers; of another protocol's line it names what was carried.

Source: Wireshark's packet-tcp.c (``dissect_tcp``, the Info column), packet-tls.c, and the lines
that people paste.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from typing import NamedTuple

from tlsprobe.captures.printed_packet import Unreadable
from tlsprobe.captures.printed_times import TIME, time_of_match
from tlsprobe.captures.printed_values import packed, port_of
from tlsprobe.packets.packet import named

_WRAP = 1 << 32
_MOST_COLUMNS = 400
"""Characters before Info: what stands further in is no packet list."""

_FLAGS = {
    **{"FIN": 0x01, "SYN": 0x02, "RST": 0x04, "PSH": 0x08, "ACK": 0x10, "URG": 0x20},
    **{"ECE": 0x40, "ECN": 0x40, "CWR": 0x80, "NS": 0, "AE": 0, "ACE": 0, "RESERVED": 0},
    "<NONE>": 0,
}
_PORT = r"[A-Za-z0-9][\w.+-]{0,40}(?:\(\d{1,5}\))?"
_TCP = re.compile(
    rf"(?<![\w.])(?P<sport>{_PORT}) {{0,3}}-?> {{0,3}}(?P<dport>{_PORT}) {{1,3}}"
    r"\[(?P<flags>(?:<None>|[A-Z]{2,8})(?:, ?[A-Z]{2,8}){0,8})\] {1,3}"
    r"(?:\[[^\]]{1,80}\] {0,3})*Seq=(?P<seq>\d{1,11})(?!\d)(?P<rest>.{0,600})",
    re.IGNORECASE,
)
_LOST_ARROW = re.compile(r" {1,3}(?:\?|\ufffd{1,3}) {1,3}(?=[\w.:%-]{1,100} )")
"""What an encoding that has no arrow, or is not the one it was read in, leaves of it."""
_REMARKS = re.compile(r"(?: {0,3}\[[^\]]{1,80}\])+ {0,3}$")
_NUMBERS = re.compile(r"\b(Ack|Win|Len|WS)=(\d{1,11})(?!\d)", re.IGNORECASE)
_TIMESTAMPS = re.compile(r"\bTS(?:val|ecr|V|ER)=", re.IGNORECASE)
_NUMBER = re.compile(r" {0,20}(?:(\d{1,10})(?= ) {1,20})?")
_STREAM = re.compile(r"\d{1,7} {1,20}")
_WORDS = re.compile(r"\[[^\]]{0,80}\]|\S+")
_NUMBER_OR_REMARK = re.compile(r"[A-Za-z_]{2,12}=\w+|SACK_PERM|\[[^\]]{0,80}\]")
_QUOTED_CELLS = ('","', '";"')
_PLAIN_CELLS = re.compile(
    r" {0,8}\d{1,10}(?:,(?:[^;,]{1,100},){4}(?:\d{1,6},)?|;(?:[^;]{1,100};){4}(?:\d{1,6};)?)"
)
"""The first cells of a line of CSV without quotation marks: number, time, both ends, protocol.

Who has a comma in decimals has a semicolon between cells.
"""
_BLANKS = re.compile(r" {0,20}")
_MOST_TIMES = 4
_BOTH_HOSTS = 2
_HOST = r"[\w.:%\[\]-]{1,100}"
_ENDS = re.compile(
    rf"(?P<src>{_HOST}) {{1,40}}(?:(?P<sport>\d{{1,5}}) {{1,40}})?(?:-?> {{1,40}})?"
    rf"(?P<dst>{_HOST}) {{1,40}}(?:(?P<dport>\d{{1,5}}) {{1,40}})?"
    r"(?P<protocol>(?:\d{0,4}[A-Za-z][\w./-]{1,24}|802\.11))"
    r"(?: {1,40}(?P<size>\d{1,6}))?(?P<info> .*| *$)"
)


_WORD = r"(?!\d+(?: |$))[\w.:%-]{1,100}"
_SOURCE = re.compile(
    rf"({_WORD})(?: {{1,40}}(?:\d{{1,5}} {{1,40}})?(?:-?> {{1,40}})?{_WORD}(?: |$)|(?<=[\da-f]) *$)"
)
_OF_TCPDUMP = frozenset({"IP", "IP6", "ARP,", "In", "Out"})
_ABSOLUTE = frozenset({"epoch", "day"})


class TcpNumbers(NamedTuple):
    """What Info tells of a TCP segment; None where the line was cut off before it."""

    sport: int
    dport: int
    flags: int
    seq: int
    ack: int | None
    window: int | None
    length: int | None
    timestamps: bool
    window_scale: int | None
    plain: bool


class Row(NamedTuple):
    """One line of a packet list.

    ``number`` is the frame's own, if there is such a column. ``clock`` says what ``time_ns``
    counts from: "epoch", "day" (midnight), "start" (the first frame, or the frame before), None
    without a time. ``size`` is that of the frame in bytes, if the column is there. ``ports`` are
    from columns. ``tcp`` holds the segment's numbers where Info tells them.
    """

    number: int | None
    clock: str | None
    time_ns: int
    src: bytes
    dst: bytes
    ports: tuple[int, int] | None
    protocol: str
    size: int | None
    info: str
    tcp: TcpNumbers | None


def read_row(line: str) -> Row | None:
    """The packet that a line of plain text tells, None if it is no line of a packet list.

    The line has one kind of blank and of arrow. Raises Unreadable for a TCP segment that lacks
    what it needs.
    """
    line = _joined(line)
    if "=" in line and ("?" in line or "\ufffd" in line) and ">" not in line:
        line = _LOST_ARROW.sub(" > ", line)
    # Nearly all lines of a text that are none of TCP have no equals sign, or no arrow.
    found = _TCP.search(line) if "=" in line and ">" in line else None
    columns = line[: found.start()] if found else line
    if found:
        columns = _REMARKS.sub(" ", columns)
        if len(columns) > _MOST_COLUMNS:
            return None
    counted, times, at = _before_ends(columns)
    ends = _ends(columns, at)
    if ends is None:
        if found:
            raise Unreadable("no source and destination stand before the ports")
        return None
    front = _told(counted, times, at)
    numbers = _tcp(found) if found else None
    ports = (int(ends["sport"]), int(ends["dport"])) if ends["sport"] and ends["dport"] else None
    return Row(
        front.number,
        front.clock,
        front.time_ns,
        _host(ends["src"]),
        _host(ends["dst"]),
        ports if ports is None or max(ports) < 1 << 16 else None,
        ends["protocol"],
        int(ends["size"]) if ends["size"] else None,
        line[found.start() :] if found else ends["info"].strip(),
        numbers,
    )


class _Front(NamedTuple):
    """What stands in front of the source, and where that begins."""

    number: int | None
    clock: str | None
    time_ns: int
    end: int


def _before_ends(columns: str) -> tuple[re.Match[str] | None, list[re.Match[str]], int]:
    """The number, the times, and where they end, without a look at what they say."""
    counted = _NUMBER.match(columns)
    at = counted.end() if counted else 0
    times: list[re.Match[str]] = []
    for _ in range(_MOST_TIMES):
        found = TIME.match(columns, at)
        if found is None:
            break
        times.append(found)
        blanks = _BLANKS.match(columns, found.end())
        at = blanks.end() if blanks else found.end()
    return counted, times, at


def _told(counted: re.Match[str] | None, times: list[re.Match[str]], end: int) -> _Front:
    """What they say; of several columns of time the one that tells most."""
    clock: str | None = None
    time_ns = 0
    for found in times:
        told = time_of_match(found)
        if clock is None or (told[0] in _ABSOLUTE and clock not in _ABSOLUTE):
            clock, time_ns = told
    number = int(counted[1]) if counted and counted[1] else None
    return _Front(number, clock, time_ns, end)


def _ends(columns: str, at: int) -> re.Match[str] | None:
    """Source and destination; perhaps behind a column with the number of the connection."""
    ends = _ENDS.match(columns, at)
    if ends is None and (stream := _STREAM.match(columns, at)):
        ends = _ENDS.match(columns, stream.end())
    return ends


def begins_row(line: str) -> bool:
    """Whether a line begins as one of a packet list does: number or time, and a source."""
    front = _told(*_before_ends(line))
    source = _SOURCE.match(line, front.end)
    if source is None or (front.number is None and front.clock is None):
        return False
    return source[1] not in _OF_TCPDUMP


def is_cut_off(line: str) -> bool:
    """Whether a line has a packet's number and time, and ends with its hosts or before them."""
    front = _told(*_before_ends(line))
    if front.number is None or front.clock is None:
        return False
    return 1 <= len(line[front.end :].split(maxsplit=3)) <= _BOTH_HOSTS


def is_clean(line: str, until: int) -> bool:
    """Whether no word of a TCP segment's line that begins before ``until`` is broken or too much.

    The line is one that `read_row` reads.
    """
    found = _TCP.search(line)
    if found is None:
        return False
    columns = _REMARKS.sub(" ", line[: found.start()])
    ends = _ends(columns, _before_ends(columns)[2])
    if ends is None or ends["protocol"] != "TCP" or ends["info"].strip():
        return False
    if bool(ends["sport"]) is not bool(ends["dport"]):
        return False
    if not all(_is_host(ends[end]) for end in ("src", "dst")):
        return False
    rest, start = found["rest"], found.start("rest")
    if rest and not rest.startswith(" "):
        return False
    words = _WORDS.finditer(rest)
    return all(_NUMBER_OR_REMARK.fullmatch(w[0]) for w in words if start + w.start() <= until)


def _is_host(word: str) -> bool:
    """Whether a word that looks like an address is one."""
    looks = not word.strip("0123456789.") or ":" in word
    return not looks or packed(word.strip("[]").partition("%")[0]) is not None


def _joined(line: str) -> str:
    """The cells of CSV or of a Markdown table with blanks between them."""
    for mark in _QUOTED_CELLS:
        if line.count(mark) >= 3:
            cells = next(csv.reader([line.strip()], delimiter=mark[1]), [])
            return "  ".join(cell.strip() for cell in cells)
    if plain := _PLAIN_CELLS.match(line):
        return "  ".join([*plain[0].split(plain[0][-1])[:-1], line[plain.end() :]])
    return line.replace("|", " ") if line.count("|") >= 3 else line


def _tcp(found: re.Match[str]) -> TcpNumbers:
    if _TCP.search(found["rest"]):
        raise Unreadable("more than one packet stands in this line")
    sport, dport = _port(found["sport"]), _port(found["dport"])
    flags = 0
    for word in found["flags"].split(","):
        bit = _FLAGS.get(word.strip().upper())
        if bit is None:
            raise Unreadable(f"there is no flag {word.strip()!r}")
        flags |= bit
    rest = found["rest"]
    told: dict[str, int] = {}
    for name, digits in _NUMBERS.findall(rest):
        told.setdefault(name.lower(), int(digits))
    seq = int(found["seq"])
    if max(seq, told.get("ack", 0)) >= _WRAP:
        raise Unreadable("a number is too large")
    ack = told.get("ack") if flags & 0x10 else None
    if flags & 0x10 and ack is None:
        raise Unreadable("an acknowledgement is announced and not there")
    shift = told["ws"].bit_length() - 1 if told.get("ws") else None
    return TcpNumbers(
        sport,
        dport,
        flags,
        seq,
        ack,
        told.get("win"),
        told.get("len"),
        bool(_TIMESTAMPS.search(rest)),
        shift if flags & 0x02 else None,
        "SLE=" not in rest,
    )


@lru_cache(maxsize=1024)
def _port(word: str) -> int:
    name, _, number = word.partition("(")
    port = port_of(number.rstrip(")") or name)
    if port is None:
        raise Unreadable(f"{word!r} is no port that is known here (print numbers, not names)")
    return port


@lru_cache(maxsize=4096)
def _host(word: str) -> bytes:
    address = packed(word.strip("[]"))
    return named(word) if address is None else address
