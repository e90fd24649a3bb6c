"""What a connection's packets say of it, and how connections are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from tests.fuzz.test_properties import seen as observed
from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.trying import Counts, Prober, _begun_late_s, _is_blind, _unread
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    DriverEvent,
    EventKind,
    Flag,
    Mark,
    Record,
    RecordKind,
    Segment,
    Side,
    Stage,
)
from tlsprobe.model.trace import Trace as Seen


def segment(start: int, length: int, flags: int = Flag.ACK) -> Segment:
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


@pytest.mark.parametrize("kind", [EventKind.EOF, EventKind.RESET, EventKind.GAVE_UP])
def test_who_got_eof_has_read_what_was_cut_in_the_middle_of_a_record(kind: EventKind) -> None:
    """A server that lost the tail of each large response was blamed for nothing."""
    cut = trace(100, segment(0, 124), segment(124, 0, FIN))
    ended = replace(cut, drive=replace(cut.drive, events=(DriverEvent(1, kind),)))
    assert _is_blind(ended) is (kind is not EventKind.EOF)


@pytest.mark.parametrize(
    ("steps", "late_s"),
    [
        ("fin; drain", 0.25),
        ("request; fin; drain", 0.25),
        ("sleep 100ms; fin; drain", 0.0),
        ("send upload; drain", 0.0),
        ("connect; fin; drain", 0.0),
        ("resumed; fin; drain", 0.25),
        ("resumed; sleep 100ms; fin; drain", 0.0),
        ("early; sleep 100ms; fin; drain", 0.0),
    ],
)
def test_what_comes_late_where_nothing_was_to_come_before(steps: str, late_s: float) -> None:
    ours = Segment(1, 1_250_000_000, Side.CLIENT, int(FIN), 100, 0, 0, 100, 64, 1, False)
    drive = Drive(("h", 1), ("h", 2), Stage.SEQUENCE, (), (), mark=Mark(10**9, 100, 0))
    begun = _begun_late_s(Example(parse(steps), "1.3"), Seen(drive, (ours,), Coverage.WHOLE))
    assert begun == late_s


QUIET = observed("fin; drain")
LOST = replace(QUIET, failure="the server was not there")


class Scripted(Prober):
    """Its connections come out as they are told to."""

    def __init__(self, *seen: Observation) -> None:
        nothing: Any = None
        self.left = list(seen)
        self.memory, self._unmeasured, self.counts = {}, set(), Counts()
        self.worst, self.quick, self.patience = lambda _: 0, nothing, nothing

    async def once(self, *_: Any, **__: Any) -> Observation:
        return self.left.pop(0)


@pytest.mark.parametrize(("comes_out", "left"), [(QUIET, 0), (LOST, 1)])
def test_what_was_measured_at_last_is_not_unmeasured_any_more(
    comes_out: Observation, left: int
) -> None:
    prober = Scripted(LOST, LOST, *[comes_out] * 3)
    trio.run(prober.observe, QUIET.example, "explore")
    assert prober.counts.unmeasured == 1
    trio.run(prober.again, QUIET.example, "make sure")
    assert prober.counts.unmeasured == left


def test_what_was_only_compared_counts_for_nothing() -> None:
    """It was not counted as unmeasured either."""
    prober = Scripted(QUIET)
    prober.memory[QUIET.example] = LOST
    trio.run(prober.again, QUIET.example, "make sure")
    assert (prober.memory[QUIET.example], prober.counts.unmeasured) == (QUIET, 0)
