"""Which connections get a close look is the same, told of columns or of each connection."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.captures.files import ACK, FIN, PSH, RST, SYN, ip
from tlsprobe.captures import blocks, frame_reading
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.summary import Summary
from tlsprobe.explain.choice import Choice, choose, span_of
from tlsprobe.explain.quick_screening import screened
from tlsprobe.explain.screening import suspicion
from tlsprobe.explain.wanted import Filter
from tlsprobe.model.causes import Cause
from tlsprobe.packets import frames

NEVER = 1 << 60
ETHERNET = bytes(12) + b"\x08\x00"
FLAGS = [SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, FIN | ACK, RST]
FILTERS = [Filter(), Filter(quiet=True), Filter(cause=next(iter(Cause))), Filter(port=3)]

packets = st.builds(
    ip,
    st.booleans(),
    st.sampled_from(FLAGS),
    st.integers(0, 3),
    st.integers(0, 3),
    st.binary(max_size=1),
    st.integers(1, 5),
)
seconds = st.sampled_from([0, 0, 0, 1, 4, 70])
captures = st.lists(st.tuples(seconds, packets), min_size=1, max_size=80)


def pcap(timed: list[tuple[int, bytes]]) -> bytes:
    clock, data = 10**9, struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, frames.ETHERNET)
    for later, packet in timed:
        clock += later
        size = len(packet) + len(ETHERNET)
        data += struct.pack("<IIII", clock, 0, size, size) + ETHERNET + packet
    return data


def chosen(data: bytes, wanted: Filter, many: int) -> tuple[Choice, object, object, bool]:
    with pytest.MonkeyPatch.context() as patch, open_capture_file(io.BytesIO(data)) as reading:
        patch.setattr(frame_reading, "MANY", many)
        patch.setattr(blocks, "FEWEST", 1)
        assert isinstance(reading, frame_reading.FrameReading)
        summary = reading.summary()
        choice = choose(summary, wanted)
        listed = reading._listed(summary, choice.keys.__contains__)
        was_quick = summary.columns is not None
        keys = sorted(choice.keys)
        asked = choice.asked(), [key for key in keys if not choice.may_begin_twice(key)]
        syns = {key: [*choice.syns(key)] for key in keys}
        assert all(len(syns[key]) < 2 for key in asked[1])
        left = [*choice.nat_entries()], choice.peers(), asked[0], syns
        return replace(choice, summary=Summary()), (span_of(summary), listed), left, was_quick


def agree(data: bytes, wanted: Filter) -> Choice:
    choice, *others, quick = chosen(data, wanted, 0)
    slow, *expected, slow_is_quick = chosen(data, wanted, NEVER)
    assert (choice.keys, choice.quiet, choice.unlooked) == (slow.keys, slow.quiet, slow.unlooked)
    assert (choice.until_ns, choice.window) == (slow.until_ns, slow.window)
    assert others == expected
    assert (quick, slow_is_quick) == (True, False)
    return choice


OPENED = [(0, ip(True, SYN, 1)), (0, ip(False, SYN | ACK, 1, 2)), (0, ip(True, ACK, 2, 2))]
ENDED = (0, ip(True, FIN | ACK, 2, 2)), (0, ip(False, FIN | ACK, 2, 3)), (0, ip(True, ACK, 3, 3))
LATER = (500, ip(True, ACK, port=9))


@example([*OPENED, *ENDED, LATER], 3)
@example([*OPENED, *[ENDED[0]] * 9, *ENDED], 3)
@given(captures, st.sampled_from([1, 3, 1 << 16]))
def test_each_is_as_suspicious(timed: list[tuple[int, bytes]], rows: int) -> None:
    """Of those that the capture holds, the first directions of pairs in both ways."""
    with pytest.MonkeyPatch.context() as patch, open_capture_file(io.BytesIO(pcap(timed))) as file:
        patch.setattr(blocks, "ROWS", rows)
        patch.setattr(blocks, "FEWEST", 1)
        patch.setattr(frame_reading, "MANY", 0)
        summary = file.summary()
        columns, span = summary.columns, span_of(summary)
        assert columns is not None
        assert span is not None
        loud, quiet, levels = screened(columns, span[1])
        keys = columns.keys()
        quick = {keys[place]: level for place, level in zip(quiet, levels, strict=True)}
        slow = {
            half.key: suspicion(half, other, span[1])
            for half, other in summary.pairs()
            if not half.reset and not (other and other.reset)
        }
    assert quick == slow
    assert len(loud) + len(quiet) == len([*summary.pairs()])
    for level in slow.values():
        event(level.name)


@given(captures, st.sampled_from(FILTERS), st.sampled_from([1, 3, 1 << 16]))
def test_the_same_are_chosen(timed: list[tuple[int, bytes]], wanted: Filter, rows: int) -> None:
    """In blocks of any size, so that the flows of several are put together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "ROWS", rows)
        choice = agree(pcap(timed), wanted)
    event(f"{len(choice.keys)} of {choice.quiet}")


@given(captures, st.integers(1, 20))
def test_more_flows_than_may_wait(timed: list[tuple[int, bytes]], most: int) -> None:
    """Then a half is made of each, and the owners of the packets stay who they were."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "ROWS", 2)
        patch.setattr(blocks, "MOST_FOLDED", most)
        choice, *others, _ = chosen(pcap(timed), Filter(), 0)
    slow, *expected, _ = chosen(pcap(timed), Filter(), NEVER)
    assert (choice.keys, choice.quiet, choice.unlooked) == (slow.keys, slow.quiet, slow.unlooked)
    assert others == expected


def test_more_marks_than_may_wait() -> None:
    """A flood of SYNs from one port takes no more memory than one from many."""
    flood = pcap([(0, ip(True, SYN, 1))] * 9 + [(0, ip(False, RST, 0, 2))])
    with pytest.MonkeyPatch.context() as patch, open_capture_file(io.BytesIO(flood)) as file:
        patch.setattr(blocks, "ROWS", 2)
        patch.setattr(blocks, "FEWEST", 1)
        patch.setattr(blocks, "MOST_FOLDED", 4)
        patch.setattr(frame_reading, "MANY", 0)
        summary = file.summary()
    assert summary.columns is None
    assert [half.packets for half in summary.halves.values()] == [9, 1]


def test_of_the_marks_of_a_direction_the_first_count() -> None:
    """A hundred SYNs, and a FIN behind them that nobody remembers."""
    syns = [(0, ip(True, SYN, 1)), (0, ip(False, ACK, 1))] + [(0, ip(True, SYN, 1))] * 99
    agree(pcap([*syns, (0, ip(True, FIN | ACK, 2)), (99, ip(True, ACK, 3, port=9))]), Filter())


def test_an_address_that_talks_with_itself() -> None:
    packet = bytearray(ip(True, SYN, 1, port=443))
    packet[16:20] = packet[12:16]
    agree(pcap([(0, bytes(packet))] * 5 + [(9, bytes(packet))]), Filter())
