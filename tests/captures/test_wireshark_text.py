"""Packet lists as Wireshark and tshark print them: each line is read, or counted as unread."""

from __future__ import annotations

import pytest

from tests.captures.pasting import ACK, FIN, PSH, RST, SYN, read
from tlsprobe.captures.printed_packet import Unreadable
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.captures.wireshark_info import Carried, carried
from tlsprobe.captures.wireshark_line import read_row
from tlsprobe.model.trace import RecordKind
from tlsprobe.packets.packet import Endpoint, Packet, endpoints, text

C, S = "192.0.2.7", "198.51.100.9"
INFO = "40000 > 443 [ACK] Seq=11 Ack=22 Win=501 Len=0 TSval=1 TSecr=2"
DAY, EPOCH = 36_000_500_000_000, 1_600_000_000_500_000_000


@pytest.mark.parametrize(
    ("columns", "number", "clock", "time_ns"),
    [
        (f"7 0.500000 {C} {S} TCP 66", 7, "start", 500_000_000),
        (f"    7   0,5 {C}   {S}   TCP   66  ", 7, "start", 500_000_000),
        (f"10:00:00.5 {C} > {S} TCP 66", None, "day", DAY),
        (f"7 10:00:00,500000 {C} {S} TCP 66", 7, "day", DAY),
        (f"7 2020-09-13 12:26:40.500 {C} {S} TCP 66", 7, "epoch", EPOCH),
        (f"7 2020-09-13T12:26:40.500Z {C} {S} TCP 66", 7, "epoch", EPOCH),
        (f"7 Sep 13, 2020 12:26:40.500000000 UTC {C} {S} TCP 66", 7, "epoch", EPOCH),
        (f"7 1600000000.500000000 {C} -> {S} TCP 66", 7, "epoch", EPOCH),
        (f"{C} {S} TCP 66", None, None, 0),
        (f"7 {C} {S} TCP", 7, None, 0),
        (f"7 *REF* {C} {S} TCP 66 [TCP Retransmission] ", 7, None, 0),
        (f"7 0.5 {C} 40000 {S} 443 TCP 66", 7, "start", 500_000_000),
        (f'"7","0.5","{C}","{S}","TCP","66","', 7, "start", 500_000_000),
        (f" 7 | 0.5 | {C} | {S} | TCP | 66 | ", 7, "start", 500_000_000),
    ],
)
def test_columns_of_every_kind(
    columns: str, number: int | None, clock: str | None, time_ns: int
) -> None:
    row = read_row(f"{columns} {INFO}" if not columns.endswith('"') else f'{columns}{INFO}"')
    assert row is not None and row.tcp is not None
    assert (row.number, row.clock, row.time_ns) == (number, clock, time_ns)
    assert (row.src, row.dst) == (bytes([192, 0, 2, 7]), bytes([198, 51, 100, 9]))
    assert row.tcp[:7] == (40000, 443, ACK, 11, 22, 501, 0)


LISTED = (
    f"    1   0.000000 {C} → {S} TCP 166 40000 → 443 [PSH, ACK] Seq=1 Ack=1 Win=500 Len=100",
    f"    2   0.000300 {S} → {C} TCP 66 443 → 40000 [RST, ACK] Seq=1 Ack=101 Win=500 Len=0",
)
EXPORTED = (
    '"No.","Time","Source","Destination","Protocol","Length","Info"',
    f'"1","0.0","{C}","{S}","TCP","166","40000 → 443 [PSH, ACK] Seq=1 Ack=1 Win=500 Len=100"',
    f'"2","0.1","{S}","{C}","TCP","66","443 → 40000 [RST, ACK] Seq=1 Ack=101 Win=500 Len=0"',
)


