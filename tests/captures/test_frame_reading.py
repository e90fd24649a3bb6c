"""Capture files of all kinds: what is read, how it ends, and what is said of damage."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import pytest

from tests.captures.files import (
    ACK,
    CLIENT,
    CLOSED,
    EXPECTED,
    FIN,
    KEY_LOG,
    RST,
    SERVER,
    SYN,
    brief,
    ip,
    pcap,
    pcapng,
    read,
)
from tlsprobe.captures.pcapng_writer import SECRETS, SECTION, TLS_KEY_LOG, block
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable, Reading
from tlsprobe.captures.summary import Mark
from tlsprobe.packets import frames
from tlsprobe.packets.packet import endpoints, flow_key, reverse


def read_capture(data: bytes) -> Reading:
    return open_capture_file(io.BytesIO(data))


def big(kind: int, body: bytes) -> bytes:
    total = struct.pack(">I", len(body) + 12)
    return struct.pack(">I", kind) + total + body + total


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_pcap(order: str, nano: bool, zipped: bool) -> None:
    data = pcap(CLOSED, order=order, nano=nano)
    reading, found = read(gzip.compress(data) if zipped else data)
    assert reading.kind == "pcap"
    assert brief(found) == EXPECTED
    assert found[4].time_ns == 10**9 + 4 * (1 if nano else 1000)
    assert (reading.total, reading.other, reading.skipped, reading.truncated) == (5, 0, 0, None)


def test_pcapng_with_secrets_and_what_was_dropped() -> None:
    reading, found = read(pcapng(*CLOSED, dropped=3))
    assert reading.kind == "pcapng"
    assert brief(found) == EXPECTED
    assert reading.secrets == [KEY_LOG]
    assert reading.notes == ["the capture lost 3 packets on test0: the kernel dropped them"]


def test_sections_and_interfaces_each_with_their_own_ways() -> None:
    """A little-endian section, then a big-endian one; times of their own, all kinds of packets."""
    packet, other = ip(port=1), ip(port=2)
    ethernet = bytes(12) + b"\x08\x00" + ip(port=3) + bytes(2)
    data = pcapng(packet)
    data += big(SECTION, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += big(1, struct.pack(">HHI", frames.RAW, 0, 0))
    moved = struct.pack(">HHB3x", 9, 1, 0x80 | 10) + struct.pack(">HHq", 14, 8, 50)
    data += big(1, struct.pack(">HHI", frames.ETHERNET, 0, 0) + moved)
    data += big(0xBAD, b"skip")
    data += big(6, struct.pack(">IIIII", 0, 0, 5, 40, 40) + packet)
    data += big(2, struct.pack(">HHIIII", 1, 0, 0, 2048, 56, 56) + ethernet)
    data += big(3, struct.pack(">I", 40) + other)
    data += big(SECRETS, struct.pack(">II", TLS_KEY_LOG, 4) + b"more")
    reading, found = read(data)
    assert (reading.total, reading.skipped, reading.truncated) == (4, 0, None)
    assert [p.src[1] for p in found] == [1, 1, 3, 2]
    assert [p.time_ns for p in found] == [10**9, 5000, 52 * 10**9, 0]
    assert len({p.interface for p in found[:3]}) == 3
    assert reading.secrets == [KEY_LOG, b"more"]


def test_a_simple_packet_is_cut_at_the_snap_length() -> None:
    data = block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack("<HHI", frames.RAW, 0, 43))
    data += block(3, struct.pack("<I", 1040) + ip(payload=bytes(1000))[:43] + bytes(1))
    _, (packet,) = read(data)
    assert (packet.length, len(packet.payload)) == (1000, 3)


def test_the_summary() -> None:
    other = ip(port=50000, payload=b"x")
    with open_capture_file(io.BytesIO(pcapng(*CLOSED, other, b"\x00"))) as reading:
        summary = reading.summary()
        assert (reading.total, reading.other) == (7, 1)
    there = flow_key((CLIENT, 40000), (SERVER, 443))
    client, server = summary.halves[there], summary.halves[reverse(there)]
    assert endpoints(there) == ((CLIENT, 40000), (SERVER, 443))
    assert (client.packets, client.first_number) == (3, 1)
    assert (client.first_ns, client.last_ns) == (10**9, 10**9 + 3)
    assert client.marks == [
        Mark(1, 10**9, SYN, 999, 0),
        Mark(4, 10**9 + 3, FIN | ACK, 1005, 2000),
    ]
    assert server.marks[-1] == Mark(5, 10**9 + 4, RST, 2000, 0)
    assert (client.flags, server.flags) == (SYN | FIN, SYN | RST)
    assert (client.reset, server.reset, client.seq, client.ack) == (False, True, 1005, 2000)
    pairs = {first.key: second for first, second in summary.pairs()}
    assert pairs == {there: server, flow_key((CLIENT, 50000), (SERVER, 443)): None}


@pytest.mark.parametrize("link", sorted(frames.LINKS))
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_passes_agree_on_every_link_type(link: int, order: str) -> None:
    before = {
        frames.ETHERNET: bytes(12) + b"\x08\x00",
        frames.LINUX_COOKED: bytes(14) + b"\x08\x00",
        frames.LINUX_COOKED_2: b"\x08\x00" + bytes(18),
        frames.NULL: struct.pack(f"{order}I", 2),
        frames.LOOP: struct.pack(">I", 2),
        frames.PPP: b"\xff\x03\x00\x21",
        frames.PPP_SERIAL: b"\x21",
        frames.PPP_WITH_DIRECTION: b"\1\x00\x21",
        frames.PPPOE: struct.pack(">HHHH", 0x1100, 1, 60, 0x21),
        frames.NFLOG: struct.pack(f"{order}IHHIHH", 2, 8, 1, 0, 84, 9),
        frames.PKTAP: struct.pack("<III", 108, 1, frames.RAW) + bytes(96),
        frames.PKTAP_OF_OLD: struct.pack("<III", 108, 1, frames.RAW) + bytes(96),
    }.get(link, b"")
    data = pcap([before + packet for packet in CLOSED], link=link, order=order)
    with open_capture_file(io.BytesIO(data)) as reading:
        summary = reading.summary()
        assert (reading.total, reading.other, reading.skipped) == (5, 0, 0)
        found = list(reading.packets())
    assert brief(found) == EXPECTED
    counts = {key: half.packets for key, half in summary.halves.items()}
    there = flow_key((CLIENT, 40000), (SERVER, 443))
    assert counts == {there: 3, reverse(there): 2}


def test_only_wanted_flows() -> None:
    datas = [ip(port=port) for port in (1, 2, 3, 1)]
    key = flow_key((CLIENT, 1), (SERVER, 443))
    with open_capture_file(io.BytesIO(pcapng(*datas))) as reading:
        assert [p.number for p in reading.packets({key}.__contains__)] == [1, 4]
        assert reading.total == 4


@pytest.mark.parametrize("whole", [pcap(CLOSED), pcapng(*CLOSED)])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_cut_off_is_read_up_to_there(whole: bytes, zipped: bool) -> None:
    reading, found = read(gzip.compress(whole)[:-12] if zipped else whole[: len(whole) * 2 // 3])
    assert brief(found) == EXPECTED[: len(found)]
    assert 0 < len(found) <= 5
    assert reading.truncated is not None
    assert "in the middle" in reading.truncated


def test_damage_in_the_middle_ends_it() -> None:
    good = pcapng(*CLOSED)
    reading, found = read(good[:-200] + struct.pack("<III", 6, 13, 0) + bytes(100))
    assert 0 < len(found) < 5
    assert reading.truncated is not None
    reading, found = read(pcap(CLOSED) + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31))
    assert len(found) == 5
    assert reading.truncated is not None
    assert "a packet of 2147483648 bytes" in reading.truncated


def test_a_packet_of_an_unknown_interface_is_skipped() -> None:
    lost = block(6, struct.pack("<IIIII", 9, 0, 0, 40, 40) + ip())
    reading, found = read(pcapng(*CLOSED) + lost)
    assert (len(found), reading.skipped, reading.total) == (5, 1, 6)
    assert reading.first_skipped is not None
    assert "interface 9, which is not described" in reading.first_skipped


def test_a_header_cut_off_by_the_snap_length_is_skipped() -> None:
    reading, found = read(pcap([CLOSED[0], CLOSED[1][:34]]))
    assert (len(found), reading.skipped) == (1, 1)
    assert reading.first_skipped == "the input: packet 2: its TCP header is cut off"


def test_a_capture_without_packets_is_read() -> None:
    reading, found = read(pcap([]))
    assert (reading.total, found, reading.truncated) == (0, [], None)


def snapped(size: int, *datas: bytes) -> bytes:
    """A pcap file whose packets were cut off at so many bytes."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, size, frames.RAW)
    cut = ((data[:size], len(data)) for data in datas)
    return head + b"".join(struct.pack("<IIII", 1, 0, len(d), n) + d for d, n in cut)


