"""What tcpdump printed, through mails, tickets, chats, word processors and narrow terminals."""

from __future__ import annotations

import io
import textwrap
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.captures.reader import CaptureUnreadable, Reading, open_capture_file
from tlsprobe.packets.packet import Packet, endpoints, flow_key, named, reverse, text

DATA = Path(__file__).parent.parent / "data" / "text"

A, B = "192.0.2.1.40000", "192.0.2.2.5432"
OPTIONS = "options [nop,nop,TS val 2518407611 ecr 2518407610]"
TAIL = f"win 512, {OPTIONS}, length"
PLAIN = [
    f"00:01:28.330748 IP {A} > {B}: Flags [P.], seq 1866:1903, ack 2595, {TAIL} 37",
    f"00:01:28.330750 IP {B} > {A}: Flags [.], ack 1903, {TAIL} 0",
    f"00:01:28.331087 IP {B} > {A}: Flags [P.], seq 2595:2683, ack 1903, {TAIL} 88",
    f"00:01:28.333718 IP {B} > {A}: Flags [R.], seq 2683, ack 1903, {TAIL} 0",
]
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16


def read(content: str | bytes) -> tuple[Reading, list[Packet]]:
    data = content.encode() if isinstance(content, str) else content
    with open_capture_file(io.BytesIO(data)) as reading:
        found = list(reading.packets())
    return reading, found


def facts(packets: list[Packet]) -> list[tuple[object, ...]]:
    return [
        (text(p.src), text(p.dst), p.flags, p.seq, p.ack, p.window, p.length, p.time_ns)
        for p in packets
    ]


EXPECTED = facts(read("\n".join(PLAIN))[1])


def test_a_plain_paste() -> None:
    reading, found = read("\n".join(PLAIN))
    assert (reading.kind, reading.total, reading.other, reading.skipped) == ("text", 4, 0, 0)
    client, server = "192.0.2.1:40000", "192.0.2.2:5432"
    at = 88_330_748_000
    assert facts(found) == [
        (client, server, _PSH | _ACK, 1866, 2595, 512, 37, at),
        (server, client, _ACK, 2595, 1903, 512, 0, at + 2000),
        (server, client, _PSH | _ACK, 2595, 1903, 512, 88, at + 339_000),
        (server, client, _RST | _ACK, 2683, 1903, 512, 0, at + 2_970_000),
    ]
    assert all(p.relative and p.timestamps for p in found)
    assert {(p.ttl, p.ip_id, p.df, p.payload) for p in found} == {(None, None, None, b"")}


MANGLED = {
    "numbers glued to the front": "\n".join(f"{n}{p}" for n, p in enumerate(PLAIN, 9)),
    "numbers and a tab": "\n".join(f"  {n}\t{p}" for n, p in enumerate(PLAIN, 1)),
    "quoted twice": "\n".join(f"> > {p}" for p in PLAIN),
    "a table": "\n".join(f"| {p} |" for p in PLAIN),
    "a diff": "\n".join(f"+{p}" for p in PLAIN),
    "a list": "\n".join(f"- `{p}`" for p in PLAIN),
    "one line": " ".join(PLAIN),
    "one line, glued": "".join(PLAIN),
    "prose between": "so:\n\n" + "\nand then the server said\n".join(PLAIN) + "\n\nHelp!",
    "prose of flags": "Flags [R.] is what I see.\n" + "\n".join(PLAIN) + "\nWhy Flags [R]?",
    "entities": "\n".join(PLAIN).replace(">", "&gt;"),
    "entities twice": "\n".join(PLAIN).replace(">", "&amp;gt;"),
    "no-break spaces": "\n".join(PLAIN).replace(" ", "\u00a0"),
    "arrows": "\n".join(PLAIN).replace(" > ", " \u2192 "),
    "full-width": "\n".join(PLAIN).replace(", ", "\uff0c").replace(": ", "\uff1a "),
    "zero-width": "\n".join(PLAIN).replace(",", ",\u200b"),
    "curly quotes": "\n".join(f"\u201c{p}\u201d" for p in PLAIN),
    "middle dots": "\n".join(PLAIN).replace("P.]", "P\u00b7]"),
    "markdown escapes": "\n".join(PLAIN).replace("[", "\\[").replace("]", "\\]"),
    "bold": "\n".join(PLAIN).replace("[R.]", "[**R.**]"),
    "IP is missing": "\n".join(PLAIN).replace(" IP ", " "),
    "IP is glued": "\n".join(PLAIN).replace(" IP ", " IP"),
    "ports behind colons": "\n".join(PLAIN).replace(".40000", ":40000").replace(".5432", ":5432"),
    "names of ports": "\n".join(PLAIN).replace(".5432", ".postgresql"),
    "colours": "\n".join(PLAIN).replace("Flags", "\x1b[31mFlags\x1b[0m"),
    "other line ends": "\r\n".join(PLAIN),
    "commas as points": "\n".join(p.replace("28.33", "28,33") for p in PLAIN),
    "no lengths at line ends": "\n".join(p.rsplit(", length", 1)[0] for p in PLAIN),
}


