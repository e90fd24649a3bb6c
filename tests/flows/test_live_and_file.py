"""Any frames, once through the sniffer's side and once through a file: the same connections.

And where nothing is damaged, the connections that were really there.

ARCHITECTURE.md, "The path of a probe": `explain` enters at the trace, with the same steps.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.flows.wire import (
    ACK,
    CLIENT,
    CLIENT_6,
    FIN,
    PSH,
    RST,
    SERVER,
    SERVER_6,
    SYN,
    Arrival,
    C,
    S,
    Sent,
    Talk,
)
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.flows.connection import Flow
from tlsprobe.flows.tracker import connections
from tlsprobe.model.trace import Coverage, Segment, Side
from tlsprobe.packets.frames import ETHERNET, LINUX_COOKED, RAW
from tlsprobe.packets.packet import Endpoint
from tlsprobe.sniff.demultiplexer import Demultiplexer

START_NS = 1_790_000_000 * 10**9
GROWTH_NS = 64
"""Nanoseconds in which a kernel's initial sequence numbers grow by one."""

Told = list[tuple[Endpoint, Flow]]


# --- the two ways ---------------------------------------------------------------------------------


def live(seen: list[Arrival], link: int, server: Endpoint) -> tuple[Told, bytes]:
    """What the probe gets, and the file that was written meanwhile."""
    out = io.BytesIO()
    demultiplexer = Demultiplexer(server, link)
    demultiplexer.writer = Writer(out, link, "lo")
    demultiplexer.expect_everyone()
    for at in range(0, len(seen), 3):  # batches, as a pipe brings them
        demultiplexer.file(seen[at : at + 3])
    demultiplexer.writer.finish(0)
    return demultiplexer.take_everyone(), out.getvalue()


def from_file(data: bytes, server: Endpoint) -> Told:
    """What `explain` gets of that file."""
    try:
        with open_capture_file(io.BytesIO(data)) as reading:
            found = list(connections(reading.packets()))
    except CaptureUnreadable:
        return []
    told = []
    for connection in found:
        way = 0 if connection.ends[1] == server else 1
        flow = Flow(connection.segments(way), connection.coverage)
        told.append((connection.ends[way], flow))
    return told


def first_number(one: tuple[Endpoint, Flow]) -> int:
    return min(segment.number for segment in one[1].segments)


# --- what goes over the wire ----------------------------------------------------------------------


@dataclass
class Line:
    """Frames on their way to the capture, and what they are."""

    link: int
    tag: bytes
    seen: list[Arrival] = field(default_factory=list)
    truth: list[tuple[Talk, Sent]] = field(default_factory=list)
    now_ns: int = START_NS

    def carry(self, talk: Talk, sent: Sent, gap_ns: int) -> None:
        """A segment comes by, so long after the one before it."""
        self.now_ns += gap_ns
        data = sent.frame(self.tag)
        if self.link == RAW:
            data = sent.packet()
        elif self.link == LINUX_COOKED:
            data = bytes(14) + data[12:]
        self.seen.append((self.now_ns, len(data), data))
        self.truth.append((talk, sent))


SIZES = st.sampled_from([0, 1, 24, 100, 517, 1400])
GAPS = st.integers(1_000, 50_000_000)
DEEDS = st.sampled_from(["request", "answer", "ack", "fin", "rst", "abort", "again", "probe"])


def deed(talk: Talk, name: str, size: int, side: Side) -> Sent:
    """The next thing that one of the two does."""
    match name:
        case "request" | "answer":
            sent = talk.says(C if name == "request" else S, PSH | ACK, bytes(size))
        case "fin":
            sent = talk.says(side, FIN | ACK)
        case "rst":
            sent = talk.says(side, RST)
        case "abort":
            sent = talk.says(side, RST | ACK, b"no" if size == 24 else b"")
        case "probe":
            sent = talk.at(side, ACK, talk.reached[side] - 1)
        case "again":
            last = next(s for s in reversed(talk.sent) if s.side is side and not s.flags & RST)
            sent = talk.at(side, last.flags, last.start, last.payload)
        case _:
            sent = talk.says(side)
    return sent


