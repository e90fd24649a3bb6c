"""Packets as the shaper reads and writes them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.packets.decode import Decoder
from tlsprobe.packets.frames import RAW
from tlsprobe.shaper.packet import ACK, FIN, PSH, TcpPacket, build, checksum_of, parse

V4 = ipaddress.ip_address("192.0.2.1").packed, ipaddress.ip_address("192.0.2.2").packed
V6 = ipaddress.ip_address("2001:db8::1").packed, ipaddress.ip_address("2001:db8::2").packed
NUMBERS = st.integers(0, 2**32 - 1)
HALVES = st.integers(0, 2**16 - 1)
BYTES = st.integers(0, 255)


@st.composite
def packets(draw: st.DrawFn) -> TcpPacket:
    """Any packet that one of two kernels could send."""
    source, destination = draw(st.sampled_from([V4, V6]))
    made = TcpPacket(
        source,
        destination,
        draw(HALVES),
        draw(HALVES),
        draw(NUMBERS),
        draw(NUMBERS),
        flags=draw(BYTES),
        window=draw(HALVES),
        urgent=draw(HALVES),
        options=b"".join(draw(st.lists(st.binary(min_size=4, max_size=4), max_size=10))),
        payload=draw(st.binary(max_size=200)),
        hops=draw(BYTES),
        traffic=draw(BYTES),
    )
    if len(source) == 16:
        return made
    return made._replace(ip_id=draw(HALVES), fragment=draw(st.sampled_from([0, 0x4000])))


def tcp_sum(packet: TcpPacket, data: bytes) -> int:
    """The checksum over the pseudo header and all of TCP: 0 where it fits."""
    tcp = data[20 if len(packet.source) == 4 else 40 :]
    pseudo = packet.source + packet.destination + len(tcp).to_bytes(4, "big") + b"\0\0\0\x06"
    return checksum_of(pseudo + tcp)


@given(packets())
def test_a_packet_comes_back_as_it_was(packet: TcpPacket) -> None:
    assert parse(build(packet)) == (packet if len(packet.source) == 4 else packet._replace())


@given(packets())
def test_the_checksums_fit(packet: TcpPacket) -> None:
    data = build(packet)
    assert tcp_sum(packet, data) == 0
    if len(packet.source) == 4:
        assert checksum_of(data[:20]) == 0


@given(packets())
def test_the_checksum_of_a_damaged_packet_does_not(packet: TcpPacket) -> None:
    assert tcp_sum(packet, build(packet._replace(damaged=True))) != 0


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_packet_or_is_not(data: bytes) -> None:
    parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x45",
        build(TcpPacket(*V4, 1, 2, 3, 4, ACK, 5))[:-1],
        build(TcpPacket(*V4, 1, 2, 3, 4, ACK, 5)).replace(b"\x06", b"\x11", 1),  # UDP
        build(TcpPacket(*V4, 1, 2, 3, 4, ACK, 5, fragment=0x2000)),
        build(TcpPacket(*V6, 1, 2, 3, 4, ACK, 5))[:50],
    ],
)
def test_what_is_no_whole_packet_of_tcp_is_none(data: bytes) -> None:
    assert parse(data) is None


def test_the_decoder_of_captures_reads_the_same() -> None:
    made = TcpPacket(*V4, 40000, 443, 7, 9, FIN | PSH | ACK, 512, payload=b"abc", ip_id=77)
    data = build(made)
    read = Decoder().decode(data, RAW, len(data), 0, 1)
    assert read is not None
    assert (read.seq, read.ack, read.window, read.ip_id) == (7, 9, 512, 77)


def test_the_sum_of_nothing_and_of_ones() -> None:
    assert checksum_of(b"") == 0xFFFF
    assert checksum_of(b"\xff\xff") == 0
    assert checksum_of(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 section 3