@pytest.mark.parametrize("how", MANGLED)
def test_mangled_pastes(how: str) -> None:
    reading, found = read(MANGLED[how])
    assert (reading.skipped, reading.first_skipped) == (0, None)
    assert facts(found) == EXPECTED


@pytest.mark.parametrize("width", range(36, 140))
def test_wrapped_between_words(width: int) -> None:
    lines = [textwrap.fill(p, width, break_long_words=False) for p in PLAIN]
    reading, found = read("\n".join(lines))
    assert (reading.skipped, reading.first_skipped) == (0, None)
    assert facts(found) == EXPECTED


@pytest.mark.parametrize("quote", ["", "> ", "| "])
@pytest.mark.parametrize("width", range(36, 140))
def test_wrapped_in_the_middle_of_words(width: int, quote: str) -> None:
    pieces = [p[at : at + width] for p in PLAIN for at in range(0, len(p), width)]
    reading, found = read("\n".join(quote + piece for piece in pieces))
    assert (reading.skipped, reading.first_skipped) == (0, None)
    assert facts(found) == EXPECTED


def test_utf_16_of_a_windows_shell() -> None:
    assert facts(read("\r\n".join(PLAIN).encode("utf-16"))[1]) == EXPECTED


def test_a_mail() -> None:
    """Quoted, numbered, wrapped, between prose, half of it with entities, the handshake there."""
    with open_capture_file(DATA / "mail.txt") as reading:
        found = list(reading.packets())
    assert (reading.total, reading.other, reading.skipped) == (6, 1, 0)
    assert [p.flags for p in found] == [_SYN, _SYN | _ACK, _ACK, _PSH | _ACK, _RST]
    assert [p.seq for p in found] == [4_000_000_000, 100, 4_000_000_001, 4_000_000_001, 101]
    assert [p.ack for p in found] == [None, 4_000_000_001, 101, 101, None]
    assert [p.window_scale for p in found] == [7, 7, None, None, None]
    assert not any(p.relative for p in found)


def test_verbose_on_two_lines_and_on_one() -> None:
    facts_of_ip = "tos 0x0, ttl 63, id 4711, offset 0, flags [DF], proto TCP (6), length 60"
    first = f"12:00:00.000001 IP ({facts_of_ip})"
    second = f"    {A} > {B}: Flags [S], cksum 0x1 (incorrect -> 0x2), seq 7, win 1, length 0"
    for joint in ("\n", " ", "\n> "):
        _, (packet,) = read(first + joint + second)
        assert (packet.ttl, packet.ip_id, packet.df) == (63, 4711, True)
        assert (packet.seq, packet.timestamps, packet.window_scale) == (7, False, None)


def test_ipv6() -> None:
    ends = "2001:db8::1.443 > 2001:db8::ffff:192.0.2.1.50000"
    line = f"IP6 (flowlabel 0x1, hlim 57, next-header TCP (6) payload length: 20) {ends}"
    _, (packet,) = read(f"12:00:00.000001 {line}: Flags [R], seq 99, win 0, length 0")
    assert text(packet.src) == "[2001:db8::1]:443"
    assert (packet.dst[1], packet.ttl, packet.ip_id, packet.ack) == (50000, 57, None, None)


def test_the_old_format() -> None:
    lines = [
        "10:00:00.1 IP a.example.40000 > b.example.https: S 1000:1000(0) win 5840 <wscale 2>",
        "10:00:00.2 IP b.example.https > a.example.40000: S 500:500(0) ack 1001 win 5792",
        "10:00:00.3 IP a.example.40000 > b.example.https: . ack 1 win 1460",
        "10:00:00.4 IP a.example.40000 > b.example.https: P 1:25(24) ack 1 win 1460",
        "10:00:00.5 IP b.example.https > a.example.40000: R 501:501(0) win 0",
    ]
    reading, found = read("\n".join(lines))
    assert (reading.total, reading.skipped) == (5, 0)
    assert [p.flags for p in found] == [_SYN, _SYN | _ACK, _ACK, _PSH | _ACK, _RST]
    assert [p.seq for p in found] == [1000, 500, 1001, 1001, 501]
    assert [p.length for p in found] == [0, 0, 0, 24, 0]
    assert text(found[0].dst) == "b.example:443"


