"""The key that files a frame: the same, quick or slow, as what the decoder finds in it."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.packets import frames
from tlsprobe.packets.decode import Decoder, Malformed
from tlsprobe.packets.frames import key_of
from tlsprobe.packets.packet import flow_key

A4, B4 = (ipaddress.ip_address(a).packed for a in ("127.0.0.1", "192.0.2.7"))
A6, B6 = (ipaddress.ip_address(a).packed for a in ("::1", "2001:db8::7"))

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


def tcp(payload: bytes = b"") -> bytes:
    return struct.pack("!HHIIHHHH", 40000, 443, 1000, 2000, 5 << 12 | 0x18, 512, 0, 0) + payload


def ipv4(transport: bytes, *, options: bytes = b"", fragment: int = 0x4000) -> bytes:
    size = 20 + len(options)
    total = size + len(transport)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, total, 7, fragment, 63, 6, 0)
    return head + A4 + B4 + options + transport


def ipv6(transport: bytes, *, extensions: bytes = b"", first: int = 6) -> bytes:
    body = extensions + transport
    return struct.pack("!IHBB", 6 << 28, len(body), first, 63) + A6 + B6 + body


@pytest.mark.parametrize("link", LINKS)
def test_every_link_type_has_the_key_of_its_two_ends(link: int) -> None:
    heads = LINKS[link]
    assert key_of(heads[0] + ipv4(tcp(b"x")), link) == flow_key((A4, 40000), (B4, 443))
    assert key_of(heads[1] + ipv6(tcp(b"x")), link) == flow_key((A6, 40000), (B6, 443))


@pytest.mark.parametrize("tags", [b"\x81\x00\x20\x05", b"\x88\xa8\x45\x05\x81\x00\x00\x07"])
def test_vlan_tags_are_stepped_over(tags: bytes) -> None:
    frame = bytes(12) + tags + b"\x08\x00" + ipv4(tcp(b"x"))
    assert key_of(frame, frames.ETHERNET) == flow_key((A4, 40000), (B4, 443))


def test_options_and_extension_headers_are_stepped_over() -> None:
    head, head6 = LINKS[frames.ETHERNET]
    old = ipv4(tcp(), options=bytes(8))
    new = ipv6(tcp(), extensions=b"\x06\x00" + bytes(6), first=0)
    assert key_of(head + old, frames.ETHERNET) == flow_key((A4, 40000), (B4, 443))
    assert key_of(head6 + new, frames.ETHERNET) == flow_key((A6, 40000), (B6, 443))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(60),
        bytes(12) + b"\x08\x06" + bytes(46),
        bytes(12) + b"\x08\x00" + ipv4(tcp()).replace(b"\x3f\x06", b"\x3f\x11"),
        bytes(12) + b"\x08\x00" + ipv4(tcp(), fragment=185),
        bytes(12) + b"\x86\xdd" + ipv6(tcp(), first=17),
        bytes(12) + b"\x86\xdd" + ipv6(tcp(), extensions=b"\x06\0\0\x08" + bytes(4), first=44),
    ],
)
def test_what_is_no_tcp_or_a_later_fragment_has_none(frame: bytes) -> None:
    assert key_of(frame, frames.ETHERNET) == b""


def test_a_first_fragment_is_filed_with_its_connection() -> None:
    frame = LINKS[frames.ETHERNET][0] + ipv4(tcp(), fragment=0x2000)
    assert key_of(frame, frames.ETHERNET) == flow_key((A4, 40000), (B4, 443))


@given(st.binary(max_size=120), st.sampled_from([*LINKS, 12345]))
def test_any_bytes_have_a_key_or_none(frame: bytes, link: int) -> None:
    key_of(frame, link)


@given(st.data())
def test_the_key_is_that_of_the_decoded_packet(data: st.DataObject) -> None:
    link = data.draw(st.sampled_from(sorted(LINKS)))
    which = data.draw(st.sampled_from([0, 1]))
    packet = bytearray((ipv4(tcp(b"xyz")), ipv6(tcp(b"xyz")))[which])
    for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=3)):
        packet[place] = data.draw(st.integers(0, 255))
    frame = LINKS[link][which] + bytes(packet)
    try:
        found = Decoder().decode(frame, link, len(frame), 0, 1)
    except Malformed:
        return
    if found is not None:
        assert key_of(frame, link) == found.key
