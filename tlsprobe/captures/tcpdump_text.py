"""Reads what tcpdump printed, as it is pasted in real life.

Nothing is expected of the lines: they may be wrapped, quoted, numbered, joined, or stand between
prose. What is looked for is the part that every TCP packet has, ``Flags [...]``; two endpoints
stand in front of it, the numbers behind it, and the time before all that. A packet counts as read
only if all its numbers stand there and agree: a wrap in the middle of a number is mended if the
result is consistent, and nothing else is. What looks like a packet and cannot be read is counted,
and the first such place is kept.

`tlsprobe.captures.text_scales` tells what the numbers count from.

Source: tcpdump's print-tcp.c, print-ip.c, print-ip6.c, util-print.c, and its manual.
"""

from __future__ import annotations

import codecs
import html
import re
import socket
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from tlsprobe.packets.packet import Endpoint, named

LINE_LIMIT = 1 << 16
"""Longer lines are cut there, like any other wrapped line."""
_WINDOW = 1 << 17
_HELD_BACK = 4096
"""A packet with all its options is shorter, however it is wrapped."""
_BEFORE = 800
_EXCERPT = 60
_SECOND = 10**9
_DAY = 86400 * _SECOND
_WRAP = 1 << 32
_GLUED = 8
_AFTER = 2000

_FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80}
_IGNORED_FLAGS = {"e"}
_SYN_FIN_RST, _ACK = 0x07, 0x10

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
_TABLE_EDGE = re.compile(r" *\|[ |]*$")

_TOKEN = r"[\w.:%\[\]-]{3,100}"
_FLAGS_WORD = r"F\n?l\n?a\n?g\n?s?\s{0,3}\["
_ANCHOR = re.compile(
    rf"(?P<flags>{_FLAGS_WORD})"
    rf"|(?P<other>(?:\bIP6?\s{{1,3}}|, length \d+: )(?P<src>{_TOKEN})\s{{0,3}}>\s{{0,3}}"
    rf"(?P<dst>{_TOKEN})\s{{0,3}}:(?!\s{{0,80}}{_FLAGS_WORD})\s)"
    r"|(?P<arp>\bARP, (?:Request|Reply|Ethernet))"
)
_HEADER = re.compile(
    rf"(?P<src>{_TOKEN})\s{{0,80}}(?:>\s{{0,80}}){{1,3}}(?P<dst>{_TOKEN})\s{{0,80}}$"
)
_FLAG_LIST = re.compile(r"\s*(none|[A-Za-z.\s]{1,16}?)\s*\]")
_FIELD = re.compile(
    r"\s*[,;]?\s*(?:"
    r"cksum\s*0x[0-9a-f]+\s*\((?:correct|incorrect[^)]{0,60})\)"
    r"|\[(?:tcp\s+sum\s+ok|bad[^\]]{0,60}|bad\s+tcp\s+cksum[^\]]{0,60})\]"
    r"|seq\s*(?P<seq>\d+)(?:\s*:\s*(?P<end>\d+))?(?![\w:])"
    r"|ack\s*(?P<ack>\d+)(?![\w:])"
    r"|win\s*(?P<win>\d+)(?![\w:])"
    r"|urg\s*\d+(?!\w)"
    r"|options\s*\[(?P<options>[^\]]{0,800})\]"
    r"|length\s*(?P<length>\d+)(?!\w|:\d))",
    re.IGNORECASE,
)
_LENGTH = re.compile(r"\s*[,;]?\s*length\s*", re.IGNORECASE)
_GLUED_TIME = re.compile(
    r"\d*(?:\d{1,2}:\d\d:\d\d[.,]\d|\d{4}-\d\d-\d\d[ T]|\d{10}\.\d{6})"
    r"|\d*\s+\d\d:\d\d:\d\d[.,]\d|IP6?\b"
)
_STAMPED = re.compile(r"\d:\d\d:\d\d[.,]\d+ IP6? ")
_OLD = re.compile(
    r"(?P<flags>[SFPRUEW]+|\.)\s+(?:\[[^\]]{0,60}\]\s*)?"
    r"(?:(?P<seq>\d+):(?P<end>\d+)\((?P<length>\d+)\)\s*)?"
    r"(?:ack\s+(?P<ack>\d+)\s*)?(?:win\s+(?P<win>\d+))?"
    r"(?:\s*urg\s+\d+)?(?:\s*<(?P<options>[^>]{0,800})>)?"
)
_REST = re.compile(r"[\s.,\u2026\[\]\"']*(?:\n|$)")
_QUIET = re.compile(r"tcp\s+\d+")
_CLOCK = re.compile(
    r"(?P<date>(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[ T]{1,2})?"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)[.,](?P<fraction>\d{1,9})(?!\d)"
)
_EPOCH = re.compile(r"(?P<seconds>\d{10})\.(?P<fraction>\d{6}(?:\d{3})?)(?![\d.])")
_UP_TO_IP = re.compile(
    r"\s*(?:(?P<device>[\w.@:-]{1,40})\s+(?P<way>In|Out|B|M|P)\s+)?"
    r"(?:(?:IP6?\b|ifindex\b|(?:In|Out|B|M|P)\s|[0-9a-f]{2}:|\().{0,400})?\s*$",
    re.DOTALL,
)
_IP_FACTS = re.compile(r"\((?:tos|class|flowlabel|hlim)\b[^\n]{0,200}(?:\n[^\n]{0,200}){0,3}\)\s*$")
_TTL = re.compile(r"\b(?:ttl|hlim)\s+(\d{1,3})\b")
_IP_ID = re.compile(r"\bid\s+(\d{1,5})\b")
_FRAGMENTING = re.compile(r"\bflags\s+\[([^\]]{0,12})\]")
_WINDOW_SCALE = re.compile(r"\bwscale\s+(\d{1,3})\b")
_IPV4 = re.compile(r"(?:IP)?(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})[.:]([\w-]+)")
_IPV6 = re.compile(
    r"\[?([0-9a-fA-F:]*:[0-9a-fA-F:]*(?:\d+\.\d+\.\d+\.\d+)?)(?:%[\w-]+)?(?:\]:|\.)([\w-]+)"
)
_NAMED = re.compile(r"([A-Za-z0-9_-][\w-]*(?:\.[\w-]+)*)[.:]([\w-]+)")