@pytest.mark.parametrize("lines", [LISTED, EXPORTED])
@pytest.mark.parametrize(
    "logged",
    [
        "2026-11-26T12:00:00.123456789Z stdout F ",
        "2026-11-26T12:00:00.123456789+01:00 ",
        "[pod/sniffer-6c9/tshark] ",
        "[pod/sniffer-6c9/tshark] 2026-11-26T12:00:00.123456789Z ",
        "sniffer-1  | ",
        "stdout: ",
        "Nov 26 12:00:00 host1 tshark[123]: ",
    ],
)
def test_what_a_log_puts_in_front_of_a_row(logged: str, lines: tuple[str, ...]) -> None:
    reading, packets = read("\n".join(f"{logged}{line}" for line in lines))
    assert [(p.flags, p.length) for p in packets] == [(PSH | ACK, 100), (RST | ACK, 0)]
    assert {text(end) for end in flow_ends(packets)} == {f"{C}:40000", f"{S}:443"}
    assert reading.skipped == 0


def flow_ends(packets: list[Packet]) -> set[Endpoint]:
    return {end for packet in packets for end in endpoints(packet.key)}


@pytest.mark.parametrize(
    ("info", "flags"),
    [
        ("https(443) > 40000 [SYN, ACK] Seq=0 Ack=1 Win=9 Len=0 WS=128", SYN | ACK),
        ("443 -> 40000 [RST] SEQ=5 Win=0 Len=0", RST),
        ("[TCP Keep-Alive] 443 > 40000 [ACK] Seq=5 Ack=2 Win=0 Len=1", ACK),
        ("443 > 40000 [FIN, PSH, ACK] Seq=5 Ack=2 Win=9 Len=31 [TCP PDU reassembled in 9]", 25),
        ("443 > 40000 [<None>] Seq=1 Win=512 Len=0", 0),
    ],
)
def test_info_of_every_kind(info: str, flags: int) -> None:
    row = read_row(f"1 0.0 {S} {C} TCP 60 {info}")
    assert row is not None and row.tcp is not None
    assert (row.tcp.sport, row.tcp.dport, row.tcp.flags) == (443, 40000, flags)
    assert row.tcp.window_scale == (7 if "WS=" in info else None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (INFO, "no source and destination"),
        (f"1 0.0 {C} {S} TCP 66 nosuchname > 443 [ACK] Seq=1 Ack=1 Win=1 Len=0", "no port"),
        (f"1 0.0 {C} {S} TCP 66 40000 > 443 [ACK] Seq=1 Wi", "an acknowledgement"),
        (f"1 0.0 {C} {S} TCP 66 40000 > 443 [ACK] Seq=99999999999 Ack=1", "too large"),
        (f"1 0.0 {C} {S} TCP 66 40000 > 443 [BLA] Seq=1 Ack=1 Win=1 Len=0", "no flag"),
    ],
)
def test_what_lacks_a_number_says_so(line: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_row(line)


@pytest.mark.parametrize(
    ("protocol", "info", "expected"),
    [
        ("TLSv1.2", "Encrypted Alert", Carried(RecordKind.ALERT, tls="1.2")),
        (
            "TLSv1.3",
            "Alert (Level: Fatal, Description: Unknown CA)",
            Carried(RecordKind.ALERT, (2, 48), tls="1.3"),
        ),
        (
            "TLSv1.2",
            "Application Data, Encrypted Alert",
            Carried(RecordKind.ALERT, behind=True, tls="1.2"),
        ),
        ("TLSv1", "Client Hello", Carried(RecordKind.HANDSHAKE)),
        ("TLSv1.3", "Server Hello, Application Data", Carried(RecordKind.HANDSHAKE, tls="1.3")),
        ("TLSv1.2", "Application Data", Carried(RecordKind.DATA, tls="1.2")),
        ("HTTP", "GET /Alert (Level: Fatal, Description: Unknown CA) HTTP/1.1", None),
    ],
)
def test_what_info_calls_the_contents(protocol: str, info: str, expected: Carried | None) -> None:
    assert carried(protocol, info) == expected


# --- whole lists ----------------------------------------------------------------------------------

HELLO = [
    f"1 0.000 {C} {S} TCP 74 40000 > 443 [SYN] Seq=0 Win=64240 Len=0 TSval=1 TSecr=0 WS=128",
    f"2 0.001 {S} {C} TCP 74 443 > 40000 [SYN, ACK] Seq=0 Ack=1 Win=65160 Len=0 TSval=1 TSecr=1",
    f"3 0.002 {C} {S} TCP 66 40000 > 443 [ACK] Seq=1 Ack=1 Win=64256 Len=0 TSval=1 TSecr=1",
]


def listed(*lines: str) -> tuple[list[Packet], int, str | None]:
    reading, packets = read("\n".join([*HELLO, *lines]))
    return packets[3:], reading.skipped, reading.first_skipped


def test_a_line_without_numbers_gets_those_that_follow() -> None:
    (first, second, _), skipped, _ = listed(
        f"4 0.003 {C} {S} TLSv1.2 166 Application Data",
        f"5 0.004 {C} {S} TLSv1.2 97 Encrypted Alert",
        f"6 0.005 {S} {C} TCP 66 443 > 40000 [ACK] Seq=1 Ack=132 Win=501 Len=0 TSval=1 TSecr=1",
    )
    assert (first.number, text(first.src), first.seq, first.length) == (4, f"{C}:40000", 1, 100)
    assert (second.seq, second.length, second.flags) == (101, 31, PSH | ACK)
    assert skipped == 0


def test_lines_in_front_of_the_first_number_are_counted_back() -> None:
    reading, packets = read(
        f"4 0.003 {C} {S} HTTP 166 POST / HTTP/1.1\n"
        f"5 0.004 {C} {S} HTTP 116 Continuation\n"
        f"6 0.005 {S} {C} TCP 66 443 > 40000 [ACK] Seq=900 Ack=500 Win=501 Len=0 TSval=1 TSecr=1"
    )
    assert [(p.seq, p.length) for p in packets[:2]] == [(350, 100), (450, 50)]
    assert reading.notes and "2 lines tell no TCP numbers" in reading.notes[0]


def test_a_fin_that_its_line_does_not_show_is_told_by_the_answer() -> None:
    packets, _, _ = listed(
        f"4 0.003 {S} {C} TLSv1.2 97 Encrypted Alert",
        f"5 0.004 {C} {S} TCP 66 40000 > 443 [ACK] Seq=1 Ack=33 Win=501 Len=0 TSval=1 TSecr=1",
    )
    assert packets[0].flags == FIN | PSH | ACK


def test_an_rst_without_ack_tells_what_the_line_before_it_acknowledged() -> None:
    fin = f"4 0.003 {S} {C} TCP 66 443 > 40000 [FIN, ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1"
    late = f"5 0.004 {C} {S} HTTP 166 POST / HTTP/1.1"
    for seq in (1, 2):
        rst = f"6 0.005 {S} {C} TCP 54 443 > 40000 [RST] Seq={seq} Win=0 Len=0"
        assert listed(fin, late, rst)[0][1].ack == seq
    assert listed(fin, late)[0][1].ack == 1


@pytest.mark.parametrize(
    ("asked", "answered", "acked"),
    [
        (["0.003"], "0.006", 1),  # it may have crossed the request
        (["0.003"], "0.007", 101),
        (["0.003", "0.004", "0.005"], "0.007", 101),
        (["0.003", "0.004", "0.005"], "0.009", 301),
        (["0.003", "0.004", "0.012"], "0.013", 201),
        (["0.003", "0.004", "0.012"], "0.050", 301),
    ],
)
def test_what_must_have_come_is_acknowledged_by_what_tells_no_numbers(
    asked: list[str], answered: str, acked: int
) -> None:
    """The handshake took 2 ms, and so a way takes no more than 4."""
    requests = [f"4 {time} {C} {S} TLSv1.2 166 Application Data" for time in asked]
    response = f"5 {answered} {S} {C} TLSv1.2 566 Application Data"
    packets, skipped, _ = listed(*requests, response)
    assert (packets[-1].ack, skipped) == (acked, 0)


def test_where_times_tell_no_order_only_what_is_printed_is_acknowledged() -> None:
    since_the_last = [
        f"4 0.003 {C} {S} TLSv1.2 166 Application Data",
        f"5 0.050 {S} {C} TLSv1.2 566 Application Data",
        f"6 0.001 {C} {S} TLSv1.2 97 Encrypted Alert",
    ]
    packets, _, _ = listed(*since_the_last)
    assert packets[1].ack == 1


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"4 0.003 {C} {S} HTTP POST / HTTP/1.1"], "how much of its frame"),
        ([f"4 0.003 {C} {S} HTTP 60 POST / HTTP/1.1"], "how much of its frame"),
        ([f"4 0.1 {C} {S} TLSv1.2 97 [TCP Previous segment not captured] , Data"], "first byte"),
        (
            [
                f"4 0.1 {C} {S} TCP 66 40001 > 443 [ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
                f"5 0.2 {C} {S} HTTP 166 POST / HTTP/1.1",
                f"6 0.3 {C} {S} TCP 66 40000 > 443 [ACK] Seq=9 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
                f"7 0.4 {C} {S} TCP 66 40001 > 443 [ACK] Seq=9 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
            ],
            "which connection",
        ),
        (
            [
                "4 0.1 ::1 ::1 TCP 86 40001 > 443 [ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
                "5 0.2 ::1 ::1 TLSv1.3 166 Application Data",
            ],
            "both ends have one address",
        ),
        (
            [f"4 0.1 {S} 443 {C} 40999 TLSv1.3 110 Application Data"],
            "no line tells the numbers of its connection",
        ),
    ],
)
def test_a_line_that_could_mean_several_things_is_counted_and_not_read(
    lines: list[str], why: str
) -> None:
    _, skipped, first = listed(*lines)
    assert skipped == 1
    assert first is not None and why in first


