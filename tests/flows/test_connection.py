"""Offsets, wraps, lost and late packets, in connections written out by hand."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.flows.connection import NOTHING, Connection, Flow
from tlsprobe.flows.stream import RUNS
from tlsprobe.flows.tracker import connections
from tlsprobe.model.trace import RST_TEXT, Coverage, Side
from tlsprobe.packets.decode import packets_in
from tlsprobe.packets.frames import RAW, Frame
from tlsprobe.packets.packet import Endpoint

CLIENT: Endpoint = (bytes([127, 0, 0, 1]), 40000)
SERVER: Endpoint = (bytes([127, 0, 0, 1]), 5432)
FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10}
WRAPPING = 0xFFFF_FFF0


class Wire:
    """Writes frames: absolute sequence numbers from two initial ones, as a kernel would."""

    def __init__(self, client_isn: int = 1000, server_isn: int = 9000) -> None:
        self.isn = {Side.CLIENT: client_isn, Side.SERVER: server_isn}
        self.frames: list[Frame] = []

    def sends(
        self,
        side: Side,
        flags: str,
        at: int = 0,
        ack: int = 0,
        data: bytes = b"",
        *,
        raw: bool = False,
    ) -> "Wire":
        """``at`` and ``ack`` are offsets, unless ``raw``."""
        source, destination = (CLIENT, SERVER) if side is Side.CLIENT else (SERVER, CLIENT)
        bits = sum(FLAGS[flag] for flag in flags)
        seq = at if raw else (self.isn[side] + 1 + at) % 2**32
        number = (self.isn[side.peer] + 1 + ack) % 2**32 if "." in flags else 0
        tcp = struct.pack(
            "!HHIIHHHH", source[1], destination[1], seq, number, 5 << 12 | bits, 512, 0, 0
        )
        count = len(self.frames) + 1
        total = 40 + len(data)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, total, count & 0xFFFF, 0x4000, 64, 6, 0)
        ip += source[0] + destination[0]
        self.frames.append(Frame(count, count * 1000, ip + tcp + data))
        return self

    def opens(self) -> "Wire":
        self.sends(Side.CLIENT, "S", -1)
        self.sends(Side.SERVER, "S.", -1, 0)
        return self.sends(Side.CLIENT, ".")

    def connections(self) -> list[Connection]:
        return list(connections(packets_in(self.frames, RAW)))

    def flow(self) -> Flow:
        """The only connection."""
        (found,) = self.connections()
        way = 0 if found.ends[0] == CLIENT else 1
        return Flow(found.segments(way), found.coverage)


C, S = Side.CLIENT, Side.SERVER


@pytest.mark.parametrize("isn", [1000, WRAPPING])
def test_offsets_of_a_whole_connection(isn: int) -> None:
    wire = Wire(isn, isn).opens().sends(C, "P.", 0, 0, b"x" * 100).sends(S, "P.", 0, 100, b"y" * 50)
    wire.sends(S, "F.", 50, 100).sends(C, ".", 100, 51).sends(C, "F.", 100, 51)
    wire.sends(S, ".", 51, 101)
    segments, coverage = wire.flow()
    assert coverage is Coverage.WHOLE
    assert [(s.side, s.start, s.length, s.ack) for s in segments] == [
        (C, -1, 0, None),
        (S, -1, 0, 0),
        (C, 0, 0, 0),
        (C, 0, 100, 0),
        (S, 0, 50, 100),
        (S, 50, 0, 100),
        (C, 100, 0, 51),
        (C, 100, 0, 51),
        (S, 51, 0, 101),
    ]
    assert segments[5].fin
    assert segments[5].end == 50


def test_a_long_stream_goes_on_behind_4_gib() -> None:
    wire = Wire().opens()
    step = 2**30
    for n in range(6):
        wire.sends(C, ".", n * step, 0, b"x")
    segments, _ = wire.flow()
    assert [s.start for s in segments[3:]] == [n * step for n in range(6)]


def test_a_bare_reset_speaks_in_the_space_of_its_sender() -> None:
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc").sends(S, "F.", 0, 3)
    wire.sends(C, "P.", 3, 1, b"late").sends(S, "R", 1)
    segments, coverage = wire.flow()
    assert (segments[-1].rst, segments[-1].start, segments[-1].ack) == (True, 1, None)
    assert coverage is Coverage.WHOLE


def test_a_forged_reset_does_not_move_the_stream() -> None:
    wire = Wire().opens().sends(S, "R", 2**31 + 77, raw=True).sends(S, "P.", 0, 0, b"abc")
    segments, _ = wire.flow()
    assert segments[-1].start == 0


def test_refused_is_a_whole_story() -> None:
    wire = Wire().sends(C, "S", -1).sends(S, "R.", 0, 0, raw=True)
    segments, coverage = wire.flow()
    assert coverage is Coverage.WHOLE
    assert [(s.start, s.ack) for s in segments] == [(-1, None), (0, 0)]


def test_no_answer_at_all_is_whole_and_no_packet_is_none() -> None:
    assert Wire().sends(C, "S", -1).sends(C, "S", -1).flow()[1] is Coverage.WHOLE
    assert list(packets_in([Frame(1, 1, b"junk")], RAW)) == []
    assert NOTHING == ((), Coverage.NONE)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_syn_is_a_hole_but_offsets_stay_right(missing: int) -> None:
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc").sends(S, "P.", 0, 3, b"de")
    del wire.frames[missing]
    segments, coverage = wire.flow()
    assert coverage is Coverage.HOLES
    assert [(s.start, s.length) for s in segments[-2:]] == [(0, 3), (0, 2)]


def test_mid_connection_offsets_begin_at_the_first_number_named() -> None:
    wire = Wire().sends(C, "P.", 500, 700, b"abc").sends(S, ".", 700, 503).sends(S, "F.", 700, 503)
    segments, coverage = wire.flow()
    assert coverage is Coverage.HOLES
    assert [(s.start, s.ack) for s in segments] == [(0, 0), (0, 3), (0, 3)]


@pytest.mark.parametrize("lost", ["data", "fin"])
def test_acknowledged_but_never_seen_is_a_hole(lost: str) -> None:
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc").sends(C, "F.", 3, 0).sends(S, ".", 0, 4)
    assert wire.flow()[1] is Coverage.WHOLE
    del wire.frames[{"data": 3, "fin": 4}[lost]]
    assert wire.flow()[1] is Coverage.HOLES


def test_lost_on_the_way_and_sent_again_is_no_hole() -> None:
    wire = Wire().opens().sends(C, "P.", 3, 0, b"def").sends(S, ".", 0, 0)
    wire.sends(C, "P.", 0, 0, b"abc").sends(S, ".", 0, 6)
    segments, coverage = wire.flow()
    assert coverage is Coverage.WHOLE
    assert len(segments) == 7


def test_retransmissions_stay() -> None:
    wire = Wire().opens().sends(S, "F.", 0, 0).sends(S, "F.", 0, 0)
    assert [s.start for s in wire.flow()[0] if s.fin] == [0, 0]


def test_the_same_syn_sent_again_is_the_same_connection() -> None:
    assert len(Wire().sends(C, "S", -1).opens().connections()) == 1


def test_frames_are_put_in_order_of_time() -> None:
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc").sends(S, ".", 0, 3)
    wire.frames[-1], wire.frames[-2] = wire.frames[-2], wire.frames[-1]
    assert [s.number for s in wire.flow()[0]] == [1, 2, 3, 4, 5]


def test_a_clock_that_jumps_puts_nothing_in_order() -> None:
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc")
    wire.frames[1] = wire.frames[1]._replace(time_ns=10**18)
    assert [s.number for s in wire.flow()[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_syn_that_arrives_late_opens_what_is_there_already(late: int) -> None:
    """Two processors took the packets in; their times tell the order."""
    wire = Wire().opens().sends(C, "P.", 0, 0, b"abc").sends(S, "P.", 0, 3, b"de")
    expected = wire.flow()
    assert expected.coverage is Coverage.WHOLE
    wire.frames.insert(late, wire.frames.pop(0))
    assert wire.flow() == expected
    wire.frames.insert(4, wire.frames.pop(wire.frames.index(min(wire.frames)) + 1))
    assert wire.flow()[1] is Coverage.WHOLE


def test_what_came_before_the_syn_ack_is_moved_with_it() -> None:
    wire = Wire().sends(C, "S", -1).sends(S, "R.", 8000, 0, raw=True).sends(S, "S.", -1, 0)
    wire.sends(C, ".").sends(S, "P.", 0, 0, b"abc").sends(C, ".", 0, 3)
    segments, coverage = wire.flow()
    assert [s.start for s in segments] == [-1, 8000 - 9001, -1, 0, 0, 0]
    assert coverage is Coverage.WHOLE


def test_a_syn_ack_that_was_acknowledged_stands() -> None:
    wire = Wire().opens().sends(S, "S.", 777_000, 0, raw=True).sends(S, "P.", 0, 0, b"abc")
    segments, coverage = wire.sends(C, ".", 0, 3).flow()
    assert (segments[-2].start, segments[-1].ack, coverage) == (0, 3, Coverage.WHOLE)


def test_data_that_a_capture_cut_off_is_there() -> None:
    cut = Wire().opens().sends(C, ".", 0, 0, b"abcdef").sends(C, ".", 6, 0, b"ghi")
    cut.frames[3] = cut.frames[3]._replace(data=cut.frames[3].data[:-4])
    segments, coverage = cut.sends(S, ".", 0, 9).flow()
    assert (segments[3].length, coverage) == (6, Coverage.WHOLE)


def test_the_text_of_an_rst_is_kept_and_counts_as_no_data() -> None:
    wire = Wire().opens().sends(S, "R.", 0, 0, b"go away " * 100).sends(C, ".", 0, 0)
    segments, coverage = wire.flow()
    assert segments[3].payload == (b"go away " * 100)[:RST_TEXT]
    assert [s.payload for s in segments if not s.rst] == [b""] * 4
    assert coverage is Coverage.WHOLE


def test_what_the_headers_tell_is_told_of_the_segment() -> None:
    segments, _ = Wire().opens().flow()
    first = segments[0]
    assert (first.ttl, first.ip_id, first.df, first.window) == (64, 1, True, 512)
    assert (first.options, first.window_scale, first.timestamps) == (b"", None, False)


def test_holes_that_are_filled_late_are_none() -> None:
    """However many there are at once, up to a bound; beyond it, what is missing stays missing."""
    for holes, expected in ((RUNS - 1, Coverage.WHOLE), (2 * RUNS, Coverage.HOLES)):
        wire = Wire().opens()
        for n in range(holes):
            wire.sends(C, ".", 2 * n + 1, 0, b"x")
        for n in range(holes):
            wire.sends(C, ".", 2 * n, 0, b"x")
        wire.sends(S, ".", 0, 2 * holes)
        assert wire.flow()[1] is expected


@given(
    st.binary(min_size=1, max_size=200),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 60)), max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_whole_is_what_covers_all_that_was_acknowledged(
    data: bytes, cuts: list[tuple[int, int]], isn: int
) -> None:
    wire = Wire(isn).opens()
    seen: set[int] = set()
    for start, size in cuts:
        piece = data[start : start + size]
        seen.update(range(start, start + len(piece)))
        wire.sends(C, ".", start, 0, piece)
    whole = next((n for n in range(len(data)) if n not in seen), len(data))
    for acked in (whole, len(data)):
        wire.sends(S, ".", 0, acked)
        expected = Coverage.WHOLE if whole >= acked else Coverage.HOLES
        assert wire.flow()[1] is expected
