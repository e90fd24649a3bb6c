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
from tlsprobe.captures.printed_values import nanoseconds, packed
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.model.trace import RecordKind
from tlsprobe.records.walk import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE

_WRAP = 1 << 32

_PACKET = re.compile(
    r"\s*(?:<packet>|\"_index\": \"|\{\"timestamp\":"
    r"|Frame (?P<number>\d{1,10}): \d{1,9} bytes? on wire)"
)
_PDML = re.compile(r"<field name=\"([\w.]{2,60})\".{0,400}? show=\"([^\"]{0,100})\"")
_JSON = re.compile(
    r"\"((?:ip|ipv6|tcp|tls|frame|icmp|icmpv6)[._][\w.]{2,80})\": ?"
    r"(?:\"([^\"]{0,100})\"|\[([^\[\]]{0,2000})\]|(true|false))"
)
_OPENS_LIST = re.compile(r"\s*\"([\w.]{2,80})\": \[\s*")
_ELEMENT = re.compile(r"\s*\"([^\"]{0,100})\",?\s*")
_VERBOSE = (
    ("frame.protocols", re.compile(r"\s+\[Protocols in frame: ([\w:.-]{1,200})\]")),
    ("frame.time_epoch", re.compile(r"\s+Epoch (?:Arrival )?Time: (\d{10}\.\d{1,9})")),
    ("ip.addr", re.compile(r"Internet Protocol Version [46], Src: (\S+?),? (?:\S+ )?Dst: (\S+)")),
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

_NEEDED = frozenset(
    {
        *(name for name, _ in _VERBOSE if name != "ip.addr"),
        *("frame.number", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ipv6.hlim", "icmpv6.type"),
    }
)
_BY_ELASTIC = {name.replace(".", "_"): name for name in _NEEDED}
_MOST_FIELDS = 400
"""Values kept of one packet; it has that many only if it holds very many records."""


def begins_packet(line: str) -> re.Match[str] | None:
    """Whether a dissected packet begins with this line."""
    return _PACKET.match(line)


class Dissected:
    """The fields of one packet; feed it the lines from where it begins to the next one."""

    def __init__(self, begins: re.Match[str]) -> None:
        self._fields: dict[str, list[str]] = {}
        self._kept = 0
        self._listed = ""
        if begins["number"]:
            self._keep("frame.number", begins["number"])

    def read(self, line: str) -> bool:
        """Whether the line names fields."""
        told = False
        if self._listed and (element := _ELEMENT.fullmatch(line)):
            self._keep(self._listed, element[1])
            return True
        opens = _OPENS_LIST.fullmatch(line)
        self._listed = opens[1] if opens else ""
        for name, value in _fields_of(line):
            self._keep(name, value)
            told = True
        return told or bool(self._listed)

    def packet(self) -> Printed | None:
        """The packet, None if it holds no TCP, or only the quotation of ICMP. Raises Unreadable."""
        fields = self._fields
        protocols = fields.get("frame.protocols", [""])[0].split(":")
        if "icmp.type" in fields or "icmpv6.type" in fields:
            return None
        if "tcp.srcport" not in fields and protocols != [""] and "tcp" not in protocols:
            return None
        return _printed(fields)

    def _keep(self, name: str, value: str) -> None:
        if self._kept >= _MOST_FIELDS or name not in _NEEDED:
            return
        values = self._fields.setdefault(name, [])
        # Of headers inside headers the innermost in front of TCP counts: that of a tunnel does not.
        if name.startswith(("ip.", "ipv6.")) and "tcp.srcport" not in self._fields:
            values.clear()
        values.append(value)
        self._kept += 1


def _fields_of(line: str) -> Iterator[tuple[str, str]]:
    """The fields that a line holds, by Wireshark's names."""
    if "<field " in line:
        yield from _PDML.findall(line)
    elif '": "' in line or '":"' in line:
        for name, one, several, truth in _JSON.findall(line):
            # Elasticsearch's names have the protocol in front and no dots: tcp_tcp_seq_raw.
            known = _BY_ELASTIC.get(name.partition("_")[2])
            for value in several.split(",") if several else (one or truth,):
                yield (name if "." in name else known or name), value.strip().strip('"')
    elif line[:1] in " I\t":
        for name, form in _VERBOSE:
            if found := form.match(line):
                if name == "ip.addr":
                    yield from (("ip.src", found[1].rstrip(",")), ("ip.dst", found[2]))
                else:
                    yield name, found[1]
                return


def _printed(every: dict[str, list[str]]) -> Printed:
    first = {name: values[0] for name, values in every.items()}
    source, target = _host(first, "src"), _host(first, "dst")
    ports = _number(first, "tcp.srcport"), _number(first, "tcp.dstport")
    seq = _number(first, "tcp.seq_raw", "tcp.seq")
    flags, length = _number(first, "tcp.flags"), _number(first, "tcp.len")
    if source is None or target is None or ports[0] is None or ports[1] is None:
        raise Unreadable("the packet's addresses or ports are not there")
    if seq is None or flags is None or length is None:
        names = [name for name in ("tcp.seq", "tcp.flags", "tcp.len") if name not in first]
        raise Unreadable(f"the packet has no {' and no '.join(names)}")
    ack = _number(first, "tcp.ack_raw" if "tcp.seq_raw" in first else "tcp.ack")
    clock, time_ns = _time(first)
    return Printed(
        number=_number(first, "frame.number") or 0,
        clock=clock,
        time_ns=time_ns,
        src=(source, ports[0]),
        dst=(target, ports[1]),
        seq=seq,
        ack=ack if flags & 0x10 else None,
        flags=flags & 0xFF,
        window=(_number(first, "tcp.window_size_value") or 0) & 0xFFFF,
        length=length,
        ttl=_number(first, "ip.ttl", "ipv6.hlim"),
        ip_id=_number(first, "ip.id"),
        df=_is_set(first.get("ip.flags.df")),
        timestamps="tcp.options.timestamp.tsval" in first,
        window_scale=_number(first, "tcp.options.wscale.shift"),
        interface="",
        carries=_carried(every),
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
    return packed(first.get(f"ip.{end}") or first.get(f"ipv6.{end}") or "")


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
    whole, _, fraction = first.get("frame.time_epoch", "").partition(".")
    if not whole.isdigit() or not fraction.isdigit() or len(whole) > 10:
        return None, 0
    return "epoch", nanoseconds(whole, fraction)
