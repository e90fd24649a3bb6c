"""A summary stays bounded, and what it lets go of is counted."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path

import pytest

from tests.captures.files import (
    ACK,
    CLIENT,
    FIN,
    RST,
    SERVER,
    ip,
    pcap,
)
from tlsprobe.captures import frame_reading
from tlsprobe.captures import summary as summary_module
from tlsprobe.captures.pieces import Pieces
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import Reading
from tlsprobe.captures.summary import Half
from tlsprobe.packets.packet import flow_key, reverse


def test_many_flows_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished flows go first, then the idle; reset ones stay."""
    monkeypatch.setattr(summary_module, "HALF_LIMIT", 40)
    both = (FIN | ACK, FIN | ACK)
    datas = [ip(True, ACK, port=1), ip(False, RST, port=1), ip(True, ACK, port=2)]
    for port in range(100, 160):
        datas += [
            ip(there, flags, port=port) for there, flags in zip((True, False), both, strict=True)
        ]
    with open_capture_file(io.BytesIO(pcap(datas))) as reading:
        summary = summary_module.Summary(limit=40)
        monkeypatch.setattr(frame_reading, "Summary", lambda: summary)
        reading.summary()
    assert len(summary.halves) <= 40
    assert summary.retired + summary.forgotten + len(summary.halves) == 123
    assert summary.forgotten <= 1
    kept = flow_key((SERVER, 443), (CLIENT, 1))
    assert summary.halves[kept].reset


def test_marks_are_bounded() -> None:
    datas = [ip(True, RST, port=1, seq=n) for n in range(200)]
    with open_capture_file(io.BytesIO(pcap(datas))) as reading:
        (half,) = reading.summary().halves.values()
    assert isinstance(half, Half)
    assert (len(half.marks), half.unmarked, half.packets) == (64, 136, 200)


def looked_at(reading: Reading, ports: set[int]) -> tuple[list[int], int]:
    """The packets of these clients, and how many frames were looked at for them."""
    keys = {flow_key((CLIENT, port), (SERVER, 443)) for port in ports}
    keys |= {reverse(key) for key in keys}
    asked: list[bytes] = []

    def wanted(key: bytes) -> bool:
        asked.append(key)
        return key in keys

    return [packet.number for packet in reading.packets(wanted)], len(asked)


@pytest.mark.parametrize("limit", [summary_module.LISTED_LIMIT, 0])
def test_the_second_pass_looks_at_what_is_wanted_alone(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The packets are the same where there were too many to remember whose each was."""
    monkeypatch.setattr(frame_reading, "LISTED_LIMIT", limit)
    datas = [ip(True, ACK, port=port) for _ in range(50) for port in range(1, 21)]
    with open_capture_file(io.BytesIO(pcap(datas))) as reading:
        reading.summary()
        found, asked = looked_at(reading, {7})
    assert found == list(range(7, 1001, 20))
    assert asked == 20 + 50 if limit else asked > 1000


def test_a_connection_whose_beginning_was_forgotten_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first packets are not on the list, and found all the same."""
    datas = [ip(there, FIN | ACK, port=1) for there in (True, False)]
    datas += [ip(True, ACK, port=port) for port in range(100, 160)]
    datas += [ip(True, ACK, port=1)]
    with open_capture_file(io.BytesIO(pcap(datas))) as reading:
        summary = summary_module.Summary(limit=40)
        monkeypatch.setattr(frame_reading, "Summary", lambda: summary)
        reading.summary()
        assert summary.halves[flow_key((CLIENT, 1), (SERVER, 443))].serial == -1
        assert looked_at(reading, {1})[0] == [1, 2, 63]


def test_the_pieces_of_a_packet_are_put_together_again() -> None:
    """Only the last of them is of a connection that is known."""
    whole = ip(True, RST, port=1, payload=bytes(64))
    first = whole[:2] + (52).to_bytes(2, "big") + whole[4:6] + b"\x20\0" + whole[8:52]
    last = whole[:2] + (72).to_bytes(2, "big") + whole[4:6] + b"\0\x04" + whole[8:20] + whole[52:]
    datas = [first, ip(True, ACK, port=2), last]
    with open_capture_file(io.BytesIO(pcap(datas))) as reading:
        reading.summary()
        assert reading.total == 3
        assert looked_at(reading, {1})[0] == [3]
        assert looked_at(reading, {2})[0] == [2]


@pytest.mark.parametrize("size", [1 << 18, 700])
def test_packets_of_a_file_are_read_again_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The same as from a stream, of which all is read again."""
    datas = [ip(True, ACK, port=n % 7 + 1, payload=bytes(n)) for n in range(120)]
    data = pcap(datas, order=">")
    path = tmp_path / "some.pcap"
    path.write_bytes(data)
    monkeypatch.setattr(frame_reading, "Pieces", partial(Pieces, size=size))
    wanted = flow_key((CLIENT, 3), (SERVER, 443)).__eq__
    with open_capture_file(io.BytesIO(data)) as stream, open_capture_file(path) as file:
        assert stream.summary().halves.keys() == file.summary().halves.keys()
        passes: list[object] = []
        monkeypatch.setattr(frame_reading, "Walker", passes.append)
        found = list(file.packets(wanted))
        assert not passes
        monkeypatch.undo()
        assert found == list(stream.packets(wanted))
    assert [packet.number for packet in found] == list(range(3, 121, 7))


def test_what_was_cut_off_since_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap([ip(True, ACK, port=1) for _ in range(3)]))
    with open_capture_file(path) as file:
        file.summary()
        os.truncate(path, 24 + 56)
        key = flow_key((CLIENT, 1), (SERVER, 443))
        assert [packet.number for packet in file.packets(key.__eq__)] == [1]
