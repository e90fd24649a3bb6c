"""The segments that are decoded many at once are those that are decoded one by one."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.files import ACK, FIN, RST, SYN, ip, pcap
from tlsprobe.captures import frame_reading, plain_packets
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.packets import frames
from tlsprobe.packets.packet import Packet

NEVER = 1 << 60
ETHERNET = bytes(12) + b"\x08\x00"
USUAL = b"\x01\x01\x08\x0a" + bytes(8)
FLAGS = [SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK]


def segments(data: bytes, many: int) -> tuple[list[Packet], object]:
    """Of every second flow, and what was counted."""
    # Of a stream in memory it is not known where the packets lie.
    with pytest.MonkeyPatch.context() as patch, os.fdopen(os.memfd_create("capture"), "w+b") as out:
        patch.setattr(frame_reading, "MANY", many)
        out.write(data)
        out.flush()
        with open_capture_file(f"/proc/self/fd/{out.fileno()}") as reading:
            try:
                some = frozenset([*reading.summary().halves][::2])
            except CaptureUnreadable as error:
                return [], error.message.partition(": ")[2]
            found = [*reading.packets(some.__contains__)]
            return found, (reading.total, reading.other, reading.skipped, reading.first_skipped)


def agree(data: bytes) -> list[Packet]:
    found, counts = segments(data, 0)
    assert (found, counts) == segments(data, NEVER)
    return found


def with_options(packet: bytes, options: bytes) -> bytes:
    size = 0x50 + (len(options) << 2)
    total = struct.pack("!H", len(packet) + len(options))
    return packet[:2] + total + packet[4:32] + bytes([size]) + packet[33:40] + options + packet[40:]


tcp = st.builds(
    ip,
    st.booleans(),
    st.sampled_from(FLAGS),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=3),
    st.integers(1, 4),
    st.sampled_from([0, 7, 65535]),
)
options = st.sampled_from([b"", USUAL, USUAL[::-1], b"\x03\x03\x07\x00", USUAL + bytes(4)])
lengths = st.sampled_from([None, 0, 20, 39, 41, 65535])
kinds = st.one_of(
    tcp.map(lambda packet: ETHERNET + packet),
    st.builds(lambda packet, added: ETHERNET + with_options(packet, added), tcp, options),
    st.builds(
        lambda packet, said: ETHERNET + packet[:2] + struct.pack("!H", said or 0) + packet[4:],
        tcp,
        lengths,
    ),
    tcp.map(lambda packet: bytes(12) + b"\x81\x00\x00\x07\x08\x00" + packet),
    tcp.map(lambda packet: ETHERNET + b"\x46" + packet[1:20] + bytes(4) + packet[20:]),
    tcp.map(lambda packet: ETHERNET + packet[:6] + b"\x20\x00" + packet[8:]),
    tcp.map(lambda packet: ETHERNET + packet[:9] + b"\x11" + packet[10:]),
    st.binary(max_size=80),
)
cut = st.tuples(kinds, st.sampled_from([NEVER, NEVER, 40, 53, 54, 60])).map(
    lambda frame: frame[0][: frame[1]]
)
sent_again = st.lists(cut, max_size=20).flatmap(
    lambda made: st.lists(st.sampled_from(made), max_size=60) if made else st.just([])
)


@pytest.mark.slow
@given(sent_again, st.sampled_from("<>"), st.booleans(), st.sampled_from([1, 200, 1 << 20]))
def test_frames_made_up(datas: list[bytes], order: str, nano: bool, room: int) -> None:
    """Some of them twice, as a capture at two places has them; read in pieces of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_packets, "ROOM", room)
        agree(pcap(datas, order=order, nano=nano, link=frames.ETHERNET))


def talk(count: int) -> Sequence[bytes]:
    return [ETHERNET + ip(True, ACK, 1000 + n, 5, b"x", 1 + n % 3, n) for n in range(count)]


def test_every_packet_comes_once_and_in_order() -> None:
    found = agree(pcap(talk(50), link=frames.ETHERNET))
    assert [packet.number for packet in found] == [n + 1 for n in range(50) if n % 3 != 1]
    assert all(packet.payload == b"x" and packet.ttl == 63 for packet in found)


def test_another_kind_of_link_is_decoded_one_by_one() -> None:
    assert len(agree(pcap([frame[14:] for frame in talk(9)], link=frames.RAW))) == 6


def test_what_was_cut_off_meanwhile_is_left_out() -> None:
    """By somebody who writes the file anew while it is read."""
    with pytest.MonkeyPatch.context() as patch, os.fdopen(os.memfd_create("capture"), "w+b") as out:
        patch.setattr(frame_reading, "MANY", 0)
        patch.setattr(plain_packets, "ROOM", 1)
        out.write(pcap(talk(30), link=frames.ETHERNET))
        out.flush()
        with open_capture_file(f"/proc/self/fd/{out.fileno()}") as reading:
            keys = frozenset(reading.summary().halves)
            out.truncate(1000)
            found = [packet.number for packet in reading.packets(keys.__contains__)]
    assert found == [*range(1, len(found) + 1)]
    assert 0 < len(found) < 30
