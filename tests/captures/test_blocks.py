"""A summary made of blocks of packets is the one that is made packet by packet."""

from __future__ import annotations

import io
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.fuzz_readers import seeds
from tests.captures.files import ACK, FIN, RST, SYN, ip, pcap
from tlsprobe.captures import blocks, frame_reading
from tlsprobe.captures.pcapng_writer import SECTION, block
from tlsprobe.captures.pieces import Pieces
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.explain import explain
from tlsprobe.packets import frames

DATA = Path(__file__).parents[1] / "data"
CAPTURES = sorted([*DATA.glob("corpus/*.pcapng"), *DATA.glob("troubles/*.pcapng")])
NEVER = 1 << 60


def facts(data: bytes, many: int, fewest: int = 1) -> object:
    """All that the first pass over a capture tells, and which packets of its flows it remembers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_reading, "MANY", many)
        patch.setattr(blocks, "FEWEST", fewest)
        try:
            with open_capture_file(io.BytesIO(data)) as reading:
                summary = reading.summary()
                halves = [
                    (h.key, h.first_number, h.first_ns, h.packets, h.last_ns, h.last, h.flags)
                    for h in summary.halves.values()
                ]
                marks = [(h.unmarked, h.marks) for h in summary.halves.values()]
                pairs = [(one.key, other and other.key) for one, other in summary.pairs()]
                some = frozenset(h.key for h in [*summary.halves.values()][::2])
                listed = summary.listed(some.__contains__)
                counts = reading.total, reading.other, reading.skipped, reading.first_skipped
                return halves, marks, pairs, listed, counts, reading.notes
        except CaptureUnreadable as error:
            return error.message


def agree(data: bytes, fewest: int = 1) -> None:
    assert facts(data, 0, fewest) == facts(data, NEVER)


def documents(path: Path, many: int) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_reading, "MANY", many)
        patch.setattr(blocks, "FEWEST", 1)
        with open_capture_file(path) as reading:
            return explain(reading)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_is_explained_alike(path: Path) -> None:
    agree(path.read_bytes())
    assert documents(path, 0) == documents(path, NEVER)


@pytest.mark.parametrize("data", [*seeds("pcap")])
def test_frames_of_every_kind(data: bytes) -> None:
    agree(data)


ETHERNET = bytes(12) + b"\x08\x00"
SIX = bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 20, 6, 64) + bytes(15) + b"\1"
plain = st.builds(
    ip,
    st.booleans(),
    st.sampled_from([SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=3),
    st.integers(1, 4),
)
whole = st.one_of(
    plain.map(lambda packet: ETHERNET + packet),
    plain.map(lambda packet: bytes(12) + b"\x81\x00\x00\x07\x08\x00" + packet),
    plain.map(lambda packet: ETHERNET + b"\x46" + packet[1:20] + bytes(4) + packet[20:]),
    plain.map(lambda packet: ETHERNET + packet[:6] + b"\x20\x00" + packet[8:]),
    plain.map(lambda packet: ETHERNET + packet[:9] + b"\x11" + packet[10:]),
    plain.map(lambda packet: SIX + bytes(16) + packet[20:40]),
    st.binary(max_size=80),
)
cut = st.tuples(whole, st.one_of(st.just(NEVER), st.integers(0, 80))).map(lambda f: f[0][: f[1]])


@pytest.mark.slow
@given(st.lists(cut, max_size=40), st.sampled_from("<>"), st.integers(1, 30))
def test_frames_made_up(datas: list[bytes], order: str, fewest: int) -> None:
    agree(pcap(datas, order=order, link=frames.ETHERNET), fewest)


@pytest.mark.slow
@given(st.lists(cut, max_size=40), st.integers(1, 20))
def test_in_blocks_of_any_size(datas: list[bytes], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "ROWS", rows)
        agree(pcap(datas, link=frames.ETHERNET))


@pytest.mark.slow
@given(st.lists(cut, min_size=2, max_size=40))
def test_flows_that_are_mixed_alike(datas: list[bytes]) -> None:
    """As if somebody had found addresses that fall together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_ODD", (np.uint64(0), np.uint64(0)))
        agree(pcap(datas, link=frames.ETHERNET))


@pytest.mark.parametrize("resolution", [9, 0, 0x80 | 10])
def test_times_of_any_size(resolution: int) -> None:
    """The last one is far beyond what 63 bits hold, in nanoseconds."""
    data = block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    option = struct.pack("<HHB3x", 9, 1, resolution)
    data += block(1, struct.pack("<HHI", frames.RAW, 0, 0) + option)
    for high in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
        packet = ip(True, SYN, high)
        head = struct.pack("<IIIII", 0, high, 0xFFFFFFFF, len(packet), len(packet))
        data += block(6, head + packet) * 2
    agree(data)


def test_it_goes_on_where_the_packets_were_looked_at_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of a file, of which the pieces are small."""
    monkeypatch.setattr(frame_reading, "Pieces", partial(Pieces, size=500))
    datas = [ETHERNET + ip(n % 3 > 0, ACK, n, port=n % 7) for n in range(200)]
    data = pcap(datas, link=frames.ETHERNET)
    assert facts(data, 90) == facts(data, NEVER)