OPENED = (
    "1 0.1 ::1 ::1 TCP 94 {client} > {server} [SYN] Seq=0 Win=1 Len=0 TSval=1 TSecr=0",
    "2 0.2 ::1 ::1 TCP 94 {server} > {client} [SYN, ACK] Seq=0 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
)
GOING = ("2 0.2 ::1 ::1 TCP 86 {server} > {client} [ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",)


@pytest.mark.parametrize(
    ("begin", "client", "server"),
    [(OPENED, 443, 8080), (OPENED[1:], 443, 8080), (GOING, 50678, 8000)],
)
@pytest.mark.parametrize(
    ("info", "by_client"),
    [
        ("GET / HTTP/1.1", True),
        ("[TCP Retransmission] , Client Hello (SNI=a.example)", True),
        ("HTTP/1.1 200 OK  (text/html)", False),
        ("Server Hello, Change Cipher Spec", False),
    ],
)
def test_who_asks_on_one_host_is_the_client(
    begin: tuple[str, ...], client: int, server: int, info: str, *, by_client: bool
) -> None:
    """The request that crosses a FIN was left out, and its loss with it."""
    lines = [line.format(client=client, server=server) for line in begin]
    ack = f"2 0.3 ::1 ::1 TCP 86 {client} > {server} [ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1"
    reading, packets = read("\n".join([*lines, ack, f"9 0.4 ::1 ::1 HTTP 186 {info}"]))
    assert reading.skipped == 0
    assert packets[-1].src[1] == (client if by_client else server)
    assert packets[-1].length == 100


