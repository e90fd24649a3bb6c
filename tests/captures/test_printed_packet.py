"""One printed packet: verbose, old, of either IP version, with names, and its time."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.pasting import (
    ACK,
    PSH,
    RST,
    SYN,
    A,
    B,
    line,
    read,
)
from tlsprobe.packets.packet import endpoints, flow_key, named, reverse, text


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


@pytest.mark.parametrize(
    "written",
    [
        lambda _, line: line,
        lambda _, line: line.replace("IP ", ""),  # older still
        lambda n, line: f"{n:4}: {line.replace('IP ', '      ')}",  # Cisco's firewalls
        lambda n, line: f"{n:4}: {line.replace('IP ', '      802.1Q vlan#100 P0 ')}",
    ],
    ids=["IP", "bare", "numbered", "tagged"],
)
def test_the_old_format(written: Callable[[int, str], str]) -> None:
    lines = [
        "10:00:00.1 IP a.example.40000 > b.example.https: S 1000:1000(0) win 5840 <wscale 2>",
        "10:00:00.2 IP b.example.https > a.example.40000: S 500:500(0) ack 1001 win 5792",
        "10:00:00.3 IP a.example.40000 > b.example.https: . ack 1 win 1460",
        "10:00:00.4 IP a.example.40000 > b.example.https: P 1:25(24) ack 1 win 1460",
        "10:00:00.5 IP b.example.https > a.example.40000: R 501:501(0) win 0",
    ]
    lines = [written(number, line) for number, line in enumerate(lines, 1)]
    other = written(6, "10:00:00.6 IP 192.0.2.1.5353 > 192.0.2.2.53: udp 40")
    reading, found = read("\n".join([*lines, other]))
    assert (reading.total, reading.other, reading.skipped) == (6, 1, 0)
    assert [p.time_ns % 10**9 // 10**8 for p in found] == [1, 2, 3, 4, 5]
    assert [p.flags for p in found] == [SYN, SYN | ACK, ACK, PSH | ACK, RST]
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


@pytest.mark.parametrize(("host", "is_name"), [("192-0-2-7", True), ("2026-01-02", False)])
def test_a_machine_may_be_called_by_its_address_with_dashes(host: str, *, is_name: bool) -> None:
    """A real trace of a database's client: none of its packets was read."""
    answer = f"12:00:01 IP {A} > {B}: Flags [.], ack 1, win 1, length 0"
    reading, found = read(f"{answer}\n12:00:01 IP {host}.40000 > {B}: Flags [R], seq 9, win 0")
    assert (len(found), reading.skipped) == ((2, 0) if is_name else (1, 1))
    assert not is_name or text(found[1].src) == f"{host}:40000"
