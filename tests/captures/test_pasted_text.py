"""What tcpdump printed, through mails, tickets, chats, word processors and narrow terminals."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.pasting import (
    ACK,
    EXPECTED,
    PLAIN,
    PSH,
    RST,
    SYN,
    A,
    B,
    facts,
    read,
)
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable

DATA = Path(__file__).parent.parent / "data" / "text"


def test_a_plain_paste() -> None:
    reading, found = read("\n".join(PLAIN))
    assert (reading.kind, reading.total, reading.other, reading.skipped) == ("text", 4, 0, 0)
    client, server = "192.0.2.1:40000", "192.0.2.2:5432"
    at = 88_330_748_000
    assert facts(found) == [
        (client, server, PSH | ACK, 1866, 2595, 512, 37, at),
        (server, client, ACK, 2595, 1903, 512, 0, at + 2000),
        (server, client, PSH | ACK, 2595, 1903, 512, 88, at + 339_000),
        (server, client, RST | ACK, 2683, 1903, 512, 0, at + 2_970_000),
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


WIDTHS = range(36, 140)


@pytest.mark.slow
def test_wrapped_between_words() -> None:
    for width in WIDTHS:
        lines = [textwrap.fill(p, width, break_long_words=False) for p in PLAIN]
        reading, found = read("\n".join(lines))
        assert (reading.skipped, reading.first_skipped) == (0, None), width
        assert facts(found) == EXPECTED, width


@pytest.mark.slow
@pytest.mark.parametrize("quote", ["", "> ", "| "])
def test_wrapped_in_the_middle_of_words(quote: str) -> None:
    for width in WIDTHS:
        pieces = [p[at : at + width] for p in PLAIN for at in range(0, len(p), width)]
        reading, found = read("\n".join(quote + piece for piece in pieces))
        assert (reading.skipped, reading.first_skipped) == (0, None), width
        assert facts(found) == EXPECTED, width


def test_utf_16_of_a_windows_shell() -> None:
    assert facts(read("\r\n".join(PLAIN).encode("utf-16"))[1]) == EXPECTED


def test_a_mail() -> None:
    """Quoted, numbered, wrapped, between prose, half of it with entities, the handshake there."""
    with open_capture_file(DATA / "mail.txt") as reading:
        found = list(reading.packets())
    assert (reading.total, reading.other, reading.skipped) == (6, 1, 0)
    assert [p.flags for p in found] == [SYN, SYN | ACK, ACK, PSH | ACK, RST]
    assert [p.seq for p in found] == [4_000_000_000, 100, 4_000_000_001, 4_000_000_001, 101]
    assert [p.ack for p in found] == [None, 4_000_000_001, 101, 101, None]
    assert [p.window_scale for p in found] == [7, 7, None, None, None]
    assert not any(p.relative for p in found)


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
        ("Dear all,\nit does not work.\n", "none of its 2 lines is a packet"),
        (f"IP {A} > {B}: tcp 37\n", "its one packet could not be read"),
        (b"\x7fELF" + bytes(100), "neither pcap, pcapng nor text"),
        (b"BZh91AY&SY", "its bzip2 data end in the middle"),
    ],
)
def test_nothing_to_read(content: str | bytes, why: str) -> None:
    with pytest.raises(CaptureUnreadable, match=why) as caught:
        read(content)
    assert caught.value.hint


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_what_a_load_balancer_prints_of_its_rst_is_kept() -> None:
    """F5's tcpdump puts it behind the packet: no bytes of the stream, and none of the next line."""
    why = "[0x2c0e7ce:1100] TCP RST from remote system"
    lines = [f"{line} out slot1/tmm0 lis=/Common/x" for line in PLAIN]
    lines[-1] += f' rst_cause="{why}"'
    found = read("\n".join([*lines, *PLAIN]))[1]
    assert [packet.payload for packet in found if packet.payload] == [why.encode()]
    assert found[3].payload
    assert facts(found[:4]) == EXPECTED


def test_options_that_are_cut_off_at_the_end_tell_nothing_new() -> None:
    reading, found = read("\n".join(PLAIN).removesuffix(" ecr 2518407610], length 0"))
    assert (reading.skipped, facts(found)) == (0, EXPECTED)


def test_what_stands_before_the_first_time_is_not_hours_older() -> None:
    rest = PLAIN[0].partition(" IP ")[2]
    found = read("\n".join([rest.join(["IP ", ""]), *PLAIN[1:]]))[1]
    assert found[0].time_ns == found[1].time_ns
