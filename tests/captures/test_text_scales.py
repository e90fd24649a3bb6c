"""What printed numbers and times count from."""

from __future__ import annotations

from tests.captures.pasting import (
    PLAIN,
    A,
    B,
    line,
    read,
)


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