def test_packets_that_are_cut_off_before_tcp_are_told_with_what_helps() -> None:
    """Enough for a packet as it is, too little for the second one, which comes through a tunnel."""
    plain = ip(True, SYN, 999, 0)
    outer = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(plain), 1, 0, 64, 4, 0) + CLIENT + SERVER
    with read_capture(snapped(50, plain, outer + plain)) as reading:
        reading.summary()
        assert (reading.total, reading.skipped) == (2, 1)
        (note,) = reading.notes
    assert note.startswith("1 packets were cut off before their TCP header, at 50 bytes:")
    assert "tcpdump -s 256" in note


def test_a_capture_of_which_nothing_could_be_read_is_not_one_without_resets() -> None:
    plain = ip(True, SYN, 999, 0)
    with read_capture(snapped(30, plain, plain)) as reading, pytest.raises(CaptureUnreadable) as no:
        reading.summary()
    assert "packet 1: its TCP header is cut off" in str(no.value)
    assert "tcpdump -s 256" in (no.value.hint or "")


@pytest.mark.parametrize("damage", [b"", b"\0" * 8 + b"\xff" * 8, b"\0" * 9])
def test_packets_are_read_again_where_they_lie(tmp_path: Path, damage: bytes) -> None:
    """Before a record that makes no sense, too: of its piece all others were sought elsewhere."""
    path = tmp_path / "capture.pcap"
    path.write_bytes(pcap(CLOSED) + damage)
    with open_capture_file(path) as reading:
        keys = set(reading.summary().halves)
        assert brief(list(reading.packets(keys.__contains__))) == EXPECTED
        assert (reading.truncated is None) is not bool(damage)