# What tcpdump prints without -n depends on its machine's table; these are the same everywhere.
_SERVICES = {
    **{"ssh": 22, "smtp": 25, "domain": 53, "http": 80, "pop3": 110, "imap2": 143, "imap": 143},
    **{"ldap": 389, "https": 443, "submissions": 465, "urd": 465, "submission": 587, "ldaps": 636},
    **{"imaps": 993, "pop3s": 995, "mysql": 3306, "postgresql": 5432, "amqp": 5672, "amqps": 5671},
    **{"redis": 6379, "http-alt": 8080, "https-alt": 8443, "secure-mqtt": 8883, "mqtt": 1883},
    **{"ftp": 21, "ftps": 990, "sip-tls": 5061, "ms-sql-s": 1433, "webcache": 8080},
}


class Printed(NamedTuple):
    """A TCP packet as it was printed; None is what the text does not tell.

    ``clock`` says what ``time_ns`` counts from: "epoch", "day" (midnight, or the packet before)
    or None. ``interface`` is the device and direction that ``-i any`` prints.
    """

    number: int
    clock: str | None
    time_ns: int
    src: Endpoint
    dst: Endpoint
    seq: int | None
    ack: int | None
    flags: int
    window: int
    length: int
    ttl: int | None
    ip_id: int | None
    df: bool | None
    timestamps: bool | None
    window_scale: int | None
    interface: str


class Unreadable(ValueError):  # noqa: N818 - it says what the text is
    """What looks like a packet is none that can be read; says why."""


class _Numbers(NamedTuple):
    """What stands behind the flags, and where it ends."""

    seq: int | None
    ack: int | None
    window: int | None
    length: int | None
    options: str | None
    behind: int
    whole: bool


class _Header(NamedTuple):
    """What stands in front of the flags."""

    src: Endpoint
    dst: Endpoint
    before: str