@pytest.mark.parametrize("arrow", ["?", "\ufffd", "\ufffd\ufffd", "â†’", "ΓåÆ", "\xe2\x86\x92"])
def test_an_arrow_that_an_encoding_lost(arrow: str) -> None:
    """As Windows prints one, or as another program read it."""
    _, packets = read("\n".join(LISTED).replace("→", arrow))
    assert [(p.flags, p.length) for p in packets] == [(PSH | ACK, 100), (RST | ACK, 0)]


def test_port_columns_tell_the_ends_apart() -> None:
    packets, skipped, _ = listed(
        "4 0.1 ::1 40001 ::1 443 TCP 86 40001 > 443 [ACK] Seq=1 Ack=1 Win=1 Len=0 TSval=1 TSecr=1",
        "5 0.2 ::1 443 ::1 40001 TLSv1.3 110 Application Data",
    )
    assert skipped == 0
    assert (packets[1].src[1], packets[1].seq, packets[1].length) == (443, 1, 24)


def test_other_protocols_are_counted_and_prose_is_not() -> None:
    reading, packets = read(
        "\n".join(
            [
                "No.  Time  Source  Destination  Protocol  Length  Info",
                *HELLO,
                f"4 0.1 {C} {S} DNS 80 Standard query 0x1 A example.org",
                "5 0.2 Routerbo_00:00:01 Broadcast ARP 60 Who has 192.0.2.7?",
                "and then the client sent 5 more requests",
            ]
        )
    )
    assert (len(packets), reading.total, reading.other, reading.skipped) == (3, 5, 2, 0)