def test_names_that_stand_for_no_number_are_kept() -> None:
    _, (packet,) = read(f"IP {A} > 192.0.2.2.no-such-port-name: Flags [R], seq 1, win 0, length 0")
    assert text(packet.dst) == "192.0.2.2.no-such-port-name"
    key = flow_key(packet.src, packet.dst)
    assert endpoints(key) == (packet.src, packet.dst)
    assert reverse(reverse(key)) == key


@given(st.lists(st.sampled_from(["a", "a.example.org", "192.0.2.0", "::", "n" * 22]), min_size=2))
def test_keys_of_names_and_addresses(hosts: list[str]) -> None:
    ends = [(ip_address(h).packed if h[-1] in "0:" else named(h), n) for n, h in enumerate(hosts)]
    keys = {flow_key(src, dst): (src, dst) for src in ends for dst in ends}
    assert len(keys) == len(ends) ** 2
    assert all(endpoints(key) == both for key, both in keys.items())
    assert all(reverse(key) == flow_key(dst, src) for key, (src, dst) in keys.items())


def line(ends: str, what: str, time: str = "10:00:00.000001 ") -> str:
    return f"{time}IP {ends}: {what}, length 0"


def test_relative_numbers_without_a_start_do_not_compare_with_a_bare_reset() -> None:
    _, found = read("\n".join([*PLAIN[:3], line(f"{B} > {A}", "Flags [R], seq 3000000000, win 0")]))
    assert [p.relative for p in found] == [True, True, True, False]
    assert found[-1].seq == 3_000_000_000


def test_absolute_numbers_without_a_start_do() -> None:
    there, back = f"{A} > {B}", f"{B} > {A}"
    lines = [
        line(there, "Flags [.], ack 3000000100, win 1"),
        line(back, "Flags [F.], seq 3000000100, ack 5000, win 1"),
        line(back, "Flags [R], seq 3000000101, win 0"),
    ]
    assert [p.relative for p in read("\n".join(lines))[1]] == [False, False, False]


def test_the_first_packet_of_a_flow_tells_where_relative_numbers_start() -> None:
    """Capture began in the middle: tcpdump prints one absolute packet, then counts from it."""
    lines = [
        f"IP {A} > {B}: Flags [P.], seq 2000000000:2000000010, ack 3000000000, win 1, length 10",
        f"IP {B} > {A}: Flags [P.], seq 1:101, ack 10, win 1, length 100",
        f"IP {A} > {B}: Flags [.], ack 101, win 1, length 0",
        f"IP {A} > {B}: Flags [R], seq 2000000010, win 0, length 0",
    ]
    _, found = read("\n".join(lines))
    assert [p.seq for p in found] == [2_000_000_000, 3_000_000_000, 2_000_000_010, 2_000_000_010]
    assert [p.ack for p in found] == [3_000_000_000, 2_000_000_010, 3_000_000_100, None]
    assert not any(p.relative for p in found)


def test_numbers_that_wrap() -> None:
    lines = [
        line(f"{A} > {B}", "Flags [S], seq 4294967290, win 1"),
        line(f"{B} > {A}", "Flags [S.], seq 9, ack 4294967291, win 1"),
        f"IP {A} > {B}: Flags [P.], seq 1:101, ack 1, win 1, length 100",
        f"IP {A} > {B}: Flags [P.], seq 95:195, ack 10, win 1, length 100",
    ]
    _, found = read("\n".join(lines))
    assert [p.seq for p in found] == [4294967290, 9, 4294967291, 89]


def test_devices_and_copies_of_a_capture_on_all_interfaces() -> None:
    what = f"IP {A} > {B}: Flags [P.], seq 1:38, ack 1, win 1, length 37"
    places = ["eth0  In ", "br0   In ", "veth1 Out "]
    lines = [f"10:00:00.00000{n} {place} {what}" for n, place in enumerate(places)]
    _, found = read("\n".join(lines))
    assert [p.interface for p in found] == [0, 1, 2]
    assert [p.copy for p in found] == [False, True, True]


