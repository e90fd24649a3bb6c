"""The packet in a tunnel is the packet outside, and the tunnel is named."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packets import wrapping
from tests.packets.test_decode import SYN_OPTIONS, USUAL, decoded, ipv4, ipv6, outcome, tcp
from tests.packets.wrapping import FRAMES, NAMES, takes, tunnel_of
from tlsprobe.packets import frames
from tlsprobe.packets.decode import STEPS, Decoder, Malformed
from tlsprobe.packets.packet import Packet

INNER = {4: ipv4(tcp(b"hello", options=USUAL)), 6: ipv6(tcp(b"hello", options=USUAL))}


def through(packet: Packet | None) -> str:
    assert packet is not None
    return packet.tunnel


@pytest.mark.parametrize(
    ("name", "version"), [(n, v) for n in NAMES for v in INNER if takes(n, INNER[v])]
)
def test_what_a_tunnel_carries_is_read_and_the_tunnel_named(name: str, version: int) -> None:
    inner = INNER[version]
    packet = decoded(wrapping.ethernet(tunnel_of(name).wrap(inner)), frames.ETHERNET)
    plain = decoded(inner)
    assert plain is not None
    assert packet == plain._replace(interface=~0, tunnel=tunnel_of(name).name)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("version", [4, 6])
def test_what_ethernet_carries_it_in(name: str, version: int) -> None:
    packet = decoded(FRAMES[name].wrap(INNER[version]), frames.ETHERNET)
    assert through(packet) == FRAMES[name].name


@given(st.data())
def test_any_frame_in_any_stack_of_tunnels_is_the_plain_frame(data: st.DataObject) -> None:
    options = data.draw(st.sampled_from([b"", USUAL, SYN_OPTIONS, b"\3\3\7\0"]))
    segment = tcp(data.draw(st.binary(max_size=30)), data.draw(st.integers(0, 255)), options)
    packet = ipv4(segment) if data.draw(st.booleans()) else ipv6(segment)
    plain = decoded(packet)
    assert plain is not None
    name = ""
    for _ in range(data.draw(st.integers(0, 4))):
        way = data.draw(st.sampled_from([n for n in NAMES if takes(n, packet)]))
        packet = tunnel_of(way).wrap(packet)
        name += f", inside {tunnel_of(way).name}" if name else tunnel_of(way).name
    last = data.draw(st.sampled_from(sorted(FRAMES)))
    outer = FRAMES[last].name
    name = ", inside ".join(filter(None, (name, outer)))
    found = decoded(FRAMES[last].wrap(packet), frames.ETHERNET)
    assert found is not None
    assert found == plain._replace(interface=found.interface, tunnel=name)


@given(st.data())
def test_any_damage_to_a_frame_in_tunnels_is_borne(data: st.DataObject) -> None:
    packet = INNER[data.draw(st.sampled_from([4, 6]))]
    for _ in range(data.draw(st.integers(1, 3))):
        way = data.draw(st.sampled_from([n for n in NAMES if takes(n, packet)]))
        packet = tunnel_of(way).wrap(packet)
    frame = bytearray(FRAMES[data.draw(st.sampled_from(sorted(FRAMES)))].wrap(packet))
    for place in data.draw(st.lists(st.integers(12, len(frame) - 1), max_size=4)):
        frame[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(frame)) | st.just(len(frame)))
    found = outcome(lambda: decoded(bytes(frame[:cut]), frames.ETHERNET))
    assert found is None or isinstance(found, str) or found.length >= 0


def test_a_stack_without_end_ends() -> None:
    packet = INNER[4]
    for _ in range(2 * STEPS):
        packet = wrapping.ipv4(4, packet)
    decoder = Decoder()
    assert decoded(packet, decoder=decoder) is None
    assert sum(decoder.closed.values()) == 1


def test_an_outer_packet_in_fragments_is_put_together() -> None:
    body = wrapping.udp(4789, struct.pack("!II", 8 << 24, 42 << 8) + wrapping.ethernet(INNER[4]))
    parts = [
        wrapping.ipv4(17, body[:48], fragment=0x2000),
        wrapping.ipv4(17, body[48:], fragment=6),
    ]
    decoder = Decoder()
    assert decoded(parts[0], decoder=decoder) is None
    assert decoder.fragments.unfinished == 1
    assert through(decoded(parts[1], decoder=decoder)) == f"VXLAN 42 {wrapping.BETWEEN_4}"
    assert decoder.fragments.unfinished == 0


def test_fragments_of_other_udp_are_not_waited_for() -> None:
    decoder = Decoder()
    for part in (
        wrapping.ipv4(17, wrapping.udp(53, bytes(40)), fragment=0x2000),
        wrapping.ipv4(17, bytes(48), fragment=6),
    ):
        assert decoded(part, decoder=decoder) is None
    assert decoder.fragments.unfinished == 0


def test_an_inner_fragment_is_put_together() -> None:
    segment = tcp(bytes(40))
    decoder = Decoder()
    wrap = tunnel_of("gre").wrap
    assert decoded(wrap(ipv4(segment[:24], fragment=0x2000)), decoder=decoder) is None
    found = decoded(wrap(ipv4(segment[24:], fragment=3)), decoder=decoder)
    assert through(found) == f"GRE {wrapping.BETWEEN_4}"


def test_the_same_packet_inside_and_outside_of_a_tunnel_is_one() -> None:
    decoder = Decoder()
    plain = wrapping.ethernet(INNER[4])
    for n, frame in enumerate((plain, wrapping.ethernet(tunnel_of("vxlan").wrap(INNER[4])))):
        packet = decoder.decode(frame, frames.ETHERNET, len(frame), n * 5000, n)
        assert packet is not None
        assert packet.copy == (n == 1)


CLOSED = {
    "ESP": wrapping.ipv4(50, bytes(60)),
    "AH": wrapping.ipv4(51, bytes(60)),
    "L2TP": wrapping.ipv4(17, wrapping.udp(1701, bytes(60))),
    "QUIC": wrapping.ipv6(17, wrapping.udp(443, bytes(60))),
    "WireGuard": wrapping.ipv4(17, wrapping.udp(51820, b"\4" + bytes(60))),
    "GRE of type 0x2000": wrapping.gre(0, 0x2000, b"", bytes(40)),
    "GRE": wrapping.gre(0x4000, 0x0800, b"", bytes(40)),
    "NSH": wrapping.gre(0, 0x894F, b"", bytes(40)),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_what_is_not_looked_into_is_counted_by_kind(kind: str) -> None:
    decoder = Decoder()
    assert decoded(CLOSED[kind], decoder=decoder) is None
    assert dict(decoder.closed) == {kind: 1}


def test_kinds_are_bounded() -> None:
    decoder = Decoder()
    for kind in range(0x3000, 0x3100):
        assert decoded(wrapping.gre(0, kind, b"", bytes(40)), decoder=decoder) is None
    assert len(decoder.closed) <= 65
    assert sum(decoder.closed.values()) == 256


def test_esp_in_udp_and_what_keeps_its_nat_awake() -> None:
    decoder = Decoder()
    for body in (b"\0\0\1\0" + bytes(40), bytes(40), b"\xff"):
        assert decoded(wrapping.ipv4(17, wrapping.udp(4500, body)), decoder=decoder) is None
    assert dict(decoder.closed) == {"ESP": 1}


@pytest.mark.parametrize("name", ["vxlan", "geneve", "gtp-u", "gre", "erspan-3"])
def test_a_tunnel_cut_off_by_the_snap_length_is_said_to_be_unreadable(name: str) -> None:
    whole = tunnel_of(name).wrap(INNER[4])
    for size in range(23, len(whole) - 40):
        try:
            found = Decoder().find(whole[:size], frames.RAW, len(whole), 0)
        except Malformed as why:
            assert "cut off" in str(why)
        else:
            assert found is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("link", "head"),
    [
        (frames.PPP, b""),
        (frames.PPP_SERIAL, b""),
        (frames.PPP_WITH_DIRECTION, b"\1"),
        (frames.PPPOE, struct.pack("!HHH", 0x1100, 17, 60)),
        (frames.NFLOG, b"\2\0\0\0" + struct.pack("<HH4s", 8, 1, b"\x08\0\1\0")),
        (frames.NFLOG, b"\2\0\0\0" + struct.pack(">HH4s", 7, 10, b"log\0")),
        (frames.PKTAP, b""),
        (frames.PKTAP_OF_OLD, b""),
    ],
)
def test_link_types_that_are_no_ethernet(link: int, head: bytes, version: int) -> None:
    inner = INNER[version]
    body = {frames.NFLOG: struct.pack("<HH" if head[4:6] != b"\0\7" else ">HH", len(inner) + 4, 9)}
    frame = head + body.get(link, b"") + inner
    if link in {frames.PPP, frames.PPP_SERIAL, frames.PPP_WITH_DIRECTION}:
        frame = head + wrapping.ppp(inner)
    elif link == frames.PPPOE:
        frame = head + wrapping.ppp(inner)[3:]  # the protocol in one byte
    elif link in {frames.PKTAP, frames.PKTAP_OF_OLD}:
        frame = struct.pack("<III", 108, 1, frames.ETHERNET) + b"en0".ljust(24, b"\0")
        frame += struct.pack("<I", 2).ljust(72, b"\0") + wrapping.ethernet(inner)
    packet = decoded(frame, link)
    assert packet is not None
    assert (packet.payload, packet.src[1]) == (b"hello", 40000)
    assert packet.tunnel == ("PPPoE session 17" if link == frames.PPPOE else "")
    assert (packet.interface < 0) == (link not in {frames.PPP, frames.PPP_SERIAL})


def test_pktap_in_pktap_is_not_followed() -> None:
    frame = struct.pack("<III", 40, 1, frames.PKTAP) + bytes(60)
    assert decoded(frame, frames.PKTAP) is None