@st.composite
def lines(draw: st.DrawFn) -> tuple[Line, Endpoint]:
    """One or several connections from one port; late segments of each among those of the next."""
    six = draw(st.booleans())
    link = draw(st.sampled_from([ETHERNET, ETHERNET, RAW, LINUX_COOKED]))
    tag = draw(st.sampled_from([b"", b"", b"\x81\x00\x00\x05"])) if link == ETHERNET else b""
    ends = (CLIENT_6, SERVER_6) if six else (CLIENT, SERVER)
    line = Line(link, tag)
    isns = draw(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
    talk = Talk(*isns, *ends)
    before: Talk | None = None
    for last in range(draw(st.integers(0, 2)), -1, -1):
        opening = [(C, SYN), (S, SYN | ACK), (C, ACK)]
        for side, flags in opening:
            line.carry(talk, talk.says(side, flags), draw(GAPS))
        for name in draw(st.lists(DEEDS, max_size=8)):
            side = draw(st.sampled_from(Side))
            line.carry(talk, deed(talk, name, draw(SIZES), side), draw(GAPS))
            if before is not None and draw(st.integers(0, 4)) == 0:
                late = draw(st.sampled_from([ACK, FIN | ACK, RST | ACK, RST]))
                line.carry(before, before.at(S, late, before.reached[S]), draw(GAPS))
        if last:
            wait_ns = draw(st.sampled_from([10**6, 10**9, 70 * 10**9]))
            line.now_ns += wait_ns
            sent = max(talk.reached.values()) + 2
            grown = (line.now_ns - START_NS) // GROWTH_NS + sent
            before, talk = talk, talk.again(isns[0] + grown, isns[1] + grown)
    return line, ends[1]


def told_of(line: Line) -> list[list[tuple[object, ...]]]:
    """Each connection's segments as they were sent, in the order of the connections."""
    found: dict[int, list[tuple[object, ...]]] = {}
    for number, (talk, s) in enumerate(line.truth, 1):
        told = number, s.side, s.flags, s.start, len(s.payload), s.ack
        found.setdefault(id(talk), []).append(told)
    return list(found.values())


def facts(segments: tuple[Segment, ...]) -> list[tuple[object, ...]]:
    return [(s.number, s.side, s.flags, s.start, s.length, s.ack) for s in segments]


@pytest.mark.slow
@given(lines())
def test_what_was_sent_is_told_by_both(drawn: tuple[Line, Endpoint]) -> None:
    line, server = drawn
    told, data = live(line.seen, line.link, server)
    assert [facts(flow.segments) for _, flow in told] == told_of(line)
    assert all(flow.coverage is Coverage.WHOLE for _, flow in told)
    assert sorted(from_file(data, server), key=first_number) == told
    event(f"{len(told)} connections")


# --- and what may happen to it --------------------------------------------------------------------

DAMAGES = st.sampled_from(["lose", "repeat", "cut", "swap", "garble", "junk", "stranger", "piece"])


@st.composite
def damaged_lines(draw: st.DrawFn) -> tuple[Line, Endpoint]:
    """The same, and some frames come late, twice, in pieces, changed, or not at all."""
    line, server = draw(lines())
    for _ in range(draw(st.integers(1, 8))):
        if line.seen:
            damage(line, server, draw)
    return line, server


def damage(line: Line, server: Endpoint, draw: st.DrawFn) -> None:
    seen = line.seen
    at = draw(st.integers(0, len(seen) - 1))
    time_ns, length, data = seen[at]
    match draw(DAMAGES):
        case "lose":
            del seen[at]
        case "repeat":
            seen.insert(at, (time_ns + draw(st.integers(0, 10**8)), length, data))
        case "cut":
            seen[at] = time_ns, length, data[: draw(st.integers(0, len(data)))]
        case "swap":
            seen.insert(draw(st.integers(0, len(seen) - 1)), seen.pop(at))
        case "garble" if data:
            place = draw(st.integers(0, min(len(data), 80) - 1))
            changed = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
            seen[at] = time_ns, length, changed
        case "junk":
            junk = draw(st.binary(max_size=90))
            seen.insert(at, (time_ns, len(junk), junk))
        case "stranger":
            other = Talk(5, 6, (server[0], 50_000), server).says(C, SYN)
            frame = other.frame() if line.link == ETHERNET else other.packet()
            seen.insert(at, (time_ns, len(frame), frame))
        case "piece" if line.link == RAW and data[:1] == b"\x45":
            fragment = data[:2] + b"\x00\x2c" + data[4:6] + b"\x20\x00" + data[8:44]
            seen[at] = time_ns, len(fragment), fragment


@pytest.mark.slow
@given(damaged_lines())
@settings(max_examples=2 * settings().max_examples)
def test_whatever_happens_to_it_both_tell_the_same(drawn: tuple[Line, Endpoint]) -> None:
    line, server = drawn
    told, written = live(line.seen, line.link, server)
    assert sorted(from_file(written, server), key=first_number) == sorted(told, key=first_number)
    event(f"holes: {any(flow.coverage is Coverage.HOLES for _, flow in told)}")


@given(st.lists(st.binary(max_size=90), max_size=12), st.sampled_from([ETHERNET, RAW]))
def test_garbage_is_nothing_to_either(datas: list[bytes], link: int) -> None:
    seen = [(START_NS + n, len(data), data) for n, data in enumerate(datas)]
    told, written = live(seen, link, SERVER)
    assert told == from_file(written, SERVER)