def test_times_go_on_after_midnight_and_differences_are_summed() -> None:
    ends = f"{A} > {B}"
    night = ["23:59:59.900000 ", "00:00:00.100000 "]
    _, found = read("\n".join(line(ends, "Flags [.], ack 1, win 1", t) for t in night))
    assert found[1].time_ns - found[0].time_ns == 200_000_000
    steps = ["00:00:00.000000 ", "00:00:00.500000 ", "00:00:00.000100 "]
    _, found = read("\n".join(line(ends, "Flags [.], ack 1, win 1", t) for t in steps))
    assert [p.time_ns for p in found] == [0, 500_000_000, 500_100_000]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1790000000.123456 ", 1_790_000_000_123_456_000),
        ("71790000000.123456 ", 1_790_000_000_123_456_000),
        ("1790000000.123456789 ", 1_790_000_000_123_456_789),
        ("1970-01-02 00:00:01.000002 ", 86_401_000_002_000),
        ("31970-01-02 00:00:01.000002 ", 86_401_000_002_000),
        ("    3  01:00:00.000002 ", 3_600_000_002_000),
        ("", 0),
    ],
)
def test_times(time: str, expected: int) -> None:
    _, (packet,) = read(line(f"{A} > {B}", "Flags [.], ack 1, win 1", time))
    assert packet.time_ns == expected


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (f"IP {A} > {B}: Flags [P.], seq 1:38, ack 19O3, win 1, length 37", "19O3"),
        (f"IP {A} > {B}: Flags [P.], seq 1:38, ack 1, win 1, length 36", "do not agree"),
        (f"IP {A} > {B}: Flags [P.], seq 1:38, ack 1, win", "win"),
        (f"IP {A} > {B}: Flags [R], win 0, length 0", "no sequence number"),
        (f"IP {A} > {B}: Flags [.], win 0, length 0", "acknowledgement"),
        (f"IP {A} > {B}: Flags [QX], seq 1, win 0, length 0", "no flag 'Q'"),
        (f"IP {A} > 192.0.2.999.1: Flags [R], seq 1, win 0, length 0", "192.0.2.999.1"),
        (f"IP {A} > 192.0.2.9: Flags [R], seq 1, win 0, length 0", "192.0.2.9"),
        (f"IP 1127.0.0.1.36252 > {B}: Flags [R], seq 1, win 0, length 0", "1127.0.0.1"),
        (f"IP {A} > {B}: Flags [R], seq 5000000000, win 0, length 0", "too large"),
        ("Flags [P.], seq 1:38, ack 1, win 1, length 37", "no two endpoints"),
        (f"IP {A} > {B}: tcp 37", "-q"),
    ],
)
def test_what_cannot_be_read_is_counted_and_shown(damaged: str, why: str) -> None:
    reading, found = read("\n".join([PLAIN[0], "Look:", "> " + damaged, *PLAIN[1:]]))
    assert facts(found) == EXPECTED
    assert (reading.total, reading.skipped) == (5, 1)
    assert reading.first_skipped is not None
    assert reading.first_skipped.startswith("the input: line 3, column 3: ")
    assert why in reading.first_skipped


def test_what_is_shown_is_escaped() -> None:
    reading, _ = read(PLAIN[0] + "\nIP \x1b]0;evil\x07 Flags [P.], seq 1, ack 1\n")
    assert reading.first_skipped is not None
    assert reading.first_skipped.isprintable()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is empty"),
        ("Dear all,\nit does not work.\n", "among its 2 lines is no packet"),
        (f"IP {A} > {B}: tcp 37\n", "of 1 packets none could be read"),
        (b"\x7fELF" + bytes(100), "neither pcap, pcapng nor text"),
        (b"BZh91AY&SY", "neither pcap, pcapng nor text"),
    ],
)
def test_nothing_to_read(content: str | bytes, why: str) -> None:
    with pytest.raises(CaptureUnreadable, match=why) as caught:
        read(content)
    assert caught.value.hint


def test_a_long_text_is_read_in_pieces() -> None:
    lines = [p.replace("40000", str(10_000 + n)) for n in range(500) for p in PLAIN]
    for joint in ("\n", " "):
        reading, found = read(joint.join(lines))
        assert (reading.total, reading.skipped, len(found)) == (2000, 0, 2000)
        assert facts(found[-4:]) == [
            tuple(str(v).replace("40000", "10499") if isinstance(v, str) else v for v in fact)
            for fact in EXPECTED
        ]
        assert [p.number for p in found] == list(range(1, 2001))


@given(st.text(max_size=200), st.integers(0, 600), st.integers(0, 20))
def test_no_damage_is_a_traceback(noise: str, at: int, cut: int) -> None:
    whole = "\n".join(PLAIN)
    damaged = whole[:at] + noise + whole[at + cut :]
    try:
        reading, found = read(damaged)
    except CaptureUnreadable as error:
        assert error.message
    else:
        assert len(found) + reading.other + reading.skipped == reading.total
        assert all(0 <= p.seq < 1 << 32 and p.length >= 0 for p in found)


def test_a_packet_without_endpoints_is_counted_and_prose_is_not() -> None:
    lines = "12:00:00.2 IP 3 Flags [Z] x\nand then comes Flags [R] from the server"
    with pytest.raises(CaptureUnreadable, match="no two endpoints stand"):
        read(lines)
