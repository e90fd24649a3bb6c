"""Packets as Wireshark and tshark print them in full: ``-V``, ``-T pdml``, ``-T json``, ``-T ek``.

All four name each field of each protocol; only how a field is written differs. So a line is turned
into names and values, and what a packet needs is picked from them. Nothing else is read of the
document: it may be cut off, quoted, or stand between prose.

Source: tshark's manual; Wireshark's names of fields (packet-ip.c, packet-tcp.c, packet-tls.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tlsprobe.captures.printed_packet import Printed, Unreadable
from tlsprobe.captures.printed_times import time_of
from tlsprobe.captures.printed_values import packed
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.model.trace import RecordKind
from tlsprobe.packets.packet import named
from tlsprobe.records.walk import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE

_WRAP = 1 << 32
_RST, _ACK = 0x04, 0x10

_PACKET = re.compile(
    r"\s*(?:<packet>|(?:\{\s{0,8})?\"_index\"\s{0,8}:\s{0,8}\"|\{\"timestamp\":\s{0,8}\"\d{10,16}\"|\{\"frame\":\s{0,8}\{\"frame\."
    r"|Frame (?P<number>\d{1,10}): \d{1,9} bytes? on wire)"
)
_NAME = re.compile(r"[\w.-]{0,60}[A-Za-z][\w.-]{0,60}")
_PDML = re.compile(r"<field name=\"([\w.]{2,60})\"(?: value|.{0,400}? show)=\"([^\"]{0,100})\"")
_JSON = re.compile(
    r"\"((?:ip|ipv6|tcp|tls|frame|icmp|icmpv6)[._][\w.]{2,80})\": ?"
    r"(?:\"([^\"]{0,100})\"|\[([^\[\]]{0,2000})\]|(true|false))"
)
_OPENS_LIST = re.compile(r"\s*\"([\w.]{2,80})\": \[\s*")
_BARE_NUMBER = re.compile(r",\s*\d")
_ELEMENT = re.compile(r"\s*\"([^\"]{0,100})\",?\s*")
_VERBOSE = (
    ("frame.protocols", re.compile(r"\s+\[Protocols in frame: ([\w:.-]{1,200})\]")),
    ("frame.time_epoch", re.compile(r"\s+Epoch (?:Arrival )?Time: (\d{10}\.\d{1,9})")),
    (
        "ip.addr",
        re.compile(r"\s{0,40}Internet Protocol Version [46], Src: (\S+?),? (?:\S+ )?Dst: (\S+)"),
    ),
    ("ip.ttl", re.compile(r"\s+(?:Time to Live|Hop Limit): (\d+)")),
    ("ip.id", re.compile(r"\s+Identification: (0x[0-9a-f]+)")),
    ("ip.flags.df", re.compile(r"\s+[.\d]{4}(?: [.\d]{4})? = Don't fragment: (Set|Not set)")),
    ("tcp.srcport", re.compile(r"\s+Source Port: (\d+)")),
    ("tcp.dstport", re.compile(r"\s+Destination Port: (\d+)")),
    ("tcp.len", re.compile(r"\s+\[TCP Segment Len: (\d+)\]")),
    ("tcp.seq_raw", re.compile(r"\s+Sequence Number \(raw\): (\d+)", re.IGNORECASE)),
    ("tcp.seq", re.compile(r"\s+Sequence Number: (\d+)", re.IGNORECASE)),
    ("tcp.ack_raw", re.compile(r"\s+Acknowledgment Number \(raw\): (\d+)", re.IGNORECASE)),
    ("tcp.ack", re.compile(r"\s+Acknowledgment Number: (\d+)", re.IGNORECASE)),
    ("tcp.flags", re.compile(r"\s+Flags: (0x[0-9a-f]{3,4}) \(")),
    ("tcp.window_size_value", re.compile(r"\s+Window(?: size value)?: (\d+)")),
    ("tcp.options.timestamp.tsval", re.compile(r"\s+Timestamp value: (\d+)")),
    ("tcp.options.wscale.shift", re.compile(r"\s+Shift count: (\d+)")),
    ("tls.record.content_type", re.compile(r"\s+(?:Opaque|Content) Type: .{1,40} \((\d{1,3})\)")),
    ("tls.alert_message.level", re.compile(r"\s+Level: \w+ \((\d+)\)")),
    ("tls.alert_message.desc", re.compile(r"\s+Description: .{1,60} \((\d{1,3})\)")),
    ("icmp.type", re.compile(r"Internet Control Message Protocol(?: v6)?(\s*)$")),
)

_FOLDED = re.compile(
    r"\s{0,40}Transmission Control Protocol, Src Port: (?P<srcport>[^,]{1,60}),"
    r" Dst Port: (?P<dstport>[^,]{1,60}), Seq: (?P<seq>\d+)(?:, Ack: (?P<ack>\d+))?"
    r"(?:, Len: (?P<len>\d+))?"
)
"""TCP's own line, which is all that is shown of it where it is folded."""
_PORT = re.compile(r"(?:[^()]* \()?(\d{1,5})\)?")
"""``443``, or ``https (443)``."""