def is_text(head: bytes) -> bool:
    """Whether an input that begins like this is text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    odd = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\b\x1b")
    return bool(head) and odd * 100 <= len(head) and b"\0" not in head


class Dump:
    """Give it bytes of text, get the packets printed there.

    ``total`` counts whatever looks like a packet, ``other`` those of other protocols, ``skipped``
    TCP that could not be read, ``cut`` packets that lack an end which tells nothing new.
    """

    def __init__(self) -> None:
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
        return found + list(self._read(final=True))

    def _add(self, line: str) -> list[Printed]:
        self.lines += 1
        found: list[Printed] = []
        for start in range(0, max(len(line), 1), LINE_LIMIT):
            plain, removed, self._quotes = _plain(line[start : start + LINE_LIMIT], self._quotes)
            self._pending.append(plain)
            self._places.append((self.lines, start + removed + 1))
            self._size += len(plain) + 1
            if self._size > _WINDOW:
                found += self._read(final=False)
        return found

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
            packet, done = self._look(text, anchor, done, end)
            if packet is not None:
                yield packet
        self._keep(text, len(text) if final else max(done, limit - _BEFORE))

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

    def _look(
        self, text: str, anchor: re.Match[str], done: int, end: int
    ) -> tuple[Printed | None, int]:
        """The packet at an anchor, if it can be read, and where it ends."""
        try:
            if anchor["flags"]:
                return self._tcp(text, anchor, done, end)
            if anchor["arp"]:
                self.total += 1
                self.other += 1
                return None, anchor.end()
            return self._without_flags(text, anchor, done)
        except Unreadable as why:
            self._skip(text, anchor, done, str(why))
            return None, anchor.end()

    def _skip(self, text: str, anchor: re.Match[str], done: int, why: str) -> None:
        self.total += 1
        self.skipped += 1
        if self.first_skipped is None:
            start = max(done, text.rfind("\n", 0, anchor.start()) + 1)
            line, column = self._place(start)
            excerpt = text[start : start + _EXCERPT].split("\n", 1)[0]
            shown = excerpt.encode("unicode_escape").decode("ascii")
            self.first_skipped = f"line {line}, column {column}: {why}: {shown}"

    def _tcp(
        self, text: str, anchor: re.Match[str], done: int, end: int
    ) -> tuple[Printed | None, int]:
        """A packet whose numbers stand in front of ``end``, where the next one has its flags."""
        flags = _FLAG_LIST.match(text, anchor.end())
        end = min(anchor.end() + _AFTER, end)
        header = _header(text[max(done, anchor.start() - _BEFORE) : anchor.start()])
        numbers = _numbers(text[flags.end() : end]) if flags else None
        line = text[max(done, text.rfind("\n", 0, anchor.start()) + 1) : anchor.start()]
        said = (numbers is None or numbers.behind == 0) and not _STAMPED.search(line)
        if header is None and said:
            # Prose about flags.
            return None, anchor.end()
        if header is None:
            raise Unreadable("no two endpoints stand before the flags")
        if flags is None or numbers is None:
            raise Unreadable("the flags cannot be read")
        bits = _bits(flags[1])
        _check(numbers, bits, text[flags.end() + numbers.behind : end])
        self.cut += not numbers.whole
        return self._printed(header, bits, numbers), flags.end() + numbers.behind

    def _without_flags(
        self, text: str, anchor: re.Match[str], done: int
    ) -> tuple[Printed | None, int]:
        """A packet of another protocol, or TCP as printed by -q or by old versions."""
        src, dst = _endpoint(anchor["src"], 0), _endpoint(anchor["dst"].rstrip(":"), 0)
        if src is None or dst is None:
            return None, anchor.end()
        if _QUIET.match(text, anchor.end()):
            raise Unreadable("tcpdump -q leaves out flags and numbers")
        old = _OLD.match(text, anchor.end())
        if old is None or not (old["seq"] or old["ack"] or old["win"]):
            self.total += 1
            self.other += 1
            return None, anchor.end()
        before = text[max(done, anchor.start() - _BEFORE) : anchor.start("src")]
        bits = _bits(old["flags"].replace(".", "")) | (_ACK if old["ack"] else 0)
        numbers = _Numbers(
            seq=_number(old["seq"]),
            ack=_number(old["ack"]),
            window=_number(old["win"]),
            length=_number(old["length"]) or 0,
            options=old["options"] or "",
            behind=0,
            whole=True,
        )
        if numbers.seq is not None and (int(old["end"]) - numbers.seq) % _WRAP != numbers.length:
            raise Unreadable("its length and its sequence numbers do not agree")
        return self._printed(_Header(src, dst, before), bits, numbers), old.end()

    def _printed(self, header: _Header, bits: int, numbers: _Numbers) -> Printed:
        self.total += 1
        clock, time_ns, interface = _time(header.before)
        facts = _IP_FACTS.search(header.before)
        said = facts[0] if facts else ""
        ttl, ip_id, df = _TTL.search(said), _IP_ID.search(said), _FRAGMENTING.search(said)
        options = numbers.options
        scale = _WINDOW_SCALE.search(options or "")
        return Printed(
            self.total,
            clock,
            time_ns,
            header.src,
            header.dst,
            numbers.seq,
            numbers.ack,
            bits,
            (numbers.window or 0) & 0xFFFF,
            numbers.length or 0,
            int(ttl[1]) if ttl else None,
            int(ip_id[1]) if ip_id else None,
            "DF" in df[1] if df else None,
            None if options is None else bool(re.search(r"\bTS\b|timestamp", options)),
            int(scale[1]) if scale else None,
            interface,
        )


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
    return _TABLE_EDGE.sub("", line[removed:]), removed, marks


def _header(before: str) -> _Header | None:
    """The endpoints at the end of this text. Raises Unreadable."""
    found = _HEADER.search(before)
    broken = found is not None and _may_be_broken(before, found.start())
    readings = [before.replace("\n", ""), before] if broken else [before, before.replace("\n", "")]
    refused: str | None = None
    for reading in readings:
        found = _HEADER.search(reading)
        if found is None:
            continue
        tokens = found["src"], found["dst"].rstrip(":")
        src, dst = _endpoint(tokens[0]), _endpoint(tokens[1])
        if src is not None and dst is not None:
            return _Header(src, dst, reading[: found.start()])
        refused = refused or tokens[0 if src is None else 1]
    if refused is not None:
        raise Unreadable(f"{refused!r} is not an address and a port")
    return None


def _may_be_broken(before: str, start: int) -> bool:
    """Whether the first address may have begun on the line before: digits end that line."""
    line = before[:start]
    if not line.endswith("\n") or not re.search(r"[\d.:]\n$", line):
        return False
    return not any(found.end() == start - 1 for found in _CLOCK.finditer(line))


@lru_cache(maxsize=4096)
def _endpoint(token: str, least: int = 1) -> Endpoint | None:
    """An address and a port; without a port where ``least`` is 0."""
    for form in (_IPV4, _IPV6):
        if found := form.fullmatch(token):
            address, port = _packed(found[1]), _port(found[2])
            if address is None:
                return None
            return (address, port) if port is not None else (named(f"{found[1]}.{found[2]}"), 0)
    if not least and (address := _packed(token)) is not None:
        return address, 0
    found = _NAMED.fullmatch(token)
    if found is None or not re.search("[A-Za-z]", found[1]):
        return None
    port = _port(found[2])
    return (named(found[1]), port) if port is not None else (named(token), 0)


def _packed(address: str) -> bytes | None:
    try:
        return ip_address(address).packed
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _port(name: str) -> int | None:
    if name.isascii() and name.isdigit():
        return int(name) if len(name) <= 5 and int(name) <= 0xFFFF else None
    if name in _SERVICES:
        return _SERVICES[name]
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, UnicodeError, ValueError):
        return None


def _bits(letters: str) -> int:
    if letters == "none":
        return 0
    bits = 0
    for letter in letters:
        if letter in _FLAGS:
            bits |= _FLAGS[letter]
        elif not letter.isspace() and letter not in _IGNORED_FLAGS:
            raise Unreadable(f"there is no flag {letter!r}")
    return bits


def _number(digits: str | None) -> int | None:
    if digits is None:
        return None
    if len(digits) > 10 or int(digits) >= _WRAP:
        raise Unreadable(f"the number {digits[:20]} is too large")
    return int(digits)


def _numbers(after: str) -> _Numbers:
    """What stands behind the flags; mended if a wrap broke a number. Raises Unreadable."""
    first: _Numbers | None = None
    refused: Unreadable | None = None
    breaks = [found.start() for found in re.finditer("\n", after)][:_GLUED]
    for glued in range(len(breaks) + 1):
        until = breaks[glued - 1] + 1 if glued else 0
        reading = after[:until].replace("\n", "") + after[until:]
        try:
            found = _fields(reading)
        except Unreadable as why:
            refused = refused or why
            continue
        behind = found.behind
        for place in breaks[:glued]:
            behind += place < behind
        found = found._replace(behind=behind)
        if found.whole:
            return found
        if not glued:
            first = found
        elif breaks[glued - 1] > found.behind:
            break
    if first is None:
        raise refused or Unreadable("its numbers cannot be read")
    return first


def _fields(after: str) -> _Numbers:
    """Field after field, up to the length. Raises Unreadable if they contradict each other."""
    seq = ack = window = length = until = None
    options: str | None = None
    at = 0
    while length is None and (found := _FIELD.match(after, at)):
        at = found.end()
        seq = seq if found["seq"] is None else _number(found["seq"])
        until = until if found["end"] is None else _number(found["end"])
        ack = ack if found["ack"] is None else _number(found["ack"])
        window = window if found["win"] is None else _number(found["win"])
        options = options if found["options"] is None else found["options"]
        length = _number(found["length"])
    covered = 0 if seq is None or until is None else (until - seq) % _WRAP
    if length is not None and length != covered:
        raise Unreadable("its length and its sequence numbers do not agree")
    if length is None:
        behind = _glued_length(after, at, covered)
        length, at = (covered, behind) if behind else (None, at)
    whole = length is not None
    if whole and options is None:
        options = ""
    return _Numbers(seq, ack, window, covered, options, at, whole)


def _glued_length(after: str, at: int, length: int) -> int:
    """Where the length ends if the next packet's time or number is glued to it; 0 if not so."""
    found = _LENGTH.match(after, at)
    if found is None or not after.startswith(str(length), found.end()):
        return 0
    behind = found.end() + len(str(length))
    return behind if _GLUED_TIME.match(after, behind) else 0


