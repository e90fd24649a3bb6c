"""Frames of every link type down to the TCP header, and whatever is none."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.packets import frames
from tlsprobe.packets.frames import decode, flow_key, key

A4, B4 = (ipaddress.ip_address(a).packed for a in ("127.0.0.1", "192.0.2.7"))
A6, B6 = (ipaddress.ip_address(a).packed for a in ("::1", "2001:db8::7"))
TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"

LINKS = {
    frames.ETHERNET: (bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"),
    frames.RAW: (b"", b""),
    frames.RAW_OF_OLD: (b"", b""),
    frames.IPV4_ONLY: (b"", b""),
    frames.NULL: (struct.pack("@I", 2), struct.pack("@I", 10)),
    frames.LOOP: (struct.pack("!I", 2), struct.pack("!I", 24)),
    frames.LINUX_COOKED: (bytes(14) + b"\x08\x00", bytes(14) + b"\x86\xdd"),
    frames.LINUX_COOKED_2: (b"\x08\x00" + bytes(18), b"\x86\xdd" + bytes(18)),
}


def tcp(payload: bytes = b"", flags: int = 0x18, options: bytes = TIMESTAMPS) -> bytes:
    size = (20 + len(options)) // 4
    head = struct.pack("!HHIIHHHH", 40000, 443, 1000, 2000, size << 12 | flags, 512, 0, 0)
    return head + options + payload


def ipv4(transport: bytes, *, total: int | None = None, options: bytes = b"") -> bytes:
    size = 20 + len(options)
    total = size + len(transport) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, total, 7, 0x4000, 63, 6, 0)
    return head + A4 + B4 + options + transport


def ipv6(transport: bytes, *, extensions: bytes = b"", first: int = 6) -> bytes:
    body = extensions + transport
    return struct.pack("!IHBB", 6 << 28, len(body), first, 63) + A6 + B6 + body


@pytest.mark.parametrize("link", LINKS)
def test_every_link_type(link: int) -> None:
    for head, packet in zip(LINKS[link], (ipv4(tcp(b"hello")), ipv6(tcp(b"hello"))), strict=True):
        frame = head + packet
        found = decode(frame, link)
        assert found is not None
        assert (found.source_port, found.destination_port) == (40000, 443)
        assert (found.seq, found.ack, found.flags, found.window) == (1000, 2000, 0x18, 512)
        assert (found.ttl, found.timestamps, found.length) == (63, True, 5)
        assert frame[found.payload :] == b"hello"


def test_addresses_and_ip_id() -> None:
    old, new = decode(ipv4(tcp()), frames.RAW), decode(ipv6(tcp()), frames.RAW)
    assert old is not None
    assert new is not None
    assert (old.source, old.destination, old.ip_id) == (A4, B4, 7)
    assert (new.source, new.destination, new.ip_id) == (A6, B6, None)


@pytest.mark.parametrize("tags", [b"\x81\x00\x20\x05", b"\x88\xa8\x45\x05\x81\x00\x00\x07"])
def test_vlan_tags_are_stepped_over(tags: bytes) -> None:
    frame = bytes(12) + tags + b"\x08\x00" + ipv4(tcp(b"x"))
    found = decode(frame)
    assert found is not None
    assert found.length == 1
    assert flow_key(frame) == key((A4, 40000), (B4, 443))


def test_ethernet_padding_is_not_payload() -> None:
    found = decode(LINKS[frames.ETHERNET][0] + ipv4(tcp(options=b"")) + bytes(6))
    assert found is not None
    assert found.length == 0


def test_a_frame_cut_off_by_the_capture_keeps_its_length() -> None:
    frame = LINKS[frames.ETHERNET][0] + ipv4(tcp(bytes(1000)))
    found = decode(frame[:100])
    assert found is not None
    assert found.length == 1000


def test_a_total_length_of_zero_is_left_to_the_network_card() -> None:
    found = decode(ipv4(tcp(bytes(3000)), total=0), frames.RAW)
    assert found is not None
    assert found.length == 3000


def test_ipv4_options_and_ipv6_extension_headers() -> None:
    old = decode(ipv4(tcp(b"abc"), options=bytes(8)), frames.RAW)
    new = decode(ipv6(tcp(b"abc"), extensions=b"\x06\x00" + bytes(6), first=0), frames.RAW)
    assert old is not None
    assert new is not None
    assert (old.length, new.length) == (3, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TIMESTAMPS, True),
        (SYN_OPTIONS, True),
        (b"", False),
        (b"\x02\x04\x05\xb4", False),
        (b"\x01\x01\x05\x0a" + bytes(8), False),
        (b"\x00\x08\x0a\x00", False),
        (b"\x02\x00\x08\x0a", False),
    ],
)
def test_timestamps_option(options: bytes, expected: bool) -> None:
    found = decode(ipv4(tcp(options=options)), frames.RAW)
    assert found is not None
    assert found.timestamps is expected


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(60),
        bytes(12) + b"\x08\x06" + bytes(46),
        bytes(12) + b"\x08\x00" + ipv4(tcp(), total=30),
        bytes(12) + b"\x08\x00" + ipv4(tcp())[:34],
        bytes(12) + b"\x08\x00" + ipv4(tcp()).replace(b"\x3f\x06", b"\x3f\x11"),
        bytes(12) + b"\x86\xdd" + ipv6(tcp(), first=17),
    ],
)
def test_what_is_not_a_whole_tcp_header_is_none(frame: bytes) -> None:
    assert decode(frame) is None


def test_a_later_fragment_has_no_header() -> None:
    packet = bytearray(ipv4(tcp()))
    packet[6:8] = (185).to_bytes(2, "big")
    assert decode(bytes(packet), frames.RAW) is None


@given(st.binary(max_size=120), st.sampled_from([*LINKS, 12345]))
def test_any_bytes_are_a_packet_or_none(frame: bytes, link: int) -> None:
    decode(frame, link)
    flow_key(frame, link)


@given(st.data())
def test_the_key_is_that_of_the_decoded_packet(data: st.DataObject) -> None:
    link = data.draw(st.sampled_from(sorted(LINKS)))
    which = data.draw(st.sampled_from([0, 1]))
    packet = bytearray((ipv4(tcp(b"xyz")), ipv6(tcp(b"xyz")))[which])
    for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=3)):
        packet[place] = data.draw(st.integers(0, 255))
    frame = LINKS[link][which] + bytes(packet)
    found = decode(frame, link)
    if found is not None:
        there = (found.source, found.source_port), (found.destination, found.destination_port)
        assert flow_key(frame, link) == key(*there)