def test_lists_and_tcpdump_stand_in_one_paste() -> None:
    one = "10:00:00.5 IP 10.0.0.1.9 > 10.0.0.2.80: Flags [R], seq 5, win 0, length 0"
    reading, packets = read("\n".join([one, *HELLO, one, HELLO[0]]))
    assert [packet.flags for packet in packets] == [RST, SYN, SYN | ACK, ACK, RST, SYN]
    assert [packet.number for packet in packets] == [1, 2, 3, 4, 5, 6]
    assert (reading.total, reading.skipped) == (6, 0)


def test_two_packets_on_one_line_are_not_read_as_one() -> None:
    _, skipped, first = listed(f"{HELLO[2]} {HELLO[2]}")
    assert skipped == 1
    assert first is not None and "more than one packet" in first


def test_lines_out_of_order_are_told() -> None:
    reading, _ = read("\n".join([HELLO[1], HELLO[0], HELLO[2]]))
    assert reading.disordered == 1
    assert any("put them in order" in note for note in reading.notes)


def test_a_protocol_may_begin_with_a_digit() -> None:
    (packet, *_), skipped, _ = listed(f"4 0.003 {C} {S} 0x0000 166 Data")
    assert (packet.length, skipped) == (100, 0)


def test_the_delta_column_adds_up() -> None:
    _, packets = read("\n".join([*HELLO, HELLO[2].replace("0.002", "0.001")]))
    assert [packet.time_ns // 10**6 for packet in packets] == [0, 1, 3, 4]


def test_a_list_that_tells_no_numbers_at_all_is_refused() -> None:
    with pytest.raises(CaptureUnreadable, match="no packet that tcpdump or Wireshark printed"):
        read(f"1 0.0 {C} {S} TLSv1.2 97 Encrypted Alert")


@pytest.mark.parametrize(
    "line",
    [
        " " * 60_000,
        " " * 60_000 + "Flags [",
        "Flags [" + " " * 60_000,
        "> " * 30_000,
        "a > b " * 10_000,
        "a > b [ACK] Seq=1" * 3_000,
        "1 > 2 [ACK, ACK, ACK, ACK, ACK" * 2_000,
        '","' * 20_000,
        "|" * 60_000,
        "1:" * 30_000,
        "10:00:00.5 " * 5_000,
        "[TCP x] " * 8_000 + INFO,
    ],
    ids=lambda line: line[:12],
)
def test_a_long_line_takes_time_in_proportion(line: str) -> None:
    """Each took minutes, or would, with an expression that tries every blank in turn."""
    reading, packets = read("\n".join([*HELLO, line, line, *HELLO]))
    assert [packet.flags for packet in packets if packet.flags & SYN] == [SYN, SYN | ACK] * 2
    assert reading.skipped <= 2
