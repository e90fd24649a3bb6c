"""One packet as tcpdump printed it: endpoints and time before its flags, numbers behind them.

A packet counts as read only if all its numbers stand there and agree: a wrap in the middle of a
number is mended if the result is consistent, and nothing else is.
`tlsprobe.captures.text_scales` tells what the numbers count from.

Source: tcpdump's print-tcp.c, print-ip.c, print-ip6.c, util-print.c, and its manual.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from tlsprobe.captures.printed_values import clock_time, nanoseconds, packed, port_of
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.packets.packet import Endpoint, named

BEFORE = 800
"""Characters before the flags in which the packet begins."""
_WRAP = 1 << 32
_GLUED = 8
_AFTER = 2000

_FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80}
_IGNORED_FLAGS = {"e"}
_SYN_FIN_RST, _ACK = 0x07, 0x10

TOKEN = r"[\w.:%\[\]-]{3,100}"
STAMP = r":\d\d\.\d{1,9}\s{1,12}(?:802\.1Q vlan#\d{1,4} P\d{1,2}\s{1,3})?"
"""What stands in front of the sender where nothing says IP: old tcpdump, and Cisco's firewalls."""
FLAGS_WORD = r"F\n?l\n?a\n?g\n?s?\s{0,3}\["
_HEADER = re.compile(
    rf"(?P<src>{TOKEN})\s{{0,80}}(?:>\s{{0,80}}){{1,3}}(?P<dst>{TOKEN})\s{{0,80}}$"
)
_FLAG_LIST = re.compile(r"\s{0,8}(none|[A-Za-z.\s]{1,16}?)\s{0,8}\]")
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
_RST_CAUSE = re.compile(r"[^\n]{0,400}?\brst_cause=[\"']([^\"'\n]{1,200})[\"']")
"""What F5's tcpdump prints behind an RST that its machine sent: why it did."""
_REST = re.compile(r"[\s.,\u2026\[\]\"']*(?:\n|$)|,\s{0,3}options? \[[^\]\n]{0,400}(?:\n|$)")
_QUIET = re.compile(r"tcp\s+\d+")
_CLOCK = re.compile(
    r"(?P<date>(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[ T]{1,2})?"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)[.,](?P<fraction>\d{1,9})(?!\d)"
)
_EPOCH = re.compile(r"(?P<seconds>\d{10})\.(?P<fraction>\d{6}(?:\d{3})?)(?![\d.])")
_UP_TO_IP = re.compile(
    r"\s*(?:(?P<device>[\w.@:-]{1,40})\s+(?:[^\s>]{1,40}\.\d{1,10}\s+)?(?P<way>In|Out|B|M|P)\s+)?"
    r"(?:(?:IP6?\b|PktGroupId\b|802\.1Q\b|ifindex\b|(?:In|Out|B|M|P)\s|[0-9a-f]{2}:|\().{0,400})?\s*$",
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


class Printed(NamedTuple):
    """A TCP packet as it was printed; None is what the text does not tell.

    ``number`` is 0 until whoever reads the text counts it. ``clock`` says what ``time_ns`` counts
    from: "epoch", "day" (midnight, or the packet before), "start" (the first packet, or the one
    before) or None. ``interface`` is the device and direction that ``-i any`` prints. ``carries``
    is what the text calls the contents, where it does. ``lacking`` says that it is an RST of which
    the text leaves out what tells one kind from another. ``says`` is why an RST was sent, in the
    words of the machine that sent it.
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
    carries: Carried | None = None
    lacking: bool = False
    says: str = ""


class Look(NamedTuple):
    """What was found at a place, and where it ends.

    ``other`` says that it is a packet of another protocol, ``cut`` that the packet lacks an end
    which tells nothing new.
    """

    packet: Printed | None
    behind: int
    other: bool = False
    cut: bool = False


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


def with_flags(text: str, anchor: re.Match[str], done: int, end: int) -> Look:
    """A packet whose numbers stand in front of ``end``, where the next one has its flags.

    What stands before ``done`` belongs to others. Raises Unreadable.
    """
    flags = _FLAG_LIST.match(text, anchor.end())
    end = min(anchor.end() + _AFTER, end)
    header = _header(text[max(done, anchor.start() - BEFORE) : anchor.start()])
    numbers = _numbers(text[flags.end() : end]) if flags else None
    line = text[max(done, text.rfind("\n", 0, anchor.start()) + 1) : anchor.start()]
    said = (numbers is None or numbers.behind == 0) and not _STAMPED.search(line)
    if header is None and said:
        # Prose about flags.
        return Look(None, anchor.end())
    if header is None:
        raise Unreadable("no two endpoints stand before the flags")
    if flags is None or numbers is None:
        raise Unreadable("the flags cannot be read")
    bits = _bits(flags[1])
    _check(numbers, bits, text[flags.end() + numbers.behind : end])
    behind = flags.end() + numbers.behind
    packet = _printed(header, bits, numbers)
    if cause := _RST_CAUSE.match(text, behind, end):
        packet = packet._replace(says=cause[1])
        behind = cause.end()
    return Look(packet, behind, cut=not numbers.whole)


def without_flags(text: str, anchor: re.Match[str], done: int) -> Look:
    """A packet of another protocol, or TCP as printed by -q or by old versions.

    Raises Unreadable.
    """
    src, dst = _endpoint(anchor["src"], 0), _endpoint(anchor["dst"].rstrip(":"), 0)
    if src is None or dst is None:
        return Look(None, anchor.end())
    if _QUIET.match(text, anchor.end()):
        raise Unreadable("tcpdump -q leaves out flags and numbers")
    old = _OLD.match(text, anchor.end())
    if old is None or not (old["seq"] or old["ack"] or old["win"]):
        return Look(None, anchor.end(), other=True)
    before = text[max(done, anchor.start() - BEFORE) : anchor.start("src")]
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
    return Look(_printed(_Header(src, dst, before), bits, numbers), old.end())


def _printed(header: _Header, bits: int, numbers: _Numbers) -> Printed:
    clock, time_ns, interface = _time(header.before)
    facts = _IP_FACTS.search(header.before)
    said = facts[0] if facts else ""
    ttl, ip_id, df = _TTL.search(said), _IP_ID.search(said), _FRAGMENTING.search(said)
    options = numbers.options
    scale = _WINDOW_SCALE.search(options or "")
    return Printed(
        0,
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


_IS_NAME = re.compile(r"[A-Za-z]|^\d{1,3}(?:-\d{1,3}){3}$")
"""A name has letters, but for that of a machine which is called by its address, with dashes."""


@lru_cache(maxsize=4096)
def _endpoint(token: str, least: int = 1) -> Endpoint | None:
    """An address and a port; without a port where ``least`` is 0."""
    for form in (_IPV4, _IPV6):
        if found := form.fullmatch(token):
            address, port = packed(found[1]), port_of(found[2])
            if address is None:
                return None
            return (address, port) if port is not None else (named(f"{found[1]}.{found[2]}"), 0)
    if not least and (address := packed(token)) is not None:
        return address, 0
    found = _NAMED.fullmatch(token)
    if found is None or not _IS_NAME.search(found[1]):
        return None
    port = port_of(found[2])
    return (named(found[1]), port) if port is not None else (named(token), 0)


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
        if glued:
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
    try:
        date = [int(found[name]) for name in ("year", "month", "day")] if found["date"] else None
        day = datetime(date[0], date[1], date[2], tzinfo=UTC) if date else None
    except ValueError:
        return None, 0
    return clock_time(found["hour"], found["minute"], found["second"], found["fraction"], day)


def _epoch(found: re.Match[str]) -> tuple[str | None, int]:
    return "epoch", nanoseconds(found["seconds"], found["fraction"])
