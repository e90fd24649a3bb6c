"""The filter, run by a small interpreter of our own and accepted by the kernel's checker."""

import ctypes
import ipaddress
import operator
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.model.target import Ports
from tlsprobe.sniff import bpf

LOOPBACK4, LOOPBACK6 = (ipaddress.ip_address(a).packed for a in ("127.0.0.1", "::1"))
OTHER4, OTHER6 = (ipaddress.ip_address(a).packed for a in ("192.0.2.7", "2001:db8::7"))
ARRIVING, LEAVING = 0, 4

ASKS = {
    bpf.IF_EQUAL: operator.eq,
    bpf.IF_AT_LEAST: operator.ge,
    bpf.IF_GREATER: operator.gt,
    bpf.IF_ANY_BIT: operator.and_,
}
"""What the jumps ask of the accumulator and their operand."""


def accepts(
    program: tuple[bpf.Instruction, ...],
    ip: bytes,
    *,
    packet_type: int = ARRIVING,
    kind: int = 0,
    interface: int = bpf.LOOPBACK_INDEX,
) -> bool:
    """Runs the program over an IP packet as the kernel would; a load out of range drops it."""
    kind = kind or (bpf.IPV4 if ip and ip[0] >> 4 == 4 else bpf.IPV6)
    ancillary = {
        bpf.ETHERTYPE: kind,
        bpf.PACKET_TYPE: packet_type,
        bpf.INTERFACE: interface,
    }
    sizes = {bpf.LOAD_WORD: 4, bpf.LOAD_HALF: 2, bpf.LOAD_BYTE: 1, bpf.LOAD_HALF_BEHIND_X: 2}
    a = x = at = 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        if code == bpf.RETURN:
            return k != 0
        if code in sizes:
            if k in ancillary:
                a = ancillary[k]
                continue
            start = k - bpf.NETWORK + (x if code == bpf.LOAD_HALF_BEHIND_X else 0)
            if start + sizes[code] > len(ip):
                return False
            a = int.from_bytes(ip[start : start + sizes[code]], "big")
        elif code == bpf.AND:
            a &= k
        elif code == bpf.SHIFT_LEFT:
            a <<= k
        elif code == bpf.COPY_TO_X:
            x = a
        elif code == bpf.SET_X:
            x = k
        elif code in ASKS:
            at += if_true if ASKS[code](a, k) else if_false
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def ip_packet(
    source: tuple[bytes, int],
    destination: tuple[bytes, int],
    *,
    protocol: int = 6,
    fragment: int = 0,
    options: bytes = b"",
) -> bytes:
    transport = struct.pack("!HH", source[1], destination[1]) + bytes(16)
    if len(source[0]) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(transport), protocol, 64)
        return head + source[0] + destination[0] + transport
    size = 20 + len(options)
    first = 0x40 | size // 4
    head = struct.pack("!BBHHHBBH", first, 0, size + len(transport), 1, fragment, 64, protocol, 0)
    return head + source[0] + destination[0] + options + transport


@pytest.mark.parametrize(("address", "other"), [(LOOPBACK4, OTHER4), (LOOPBACK6, OTHER6)])
def test_keeps_both_directions_and_nothing_else(address: bytes, other: bytes) -> None:
    program = bpf.connection_filter(address, 5432)
    us, server = (other, 40000), (address, 5432)
    assert accepts(program, ip_packet(us, server))
    assert accepts(program, ip_packet(server, us))
    assert not accepts(program, ip_packet((other, 5432), (address, 40000)))
    assert not accepts(program, ip_packet(us, (address, 5433)))
    assert not accepts(program, ip_packet(us, (other, 5432)))
    assert not accepts(program, ip_packet(us, server, protocol=17))


@pytest.mark.parametrize("address", [LOOPBACK4, LOOPBACK6])
def test_on_loopback_both_addresses_match_and_the_port_decides(address: bytes) -> None:
    program = bpf.connection_filter(address, 5432)
    assert accepts(program, ip_packet((address, 40000), (address, 5432)))
    assert accepts(program, ip_packet((address, 5432), (address, 40000)))
    assert not accepts(program, ip_packet((address, 40000), (address, 40001)))


def test_ipv4_options_move_the_ports() -> None:
    program = bpf.connection_filter(LOOPBACK4, 5432)
    packet = ip_packet((OTHER4, 1), (LOOPBACK4, 5432), options=bytes(12))
    assert accepts(program, packet)


def test_later_fragments_have_no_ports() -> None:
    program = bpf.connection_filter(LOOPBACK4, 5432)
    us, server = (OTHER4, 1), (LOOPBACK4, 5432)
    assert accepts(program, ip_packet(us, server, fragment=0x2000))
    assert not accepts(program, ip_packet(us, server, fragment=185))


