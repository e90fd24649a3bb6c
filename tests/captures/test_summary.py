"""A summary stays bounded, and what it lets go of is counted."""

from __future__ import annotations

import io

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
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.summary import Half
from tlsprobe.packets.packet import flow_key


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
