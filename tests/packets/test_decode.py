"""Link types, IP with options, extensions and fragments, and packets that were captured twice."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.packets import fragments as fragments_module
from tlsprobe.packets import frames
from tlsprobe.packets.decode import Decoder, Malformed
from tlsprobe.packets.packet import Packet

A4, B4 = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"
USUAL = b"\x01\x01\x08\x0a" + bytes(8)
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"


def tcp(payload: bytes = b"", flags: int = 0x18, options: bytes = b"", seq: int = 1000) -> bytes:
    size = (20 + len(options)) // 4
    head = struct.pack("!HHIIBBHI", 40000, 443, seq, 2000, size << 4, flags, 512, 0)
    return head + options + payload


def ipv4(
    transport: bytes,
    *,
    total: int | None = None,
    options: bytes = b"",
    fragment: int = 0x4000,
    ip_id: int = 7,
    ttl: int = 63,
) -> bytes:
    size = 20 + len(options)
    total = size + len(transport) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, total, ip_id, fragment, ttl, 6, 0)
    return head + A4 + B4 + options + transport


def ipv6(behind: bytes, first: int = 6) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(behind), first, 63) + A6 + B6 + behind


def decoded(
    frame: bytes, link: int = frames.RAW, decoder: Decoder | None = None, *, time_ns: int = 0
) -> Packet | None:
    return (decoder or Decoder()).decode(frame, link, len(frame), time_ns, 1)


def payload_of(packet: Packet | None) -> bytes:
    assert packet is not None
    assert packet.length == len(packet.payload)
    return packet.payload


@pytest.mark.parametrize(
    ("link", "head", "version"),
    [
        (frames.ETHERNET, bytes(12) + b"\x08\x00", 4),
        (frames.ETHERNET, bytes(12) + b"\x81\x00\x00\x05\x86\xdd", 6),
        (frames.ETHERNET, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00", 4),
        (frames.ETHERNET, bytes(12) + b"\x91\x00\x00\x05\x81\x00\x00\x06\x86\xdd", 6),
        (frames.LINUX_COOKED, bytes(14) + b"\x08\x00", 4),
        (frames.LINUX_COOKED, bytes(14) + b"\x81\x00\x00\x05\x08\x00", 4),
        (frames.LINUX_COOKED_2, b"\x86\xdd" + bytes(18), 6),
        (frames.LINUX_COOKED_2, b"\x81\x00" + bytes(18) + b"\x00\x05\x08\x00", 4),
        (frames.NULL, struct.pack("<I", 2), 4),
        (frames.NULL, struct.pack(">I", 30), 6),
        (frames.LOOP, struct.pack(">I", 24), 6),
        (frames.RAW, b"", 4),
        (frames.RAW_OF_OLD, b"", 6),
        (frames.RAW_OF_OPENBSD, b"", 4),
        (frames.IPV4_ONLY, b"", 4),
        (frames.IPV6_ONLY, b"", 6),
    ],
)
def test_link_types(link: int, head: bytes, version: int) -> None:
    inner = ipv4(tcp(b"hello")) if version == 4 else ipv6(tcp(b"hello"))
    packet = decoded(head + inner, link)
    assert payload_of(packet) == b"hello"
    assert packet is not None
    assert (packet.src[1], packet.dst[1], packet.ttl) == (40000, 443, 63)
    assert (packet.ip_id, packet.df) == ((7, True) if version == 4 else (None, None))


HOP = b"\x06\x00" + bytes(6)


@pytest.mark.parametrize(
    ("extensions", "first"),
    [
        (b"\x06\x00" + bytes(6), 0),
        (b"\x06\x01" + bytes(14), 43),
        (b"\x06\x00" + bytes(6), 60),
        (b"\x06\x04" + bytes(22), 51),
        (b"\x3c\x00" + bytes(6) + b"\x06\x00" + bytes(6), 0),
        (b"\x06\x00\x00\x00" + bytes(4), 44),
        (b"\x33\x00" + bytes(6) + b"\x06\x04" + bytes(22), 43),
    ],
)
def test_ipv6_extension_headers(extensions: bytes, first: int) -> None:
    assert payload_of(decoded(ipv6(extensions + tcp(b"abc"), first))) == b"abc"


def test_endless_extension_headers_end() -> None:
    assert decoded(ipv6(bytes(8 * 100), 0)) is None


def test_ipv4_options_and_window_scale() -> None:
    packet = decoded(ipv4(tcp(flags=0x02, options=SYN_OPTIONS), options=bytes(8)))
    assert packet is not None
    assert (packet.window_scale, packet.timestamps, packet.ack) == (7, True, None)
    assert packet.options == b"\x02\x04\x08\x01\x03"


def test_lengths_are_those_of_the_ip_header() -> None:
    decoder = Decoder()
    whole = ipv4(tcp(bytes(1000)))
    found = decoder.find(whole[:60], frames.RAW, len(whole), 0)
    assert found is not None
    packet = decoder.segment(found, 1, 0, 0)
    assert (packet.length, len(packet.payload)) == (1000, 20)
    assert payload_of(decoded(ipv4(tcp(b"x")) + bytes(5))) == b"x"
    found = decoder.find(ipv4(tcp(bytes(3000)), total=0)[:100], frames.RAW, 3040, 0)
    assert found is not None
    assert decoder.segment(found, 1, 0, 0).length == 3000


def test_options_that_were_cut_off_are_unknown() -> None:
    decoder = Decoder()
    frame = ipv4(tcp(b"x", options=bytes([1] * 12)))
    found = decoder.find(frame[:45], frames.RAW, len(frame), 0)
    assert found is not None
    cut, whole = (
        decoder.segment(found, 1, 0, 0),
        decoder.segment(found._replace(frame=frame), 1, 0, 0),
    )
    assert (cut.options, cut.timestamps) == (None, True)
    assert (whole.options, whole.timestamps) == (bytes([1] * 12), False)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (ipv4(tcp())[:30], "cut off"),
        (ipv4(tcp())[:39], "cut off"),
        (ipv6(tcp())[:50], "cut off"),
        (ipv4(tcp()[:12] + b"\x40" + tcp()[13:]), "a TCP header of 16 bytes"),
        (ipv4(tcp(), total=30), "less than its headers"),
    ],
)
def test_tcp_that_cannot_be_read_says_why(frame: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decoded(frame)


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (bytes(60), frames.ETHERNET),
        (bytes(12) + b"\x08\x06" + bytes(28), frames.ETHERNET),
        (ipv4(tcp()).replace(b"\x3f\x06", b"\x3f\x11"), frames.RAW),
        (ipv6(tcp(), 17), frames.RAW),
        (b"", frames.RAW),
        (bytes(40), frames.NULL),
    ],
)
def test_what_is_not_tcp_is_none(frame: bytes, link: int) -> None:
    assert decoded(frame, link) is None


SEGMENT = tcp(bytes(range(60)), options=bytes([1] * 12))
PARTS_4 = [
    ipv4(SEGMENT[:16], fragment=0x2000),
    ipv4(SEGMENT[16:48], fragment=0x2000 | 2),
    ipv4(SEGMENT[48:], fragment=6),
]


def fragment6(start: int, end: int, *, more: bool) -> bytes:
    return ipv6(struct.pack("!BxHI", 6, start | more, 99) + SEGMENT[start:end], 44)


PARTS_6 = [
    fragment6(0, 16, more=True),
    fragment6(16, 48, more=True),
    fragment6(48, len(SEGMENT), more=False),
]


@pytest.mark.parametrize("parts", [PARTS_4, PARTS_6])
def test_fragments_in_any_order(parts: list[bytes]) -> None:
    for order in permutations(parts):
        decoder = Decoder()
        *waiting, last = (decoded(part, decoder=decoder) for part in order)
        assert waiting == [None, None]
        assert payload_of(last) == bytes(range(60))
        assert decoder.fragments.unfinished == 0


def test_where_fragments_overlap_the_first_wins() -> None:
    decoder = Decoder()
    late = bytearray(SEGMENT[24:48])
    late[8:24] = b"!" * 16
    parts = [
        PARTS_4[0],
        ipv4(SEGMENT[32:48], fragment=0x2000 | 4),
        ipv4(SEGMENT[16:24] + bytes(late), fragment=0x2000 | 2),
        PARTS_4[2],
    ]
    *_, last = (decoded(part, decoder=decoder) for part in parts)
    assert payload_of(last) == bytes(range(60))


def test_fragments_of_cut_off_frames_keep_the_length() -> None:
    decoder = Decoder()
    short = [part[:60] for part in (ipv4(SEGMENT[:48], fragment=0x2000), PARTS_4[2])]
    assert decoded(short[0], decoder=decoder) is None
    packet = decoded(short[1], decoder=decoder)
    assert packet is not None
    assert (packet.length, packet.payload) == (60, bytes(range(8)))


def test_fragments_are_bounded_and_counted() -> None:
    decoder = Decoder()
    for ip_id in range(2000):
        part = ipv4(bytes(1400), fragment=0x2000, ip_id=ip_id)
        assert decoded(part, decoder=decoder) is None
    assert decoder.fragments.unfinished == 2000
    assert len(decoder.fragments._waiting) <= fragments_module.DATAGRAM_LIMIT
    for n in range(1000):
        assert decoded(ipv4(bytes(8), fragment=0x2000 | 2 * n), decoder=decoder) is None
    assert decoder.fragments._held <= fragments_module.BYTES_LIMIT


def test_a_fragment_beyond_the_largest_packet_is_given_up() -> None:
    decoder = Decoder()
    assert decoded(ipv4(bytes(1400), fragment=0x1FFF), decoder=decoder) is None
    assert decoder.fragments.incomplete == 1


def test_an_id_that_comes_back_much_later_is_another_packet() -> None:
    decoder = Decoder()
    late = 2 * fragments_module.LIFETIME_NS
    assert decoded(PARTS_4[0], decoder=decoder) is None
    assert decoded(PARTS_4[1], decoder=decoder, time_ns=late) is None
    assert decoded(PARTS_4[2], decoder=decoder, time_ns=late) is None
    assert decoder.fragments.unfinished == 2


def cooked(packet: bytes, *, outgoing: bool = False, device: int = 1) -> bytes:
    return (
        b"\x08\x00\x00\x00"
        + device.to_bytes(4, "big")
        + bytes(2)
        + bytes([4 * outgoing])
        + bytes(9)
        + packet
    )


def copies(*shots: tuple[bytes, int]) -> list[bool]:
    decoder = Decoder()
    found = [decoded(f, frames.LINUX_COOKED_2, decoder, time_ns=t) for f, t in shots]
    return [packet is not None and packet.copy for packet in found]


def test_a_packet_seen_at_two_places_is_a_copy() -> None:
    first, second = cooked(ipv4(tcp())), cooked(ipv4(tcp(), ttl=62), outgoing=True, device=2)
    assert copies((first, 0), (second, 5000)) == [False, True]
    # The same number sent again has another id.
    again = cooked(ipv4(tcp(), ip_id=8), device=2)
    assert copies((first, 0), (again, 5000)) == [False, False]
    # Without an id, only a short while tells.
    bare = [cooked(ipv4(tcp(flags=4), ip_id=0), device=d) for d in (1, 2)]
    assert copies((bare[0], 0), (bare[1], 5000)) == [False, True]
    assert copies((bare[0], 0), (bare[1], 10**9)) == [False, False]
    # Of several interfaces dumpcap writes many packets of one before those of the next.
    assert copies((first, 5000), (second, 0)) == [False, True]
    assert copies((first, 10**9), (second, 0)) == [False, False]


def test_two_equal_resets_at_two_places_are_two() -> None:
    one, other = (cooked(ipv4(tcp(flags=4), ip_id=0), device=d) for d in (1, 2))
    assert copies((one, 0), (one, 10), (other, 20), (other, 30)) == [False, False, True, True]
    assert copies((one, 0), (other, 10), (one, 20), (other, 30)) == [False, True, False, True]


def test_at_one_place_only_the_id_tells() -> None:
    packet, bare = cooked(ipv4(tcp())), cooked(ipv4(tcp(flags=4), ip_id=0))
    assert copies((packet, 0), (packet, 1000)) == [False, True]
    assert copies((packet, 0), (packet, 10**8)) == [False, False]
    assert copies((bare, 0), (bare, 1000)) == [False, False]


def test_where_most_are_captured_twice_so_is_what_has_no_id() -> None:
    """A switch that mirrors both of its ports shows each packet twice."""
    data, bare = cooked(ipv4(tcp())), cooked(ipv4(tcp(flags=4), ip_id=0))
    mirrored = (data, 0), (data, 1000), (bare, 2000), (bare, 3000)
    assert copies(*mirrored) == [False, True, False, True]
    assert copies(*mirrored, (bare, 4000), (bare, 5000))[4:] == [False, True]
    others = [(cooked(ipv4(tcp(), ip_id=n)), n) for n in range(20, 24)]
    assert copies(*others, *mirrored)[4:] == [False, True, False, False]


def outcome(work: Callable[[], Packet | None]) -> Packet | str | None:
    try:
        return work()
    except Malformed as why:
        return str(why)


@given(st.data())
def test_plain_frames_are_decoded_as_others_are(data: st.DataObject) -> None:
    """The short way and the long one, of any frame that begins like a plain one."""
    options = data.draw(st.sampled_from([b"", USUAL, SYN_OPTIONS, bytes([1] * 12), b"\3\3\7\0"]))
    inner = tcp(data.draw(st.binary(max_size=30)), data.draw(st.integers(0, 255)), options)
    version = data.draw(st.sampled_from([4, 6]))
    packet = bytearray(ipv4(inner) if version == 4 else ipv6(inner))
    for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=3)):
        packet[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packet)) | st.just(len(packet)))
    length = 14 + len(packet) + data.draw(st.integers(-9, 9))
    kind = {4: b"\x08\x00", 6: b"\x86\xdd"}[version]
    frame = bytes(12) + kind + bytes(packet[:cut])

    def long_way() -> Packet | None:
        decoder = Decoder()
        found = decoder.find(frame, frames.ETHERNET, length, 5)
        return None if found is None else decoder.segment(found, 1, 5, 0)

    assert outcome(lambda: Decoder().decode(frame, frames.ETHERNET, length, 5, 1)) == outcome(
        long_way
    )


@given(st.binary(max_size=120), st.sampled_from(sorted(frames.LINKS)), st.integers(0, 9000))
def test_any_frame_is_a_segment_or_none_or_malformed(frame: bytes, link: int, length: int) -> None:
    decoder = Decoder()
    try:
        found = decoder.find(frame, link, length, 0)
    except Malformed as why:
        assert str(why)
    else:
        if found is not None:
            packet = decoder.segment(found, 1, 0, decoder.place(frame, link, 0))
            assert packet.length >= 0


@given(st.lists(st.tuples(st.sampled_from([*PARTS_4, *PARTS_6]), st.integers(0, 130)), max_size=8))
def test_any_fragments_in_any_length(parts: list[tuple[bytes, int]]) -> None:
    decoder = Decoder()
    for part, cut in parts:
        try:
            decoded(part[: len(part) - cut] if cut < 100 else part, decoder=decoder)
        except Malformed as why:
            assert str(why)
