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
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from tlsprobe.captures.printed_packet import Unreadable
from tlsprobe.captures.printed_values import clock_time, nanoseconds, packed, port_of
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
_REMARKS = re.compile(r"(?: {0,3}\[[^\]]{1,80}\])+ {0,3}$")
_NUMBERS = re.compile(r"\b(Ack|Win|Len|WS)=(\d{1,11})(?!\d)", re.IGNORECASE)
_TIMESTAMPS = re.compile(r"\bTS(?:val|ecr|V|ER)=", re.IGNORECASE)
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?:Z|[+-]\d\d:?\d\d)?(?: (?:[+-]\d{4}|UTC|GMT|BST|WES?T|CES?T|EES?T|MSK|[IJK]ST|[ECMP][SD]T)"
    r"(?= ))?"
)
_DATE = (
    r"(?:(?P<year>\d{4})[-/.](?P<month>\d\d)[-/.](?P<day>\d\d)[ T,]{1,2}"
    r"|(?P<name>[A-Z][a-z]{2}) {1,2}(?P<of_month>\d{1,2}), {0,2}(?P<in_year>\d{4}) {1,2})?"
)
_FRONT = re.compile(
    r" {0,20}(?:(?P<number>\d{1,10})(?= ) {1,20})?"
    rf"(?:(?P<clock>{_DATE}{_CLOCK})(?= )"
    r"|(?P<seconds>-?\d{1,10}[.,]\d{1,9})(?: ?s)?(?= )|\*REF\*(?= ))?"
    r" {0,20}"
)
_HOST = r"[\w.:%\[\]-]{1,100}"
_ENDS = re.compile(
    rf"(?P<src>{_HOST}) {{1,40}}(?:(?P<sport>\d{{1,5}}) {{1,40}})?(?:-?> {{1,40}})?"
    rf"(?P<dst>{_HOST}) {{1,40}}(?:(?P<dport>\d{{1,5}}) {{1,40}})?"
    r"(?P<protocol>(?:\d{0,4}[A-Za-z][\w./-]{1,24}|802\.11))"
    r"(?: {1,40}(?P<size>\d{1,6}))?(?P<info> .*| *$)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
    found = _TCP.search(line)
    columns = line[: found.start()] if found else line
    if found:
        columns = _REMARKS.sub(" ", columns)
        if len(columns) > _MOST_COLUMNS:
            return None
    front = _FRONT.match(columns)
    ends = _ENDS.match(columns, front.end()) if front else None
    if front is None or ends is None:
        if found:
            raise Unreadable("no source and destination stand before the ports")
        return None
    numbers = _tcp(found) if found else None
    clock, time_ns = _time(front)
    ports = (int(ends["sport"]), int(ends["dport"])) if ends["sport"] and ends["dport"] else None
    return Row(
        int(front["number"]) if front["number"] else None,
        clock,
        time_ns,
        _host(ends["src"]),
        _host(ends["dst"]),
        ports if ports is None or max(ports) < 1 << 16 else None,
        ends["protocol"],
        int(ends["size"]) if ends["size"] else None,
        line[found.start() :] if found else ends["info"].strip(),
        numbers,
    )


def _joined(line: str) -> str:
    """The cells of CSV or of a Markdown table with blanks between them."""
    if line.count('","') >= 3:
        cells = next(csv.reader([line.strip()]), [])
        return "  ".join(cell.strip() for cell in cells)
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


def _time(front: re.Match[str]) -> tuple[str | None, int]:
    if front["seconds"]:
        whole, _, fraction = front["seconds"].replace(",", ".").partition(".")
        if whole.startswith("-"):
            return "start", 0
        return ("epoch" if len(whole) == 10 else "start"), nanoseconds(whole, fraction)
    if not front["clock"]:
        return None, 0
    fraction = front["fraction"] or "0"
    return clock_time(front["hour"], front["minute"], front["second"], fraction, _date(front))


def _date(front: re.Match[str]) -> datetime | None:
    try:
        if front["year"]:
            parts = [int(front[name]) for name in ("year", "month", "day")]
        elif front["name"] in _MONTHS:
            month = _MONTHS.index(front["name"]) + 1
            parts = [int(front["in_year"]), month, int(front["of_month"])]
        else:
            return None
        return datetime(parts[0], parts[1], parts[2], tzinfo=UTC)
    except ValueError:
        return None