@pytest.mark.parametrize("address", [LOOPBACK4, LOOPBACK6])
def test_the_outgoing_copy_is_dropped_only_when_asked(address: bytes) -> None:
    packet = ip_packet((address, 40000), (address, 5432))
    skipping = bpf.connection_filter(address, 5432, skip_outgoing=True)
    plain = bpf.connection_filter(address, 5432)
    assert not accepts(skipping, packet, packet_type=LEAVING)
    assert accepts(skipping, packet, packet_type=ARRIVING)
    assert accepts(plain, packet, packet_type=LEAVING)


def test_of_many_interfaces_loopback_alone_shows_its_packets_twice() -> None:
    packet = ip_packet((OTHER4, 40000), (LOOPBACK4, 5432))
    program = bpf.connection_filter(None, 5432, skip_outgoing=True)
    for direction in (LEAVING, ARRIVING):
        assert accepts(program, packet, packet_type=direction, interface=2)


@pytest.mark.parametrize(("address", "other"), [(LOOPBACK4, OTHER4), (LOOPBACK6, OTHER6)])
def test_any_host_any_port_or_both(address: bytes, other: bytes) -> None:
    there, back = ((other, 40000), (address, 5432)), ((address, 5432), (other, 40000))
    wrong = (other, 40000), (address, 5433)
    for packet in (there, back):
        assert accepts(bpf.connection_filter(None, 5432), ip_packet(*packet))
        assert accepts(bpf.connection_filter(address, None), ip_packet(*packet))
        assert accepts(bpf.connection_filter(None, None), ip_packet(*packet))
        assert not accepts(bpf.connection_filter(None, None), ip_packet(*packet, protocol=17))
    assert not accepts(bpf.connection_filter(None, 5432), ip_packet(*wrong))
    assert accepts(bpf.connection_filter(address, None), ip_packet(*wrong))
    elsewhere = ip_packet((other, 40000), (other, 5432))
    assert not accepts(bpf.connection_filter(address, None), elsewhere)
    assert not accepts(bpf.connection_filter(None, None), elsewhere, kind=0x0806)


def test_the_other_family_does_not_match() -> None:
    packet = ip_packet((OTHER6, 1), (LOOPBACK6, 5432))
    assert not accepts(bpf.connection_filter(LOOPBACK4, 5432), packet)
    assert not accepts(bpf.connection_filter(LOOPBACK6, 5432), packet, kind=0x0806)


@given(
    st.sampled_from([(LOOPBACK4, OTHER4), (LOOPBACK6, OTHER6)]),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
def test_a_range_of_ports_of_our_own(
    ends: tuple[bytes, bytes], source: int, destination: int
) -> None:
    program = bpf.ports_filter(Ports(32768, 40000))
    ours = any(32768 <= port <= 40000 for port in (source, destination))
    packet = (ends[0], source), (ends[1], destination)
    assert accepts(program, ip_packet(*packet)) == ours
    assert not accepts(program, ip_packet(*packet, protocol=17))
    assert not accepts(program, ip_packet(*packet), kind=0x0806)


@pytest.mark.parametrize("port", [32768, 40000])
def test_both_ends_of_the_range_belong_to_it(port: int) -> None:
    program = bpf.ports_filter(Ports(32768, 40000), skip_outgoing=True)
    packet = ip_packet((LOOPBACK4, port), (OTHER4, 443))
    assert accepts(program, packet)
    assert not accepts(program, packet, packet_type=LEAVING)


@given(
    st.sampled_from([LOOPBACK4, LOOPBACK6, None]),
    st.sampled_from([443, None]),
    st.binary(max_size=80),
    st.sampled_from([bpf.IPV4, bpf.IPV6]),
)
def test_any_bytes_come_to_an_end(
    address: bytes | None, port: int | None, ip: bytes, kind: int
) -> None:
    accepts(bpf.connection_filter(address, port, skip_outgoing=True), ip, kind=kind)


@pytest.mark.parametrize("port", [443, None])
@pytest.mark.parametrize("address", [LOOPBACK4, LOOPBACK6, None])
def test_the_kernel_accepts_the_program(address: bytes | None, port: int | None) -> None:
    is_accepted(bpf.connection_filter(address, port, skip_outgoing=True))


def test_the_kernel_accepts_a_range() -> None:
    is_accepted(bpf.ports_filter(Ports(1, 65535), skip_outgoing=True))


def is_accepted(listing: tuple[bpf.Instruction, ...]) -> None:
    """Attaches the program to a socket. Raises OSError if the kernel's checker refuses it."""
    program = bpf.encode(listing)
    assert len(program) % 8 == 0
    held = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        any_socket.setsockopt(socket.SOL_SOCKET, 26, description)
