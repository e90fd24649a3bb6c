"""What printed numbers and times count from."""

from __future__ import annotations

import io

from tests.captures.pasting import (
    PLAIN,
    A,
    B,
    line,
    read,
)
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.model.causes import Cause


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


# --- starts that are not those of the connection --------------------------------------------------


def numbers(*lines: str) -> list[tuple[int, int | None]]:
    found = read("\n".join(lines))[1]
    assert not any(packet.relative for packet in found)
    return [(packet.seq, packet.ack) for packet in found]


def test_a_refusal_is_counted_from_the_connection_before() -> None:
    """tcpdump begins to count anew where a SYN is accepted, not where it is refused."""
    one, two = "192.0.2.1.40000", "192.0.2.2.5432"
    syn = f"10:00:0{{}}.0 IP {one} > {two}: Flags [S], seq {{}}, win 64240, length 0"
    refusal = f"10:00:0{{}}.1 IP {two} > {one}: Flags [R.], seq {{}}, ack {{}}, win 0, length 0"
    first, second, third = 201287537, 205985697, 210681507
    assert numbers(
        *(syn.format(1, first), refusal.format(1, 0, first + 1)),
        *(syn.format(2, second), refusal.format(2, 0, second + 1 - first)),
        *(syn.format(3, third), refusal.format(3, 0, third + 1 - first)),
    )[1::2] == [(0, first + 1), (0, second + 1), (0, third + 1)]
    theirs = 3370083299
    accepted = f"10:00:01.2 IP {two} > {one}: Flags [S.], seq {theirs}, ack {first + 1}, length 0"
    left = 2**32 - theirs
    refused = numbers(
        *(syn.format(1, first), accepted, syn.format(3, third)),
        refusal.format(3, left, third + 1 - first),
    )
    assert refused[-1] == (0, third + 1)


def test_another_tcpdump_counts_from_its_own_first_packet() -> None:
    """It was started later, and its lines pasted behind the first one's."""
    one, two = "192.0.2.1.40000", "192.0.2.2.5432"
    ours, theirs = 2733581049, 3370083299
    told = numbers(
        f"10:00:00.1 IP {one} > {two}: Flags [S], seq {ours}, win 64240, length 0",
        f"10:00:00.2 IP {two} > {one}: Flags [S.], seq {theirs}, ack {ours + 1}, length 0",
        f"10:00:00.3 IP {one} > {two}: Flags [P.], seq 1:5001, ack 1, win 64, length 5000",
        f"10:00:00.4 IP {two} > {one}: Flags [P.], seq 1:9001, ack 5001, win 64, length 9000",
        f"10:00:00.5 IP {one} > {two}: Flags [P.], seq {ours + 5001}:{ours + 5101}, ack"
        f" {theirs + 9001}, win 64, length 100",
        f"10:00:00.6 IP {two} > {one}: Flags [P.], seq 1:201, ack 100, win 64, length 200",
        f"10:00:00.7 IP {one} > {two}: Flags [P.], seq 100:150, ack 201, win 64, length 50",
        f"10:00:00.8 IP {two} > {one}: Flags [R.], seq 201, ack 150, win 64, length 0",
    )
    assert told[5:] == [
        (theirs + 9001, ours + 5101),
        (ours + 5101, theirs + 9201),
        (theirs + 9201, ours + 5151),
    ]


def test_times_stand_before_the_names_of_programs_and_of_pktmons_components() -> None:
    """ptcpdump names the process beside the device, pktmon each place that a packet passes."""
    ends = "192.0.2.1.40000 > 192.0.2.2.443"
    _, found = read(
        f"10:00:00.000001 lo curl.345650 Out IP {ends}: Flags [S], seq 7, win 65495, length 0\n"
        f"10:00:00.000023 lo curl.345650 In IP {ends}: Flags [S], seq 7, win 65495, length 0\n"
    )
    assert [packet.time_ns % 10**9 for packet in found] == [1000, 23000]
    assert [packet.copy for packet in found] == [False, True]
    _, (packet,) = read(
        "10:00:00.123456700 PktGroupId 281474976710657, PktNumber 1, Appearance 1, Direction Rx ,"
        " Type Ethernet , Component 12, Edge 1, Filter 1, OriginalSize 66, LoggedSize 66\n"
        f"\t00-15-5D-01-02-04 > 00-15-5D-01-02-03, ethertype IPv4 (0x0800), length 66: {ends}:"
        " Flags [S], seq 7, win 64240, options [mss 1460], length 0\n"
    )
    assert packet.time_ns % 10**9 == 123_456_700


def test_connections_on_the_same_ports_are_told_apart_where_each_counts_from_0() -> None:
    """A list of Wireshark's: the client's abort was of something in between, for it went on."""
    c, s = "192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.1"
    ours, theirs = "40000 > 8104", "8104 > 40000"
    text = "\n".join(
        line
        for n in range(3)
        for line in (
            f"{8 * n + 1} {n}.1 {c} TCP 74 {ours} [SYN] Seq=0 Win=65495 Len=0 MSS=65495",
            f"{8 * n + 2} {n}.2 {s} TCP 74 {theirs} [SYN, ACK] Seq=0 Ack=1 Win=65483 Len=0",
            f"{8 * n + 3} {n}.3 {c} TCP 69 {ours} [PSH, ACK] Seq=1 Ack=1 Win=65536 Len=3",
            f"{8 * n + 4} {n}.4 {s} TCP 69 {theirs} [PSH, ACK] Seq=1 Ack=4 Win=65536 Len=3",
            f"{8 * n + 5} {n}.5 {c} TCP 66 {ours} [RST, ACK] Seq=4 Ack=4 Win=65536 Len=0",
        )
    )
    with open_capture_file(io.BytesIO(text.encode())) as reading:
        flows = explain(reading, Filter()).flows
    assert [told.reset.cause for flow in flows for told in flow.resets] == [Cause.DELIBERATE] * 3
    tried = "\n".join(
        line
        for n in range(3)
        for line in (
            f"{2 * n + 1} {n}.1 {c} TCP 74 {ours} [SYN] Seq=0 Win=65495 Len=0 MSS=65495",
            f"{2 * n + 2} {n}.2 {s} TCP 54 {theirs} [RST, ACK] Seq=1 Ack=1 Win=0 Len=0",
        )
    )
    with open_capture_file(io.BytesIO(tried.encode())) as reading:
        (flow,) = explain(reading, Filter()).flows
    assert [told.reset.cause for told in flow.resets] == [Cause.REFUSED] * 3