def _check(numbers: _Numbers, bits: int, rest: str) -> None:
    """Whether enough is there. Without a length, the text must end there or the line."""
    if not numbers.whole and not _REST.match(rest):
        shown = rest.strip(" ,;\n")[:20]
        raise Unreadable(f"what follows on its numbers cannot be read, {shown!r}")
    if bits & _ACK and numbers.ack is None:
        raise Unreadable("an acknowledgement is announced and not there")
    if bits & _SYN_FIN_RST and numbers.seq is None:
        raise Unreadable("it has no sequence number")
    if not numbers.whole and numbers.ack is None and numbers.seq is None:
        raise Unreadable("its numbers are not there")


def _time(before: str) -> tuple[str | None, int, str]:
    """What the time counts from, the time, and the device with its direction."""
    for form in (_CLOCK, _EPOCH):
        for found in reversed(list(form.finditer(before))):
            between = _UP_TO_IP.fullmatch(before, found.end())
            if between is None:
                continue
            device, way = between["device"], between["way"]
            interface = f"{device} {way}" if device else ""
            clock, time_ns = _clock(found) if form is _CLOCK else _epoch(found)
            return clock, time_ns, interface
    device_only = re.search(r"(?:^|\n)\s*([\w.@:-]{1,40})\s+(In|Out|B|M|P)\s+IP6?\b[^\n]*$", before)
    return None, 0, f"{device_only[1]} {device_only[2]}" if device_only else ""


def _clock(found: re.Match[str]) -> tuple[str | None, int]:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if hour > 23 or minute > 59 or second > 60:
        return None, 0
    of_day = (hour * 3600 + minute * 60 + second) * _SECOND + _fraction(found)
    if not found["date"]:
        return "day", of_day
    try:
        day = datetime(int(found["year"]), int(found["month"]), int(found["day"]), tzinfo=UTC)
    except ValueError:
        return None, 0
    return "epoch", max(int(day.timestamp()) * _SECOND + of_day, 0)


def _epoch(found: re.Match[str]) -> tuple[str | None, int]:
    return "epoch", int(found["seconds"]) * _SECOND + _fraction(found)


def _fraction(found: re.Match[str]) -> int:
    return int(found["fraction"].ljust(9, "0"))