_FLAGS = dict(_VERBOSE)["tcp.flags"]
_FLAG_NAMES = {"fin": 0x01, "syn": 0x02, "reset": 0x04, "push": 0x08, "ack": 0x10, "urg": 0x20}
_FLAG_LETTERS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20}

_NEEDED = frozenset(
    {
        *(name for name, _ in _VERBOSE if name != "ip.addr"),
        *("frame.number", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ipv6.hlim", "icmpv6.type"),
        *("frame.time", "frame.time_relative", "frame.time_delta", "tcp.flags.str", "tcp.port"),
        *("tcp.window_size", *(f"tcp.flags.{name}" for name in _FLAG_NAMES)),
    }
)
_BY_ELASTIC = {name.replace(".", "_"): name for name in _NEEDED}
_MOST_FIELDS = 400
"""Values kept of one packet; it has that many only if it holds very many records."""


def tells_flags(line: str) -> bool:
    """Whether TCP's flags stand there, which a packet whose protocols are folded does not show."""
    return "Flags: 0x" in line and _FLAGS.match(line) is not None


def begins_packet(line: str) -> re.Match[str] | None:
    """Whether a dissected packet begins with this line."""
    return _PACKET.match(line)


class Dissected:
    """The fields of one packet; feed it the lines from where it begins to the next one.

    ``number`` is the frame's, 0 where it is not told at once.
    """

    def __init__(self, begins: re.Match[str]) -> None:
        self._fields: dict[str, list[str]] = {}
        self._kept = 0
        self._listed = ""
        self.number = int(begins["number"] or 0)
        if begins["number"]:
            self._keep("frame.number", begins["number"])

    def read(self, line: str) -> bool:
        """Whether the line names fields."""
        told = False
        if self._listed and (element := _ELEMENT.fullmatch(line)):
            self._keep(self._listed, element[1])
            return True
        opens = _OPENS_LIST.fullmatch(line)
        if self._listed in self._fields and _BARE_NUMBER.match("," + line):
            self._forget(self._listed)
        self._listed = opens[1] if opens else ""
        for name, value in _fields_of(line):
            self._keep(name, value)
            told = True
        return told or bool(self._listed)

    def packet(self) -> Printed | None:
        """The packet, None if it holds no TCP, or only the quotation of ICMP. Raises Unreadable."""
        return packet_of(self._fields)

    def _forget(self, name: str) -> None:
        """The latest value was the bytes of the field; their place follows."""
        self._fields[name].pop()
        if not self._fields[name]:
            del self._fields[name]

    def _keep(self, name: str, value: str) -> None:
        if self._kept >= _MOST_FIELDS or name not in _NEEDED:
            return
        values = self._fields.setdefault(name, [])
        # Of headers inside headers the innermost in front of TCP counts: that of a tunnel does not.
        if name.startswith(("ip.", "ipv6.")) and "tcp.srcport" not in self._fields:
            values.clear()
        values.append(value)
        self._kept += 1


def packet_of(fields: dict[str, list[str]]) -> Printed | None:
    """The packet of fields by Wireshark's names, None if it is not TCP, or only quoted by ICMP.

    Raises Unreadable.
    """
    protocols = fields.get("frame.protocols", [""])[0].split(":")
    if "icmp.type" in fields or "icmpv6.type" in fields or {"icmp", "icmpv6"} & set(protocols):
        return None
    if "tcp.srcport" not in fields and "tcp" not in protocols != [""]:
        return None
    return _printed(fields)


def _fields_of(line: str) -> Iterator[tuple[str, str]]:
    """The fields that a line holds, by Wireshark's names."""
    if "<field " in line:
        yield from _PDML.findall(line)
    elif '": "' in line or '":"' in line:
        for name, one, several, truth in _JSON.findall(line):
            if several and _BARE_NUMBER.search(several):
                continue  # the bytes of a field and their place, as ``-x`` adds them
            # Elasticsearch's names have the protocol in front and no dots: tcp_tcp_seq_raw.
            known = _BY_ELASTIC.get(name.partition("_")[2]) or _BY_ELASTIC.get(name)
            for value in several.split(",") if several else (one or truth,):
                yield (name if "." in name else known or name), value.strip().strip('"')
    elif folded := _FOLDED.match(line):
        yield from _told_in_short(folded)
    elif line[:1] in " I\t":
        for name, form in _VERBOSE:
            if found := form.match(line):
                if name == "ip.addr":
                    yield from (("ip.src", found[1].rstrip(",")), ("ip.dst", found[2]))
                else:
                    yield name, found[1]
                return


def _told_in_short(folded: re.Match[str]) -> Iterator[tuple[str, str]]:
    """What TCP's own line tells of its fields."""
    for name, value in folded.groupdict().items():
        port = _PORT.fullmatch(value or "")
        if port is not None:
            yield f"tcp.{name}", port[1]


def _printed(every: dict[str, list[str]]) -> Printed:
    first = {name: values[0] for name, values in every.items()}
    source, target = _host(first, "src"), _host(first, "dst")
    ports = _ports(every)
    seq = _number(first, "tcp.seq_raw", "tcp.seq")
    flags, length = _flags(first), _number(first, "tcp.len")
    if source is None or target is None or ports[0] is None or ports[1] is None:
        raise Unreadable("the packet's addresses or ports are not there")
    if seq is None or flags is None or length is None:
        told = {"tcp.seq": seq, "tcp.flags": flags, "tcp.len": length}
        names = [name for name, number in told.items() if number is None]
        raise Unreadable(f"the packet has no {' and no '.join(names)}")
    ack = _number(first, "tcp.ack_raw" if "tcp.seq_raw" in first else "tcp.ack")
    if flags & _ACK and ack is None:
        raise Unreadable("an acknowledgement is announced and not there")
    clock, time_ns = _time(first)
    window = _number(first, "tcp.window_size_value", "tcp.window_size")
    in_full = window is not None and not {"ip.ttl", "ipv6.hlim"}.isdisjoint(first)
    return Printed(
        number=_number(first, "frame.number") or 0,
        clock=clock,
        time_ns=time_ns,
        src=(source, ports[0]),
        dst=(target, ports[1]),
        seq=seq,
        ack=ack if flags & _ACK else None,
        flags=flags & 0xFF,
        window=_window(window, flags),
        length=length,
        ttl=_number(first, "ip.ttl", "ipv6.hlim"),
        ip_id=_number(first, "ip.id"),
        df=_is_set(first.get("ip.flags.df")),
        timestamps="tcp.options.timestamp.tsval" in first or (False if in_full else None),
        window_scale=_number(first, "tcp.options.wscale.shift"),
        interface="",
        carries=_carried(every),
        lacking=window is None and bool(flags & _RST),
    )


def _carried(every: dict[str, list[str]]) -> Carried | None:
    kinds = [int(kind) for kind in every.get("tls.record.content_type", ()) if kind.isdigit()]
    if not kinds:
        return None
    if kinds[-1] == ALERT:
        told = [every.get(f"tls.alert_message.{part}", [""])[-1] for part in ("level", "desc")]
        alert = (int(told[0]), int(told[1])) if all(map(str.isdigit, told)) else None
        return Carried(RecordKind.ALERT, alert, behind=APPLICATION_DATA in kinds)
    if kinds[0] in {HANDSHAKE, CHANGE_CIPHER_SPEC}:
        return Carried(RecordKind.HANDSHAKE)
    return Carried(RecordKind.DATA) if APPLICATION_DATA in kinds else None


def _host(first: dict[str, str], end: str) -> bytes | None:
    """The address, or the name that stands in its place."""
    word = first.get(f"ip.{end}") or first.get(f"ipv6.{end}") or ""
    address = packed(word)
    return named(word) if address is None and _NAME.fullmatch(word) else address


def _number(first: dict[str, str], *names: str) -> int | None:
    for name in names:
        try:
            number = int(first[name], 0) if name in first else None
        except ValueError:
            raise Unreadable(f"{name} is no number: {first[name][:20]!r}") from None
        if number is not None:
            if not 0 <= number < _WRAP:
                raise Unreadable(f"{name} is too large")
            return number
    return None


def _is_set(value: str | None) -> bool | None:
    return None if value is None else value.lower() in {"1", "true", "set"}


def _time(first: dict[str, str]) -> tuple[str | None, int]:
    for name in ("frame.time_epoch", "frame.time", "frame.time_relative", "frame.time_delta"):
        clock, time_ns = time_of(first.get(name, ""))
        if clock is not None:
            return clock, time_ns
    return None, 0


def _window(told: int | None, flags: int) -> int:
    """Without a word of it, what an ordinary segment has: 0 in an RST that answers a segment."""
    if told is None:
        return 0 if flags & (_RST | _ACK) == _RST else 0xFFFF
    return min(told, 0xFFFF)


def _ports(every: dict[str, list[str]]) -> tuple[int | None, int | None]:
    both = every.get("tcp.port", ())
    first = {name: values[0] for name, values in every.items() if values}
    if "tcp.srcport" not in first and len(both) == 2:
        first |= {"tcp.srcport": both[0], "tcp.dstport": both[1]}
    return _number(first, "tcp.srcport"), _number(first, "tcp.dstport")


def _flags(first: dict[str, str]) -> int | None:
    """The flags as a number, as letters, or one by one."""
    if "tcp.flags" in first:
        return _number(first, "tcp.flags")
    letters = first.get("tcp.flags.str")
    if letters is not None:
        return sum(_FLAG_LETTERS.get(letter, 0) for letter in set(letters))
    if not all(f"tcp.flags.{name}" in first for name in ("fin", "syn", "reset", "ack")):
        return None
    return sum(bit for name, bit in _FLAG_NAMES.items() if _is_set(first.get(f"tcp.flags.{name}")))
