"""What a connection's packets say of it: read to the end, or left with words unread."""

from __future__ import annotations

import pytest

from tlsprobe.fuzz.trying import _unread
from tlsprobe.model.trace import Coverage, Drive, Flag, Record, RecordKind, Segment, Side, Stage
from tlsprobe.model.trace import Trace as Seen


def segment(start: int, length: int, flags: Flag = Flag.ACK) -> Segment:
    return Segment(1, 1, Side.SERVER, int(flags), start, length, 0, 100, 64, 1, False)


def trace(read_to: int, *segments: Segment) -> Seen:
    record = Record(Side.SERVER, 0, read_to, RecordKind.DATA, 1)
    drive = Drive(("h", 1), ("h", 2), Stage.SEQUENCE, (record,), ())
    return Seen(drive, segments, Coverage.WHOLE)


FIN = Flag.ACK | Flag.FIN


@pytest.mark.parametrize(
    ("seen", "unread"),
    [
        (trace(100, segment(0, 100)), 0),
        (trace(100, segment(0, 100), segment(100, 0, FIN)), 0),
        # the acknowledgement of our FIN lies behind the server's own
        (trace(100, segment(0, 100), segment(100, 0, FIN), segment(101, 0)), 0),
        (trace(100, segment(0, 100), segment(100, 24)), 24),
        (trace(100, segment(0, 100), segment(100, 24), segment(0, 100)), 24),
    ],
)
def test_bytes_that_nobody_read(seen: Seen, unread: int) -> None:
    assert _unread(seen) == unread
